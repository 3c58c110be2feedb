//! Synthetic reports for tests, the same each time.

use std::collections::BTreeMap;

use crate::data::{FORMAT, Latency, Machine, Plan, Report, Run, Tick, Usage};
use crate::latency::histogram;

/// A report of `repeats` runs, each a little slower than the one before.
pub(crate) fn report(scenario: &str, repeats: usize) -> Report {
    Report {
        format: FORMAT,
        hioload: "0.1.0".into(),
        started: "2026-01-02T03:04:05Z".into(),
        command: ["hioload", "load", "ws://127.0.0.1:9001/echo?a=1&b=<2>"]
            .map(Into::into)
            .to_vec(),
        machine: Machine {
            cpu: "Imaginary CPU @ 2.50GHz".into(),
            cpus: 2,
            kernel: "Linux 6.1.0".into(),
            memory: 8 << 30,
            load_before: 0.25,
        },
        plan: Plan {
            url: "ws://127.0.0.1:9001/echo?a=1&b=<2>".into(),
            transport: "sockets".into(),
            scenario: scenario.into(),
            connections: 100,
            in_flight: 16,
            size: "64".into(),
            kind: "binary".into(),
            rate: (scenario == "rate").then_some(100_000.0),
            duration: 10.0,
            warmup: 1.0,
            lcores: 1,
            attack: None,
        },
        runs: (0..repeats).map(|n| run(1.0 + n as f64 * 0.02)).collect(),
    }
}

/// A load measured without and with an attack.
pub(crate) fn attacked(repeats: usize) -> Report {
    let mut report = report("rate", 0);
    report.plan.attack = Some("syn-flood".into());
    for n in 0..repeats {
        for (part, slower) in [("quiet", 1.0), ("attacked", 1.5)] {
            let mut run = run(slower + n as f64 * 0.02);
            run.part = part.into();
            if part == "attacked" {
                run.extra.insert("attack_frames".into(), 5_000_000.0);
                run.errors.insert("timeout".into(), 3);
            }
            report.runs.push(run);
        }
    }
    report
}

/// Log-normal latencies, with a tail, from a linear congruential generator.
fn run(slower: f64) -> Run {
    let mut state = 42_u64;
    let mut uniform = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut times = histogram();
    for _ in 0..50_000 {
        let normal: f64 = (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
        let tail = if uniform() < 0.002 {
            8.0 + 30.0 * uniform()
        } else {
            1.0
        };
        times.saturating_record((20_000.0 * slower * tail * (normal * 0.35).exp()) as u64);
    }
    let rate = 800_000.0 / slower;
    let latency = Latency::of(&times, false);
    let series = (0..10)
        .map(|second| {
            let wave = 1.0 + 0.1 * f64::from(second % 3);
            Tick {
                at: f64::from(second),
                span: 1.0,
                done: (rate / wave) as u64,
                errors: 0,
                open: 100,
                p50: (latency.p50 as f64 * wave) as u64,
                p99: (latency.p99 as f64 * wave) as u64,
                p999: latency.p999,
                max: latency.max,
                generator_cpu: 0.9 / wave,
                server_cpu: Some(0.6 * wave),
            }
        })
        .collect();
    Run {
        part: String::new(),
        seconds: 10.0,
        sent: (rate * 10.0) as u64,
        done: (rate * 10.0) as u64,
        rate,
        bytes_rate: rate * 64.0,
        latency: Some(latency),
        handshake: None,
        full_handshake: None,
        resumed_handshake: None,
        errors: BTreeMap::new(),
        series,
        generator: Usage {
            cores: 0.55,
            cpu_per_done: 690.0,
            headroom: Some(0.45),
            rss: 40 << 20,
            rss_per_connection: None,
            rss_growth: None,
        },
        server: Some(Usage {
            cores: 1.0,
            cpu_per_done: 1250.0,
            headroom: Some(0.0),
            rss: 30 << 20,
            rss_per_connection: None,
            rss_growth: None,
        }),
        bottleneck: Some("server".into()),
        extra: BTreeMap::new(),
    }
}
