//! A latency histogram: 32 buckets for each power of two, so every percentile is exact within about 3 %.

const STEPS: u64 = 32;

/// Counts of durations in nanoseconds.
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self {
            counts: vec![0; 64 * STEPS as usize],
            total: 0,
        }
    }

    pub(crate) fn record(&mut self, nanos: u64) {
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
    }

    pub(crate) fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
    }

    /// Returns the duration in nanoseconds that a `share` (0 to 1) of the recorded ones does not exceed; 0 if there are none.
    pub(crate) fn percentile(&self, share: f64) -> u64 {
        let wanted = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (i, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return upper(i);
            }
        }
        0
    }
}

fn bucket(nanos: u64) -> usize {
    if nanos < STEPS {
        return nanos as usize;
    }
    // The highest bit selects the power of two, the five bits below it the bucket.
    let octave = u64::from(nanos.ilog2()) - 5;
    ((octave + 1) * STEPS + (nanos >> octave) - STEPS) as usize
}

/// The largest duration of a bucket.
fn upper(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let octave = bucket / STEPS - 1;
    let top = u128::from(STEPS + bucket % STEPS + 1) << octave;
    u64::try_from(top - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_falls_into_it() {
        for exponent in 0..64 {
            for nudge in [-1i64, 0, 1, 5] {
                let nanos = (1u64 << exponent).saturating_add_signed(nudge);
                let i = bucket(nanos);
                assert!(upper(i) >= nanos, "{nanos}");
                assert!(i == 0 || upper(i - 1) < nanos, "{nanos}");
            }
        }
        assert_eq!(bucket(u64::MAX), 60 * STEPS as usize - 1);
    }

    #[test]
    fn percentiles_of_a_ramp() {
        let mut ramp = Histogram::new();
        (1..=1000).for_each(|n| ramp.record(n * 1000));
        for (share, exact) in [(0.5, 500_000.0), (0.99, 990_000.0), (1.0, 1_000_000.0)] {
            let off = ramp.percentile(share) as f64 / exact;
            assert!((1.0..1.04).contains(&off), "{share}: {off}");
        }
    }
}
