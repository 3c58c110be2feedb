//! Close codes, the payload of a Close frame, and the closing handshake (RFC 6455 §5.5.1, §7).

pub use crate::code::CloseCode;

use crate::error::ProtocolError;
use crate::header::MAX_CONTROL;
use crate::types::Role;

/// The contents of a Close frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CloseFrame<'a> {
    /// The reason for programs.
    pub code: CloseCode,
    /// The reason for people; at most 123 bytes.
    pub reason: &'a str,
}

impl<'a> CloseFrame<'a> {
    /// The largest number of bytes of a reason.
    pub const MAX_REASON: usize = MAX_CONTROL - 2;

    /// Reads the unmasked payload of a Close frame; `None` if it is empty.
    ///
    /// # Errors
    /// `CloseTooShort`, `InvalidCloseCode`, `InvalidUtf8`.
    pub fn parse(payload: &'a [u8]) -> Result<Option<Self>, ProtocolError> {
        if payload.is_empty() {
            return Ok(None);
        }
        // RFC 6455 §5.5.1: "If there is a body, the first two bytes of the body MUST be a 2-byte unsigned integer (in
        // network byte order) representing a status code".
        let Some((code, reason)) = payload.split_first_chunk::<2>() else {
            return Err(ProtocolError::CloseTooShort);
        };
        let code = CloseCode(u16::from_be_bytes(*code));
        if !code.is_valid_on_wire() {
            return Err(ProtocolError::InvalidCloseCode(code.0));
        }
        // RFC 6455 §5.5.1: "the body MAY contain UTF-8-encoded data with value /reason/"; §8.1 for when it is not
        // UTF-8.
        let reason = std::str::from_utf8(reason).map_err(|_| ProtocolError::InvalidUtf8)?;
        Ok(Some(Self { code, reason }))
    }

    /// Writes the payload to the front of `out`; returns its length. A reason that is too long is cut
    /// after the last whole character.
    pub fn write(&self, out: &mut [u8; MAX_CONTROL]) -> usize {
        debug_assert!(self.code.is_valid_on_wire());
        let mut end = self.reason.len().min(Self::MAX_REASON);
        while !self.reason.is_char_boundary(end) {
            end -= 1;
        }
        let reason = &self.reason.as_bytes()[..end];
        out[..2].copy_from_slice(&self.code.0.to_be_bytes());
        out[2..2 + reason.len()].copy_from_slice(reason);
        2 + reason.len()
    }
}

/// What to do about a received Close.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Send a Close with this code (an empty Close for `None`), then end the connection.
    Reply(Option<CloseCode>),
    /// Both Closes have been exchanged: end the connection.
    Done,
    /// A second Close: ignore it.
    Ignore,
}

/// The state of the closing handshake. The caller sends the frames and measures time; this decides which frames are due.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Closing {
    /// The code of the Close that we sent: `NO_STATUS` for an empty one, 0 for none yet.
    sent: u16,
    /// The same for the received Close.
    received: u16,
}

impl Closing {
    /// Open in both directions.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            sent: 0,
            received: 0,
        }
    }

    /// Starts the closing handshake from our side, or fails the connection. Returns `true` if the caller must send a Close with
    /// this code as its last frame (an empty one for `None` and for a code that is not valid on the wire), `false` if a
    /// Close was sent before.
    #[must_use]
    pub fn start(&mut self, code: Option<CloseCode>) -> bool {
        if self.sent != 0 {
            return false;
        }
        // A code that must not be sent becomes an empty Close, and is recorded as one.
        let code = code.filter(|code| code.is_valid_on_wire());
        self.sent = code.unwrap_or(CloseCode::NO_STATUS).0;
        true
    }

    /// Records the peer's Close, as the decoder returned it.
    #[must_use]
    pub fn receive(&mut self, frame: Option<CloseFrame<'_>>) -> Answer {
        if self.received != 0 {
            return Answer::Ignore;
        }
        let code = frame.map(|f| f.code);
        self.received = code.unwrap_or(CloseCode::NO_STATUS).0;
        // RFC 6455 §5.5.1: "If an endpoint receives a Close frame and did not previously send a Close frame, the
        // endpoint MUST send a Close frame in response. (When sending a Close frame in response, the endpoint
        // typically echos the status code it received.)"
        if self.start(code) {
            Answer::Reply(code)
        } else {
            Answer::Done
        }
    }

    /// The code of the Close that we sent, if we sent one; `NO_STATUS` if it was empty.
    #[must_use]
    pub const fn sent(&self) -> Option<CloseCode> {
        match self.sent {
            0 => None,
            code => Some(CloseCode(code)),
        }
    }

    /// Whether data frames may still be sent. RFC 6455 §5.5.1: "The application MUST NOT send any more data frames
    /// after sending a Close frame."
    #[inline]
    #[must_use]
    pub const fn may_send(&self) -> bool {
        self.sent == 0
    }

    /// Whether a Close was received. Bytes after it are ignored.
    #[must_use]
    pub const fn has_received(&self) -> bool {
        self.received != 0
    }

    /// Whether both Closes have been exchanged. If the TCP connection ends now, it was "closed _cleanly_" (§7.1.4).
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.sent != 0 && self.received != 0
    }

    /// Whether this end closes the TCP connection now; a client first gives the server time to do so.
    ///
    /// RFC 6455 §7.1.1: "The underlying TCP connection, in most normal cases, SHOULD be closed first by the server, so
    /// that it holds the TIME_WAIT state and not the client". §5.5.1: "After both sending and receiving a Close
    /// message, an endpoint considers the WebSocket connection closed and MUST close the underlying TCP connection. The
    /// server MUST close the underlying TCP connection immediately; the client SHOULD wait for the server to close the
    /// connection".
    #[must_use]
    pub const fn closes_tcp(&self, role: Role) -> bool {
        self.is_done() && matches!(role, Role::Server)
    }

    /// The code for the application (§7.1.5): that of the peer's Close, `NO_STATUS` if it had none, `ABNORMAL` if no Close was
    /// received.
    #[must_use]
    pub const fn code(&self) -> CloseCode {
        if self.received == 0 {
            CloseCode::ABNORMAL
        } else {
            CloseCode(self.received)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_registered_codes_are_valid_on_the_wire() {
        // RFC 6455 §7.4.2: "Status codes in the range 0-999 are not used." §7.4.1: "MUST NOT be set as a status code in
        // a Close control frame by an endpoint".
        for code in [
            0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535,
        ] {
            assert!(!CloseCode(code).is_valid_on_wire(), "{code}");
            let payload = u16::to_be_bytes(code);
            assert_eq!(
                CloseFrame::parse(&payload),
                Err(ProtocolError::InvalidCloseCode(code))
            );
        }
        for code in [
            1000, 1001, 1002, 1003, 1007, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999,
        ] {
            assert!(CloseCode(code).is_valid_on_wire(), "{code}");
        }
    }

    #[test]
    fn payloads() {
        // RFC 6455 §5.5.1: "the first two bytes of the body MUST be a 2-byte unsigned integer (in network byte order)"
        assert_eq!(CloseFrame::parse(b""), Ok(None));
        assert_eq!(
            CloseFrame::parse(b"\x03"),
            Err(ProtocolError::CloseTooShort)
        );
        let bye = CloseFrame {
            code: CloseCode::NORMAL,
            reason: "bye",
        };
        assert_eq!(CloseFrame::parse(b"\x03\xe8bye"), Ok(Some(bye)));
        assert_eq!(
            CloseFrame::parse(b"\x03\xe8\xc3"),
            Err(ProtocolError::InvalidUtf8)
        );
        assert_eq!(
            CloseFrame::parse(b"\x03\xe8\xff"),
            Err(ProtocolError::InvalidUtf8)
        );
        let mut out = [0; MAX_CONTROL];
        let n = bye.write(&mut out);
        assert_eq!(&out[..n], b"\x03\xe8bye");
    }

    #[test]
    fn long_reasons_are_cut_between_characters() {
        let reason = "é".repeat(100);
        let mut out = [0; MAX_CONTROL];
        let n = CloseFrame {
            code: CloseCode::NORMAL,
            reason: &reason,
        }
        .write(&mut out);
        assert_eq!(n, 124);
        let read = CloseFrame::parse(&out[..n]).unwrap().unwrap();
        assert_eq!(read.reason, "é".repeat(61));
    }

    #[test]
    fn a_close_of_the_peer_is_answered_with_its_code() {
        // RFC 6455 §5.5.1: "The server MUST close the underlying TCP connection immediately; the client SHOULD wait for
        // the server".
        // RFC 6455 §5.5.1: "the endpoint MUST send a Close frame in response"
        let mut closing = Closing::new();
        assert!(closing.may_send());
        let frame = CloseFrame {
            code: CloseCode(4000),
            reason: "",
        };
        assert_eq!(
            closing.receive(Some(frame)),
            Answer::Reply(Some(CloseCode(4000)))
        );
        assert!(!closing.may_send() && closing.is_done());
        assert_eq!(closing.code(), CloseCode(4000));
        assert!(closing.closes_tcp(Role::Server) && !closing.closes_tcp(Role::Client));
        assert!(!closing.start(Some(CloseCode::NORMAL)));
        assert_eq!(closing.receive(None), Answer::Ignore);
    }

    #[test]
    fn no_data_follows_our_close() {
        // RFC 6455 §5.5.1: "The application MUST NOT send any more data frames after sending a Close frame."
        let mut closing = Closing::new();
        assert!(closing.start(Some(CloseCode::GOING_AWAY)));
        assert!(!closing.may_send() && !closing.is_done());
        assert_eq!(closing.code(), CloseCode::ABNORMAL);
        assert!(!closing.start(None));
        assert_eq!(closing.receive(None), Answer::Done);
        assert_eq!(closing.code(), CloseCode::NO_STATUS);
        assert!(closing.is_done());
    }

    #[test]
    fn an_invalid_code_becomes_an_empty_close() {
        for code in [0, 1005, 1006, 5000] {
            let mut closing = Closing::new();
            assert!(closing.start(Some(CloseCode(code))));
            assert!(!closing.may_send() && !closing.start(None));
            assert_eq!(closing.sent(), Some(CloseCode::NO_STATUS));
            assert_eq!(closing.receive(None), Answer::Done);
        }
    }

    #[test]
    fn an_empty_close_is_answered_with_an_empty_one() {
        let mut closing = Closing::new();
        assert_eq!(closing.receive(None), Answer::Reply(None));
        assert!(closing.is_done());
        assert_eq!(size_of::<Closing>(), 4);
    }
}
