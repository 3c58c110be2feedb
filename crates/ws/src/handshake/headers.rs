//! The headers of a head, borrowed.

use std::fmt;

use httparse::{EMPTY_HEADER, Header};

use super::grammar;

/// Lines that need no allocation. Requests of browsers have about 15.
const INLINE: usize = 64;

/// A header occurs twice that must occur once.
#[derive(Debug)]
pub(super) struct Repeated;

/// The headers of a request or response, in their order, with the names as they were written.
#[derive(Clone)]
pub struct Headers<'a> {
    inline: [Header<'a>; INLINE],
    /// In place of `inline`, if there are more lines.
    many: Vec<Header<'a>>,
    len: usize,
}

impl<'a> Headers<'a> {
    /// Space for `lines` lines; [`set_len`](Self::set_len) sets their actual number.
    pub(super) fn with_room(lines: usize) -> Self {
        Headers {
            inline: [EMPTY_HEADER; INLINE],
            many: if lines > INLINE {
                vec![EMPTY_HEADER; lines]
            } else {
                Vec::new()
            },
            len: 0,
        }
    }

    pub(super) fn room(&mut self) -> &mut [Header<'a>] {
        if self.many.is_empty() {
            &mut self.inline
        } else {
            &mut self.many
        }
    }

    pub(super) fn set_len(&mut self, len: usize) {
        self.len = len;
    }

    fn lines(&self) -> &[Header<'a>] {
        if self.many.is_empty() {
            &self.inline[..self.len]
        } else {
            &self.many[..self.len]
        }
    }

    /// The number of lines.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no lines.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All names and values. A value may have octets beyond ASCII.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + '_ {
        self.lines()
            .iter()
            .map(|h| (h.name, grammar::trim_ows(h.value)))
    }

    /// The values of all headers called `name`, in any case.
    pub fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a [u8]> + 's {
        self.iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// The value of the first header called `name`, in any case.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    pub(super) fn only(&self, name: &str) -> Result<Option<&'a [u8]>, Repeated> {
        let mut values = self.all(name);
        let first = values.next();
        if values.next().is_some() {
            Err(Repeated)
        } else {
            Ok(first)
        }
    }
}

impl fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(n, v)| (n, v.escape_ascii().to_string())))
            .finish()
    }
}
