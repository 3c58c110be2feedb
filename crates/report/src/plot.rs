//! Line plots as SVG: axes, series, a legend. They stand alone as files, and within the page.

use std::fmt::Write as _;

/// Width of a plot in its own units.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 46.0;
/// How many colours there are; series beyond are dashed.
const COLOURS: usize = 6;

/// The look of plots, for a page that has several: colours by class, for light and dark.
pub(crate) const STYLE: &str = "\
.plot{--ink:#1b1f24;--soft:#59636e;--grid:#d8dee4;--paper:#fff;--s0:#0969da;--s1:#bc4c00;--s2:#1a7f37;--s3:#8250df;--s4:#bf3989;--s5:#6e5a00;\
font:12px system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif}
@media (prefers-color-scheme:dark){.plot{--ink:#e6edf3;--soft:#9198a1;--grid:#30363d;--paper:#0d1117;--s0:#58a6ff;--s1:#f0883e;--s2:#3fb950;--s3:#bc8cff;--s4:#f778ba;--s5:#d4a72c}}
@media print{.plot{--ink:#000;--soft:#444;--grid:#ccc;--paper:#fff;--s0:#0969da;--s1:#bc4c00;--s2:#1a7f37;--s3:#8250df;--s4:#bf3989;--s5:#6e5a00}}
.plot .paper{fill:var(--paper)}
.plot text{fill:var(--soft)}
.plot .title{fill:var(--ink);font-size:14px;font-weight:600}
.plot .legend{fill:var(--ink)}
.plot .grid{stroke:var(--grid);stroke-width:1;fill:none}
.plot .axis{stroke:var(--soft);stroke-width:1;fill:none}
.plot .line{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}
.plot .fill{stroke:none;fill-opacity:.22}
.plot .c0{stroke:var(--s0);fill:var(--s0)}.plot .c1{stroke:var(--s1);fill:var(--s1)}.plot .c2{stroke:var(--s2);fill:var(--s2)}
.plot .c3{stroke:var(--s3);fill:var(--s3)}.plot .c4{stroke:var(--s4);fill:var(--s4)}.plot .c5{stroke:var(--s5);fill:var(--s5)}
.plot .line{fill:none}
.plot .thin{stroke-width:1.1;stroke-opacity:.75}
.plot .dashed{stroke-dasharray:5 3}.plot .dotted{stroke-dasharray:1.5 3}
.plot .cursor{stroke:var(--soft);stroke-width:1;stroke-dasharray:2 2}
.plot .tip rect{fill:var(--paper);stroke:var(--grid)}
.plot .tip text{fill:var(--ink)}
";

/// How values lie along an axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scale {
    /// From zero.
    Linear,
    /// Decades.
    Log,
    /// Quantiles from 0 to 1, as far from 1 as decades: 0, 90 %, 99 %, 99.9 %, ...
    Nines,
}

/// An axis: how values lie along it, and how they are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axis {
    pub(crate) scale: Scale,
    pub(crate) title: &'static str,
    pub(crate) show: fn(f64) -> String,
}

/// How a series is drawn.
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
    /// Whether the legend has it, and under which name.
    pub(crate) legend: Option<String>,
    pub(crate) stroke: Stroke,
    /// In the order of x. What is not finite is a gap.
    pub(crate) points: Vec<(f64, f64)>,
}

/// A whole plot.
#[derive(Debug, Clone)]
pub(crate) struct Plot {
    /// Names it in the page.
    pub(crate) id: &'static str,
    pub(crate) title: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) series: Vec<Series>,
}

/// An axis with its ends and its length known.
struct Ruler {
    axis: Axis,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Ruler {
    fn new(axis: Axis, values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let usable = |value: &f64| value.is_finite() && (axis.scale != Scale::Log || *value > 0.0);
        let (least, most) = values
            .filter(usable)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
                (low.min(v), high.max(v))
            });
        let (low, high) = match axis.scale {
            Scale::Linear => {
                let low = least.min(0.0);
                let high = if most > low { most } else { low + 1.0 };
                let high = if from > to {
                    low + (high - low) * 1.06
                } else {
                    high
                };
                (low, high)
            }
            // Whole decades are the rule, but a half at either end would be wasted.
            Scale::Log if least <= most => {
                let (low, high) = (least * 0.85, most * 1.18);
                if high / low < 4.0 {
                    (low / 2.0, high * 2.0)
                } else {
                    (low, high)
                }
            }
            Scale::Log => (1.0, 10.0),
            Scale::Nines => (0.0, most.clamp(0.99, 1.0 - 1e-9)),
        };
        Self {
            axis,
            low,
            high,
            from,
            to,
        }
    }

    fn place(&self, value: f64) -> f64 {
        let value = value.clamp(self.low, self.high);
        let part = match self.axis.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value / self.low).ln() / (self.high / self.low).ln(),
            Scale::Nines => (1.0 - value).ln() / (1.0 - self.high).ln(),
        };
        self.from + part * (self.to - self.from)
    }

    /// Values that get a line and a word.
    fn ticks(&self) -> Vec<f64> {
        match self.axis.scale {
            Scale::Linear => {
                let rough = (self.high - self.low) / 5.0;
                let decade = 10_f64.powf(rough.log10().floor());
                let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|n| n * decade);
                let step = step
                    .into_iter()
                    .find(|step| *step >= rough)
                    .unwrap_or(rough);
                let first = (self.low / step).ceil() as i64;
                let last = (self.high / step).floor() as i64;
                (first..=last).map(|n| n as f64 * step).collect()
            }
            Scale::Log => {
                let decades = (self.high / self.low).log10();
                let within = |tick: &f64| *tick >= self.low && *tick <= self.high;
                let marks: &[f64] = if decades > 4.0 {
                    &[1.0]
                } else {
                    &[1.0, 2.0, 5.0]
                };
                let first = self.low.log10().floor() as i32;
                let last = self.high.log10().ceil() as i32;
                let all =
                    (first..=last).flat_map(|n| marks.iter().map(move |m| m * 10_f64.powi(n)));
                all.filter(within).collect()
            }
            Scale::Nines => {
                let mut ticks = vec![0.0, 0.5, 0.75];
                ticks.extend((1..10).map(|nines| 1.0 - 10_f64.powi(-nines)));
                ticks.retain(|tick| *tick <= self.high + 1e-12);
                ticks
            }
        }
    }
}

/// A quantile as a percentage, with two digits of what is missing to 100: `99.73`, `99.9915`.
pub(crate) fn quantile(quantile: f64) -> String {
    let missing = (1.0 - quantile) * 100.0;
    let nines = (-missing.log10()).ceil().max(0.0);
    let digits = if nines.is_finite() {
        nines as usize + 1
    } else {
        6
    };
    round(&format!("{:.digits$}", quantile * 100.0))
}

/// A figure without zeros at the end of its number: `5.00 ms` is `5 ms`.
fn round(figure: &str) -> String {
    let end = figure.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-');
    let (number, unit) = figure.split_at(end.unwrap_or(figure.len()));
    let number = if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    };
    format!("{number}{unit}")
}

impl Plot {
    /// Whether there is anything to see.
    pub(crate) fn is_empty(&self) -> bool {
        self.series.iter().all(|series| series.points.is_empty())
    }

    /// The plot as an SVG element; `alone` adds what a file of its own needs.
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
        // Words that would touch are left out; the line stays.
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

/// Text for HTML and SVG, within elements and quoted attributes. Control characters, which XML forbids, are replaced.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words;

    #[test]
    fn quantiles_have_two_digits_after_their_nines() {
        for (value, text) in [
            (0.0, "0"),
            (0.5, "50"),
            (0.9, "90"),
            (0.99, "99"),
            (0.999, "99.9"),
            (0.9999, "99.99"),
            (0.997_283, "99.73"),
            (0.123_456, "12.3"),
        ] {
            assert_eq!(quantile(value), text);
        }
        assert_eq!(round("5.00 ms"), "5 ms");
        assert_eq!(round("10.0k"), "10k");
        assert_eq!(round("100 %"), "100 %");
        assert_eq!(round("-0.50"), "-0.5");
    }

    #[test]
    fn axes_place_values_and_mark_some() {
        let axis = |scale| Axis {
            scale,
            title: "",
            show: words::short,
        };
        let nines = Ruler::new(axis(Scale::Nines), [0.0, 0.9999].into_iter(), 0.0, 400.0);
        for (quantile, place) in [(0.0, 0.0), (0.9, 100.0), (0.99, 200.0), (0.9999, 400.0)] {
            assert!((nines.place(quantile) - place).abs() < 0.01);
        }
        assert_eq!(nines.ticks(), [0.0, 0.5, 0.75, 0.9, 0.99, 0.999, 0.9999]);
        let linear = Ruler::new(axis(Scale::Linear), [0.0, 100.0].into_iter(), 0.0, 100.0);
        assert_eq!(linear.ticks(), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(linear.place(25.0), 25.0);
        let log = Ruler::new(axis(Scale::Log), [1.0, 1e8].into_iter(), 0.0, 100.0);
        assert_eq!(log.ticks().len(), 9);
        // Nothing, one value, and what is no number leave an axis that can be drawn.
        for scale in [Scale::Linear, Scale::Log, Scale::Nines] {
            for values in [vec![], vec![0.0], vec![7.0], vec![f64::NAN, f64::INFINITY]] {
                let ruler = Ruler::new(axis(scale), values.into_iter(), 0.0, 100.0);
                assert!(ruler.place(0.5).is_finite());
                assert!(ruler.ticks().len() < 50);
            }
        }
    }
}
