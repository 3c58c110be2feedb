//! A compressed message that is inflated in slices, so that no connection makes others wait for the whole of it.

use crate::deflate::{InflateError, Inflater, MAX_WINDOW_BITS, Stream, Window};
use crate::error::ProtocolError;
use crate::types::Kind;
use crate::utf8::Utf8;

/// The engine, and the message that it inflates.
#[derive(Debug)]
pub(crate) struct Inflating {
    inflater: Inflater,
    stream: Stream,
    kind: Kind,
    /// The bytes so far.
    out: Vec<u8>,
    /// The check of these bytes, if they are text.
    utf8: Utf8,
    /// The bytes that the budget counts.
    pub(crate) charged: usize,
}

impl Inflating {
    /// Allocates the engine.
    pub(crate) fn new() -> Self {
        Self {
            inflater: Inflater::new(MAX_WINDOW_BITS),
            stream: Stream::new(0, 0),
            kind: Kind::Binary,
            out: Vec::new(),
            utf8: Utf8::new(),
            charged: 0,
        }
    }

    /// Begins a message of at most `cap` bytes.
    pub(crate) fn begin(&mut self, kind: Kind, cap: usize) {
        self.stream = Stream::new(0, cap);
        self.kind = kind;
        self.out.clear();
        self.utf8 = Utf8::new();
        self.charged = 0;
    }

    /// Goes on for an effort of about `slice`; returns whether the message is whole. `window` is the history of earlier messages,
    /// `None` if the peer takes no context over; `payload` is all of the compressed message.
    ///
    /// Text is checked as it is made. That it is invalid is an error only once it is whole, so that the error does not depend
    /// on the slices: octets behind the invalid ones may be corrupt.
    pub(crate) fn advance(
        &mut self,
        window: Option<&mut Window>,
        payload: &[u8],
        slice: usize,
    ) -> Result<bool, ProtocolError> {
        let had = self.out.len();
        let Self {
            inflater,
            stream,
            out,
            ..
        } = self;
        let whole = stream
            .advance(inflater.engine(), window.as_deref(), payload, out, slice)
            .map_err(|error| match error {
                InflateError::TooBig => ProtocolError::MessageTooBig,
                InflateError::Corrupt => ProtocolError::InvalidCompression,
            })?;
        let valid = self.kind == Kind::Binary || self.utf8.feed(&out[had..]);
        if !whole {
            return Ok(false);
        }
        if let Some(window) = window {
            window.push(out);
        }
        if valid && self.utf8.is_complete() {
            Ok(true)
        } else {
            Err(ProtocolError::InvalidUtf8)
        }
    }

    /// Whether it is text.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// The number of bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    /// What the message has cost so far, in about the time that a byte of output takes.
    pub(crate) fn effort(&self) -> usize {
        self.stream.effort
    }

    /// Exchanges the message with the one in `with`, and frees a buffer of more than `retain` bytes that it gets.
    pub(crate) fn exchange(&mut self, with: &mut Vec<u8>, retain: usize) {
        std::mem::swap(&mut self.out, with);
        self.trim(retain);
    }

    /// Frees a buffer of more than `retain` bytes.
    pub(crate) fn trim(&mut self, retain: usize) {
        self.out.clear();
        if self.out.capacity() > retain {
            self.out = Vec::new();
        }
    }
}
