//! The figures of a run by name: what tables show, what is compared, and what conditions are about.

use crate::{Latency, Plan, Report, Run, Usage, words};

/// What a figure is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds.
    Time,
    /// Something per second.
    PerSecond,
    /// Bytes per second.
    BytesPerSecond,
    /// Bytes.
    Bytes,
    /// A number of something.
    Count,
    /// A part of the whole, 0 to 1.
    Share,
    /// Cores.
    Cores,
}

impl Unit {
    /// The figure for people, with its unit.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Time => words::time(value),
            Self::PerSecond => words::per_second(value),
            Self::BytesPerSecond => words::bytes_per_second(value),
            Self::Bytes => words::bytes(value),
            Self::Count if value.fract() != 0.0 && value.abs() < 1000.0 => words::digits(value),
            Self::Count => words::count(value),
            Self::Share => words::percent(value),
            Self::Cores => words::digits(value),
        }
    }
}

impl Unit {
    /// From one value to another, for people: `94.0 - 182 µs`, `812 ns - 1.23 µs`.
    pub fn range(self, min: f64, max: f64) -> String {
        let (min, max) = (self.show(min), self.show(max));
        match (min.split_once(' '), max.split_once(' ')) {
            (Some((number, unit)), Some((_, same))) if unit == same => format!("{number} - {max}"),
            _ => format!("{min} - {max}"),
        }
    }
}

/// Which way a figure gets better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Times, costs, errors.
    Lower,
    /// Rates.
    Higher,
    /// It is neither.
    Neither,
}

/// One figure of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    name: String,
    source: Source,
}

#[derive(Debug, Clone, PartialEq)]
enum Source {
    Latency(Times, Stat),
    Rate,
    RateShare,
    Bytes,
    Sent,
    Done,
    Errors,
    ErrorShare,
    Usage(Side, Cost),
    RssPerConnection,
    Extra(String),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Times {
    Message,
    Handshake,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stat {
    Quantile(f64),
    Min,
    Max,
    Mean,
    Stdev,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Side {
    Generator,
    Server,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Cost {
    Cores,
    PerMessage,
    Headroom,
    Rss,
    RssPerConnection,
}

/// What [`Metric::named`] knows, for whoever wrote something else.
pub const KNOWN: &str = "p50, p99, p99.9 or any other percentile, min, max, mean, stdev (each also as handshake.p99), rate, bytes, sent, done, \
errors, generator.cores, generator.cpu_per_message, generator.headroom, generator.rss, generator.rss_per_connection \
(each also with server.), rss_per_connection, extra.NAME";

impl Metric {
    /// The figure of that name: `p99`, `handshake.max`, `server.cpu_per_message`, ... (see [`KNOWN`]).
    pub fn named(name: &str) -> Option<Self> {
        let source = match name {
            "rate" => Source::Rate,
            "bytes" => Source::Bytes,
            "sent" => Source::Sent,
            "done" => Source::Done,
            "errors" => Source::Errors,
            "rss_per_connection" => Source::RssPerConnection,
            _ => match name.split_once('.') {
                Some(("extra", key)) if !key.is_empty() => Source::Extra(key.to_owned()),
                Some(("generator", cost)) => Source::Usage(Side::Generator, Cost::named(cost)?),
                Some(("server", cost)) => Source::Usage(Side::Server, Cost::named(cost)?),
                Some(("handshake", stat)) => Source::Latency(Times::Handshake, Stat::named(stat)?),
                Some(("latency", stat)) => Source::Latency(Times::Message, Stat::named(stat)?),
                _ => Source::Latency(Times::Message, Stat::named(name)?),
            },
        };
        Some(Self {
            name: name.to_owned(),
            source,
        })
    }

    /// The same as a share: of errors, of all that was tried; of the rate, of the rate that was asked for.
    pub fn as_share(&self) -> Option<Self> {
        let source = match self.source {
            Source::Errors => Source::ErrorShare,
            Source::Rate => Source::RateShare,
            _ => return None,
        };
        Some(Self {
            name: self.name.clone(),
            source,
        })
    }

    /// As it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is counted in.
    pub fn unit(&self) -> Unit {
        match &self.source {
            Source::Latency(..) | Source::Usage(_, Cost::PerMessage) => Unit::Time,
            Source::Rate => Unit::PerSecond,
            Source::Bytes => Unit::BytesPerSecond,
            Source::Sent | Source::Done | Source::Errors | Source::Extra(_) => Unit::Count,
            Source::RateShare | Source::ErrorShare | Source::Usage(_, Cost::Headroom) => {
                Unit::Share
            }
            Source::Usage(_, Cost::Cores) => Unit::Cores,
            Source::Usage(_, Cost::Rss | Cost::RssPerConnection) | Source::RssPerConnection => {
                Unit::Bytes
            }
        }
    }

    /// Which way it gets better.
    pub fn better(&self) -> Better {
        match &self.source {
            Source::Latency(..) | Source::Errors | Source::ErrorShare => Better::Lower,
            Source::Rate | Source::RateShare | Source::Bytes | Source::Done => Better::Higher,
            Source::Usage(_, Cost::Cores | Cost::Headroom) => Better::Neither,
            Source::Usage(..) | Source::RssPerConnection => Better::Lower,
            Source::Sent | Source::Extra(_) => Better::Neither,
        }
    }

    /// Whether repeats add up instead of being medians: an error in one repeat of three is not forgotten.
    pub fn adds_up(&self) -> bool {
        matches!(self.source, Source::Errors | Source::ErrorShare)
    }

    /// What a run says of it; `None` if it was not measured.
    pub fn of(&self, plan: &Plan, run: &Run) -> Option<f64> {
        match &self.source {
            Source::Latency(times, stat) => {
                let latency = match times {
                    Times::Message => run.latency.as_ref(),
                    Times::Handshake => run.handshake.as_ref(),
                };
                stat.of(latency.filter(|latency| latency.count > 0)?)
            }
            Source::Rate => Some(run.rate),
            Source::RateShare => plan
                .rate
                .filter(|rate| *rate > 0.0)
                .map(|rate| run.rate / rate),
            Source::Bytes => Some(run.bytes_rate),
            Source::Sent => Some(run.sent as f64),
            Source::Done => Some(run.done as f64),
            Source::Errors => Some(errors(run)),
            Source::ErrorShare => {
                let tried = run.done as f64 + errors(run);
                (tried > 0.0).then(|| errors(run) / tried)
            }
            Source::Usage(side, cost) => cost.of(match side {
                Side::Generator => &run.generator,
                Side::Server => run.server.as_ref()?,
            }),
            Source::RssPerConnection => [Some(&run.generator), run.server.as_ref()]
                .into_iter()
                .flatten()
                .filter_map(|usage| usage.rss_per_connection)
                .reduce(f64::max),
            Source::Extra(key) => run.extra.get(key).copied(),
        }
    }
}

/// Errors of every kind.
fn errors(run: &Run) -> f64 {
    // Summed as integers: no floats add up to -0.
    run.errors
        .values()
        .fold(0_u64, |sum, count| sum.saturating_add(*count)) as f64
}

impl Stat {
    fn named(name: &str) -> Option<Self> {
        match name {
            "min" => Some(Self::Min),
            "max" | "p100" => Some(Self::Max),
            "mean" => Some(Self::Mean),
            "stdev" => Some(Self::Stdev),
            _ => {
                let number = name.strip_prefix('p')?;
                let digits = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
                if !digits || !number.starts_with(|c: char| c.is_ascii_digit()) {
                    return None;
                }
                // As in the file, `p999` is `p99.9`.
                let percent: f64 = if number.len() > 2 && !number.contains('.') {
                    let (whole, part) = number.split_at(2);
                    format!("{whole}.{part}").parse().ok()?
                } else {
                    number.parse().ok()?
                };
                (percent < 100.0).then_some(Self::Quantile(percent / 100.0))
            }
        }
    }

    fn of(self, latency: &Latency) -> Option<f64> {
        let is = |a: f64, b: f64| (a - b).abs() < 1e-9;
        Some(match self {
            Self::Min => latency.min as f64,
            Self::Max => latency.max as f64,
            Self::Mean => latency.mean,
            Self::Stdev => latency.stdev,
            Self::Quantile(q) => {
                let known = [
                    (0.5, latency.p50),
                    (0.75, latency.p75),
                    (0.9, latency.p90),
                    (0.99, latency.p99),
                    (0.999, latency.p999),
                    (0.9999, latency.p9999),
                ];
                match known.iter().find(|(quantile, _)| is(*quantile, q)) {
                    Some((_, value)) => *value as f64,
                    None if latency.histogram.is_empty() => return None,
                    None => latency.decode().ok()?.value_at_quantile(q) as f64,
                }
            }
        })
    }
}

impl Cost {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "cores" => Self::Cores,
            "cpu_per_message" | "cpu_per_done" => Self::PerMessage,
            "headroom" => Self::Headroom,
            "rss" => Self::Rss,
            "rss_per_connection" => Self::RssPerConnection,
            _ => return None,
        })
    }

    fn of(self, usage: &Usage) -> Option<f64> {
        match self {
            Self::Cores => Some(usage.cores),
            Self::PerMessage => Some(usage.cpu_per_done).filter(|cost| *cost > 0.0),
            Self::Headroom => usage.headroom,
            Self::Rss => Some(usage.rss as f64).filter(|rss| *rss > 0.0),
            Self::RssPerConnection => usage.rss_per_connection,
        }
    }
}

/// A figure over several repeats.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Spread {
    /// The middle one; the mean of the two in the middle of an even number.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// How many there are.
    pub runs: usize,
}

impl Spread {
    /// Of these values, in any order; `None` if there are none. What is not a number is left out.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| !value.is_nan()).collect();
        values.sort_by(f64::total_cmp);
        let (first, last) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self {
            median,
            min: first,
            max: last,
            runs: values.len(),
        })
    }

    /// Whether the two have no value in common.
    pub fn apart(&self, other: &Self) -> bool {
        self.max < other.min || other.max < self.min
    }
}

/// The repeats of one part: all of them, or the quiet ones, or those under attack.
#[derive(Debug, Clone)]
pub struct Part<'a> {
    /// As [`Run::part`].
    pub name: &'a str,
    /// In the order they were run.
    pub runs: Vec<&'a Run>,
}

impl Part<'_> {
    /// A figure over the repeats that measured it.
    pub fn spread(&self, plan: &Plan, metric: &Metric) -> Option<Spread> {
        Spread::of(self.runs.iter().filter_map(|run| metric.of(plan, run)))
    }
}

impl Report {
    /// Its runs by part, in the order the parts first occur.
    pub fn parts(&self) -> Vec<Part<'_>> {
        let mut parts: Vec<Part<'_>> = Vec::new();
        for run in &self.runs {
            match parts.iter_mut().find(|part| part.name == run.part) {
                Some(part) => part.runs.push(run),
                None => parts.push(Part {
                    name: &run.part,
                    runs: vec![run],
                }),
            }
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic;

    #[test]
    fn every_name_that_is_told_is_known() {
        for name in KNOWN.split([',', '(', ')']).map(str::trim) {
            let name = name.split_whitespace().last().unwrap_or("rate");
            if name == "percentile" || name == "server." {
                continue;
            }
            assert!(Metric::named(name).is_some(), "{name}");
        }
        for name in [
            "",
            "p",
            "px",
            "p-1",
            "p1e3",
            "pnan",
            "p100.5",
            "server.",
            "server.p50",
            "handshake.rate",
            "extra.",
            "rates",
            "p.5",
        ] {
            assert!(Metric::named(name).is_none(), "{name}");
        }
    }

    #[test]
    fn percentiles_that_are_not_stored_come_from_the_histogram() {
        let report = synthetic::report("echo", 1);
        let run = &report.runs[0];
        let latency = run.latency.as_ref().expect("an echo has latency");
        let read = |name: &str| {
            Metric::named(name)
                .expect("it is known")
                .of(&report.plan, run)
        };
        assert_eq!(read("p99.9"), Some(latency.p999 as f64));
        assert_eq!(read("p999"), read("p99.9"));
        assert_eq!(read("latency.max"), Some(latency.max as f64));
        let p95 = read("p95").expect("the histogram is there");
        assert!(p95 > latency.p90 as f64 && p95 < latency.p99 as f64);
        assert_eq!(read("handshake.p50"), None);
        assert_eq!(read("server.rss_per_connection"), None);
    }

    #[test]
    fn a_range_says_its_unit_once() {
        assert_eq!(Unit::Time.range(94_000.0, 182_000.0), "94.0 - 182 µs");
        assert_eq!(Unit::Time.range(812.0, 1230.0), "812 ns - 1.23 µs");
        assert_eq!(Unit::Count.range(1.0, 2000.0), "1 - 2,000");
        assert_eq!(Unit::PerSecond.range(1000.0, 2000.0), "1,000 - 2,000 /s");
    }

    #[test]
    fn no_errors_are_a_plain_zero() {
        let report = synthetic::report("echo", 1);
        let errors = Metric::named("errors").expect("it is known");
        let none = errors
            .of(&report.plan, &report.runs[0])
            .expect("errors are always counted");
        assert!(none == 0.0 && none.is_sign_positive());
    }

    #[test]
    fn medians_and_extremes() {
        let spread = Spread::of([3.0, 1.0, f64::NAN, 2.0, 10.0]).expect("there are some");
        assert_eq!(
            (spread.median, spread.min, spread.max, spread.runs),
            (2.5, 1.0, 10.0, 4)
        );
        assert_eq!(Spread::of([]), None);
        let low = Spread::of([1.0, 2.0]).expect("there are some");
        let high = Spread::of([2.0, 3.0]).expect("there are some");
        let far = Spread::of([2.5]).expect("there is one");
        assert!(!low.apart(&high) && low.apart(&far) && far.apart(&low));
    }

    #[test]
    fn runs_are_grouped_by_part() {
        let report = synthetic::attacked(2);
        let parts = report.parts();
        let names: Vec<_> = parts
            .iter()
            .map(|part| (part.name, part.runs.len()))
            .collect();
        assert_eq!(names, [("quiet", 2), ("attacked", 2)]);
    }
}
