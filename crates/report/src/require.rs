//! Conditions on a report: `p99<1ms`, `rate>=100k`, `errors==0`.
//!
//! With several repeats the median is judged, except for errors, which are summed. Where a load is measured without and
//! with an attack, a condition is about both parts, or about the one it names: `attacked.p99<5ms`. What was not measured
//! fails.

use std::fmt;
use std::str::FromStr;

use crate::metric::{KNOWN, Metric, Part, Spread, Unit};
use crate::{Report, words};

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

/// The longer ones first, as they begin with the shorter.
const OPERATORS: [(&str, Operator); 5] = [
    ("<=", Operator::LessOrEqual),
    (">=", Operator::MoreOrEqual),
    ("==", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::More),
];

const PARTS: [&str; 2] = ["quiet", "attacked"];

/// What a number may be followed by, for what is counted in one unit.
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

/// How a limit of that unit is written.
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

impl FromStr for Requirement {
    type Err = String;

    /// # Errors
    /// What is wrong with it and what is known instead, in one line.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let wrong = |why: String| format!("condition {:?}: {why}", words::harmless(text));
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
        // A share of what was tried, or of the rate that was asked for.
        let metric = match metric.as_share() {
            Some(share) if limit.ends_with('%') => share,
            _ => metric,
        };
        let limit = parse_limit(limit, metric.unit()).ok_or_else(|| {
            let unit = example(metric.unit());
            wrong(format!(
                "{limit:?} is no limit of {figure}: expected {unit}"
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
    // Zero is zero in any unit.
    match found {
        Some((_, factor)) => Some(number * factor),
        None => (number == 0.0 && suffix.is_empty()).then_some(0.0),
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&words::harmless(&self.text))
    }
}

/// A condition that does not hold. Shown as one line.
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
    /// Several, separated by commas.
    ///
    /// # Errors
    /// As for one.
    pub fn list(text: &str) -> Result<Vec<Self>, String> {
        text.split(',').map(str::parse).collect()
    }

    /// Where it does not hold: an entry for each part that it is about and that breaks it. Empty if it holds.
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
mod tests {
    use super::*;
    use crate::synthetic;

    fn parse(text: &str) -> Requirement {
        text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    #[test]
    fn limits_are_read_in_their_units() {
        for (text, limit) in [
            ("p99<1ms", 1e6),
            ("p99.9 <= 250 us", 250e3),
            ("p50<1.5µs", 1500.0),
            ("p50<1.5μs", 1500.0),
            ("max<2s", 2e9),
            ("mean<900ns", 900.0),
            ("rate>=1.5M", 1.5e6),
            ("rate>=100k/s", 100e3),
            ("rate>=1_000_000", 1e6),
            ("bytes>1GiB/s", 1_073_741_824.0),
            ("errors==0", 0.0),
            ("errors<0.1%", 0.001),
            ("rate>=99%", 0.99),
            ("generator.headroom>=10%", 0.1),
            ("server.cpu_per_message<0.6us", 600.0),
            ("rss_per_connection<=768", 768.0),
            ("server.rss<4GiB", 4.0 * 1_073_741_824.0),
            ("handshake.p99<5ms", 5e6),
            ("attacked.p99<5ms", 5e6),
            ("extra.attack_frames>1M", 1e6),
            ("max>0", 0.0),
        ] {
            let read = parse(text);
            assert!(
                (read.limit - limit).abs() <= limit * 1e-9,
                "{text}: {}",
                read.limit
            );
        }
        assert_eq!(
            Requirement::list("p99<1ms, rate>1k").map(|all| all.len()),
            Ok(2)
        );
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        for (text, part) in [
            ("", "expected a figure"),
            ("p99", "such as p99<1ms"),
            ("p99!=1ms", "one of < <= > >= =="),
            ("p99=1ms", "one of < <= > >= =="),
            ("p99<1", "a time such as"),
            ("p99<ms", "a time such as"),
            ("p99<1h", "a time such as"),
            ("p99<-1ms", "a time such as"),
            ("p99<1.2.3ms", "a time such as"),
            ("p99<5%", "a time such as"),
            ("rate<1ms", "per second"),
            ("errors<none", "a number such as"),
            ("speed<1", "known are p50"),
            ("<1ms", "known are p50"),
            ("server.p99<1ms", "server.cpu_per_message"),
            ("loud.p99<1ms", "known are"),
            ("p9\n9<1ms", "known are"),
        ] {
            let why = text.parse::<Requirement>().expect_err(text);
            assert!(
                why.contains(part) || text.starts_with("server.") && why.contains("with server."),
                "{text}: {why}"
            );
            assert!(!why.contains('\n'), "{why}");
        }
        assert!(Requirement::list("p99<1ms,,").is_err());
    }

    #[test]
    fn the_median_of_the_repeats_is_judged() {
        let mut report = synthetic::report("echo", 3);
        for (run, rate) in report.runs.iter_mut().zip([100.0, 900.0, 300.0]) {
            run.rate = rate;
        }
        assert!(parse("rate>=300").judge(&report).is_empty());
        assert!(parse("rate==300").judge(&report).is_empty());
        assert!(parse("rate<=300").judge(&report).is_empty());
        assert!(parse("rate<301").judge(&report).is_empty());
        let unmet = parse("rate>300").judge(&report);
        assert_eq!(unmet.len(), 1);
        assert_eq!(
            unmet[0].to_string(),
            "rate>300 does not hold: it is 300 /s, the median of 3 repeats (100 - 900 /s)"
        );
    }

    #[test]
    fn errors_of_one_repeat_are_not_forgotten() {
        let mut report = synthetic::report("echo", 3);
        assert!(parse("errors==0").judge(&report).is_empty());
        report.runs[1].errors.insert("reset".into(), 2);
        let unmet = parse("errors==0").judge(&report);
        assert_eq!(
            unmet[0].to_string(),
            "errors==0 does not hold: it is 2 in 3 repeats together"
        );
        assert!(parse("errors<1%").judge(&report).is_empty());
    }

    #[test]
    fn what_was_not_measured_fails() {
        let mut report = synthetic::report("echo", 2);
        for condition in [
            "handshake.p99<1s",
            "handshake.p99>0",
            "server.rss_per_connection<1GiB",
            "extra.nonsense<1",
            "rate>=1%",
            "attacked.p99<1s",
        ] {
            let unmet = parse(condition).judge(&report);
            assert_eq!(unmet.len(), 1, "{condition}");
            assert!(
                unmet[0].to_string().ends_with("it was not measured"),
                "{}",
                unmet[0]
            );
        }
        assert!(parse("p99<1s").judge(&report).is_empty());
        report.runs[1].latency = None;
        assert_eq!(parse("p99<1s").judge(&report).len(), 1);
        report.runs.clear();
        assert_eq!(parse("errors==0").judge(&report).len(), 1);
    }

    #[test]
    fn a_condition_is_about_both_parts_or_the_one_it_names() {
        let report = synthetic::attacked(2);
        let quiet = report.parts()[0].spread(&report.plan, &Metric::named("p50").expect("known"));
        let limit = quiet.expect("it was measured").max + 1.0;
        assert!(
            parse(&format!("quiet.p50<={limit}ns"))
                .judge(&report)
                .is_empty()
        );
        assert_eq!(
            parse(&format!("attacked.p50<={limit}ns"))
                .judge(&report)
                .len(),
            1
        );
        let unmet = parse(&format!("p50<={limit}ns")).judge(&report);
        assert_eq!(unmet.len(), 1);
        assert!(
            unmet[0].to_string().contains("in the attacked part"),
            "{}",
            unmet[0]
        );
    }
}
