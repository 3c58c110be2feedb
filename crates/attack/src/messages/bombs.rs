//! Compressed messages of a few kilobytes that inflate a thousandfold (RFC 7692).

use hioload_ws_proto::deflate::Deflater;

use super::frames::{BINARY, CONTINUATION, FIN, RSV1, TEXT, frame};

/// The sizes of a connection's window, and of its compressor.
const WINDOW_BITS: u8 = 15;
const MEM_LEVEL: u8 = 9;
/// Frames of a fragmented bomb.
const FRAGMENTS: usize = 8;

/// The bombs of the attack: each connection sends one form.
#[derive(Debug)]
pub(crate) struct Bombs {
    /// Whole frames.
    forms: [Vec<u8>; 4],
}

impl Bombs {
    /// Bombs that inflate to `size` bytes: binary, text, text in fragments, and binary that refers to the message before it
    /// (context takeover).
    pub(crate) fn new(size: usize) -> Self {
        // One letter: for text, which has to be UTF-8, and as compressible as zeros.
        let content = vec![b'a'; size];
        let mut deflater = Deflater::new(9, WINDOW_BITS, MEM_LEVEL);
        let mut alone = Vec::new();
        let mut following = Vec::new();
        // With these parameters the compressor does not fail; an empty message would be sent if it did.
        let _ = deflater.deflate(&content, &mut alone);
        let _ = deflater.deflate(&content, &mut following);
        let mut fragments = Vec::new();
        let step = alone.len().div_ceil(FRAGMENTS).max(1);
        let parts: Vec<&[u8]> = alone.chunks(step).collect();
        for (n, part) in parts.iter().enumerate() {
            let first = if n == 0 { RSV1 | TEXT } else { CONTINUATION };
            let fin = if n + 1 == parts.len() { FIN } else { 0 };
            frame(&mut fragments, first | fin, part);
        }
        let whole = |opcode: u8, payload: &[u8]| {
            let mut out = Vec::new();
            frame(&mut out, FIN | RSV1 | opcode, payload);
            out
        };
        // The window before each `following` is `a` throughout, but that of the first message is empty.
        let takeover = whole(BINARY, &following);
        Self {
            forms: [
                whole(BINARY, &alone),
                whole(TEXT, &alone),
                fragments,
                takeover,
            ],
        }
    }

    /// The next message of connection `peer`; `alone` if it must not refer to the message before it.
    pub(crate) fn form(&self, peer: usize, alone: bool) -> &[u8] {
        match peer % self.forms.len() {
            3 if alone => &self.forms[0],
            form => &self.forms[form],
        }
    }
}

#[cfg(test)]
mod tests {
    use hioload_ws_proto::deflate::Inflater;

    use super::*;

    /// The frames in `bytes`: first byte and payload.
    fn frames(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
        let mut frames = Vec::new();
        while let [first, second, rest @ ..] = bytes {
            let (len, rest) = match second & 0x7f {
                126 => (
                    usize::from(u16::from_be_bytes([rest[0], rest[1]])),
                    &rest[2..],
                ),
                short => (usize::from(short), rest),
            };
            frames.push((*first, &rest[4..4 + len]));
            bytes = &rest[4 + len..];
        }
        frames
    }

    #[test]
    fn every_form_is_small_and_inflates_to_the_size() {
        const SIZE: usize = 1 << 20;
        let bombs = Bombs::new(SIZE);
        for peer in 0..4 {
            let mut inflater = Inflater::new(WINDOW_BITS);
            for n in 0..3 {
                let bytes = bombs.form(peer, n == 0);
                assert!(bytes.len() < 2048, "{} bytes", bytes.len());
                let frames = frames(bytes);
                assert_eq!(frames.len(), if peer == 2 { FRAGMENTS } else { 1 });
                for (at, (first, _)) in frames.iter().enumerate() {
                    assert_eq!(first & RSV1 != 0, at == 0);
                    assert_eq!(first & FIN != 0, at + 1 == frames.len());
                }
                let payload: Vec<u8> = frames.iter().flat_map(|(_, part)| *part).copied().collect();
                let mut out = Vec::new();
                inflater
                    .inflate(&payload, &mut out, 2 * SIZE)
                    .expect("a good message");
                assert_eq!(out.len(), SIZE);
                assert!(out.iter().all(|byte| *byte == b'a'));
            }
        }
    }
}
