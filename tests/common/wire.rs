//! The bytes of frames and requests.

pub const FIN: u8 = 0x80;
pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xA;

/// The masking key of every frame sent by the tests.
pub const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// RFC 6455 §1.3 gives this key and the answer to it.
pub const NONCE: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The header of a masked frame: `first` is FIN, the reserved bits and the opcode.
pub fn header(first: u8, len: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match len {
        0..126 => bytes.push(0x80 | len as u8),
        126..0x1_0000 => {
            bytes.push(0x80 | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend(len.to_be_bytes());
        }
    }
    bytes.extend(KEY);
    bytes
}

/// A payload as it goes over the wire with [`KEY`].
pub fn masked(payload: &[u8]) -> Vec<u8> {
    payload
        .iter()
        .enumerate()
        .map(|(at, byte)| byte ^ KEY[at % 4])
        .collect()
}

/// A whole masked frame.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, payload.len() as u64);
    bytes.extend(masked(payload));
    bytes
}

/// A frame as a server would send it: unmasked. The payload is short.
pub fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first, payload.len() as u8];
    bytes.extend(payload);
    bytes
}

/// A Close frame.
pub fn close(code: u16, reason: &str) -> Vec<u8> {
    frame(
        FIN | CLOSE,
        &[&code.to_be_bytes(), reason.as_bytes()].concat(),
    )
}

/// A request from its lines, with the empty line that ends it.
pub fn request(lines: &[&str]) -> Vec<u8> {
    let mut text = lines.join("\r\n");
    text.push_str("\r\n\r\n");
    text.into_bytes()
}

/// An upgrade request as it should be, with more header lines.
pub fn upgrade(path: &str, more: &[&str]) -> Vec<u8> {
    let (first, key) = (
        format!("GET {path} HTTP/1.1"),
        format!("Sec-WebSocket-Key: {NONCE}"),
    );
    let usual = [
        &first,
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        &key,
    ];
    request(&[&usual[..], more].concat())
}

/// Some bytes that differ from one `seed` to another.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// A raw DEFLATE stream that inflates to `len` or a little more zero bytes, 160 times its own size: one block of fixed codes
/// (RFC 1951 §3.2.6), a literal 0 and then "the last byte 258 times more" again and again. It ends with the byte-aligned
/// empty block whose last four bytes permessage-deflate leaves out (RFC 7692 §7.2.1).
pub fn bomb(len: usize) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.put(0b010, 3); // not the last block, fixed codes
    bits.put_code(0b0011_0000, 8); // literal 0
    for _ in 0..len.div_ceil(258) {
        bits.put_code(0b1100_0101, 8); // length 258
        bits.put_code(0, 5); // distance 1
    }
    bits.put_code(0, 7); // end of block
    bits.put(0b000, 3); // a stored block follows; the rest of it is left out
    bits.bytes
}

/// A raw DEFLATE stream of `before`, `len` or a little more digits 0, and `after`. The digits take a thousandth of their number:
/// after a first one, "258 more" is one bit of a dynamic code (RFC 1951 §3.2.7), and the distance another. It ends as [`bomb`] does.
pub fn tight_bomb(before: &[u8], len: usize, after: &[u8]) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.put_stored(before);
    bits.put(0b100, 3); // not the last block, dynamic codes
    bits.put(29, 5); // 286 codes of literals and lengths
    bits.put(0, 5); // 1 code of distances
    bits.put(14, 4); // 18 lengths of the code that follows, in the order of RFC 1951: those of 18, 2 and 1 are 1, 2 and 2
    for length in [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 2] {
        bits.put(length, 3);
    }
    let zeros = |bits: &mut Bits, count: u32| {
        bits.put_code(0, 1);
        bits.put(count - 11, 7);
    };
    zeros(&mut bits, 48);
    bits.put_code(0b11, 2); // the digit 0: two bits
    zeros(&mut bits, 138);
    zeros(&mut bits, 69);
    bits.put_code(0b11, 2); // the end of the block: two bits
    zeros(&mut bits, 28);
    bits.put_code(0b10, 2); // length 258: one bit
    bits.put_code(0b10, 2); // distance 1: one bit
    bits.put_code(0b10, 2); // the first digit
    for _ in 0..len.div_ceil(258) {
        bits.put(0, 2);
    }
    bits.put_code(0b11, 2);
    bits.put_stored(after);
    bits.put(0b000, 3);
    bits.bytes
}

/// Packs bits as DEFLATE does: from the least significant bit of each byte.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    fn put(&mut self, value: u32, count: u32) {
        for bit in 0..count {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let last = self.bytes.len() - 1;
            self.bytes[last] |= ((value >> bit & 1) as u8) << (self.used % 8);
            self.used += 1;
        }
    }

    /// A stored block, unless `bytes` is empty.
    fn put_stored(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let len = u16::try_from(bytes.len()).expect("one block");
        self.put(0b000, 3);
        self.bytes.extend(len.to_le_bytes());
        self.bytes.extend((!len).to_le_bytes());
        self.bytes.extend(bytes);
        self.used = 0;
    }

    /// A Huffman code goes in with its most significant bit first.
    fn put_code(&mut self, code: u32, count: u32) {
        self.put(code.reverse_bits() >> (32 - count), count);
    }
}
