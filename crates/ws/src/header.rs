//! The frame header of RFC 6455 §5.2: 2 to 14 bytes.

use crate::error::ProtocolError;
use crate::types::{Kind, OpCode, Role};

/// The longest header: two bytes, a 64-bit length, a masking key.
pub const MAX_HEADER: usize = 14;

/// The most payload a control frame may have (§5.5).
pub const MAX_CONTROL: usize = 125;

/// The header of one frame. It has no RSV2 and RSV3: no extension gives them a meaning, so frames that set them are refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FrameHeader {
    /// Whether it is the last frame of its message.
    pub fin: bool,
    /// The message is compressed (RFC 7692 §6); meaningful in its first frame only.
    pub rsv1: bool,
    /// The type of the frame.
    pub opcode: OpCode,
    /// The masking key, if the frame is masked.
    pub mask: Option<[u8; 4]>,
    /// Payload bytes that follow the header.
    pub len: u64,
}

impl FrameHeader {
    /// Reads a header from the front of `bytes`: the header and its length, or `None` if there are too few bytes.
    ///
    /// It refuses headers that are invalid on every connection, at the first byte that makes them so. The caller checks the rules
    /// that depend on the connection: RSV1, masking, the order of fragments, limits.
    ///
    /// # Errors
    /// `ReservedBits` for RSV2 or RSV3, `ReservedOpcode`, `ControlFragmented`, `ControlTooLong`, `LengthNotMinimal`,
    /// `LengthTopBit`.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, ProtocolError> {
        let Some((&first, rest)) = bytes.split_first() else {
            return Ok(None);
        };
        let (fin, rsv1) = (first & 0x80 != 0, first & 0x40 != 0);
        // RFC 6455 §5.2: "MUST be 0 unless an extension is negotiated that defines meanings for non-zero values. If a
        // nonzero value is received and none of the negotiated extensions defines the meaning of such a nonzero value,
        // the receiving endpoint MUST _Fail the WebSocket Connection_."
        if first & 0x30 != 0 {
            return Err(ProtocolError::ReservedBits);
        }
        // RFC 6455 §5.2: "If an unknown opcode is received, the receiving endpoint MUST _Fail the WebSocket
        // Connection_."
        let bits = first & 0x0f;
        let opcode = OpCode::from_bits(bits).ok_or(ProtocolError::ReservedOpcode(bits))?;
        // RFC 6455 §5.5: "All control frames MUST have a payload length of 125 bytes or less and MUST NOT be
        // fragmented."
        // RFC 6455 §5.4: "Control frames themselves MUST NOT be fragmented."
        if opcode.is_control() && !fin {
            return Err(ProtocolError::ControlFragmented);
        }
        let Some((&second, rest)) = rest.split_first() else {
            return Ok(None);
        };
        let short = second & 0x7f;
        if opcode.is_control() && usize::from(short) > MAX_CONTROL {
            return Err(ProtocolError::ControlTooLong);
        }
        let Some((len, rest)) = parse_len(short, rest)? else {
            return Ok(None);
        };
        let (mask, rest) = if second & 0x80 == 0 {
            (None, rest)
        } else {
            let Some((key, rest)) = rest.split_first_chunk::<4>() else {
                return Ok(None);
            };
            (Some(*key), rest)
        };
        Ok(Some((
            Self {
                fin,
                rsv1,
                opcode,
                mask,
                len,
            },
            bytes.len() - rest.len(),
        )))
    }

    /// Writes the header to the front of `out`; returns its length.
    ///
    /// The payload length takes the shortest form. Its top bit, which the wire format reserves, must be clear.
    #[inline]
    pub fn write(&self, out: &mut [u8; MAX_HEADER]) -> usize {
        debug_assert!(self.len >> 63 == 0);
        out[0] = u8::from(self.fin) << 7 | u8::from(self.rsv1) << 6 | self.opcode as u8;
        // RFC 6455 §5.3: "A masked frame MUST have the field frame-masked set to 1".
        let masked = if self.mask.is_some() { 0x80 } else { 0 };
        // RFC 6455 §5.2: "in all cases, the minimal number of bytes MUST be used to encode the length".
        let mut at = match self.len {
            len @ 0..126 => {
                out[1] = masked | len as u8;
                2
            }
            len @ 126..0x1_0000 => {
                out[1] = masked | 126;
                out[2..4].copy_from_slice(&(len as u16).to_be_bytes());
                4
            }
            len => {
                out[1] = masked | 127;
                out[2..10].copy_from_slice(&len.to_be_bytes());
                10
            }
        };
        if let Some(key) = self.mask {
            out[at..at + 4].copy_from_slice(&key);
            at += 4;
        }
        at
    }
}

/// The payload length whose 7-bit field is `short`, and the bytes after it.
fn parse_len(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, ProtocolError> {
    let (len, shortest, rest) = match short {
        126 => {
            let Some((len, rest)) = rest.split_first_chunk::<2>() else {
                return Ok(None);
            };
            (u64::from(u16::from_be_bytes(*len)), 126, rest)
        }
        127 => {
            let Some((len, rest)) = rest.split_first_chunk::<8>() else {
                return Ok(None);
            };
            (u64::from_be_bytes(*len), 0x1_0000, rest)
        }
        len => return Ok(Some((u64::from(len), rest))),
    };
    // RFC 6455 §5.2: "the following 8 bytes interpreted as a 64-bit unsigned integer (the most significant bit MUST be
    // 0)".
    if len >> 63 != 0 {
        return Err(ProtocolError::LengthTopBit);
    }
    // RFC 6455 §5.2: "Note that in all cases, the minimal number of bytes MUST be used to encode the length, for
    // example, the length of a 124-byte-long string can't be encoded as the sequence 126, 0, 124."
    if len < shortest {
        return Err(ProtocolError::LengthNotMinimal);
    }
    Ok(Some((len, rest)))
}

/// A whole unfragmented, uncompressed message of less than 64 KiB at the front of the input: the hot path, which reads only
/// the header. It finds no other frame, valid or invalid.
pub(crate) struct Whole {
    pub(crate) kind: Kind,
    pub(crate) key: Option<[u8; 4]>,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Whole {
    #[inline]
    pub(crate) fn find(role: Role, input: &[u8]) -> Option<Self> {
        let (&[first, second, high, low], _) = input.split_first_chunk::<4>()?;
        let kind = match first {
            0x81 => Kind::Text,
            0x82 => Kind::Binary,
            _ => return None,
        };
        let expected = if role == Role::Server { 0x80 } else { 0 };
        let short = (second ^ expected) as usize;
        // With a wrong mask bit, `short` is at least 128.
        let (len, head) = match short {
            0..126 => (short, 2),
            126 => (usize::from(u16::from_be_bytes([high, low])), 4),
            _ => return None,
        };
        if head == 4 && len < 126 {
            return None;
        }
        let (key, start) = match role {
            Role::Server => (Some(*input.get(head..)?.first_chunk::<4>()?), head + 4),
            Role::Client => (None, head),
        };
        let end = start + len;
        (end <= input.len()).then_some(Self {
            kind,
            key,
            start,
            end,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(len: u64) -> FrameHeader {
        FrameHeader {
            fin: true,
            rsv1: false,
            opcode: OpCode::Binary,
            mask: None,
            len,
        }
    }

    #[test]
    fn lengths_take_the_shortest_form() {
        // RFC 6455 §5.2: "in all cases, the minimal number of bytes MUST be used to encode the length"
        for (len, bytes) in [
            (0, 2),
            (125, 2),
            (126, 4),
            (0xffff, 4),
            (0x1_0000, 10),
            (u64::MAX >> 1, 10),
        ] {
            let mut out = [0; MAX_HEADER];
            assert_eq!(header(len).write(&mut out), bytes);
            assert_eq!(FrameHeader::parse(&out), Ok(Some((header(len), bytes))));
        }
    }

    #[test]
    fn longer_forms_than_needed_are_refused() {
        // RFC 6455 §5.2: "the length of a 124-byte-long string can't be encoded as the sequence 126, 0, 124"
        let too_long = Err(ProtocolError::LengthNotMinimal);
        assert_eq!(FrameHeader::parse(&[0x82, 126, 0, 124]), too_long);
        assert_eq!(FrameHeader::parse(&[0x82, 126, 0, 125]), too_long);
        assert!(FrameHeader::parse(&[0x82, 126, 0, 126]).is_ok());
        assert_eq!(
            FrameHeader::parse(&[0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff]),
            too_long
        );
        assert!(FrameHeader::parse(&[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]).is_ok());
    }

    #[test]
    fn length_with_top_bit_is_refused() {
        // RFC 6455 §5.2: "the most significant bit MUST be 0"
        let bytes = [0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(FrameHeader::parse(&bytes), Err(ProtocolError::LengthTopBit));
        assert_eq!(
            FrameHeader::parse(&[0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            Err(ProtocolError::LengthTopBit)
        );
    }

    #[test]
    fn reserved_bits_and_opcodes_are_refused_at_the_first_byte() {
        // RFC 6455 §5.2: "the receiving endpoint MUST _Fail the WebSocket Connection_"
        for first in 0..=u8::MAX {
            let expected = match first & 0x0f {
                _ if first & 0x30 != 0 => Err(ProtocolError::ReservedBits),
                bits @ (3..=7 | 11..=15) => Err(ProtocolError::ReservedOpcode(bits)),
                8..=10 if first & 0x80 == 0 => Err(ProtocolError::ControlFragmented),
                _ => Ok(None),
            };
            assert_eq!(FrameHeader::parse(&[first]), expected, "{first:#x}");
        }
    }

    #[test]
    fn control_frames_are_short_and_whole() {
        // RFC 6455 §5.5: "All control frames MUST have a payload length of 125 bytes or less and MUST NOT be
        // fragmented."
        for opcode in [0x8, 0x9, 0xa] {
            assert!(FrameHeader::parse(&[0x80 | opcode, 125]).is_ok());
            for short in [126, 127, 0x80 | 126, 0x80 | 127] {
                let error = Err(ProtocolError::ControlTooLong);
                assert_eq!(FrameHeader::parse(&[0x80 | opcode, short]), error);
            }
            assert_eq!(
                FrameHeader::parse(&[opcode]),
                Err(ProtocolError::ControlFragmented)
            );
        }
    }

    proptest! {
        #[test]
        fn a_written_header_is_read_back(
            fin: bool,
            rsv1: bool,
            mask: Option<[u8; 4]>,
            len in 0..=u64::MAX >> 1,
            shift in 0..63u32,
        ) {
            let header = FrameHeader { fin, rsv1, opcode: OpCode::Text, mask, len: len >> shift };
            let mut out = [0xaa; MAX_HEADER];
            let n = header.write(&mut out);
            prop_assert_eq!(FrameHeader::parse(&out[..n]), Ok(Some((header, n))));
            for short in 0..n {
                prop_assert_eq!(FrameHeader::parse(&out[..short]), Ok(None));
            }
        }

        /// The order of the checks follows the order of the bytes, so a split never changes which error is reported.
        #[test]
        fn a_prefix_never_contradicts_the_whole(bytes: [u8; MAX_HEADER]) {
            let whole = FrameHeader::parse(&bytes);
            for n in 0..bytes.len() {
                match FrameHeader::parse(&bytes[..n]) {
                    Ok(None) => {}
                    other => prop_assert_eq!(other, whole),
                }
            }
        }
    }
}
