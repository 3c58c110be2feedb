//! Axes: the position of values, and their marks.

/// The scale of an axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scale {
    /// Linear, from zero.
    Linear,
    /// Logarithmic.
    Log,
    /// Quantiles with equal space for each further nine: 0, 90 %, 99 %, 99.9 %, ...
    Nines,
}

/// An axis: its scale, its title, and the format of its values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axis {
    pub(crate) scale: Scale,
    pub(crate) title: &'static str,
    pub(crate) show: fn(f64) -> String,
}

/// An axis with its range of values and its position in the plot.
pub(super) struct Ruler {
    pub(super) axis: Axis,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) from: f64,
    pub(super) to: f64,
}

impl Ruler {
    pub(super) fn new(axis: Axis, values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
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
            // Not rounded to whole decades, which would waste space at both ends.
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

    pub(super) fn place(&self, value: f64) -> f64 {
        let value = value.clamp(self.low, self.high);
        let part = match self.axis.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value / self.low).ln() / (self.high / self.low).ln(),
            Scale::Nines => (1.0 - value).ln() / (1.0 - self.high).ln(),
        };
        self.from + part * (self.to - self.from)
    }

    /// Values with a grid line and a label.
    pub(super) fn ticks(&self) -> Vec<f64> {
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

/// A quantile as a percentage, with two digits of its distance to 100: `99.73`, `99.9915`.
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

/// A figure without trailing zeros: `5.00 ms` is `5 ms`.
pub(super) fn round(figure: &str) -> String {
    let end = figure.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-');
    let (number, unit) = figure.split_at(end.unwrap_or(figure.len()));
    let number = if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    };
    format!("{number}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format;

    #[test]
    fn quantiles_keep_two_digits_after_their_nines() {
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
    fn an_axis_places_values_and_ticks() {
        let axis = |scale| Axis {
            scale,
            title: "",
            show: format::short,
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
        // Without values, with one, and with NaN or infinity the axis can still be drawn.
        for scale in [Scale::Linear, Scale::Log, Scale::Nines] {
            for values in [vec![], vec![0.0], vec![7.0], vec![f64::NAN, f64::INFINITY]] {
                let ruler = Ruler::new(axis(scale), values.into_iter(), 0.0, 100.0);
                assert!(ruler.place(0.5).is_finite());
                assert!(ruler.ticks().len() < 50);
            }
        }
    }
}
