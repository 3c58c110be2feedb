//! Connections per second of each source: the generic cell rate algorithm (ITU-T I.371), which keeps one time for each source.
//!
//! An entry is a fingerprint and the theoretical arrival time of the source's next connection. An entry whose time is past says
//! nothing any more, so it is free for another source.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::Ordering;

use hioload_lcore::Time;

use super::buckets::Buckets;

/// Low bits of an entry: microseconds of the arrival time in units of 64, since the table was made. 36 bits last 50 days.
const TIME_BITS: u32 = 36;
const TIME: u64 = (1 << TIME_BITS) - 1;
const UNIT: u64 = 64_000;

/// Arrival times by source.
#[derive(Debug)]
pub(crate) struct Rates {
    buckets: Buckets,
    keys: RandomState,
}

impl Rates {
    /// Room for `sources` sources that have connected within the last second.
    pub(crate) fn new(sources: usize) -> Self {
        Self {
            buckets: Buckets::new(sources),
            keys: RandomState::new(),
        }
    }

    /// Whether a source may connect now: at most `rate` times a second, with a burst of one second's worth. A source for which the
    /// table has no entry may.
    pub(crate) fn admit(&self, network: (u8, u64), rate: u32, now: Time) -> bool {
        let second = 1_000_000_000 / UNIT;
        let now = (now.as_nanos() / UNIT + 1) & TIME;
        // At least one unit: rates above 15,625/s are that.
        let interval = (second / u64::from(rate.max(1))).max(1);
        let key = self.keys.hash_one(network);
        let fingerprint = (key >> TIME_BITS).max(1);
        for entry in self.buckets.entries(key) {
            let mut old = entry.load(Ordering::Relaxed);
            while old >> TIME_BITS == fingerprint && is_ahead(old & TIME, now) {
                let arrival = old & TIME;
                if arrival.wrapping_sub(now) & TIME > second.saturating_sub(interval) {
                    return false;
                }
                let new = fingerprint << TIME_BITS | (arrival + interval) & TIME;
                match entry.compare_exchange_weak(old, new, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => return true,
                    Err(changed) => old = changed,
                }
            }
        }
        let new = fingerprint << TIME_BITS | (now + interval) & TIME;
        self.buckets
            .claim(key, new, |entry| !is_ahead(entry & TIME, now));
        true
    }
}

/// Whether a time is later than `now`, in arithmetic modulo 2^36.
fn is_ahead(time: u64, now: u64) -> bool {
    let ahead = time.wrapping_sub(now) & TIME;
    ahead != 0 && ahead < 1 << (TIME_BITS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(millis: u64) -> Time {
        Time::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn a_source_has_a_second_of_burst_and_then_its_rate() {
        let rates = Rates::new(16);
        let admitted = |from: u64, to: u64| {
            let tries = (from..to).filter(|ms| rates.admit((32, 1), 10, at(*ms)));
            tries.count()
        };
        assert_eq!(admitted(0, 20), 10);
        assert_eq!(admitted(20, 1020), 10);
        assert_eq!(admitted(60_000, 60_020), 10, "silence saves up one second");
    }

    #[test]
    fn sources_do_not_share_a_rate() {
        let rates = Rates::new(10_000);
        for n in 0..10_000 {
            assert!(rates.admit((32, n), 1, at(5)), "source {n}");
            assert!(!rates.admit((32, n), 1, at(6)), "source {n}");
        }
    }

    #[test]
    fn an_entry_is_reused_when_its_time_is_past() {
        let rates = Rates::new(1);
        for round in 0..1_000 {
            assert!(rates.admit((32, round), 1, at(round * 2_000)));
            assert!(!rates.admit((32, round), 1, at(round * 2_000 + 1)));
        }
    }
}
