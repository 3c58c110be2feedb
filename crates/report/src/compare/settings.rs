//! The settings and the machines that differ, and warnings about them.

use super::{Difference, letter};
use crate::data::{Machine, Plan, Report};
use crate::format;

pub(super) type Named = (&'static str, String);

pub(super) fn plan_values(report: &Report) -> Vec<Named> {
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
        ("rate", rate.map_or_else(none, format::per_second)),
        ("duration", format::seconds(*duration)),
        ("warmup", format::seconds(*warmup)),
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

pub(super) fn machine_values(machine: &Machine) -> Vec<Named> {
    vec![
        ("cpu", machine.cpu.clone()),
        ("cpus", machine.cpus.to_string()),
        ("kernel", machine.kernel.clone()),
        ("memory", format::bytes(machine.memory as f64)),
        ("load_before", format!("{:.2}", machine.load_before)),
    ]
}

pub(super) fn differences(values: &[Vec<Named>]) -> Vec<Difference> {
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

/// Warnings about settings that figures depend on. A comparison may be about one of them, so that it is not an error.
pub(super) fn warnings(
    reports: &[(String, Report)],
    plan: &[Difference],
    machine: &[Difference],
) -> Vec<String> {
    // The usual subjects of a comparison.
    const SUBJECT: [&str; 4] = ["url", "repeats", "hioload", "transport"];
    let mut warnings = Vec::new();
    let names: Vec<_> = plan
        .iter()
        .map(|difference| difference.name.as_str())
        .filter(|name| !SUBJECT.contains(name))
        .collect();
    if !names.is_empty() {
        warnings.push(format!(
            "the plans differ ({}): the figures may not be comparable",
            names.join(", ")
        ));
    }
    let differs = |name: &str| machine.iter().any(|difference| difference.name == name);
    if differs("cpu") || differs("cpus") {
        warnings.push("the machines differ: the figures may not be comparable".to_owned());
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
            "some latencies count from the time a message was due, others from the time it was sent"
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
                "in {} the generator was the bottleneck: the figures say little about the server",
                letter(n)
            ));
        }
        if report.runs.is_empty() {
            warnings.push(format!("in {} nothing was measured", letter(n)));
        }
    }
    warnings
}
