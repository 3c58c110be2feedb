//! What can be plotted of reports.

use std::str::FromStr;

use hdrhistogram::Histogram;

use crate::metric::{Metric, Spread};
use crate::plot::{Axis, Plot, Scale, Series, Stroke, quantile};
use crate::{Report, Run, Tick, summary, words};

/// More points than this on a line cannot be seen.
const POINTS: usize = 300;

/// What a plot shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Latency by percentile, with as much room for each nine.
    Percentiles,
    /// How often each latency occurred.
    Histogram,
    /// What was done in each second.
    Throughput,
    /// Latency percentiles of each second.
    Latency,
    /// Cores busy on both sides.
    Cpu,
    /// Open connections.
    Connections,
}

impl Kind {
    /// All of them, in the order of the page.
    pub const ALL: [Self; 6] = [
        Self::Percentiles,
        Self::Histogram,
        Self::Throughput,
        Self::Latency,
        Self::Cpu,
        Self::Connections,
    ];

    /// As it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Percentiles => "percentiles",
            Self::Histogram => "histogram",
            Self::Throughput => "throughput",
            Self::Latency => "latency",
            Self::Cpu => "cpu",
            Self::Connections => "connections",
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("no plot is called {text:?}; there are {names}")
        })
    }
}

/// A plot of one report, or of several in one, as an SVG file; `None` if they have nothing of this kind. Reports are told
/// apart by the labels that come with them.
pub fn svg(kind: Kind, reports: &[(&str, &Report)]) -> Option<String> {
    let plot = plot(kind, reports);
    (!plot.is_empty()).then(|| plot.svg(true) + "\n")
}

/// One run.
struct Curve<'a> {
    /// Report and part.
    group: String,
    /// Which repeat, if there are several.
    repeat: Option<usize>,
    /// Repeats have colours of their own, unless there are several reports or parts, which then have.
    colour: usize,
    run: &'a Run,
}

pub(crate) fn plot(kind: Kind, reports: &[(&str, &Report)]) -> Plot {
    let curves = curves(reports);
    let single = curves.len() == 1;
    let grouped = curves.iter().any(|curve| curve.group != curves[0].group);
    let (title, x, y) = frame(kind);
    let mut series = Vec::new();
    for curve in &curves {
        for (n, (what, stroke, points)) in lines(kind, curve.run).into_iter().enumerate() {
            if points.is_empty() {
                continue;
            }
            let named = |repeat: Option<usize>| {
                let repeat = repeat.map_or(String::new(), |n| format!("#{n}"));
                let words = [curve.group.as_str(), repeat.as_str(), what];
                let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
                words.join(" ")
            };
            // Repeats that look the same are in the legend once.
            let legend = match (grouped, curve.repeat) {
                (false, repeat) => Some(named(repeat)),
                (true, None | Some(1)) => Some(named(None)),
                _ => None,
            };
            series.push(Series {
                label: named(curve.repeat),
                legend,
                // A single run may use the colours for its lines.
                colour: if single { n } else { curve.colour },
                stroke: if single && stroke != Stroke::Filled {
                    Stroke::Solid
                } else {
                    stroke
                },
                points,
            });
        }
    }
    Plot {
        id: kind.name(),
        title: format!("{title}{}", per_done(reports, kind)),
        x,
        y,
        series,
    }
}

/// What one of what is counted is, where a title has room for it.
fn per_done(reports: &[(&str, &Report)], kind: Kind) -> String {
    let thing = |report: &Report| summary::things(&report.plan.scenario);
    match (kind, reports.first()) {
        (Kind::Throughput, Some((_, report))) => format!(": {} per second", thing(report)),
        _ => String::new(),
    }
}

fn curves<'a>(reports: &[(&str, &'a Report)]) -> Vec<Curve<'a>> {
    let mut curves = Vec::new();
    let groups: usize = reports.iter().map(|(_, report)| report.parts().len()).sum();
    let mut group = 0;
    for (name, report) in reports {
        for part in report.parts() {
            let name = if reports.len() > 1 { name } else { "" };
            let words = format!("{name} {}", part.name);
            for (n, run) in part.runs.iter().enumerate() {
                curves.push(Curve {
                    group: words.trim().to_owned(),
                    repeat: (part.runs.len() > 1).then_some(n + 1),
                    colour: if groups > 1 { group } else { n },
                    run,
                });
            }
            group += 1;
        }
    }
    curves
}

fn frame(kind: Kind) -> (&'static str, Axis, Axis) {
    let time = |scale, title| Axis {
        scale,
        title,
        show: words::time,
    };
    let seconds = Axis {
        scale: Scale::Linear,
        title: "seconds since measuring began",
        show: |s| words::digits_short(s),
    };
    let count = |title| Axis {
        scale: Scale::Linear,
        title,
        show: words::short,
    };
    match kind {
        Kind::Percentiles => (
            "Latency by percentile",
            Axis {
                scale: Scale::Nines,
                title: "percentile",
                show: quantile,
            },
            time(Scale::Log, "latency"),
        ),
        Kind::Histogram => (
            "Latency distribution: share of messages",
            time(Scale::Log, "latency"),
            Axis {
                scale: Scale::Linear,
                title: "share",
                show: words::percent,
            },
        ),
        Kind::Throughput => ("Throughput", seconds, count("per second")),
        Kind::Latency => ("Latency over time", seconds, time(Scale::Log, "latency")),
        Kind::Cpu => (
            "CPU: cores busy",
            seconds,
            Axis {
                scale: Scale::Linear,
                title: "cores",
                show: words::digits_short,
            },
        ),
        Kind::Connections => ("Open connections", seconds, count("connections")),
    }
}

type Line = (&'static str, Stroke, Vec<(f64, f64)>);

fn lines(kind: Kind, run: &Run) -> Vec<Line> {
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
        Kind::Percentiles => vec![(
            "",
            Stroke::Solid,
            histogram().map_or(Vec::new(), |all| percentiles(&all)),
        )],
        Kind::Histogram => vec![(
            "",
            Stroke::Filled,
            histogram().map_or(Vec::new(), |all| shares(&all)),
        )],
        Kind::Throughput => vec![(
            "",
            Stroke::Solid,
            over_time(|tick| (tick.span > 0.0).then(|| tick.done as f64 / tick.span)),
        )],
        Kind::Latency => {
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
        Kind::Cpu => vec![
            (
                "generator",
                Stroke::Solid,
                over_time(|tick| Some(tick.generator_cpu)),
            ),
            ("server", Stroke::Dashed, over_time(|tick| tick.server_cpu)),
        ],
        Kind::Connections => vec![("", Stroke::Solid, over_time(|tick| Some(tick.open as f64)))],
    }
}

/// The latency at each quantile, evenly along the axis of nines, as far as there is a message for each.
fn percentiles(all: &Histogram<u64>) -> Vec<(f64, f64)> {
    let last = (all.len() as f64).log10().clamp(1.0, 8.0);
    (0..=POINTS)
        .map(|step| {
            let quantile = 1.0 - 10_f64.powf(-last * step as f64 / POINTS as f64);
            (quantile, all.value_at_quantile(quantile) as f64)
        })
        .collect()
}

/// The share of all in each of some twenty steps per factor of ten.
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
    // As steps: each height from edge to edge, down to nothing at either end.
    let mut points = vec![(edge(first), 0.0)];
    for (n, count) in (first..).zip(&counts) {
        let share = *count as f64 / total;
        points.extend([(edge(n), share), (edge(n + 1), share)]);
    }
    points.push((edge(last + 1), 0.0));
    points
}

/// Neighbours become one until there are few enough: counts add up, of times the largest stays.
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

/// One bar of [`bars`].
#[derive(Debug, Clone)]
struct Bar {
    label: String,
    spread: Spread,
}

/// A figure of several reports as bars, with a mark from the smallest repeat to the largest, as an SVG file.
///
/// # Errors
/// No figure has that name, or no report measured it.
pub fn bars(figure: &str, reports: &[(&str, &Report)]) -> Result<String, String> {
    let metric = Metric::named(figure).ok_or_else(|| {
        format!(
            "no figure is called {figure:?}; known are {}",
            crate::metric::KNOWN
        )
    })?;
    let mut bars = Vec::new();
    for (label, report) in reports {
        for part in report.parts() {
            let Some(spread) = part.spread(&report.plan, &metric) else {
                continue;
            };
            let label = format!("{label} {}", part.name).trim().to_owned();
            bars.push(Bar { label, spread });
        }
    }
    if bars.is_empty() {
        return Err(format!("none of the reports has measured {figure}"));
    }
    Ok(draw_bars(&metric, &bars))
}

fn draw_bars(metric: &Metric, bars: &[Bar]) -> String {
    use std::fmt::Write as _;

    use crate::plot::{STYLE, escape};
    const LEFT: f64 = 170.0;
    const LONGEST: f64 = 340.0;
    const STEP: f64 = 28.0;
    let height = 44.0 + bars.len() as f64 * STEP;
    let most = bars
        .iter()
        .map(|bar| bar.spread.max)
        .fold(f64::MIN_POSITIVE, f64::max);
    let title = escape(metric.name());
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" viewBox=\"0 0 640 {height:.0}\" role=\"img\" aria-label=\"{title}\"><style>{STYLE}</style>\
         <title>{title}</title><rect class=\"paper\" width=\"640\" height=\"{height:.0}\"/><text class=\"title\" x=\"12\" y=\"22\">{title}</text>"
    );
    for (n, bar) in bars.iter().enumerate() {
        let top = 36.0 + n as f64 * STEP;
        let place = |value: f64| LEFT + (value / most).clamp(0.0, 1.0) * LONGEST;
        let (end, low, high) = (
            place(bar.spread.median),
            place(bar.spread.min),
            place(bar.spread.max),
        );
        let middle = top + 9.0;
        let _ = write!(
            svg,
            "<text class=\"legend\" x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>\
             <rect class=\"c0\" x=\"{LEFT}\" y=\"{top:.0}\" width=\"{:.1}\" height=\"18\" rx=\"2\"/>\
             <path class=\"axis\" d=\"M{low:.1} {middle:.0}H{high:.1}M{low:.1} {:.0}v8M{high:.1} {:.0}v8\"/>\
             <text class=\"legend\" x=\"{:.1}\" y=\"{:.0}\">{}</text>",
            LEFT - 8.0,
            middle + 4.0,
            escape(&bar.label),
            (end - LEFT).max(0.5),
            middle - 4.0,
            middle - 4.0,
            high.max(end) + 8.0,
            middle + 4.0,
            escape(&metric.unit().show(bar.spread.median)),
        );
    }
    svg.push_str("</svg>\n");
    svg
}
