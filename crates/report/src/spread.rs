//! A figure over several repeats.

use crate::data::{Plan, Report, Run};
use crate::metric::Metric;

/// A figure over several repeats.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Spread {
    /// The median; of an even number of values, the mean of the two in the middle.
    pub median: f64,
    /// The smallest value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
    /// The number of values.
    pub runs: usize,
}

impl Spread {
    /// The spread of these values, in any order; `None` if there are none. NaN is ignored.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| !value.is_nan()).collect();
        values.sort_by(f64::total_cmp);
        let (first, last) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self {
            median,
            min: first,
            max: last,
            runs: values.len(),
        })
    }

    /// Whether the two ranges do not overlap.
    pub fn apart(&self, other: &Self) -> bool {
        self.max < other.min || other.max < self.min
    }
}

/// The runs of one part: all, the quiet ones, or the attacked ones.
#[derive(Debug, Clone)]
pub struct Part<'a> {
    /// The name, as in [`Run::part`].
    pub name: &'a str,
    /// The runs, in order.
    pub runs: Vec<&'a Run>,
}

impl Part<'_> {
    /// The spread of a figure over the runs that measured it.
    pub fn spread(&self, plan: &Plan, metric: &Metric) -> Option<Spread> {
        Spread::of(self.runs.iter().filter_map(|run| metric.of(plan, run)))
    }
}

impl Report {
    /// The runs grouped by part, in the order in which the parts first occur.
    pub fn parts(&self) -> Vec<Part<'_>> {
        let mut parts: Vec<Part<'_>> = Vec::new();
        for run in &self.runs {
            match parts.iter_mut().find(|part| part.name == run.part) {
                Some(part) => part.runs.push(run),
                None => parts.push(Part {
                    name: &run.part,
                    runs: vec![run],
                }),
            }
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic;

    #[test]
    fn a_spread_has_median_and_extremes() {
        let spread = Spread::of([3.0, 1.0, f64::NAN, 2.0, 10.0]).expect("there are some");
        assert_eq!(
            (spread.median, spread.min, spread.max, spread.runs),
            (2.5, 1.0, 10.0, 4)
        );
        assert_eq!(Spread::of([]), None);
        let low = Spread::of([1.0, 2.0]).expect("there are some");
        let high = Spread::of([2.0, 3.0]).expect("there are some");
        let far = Spread::of([2.5]).expect("there is one");
        assert!(!low.apart(&high) && low.apart(&far) && far.apart(&low));
    }

    #[test]
    fn runs_are_grouped_by_part() {
        let report = synthetic::attacked(2);
        let parts = report.parts();
        let names: Vec<_> = parts
            .iter()
            .map(|part| (part.name, part.runs.len()))
            .collect();
        assert_eq!(names, [("quiet", 2), ("attacked", 2)]);
    }
}
