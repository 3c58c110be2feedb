//! Why a connection must be failed, and with which close code.

use std::fmt;

use crate::code::CloseCode;

/// The peer broke the protocol or exceeded one of our limits. The decoder that returned it returns it in all later calls.
///
/// RFC 6455 §7.1.7: "An endpoint MUST NOT continue to attempt to process data (including a responding Close frame)
/// from the remote endpoint after being instructed to _Fail the WebSocket Connection_."
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A reserved bit is set to which no negotiated extension gives a meaning here (§5.2).
    ReservedBits,
    /// Opcode 3-7 or 11-15 (§5.2).
    ReservedOpcode(u8),
    /// A control frame with more than 125 bytes of payload (§5.5).
    ControlTooLong,
    /// A control frame without FIN (§5.5).
    ControlFragmented,
    /// The length is not written in the fewest bytes that can hold it (§5.2).
    LengthNotMinimal,
    /// The most significant bit of a 64-bit length is set (§5.2).
    LengthTopBit,
    /// A client sent an unmasked frame (§5.1).
    Unmasked,
    /// A server sent a masked frame (§5.1).
    Masked,
    /// A continuation frame without an unfinished message (§5.4).
    UnexpectedContinuation,
    /// A new text or binary frame before the last message was finished (§5.4).
    MessageInterrupted,
    /// Text, or the reason of a Close, that is not UTF-8 (§8.1).
    InvalidUtf8,
    /// A Close whose payload is one byte: too short for a code (§5.5.1).
    CloseTooShort,
    /// A Close with a code that must not appear in one (§7.4).
    InvalidCloseCode(u16),
    /// Compressed data that cannot be inflated (RFC 7692 §7.2.2).
    InvalidCompression,
    /// A frame longer than `Limits::max_frame`.
    FrameTooBig,
    /// A message longer than `Limits::max_message`, counted after inflation.
    MessageTooBig,
    /// A message in more frames than `Limits::max_fragments`.
    TooManyFragments,
    /// The budget of this lcore for unfinished messages is used up, by the messages of all its connections.
    OutOfMemory,
}

impl ProtocolError {
    /// The status code of the Close to send (RFC 6455 §7.4.1; 1013 from the IANA registry).
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::ReservedBits
            | Self::ReservedOpcode(_)
            | Self::ControlTooLong
            | Self::ControlFragmented
            | Self::LengthNotMinimal
            | Self::LengthTopBit
            | Self::Unmasked
            | Self::Masked
            | Self::UnexpectedContinuation
            | Self::MessageInterrupted
            | Self::CloseTooShort
            | Self::InvalidCloseCode(_) => CloseCode::PROTOCOL_ERROR,
            Self::InvalidUtf8 | Self::InvalidCompression => CloseCode::INVALID_DATA,
            Self::FrameTooBig | Self::MessageTooBig => CloseCode::TOO_BIG,
            // Not 1009: the message may be small. The number of frames is a matter of our policy.
            Self::TooManyFragments => CloseCode::POLICY_VIOLATION,
            Self::OutOfMemory => CloseCode::TRY_AGAIN_LATER,
        }
    }

    /// Whether one of our limits was exceeded, rather than the protocol broken.
    #[must_use]
    pub const fn is_limit(self) -> bool {
        matches!(
            self,
            Self::FrameTooBig | Self::MessageTooBig | Self::TooManyFragments | Self::OutOfMemory
        )
    }

    /// The cause in a few words, short enough for the reason of a Close.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::ReservedBits => "reserved bit set",
            Self::ReservedOpcode(_) => "reserved opcode",
            Self::ControlTooLong => "control frame longer than 125 bytes",
            Self::ControlFragmented => "fragmented control frame",
            Self::LengthNotMinimal => "length not in its shortest form",
            Self::LengthTopBit => "length with its top bit set",
            Self::Unmasked => "unmasked frame from a client",
            Self::Masked => "masked frame from a server",
            Self::UnexpectedContinuation => "continuation of no message",
            Self::MessageInterrupted => "new message inside a fragmented one",
            Self::InvalidUtf8 => "invalid UTF-8",
            Self::CloseTooShort => "close frame with one byte",
            Self::InvalidCloseCode(_) => "invalid close code",
            Self::InvalidCompression => "invalid compressed data",
            Self::FrameTooBig => "frame too big",
            Self::MessageTooBig => "message too big",
            Self::TooManyFragments => "too many fragments",
            Self::OutOfMemory => "too many unfinished messages",
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let party = if self.is_limit() {
            "our limit"
        } else {
            "the peer"
        };
        write!(f, "{party}: {}", self.reason())?;
        match self {
            Self::ReservedOpcode(bits) => write!(f, " {bits:#x}"),
            Self::InvalidCloseCode(code) => write!(f, " {code}"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for ProtocolError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_party_at_fault_and_the_close_code() {
        assert_eq!(
            ProtocolError::ReservedOpcode(11).to_string(),
            "the peer: reserved opcode 0xb"
        );
        assert_eq!(
            ProtocolError::InvalidCloseCode(999).to_string(),
            "the peer: invalid close code 999"
        );
        assert_eq!(
            ProtocolError::MessageTooBig.to_string(),
            "our limit: message too big"
        );
        assert_eq!(ProtocolError::MessageTooBig.close_code(), CloseCode(1009));
        assert_eq!(
            ProtocolError::TooManyFragments.close_code(),
            CloseCode(1008)
        );
        assert_eq!(ProtocolError::OutOfMemory.close_code(), CloseCode(1013));
        assert_eq!(ProtocolError::InvalidUtf8.close_code(), CloseCode(1007));
        assert_eq!(ProtocolError::Unmasked.close_code(), CloseCode(1002));
    }
}
