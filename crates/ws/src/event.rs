//! The events of a [`Decoder`](crate::Decoder): messages, pings, pongs, and the peer's Close.

use crate::close::CloseFrame;
use crate::types::Kind;

/// A whole message: unmasked, reassembled, inflated, and valid UTF-8 if it is text. Where possible it borrows the memory in
/// which its bytes arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message<'a> {
    kind: Kind,
    payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// `payload` must have been checked to be UTF-8 if `kind` is text: [`Message::as_text`] relies on it.
    #[inline]
    pub(crate) fn checked(kind: Kind, payload: &'a [u8]) -> Self {
        debug_assert!(kind == Kind::Binary || std::str::from_utf8(payload).is_ok());
        Self { kind, payload }
    }

    /// A binary message, for tests and for code that passes on bytes of its own.
    #[must_use]
    pub const fn binary(payload: &'a [u8]) -> Self {
        Self {
            kind: Kind::Binary,
            payload,
        }
    }

    /// A text message, for tests and for code that passes on text of its own.
    #[must_use]
    pub const fn text(payload: &'a str) -> Self {
        Self {
            kind: Kind::Text,
            payload: payload.as_bytes(),
        }
    }

    /// Text or binary.
    #[inline]
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The payload, of either kind.
    #[inline]
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.payload
    }

    /// The payload of a text message, without checking its bytes again; `None` if the message is binary.
    #[inline]
    #[must_use]
    #[allow(unsafe_code)]
    pub const fn as_text(&self) -> Option<&'a str> {
        match self.kind {
            // SAFETY: the fields are private and never change. `text` was given a `str`; `checked`, the only other way
            // to a message of this kind, is called by the decoder alone, after the validator accepted every byte of
            // `payload` and found no unfinished sequence at its end.
            Kind::Text => Some(unsafe { std::str::from_utf8_unchecked(self.payload) }),
            Kind::Binary => None,
        }
    }

    /// Payload bytes.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.payload.len()
    }

    /// Whether there is no payload.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.payload.is_empty()
    }
}

/// An event of the decoder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// A whole message.
    Message(Message<'a>),
    /// A ping, of at most 125 bytes. RFC 6455 §5.5.2: "Upon receipt of a Ping frame, an endpoint MUST send a Pong
    /// frame in response, unless it already received a Close frame." §5.5.3: it has the same payload.
    Ping(&'a [u8]),
    /// A pong. §5.5.3: "A response to an unsolicited Pong frame is not expected."
    Pong(&'a [u8]),
    /// The peer's Close; `None` if it carried no status code. The decoder ignores all bytes after it.
    Close(Option<CloseFrame<'a>>),
}
