//! Line plots as SVG, for files and for the page.

mod ruler;

use std::fmt::Write as _;

pub(crate) use self::ruler::{Axis, Scale, quantile};
use self::ruler::{Ruler, round};
use crate::markup::{STYLE, escape};

/// Width of a plot in its own units.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 46.0;
/// Number of colours. Further series are dashed.
const COLOURS: usize = 6;

/// The style of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stroke {
    Solid,
    Dashed,
    Dotted,
    /// A solid line over a filled area.
    Filled,
}

/// A line.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) label: String,
    /// Series of one colour belong together.
    pub(crate) colour: usize,
    /// The name in the legend, if it has one.
    pub(crate) legend: Option<String>,
    pub(crate) stroke: Stroke,
    /// Points in the order of x. A value that is not finite is a gap.
    pub(crate) points: Vec<(f64, f64)>,
}

/// A whole plot.
#[derive(Debug, Clone)]
pub(crate) struct Plot {
    /// Identifier in the page.
    pub(crate) id: &'static str,
    pub(crate) title: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) series: Vec<Series>,
}

impl Plot {
    /// Whether no series has a point.
    pub(crate) fn is_empty(&self) -> bool {
        self.series.iter().all(|series| series.points.is_empty())
    }

    /// The plot as an SVG element; `alone` adds the attributes and styles of a separate file.
    pub(crate) fn svg(&self, alone: bool) -> String {
        let all = || self.series.iter().flat_map(|series| &series.points);
        let x = Ruler::new(self.x, all().map(|p| p.0), LEFT, WIDTH - RIGHT);
        let legend = self.legend();
        let top = TOP + legend.rows as f64 * 16.0;
        let y = Ruler::new(self.y, all().map(|p| p.1), HEIGHT - BOTTOM, top);
        let mut svg = String::with_capacity(16 << 10);
        let space = if alone {
            " xmlns=\"http://www.w3.org/2000/svg\""
        } else {
            ""
        };
        let _ = write!(
            svg,
            "<svg{space} class=\"plot\" id=\"plot-{}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            self.id,
            escape(&self.title)
        );
        if alone {
            let _ = write!(svg, "<style>{STYLE}</style>");
        }
        let _ = write!(
            svg,
            "<title>{0}</title><rect class=\"paper\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/><text class=\"title\" x=\"{LEFT}\" y=\"20\">{0}</text>",
            escape(&self.title)
        );
        svg.push_str(&legend.svg);
        axes(&mut svg, &x, &y, top);
        for series in &self.series {
            series.draw(&mut svg, &x, &y);
        }
        svg.push_str("</svg>");
        svg
    }

    fn legend(&self) -> Legend {
        let mut svg = String::new();
        if self.series.len() < 2 {
            return Legend { rows: 0, svg };
        }
        let (mut at, mut rows) = (LEFT, 1_usize);
        for series in &self.series {
            let Some(name) = &series.legend else {
                continue;
            };
            let label = escape(name);
            let width = 38.0 + name.chars().count() as f64 * 7.0;
            if at + width > WIDTH - RIGHT && at > LEFT {
                (at, rows) = (LEFT, rows + 1);
            }
            let y = TOP + rows as f64 * 16.0 - 14.0;
            let _ = write!(
                svg,
                "<line class=\"line {}\" x1=\"{at:.0}\" y1=\"{y:.0}\" x2=\"{:.0}\" y2=\"{y:.0}\"/><text class=\"legend\" x=\"{:.0}\" y=\"{:.0}\">{label}</text>",
                series.classes(),
                at + 20.0,
                at + 25.0,
                y + 4.0
            );
            at += width;
        }
        Legend { rows, svg }
    }
}

struct Legend {
    rows: usize,
    svg: String,
}

fn axes(svg: &mut String, x: &Ruler, y: &Ruler, top: f64) {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for tick in y.ticks() {
        let at = y.place(tick);
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/><text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 7.0,
            at + 4.0,
            escape(&round(&(y.axis.show)(tick)))
        );
    }
    let mut free = f64::NEG_INFINITY;
    for tick in x.ticks() {
        let at = x.place(tick);
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{at:.1} {top:.0}V{bottom}\"/>"
        );
        // Labels that would touch are omitted.
        let word = round(&(x.axis.show)(tick));
        let half = word.chars().count() as f64 * 3.4 + 3.0;
        if at - half < free || at + half > WIDTH {
            continue;
        }
        free = at + half;
        let _ = write!(
            svg,
            "<text x=\"{at:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>",
            bottom + 16.0,
            escape(&word)
        );
    }
    let _ = write!(
        svg,
        "<path class=\"axis\" d=\"M{LEFT} {top:.0}V{bottom}H{right}\"/><text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>",
        f64::midpoint(LEFT, right),
        HEIGHT - 10.0,
        escape(x.axis.title)
    );
}

impl Series {
    fn classes(&self) -> String {
        let beyond = self.colour >= COLOURS;
        let stroke = match self.stroke {
            Stroke::Dashed => " dashed",
            Stroke::Dotted => " dotted",
            _ if beyond => " dashed",
            _ => "",
        };
        format!("c{}{stroke}", self.colour % COLOURS)
    }

    fn draw(&self, svg: &mut String, x: &Ruler, y: &Ruler) {
        let classes = self.classes();
        let label = escape(&self.label);
        let mut path = String::new();
        let mut tips = String::new();
        let mut pen = 'M';
        for (px, py) in &self.points {
            if !px.is_finite() || !py.is_finite() || (y.axis.scale == Scale::Log && *py <= 0.0) {
                pen = 'M';
                continue;
            }
            let (at, up) = (x.place(*px), y.place(*py));
            let _ = write!(path, "{pen}{at:.1} {up:.1}");
            let _ = write!(
                tips,
                "{at:.1}|{up:.1}|{}|{};",
                (x.axis.show)(*px),
                (y.axis.show)(*py)
            );
            pen = 'L';
        }
        if path.is_empty() {
            return;
        }
        if self.stroke == Stroke::Filled
            && let (Some(first), Some(last)) = (self.points.first(), self.points.last())
        {
            let base = y.from;
            let _ = write!(
                svg,
                "<path class=\"fill {classes}\" d=\"{path}L{:.1} {base:.1}L{:.1} {base:.1}Z\"/>",
                x.place(last.0),
                x.place(first.0)
            );
        }
        let _ = write!(
            svg,
            "<path class=\"line {classes}\" data-label=\"{label}\" data-points=\"{}\" d=\"{path}\"><title>{label}</title></path>",
            escape(&tips)
        );
    }
}
