//! The display on terminals of several widths, and as plain lines.

use hioload_report::Latency;
use indicatif::{InMemoryTerm, TermLike as _};

use super::*;

fn tick(span: f64) -> Tick {
    Tick {
        span,
        done: (800_000.0 * span) as u64,
        open: 64,
        p50: 18_300,
        p99: 45_600,
        max: 1_200_000,
        ..Tick::default()
    }
}

fn live(columns: u16) -> (Live, InMemoryTerm) {
    let terminal = InMemoryTerm::new(10, columns);
    let target = ProgressDrawTarget::term_like_with_hz(Box::new(terminal.clone()), 200);
    let width: fn() -> u16 = match columns {
        200 => || 200,
        100 => || 100,
        80 => || 80,
        60 => || 60,
        40 => || 40,
        _ => || 25,
    };
    (Live::new(target, width), terminal)
}

#[test]
fn a_terminal_shows_one_line_that_fits() {
    for columns in [200, 100, 80, 60, 40, 25] {
        let (mut live, terminal) = live(columns);
        live.phase(2, 3, Phase::Measuring, Some(10.0));
        for n in 1..20 {
            live.tick(&tick(0.2), 0.2 * f64::from(n));
            live.bar.force_draw();
        }
        let shown = terminal.contents();
        assert_eq!(shown.lines().count(), 1, "{columns}: {shown}");
        assert!(
            shown.chars().count() <= usize::from(columns),
            "{columns}: {shown}"
        );
        assert!(shown.starts_with("2/3 measuring"), "{columns}: {shown}");
        let all = "3.8/10 s  800k/s  p99 45.6 µs  0 errors  p50 18.3 µs  max 1.20 ms  64 open";
        let said = match shown.rsplit_once(']') {
            Some((_, said)) => said,
            None => &shown["2/3 measuring".len()..],
        };
        let said = said.trim();
        assert!(
            all.starts_with(said) && said.len() >= 8,
            "{columns}: {shown}"
        );
        let missing = &all[said.len()..];
        assert!(
            missing.is_empty() || missing.starts_with("  "),
            "a figure is cut: {shown}"
        );
        drop(live);
        assert_eq!(terminal.contents(), "", "the terminal is as it was");
        assert_eq!(terminal.width(), columns);
    }
}

#[test]
fn lines_above_the_bar_stay() {
    let (mut live, terminal) = live(80);
    live.phase(1, 2, Phase::Opening, None);
    live.connections(500, 1000);
    live.bar.force_draw();
    assert!(
        terminal.contents().contains("500 of 1,000 open"),
        "{}",
        terminal.contents()
    );
    live.note("worth a line \u{1b}[2J");
    live.done(&Run {
        rate: 1000.0,
        ..Run::default()
    });
    let wiper = Wiper(Some(live.bar.clone()));
    wiper.wipe();
    assert_eq!(terminal.contents(), "worth a line ?[2J\n1/2 1,000 /s");
}

#[test]
fn without_a_terminal_there_is_one_line_per_second() {
    let mut said = Vec::new();
    let mut lines = Lines::new(|line: &str| said.push(line.to_owned()));
    lines.phase(1, 1, Phase::Measuring, Some(3.0));
    for n in 1..=15 {
        let errors = u64::from(n == 7);
        lines.tick(
            &Tick {
                errors,
                ..tick(0.2)
            },
            0.2 * f64::from(n),
        );
    }
    lines.note("done soon");
    lines.done(&Run::default());
    assert_eq!(
        said,
        [
            "measuring 1.0/3 s  800k/s  p99 45.6 µs  0 errors  p50 18.3 µs  max 1.20 ms  64 open",
            "measuring 2.0/3 s  800k/s  p99 45.6 µs  1 error  p50 18.3 µs  max 1.20 ms  64 open",
            "measuring 3.0/3 s  800k/s  p99 45.6 µs  1 error  p50 18.3 µs  max 1.20 ms  64 open",
            "done soon",
        ]
    );
}

#[test]
fn each_of_several_repeats_ends_with_a_line() {
    let mut said = Vec::new();
    let mut lines = Lines::new(|line: &str| said.push(line.to_owned()));
    lines.phase(2, 3, Phase::Measuring, Some(1.0));
    lines.tick(
        &Tick {
            errors: 4,
            ..tick(0.95)
        },
        0.95,
    );
    lines.done(&Run {
        part: "attacked".into(),
        rate: 812_345.0,
        latency: Some(Latency {
            count: 1,
            p50: 1000,
            p99: 2000,
            max: 3000,
            ..Latency::default()
        }),
        errors: [("reset".to_owned(), 4)].into(),
        ..Run::default()
    });
    lines.phase(3, 3, Phase::Measuring, Some(1.0));
    lines.tick(&tick(0.95), 0.95);
    assert_eq!(
        said[1],
        "2/3 attacked 812,345 /s  p50 1.00 µs  p99 2.00 µs  max 3.00 µs  4 errors"
    );
    assert!(
        said[2].contains("0 errors"),
        "each repeat counts its own errors: {}",
        said[2]
    );
}
