//! Random numbers from a seed, and streams whose bytes are a function of their offset.

use std::ops::RangeInclusive;
use std::time::Duration;

/// One step of SplitMix64.
pub fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

/// A generator; the same seed gives the same numbers everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    pub fn range(&mut self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.below(range.end() - range.start() + 1)
    }

    /// True with a probability of `percent`.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A number for which each power of two has the same probability.
    pub fn scale(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (low, high) = (*range.start(), *range.end());
        let powers = u64::from((high / low.max(1)).max(1).ilog2());
        let top = (low.max(1) << self.range(0..=powers)).saturating_mul(2);
        self.range(low..=top.min(high))
    }

    pub fn micros(&mut self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_micros(self.scale(range))
    }

    pub fn millis(&mut self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.range(range))
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// The bytes of one direction of one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Content {
    key: u64,
    /// Added to every offset.
    shift: u64,
}

/// The header of a client's stream: the number of the connection.
pub const HEADER: u64 = 8;
const MAGIC: u64 = 0x5eed;

impl Content {
    /// The stream of client `connection`: its number, then noise.
    pub fn up(connection: usize) -> Self {
        let key = connection as u64;
        Self { key, shift: 0 }
    }

    /// The stream of the server: other noise, or the client's bytes.
    pub fn down(connection: usize, echo: bool) -> Self {
        let key = connection as u64 | if echo { 0 } else { 1 << 32 };
        Self { key, shift: HEADER }
    }

    fn word(self, index: u64) -> u64 {
        match index {
            0 => MAGIC << 32 | self.key & 0xffff_ffff,
            _ => mix(self.key << 28 ^ index),
        }
    }

    /// Writes the bytes from `offset` on.
    pub fn fill(self, offset: u64, bytes: &mut [u8]) {
        let mut at = offset + self.shift;
        let mut rest = bytes;
        while !rest.is_empty() {
            let word = self.word(at / 8).to_le_bytes();
            let part = &word[at as usize % 8..];
            let n = part.len().min(rest.len());
            rest[..n].copy_from_slice(&part[..n]);
            rest = &mut rest[n..];
            at += n as u64;
        }
    }

    /// The first position where `bytes` differ from those from `offset` on.
    pub fn differs(self, offset: u64, bytes: &[u8]) -> Option<u64> {
        let mut at = offset + self.shift;
        let mut rest = bytes;
        while !rest.is_empty() {
            let word = self.word(at / 8).to_le_bytes();
            let part = &word[at as usize % 8..];
            let n = part.len().min(rest.len());
            if rest[..n] != part[..n] {
                let wrong = (0..n).find(|&i| rest[i] != part[i])?;
                return Some(at + wrong as u64 - self.shift);
            }
            rest = &rest[n..];
            at += n as u64;
        }
        None
    }

    /// The connection in the header of a client's stream.
    pub fn connection(header: [u8; 8]) -> Option<usize> {
        let word = u64::from_le_bytes(header);
        (word >> 32 == MAGIC).then_some((word & 0xffff_ffff) as usize)
    }
}
