//! The rules that depend on the connection and its state. [`FrameHeader::parse`] refuses headers that are invalid on every
//! connection.

use crate::error::ProtocolError;
use crate::header::FrameHeader;
use crate::limits::Limits;
use crate::types::{OpCode, Role};

/// The data message that earlier frames began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    /// Bytes on the wire so far.
    pub(crate) bytes: usize,
    /// Frames so far.
    pub(crate) fragments: u32,
    /// Whether its first frame had RSV1 set.
    pub(crate) compressed: bool,
}

/// Checks a frame's header; `inflates` if permessage-deflate was agreed.
pub(crate) fn check(
    role: Role,
    inflates: bool,
    message: Option<Begun>,
    limits: &Limits,
    header: &FrameHeader,
) -> Result<(), ProtocolError> {
    // RFC 6455 §5.2: RSV1 "MUST be 0 unless an extension is negotiated that defines meanings for non-zero values." RFC
    // 7692 §6.1: "An endpoint MUST NOT set the "Per-Message Compressed" bit of control frames and non-first fragments
    // of a data message. An endpoint receiving such a frame MUST _Fail the WebSocket Connection_."
    let begins = matches!(header.opcode, OpCode::Text | OpCode::Binary);
    if header.rsv1 && !(inflates && begins) {
        return Err(ProtocolError::ReservedBits);
    }
    match (header.opcode, message) {
        // RFC 6455 §5.4: a fragmented message is "a single frame with the FIN bit clear and an opcode other than 0,
        // followed by zero or more frames with the FIN bit clear and the opcode set to 0", so that "the type for all
        // fragments in a message MUST be either text, binary, or one of the reserved opcodes."
        (OpCode::Continuation, None) => return Err(ProtocolError::UnexpectedContinuation),
        // RFC 6455 §5.4: "The fragments of one message MUST NOT be interleaved between the fragments of another message
        // unless an extension has been negotiated that can interpret the interleaving."
        (OpCode::Text | OpCode::Binary, Some(_)) => return Err(ProtocolError::MessageInterrupted),
        _ => {}
    }
    match (role, header.mask) {
        // RFC 6455 §5.1: "The server MUST close the connection upon receiving a frame that is not masked."
        (Role::Server, None) => return Err(ProtocolError::Unmasked),
        // RFC 6455 §5.1: "A client MUST close a connection if it detects a masked frame."
        (Role::Client, Some(_)) => return Err(ProtocolError::Masked),
        _ => {}
    }
    // Control frames have a bound of their own, and none of those below. RFC 6455 §5.4: "An endpoint MUST be capable of
    // handling control frames in the middle of a fragmented message."
    if header.opcode.is_control() {
        return Ok(());
    }
    within(limits, message, header)
}

/// Checks a data frame against the limits, by the length that its header announces.
// RFC 6455 §10.4: "Implementations that have implementation- and/or platform-specific limitations regarding the frame
// size or total message size after reassembly from multiple frames MUST protect themselves against exceeding those
// limits."
fn within(
    limits: &Limits,
    message: Option<Begun>,
    header: &FrameHeader,
) -> Result<(), ProtocolError> {
    let begins = Begun {
        bytes: 0,
        fragments: 0,
        compressed: header.rsv1,
    };
    let Begun {
        bytes,
        fragments,
        compressed,
    } = message.unwrap_or(begins);
    let bound = |max| if compressed { Limits::on_wire(max) } else { max } as u64;
    if header.len > bound(limits.max_frame) {
        return Err(ProtocolError::FrameTooBig);
    }
    if header.len.saturating_add(bytes as u64) > bound(limits.max_message) {
        return Err(ProtocolError::MessageTooBig);
    }
    if fragments >= limits.max_fragments.max(1) {
        return Err(ProtocolError::TooManyFragments);
    }
    Ok(())
}
