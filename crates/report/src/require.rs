//! Conditions on a report: `p99<1ms`, `rate>=100k`, `errors==0`.
//!
//! With several repeats a condition applies to the median, and for errors to the sum. If a load is measured without and with an
//! attack, a condition applies to both parts, or to the part that it names: `attacked.p99<5ms`. A figure that was not measured does
//! not meet a condition.

use std::fmt;
use std::str::FromStr;

use crate::data::Report;
use crate::format;
use crate::metric::{KNOWN, Metric};
use crate::spread::{Part, Spread};
use crate::unit::Unit;

/// A condition on one figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Requirement {
    text: String,
    part: Option<String>,
    metric: Metric,
    operator: Operator,
    limit: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
    Equal,
}

/// The operators. Longer ones come first, because they begin with shorter ones.
const OPERATORS: [(&str, Operator); 5] = [
    ("<=", Operator::LessOrEqual),
    (">=", Operator::MoreOrEqual),
    ("==", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::More),
];

const PARTS: [&str; 2] = ["quiet", "attacked"];

/// The suffixes of a number, for a unit.
fn suffixes(unit: Unit) -> &'static [(&'static str, f64)] {
    const COUNTS: [(&str, f64); 4] = [("", 1.0), ("k", 1e3), ("M", 1e6), ("G", 1e9)];
    const BYTES: [(&str, f64); 10] = [
        ("", 1.0),
        ("B", 1.0),
        ("k", 1e3),
        ("kB", 1e3),
        ("M", 1e6),
        ("MB", 1e6),
        ("GB", 1e9),
        ("KiB", 1024.0),
        ("MiB", 1_048_576.0),
        ("GiB", 1_073_741_824.0),
    ];
    match unit {
        Unit::Time => &[
            ("ns", 1.0),
            ("us", 1e3),
            ("µs", 1e3),
            ("μs", 1e3), // the Greek letter, which some keyboards have instead of the sign
            ("ms", 1e6),
            ("s", 1e9),
        ],
        Unit::PerSecond | Unit::Count => &COUNTS,
        Unit::BytesPerSecond | Unit::Bytes => &BYTES,
        Unit::Share => &[("", 1.0), ("%", 0.01)],
        Unit::Cores => &[("", 1.0), ("%", 0.01)],
    }
}

/// An example of a limit in a unit.
fn example(unit: Unit) -> &'static str {
    match unit {
        Unit::Time => "a time such as 250us or 1ms",
        Unit::PerSecond => "a number per second such as 50000 or 1.5M",
        Unit::Count => "a number such as 0 or 10k",
        Unit::BytesPerSecond => "bytes per second such as 100MB or 1GiB",
        Unit::Bytes => "bytes such as 768 or 4GiB",
        Unit::Share => "a part such as 10% or 0.1",
        Unit::Cores => "a number of cores such as 0.5",
    }
}

/// The reason why a text is not a condition, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequirementError(String);

impl fmt::Display for RequirementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RequirementError {}

impl FromStr for Requirement {
    type Err = RequirementError;

    /// # Errors
    /// If the text is not a condition. The error names the known alternatives.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let wrong = |why: String| {
            RequirementError(format!("condition {:?}: {why}", format::printable(text)))
        };
        let at = text.find(['<', '>', '=', '!']).ok_or_else(|| {
            wrong("expected a figure, one of < <= > >= ==, and a limit, such as p99<1ms".into())
        })?;
        let (name, rest) = text.split_at(at);
        let (sign, operator) = OPERATORS
            .iter()
            .find(|(sign, _)| rest.starts_with(sign))
            .ok_or_else(|| wrong("expected one of < <= > >= == after the figure".into()))?;
        let name = name.trim();
        let (part, figure) = match name.split_once('.') {
            Some((part, figure)) if PARTS.contains(&part) => (Some(part.to_owned()), figure),
            _ => (None, name),
        };
        let metric = Metric::named(figure)
            .ok_or_else(|| wrong(format!("no figure is called {figure:?}; known are {KNOWN}")))?;
        let limit = rest[sign.len()..].trim();
        // A percentage is a share of all attempts, or of the requested rate.
        let metric = match metric.as_share() {
            Some(share) if limit.ends_with('%') => share,
            _ => metric,
        };
        let limit = parse_limit(limit, metric.unit()).ok_or_else(|| {
            let unit = example(metric.unit());
            wrong(format!(
                "{limit:?} is not a limit of {figure}: expected {unit}"
            ))
        })?;
        Ok(Self {
            text: text.to_owned(),
            part,
            metric,
            operator: *operator,
            limit,
        })
    }
}

fn parse_limit(text: &str, unit: Unit) -> Option<f64> {
    let text = match unit {
        Unit::PerSecond | Unit::BytesPerSecond => text.strip_suffix("/s").unwrap_or(text).trim(),
        _ => text,
    };
    let digits = text
        .bytes()
        .take_while(|b| b.is_ascii_digit() || *b == b'.' || *b == b'_')
        .count();
    let (number, suffix) = text.split_at(digits);
    let number: f64 = number.replace('_', "").parse().ok()?;
    let suffix = suffix.trim_start();
    let known = suffixes(unit);
    let found = known.iter().find(|(name, _)| *name == suffix);
    // Zero needs no unit.
    match found {
        Some((_, factor)) => Some(number * factor),
        None => (number == 0.0 && suffix.is_empty()).then_some(0.0),
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format::printable(&self.text))
    }
}

/// A condition that does not hold. Its text is one line.
#[derive(Debug, Clone, PartialEq)]
pub struct Unmet {
    condition: String,
    part: String,
    measured: Option<Spread>,
    unit: Unit,
    sum: bool,
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} does not hold", self.condition)?;
        if !self.part.is_empty() {
            write!(f, " in the {} part", self.part)?;
        }
        let Some(spread) = self.measured else {
            return f.write_str(": it was not measured");
        };
        write!(f, ": it is {}", self.unit.show(spread.median))?;
        match (spread.runs, self.sum) {
            (0 | 1, _) => Ok(()),
            (runs, true) => write!(f, " in {runs} repeats together"),
            (runs, false) => {
                let range = self.unit.range(spread.min, spread.max);
                write!(f, ", the median of {runs} repeats ({range})")
            }
        }
    }
}

impl Requirement {
    /// Parses several conditions, separated by commas.
    ///
    /// # Errors
    /// If one of them is not a condition.
    pub fn list(text: &str) -> Result<Vec<Self>, RequirementError> {
        text.split(',').map(str::parse).collect()
    }

    /// The parts in which the condition does not hold; empty if it holds.
    pub fn judge(&self, report: &Report) -> Vec<Unmet> {
        let unmet = |part: &str, measured| Unmet {
            condition: self.to_string(),
            part: part.to_owned(),
            measured,
            unit: self.metric.unit(),
            sum: self.metric.adds_up(),
        };
        let about = |part: &Part<'_>| self.part.as_ref().is_none_or(|name| name == part.name);
        let parts: Vec<_> = report.parts().into_iter().filter(about).collect();
        if parts.is_empty() {
            return vec![unmet(self.part.as_deref().unwrap_or(""), None)];
        }
        parts
            .iter()
            .filter_map(|part| {
                let measured = self.measured(report, part);
                let held = measured.is_some_and(|spread| self.holds(spread.median));
                (!held).then(|| unmet(part.name, measured))
            })
            .collect()
    }

    /// The figure over the repeats; `None` if one of them did not measure it.
    fn measured(&self, report: &Report, part: &Part<'_>) -> Option<Spread> {
        let values = part
            .runs
            .iter()
            .map(|run| self.metric.of(&report.plan, run));
        let values: Vec<f64> = values.collect::<Option<_>>()?;
        let mut spread = Spread::of(values.iter().copied())?;
        if self.metric.adds_up() {
            let sum = values.iter().fold(0.0, |sum, value| sum + value);
            spread.median = if self.metric.unit() == Unit::Share {
                sum / values.len() as f64
            } else {
                sum
            };
        }
        Some(spread)
    }

    fn holds(&self, value: f64) -> bool {
        match self.operator {
            Operator::Less => value < self.limit,
            Operator::LessOrEqual => value <= self.limit,
            Operator::More => value > self.limit,
            Operator::MoreOrEqual => value >= self.limit,
            Operator::Equal => value == self.limit,
        }
    }
}

#[cfg(test)]
mod tests;
