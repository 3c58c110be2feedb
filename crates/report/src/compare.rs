//! The differences between reports.
//!
//! A figure is its median over the repeats of a report. A difference to the first report is beyond the spread if the ranges of the
//! repeats do not overlap. With fewer than two repeats on either side the spread is unknown.

mod settings;
mod text;

use std::collections::BTreeSet;

use serde::Serialize;

use self::settings::{differences, machine_values, plan_values, warnings};

use crate::data::Report;
use crate::metric::{Better, Metric};
use crate::spread::Spread;

/// A comparison of reports with the first of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The names of the reports, in their order.
    pub reports: Vec<String>,
    /// Settings that differ.
    pub plan: Vec<Difference>,
    /// Reasons why the figures may not be comparable.
    pub warnings: Vec<String>,
    /// Properties of the machines that differ.
    pub machine: Vec<Difference>,
    /// The figures that at least one report has.
    pub figures: Vec<Figure>,
}

/// A setting or property that differs between the reports.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Its name, as in the file.
    pub name: String,
    /// The value of each report.
    pub values: Vec<String>,
}

/// A figure of each report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// Its name, as `--require` takes it.
    pub name: String,
    /// The part of the runs: empty, `quiet`, `attacked`.
    pub part: String,
    /// The value of each report; `None` if it was not measured.
    pub values: Vec<Option<Spread>>,
    /// The change of each report but the first, relative to the first.
    pub changes: Vec<Change>,
}

/// The change of a figure relative to the first report.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Change {
    /// The ratio of the medians; `None` if either is missing or the first is zero.
    pub ratio: Option<f64>,
    /// The classification of the change.
    pub verdict: Verdict,
}

/// The classification of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The medians are equal.
    Same,
    /// The ranges of the repeats overlap.
    WithinTheSpread,
    /// The ranges do not overlap, and the figure improved.
    Better,
    /// The ranges do not overlap, and the figure got worse.
    Worse,
    /// The ranges do not overlap, and neither direction is better.
    Different,
    /// There are too few repeats to know the spread.
    SpreadUnknown,
    /// One of the two reports did not measure the figure.
    NotMeasured,
}

impl Verdict {
    /// The text of the classification.
    pub fn words(self) -> &'static str {
        match self {
            Self::Same => "the same",
            Self::WithinTheSpread => "within the spread",
            Self::Better => "better, beyond the spread",
            Self::Worse => "worse, beyond the spread",
            Self::Different => "beyond the spread",
            Self::SpreadUnknown => "spread unknown",
            Self::NotMeasured => "not measured",
        }
    }
}

/// The figures that are compared, besides those of `extra`.
const FIGURES: [&str; 26] = [
    "rate",
    "bytes",
    "errors",
    "mean",
    "p50",
    "p75",
    "p90",
    "p99",
    "p99.9",
    "p99.99",
    "max",
    "handshake.p50",
    "handshake.p99",
    "handshake.max",
    "generator.cores",
    "generator.cpu_per_message",
    "generator.headroom",
    "generator.rss",
    "generator.rss_per_connection",
    "server.cores",
    "server.cpu_per_message",
    "server.headroom",
    "server.rss",
    "server.rss_per_connection",
    "server.rss_growth",
    "done",
];

impl Comparison {
    /// Compares reports, which are given with their names.
    pub fn of(reports: &[(String, Report)]) -> Self {
        let plans: Vec<_> = reports
            .iter()
            .map(|(_, report)| plan_values(report))
            .collect();
        let machines: Vec<_> = reports
            .iter()
            .map(|(_, report)| machine_values(&report.machine))
            .collect();
        let (plan, machine) = (differences(&plans), differences(&machines));
        Self {
            reports: reports.iter().map(|(name, _)| name.clone()).collect(),
            warnings: warnings(reports, &plan, &machine),
            plan,
            machine,
            figures: figures(reports),
        }
    }
}

fn figures(reports: &[(String, Report)]) -> Vec<Figure> {
    let mut parts: Vec<&str> = Vec::new();
    for name in reports
        .iter()
        .flat_map(|(_, report)| report.parts())
        .map(|part| part.name)
    {
        if !parts.contains(&name) {
            parts.push(name);
        }
    }
    let runs = reports.iter().flat_map(|(_, report)| &report.runs);
    let extra: BTreeSet<String> = runs
        .flat_map(|run| run.extra.keys())
        .map(|key| format!("extra.{key}"))
        .collect();
    let names: Vec<&str> = FIGURES
        .into_iter()
        .chain(extra.iter().map(String::as_str))
        .collect();
    let mut figures = Vec::new();
    for part in parts {
        figures.extend(names.iter().filter_map(|name| figure(reports, part, name)));
    }
    figures
}

fn figure(reports: &[(String, Report)], part: &str, name: &str) -> Option<Figure> {
    let metric = Metric::named(name)?;
    let value = |report: &Report| {
        let parts = report.parts();
        let part = parts.iter().find(|candidate| candidate.name == part)?;
        part.spread(&report.plan, &metric)
    };
    let values: Vec<_> = reports.iter().map(|(_, report)| value(report)).collect();
    if values.iter().all(Option::is_none) {
        return None;
    }
    let first = values.first().copied().flatten();
    let changes = values
        .iter()
        .skip(1)
        .map(|value| change(metric.better(), first, *value))
        .collect();
    Some(Figure {
        name: name.to_owned(),
        part: part.to_owned(),
        values,
        changes,
    })
}

fn change(better: Better, first: Option<Spread>, other: Option<Spread>) -> Change {
    let (Some(first), Some(other)) = (first, other) else {
        return Change {
            ratio: None,
            verdict: Verdict::NotMeasured,
        };
    };
    let verdict = if first.median == other.median {
        Verdict::Same
    } else if first.runs < 2 || other.runs < 2 {
        Verdict::SpreadUnknown
    } else if !first.apart(&other) {
        Verdict::WithinTheSpread
    } else {
        match (better, other.median < first.median) {
            (Better::Neither, _) => Verdict::Different,
            (Better::Lower, true) | (Better::Higher, false) => Verdict::Better,
            (Better::Lower, false) | (Better::Higher, true) => Verdict::Worse,
        }
    };
    Change {
        ratio: (first.median != 0.0).then(|| other.median / first.median),
        verdict,
    }
}

/// The name of a report in tables: a to z, then by number.
fn letter(n: usize) -> String {
    match u8::try_from(n) {
        Ok(n @ 0..26) => char::from(b'a' + n).to_string(),
        _ => format!("#{}", n + 1),
    }
}

#[cfg(test)]
mod tests;
