//! The sending side: frame headers and, for paths that need not be fast, whole frames.

use crate::close::{CloseCode, CloseFrame};
use crate::header::{FrameHeader, MAX_CONTROL, MAX_HEADER};
use crate::mask;
use crate::types::OpCode;

/// Bytes of the header of a frame with `payload_len` bytes of payload.
#[inline]
#[must_use]
pub const fn header_len(payload_len: usize, masked: bool) -> usize {
    let base = match payload_len {
        0..126 => 2,
        126..0x1_0000 => 4,
        _ => 10,
    };
    if masked { base + 4 } else { base }
}

/// Bytes of a whole frame, header and payload.
#[inline]
#[must_use]
pub const fn frame_len(payload_len: usize, masked: bool) -> usize {
    header_len(payload_len, masked) + payload_len
}

/// Writes a frame header to the front of `out`; returns its length.
///
/// The payload that follows must be masked with the same key ([`mask::copy`]). RFC 6455 §5.1: "a client MUST mask all
/// frames that it sends to the server", "A server MUST NOT mask any frames that it sends to the client". §5.3: "The
/// masking key needs to be unpredictable".
#[inline]
pub fn header(
    out: &mut [u8; MAX_HEADER],
    fin: bool,
    rsv1: bool,
    opcode: OpCode,
    mask: Option<[u8; 4]>,
    payload_len: usize,
) -> usize {
    FrameHeader {
        fin,
        rsv1,
        opcode,
        mask,
        len: payload_len as u64,
    }
    .write(out)
}

/// The header of a final, uncompressed frame of less than 64 KiB as the low bytes of a word, and how many: [`header`] for the
/// frames that are sent most, in registers. `None` for a longer one.
///
/// A caller may write all eight bytes, and then the payload over those behind the header.
#[inline]
#[must_use]
pub fn header_word(
    opcode: OpCode,
    mask: Option<[u8; 4]>,
    payload_len: usize,
) -> Option<([u8; 8], usize)> {
    // RFC 6455 §5.2: FIN, no reserved bits, the opcode; then the mask bit and the length in its shortest form.
    let first = 0x80 | opcode as u64;
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let (word, len) = match payload_len as u64 {
        len @ 0..126 => (first | (masked | len) << 8, 2),
        len @ 126..0x1_0000 => {
            let len = u64::from((len as u16).swap_bytes());
            (first | (masked | 126) << 8 | len << 16, 4)
        }
        _ => return None,
    };
    Some(match mask {
        None => (word.to_le_bytes(), len),
        Some(key) => {
            let key = u64::from(u32::from_le_bytes(key));
            ((word | key << (8 * len)).to_le_bytes(), len + 4)
        }
    })
}

/// Writes the payload of a Close frame to the front of `out`; returns its length. A reason of more than 123 bytes is
/// cut.
pub fn close_payload(out: &mut [u8; MAX_CONTROL], code: CloseCode, reason: &str) -> usize {
    CloseFrame { code, reason }.write(out)
}

/// Appends a whole, final, uncompressed frame.
pub fn frame_into(out: &mut Vec<u8>, opcode: OpCode, payload: &[u8], mask: Option<[u8; 4]>) {
    fragment_into(out, true, false, opcode, payload, mask);
}

/// Appends a frame of any sort: the general form of [`frame_into`]. Whether the frame is legal is up to the caller.
pub fn fragment_into(
    out: &mut Vec<u8>,
    fin: bool,
    rsv1: bool,
    opcode: OpCode,
    payload: &[u8],
    mask: Option<[u8; 4]>,
) {
    let mut head = [0; MAX_HEADER];
    let n = header(&mut head, fin, rsv1, opcode, mask, payload.len());
    out.extend_from_slice(&head[..n]);
    out.extend_from_slice(payload);
    if let Some(key) = mask {
        let start = out.len() - payload.len();
        mask::apply(&mut out[start..], key, 0);
    }
}

/// Appends a Close frame; an empty one for `None`.
pub fn close_into(out: &mut Vec<u8>, close: Option<CloseFrame<'_>>, mask: Option<[u8; 4]>) {
    let mut payload = [0; MAX_CONTROL];
    let n = close.map_or(0, |c| c.write(&mut payload));
    frame_into(out, OpCode::Close, &payload[..n], mask);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc() {
        // RFC 6455 §5.7
        let mut out = Vec::new();
        frame_into(&mut out, OpCode::Text, b"Hello", None);
        assert_eq!(out, [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
        out.clear();
        frame_into(
            &mut out,
            OpCode::Text,
            b"Hello",
            Some([0x37, 0xfa, 0x21, 0x3d]),
        );
        assert_eq!(
            out,
            [
                0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58
            ]
        );
        out.clear();
        fragment_into(&mut out, false, false, OpCode::Text, b"Hel", None);
        fragment_into(&mut out, true, false, OpCode::Continuation, b"lo", None);
        assert_eq!(out, [0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f]);
        out.clear();
        frame_into(&mut out, OpCode::Binary, &[7; 256], None);
        assert_eq!(out[..4], [0x82, 0x7e, 0x01, 0x00]);
        out.clear();
        frame_into(&mut out, OpCode::Binary, &[7; 65536], None);
        assert_eq!(out[..10], [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn lengths_are_what_is_written() {
        for len in [0, 1, 125, 126, 127, 65535, 65536, 70000] {
            for mask in [None, Some([1, 2, 3, 4])] {
                let mut out = Vec::new();
                frame_into(&mut out, OpCode::Binary, &vec![0; len], mask);
                assert_eq!(out.len(), frame_len(len, mask.is_some()));
            }
        }
    }

    #[test]
    fn a_header_in_a_word_is_the_header() {
        for opcode in [OpCode::Text, OpCode::Binary, OpCode::Ping] {
            for mask in [None, Some([0x81, 0xfe, 3, 0])] {
                for len in [0, 1, 125, 126, 127, 255, 256, 0x1234, 65535] {
                    let mut head = [0; MAX_HEADER];
                    let n = header(&mut head, true, false, opcode, mask, len);
                    let (word, m) = header_word(opcode, mask, len).expect("it is short");
                    assert_eq!(word[..m], head[..n], "{len}");
                }
                assert_eq!(header_word(opcode, mask, 65536), None);
            }
        }
    }

    #[test]
    fn close_frames() {
        let mut out = Vec::new();
        close_into(&mut out, None, None);
        close_into(
            &mut out,
            Some(CloseFrame {
                code: CloseCode::NORMAL,
                reason: "x",
            }),
            None,
        );
        assert_eq!(out, [0x88, 0, 0x88, 3, 0x03, 0xe8, b'x']);
    }
}
