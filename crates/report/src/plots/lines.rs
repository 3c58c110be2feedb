//! The lines of each plot.

use hdrhistogram::Histogram;

use super::PlotKind;
use crate::data::{Run, Tick};
use crate::plot::Stroke;

/// Points of a line, at most. More cannot be seen.
const POINTS: usize = 300;

type Line = (&'static str, Stroke, Vec<(f64, f64)>);

pub(super) fn lines(kind: PlotKind, run: &Run) -> Vec<Line> {
    let histogram = || {
        let latency = run.latency.as_ref().or(run.handshake.as_ref())?;
        latency.decode().ok().filter(|all| !all.is_empty())
    };
    let ticks = || thinned(&run.series);
    let over_time = |value: fn(&Tick) -> Option<f64>| -> Vec<(f64, f64)> {
        let points = ticks().into_iter();
        points
            .filter_map(|tick| Some((tick.at + tick.span / 2.0, value(&tick)?)))
            .collect()
    };
    let recorded = |time: u64| (time > 0).then_some(time as f64);
    match kind {
        PlotKind::Percentiles => vec![(
            "",
            Stroke::Solid,
            histogram().map_or(Vec::new(), |all| percentiles(&all)),
        )],
        PlotKind::Histogram => vec![(
            "",
            Stroke::Filled,
            histogram().map_or(Vec::new(), |all| shares(&all)),
        )],
        PlotKind::Throughput => vec![(
            "",
            Stroke::Solid,
            over_time(|tick| (tick.span > 0.0).then(|| tick.done as f64 / tick.span)),
        )],
        PlotKind::Latency => {
            let line = |value: fn(&Tick) -> u64| -> Vec<(f64, f64)> {
                let points = ticks().into_iter();
                points
                    .map(|tick| {
                        (
                            tick.at + tick.span / 2.0,
                            recorded(value(&tick)).unwrap_or(f64::NAN),
                        )
                    })
                    .collect()
            };
            let lines = [
                ("p50", Stroke::Solid, line(|tick| tick.p50)),
                ("p99", Stroke::Dashed, line(|tick| tick.p99)),
                ("max", Stroke::Dotted, line(|tick| tick.max)),
            ];
            let some = |(_, _, points): &Line| points.iter().any(|(_, time)| time.is_finite());
            lines.into_iter().filter(some).collect()
        }
        PlotKind::Cpu => vec![
            (
                "generator",
                Stroke::Solid,
                over_time(|tick| Some(tick.generator_cpu)),
            ),
            ("server", Stroke::Dashed, over_time(|tick| tick.server_cpu)),
        ],
        PlotKind::Connections => {
            vec![("", Stroke::Solid, over_time(|tick| Some(tick.open as f64)))]
        }
    }
}

/// The latency at each quantile, evenly spaced along the axis of nines, up to the last message.
fn percentiles(all: &Histogram<u64>) -> Vec<(f64, f64)> {
    let last = (all.len() as f64).log10().clamp(1.0, 8.0);
    (0..=POINTS)
        .map(|step| {
            let quantile = 1.0 - 10_f64.powf(-last * step as f64 / POINTS as f64);
            (quantile, all.value_at_quantile(quantile) as f64)
        })
        .collect()
}

/// The share of messages in each of 20 steps per decade.
fn shares(all: &Histogram<u64>) -> Vec<(f64, f64)> {
    const STEPS: f64 = 20.0;
    let step = |time: u64| ((time.max(1) as f64).log10() * STEPS).floor() as i64;
    let (first, last) = (step(all.min()), step(all.max()));
    let mut counts = vec![0_u64; usize::try_from(last - first).unwrap_or(0) + 1];
    for value in all.iter_recorded() {
        let at = usize::try_from(step(value.value_iterated_to()) - first).unwrap_or(0);
        if let Some(count) = counts.get_mut(at) {
            *count += value.count_at_value();
        }
    }
    let total = all.len() as f64;
    let edge = |n: i64| 10_f64.powf(n as f64 / STEPS);
    // A step line that ends at zero on both sides.
    let mut points = vec![(edge(first), 0.0)];
    for (n, count) in (first..).zip(&counts) {
        let share = *count as f64 / total;
        points.extend([(edge(n), share), (edge(n + 1), share)]);
    }
    points.push((edge(last + 1), 0.0));
    points
}

/// Merges neighbouring ticks down to [`POINTS`]: counts are summed, and the largest times are kept.
fn thinned(series: &[Tick]) -> Vec<Tick> {
    let group = series.len().div_ceil(POINTS).max(1);
    series
        .chunks(group)
        .filter_map(|ticks| {
            let mut all = ticks.first()?.clone();
            for tick in &ticks[1..] {
                let span = all.span + tick.span;
                let mean = |a: f64, b: f64| {
                    if span > 0.0 {
                        (a * all.span + b * tick.span) / span
                    } else {
                        a
                    }
                };
                all.generator_cpu = mean(all.generator_cpu, tick.generator_cpu);
                all.server_cpu = all.server_cpu.zip(tick.server_cpu).map(|(a, b)| mean(a, b));
                all.span = span;
                all.done += tick.done;
                all.errors += tick.errors;
                all.open = tick.open;
                all.p50 = all.p50.max(tick.p50);
                all.p99 = all.p99.max(tick.p99);
                all.p999 = all.p999.max(tick.p999);
                all.max = all.max.max(tick.max);
            }
            Some(all)
        })
        .collect()
}
