//! Checks UTF-8 as it arrives: whole runs by SIMD, and byte by byte a sequence that is split between reads or frames.

/// Whether `bytes` is UTF-8 as a whole.
#[inline]
#[must_use]
pub fn is_valid(bytes: &[u8]) -> bool {
    simdutf8::basic::from_utf8(bytes).is_ok()
}

/// Checks a text that arrives in pieces.
///
/// A piece is refused at the first byte that no continuation can make valid. Overlong forms, surrogates and values above
/// U+10FFFF (RFC 3629) are refused at their second byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Utf8 {
    /// Continuation bytes missing from the last sequence, or `INVALID`.
    missing: u8,
    /// Bounds of the next byte, if one is missing.
    low: u8,
    high: u8,
}

const INVALID: u8 = u8::MAX;

impl Utf8 {
    /// A check at the beginning of a text.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            missing: 0,
            low: 0,
            high: 0,
        }
    }

    /// Checks the next piece. Returns `false` if no continuation can make the text valid, then and in all later calls.
    pub fn feed(&mut self, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        while self.missing != 0 {
            let Some((&byte, tail)) = rest.split_first() else {
                return self.missing != INVALID;
            };
            if !self.step(byte) {
                return false;
            }
            rest = tail;
        }
        let (whole, open) = rest.split_at(open_sequence(rest));
        if !is_valid(whole) {
            self.missing = INVALID;
            return false;
        }
        open.iter().all(|&byte| self.step(byte))
    }

    /// Checks the next piece, which is known to be ASCII: the same as [`Utf8::feed`], without reading it.
    #[inline]
    pub(crate) fn feed_ascii(&mut self, bytes: &[u8]) -> bool {
        if self.missing != 0 && !bytes.is_empty() {
            self.missing = INVALID;
        }
        self.missing != INVALID
    }

    /// Whether the text so far is valid and does not end within a sequence.
    #[inline]
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// Checks one byte.
    fn step(&mut self, byte: u8) -> bool {
        let next = match self.missing {
            0 => first_byte(byte),
            INVALID => None,
            n if (self.low..=self.high).contains(&byte) => Some((n - 1, 0x80, 0xbf)),
            _ => None,
        };
        (self.missing, self.low, self.high) = next.unwrap_or((INVALID, 0, 0));
        next.is_some()
    }
}

/// For the first byte of a sequence: the number of bytes that follow, and the bounds of the second byte (RFC 3629 §4).
const fn first_byte(byte: u8) -> Option<(u8, u8, u8)> {
    Some(match byte {
        0x00..=0x7f => (0, 0, 0),
        0xc2..=0xdf => (1, 0x80, 0xbf),
        0xe0 => (2, 0xa0, 0xbf),
        0xed => (2, 0x80, 0x9f),
        0xe1..=0xef => (2, 0x80, 0xbf),
        0xf0 => (3, 0x90, 0xbf),
        0xf1..=0xf3 => (3, 0x80, 0xbf),
        0xf4 => (3, 0x80, 0x8f),
        _ => return None,
    })
}

/// The index of the incomplete sequence at the end of `bytes`; the length of `bytes` if there is none.
fn open_sequence(bytes: &[u8]) -> usize {
    for (back, &byte) in bytes.iter().rev().take(3).enumerate() {
        match byte {
            0x80..=0xbf => {}
            _ => {
                let open = first_byte(byte).is_some_and(|(more, ..)| usize::from(more) > back);
                return bytes.len() - if open { back + 1 } else { 0 };
            }
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The oracle: whether std reports an error in a prefix that no further bytes can correct.
    fn hopeless(bytes: &[u8]) -> bool {
        std::str::from_utf8(bytes).is_err_and(|e| e.error_len().is_some())
    }

    /// Bytes near the boundaries of the encoding, which random bytes seldom hit.
    fn tricky() -> impl Strategy<Value = Vec<u8>> {
        let edges = [
            0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0,
            0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xf7, 0xf8, 0xff,
        ];
        let piece = prop_oneof![
            proptest::sample::select(edges.to_vec()).prop_map(|b| vec![b]),
            any::<char>().prop_map(|c| c.to_string().into_bytes()),
            "[a-z]{0,70}".prop_map(String::into_bytes),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        /// RFC 6455 §8.1: "When an endpoint is to interpret a byte stream as UTF-8 but finds that the byte stream is
        /// not, in fact, a valid UTF-8 stream, that endpoint MUST _Fail the WebSocket Connection_" - at the very byte.
        #[test]
        fn byte_by_byte_it_fails_where_std_does(bytes in tricky()) {
            let mut utf8 = Utf8::new();
            for end in 1..=bytes.len() {
                let ok = utf8.feed(&bytes[end - 1..end]);
                prop_assert_eq!(ok, !hopeless(&bytes[..end]));
                prop_assert_eq!(utf8.is_complete(), std::str::from_utf8(&bytes[..end]).is_ok());
            }
        }

        #[test]
        fn any_split_gives_the_same_answer(bytes in tricky(), cuts in proptest::collection::vec(0..200usize, 0..6)) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|c| c.min(bytes.len())).collect();
            cuts.push(bytes.len());
            cuts.sort_unstable();
            let (mut utf8, mut from) = (Utf8::new(), 0);
            for cut in cuts {
                let piece = &bytes[from..cut];
                let ok = if piece.is_ascii() { utf8.feed_ascii(piece) } else { utf8.feed(piece) };
                prop_assert_eq!(ok, !hopeless(&bytes[..cut]));
                from = cut;
            }
            prop_assert_eq!(utf8.is_complete(), std::str::from_utf8(&bytes).is_ok());
        }
    }

    #[test]
    fn every_char_passes_and_no_surrogate_does() {
        let mut utf8 = Utf8::new();
        let mut buffer = [0; 4];
        for c in '\0'..=char::MAX {
            for byte in c.encode_utf8(&mut buffer).bytes() {
                assert!(utf8.feed(&[byte]), "{c:?}");
            }
            assert!(utf8.is_complete());
        }
        for second in 0xa0..=0xbf {
            assert!(!Utf8::new().feed(&[0xed, second]));
        }
    }

    #[test]
    fn an_invalid_text_stays_invalid() {
        let mut utf8 = Utf8::new();
        assert!(!utf8.feed(b"\xff"));
        assert!(!utf8.feed(b""));
        assert!(!utf8.feed(b"fine"));
        assert!(!utf8.feed_ascii(b"fine"));
        assert!(!utf8.is_complete());
    }
}
