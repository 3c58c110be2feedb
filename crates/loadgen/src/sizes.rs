//! Sizes of messages: one, a range, or a weighted list.

use std::fmt;
use std::str::FromStr;

/// The largest message, in bytes.
const MAX_SIZE: u64 = 1 << 30;
/// Entries of the table of sizes. The number of a message alone selects its entry.
const TABLE: usize = 4096;

/// The sizes of messages in bytes: `64`, `64..4096` (uniform), `64:90,4096:10` (weights).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes {
    parts: Vec<Part>,
    text: String,
}

/// Sizes `from..=to`, uniformly distributed, with a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    from: u64,
    to: u64,
    weight: u64,
}

impl Sizes {
    /// One size for all messages.
    pub fn fixed(bytes: usize) -> Self {
        let size = bytes as u64;
        let part = Part {
            from: size,
            to: size,
            weight: 1,
        };
        Self {
            parts: vec![part],
            text: bytes.to_string(),
        }
    }

    /// The largest size.
    pub fn largest(&self) -> usize {
        self.parts.iter().map(|part| part.to).max().unwrap_or(0) as usize
    }

    /// The smallest size.
    pub fn smallest(&self) -> usize {
        self.parts.iter().map(|part| part.from).min().unwrap_or(0) as usize
    }

    /// The table of sizes, whose length is a power of two.
    pub(crate) fn table(&self) -> Box<[u32]> {
        if let [Part { from, to, .. }] = self.parts[..]
            && from == to
        {
            return Box::new([from as u32]);
        }
        let total: u64 = self.parts.iter().map(|part| part.weight).sum();
        let mut table = Vec::with_capacity(TABLE);
        let mut upto = 0;
        for part in &self.parts {
            upto += part.weight;
            // Weights are exact to one entry, and the sizes of a range are spread evenly.
            let end = (TABLE as u64 * upto / total) as usize;
            let n = end.saturating_sub(table.len());
            for i in 0..n {
                let span = part.to - part.from + 1;
                let step = span * i as u64 / n as u64;
                table.push((part.from + step) as u32);
            }
        }
        shuffle(&mut table);
        table.into()
    }
}

/// Shuffles the table in the same order each time, so that a run can be repeated.
fn shuffle(table: &mut [u32]) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for i in (1..table.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        table.swap(i, (state % (i as u64 + 1)) as usize);
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The reason why a text is not a [`Sizes`], in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SizesError(String);

impl fmt::Display for SizesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SizesError {}

fn expected() -> SizesError {
    SizesError(EXPECTED.to_owned())
}

const EXPECTED: &str =
    "expected a size (64, 16KiB), a range (64..4096) or weighted sizes (64:90,4096:10)";

impl FromStr for Sizes {
    type Err = SizesError;

    fn from_str(text: &str) -> Result<Self, SizesError> {
        let mut parts = Vec::new();
        for part in text.split(',') {
            let (sizes, weight) = match part.split_once(':') {
                Some((sizes, weight)) => (sizes, weight.trim().parse().map_err(|_| expected())?),
                None => (part, 1),
            };
            let (from, to) = match sizes.split_once("..") {
                Some((from, to)) => (size(from)?, size(to)?),
                None => (size(sizes)?, size(sizes)?),
            };
            if from > to {
                return Err(SizesError(format!(
                    "'{sizes}': the range ends before it begins"
                )));
            }
            if to > MAX_SIZE {
                return Err(SizesError(format!(
                    "'{sizes}' is more than the limit of 1 GiB"
                )));
            }
            if !(1..=1_000_000).contains(&weight) {
                return Err(SizesError(format!(
                    "'{part}': the weight must be from 1 to 1000000"
                )));
            }
            parts.push(Part { from, to, weight });
        }
        Ok(Self {
            parts,
            text: text.to_owned(),
        })
    }
}

/// Parses `64`, `64KiB`, `1MiB`, `1kB`, `1MB`.
fn size(text: &str) -> Result<u64, SizesError> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "kB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return Err(expected()),
    };
    let number: u64 = number.parse().map_err(|_| expected())?;
    number.checked_mul(unit).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(text: &str) -> Sizes {
        text.parse().expect("sizes")
    }

    #[test]
    fn the_table_has_the_sizes_that_were_given() {
        assert_eq!(&*sizes("64").table(), &[64]);
        assert_eq!(sizes("1KiB").largest(), 1024);
        let range = sizes("10..20").table();
        for size in 10..=20 {
            let n = range.iter().filter(|have| **have == size).count();
            assert!((200..=450).contains(&n), "{size}: {n} of {TABLE}");
        }
        let listed = sizes("64:90,4096:10").table();
        let large = listed.iter().filter(|size| **size == 4096).count();
        assert!((TABLE / 10 - 1..=TABLE / 10 + 1).contains(&large));
        assert_eq!(
            (listed.len(), sizes("64:90,4096:10").largest()),
            (TABLE, 4096)
        );
        assert_eq!(sizes("0..10:3,7:1").smallest(), 0);
    }

    #[test]
    fn malformed_sizes_are_refused() {
        for bad in [
            "", "x", "9..1", "1..", "..2", "64:", "64:0", "2GiB", "64;65", "-1",
        ] {
            assert!(bad.parse::<Sizes>().is_err(), "{bad}");
        }
    }
}
