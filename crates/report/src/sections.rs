//! The figures of a report in sections and rows, for the summary and the page.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::data::{Latency, Plan, Report};
use crate::format;
use crate::metric::Metric;
use crate::spread::{Part, Spread};

/// The figures of one kind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Section {
    /// The heading; empty for the first section.
    pub(crate) title: String,
    pub(crate) rows: Vec<Row>,
}

/// One figure in each part.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) label: String,
    pub(crate) metric: Metric,
    /// In the order of [`Report::parts`].
    pub(crate) spreads: Vec<Option<Spread>>,
}

impl Row {
    /// The ratio of the second part to the first, if there are two parts.
    pub(crate) fn ratio(&self) -> Option<f64> {
        match self.spreads[..] {
            [Some(first), Some(second)] if first.median != 0.0 => {
                Some(second.median / first.median)
            }
            _ => None,
        }
    }

    pub(crate) fn show(&self, value: f64) -> String {
        self.metric.unit().show(value)
    }
}

const TIMES: [&str; 10] = [
    "min", "mean", "p50", "p75", "p90", "p99", "p99.9", "p99.99", "max", "stdev",
];

/// The unit of `done` in a scenario.
pub(crate) fn things(scenario: &str) -> &'static str {
    match scenario {
        "ramp" | "churn" | "hold" => "connections",
        "fanout" => "deliveries",
        _ => "messages",
    }
}

/// All figures that at least one part measured.
pub(crate) fn sections(report: &Report) -> Vec<Section> {
    let parts = report.parts();
    let things = things(&report.plan.scenario);
    let from_due = latencies(report).any(|latency| latency.from_due);
    let latency = match (things, from_due) {
        ("deliveries", _) => "latency, from published to delivered",
        (_, true) => "latency, from due to answered",
        _ => "latency, from sent to answered",
    };
    let row = |label: &str, name: &str| row(report, &parts, label, name);
    let handshakes = ["p50", "p90", "p99", "p99.9", "max"]; // fewer, since there are fewer connections than messages
    let handshakes = |kind: &str| -> Vec<Row> {
        handshakes
            .iter()
            .filter_map(|name| row(name, &format!("{kind}handshake.{name}")))
            .collect()
    };
    let times = TIMES.iter().filter_map(|name| row(name, name));
    let side = |side: &str| -> Vec<Row> {
        [
            ("cores busy", "cores"),
            ("CPU per message", "cpu_per_message"),
            ("headroom", "headroom"),
            ("memory", "rss"),
            ("memory per connection", "rss_per_connection"),
            ("memory growth", "rss_growth"),
        ]
        .iter()
        .filter_map(|(label, cost)| {
            let label = match things {
                "connections" => label.replace("message", "connection"),
                "deliveries" => label.replace("message", "delivery"),
                _ => (*label).to_owned(),
            };
            row(&label, &format!("{side}.{cost}"))
        })
        .collect()
    };
    let names: BTreeSet<&String> = report
        .runs
        .iter()
        .flat_map(|run| run.extra.keys())
        .collect();
    let extra = names.into_iter().filter_map(|name| {
        row(
            &format::printable(&name.replace('_', " ")),
            &format!("extra.{name}"),
        )
    });
    let load = [
        ("rate", "rate"),
        ("payload received", "bytes"),
        ("sent", "sent"),
        (things, "done"),
        ("errors", "errors"),
    ];
    let sections = [
        (
            String::new(),
            load.iter()
                .filter_map(|(label, name)| row(label, name))
                .collect(),
        ),
        (latency.to_owned(), times.collect()),
        (
            "handshake, from connect to the 101 response".to_owned(),
            handshakes(""),
        ),
        (
            "full handshake of TLS, from connect to the 101 response".to_owned(),
            handshakes("full_"),
        ),
        (
            "resumed handshake of TLS, from connect to the 101 response".to_owned(),
            handshakes("resumed_"),
        ),
        ("generator".to_owned(), side("generator")),
        ("server".to_owned(), side("server")),
        ("counters".to_owned(), extra.collect()),
    ];
    sections
        .into_iter()
        .map(|(title, rows): (String, Vec<Row>)| Section { title, rows })
        .filter(|section| !section.rows.is_empty())
        .collect()
}

fn latencies(report: &Report) -> impl Iterator<Item = &Latency> {
    report.runs.iter().filter_map(|run| run.latency.as_ref())
}

fn row(report: &Report, parts: &[Part<'_>], label: &str, name: &str) -> Option<Row> {
    let metric = Metric::named(name)?;
    let spreads: Vec<_> = parts
        .iter()
        .map(|part| part.spread(&report.plan, &metric))
        .collect();
    spreads.iter().any(Option::is_some).then(|| Row {
        label: label.to_owned(),
        metric,
        spreads,
    })
}

/// The errors of each part by kind, over all repeats.
pub(crate) fn errors(report: &Report) -> BTreeMap<String, Vec<u64>> {
    let parts = report.parts();
    let mut kinds: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (column, part) in parts.iter().enumerate() {
        for (kind, count) in part.runs.iter().flat_map(|run| &run.errors) {
            let counts = kinds
                .entry(format::printable(kind))
                .or_insert_with(|| vec![0; parts.len()]);
            counts[column] = counts[column].saturating_add(*count);
        }
    }
    kinds.retain(|_, counts| counts.iter().any(|count| *count > 0));
    kinds
}

/// The name of a part in a heading.
pub(crate) fn part_name(name: &str) -> String {
    if name.is_empty() {
        "all".to_owned()
    } else {
        format::printable(name)
    }
}

/// From the smallest to the largest.
pub(crate) fn range(row: &Row, spread: Spread) -> String {
    row.metric.unit().range(spread.min, spread.max)
}

/// The plan in two or three lines.
pub(crate) fn plan_lines(plan: &Plan, repeats: usize) -> Vec<String> {
    let target = if plan.url.is_empty() {
        "a server in the same process".to_owned()
    } else {
        format::printable(&plan.url)
    };
    let mut load = vec![
        many(plan.lcores, "lcore"),
        many(
            plan.connections,
            if plan.scenario == "fanout" {
                "subscriber"
            } else {
                "connection"
            },
        ),
    ];
    if plan.in_flight > 0 && !matches!(plan.scenario.as_str(), "ramp" | "hold" | "churn") {
        load.push(format!("{} in flight on each", plan.in_flight));
    }
    load.push(format!(
        "{} B {}",
        format::printable(&plan.size),
        format::printable(&plan.kind)
    ));
    if let Some(rate) = plan.rate {
        load.push(format!("{} requested", format::per_second(rate)));
    }
    let mut time = format::seconds(plan.duration);
    if plan.warmup > 0.0 {
        let _ = write!(time, " after {} of warm-up", format::seconds(plan.warmup));
    }
    load.push(time);
    if repeats > 1 {
        load.push(format!("{repeats} repeats"));
    }
    let mut lines = vec![
        format!(
            "{} over {} to {target}",
            format::printable(&plan.scenario),
            format::printable(&plan.transport)
        ),
        load.join(", "),
    ];
    if let Some(attack) = &plan.attack {
        lines.push(format!("attack: {}", format::printable(attack)));
    }
    lines
}

fn many(n: usize, thing: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", format::count(n as f64))
}
