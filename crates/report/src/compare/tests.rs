//! Tests of comparisons.

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
fn equal_reports_have_no_differences() {
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
fn a_change_is_classified_by_the_spread_of_the_repeats() {
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
fn different_plans_come_first_with_a_warning() {
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
        place("warning: the plans differ (scenario, connections, rate)")
            < place("plan: differences")
    );
    assert!(place("plan: differences") < place("figures: "));
}

#[test]
fn another_url_or_transport_causes_no_warning() {
    let mut other = synthetic::report("echo", 3);
    other.plan.url = "ws://127.0.0.1:9002/".into();
    other.plan.transport = "memory".into();
    let comparison = compared([synthetic::report("echo", 3), other]);
    assert_eq!(comparison.plan.len(), 2);
    assert!(comparison.warnings.is_empty(), "{:?}", comparison.warnings);
}

#[test]
fn a_part_is_compared_with_the_part_of_the_same_name() {
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
fn the_json_has_the_same_figures() {
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
