//! The units of figures.

use crate::format;

/// The unit of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds.
    Time,
    /// A count per second.
    PerSecond,
    /// Bytes per second.
    BytesPerSecond,
    /// Bytes.
    Bytes,
    /// A count.
    Count,
    /// A part of the whole, 0 to 1.
    Share,
    /// Cores.
    Cores,
}

impl Unit {
    /// The value as text, with its unit.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Time => format::time(value),
            Self::PerSecond => format::per_second(value),
            Self::BytesPerSecond => format::bytes_per_second(value),
            Self::Bytes => format::bytes(value),
            Self::Count if value.fract() != 0.0 && value.abs() < 1000.0 => format::digits(value),
            Self::Count => format::count(value),
            Self::Share => format::percent(value),
            Self::Cores => format::digits(value),
        }
    }

    /// A range as text: `94.0 - 182 µs`, `812 ns - 1.23 µs`.
    pub fn range(self, min: f64, max: f64) -> String {
        let (min, max) = (self.show(min), self.show(max));
        match (min.split_once(' '), max.split_once(' ')) {
            (Some((number, unit)), Some((_, same))) if unit == same => format!("{number} - {max}"),
            _ => format!("{min} - {max}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_its_unit_once() {
        assert_eq!(Unit::Time.range(94_000.0, 182_000.0), "94.0 - 182 µs");
        assert_eq!(Unit::Time.range(812.0, 1230.0), "812 ns - 1.23 µs");
        assert_eq!(Unit::Count.range(1.0, 2000.0), "1 - 2,000");
        assert_eq!(Unit::PerSecond.range(1000.0, 2000.0), "1,000 - 2,000 /s");
    }
}
