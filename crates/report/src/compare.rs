//! What differs between reports.
//!
//! A figure is its median over the repeats of a report. The difference to the first report is beyond the spread if no
//! repeat of the one lies within the range of the other; with fewer than two repeats on either side there is no spread
//! to say it by.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::metric::{Better, Metric, Spread};
use crate::table::Table;
use crate::{Machine, Plan, Report, words};

/// Reports beside each other; all relations are to the first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The names of the reports, in their order.
    pub reports: Vec<String>,
    /// What was asked for differently.
    pub plan: Vec<Difference>,
    /// Why the figures may not be comparable; empty if they are.
    pub warnings: Vec<String>,
    /// What differs of the machines.
    pub machine: Vec<Difference>,
    /// The figures that any of them has.
    pub figures: Vec<Figure>,
}

/// A setting or property that is not the same in all reports.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Its name, as in the file.
    pub name: String,
    /// Of each report.
    pub values: Vec<String>,
}

/// A figure of each report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// Its name, as `--require` takes it.
    pub name: String,
    /// The part it is of: empty, `quiet`, `attacked`.
    pub part: String,
    /// Of each report; `None` if it was not measured.
    pub values: Vec<Option<Spread>>,
    /// Of each report but the first, to the first.
    pub changes: Vec<Change>,
}

/// How a figure differs from that of the first report.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Change {
    /// The median to the first's; `None` if either is missing or the first is zero.
    pub ratio: Option<f64>,
    /// What to think of it.
    pub verdict: Verdict,
}

/// What to think of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The medians are equal.
    Same,
    /// The ranges of the repeats overlap.
    WithinTheSpread,
    /// They do not, and it is an improvement.
    Better,
    /// They do not, and it got worse.
    Worse,
    /// They do not, and neither way is better.
    Different,
    /// There are too few repeats to know the spread.
    SpreadUnknown,
    /// One of the two was not measured.
    NotMeasured,
}

impl Verdict {
    /// In words.
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

/// The figures that are compared, besides the extra ones.
const FIGURES: [&str; 25] = [
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
    "done",
];

impl Comparison {
    /// Of two or more reports with their names; of fewer, there is nothing to say but the figures.
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

    /// For a terminal.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (n, name) in self.reports.iter().enumerate() {
            text.push_str(&format!("{}  {}\n", letter(n), words::harmless(name)));
        }
        for warning in &self.warnings {
            text.push_str(&format!("warning: {warning}\n"));
        }
        for (title, differences) in [("plan", &self.plan), ("machine", &self.machine)] {
            if differences.is_empty() {
                text.push_str(&format!("\n{title}: the same\n"));
                continue;
            }
            text.push_str(&format!("\n{title}: what differs\n"));
            let mut table = Table::default();
            table.row(std::iter::once(String::new()).chain((0..self.reports.len()).map(letter)));
            for difference in differences {
                let values = difference.values.iter().map(|value| words::harmless(value));
                table.row(std::iter::once(difference.name.clone()).chain(values));
            }
            text.push_str(&table.text());
        }
        text.push_str("\nfigures: medians over repeats (smallest - largest)\n");
        text.push_str(&self.figure_table().text());
        text
    }

    fn figure_table(&self) -> Table {
        let mut table = Table::default();
        let mut heading = vec![String::new(), letter(0)];
        for n in 1..self.reports.len() {
            heading.extend([
                letter(n),
                format!("{}/{}", letter(n), letter(0)),
                String::new(),
            ]);
        }
        table.row(heading);
        let mut part = "";
        for figure in &self.figures {
            if figure.part != part {
                part = &figure.part;
                table.line(format!(" {}", words::harmless(part)));
            }
            let show = |value: &Option<Spread>| show(&figure.name, *value);
            let mut cells = vec![words::harmless(&figure.name)];
            cells.extend(figure.values.first().map(show));
            for (value, change) in figure.values.iter().skip(1).zip(&figure.changes) {
                let ratio = change.ratio.map_or("-".to_owned(), words::ratio);
                cells.extend([show(value), ratio, change.verdict.words().to_owned()]);
            }
            table.row(cells);
        }
        table
    }
}

/// Reports are called a, b, c in tables; beyond z by number.
fn letter(n: usize) -> String {
    match u8::try_from(n) {
        Ok(n @ 0..26) => char::from(b'a' + n).to_string(),
        _ => format!("#{}", n + 1),
    }
}

fn show(name: &str, value: Option<Spread>) -> String {
    let (Some(value), Some(metric)) = (value, Metric::named(name)) else {
        return "-".to_owned();
    };
    let unit = metric.unit();
    let median = unit.show(value.median);
    if value.runs < 2 {
        return median;
    }
    format!("{median} ({})", unit.range(value.min, value.max))
}

type Named = (&'static str, String);

fn plan_values(report: &Report) -> Vec<Named> {
    let Plan {
        url,
        transport,
        scenario,
        connections,
        in_flight,
        size,
        kind,
        rate,
        duration,
        warmup,
        lcores,
        attack,
    } = &report.plan;
    let none = || "none".to_owned();
    vec![
        ("scenario", scenario.clone()),
        ("transport", transport.clone()),
        ("url", if url.is_empty() { none() } else { url.clone() }),
        ("connections", connections.to_string()),
        ("in_flight", in_flight.to_string()),
        ("size", size.clone()),
        ("kind", kind.clone()),
        ("rate", rate.map_or_else(none, words::per_second)),
        ("duration", words::seconds(*duration)),
        ("warmup", words::seconds(*warmup)),
        ("lcores", lcores.to_string()),
        ("attack", attack.clone().unwrap_or_else(none)),
        (
            "repeats",
            report
                .parts()
                .iter()
                .map(|part| part.runs.len())
                .max()
                .unwrap_or(0)
                .to_string(),
        ),
        ("hioload", report.hioload.clone()),
    ]
}

fn machine_values(machine: &Machine) -> Vec<Named> {
    vec![
        ("cpu", machine.cpu.clone()),
        ("cpus", machine.cpus.to_string()),
        ("kernel", machine.kernel.clone()),
        ("memory", words::bytes(machine.memory as f64)),
        ("load_before", format!("{:.2}", machine.load_before)),
    ]
}

fn differences(values: &[Vec<Named>]) -> Vec<Difference> {
    let Some(first) = values.first() else {
        return Vec::new();
    };
    let all = first.iter().enumerate().map(|(n, (name, _))| Difference {
        name: (*name).to_owned(),
        values: values.iter().map(|list| list[n].1.clone()).collect(),
    });
    all.filter(|difference| difference.values.windows(2).any(|pair| pair[0] != pair[1]))
        .collect()
}

/// Settings that a figure depends on. A comparison may well be about one of them, so it is a warning and no error.
fn warnings(
    reports: &[(String, Report)],
    plan: &[Difference],
    machine: &[Difference],
) -> Vec<String> {
    // What a comparison is usually about.
    const SUBJECT: [&str; 4] = ["url", "repeats", "hioload", "transport"];
    let mut warnings = Vec::new();
    let names: Vec<_> = plan
        .iter()
        .map(|difference| difference.name.as_str())
        .filter(|name| !SUBJECT.contains(name))
        .collect();
    if !names.is_empty() {
        warnings.push(format!(
            "not the same was asked for ({}): the figures may not be comparable",
            names.join(", ")
        ));
    }
    let differs = |name: &str| machine.iter().any(|difference| difference.name == name);
    if differs("cpu") || differs("cpus") {
        warnings
            .push("they ran on different machines: the figures may not be comparable".to_owned());
    }
    let from_due = |report: &Report| {
        let latency = report.runs.iter().find_map(|run| run.latency.as_ref());
        latency.map(|latency| latency.from_due)
    };
    let clocks: Vec<bool> = reports
        .iter()
        .filter_map(|(_, report)| from_due(report))
        .collect();
    if clocks.windows(2).any(|pair| pair[0] != pair[1]) {
        warnings.push(
            "some latencies count from when a message was due, some from when it was sent"
                .to_owned(),
        );
    }
    for (n, (_, report)) in reports.iter().enumerate() {
        let limited = report
            .runs
            .iter()
            .any(|run| run.bottleneck.as_deref() == Some("generator"));
        if limited {
            warnings.push(format!(
                "in {} the generator was the bottleneck: it says little about the server",
                letter(n)
            ));
        }
        if report.runs.is_empty() {
            warnings.push(format!("in {} nothing was measured", letter(n)));
        }
    }
    warnings
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic;

    fn compared(reports: [Report; 2]) -> Comparison {
        let names = ["a.json", "b.json"].map(str::to_owned);
        Comparison::of(&names.into_iter().zip(reports).collect::<Vec<_>>())
    }

    fn with_rates(rates: &[f64]) -> Report {
        let mut report = synthetic::report("echo", rates.len());
        for (run, rate) in report.runs.iter_mut().zip(rates) {
            run.rate = *rate;
        }
        report
    }

    fn rate(comparison: &Comparison) -> Change {
        let figure = comparison
            .figures
            .iter()
            .find(|figure| figure.name == "rate");
        figure.expect("every report has a rate").changes[0]
    }

    #[test]
    fn the_same_report_differs_in_nothing() {
        let comparison = compared([synthetic::report("echo", 3), synthetic::report("echo", 3)]);
        assert!(
            comparison.plan.is_empty()
                && comparison.machine.is_empty()
                && comparison.warnings.is_empty()
        );
        for figure in &comparison.figures {
            assert_eq!(figure.changes[0].verdict, Verdict::Same, "{}", figure.name);
        }
        let text = comparison.text();
        assert!(
            text.contains("plan: the same") && text.contains("machine: the same"),
            "{text}"
        );
    }

    #[test]
    fn a_difference_is_judged_by_the_spread_of_the_repeats() {
        for (first, second, ratio, verdict) in [
            (
                &[100.0, 110.0, 90.0][..],
                &[105.0, 115.0, 95.0][..],
                1.05,
                Verdict::WithinTheSpread,
            ),
            (
                &[100.0, 110.0, 90.0],
                &[200.0, 210.0, 190.0],
                2.0,
                Verdict::Better,
            ),
            (
                &[100.0, 110.0, 90.0],
                &[50.0, 55.0, 45.0],
                0.5,
                Verdict::Worse,
            ),
            (&[100.0], &[200.0], 2.0, Verdict::SpreadUnknown),
            (
                &[100.0, 110.0],
                &[200.0],
                200.0 / 105.0,
                Verdict::SpreadUnknown,
            ),
        ] {
            let change = rate(&compared([with_rates(first), with_rates(second)]));
            assert_eq!((change.ratio, change.verdict), (Some(ratio), verdict));
        }
        let spread = |value| Spread::of([value, value]);
        let verdict = |better, a, b| change(better, spread(a), spread(b)).verdict;
        assert_eq!(verdict(Better::Lower, 1.0, 2.0), Verdict::Worse);
        assert_eq!(verdict(Better::Lower, 2.0, 1.0), Verdict::Better);
        assert_eq!(verdict(Better::Neither, 2.0, 1.0), Verdict::Different);
        assert_eq!(
            change(Better::Lower, None, spread(1.0)).verdict,
            Verdict::NotMeasured
        );
        assert_eq!(change(Better::Lower, spread(0.0), spread(1.0)).ratio, None);
    }

    #[test]
    fn what_was_asked_for_differently_is_told_first_with_a_warning() {
        let mut other = synthetic::report("rate", 3);
        other.plan.connections = 7;
        other.machine.cpus = 64;
        for run in &mut other.runs {
            run.bottleneck = Some("generator".into());
            run.latency.as_mut().expect("it has latency").from_due = true;
        }
        let comparison = compared([synthetic::report("echo", 3), other]);
        let names: Vec<_> = comparison
            .plan
            .iter()
            .map(|difference| difference.name.as_str())
            .collect();
        assert_eq!(names, ["scenario", "connections", "rate"]);
        assert_eq!(comparison.plan[1].values, ["100", "7"]);
        assert_eq!(comparison.machine[0].name, "cpus");
        assert_eq!(comparison.warnings.len(), 4, "{:?}", comparison.warnings);
        let text = comparison.text();
        let place = |part: &str| {
            text.find(part)
                .unwrap_or_else(|| panic!("no {part} in\n{text}"))
        };
        assert!(
            place("warning: not the same was asked for (scenario, connections, rate)")
                < place("plan: what differs")
        );
        assert!(place("plan: what differs") < place("figures: "));
    }

    #[test]
    fn another_url_or_transport_is_what_a_comparison_is_about() {
        let mut other = synthetic::report("echo", 3);
        other.plan.url = "ws://127.0.0.1:9002/".into();
        other.plan.transport = "memory".into();
        let comparison = compared([synthetic::report("echo", 3), other]);
        assert_eq!(comparison.plan.len(), 2);
        assert!(comparison.warnings.is_empty(), "{:?}", comparison.warnings);
    }

    #[test]
    fn parts_are_compared_with_their_like() {
        let comparison = compared([synthetic::attacked(2), synthetic::report("rate", 2)]);
        let parts: Vec<_> = comparison
            .figures
            .iter()
            .filter(|figure| figure.name == "p99")
            .collect();
        let names: Vec<_> = parts.iter().map(|figure| figure.part.as_str()).collect();
        assert_eq!(names, ["quiet", "attacked", ""]);
        assert!(
            parts
                .iter()
                .all(|figure| figure.changes[0].verdict == Verdict::NotMeasured)
        );
    }

    #[test]
    fn as_json_it_has_the_same_figures() {
        let comparison = compared([with_rates(&[1.0, 2.0]), with_rates(&[10.0, 20.0])]);
        let json = serde_json::to_value(&comparison).expect("it is plain data");
        let figures = json["figures"].as_array().expect("a list");
        let rate = figures
            .iter()
            .find(|figure| figure["name"] == "rate")
            .expect("there is one");
        assert_eq!(rate["values"][1]["median"], 15.0);
        assert_eq!(rate["changes"][0]["verdict"], "better");
        assert_eq!(rate["changes"][0]["ratio"], 10.0);
    }
}
