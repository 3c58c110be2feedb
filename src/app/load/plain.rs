//! What a run looks like in plain lines.

use hioload_loadgen::progress::{Phase, Progress};
use hioload_loadgen::report::{Latency, Report, Run, Tick};

/// A line every second or so, on standard error.
#[derive(Debug)]
pub(super) struct Lines {
    run: (usize, usize),
    phase: Phase,
    next: f64,
}

impl Lines {
    pub(super) fn new() -> Self {
        Self {
            run: (1, 1),
            phase: Phase::Opening,
            next: 0.0,
        }
    }
}

impl Progress for Lines {
    fn phase(&mut self, run: usize, of: usize, phase: Phase, _: Option<f64>) {
        self.run = (run, of);
        self.phase = phase;
        self.next = 1.0;
    }

    fn tick(&mut self, tick: &Tick, elapsed: f64) {
        if elapsed < self.next {
            return;
        }
        self.next += 1.0;
        eprintln!(
            "{}/{} {} {elapsed:.1} s: {:.0}/s, p50 {}, p99 {}, {} open, {} errors",
            self.run.0,
            self.run.1,
            self.phase.name(),
            tick.done as f64 / tick.span,
            shown(tick.p50),
            shown(tick.p99),
            tick.open,
            tick.errors,
        );
    }

    fn connections(&mut self, open: usize, of: usize) {
        // Five calls are a second.
        self.next += 0.2;
        if self.next >= 2.0 {
            self.next = 1.0;
            eprintln!("{}/{} opening: {open} of {of}", self.run.0, self.run.1);
        }
    }

    fn note(&mut self, line: &str) {
        eprintln!("{line}");
    }
}

fn shown(nanos: u64) -> String {
    match nanos {
        0..1_000_000 => format!("{:.1} µs", nanos as f64 / 1e3),
        _ => format!("{:.2} ms", nanos as f64 / 1e6),
    }
}

/// Lines about each run.
pub(super) fn summary(report: &Report) {
    // One that came to nothing is told of by its failure.
    for run in report.runs.iter().filter(|run| run.seconds > 0.0) {
        line(run);
    }
}

fn line(run: &Run) {
    println!(
        "{} done in {:.2} s: {:.0}/s, {:.1} MB/s received",
        run.done,
        run.seconds,
        run.rate,
        run.bytes_rate / 1e6
    );
    let times = |name: &str, latency: &Option<Latency>| {
        if let Some(l) = latency {
            println!(
                "{name} p50 {} p99 {} p99.9 {} max {}{}",
                shown(l.p50),
                shown(l.p99),
                shown(l.p999),
                shown(l.max),
                if l.from_due { ", from when due" } else { "" }
            );
        }
    };
    times("latency", &run.latency);
    times("handshake", &run.handshake);
    for (name, side) in [
        ("generator", Some(&run.generator)),
        ("server", run.server.as_ref()),
    ] {
        let Some(side) = side else { continue };
        println!(
            "{name}: {:.2} cores, {:.0} ns each, headroom {:.0}%, RSS {:.1} MB{}",
            side.cores,
            side.cpu_per_done,
            side.headroom.unwrap_or(0.0) * 100.0,
            side.rss as f64 / 1e6,
            side.rss_per_connection
                .map_or_else(String::new, |each| format!(", {each:.0} B a connection")),
        );
    }
    if let Some(who) = &run.bottleneck {
        println!("bottleneck: {who}");
    }
    for (name, n) in &run.errors {
        println!("error: {name}: {n}");
    }
    for (name, value) in &run.extra {
        println!("{name}: {value}");
    }
}
