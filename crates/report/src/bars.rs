//! A figure of several reports as bars.

use std::fmt::{self, Write as _};

use crate::data::Report;
use crate::markup::{STYLE, escape};
use crate::metric::{KNOWN, Metric};
use crate::spread::Spread;

/// The reason why no bars can be drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BarsError {
    /// No figure has this name.
    UnknownFigure(String),
    /// No report measured this figure.
    NotMeasured(String),
}

impl fmt::Display for BarsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownFigure(name) => {
                write!(f, "no figure is called {name:?}; known are {KNOWN}")
            }
            Self::NotMeasured(name) => write!(f, "none of the reports has measured {name}"),
        }
    }
}

impl std::error::Error for BarsError {}

/// Draws a figure of several reports as bars, with a mark from the smallest to the largest repeat. Returns an SVG file.
///
/// # Errors
/// If no figure has this name, or no report measured it.
pub fn bars(figure: &str, reports: &[(&str, &Report)]) -> Result<String, BarsError> {
    let metric =
        Metric::named(figure).ok_or_else(|| BarsError::UnknownFigure(figure.to_owned()))?;
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
        return Err(BarsError::NotMeasured(figure.to_owned()));
    }
    Ok(draw_bars(&metric, &bars))
}

/// One bar.
#[derive(Debug, Clone)]
struct Bar {
    label: String,
    spread: Spread,
}

fn draw_bars(metric: &Metric, bars: &[Bar]) -> String {
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
