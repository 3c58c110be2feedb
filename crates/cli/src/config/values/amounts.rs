//! Amounts: sizes, times, and bounds for them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes: `65536`, `64KiB`, `1MB`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Size(pub usize);

const SIZE_UNITS: [(&str, u64); 9] = [
    ("", 1),
    ("b", 1),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
];

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected a size such as 65536, 64KiB or 16MiB";
        let (number, unit) = split_unit(text);
        let number: usize = number.parse().map_err(|_| EXPECTED)?;
        let unit = unit.to_ascii_lowercase();
        let (_, factor) = SIZE_UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or(EXPECTED)?;
        usize::try_from(*factor)
            .ok()
            .and_then(|factor| number.checked_mul(factor))
            .map(Self)
            .ok_or("the size is too large")
    }
}

/// A time: `500ms`, `2s`, `5m`, `1h`, or `0`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span(pub Duration);

/// The longest time that can be set. It keeps every deadline far from overflow.
const LONGEST: Duration = Duration::from_secs(3600 * 24 * 366);

impl FromStr for Span {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected a time such as 500ms, 2s, 5m, 1h or 0";
        let (number, unit) = split_unit(text);
        let number: u64 = number.parse().map_err(|_| EXPECTED)?;
        let span = match unit {
            "" if number == 0 => Some(Duration::ZERO),
            "" => return Err("a time needs a unit: ms, s, m or h"),
            "us" => Some(Duration::from_micros(number)),
            "ms" => Some(Duration::from_millis(number)),
            "s" => Some(Duration::from_secs(number)),
            "m" => number.checked_mul(60).map(Duration::from_secs),
            "h" => number.checked_mul(3600).map(Duration::from_secs),
            _ => return Err(EXPECTED),
        };
        span.filter(|span| *span <= LONGEST)
            .map(Self)
            .ok_or("the longest time is 366 days (8784h)")
    }
}

/// `12ms` is `("12", "ms")`.
fn split_unit(text: &str) -> (&str, &str) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    (number, unit.trim_start())
}

/// A value within bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Within<T, const LEAST: u64, const MOST: u64>(pub(crate) T);

/// A value that must not be zero.
pub(crate) type AtLeastOne<T> = Within<T, 1, { u64::MAX }>;
/// The same with an upper bound.
pub(crate) type UpTo<T, const MOST: u64> = Within<T, 1, MOST>;

/// A value that can be compared with a bound.
pub(crate) trait Measure {
    /// The amount, in the unit of the type: bytes, nanoseconds, or things.
    fn measure(&self) -> u64;
    /// An amount as text.
    fn amount(measure: u64) -> String {
        measure.to_string()
    }
}

impl Measure for Size {
    fn measure(&self) -> u64 {
        self.0 as u64
    }
    fn amount(bytes: u64) -> String {
        let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
        let whole = units
            .iter()
            .find(|(_, shift)| bytes > 0 && bytes.is_multiple_of(1 << shift));
        match whole {
            Some((unit, shift)) => format!("{}{unit}", bytes >> shift),
            None => bytes.to_string(),
        }
    }
}
impl Measure for Span {
    fn measure(&self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }
    fn amount(nanoseconds: u64) -> String {
        let units = [
            ("h", 3_600_000_000_000),
            ("m", 60_000_000_000),
            ("s", 1_000_000_000),
            ("ms", 1_000_000),
            ("us", 1000),
        ];
        let whole = units
            .iter()
            .find(|(_, unit)| nanoseconds > 0 && nanoseconds.is_multiple_of(*unit));
        match whole {
            Some((name, unit)) => format!("{}{name}", nanoseconds / unit),
            None => format!("{nanoseconds}ns"),
        }
    }
}
impl Measure for usize {
    fn measure(&self) -> u64 {
        *self as u64
    }
}
impl Measure for u16 {
    fn measure(&self) -> u64 {
        u64::from(*self)
    }
}
impl Measure for u32 {
    fn measure(&self) -> u64 {
        u64::from(*self)
    }
}
impl Measure for i32 {
    fn measure(&self) -> u64 {
        u64::try_from(*self).unwrap_or(0)
    }
}
impl Measure for u8 {
    fn measure(&self) -> u64 {
        u64::from(*self)
    }
}

impl<T, const LEAST: u64, const MOST: u64> FromStr for Within<T, LEAST, MOST>
where
    T: FromStr<Err: fmt::Display> + Measure,
{
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let value: T = text.parse().map_err(|why: T::Err| why.to_string())?;
        match value.measure() {
            n if n < LEAST => Err(format!("must be at least {}", T::amount(LEAST))),
            n if n > MOST => Err(format!("must be at most {}", T::amount(MOST))),
            _ => Ok(Self(value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("65536", 65536),
            ("64KiB", 65536),
            ("64kib", 65536),
            ("16 MiB", 16 << 20),
            ("1kB", 1000),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "KiB", "-1", "1.5MiB", "1 fish", "99999999999GiB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn spans() {
        let ms = Duration::from_millis;
        for (text, span) in [
            ("0", ms(0)),
            ("0s", ms(0)),
            ("500ms", ms(500)),
            ("2s", ms(2000)),
            ("5m", ms(300_000)),
            ("8784h", LONGEST),
        ] {
            assert_eq!(text.parse(), Ok(Span(span)), "{text}");
        }
        for text in [
            "",
            "5",
            "s",
            "1.5s",
            "-1s",
            "1d",
            "8785h",
            "18446744073709551615h",
        ] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        assert!("0".parse::<AtLeastOne<Span>>().is_err());
        assert_eq!("1ms".parse(), Ok(Within::<_, 1, { u64::MAX }>(Span(ms(1)))));
        assert!("0".parse::<AtLeastOne<u32>>().is_err());
    }

    #[test]
    fn ranges() {
        for (text, good) in [
            ("8", true),
            ("15", true),
            ("7", false),
            ("16", false),
            ("", false),
            ("300", false),
        ] {
            assert_eq!(text.parse::<Within<u8, 8, 15>>().is_ok(), good, "{text}");
        }
    }
}
