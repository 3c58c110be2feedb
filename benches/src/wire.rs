//! The bytes that every codec decodes: masked frames back to back, as a server receives them.

use hioload_ws_proto::{OpCode, encode};

/// The content of the messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// Bytes of all values, in binary frames.
    Binary,
    /// JSON in ASCII, in text frames.
    Ascii,
    /// Text with characters of two, three and four bytes among ASCII.
    Mixed,
}

impl Content {
    /// Returns a short name for tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Ascii => "text (ASCII)",
            Self::Mixed => "text (mixed)",
        }
    }

    /// Returns the opcode of its frames.
    #[must_use]
    pub const fn opcode(self) -> OpCode {
        match self {
            Self::Binary => OpCode::Binary,
            Self::Ascii | Self::Mixed => OpCode::Text,
        }
    }

    /// Returns a payload of exactly `len` bytes.
    #[must_use]
    pub fn payload(self, len: usize) -> Vec<u8> {
        let text = match self {
            Self::Binary => return (0..len).map(|i| (i * 167 + i / 256 + 13) as u8).collect(),
            Self::Ascii => r#"{"symbol":"EURUSD","bid":1.08312,"ask":1.08314,"size":250000},"#,
            Self::Mixed => "Grüße aus Köln, привет из Киева, 东京の天気 is 21 °C 🌤, naïve café; ",
        };
        let mut payload = String::with_capacity(len);
        for character in text.chars().cycle() {
            if payload.len() + character.len_utf8() > len {
                break;
            }
            payload.push(character);
        }
        // Spaces fill the bytes in which the next character would not fit.
        payload.extend(std::iter::repeat_n(' ', len - payload.len()));
        payload.into_bytes()
    }
}

/// Returns `count` masked frames with `len` bytes of payload each; every frame has its own key.
#[must_use]
pub fn masked_frames(content: Content, len: usize, count: usize) -> Vec<u8> {
    let payload = content.payload(len);
    let mut wire = Vec::with_capacity(count * encode::frame_len(len, true));
    for i in 0..count as u32 {
        let key = (i + 1).wrapping_mul(0x9e37_79b1).to_le_bytes();
        encode::frame_into(&mut wire, content.opcode(), &payload, Some(key));
    }
    wire
}
