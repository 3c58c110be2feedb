//! Plots of reports, as SVG.

mod lines;

use std::fmt;
use std::str::FromStr;

use self::lines::lines;
pub use crate::bars::{BarsError, bars};
use crate::data::{Report, Run};
use crate::plot::{Axis, Plot, Scale, Series, Stroke, quantile};
use crate::{format, sections};

/// The kind of a plot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlotKind {
    /// Latency by percentile, with equal space for each nine.
    Percentiles,
    /// Distribution of the latency.
    Histogram,
    /// `done` of each second.
    Throughput,
    /// Latency percentiles of each second.
    Latency,
    /// Cores busy on both sides.
    Cpu,
    /// Open connections.
    Connections,
}

impl PlotKind {
    /// All kinds, in the order of the page.
    pub const ALL: [Self; 6] = [
        Self::Percentiles,
        Self::Histogram,
        Self::Throughput,
        Self::Latency,
        Self::Cpu,
        Self::Connections,
    ];

    /// The name on the command line.
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

/// A name that is not that of a [`PlotKind`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownPlot(String);

impl fmt::Display for UnknownPlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = PlotKind::ALL.map(PlotKind::name).join(", ");
        write!(f, "no plot is called {:?}; expected one of {names}", self.0)
    }
}

impl std::error::Error for UnknownPlot {}

impl FromStr for PlotKind {
    type Err = UnknownPlot;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| UnknownPlot(text.to_owned()))
    }
}

/// A plot of one or several reports as an SVG file; `None` if no report has data for it. Each report comes with its label.
pub fn svg(kind: PlotKind, reports: &[(&str, &Report)]) -> Option<String> {
    let plot = plot(kind, reports);
    (!plot.is_empty()).then(|| plot.svg(true) + "\n")
}

/// One run in a plot.
struct Curve<'a> {
    /// Report and part.
    group: String,
    /// The number of the repeat, if there are several.
    repeat: Option<usize>,
    /// Each repeat has a colour; if there are several reports or parts, each of these has one instead.
    colour: usize,
    run: &'a Run,
}

pub(crate) fn plot(kind: PlotKind, reports: &[(&str, &Report)]) -> Plot {
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
            // Repeats with the same style have one entry in the legend.
            let legend = match (grouped, curve.repeat) {
                (false, repeat) => Some(named(repeat)),
                (true, None | Some(1)) => Some(named(None)),
                _ => None,
            };
            series.push(Series {
                label: named(curve.repeat),
                legend,
                // A single run uses the colours for its lines.
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

/// The unit of `done`, for the title of the throughput.
fn per_done(reports: &[(&str, &Report)], kind: PlotKind) -> String {
    let thing = |report: &Report| sections::things(&report.plan.scenario);
    match (kind, reports.first()) {
        (PlotKind::Throughput, Some((_, report))) => format!(": {} per second", thing(report)),
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

fn frame(kind: PlotKind) -> (&'static str, Axis, Axis) {
    let time = |scale, title| Axis {
        scale,
        title,
        show: format::time,
    };
    let seconds = Axis {
        scale: Scale::Linear,
        title: "seconds since measuring began",
        show: |s| format::digits_short(s),
    };
    let count = |title| Axis {
        scale: Scale::Linear,
        title,
        show: format::short,
    };
    match kind {
        PlotKind::Percentiles => (
            "Latency by percentile",
            Axis {
                scale: Scale::Nines,
                title: "percentile",
                show: quantile,
            },
            time(Scale::Log, "latency"),
        ),
        PlotKind::Histogram => (
            "Latency distribution: share of messages",
            time(Scale::Log, "latency"),
            Axis {
                scale: Scale::Linear,
                title: "share",
                show: format::percent,
            },
        ),
        PlotKind::Throughput => ("Throughput", seconds, count("per second")),
        PlotKind::Latency => ("Latency over time", seconds, time(Scale::Log, "latency")),
        PlotKind::Cpu => (
            "CPU: cores busy",
            seconds,
            Axis {
                scale: Scale::Linear,
                title: "cores",
                show: format::digits_short,
            },
        ),
        PlotKind::Connections => ("Open connections", seconds, count("connections")),
    }
}
