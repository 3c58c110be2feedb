//! What messages are made of: a template made once, of which each message is a piece with its number patched in.
//!
//! A message begins with its number, as up to eight letters, and goes on with the bytes that follow in the template. Where its
//! piece begins and how long it is follows from the number. So the next answer of a connection is known to the byte without
//! anything being kept of the message, and what belongs to another message, or comes in another order, is told apart.

use std::fmt;

use crate::job::Verify;
use crate::sizes::Sizes;

/// Bytes of the number.
const NUMBER: usize = 8;
/// Pieces begin at one of so many places.
const SHIFTS: usize = 256;
/// An answer is looked for among so many messages before and behind the one awaited.
const NEAR: u32 = 1 << 16;

/// How an answer is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// Another length.
    Length { sent: usize, came: usize },
    /// Another byte, the first at this place.
    Byte { at: usize },
    /// It is the answer to the message so many places later (or, negative, before).
    Order { by: i64 },
    /// Text for binary, or the other way round.
    Kind,
    /// Nothing was under way.
    Unasked,
}

impl Wrong {
    /// The name it is counted under.
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
            Self::Length { sent, came } => write!(f, "{came} bytes came for {sent}"),
            Self::Byte { at } => write!(f, "byte {at} is wrong"),
            Self::Order { by } if *by < 0 => {
                write!(
                    f,
                    "it is the one {} before: sent twice, or out of order",
                    -by
                )
            }
            Self::Order { by } => write!(
                f,
                "it is the one {by} later: one is missing, or out of order"
            ),
            Self::Kind => f.write_str("text and binary are mixed up"),
            Self::Unasked => f.write_str("nobody asked for it"),
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

/// The letters of a number: `a` for 0 to `p` for 15, the lowest four bits first, so that a short message has those.
fn letters(n: u32) -> [u8; NUMBER] {
    let mut x = u64::from(n);
    x = (x | x << 16) & 0x0000_ffff_0000_ffff;
    x = (x | x << 8) & 0x00ff_00ff_00ff_00ff;
    x = (x | x << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    (x + 0x6161_6161_6161_6161).to_le_bytes()
}

/// The number of such letters; `None` if they are none.
fn number(letters: &[u8]) -> Option<u32> {
    let mut n = 0;
    for (place, letter) in letters.iter().take(NUMBER).enumerate() {
        let digit = letter.checked_sub(b'a').filter(|digit| *digit < 16)?;
        n |= u32::from(digit) << (4 * place);
    }
    (letters.len() >= NUMBER).then_some(n)
}

impl Payload {
    /// Messages of these sizes: ASCII if `text`, else any bytes behind the number.
    pub(crate) fn new(sizes: &Sizes, text: bool, verify: Verify) -> Self {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let template = (0..SHIFTS + NUMBER + sizes.largest()).map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let byte = (state >> 32) as u8;
            // No quotes and no backslashes, so that it may stand in a JSON string.
            if text { b'A' + byte % 26 } else { byte }
        });
        Self {
            template: template.collect(),
            sizes: sizes.table(),
            content: verify == Verify::Content,
        }
    }

    /// Bytes of message `n`.
    #[inline]
    pub(crate) fn size(&self, n: u32) -> usize {
        self.sizes[n.wrapping_mul(0x9e37_79b1).rotate_left(15) as usize & (self.sizes.len() - 1)]
            as usize
    }

    #[inline]
    fn start(n: u32) -> usize {
        n.wrapping_mul(37) as usize % SHIFTS
    }

    /// Message `n`, lent to `f`.
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

    /// Whether `came` is message `n`.
    #[inline]
    pub(crate) fn check(&self, n: u32, came: &[u8]) -> Result<(), Wrong> {
        let (start, size) = (Self::start(n), self.size(n));
        // A number that is there whole is compared as one word.
        if came.len() == size
            && let Some((number, rest)) = came.split_first_chunk::<NUMBER>()
            && *number == letters(n)
            && (!self.content || *rest == self.template[start + NUMBER..start + size])
        {
            return Ok(());
        }
        let head = NUMBER.min(size);
        let rest = &self.template[start + head..start + size];
        if came.len() == size
            && came[..head] == letters(n)[..head]
            && (!self.content || came[head..] == *rest)
        {
            return Ok(());
        }
        Err(self.wrong(n, came))
    }

    #[cold]
    fn wrong(&self, n: u32, came: &[u8]) -> Wrong {
        let size = self.size(n);
        if let Some(other) = number(came)
            && other != n
            && self.size(other) == came.len()
            && other.wrapping_sub(n).wrapping_add(NEAR) < 2 * NEAR
        {
            return Wrong::Order {
                by: i64::from(other.wrapping_sub(n).cast_signed()),
            };
        }
        if came.len() != size {
            return Wrong::Length {
                sent: size,
                came: came.len(),
            };
        }
        let start = Self::start(n);
        let head = NUMBER.min(size);
        let expected = letters(n)[..head]
            .iter()
            .chain(&self.template[start + head..start + size])
            .zip(came)
            .position(|(sent, came)| sent != came);
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
    fn a_message_passes_as_itself_alone() {
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
    fn what_is_wrong_is_named() {
        let mut payload = payload("64", false, Verify::Content);
        let message = payload.lend(5, <[u8]>::to_vec);
        assert_eq!(payload.check(4, &message), Err(Wrong::Order { by: 1 }));
        assert_eq!(payload.check(8, &message), Err(Wrong::Order { by: -3 }));
        assert_eq!(
            payload.check(5, &message[..63]),
            Err(Wrong::Length { sent: 64, came: 63 })
        );
        let mut bad = message.clone();
        bad[63] ^= 1;
        assert_eq!(payload.check(5, &bad), Err(Wrong::Byte { at: 63 }));
    }

    #[test]
    fn without_content_length_and_order_are_compared() {
        let mut payload = payload("64", false, Verify::Length);
        let mut message = payload.lend(5, <[u8]>::to_vec);
        message[30] ^= 1;
        assert_eq!(payload.check(5, &message), Ok(()));
        assert!(payload.check(6, &message).is_err());
        assert!(payload.check(5, &message[..50]).is_err());
    }
}
