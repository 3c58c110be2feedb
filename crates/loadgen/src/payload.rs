//! Payloads: one template, of which each message is a slice with its number patched in.
//!
//! A message begins with its number, as up to eight letters, and continues with the bytes that follow in the template. The number
//! determines the start and the length of the slice. The next answer of a connection is therefore known to the byte without storing
//! the message, and an answer to another message, or in another order, is detected.

use std::fmt;

use crate::job::Verify;
use crate::sizes::Sizes;

/// Bytes of the number.
const NUMBER: usize = 8;
/// Number of offsets at which a slice can begin.
const SHIFTS: usize = 256;
/// A wrong answer is searched among this many messages before and after the expected one.
const NEAR: u32 = 1 << 16;

/// The way in which an answer is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// The length differs.
    Length { expected: usize, received: usize },
    /// A byte differs; the first at this offset.
    Byte { at: usize },
    /// It is the answer to the message this many places later or, if negative, earlier.
    Order { by: i64 },
    /// Text instead of binary, or binary instead of text.
    Kind,
    /// No message was in flight.
    Unasked,
}

impl Wrong {
    /// The name under which the error is counted.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Length { .. } => "wrong length",
            Self::Byte { .. } => "wrong byte",
            Self::Order { .. } => "wrong order",
            Self::Kind => "wrong kind",
            Self::Unasked => "unasked",
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { expected, received } => {
                write!(f, "{received} bytes were received instead of {expected}")
            }
            Self::Byte { at } => write!(f, "byte {at} is wrong"),
            Self::Order { by } if *by < 0 => {
                write!(
                    f,
                    "it is the answer of {} messages before: sent twice, or out of order",
                    -by
                )
            }
            Self::Order { by } => write!(
                f,
                "it is the answer of {by} later: one is missing, or out of order"
            ),
            Self::Kind => f.write_str("text instead of binary, or binary instead of text"),
            Self::Unasked => f.write_str("no message was in flight"),
        }
    }
}

/// The messages of a run.
#[derive(Debug, Clone)]
pub(crate) struct Payload {
    template: Vec<u8>,
    sizes: Box<[u32]>,
    content: bool,
}

/// The letters of a number: `a` for 0 to `p` for 15, the lowest four bits first, so that a short message contains those.
fn letters(n: u32) -> [u8; NUMBER] {
    let mut x = u64::from(n);
    x = (x | x << 16) & 0x0000_ffff_0000_ffff;
    x = (x | x << 8) & 0x00ff_00ff_00ff_00ff;
    x = (x | x << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    (x + 0x6161_6161_6161_6161).to_le_bytes()
}

/// The number that letters stand for; `None` if they stand for none.
fn number(letters: &[u8]) -> Option<u32> {
    let mut n = 0;
    for (place, letter) in letters.iter().take(NUMBER).enumerate() {
        let digit = letter.checked_sub(b'a').filter(|digit| *digit < 16)?;
        n |= u32::from(digit) << (4 * place);
    }
    (letters.len() >= NUMBER).then_some(n)
}

impl Payload {
    /// Messages of these sizes: ASCII if `text`, else any bytes after the number.
    pub(crate) fn new(sizes: &Sizes, text: bool, verify: Verify) -> Self {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let template = (0..SHIFTS + NUMBER + sizes.largest()).map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let byte = (state >> 32) as u8;
            // Capital letters need no escape in a JSON string.
            if text { b'A' + byte % 26 } else { byte }
        });
        Self {
            template: template.collect(),
            sizes: sizes.table(),
            content: verify == Verify::Content,
        }
    }

    /// The length of message `n`.
    #[inline]
    pub(crate) fn size(&self, n: u32) -> usize {
        self.sizes[n.wrapping_mul(0x9e37_79b1).rotate_left(15) as usize & (self.sizes.len() - 1)]
            as usize
    }

    #[inline]
    fn start(n: u32) -> usize {
        n.wrapping_mul(37) as usize % SHIFTS
    }

    /// Calls `f` with message `n`.
    #[inline]
    pub(crate) fn lend<R>(&mut self, n: u32, f: impl FnOnce(&[u8]) -> R) -> R {
        let (start, size) = (Self::start(n), self.size(n));
        let place = start..start + NUMBER;
        let mut kept = [0; NUMBER];
        kept.copy_from_slice(&self.template[place.clone()]);
        self.template[place.clone()].copy_from_slice(&letters(n));
        let result = f(&self.template[start..start + size]);
        self.template[place].copy_from_slice(&kept);
        result
    }

    /// Checks that `received` is message `n`.
    #[inline]
    pub(crate) fn check(&self, n: u32, received: &[u8]) -> Result<(), Wrong> {
        let (start, size) = (Self::start(n), self.size(n));
        // A complete number is compared as one word.
        if received.len() == size
            && let Some((number, rest)) = received.split_first_chunk::<NUMBER>()
            && *number == letters(n)
            && (!self.content || *rest == self.template[start + NUMBER..start + size])
        {
            return Ok(());
        }
        let head = NUMBER.min(size);
        let rest = &self.template[start + head..start + size];
        if received.len() == size
            && received[..head] == letters(n)[..head]
            && (!self.content || received[head..] == *rest)
        {
            return Ok(());
        }
        Err(self.wrong(n, received))
    }

    #[cold]
    fn wrong(&self, n: u32, received: &[u8]) -> Wrong {
        let size = self.size(n);
        if let Some(other) = number(received)
            && other != n
            && self.size(other) == received.len()
            && other.wrapping_sub(n).wrapping_add(NEAR) < 2 * NEAR
        {
            return Wrong::Order {
                by: i64::from(other.wrapping_sub(n).cast_signed()),
            };
        }
        if received.len() != size {
            return Wrong::Length {
                expected: size,
                received: received.len(),
            };
        }
        let start = Self::start(n);
        let head = NUMBER.min(size);
        let expected = letters(n)[..head]
            .iter()
            .chain(&self.template[start + head..start + size])
            .zip(received)
            .position(|(sent, received)| sent != received);
        Wrong::Byte {
            at: expected.unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(sizes: &str, text: bool, verify: Verify) -> Payload {
        Payload::new(&sizes.parse().expect("sizes"), text, verify)
    }

    #[test]
    fn a_message_passes_only_as_itself() {
        for sizes in [
            "0",
            "1",
            "7",
            "8",
            "9",
            "64",
            "5000",
            "8..300",
            "16:1,9000:1",
        ] {
            for text in [false, true] {
                let mut payload = payload(sizes, text, Verify::Content);
                for n in [0, 1, 254, 255, 256, 0xffff_ffff, 0x8000_0000] {
                    let message = payload.lend(n, <[u8]>::to_vec);
                    assert_eq!(payload.check(n, &message), Ok(()));
                    assert!(!text || message.iter().all(u8::is_ascii_alphabetic));
                    if message.is_empty() {
                        continue;
                    }
                    assert!(payload.check(n.wrapping_add(1), &message).is_err());
                    for at in [0, message.len() / 2, message.len() - 1] {
                        let mut bad = message.clone();
                        bad[at] ^= 0x20;
                        assert!(payload.check(n, &bad).is_err(), "{sizes} {n} byte {at}");
                    }
                    assert!(payload.check(n, &message[1..]).is_err());
                }
            }
        }
    }

    #[test]
    fn a_wrong_answer_is_classified() {
        let mut payload = payload("64", false, Verify::Content);
        let message = payload.lend(5, <[u8]>::to_vec);
        assert_eq!(payload.check(4, &message), Err(Wrong::Order { by: 1 }));
        assert_eq!(payload.check(8, &message), Err(Wrong::Order { by: -3 }));
        assert_eq!(
            payload.check(5, &message[..63]),
            Err(Wrong::Length {
                expected: 64,
                received: 63
            })
        );
        let mut bad = message.clone();
        bad[63] ^= 1;
        assert_eq!(payload.check(5, &bad), Err(Wrong::Byte { at: 63 }));
    }

    #[test]
    fn without_content_only_length_and_order_are_compared() {
        let mut payload = payload("64", false, Verify::Length);
        let mut message = payload.lend(5, <[u8]>::to_vec);
        message[30] ^= 1;
        assert_eq!(payload.check(5, &message), Ok(()));
        assert!(payload.check(6, &message).is_err());
        assert!(payload.check(5, &message[..50]).is_err());
    }
}
