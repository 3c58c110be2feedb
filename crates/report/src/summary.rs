//! What a run came to: as rows, for the page, and as text, for a terminal.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::metric::{Metric, Part, Spread};
use crate::table::Table;
use crate::{Plan, Report, words};

/// The figures of one kind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Section {
    /// What it is about; empty for the first.
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
    /// The second part to the first, if there are two.
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

/// What is counted in a scenario.
pub(crate) fn things(scenario: &str) -> &'static str {
    match scenario {
        "ramp" | "churn" | "hold" => "connections",
        "fanout" => "deliveries",
        _ => "messages",
    }
}

/// All figures that at least one part has.
pub(crate) fn sections(report: &Report) -> Vec<Section> {
    let parts = report.parts();
    let things = things(&report.plan.scenario);
    let from_due = latencies(report).any(|latency| latency.from_due);
    let latency = match (things, from_due) {
        ("deliveries", _) => "latency, from published to delivered",
        (_, true) => "latency, from when a message was due to its answer",
        _ => "latency, from sent to answered",
    };
    let row = |label: &str, name: &str| row(report, &parts, label, name);
    let handshakes = ["p50", "p90", "p99", "p99.9", "max"]; // of connections there are fewer
    let handshakes = handshakes
        .iter()
        .filter_map(|name| row(name, &format!("handshake.{name}")));
    let times = TIMES.iter().filter_map(|name| row(name, name));
    let side = |side: &str| -> Vec<Row> {
        [
            ("cores busy", "cores"),
            ("CPU per message", "cpu_per_message"),
            ("headroom", "headroom"),
            ("memory", "rss"),
            ("memory per connection", "rss_per_connection"),
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
            &words::harmless(&name.replace('_', " ")),
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
            "handshake, from connect to the 101".to_owned(),
            handshakes.collect(),
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

fn latencies(report: &Report) -> impl Iterator<Item = &crate::Latency> {
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

/// What was asked for, in a line or two.
pub(crate) fn plan_lines(plan: &Plan, repeats: usize) -> Vec<String> {
    let target = if plan.url.is_empty() {
        "a server in the same process".to_owned()
    } else {
        words::harmless(&plan.url)
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
        words::harmless(&plan.size),
        words::harmless(&plan.kind)
    ));
    if let Some(rate) = plan.rate {
        load.push(format!("{} asked for", words::per_second(rate)));
    }
    let mut time = words::seconds(plan.duration);
    if plan.warmup > 0.0 {
        let _ = write!(time, " after {} of warm-up", words::seconds(plan.warmup));
    }
    load.push(time);
    if repeats > 1 {
        load.push(format!("{repeats} repeats"));
    }
    let mut lines = vec![
        format!(
            "{} over {} to {target}",
            words::harmless(&plan.scenario),
            words::harmless(&plan.transport)
        ),
        load.join(", "),
    ];
    if let Some(attack) = &plan.attack {
        lines.push(format!("attack: {}", words::harmless(attack)));
    }
    lines
}

fn many(n: usize, thing: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", words::count(n as f64))
}

/// What went wrong, by kind, over all repeats of each part.
pub(crate) fn errors(report: &Report) -> BTreeMap<String, Vec<u64>> {
    let parts = report.parts();
    let mut kinds: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (column, part) in parts.iter().enumerate() {
        for (kind, count) in part.runs.iter().flat_map(|run| &run.errors) {
            let counts = kinds
                .entry(words::harmless(kind))
                .or_insert_with(|| vec![0; parts.len()]);
            counts[column] = counts[column].saturating_add(*count);
        }
    }
    kinds.retain(|_, counts| counts.iter().any(|count| *count > 0));
    kinds
}

/// Which side limited a part, in words: what most of its repeats say.
pub(crate) fn verdict(part: &Part<'_>, plan: &Plan) -> Option<String> {
    let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
    for side in part.runs.iter().filter_map(|run| run.bottleneck.as_deref()) {
        *votes.entry(side).or_default() += 1;
    }
    let (side, count) = votes.into_iter().max_by_key(|(_, count)| *count)?;
    let left = |side: &str| {
        let headroom = Metric::named(&format!("{side}.headroom"))?;
        let spread = part.spread(plan, &headroom)?;
        Some(words::percent(spread.median))
    };
    let mut text = match side {
        "generator" => {
            let busy = left("generator").map_or(String::new(), |left| {
                format!(", whose busiest lcore had {left} of its time left")
            });
            format!(
                "The generator was the bottleneck{busy}: the server may do more than this. More lcores for the generator would tell."
            )
        }
        "server" => {
            let left = left("generator").map_or(String::new(), |left| {
                format!(": the generator had {left} of its time left")
            });
            format!("The server was the bottleneck{left}.")
        }
        "neither" => unlimited(part, plan, left("generator")),
        other => format!("The bottleneck was: {}.", words::harmless(other)),
    };
    if count < part.runs.len() {
        let _ = write!(text, " (So in {count} of {} repeats.)", part.runs.len());
    }
    Some(text)
}

/// What to say where no side was seen to be at its limit.
fn unlimited(part: &Part<'_>, plan: &Plan, left: Option<String>) -> String {
    let left = left.map_or(String::new(), |left| {
        format!(" The generator had {left} of its time left.")
    });
    let known = part.runs.iter().all(|run| run.server.is_some());
    let asked = Metric::named("rate").and_then(|rate| rate.as_share());
    let reached = asked.and_then(|rate| part.spread(plan, &rate));
    match (reached, known) {
        _ if matches!(plan.scenario.as_str(), "hold") => {
            format!("Neither side was at its limit.{left}")
        }
        // A fan-out is asked for publications and counts deliveries.
        (Some(share), _) if share.median >= 0.98 || plan.scenario == "fanout" => {
            format!("Neither side was at its limit: the load was as asked for.{left}")
        }
        (_, false) => format!(
            "The generator was not the bottleneck.{left} What the server had left is not known; --server-pid tells of one on this machine."
        ),
        (Some(share), true) => format!(
            "Neither side was at its limit, and yet the rate was {} of what was asked for.{left}",
            words::percent(share.median)
        ),
        (None, true) => format!(
            "Neither side was at its limit: what was under way waited for the way there and back. More in flight, or more connections, may do more.{left}"
        ),
    }
}

/// The name of a part in a heading.
pub(crate) fn part_name(name: &str) -> String {
    if name.is_empty() {
        "all".to_owned()
    } else {
        words::harmless(name)
    }
}

impl Report {
    /// The summary for a terminal: what was asked for, the figures (the median over repeats, and from the smallest to the
    /// largest), errors by kind, and which side was the bottleneck.
    pub fn summary(&self) -> String {
        let parts = self.parts();
        let repeats = parts.iter().map(|part| part.runs.len()).max().unwrap_or(0);
        let mut text = plan_lines(&self.plan, repeats).join("\n") + "\n";
        if repeats == 0 {
            return text + "\nnothing was measured\n";
        }
        let sections = sections(self);
        let mut table = Table::default();
        if repeats > 1 || parts.len() > 1 {
            table.row(heading(&parts, repeats));
        }
        for section in &sections {
            if !section.title.is_empty() {
                table.line("");
                table.line(section.title.clone());
            }
            for row in &section.rows {
                table.row(cells(row, repeats, parts.len()));
            }
        }
        text.push('\n');
        text.push_str(&table.text());
        text.push('\n');
        text.push_str(&errors_text(self, &parts));
        for part in &parts {
            if let Some(verdict) = verdict(part, &self.plan) {
                let name = if parts.len() > 1 {
                    part_name(part.name) + ": "
                } else {
                    String::new()
                };
                let _ = writeln!(text, "{name}{verdict}");
            }
        }
        text
    }
}

fn heading(parts: &[Part<'_>], repeats: usize) -> Vec<String> {
    let mut cells = vec![String::new()];
    for part in parts {
        let name = if parts.len() > 1 {
            part_name(part.name)
        } else {
            "median".to_owned()
        };
        cells.push(name);
        if repeats > 1 {
            cells.push("min - max".to_owned());
        }
    }
    if parts.len() == 2 {
        cells.push("ratio".to_owned());
    }
    cells
}

fn cells(row: &Row, repeats: usize, parts: usize) -> Vec<String> {
    let mut cells = vec![row.label.clone()];
    for spread in &row.spreads {
        cells.push(spread.map_or("-".into(), |spread| row.show(spread.median)));
        if repeats > 1 {
            cells.push(spread.map_or(String::new(), |spread| range(row, spread)));
        }
    }
    if parts == 2 {
        cells.push(row.ratio().map_or(String::new(), words::ratio));
    }
    cells
}

/// From the smallest to the largest.
pub(crate) fn range(row: &Row, spread: Spread) -> String {
    row.metric.unit().range(spread.min, spread.max)
}

fn errors_text(report: &Report, parts: &[Part<'_>]) -> String {
    let kinds = errors(report);
    if kinds.is_empty() {
        return "no errors\n".to_owned();
    }
    let mut text = String::new();
    for (column, part) in parts.iter().enumerate() {
        let listed: Vec<String> = kinds
            .iter()
            .filter(|(_, counts)| counts[column] > 0)
            .map(|(kind, counts)| format!("{} {kind}", words::count(counts[column] as f64)))
            .collect();
        let listed = if listed.is_empty() {
            "none".to_owned()
        } else {
            listed.join(", ")
        };
        let name = if parts.len() > 1 {
            format!(" ({})", part_name(part.name))
        } else {
            String::new()
        };
        let all = if part.runs.len() > 1 {
            " in all repeats"
        } else {
            ""
        };
        let _ = writeln!(text, "errors{all}{name}: {listed}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic;

    /// The cells of the line that begins with a label.
    fn line<'a>(text: &'a str, label: &str) -> Vec<&'a str> {
        let line = text
            .lines()
            .find(|line| line.trim_start().starts_with(&format!("{label}  ")));
        let line = line.unwrap_or_else(|| panic!("no line {label} in\n{text}"));
        line.split("  ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty())
            .collect()
    }

    #[test]
    fn a_single_run_has_one_column() {
        let report = synthetic::report("echo", 1);
        let text = report.summary();
        let latency = report.runs[0]
            .latency
            .as_ref()
            .expect("an echo has latency");
        assert_eq!(
            line(&text, "p99"),
            ["p99", &words::time(latency.p99 as f64)]
        );
        assert_eq!(line(&text, "rate"), ["rate", "800,000 /s"]);
        assert_eq!(
            line(&text, "CPU per message"),
            ["CPU per message", "690 ns"]
        );
        assert!(
            text.starts_with("echo over sockets to ws://127.0.0.1:9001/echo"),
            "{text}"
        );
        assert!(text.contains("1 lcore, 100 connections, 16 in flight on each, 64 B binary, 10 s after 1 s of warm-up\n"), "{text}");
        assert!(text.contains("no errors\n"), "{text}");
        assert!(
            text.contains(
                "The server was the bottleneck: the generator had 45.0 % of its time left."
            ),
            "{text}"
        );
        for absent in ["handshake", "counters", "median", "NaN", "per connection"] {
            assert!(!text.contains(absent), "{absent} in\n{text}");
        }
    }

    #[test]
    fn repeats_show_their_median_and_range() {
        let report = synthetic::report("echo", 3);
        let text = report.summary();
        let cells = line(&text, "rate");
        let rates: Vec<_> = report
            .runs
            .iter()
            .map(|run| words::per_second(run.rate))
            .collect();
        assert_eq!(
            cells,
            [
                "rate",
                &rates[1],
                &format!("{} - {}", rates[2].trim_end_matches(" /s"), rates[0])
            ]
        );
        assert!(text.contains("3 repeats"), "{text}");
    }

    #[test]
    fn parts_stand_side_by_side() {
        let report = synthetic::attacked(1);
        let text = report.summary();
        let cells = line(&text, "p50");
        assert_eq!(cells.len(), 4, "{text}");
        assert_eq!(cells[3], "1.50x");
        assert_eq!(
            line(&text, "attack frames"),
            ["attack frames", "-", "5,000,000"]
        );
        assert!(
            text.contains("errors (quiet): none\nerrors (attacked): 3 timeout\n"),
            "{text}"
        );
        assert!(text.contains("attack: syn-flood"), "{text}");
        let columns: Vec<_> = ["p50", "p99", "max"]
            .iter()
            .map(|label| line(&text, label).len())
            .collect();
        assert_eq!(columns, [4, 4, 4]);
    }

    #[test]
    fn figures_of_a_column_end_below_each_other() {
        for report in [synthetic::report("echo", 3), synthetic::attacked(2)] {
            let text = report.summary();
            let ends = |label: &str| {
                let line = text
                    .lines()
                    .find(|line| line.trim_start().starts_with(label));
                line.map(|line| line.chars().count())
            };
            assert_eq!(ends("p50 "), ends("p99 "), "{text}");
            assert!(text.lines().all(|line| line.trim_end() == line), "{text}");
        }
    }

    #[test]
    fn the_verdict_names_the_side() {
        let mut report = synthetic::report("echo", 3);
        for run in &mut report.runs {
            run.bottleneck = Some("generator".into());
            run.generator.headroom = Some(0.01);
        }
        assert!(report.summary().contains(
            "The generator was the bottleneck, whose busiest lcore had 1.00 % of its time left"
        ));
        report.runs[0].bottleneck = Some("neither".into());
        assert!(report.summary().contains("(So in 2 of 3 repeats.)"));
        report.runs.truncate(1);
        assert!(
            report
                .summary()
                .contains("Neither side was at its limit: what was under way waited")
        );
        report.runs[0].server = None;
        assert!(report.summary().contains("The generator was not the bottleneck. The generator had 1.00 % of its time left. What the server"));
        report.plan.rate = Some(report.runs[0].rate);
        assert!(
            report
                .summary()
                .contains("Neither side was at its limit: the load was as asked for.")
        );
        for run in &mut report.runs {
            run.bottleneck = None;
        }
        assert!(!report.summary().contains("bottleneck"));
    }

    #[test]
    fn nothing_measured_is_said_and_nothing_commands_the_terminal() {
        let mut report = synthetic::report("echo", 0);
        report.plan.url = "ws://x/\u{1b}]0;owned\u{7}".into();
        let text = report.summary();
        assert!(text.contains("nothing was measured"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
