//! The headers of a head, borrowed.

use std::fmt;

use httparse::{EMPTY_HEADER, Header};

use super::grammar;

/// The most header lines a head may have.
pub const MAX_HEADERS: usize = 64;

/// A header occurs twice that must occur once.
#[derive(Debug)]
pub(super) struct Repeated;

/// The headers of a request or response, in their order, with the names as they were written.
#[derive(Clone)]
pub struct Headers<'a> {
    list: [Header<'a>; MAX_HEADERS],
    len: usize,
}

impl<'a> Headers<'a> {
    pub(super) fn new() -> Self {
        Headers {
            list: [EMPTY_HEADER; MAX_HEADERS],
            len: 0,
        }
    }

    /// Space for the allowed number of lines; [`set_len`](Self::set_len) sets their actual number.
    pub(super) fn room(&mut self, max: usize) -> &mut [Header<'a>] {
        &mut self.list[..max.min(MAX_HEADERS)]
    }

    pub(super) fn set_len(&mut self, len: usize) {
        self.len = len.min(MAX_HEADERS);
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
        self.list[..self.len]
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
