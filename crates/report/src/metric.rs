//! The figures of a run by name, as in tables, comparisons and conditions.

use crate::data::{Latency, Plan, Run, Usage};
pub use crate::unit::Unit;

/// The direction in which a figure improves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Times, costs, errors.
    Lower,
    /// Rates.
    Higher,
    /// Neither direction is better.
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
    FullHandshake,
    ResumedHandshake,
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
    RssGrowth,
}

/// The names that [`Metric::named`] knows, for error texts.
pub const KNOWN: &str = "p50, p99, p99.9 or any other percentile, min, max, mean, stdev (each also as handshake.p99, and with TLS as full_handshake.p99 and resumed_handshake.p99), rate, bytes, sent, done, \
errors, generator.cores, generator.cpu_per_message, generator.headroom, generator.rss, generator.rss_per_connection, \
generator.rss_growth (each also with server.), rss_per_connection, extra.NAME";

impl Metric {
    /// The figure with this name: `p99`, `handshake.max`, `server.cpu_per_message`, ... (see [`KNOWN`]).
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
                Some(("full_handshake", stat)) => {
                    Source::Latency(Times::FullHandshake, Stat::named(stat)?)
                }
                Some(("resumed_handshake", stat)) => {
                    Source::Latency(Times::ResumedHandshake, Stat::named(stat)?)
                }
                Some(("latency", stat)) => Source::Latency(Times::Message, Stat::named(stat)?),
                _ => Source::Latency(Times::Message, Stat::named(name)?),
            },
        };
        Some(Self {
            name: name.to_owned(),
            source,
        })
    }

    /// The figure as a share: errors of all attempts, or the rate of the requested rate. `None` for other figures.
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

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The unit.
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
            Source::Usage(_, Cost::Rss | Cost::RssPerConnection | Cost::RssGrowth)
            | Source::RssPerConnection => Unit::Bytes,
        }
    }

    /// The direction in which the figure improves.
    pub fn better(&self) -> Better {
        match &self.source {
            Source::Latency(..) | Source::Errors | Source::ErrorShare => Better::Lower,
            Source::Rate | Source::RateShare | Source::Bytes | Source::Done => Better::Higher,
            Source::Usage(_, Cost::Cores | Cost::Headroom) => Better::Neither,
            Source::Usage(..) | Source::RssPerConnection => Better::Lower,
            Source::Sent | Source::Extra(_) => Better::Neither,
        }
    }

    /// Whether repeats are summed instead of reduced to their median, so that an error in one repeat of three counts.
    pub fn adds_up(&self) -> bool {
        matches!(self.source, Source::Errors | Source::ErrorShare)
    }

    /// The value in a run; `None` if it was not measured.
    pub fn of(&self, plan: &Plan, run: &Run) -> Option<f64> {
        match &self.source {
            Source::Latency(times, stat) => {
                let latency = match times {
                    Times::Message => run.latency.as_ref(),
                    Times::Handshake => run.handshake.as_ref(),
                    Times::FullHandshake => run.full_handshake.as_ref(),
                    Times::ResumedHandshake => run.resumed_handshake.as_ref(),
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

/// The number of errors of all kinds.
fn errors(run: &Run) -> f64 {
    // Summed as integers, since an empty sum of floats is -0.
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
            "rss_growth" => Self::RssGrowth,
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
            Self::RssGrowth => usage.rss_growth,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic;

    #[test]
    fn every_listed_name_is_known() {
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
    fn other_percentiles_come_from_the_histogram() {
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
    fn the_absence_of_errors_is_positive_zero() {
        let report = synthetic::report("echo", 1);
        let errors = Metric::named("errors").expect("it is known");
        let none = errors
            .of(&report.plan, &report.runs[0])
            .expect("errors are always counted");
        assert!(none == 0.0 && none.is_sign_positive());
    }
}
