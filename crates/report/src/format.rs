//! Quantities as text. The live display, the table, the page and the plots all use these functions.

/// Units of a time, with the factor to the next unit.
const TIMES: [(&str, f64); 4] = [("ns", 1e3), ("µs", 1e3), ("ms", 1e3), ("s", f64::INFINITY)];
const BYTES: [(&str, f64); 5] = [
    ("B", 1024.0),
    ("KiB", 1024.0),
    ("MiB", 1024.0),
    ("GiB", 1024.0),
    ("TiB", f64::INFINITY),
];
const DECIMAL_BYTES: [(&str, f64); 5] = [
    ("B", 1e3),
    ("kB", 1e3),
    ("MB", 1e3),
    ("GB", 1e3),
    ("TB", f64::INFINITY),
];
const DECIMAL: [(&str, f64); 5] = [
    ("", 1e3),
    ("k", 1e3),
    ("M", 1e3),
    ("G", 1e3),
    ("T", f64::INFINITY),
];

/// A time in ns, with three digits: `812 ns`, `1.23 µs`, `45.6 ms`, `12.0 s`.
pub fn time(ns: f64) -> String {
    let (number, unit) = scaled(ns, &TIMES);
    format!("{number} {unit}")
}

/// Memory, with three digits: `546 B`, `1.25 KiB`.
pub fn bytes(bytes: f64) -> String {
    let (number, unit) = scaled(bytes, &BYTES);
    format!("{number} {unit}")
}

/// Bytes per second with decimal units, as for links: `52.0 MB/s`.
pub fn bytes_per_second(bytes: f64) -> String {
    let (number, unit) = scaled(bytes, &DECIMAL_BYTES);
    format!("{number} {unit}/s")
}

/// A rate or count, in three digits: `950`, `81.2k`, `3.01M`.
pub fn short(count: f64) -> String {
    let (number, unit) = scaled(count, &DECIMAL);
    format!("{number}{unit}")
}

/// A whole number with thousands separators: `1,234,567`.
pub fn count(count: f64) -> String {
    let digits = format!("{:.0}", count.abs());
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return digits; // not a number, or infinite
    }
    let mut text = String::new();
    if count < 0.0 && digits != "0" {
        text.push('-');
    }
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number per second: `812,345 /s`; small ones keep three digits.
pub fn per_second(rate: f64) -> String {
    if rate < 100.0 {
        return format!("{} /s", digits(rate));
    }
    format!("{} /s", count(rate))
}

/// A share as a percentage: `12.5 %`.
pub fn percent(part: f64) -> String {
    format!("{} %", digits(part * 100.0))
}

/// A ratio: `1.07x`.
pub fn ratio(ratio: f64) -> String {
    format!("{}x", digits(ratio))
}

/// Seconds of a plan: `10 s`, `0.5 s`.
pub fn seconds(seconds: f64) -> String {
    format!("{} s", (seconds * 1e3).round() / 1e3)
}

/// Text that is safe for a terminal: control characters become question marks.
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// A number and its unit, with at most three digits before the point.
fn scaled(mut value: f64, units: &[(&'static str, f64)]) -> (String, &'static str) {
    let whole = value.fract() == 0.0;
    for (step, (unit, next)) in units.iter().enumerate() {
        // 999.7 is shown as 1.00 of the next unit, not as 1000 of this one.
        if value.abs() < next - 0.5 {
            let number = if step == 0 && whole {
                format!("{value:.0}")
            } else {
                digits(value)
            };
            return (number, unit);
        }
        value /= next;
    }
    (digits(value), units.last().map_or("", |(unit, _)| unit))
}

/// A small number without zeros at its end: `0`, `0.5`, `12`.
pub fn digits_short(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" {
        "0".to_owned()
    } else {
        text.to_owned()
    }
}

/// Three significant digits, or more where the number before the point is longer.
pub fn digits(value: f64) -> String {
    let size = value.abs();
    let text = if size < 9.995 {
        format!("{value:.2}")
    } else if size < 99.95 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    };
    if size == 0.0 { "0".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_the_unit_that_fits() {
        for (ns, text) in [
            (0.0, "0 ns"),
            (7.0, "7 ns"),
            (812.0, "812 ns"),
            (999.7, "1.00 µs"),
            (1234.0, "1.23 µs"),
            (45_600_000.0, "45.6 ms"),
            (999_999_999.0, "1.00 s"),
            (12e9, "12.0 s"),
            (3600e9, "3600 s"),
        ] {
            assert_eq!(time(ns), text);
        }
    }

    #[test]
    fn counts_and_bytes_and_parts() {
        assert_eq!(count(1_234_567.0), "1,234,567");
        assert_eq!(count(-1234.0), "-1,234");
        assert_eq!(count(100.0), "100");
        assert_eq!(count(f64::NAN), "NaN");
        assert_eq!(bytes(546.0), "546 B");
        assert_eq!(bytes(1280.0), "1.25 KiB");
        assert_eq!(bytes_per_second(52e6), "52.0 MB/s");
        assert_eq!(short(81_234.0), "81.2k");
        assert_eq!(short(950.0), "950");
        assert_eq!(per_second(812_345.4), "812,345 /s");
        assert_eq!(per_second(2.5), "2.50 /s");
        assert_eq!(percent(0.125), "12.5 %");
        assert_eq!(ratio(1.066), "1.07x");
        assert_eq!(seconds(0.5), "0.5 s");
        assert_eq!(printable("a\u{1b}[31mb\nc"), "a?[31mb?c");
    }
}
