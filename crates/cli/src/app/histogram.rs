//! A histogram of times, with buckets of less than 1 % width: its size does not depend on the number of times.

use std::time::Duration;

/// Buckets for each power of two.
const PER_OCTAVE: u64 = 128;
/// The first and the last octave have twice as many.
const BUCKETS: usize = (57 * PER_OCTAVE + PER_OCTAVE) as usize;

/// The number of occurrences of each time.
#[derive(Debug)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    /// An empty histogram.
    pub(super) fn new() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
        }
    }

    /// Counts one time.
    pub(super) fn record(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.counts[index(nanos)] += 1;
        self.total += 1;
    }

    /// The median; zero if nothing was recorded.
    pub(super) fn median(&self) -> Duration {
        let half = self.total.div_ceil(2);
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= half && seen > 0
        });
        Duration::from_nanos(found.map_or(0, middle))
    }
}

/// The bucket of a time: its octave, and its 8 leading bits.
fn index(nanos: u64) -> usize {
    let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(8);
    (u64::from(shift) * PER_OCTAVE + (nanos >> shift)) as usize
}

/// The middle of a bucket.
fn middle(index: usize) -> u64 {
    let index = index as u64;
    let shift = (index / PER_OCTAVE).saturating_sub(1);
    ((index - shift * PER_OCTAVE) << shift) + ((1 << shift) >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_narrow_and_in_order() {
        let mut last = 0;
        for nanos in
            (0..100_000).chain((17..64).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1]))
        {
            let at = index(nanos);
            assert!(at >= last, "{nanos}");
            last = at;
            assert!(
                middle(at).abs_diff(nanos) as f64 <= nanos as f64 / 128.0,
                "{nanos} in {}",
                middle(at)
            );
        }
        assert!(index(u64::MAX) < BUCKETS);
    }

    #[test]
    fn the_median_is_the_middle_one() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.median(), Duration::ZERO);
        for micros in [5_000, 1, 2, 3, 100] {
            histogram.record(Duration::from_micros(micros));
        }
        let median = histogram.median().as_nanos();
        assert!(median.abs_diff(3_000) < 30, "{median}");
    }
}
