//! Tests of conditions.

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
fn an_error_is_one_line() {
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
        let why = text.parse::<Requirement>().expect_err(text).to_string();
        assert!(
            why.contains(part) || text.starts_with("server.") && why.contains("with server."),
            "{text}: {why}"
        );
        assert!(!why.contains('\n'), "{why}");
    }
    assert!(Requirement::list("p99<1ms,,").is_err());
}

#[test]
fn a_condition_applies_to_the_median() {
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
fn errors_are_summed_over_repeats() {
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
fn a_figure_that_was_not_measured_fails() {
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
fn a_condition_applies_to_both_parts_or_the_named_one() {
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
