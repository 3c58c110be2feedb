//! Distributions of times: from histograms to their form in a report, and back.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{DeserializeError, Deserializer, Serializer, V2Serializer};

use crate::data::Latency;

/// The longest time that is recorded exactly: one hour, in ns.
pub const LONGEST: u64 = 3_600_000_000_000;
/// Significant decimal digits of a recorded time.
pub const DIGITS: u8 = 3;

/// An empty histogram of times in ns, for [`Histogram::saturating_record`]: 1 ns to [`LONGEST`] with [`DIGITS`] digits,
/// about 260 KiB, all of it allocated here.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, DIGITS).expect("these bounds are valid")
}

/// The sum of histograms.
pub fn merge<'a>(parts: impl IntoIterator<Item = &'a Histogram<u64>>) -> Histogram<u64> {
    let mut all = histogram();
    for part in parts {
        // With the same bounds this adds arrays. With other bounds a value may exceed the longest.
        if part.max() <= LONGEST {
            all.add(part).expect("no value is longer than the bound");
        } else {
            for value in part.iter_recorded() {
                all.saturating_record_n(value.value_iterated_to(), value.count_at_value());
            }
        }
    }
    all
}

/// The reason why the histogram of a report cannot be decoded.
#[derive(Debug)]
#[non_exhaustive]
pub enum BadHistogram {
    /// The text is not base64.
    Base64(base64::DecodeError),
    /// The header contradicts the rest, or its bounds are not those of a report.
    Header(&'static str),
    /// The bytes are not a histogram.
    Format(DeserializeError),
}

impl fmt::Display for BadHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the histogram is damaged: ")?;
        match self {
            Self::Base64(error) => error.fmt(f),
            Self::Header(fault) => f.write_str(fault),
            Self::Format(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BadHistogram {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Base64(error) => Some(error),
            Self::Header(_) => None,
            Self::Format(error) => Some(error),
        }
    }
}

impl Latency {
    /// The form of a distribution in a report; `from_due` as in [`Latency::from_due`].
    pub fn of(histogram: &Histogram<u64>, from_due: bool) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        let empty = histogram.is_empty();
        let mut bytes = Vec::new();
        V2Serializer::new()
            .serialize(histogram, &mut bytes)
            .expect("a vector takes all, and three digits fit the format");
        Self {
            count: histogram.len(),
            mean: if empty { 0.0 } else { histogram.mean() },
            stdev: if empty { 0.0 } else { histogram.stdev() },
            min: if empty { 0 } else { histogram.min() },
            max: histogram.max(),
            p50: at(0.5),
            p75: at(0.75),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            histogram: BASE64.encode(bytes),
            from_due,
        }
    }

    /// The distribution; empty if the report holds none.
    ///
    /// # Errors
    /// If the text is not base64, or not a histogram in V2 serialisation.
    pub fn decode(&self) -> Result<Histogram<u64>, BadHistogram> {
        if self.histogram.is_empty() {
            return Ok(histogram());
        }
        let bytes = BASE64
            .decode(&self.histogram)
            .map_err(BadHistogram::Base64)?;
        check_header(&bytes).map_err(BadHistogram::Header)?;
        Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(BadHistogram::Format)
    }

    /// The sum of distributions. It counts from due if all of them do.
    ///
    /// # Errors
    /// If one of them is damaged.
    pub fn merged<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Result<Self, BadHistogram> {
        let mut all = Vec::new();
        let mut from_due = true;
        for part in parts {
            all.push(part.decode()?);
            from_due &= part.from_due;
        }
        Ok(Self::of(&merge(&all), from_due && !all.is_empty()))
    }
}

/// Checks the V2 header: four words of 32 bits and three of 64, big-endian. The decoder trusts it, and a damaged one could make it
/// allocate gigabytes.
fn check_header(bytes: &[u8]) -> Result<(), &'static str> {
    const HEADER: usize = 40;
    let word = |at: usize| -> Option<u32> {
        let word = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_be_bytes(word))
    };
    let (length, digits) = (word(4), word(12));
    if bytes.len() < HEADER || length.map(|n| n as usize) != Some(bytes.len() - HEADER) {
        return Err("its length differs from its header");
    }
    if digits.is_none_or(|digits| digits > u32::from(DIGITS)) {
        return Err("it has more than three digits");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn recorded(times: &[u64]) -> Histogram<u64> {
        let mut all = histogram();
        for time in times {
            all.saturating_record(*time);
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn a_distribution_survives_its_text(times in prop::collection::vec(0..LONGEST * 2, 0..200)) {
            let before = recorded(&times);
            let latency = Latency::of(&before, false);
            let after = latency.decode().expect("it was encoded a moment ago");
            prop_assert_eq!(&after, &before);
            prop_assert_eq!(Latency::of(&after, false), latency);
        }

        #[test]
        fn percentiles_are_those_of_the_histogram_and_of_the_times(mut times in prop::collection::vec(1..LONGEST, 1..500)) {
            let all = recorded(&times);
            let latency = Latency::of(&all, true);
            times.sort_unstable();
            for (quantile, shown) in [
                (0.5, latency.p50), (0.75, latency.p75), (0.9, latency.p90),
                (0.99, latency.p99), (0.999, latency.p999), (0.9999, latency.p9999),
            ] {
                prop_assert_eq!(shown, all.value_at_quantile(quantile));
                // The smallest time that as many are not above, give or take the width of a bucket.
                let rank = (quantile * times.len() as f64).ceil() as usize;
                let exact = times[rank.max(1) - 1] as f64;
                prop_assert!((shown as f64 - exact).abs() <= exact * 0.001 + 1.0, "{} {}", shown, exact);
            }
            prop_assert_eq!(latency.count, times.len() as u64);
            prop_assert!(all.equivalent(latency.max, times[times.len() - 1]));
            prop_assert!(all.equivalent(latency.min, times[0]));
        }

        #[test]
        fn parts_merge_into_the_whole(a in prop::collection::vec(1..LONGEST, 0..99), b in prop::collection::vec(1..LONGEST, 0..99)) {
            let whole: Vec<u64> = a.iter().chain(&b).copied().collect();
            let (a, b) = (recorded(&a), recorded(&b));
            prop_assert_eq!(merge([&a, &b]), recorded(&whole));
            let parts = [Latency::of(&a, true), Latency::of(&b, true)];
            prop_assert_eq!(Latency::merged(&parts).expect("both are sound"), Latency::of(&recorded(&whole), true));
        }

        #[test]
        fn damaged_text_is_an_error_or_a_histogram_and_never_a_panic(at in 0..60usize, byte: u8, kept in 0..60usize, text in "[A-Za-z0-9+/]{0,80}={0,2}") {
            let sound = BASE64.decode(Latency::of(&recorded(&[1, 900, 70_000, 70_000]), false).histogram).expect("it is base64");
            let mut changed = sound.clone();
            let at = at % sound.len();
            changed[at] = byte;
            let cut = &sound[..kept.min(sound.len())];
            for text in [text, BASE64.encode(&changed), BASE64.encode(cut)] {
                let latency = Latency { histogram: text, ..Latency::default() };
                if let Ok(all) = latency.decode() {
                    let _ = Latency::of(&merge([&all]), false);
                }
            }
        }
    }

    #[test]
    fn nothing_recorded_is_all_zeros() {
        let latency = Latency::of(&histogram(), false);
        let numbers = (
            latency.count,
            latency.min,
            latency.max,
            latency.p50,
            latency.p9999,
        );
        assert_eq!(numbers, (0, 0, 0, 0, 0));
        assert_eq!((latency.mean, latency.stdev), (0.0, 0.0));
        let empty = Latency::default().decode().expect("it is empty");
        assert_eq!(empty, histogram());
    }

    #[test]
    fn a_histogram_of_other_bounds_merges_too() {
        let mut wide = Histogram::<u64>::new(3).expect("three digits are valid");
        wide.record(LONGEST * 4).expect("it grows");
        wide.record(1000).expect("it grows");
        let all = merge([&wide]);
        assert_eq!((all.len(), all.min()), (2, 1000));
        assert!(all.equivalent(all.max(), LONGEST));
    }
}
