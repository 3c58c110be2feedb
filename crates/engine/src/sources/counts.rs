//! Open connections of each source, exactly: a table of fingerprints and counts.
//!
//! Two lcores that meet a new source at once may each claim an entry for it. That does no harm: the count of a source is the sum
//! over its entries.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::Ordering;

use super::buckets::Buckets;

/// Low bits of an entry: the count. The rest is the fingerprint, at least 1.
const COUNT_BITS: u32 = 24;
const COUNT: u64 = (1 << COUNT_BITS) - 1;

/// Counts by source.
#[derive(Debug)]
pub(crate) struct Counts {
    buckets: Buckets,
    keys: RandomState,
}

/// The keyed hash of a network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Hash(u64);

impl Hash {
    fn fingerprint(self) -> u64 {
        (self.0 >> COUNT_BITS).max(1)
    }
}

impl Counts {
    /// Room for `sources` sources.
    pub(crate) fn new(sources: usize) -> Self {
        Self {
            buckets: Buckets::new(sources),
            keys: RandomState::new(),
        }
    }

    pub(crate) fn key(&self, network: (u8, u64)) -> Hash {
        Hash(self.keys.hash_one(network))
    }

    /// Counts one more connection of `source`, if it has fewer than `most`; `false` if it has not. A source for which the table has
    /// no entry is not counted and not refused: that takes more sources than the table is sized for.
    pub(crate) fn add(&self, source: Hash, most: u32) -> bool {
        let unbounded = u64::from(most) > COUNT;
        let most = u64::from(most).min(COUNT);
        // Of several lcores that compare at once only one gets the last place: the comparison is repeated with the change.
        while self.count(source) < most {
            if self.change(source, |count| (count < most).then(|| count + 1)) {
                return true;
            }
            if self.count(source) == 0 {
                let entry = source.fingerprint() << COUNT_BITS | 1;
                self.buckets
                    .claim(source.0, entry, |entry| entry & COUNT == 0);
                return true;
            }
        }
        unbounded
    }

    /// Counts one less.
    pub(crate) fn remove(&self, source: Hash) {
        self.change(source, |count| count.checked_sub(1));
    }

    /// Open connections of `source`.
    pub(crate) fn count(&self, source: Hash) -> u64 {
        let entries = self.buckets.entries(source.0);
        let entries = entries.map(|entry| entry.load(Ordering::Relaxed));
        let own = entries.filter(|entry| entry >> COUNT_BITS == source.fingerprint());
        own.map(|entry| entry & COUNT).sum()
    }

    /// Changes the count of an entry of `source` that has one; `false` if `to` gives `None` for each.
    fn change(&self, source: Hash, to: impl Fn(u64) -> Option<u64>) -> bool {
        let fingerprint = source.fingerprint();
        self.buckets.entries(source.0).any(|entry| {
            let changed = entry.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| {
                // An entry whose count is zero may be claimed by another source at any moment.
                let own = old >> COUNT_BITS == fingerprint && old & COUNT != 0;
                own.then(|| to(old & COUNT))
                    .flatten()
                    .map(|count| fingerprint << COUNT_BITS | count)
            });
            changed.is_ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

    #[test]
    fn a_source_is_counted_exactly_and_its_entry_is_reused() {
        let counts = Counts::new(8);
        let source = counts.key((32, 7));
        for _ in 0..3 {
            for _ in 0..4 {
                assert!(counts.add(source, 4));
            }
            assert!(!counts.add(source, 4));
            for _ in 0..4 {
                counts.remove(source);
            }
            assert_eq!(counts.count(source), 0);
            counts.remove(source);
            assert_eq!(counts.count(source), 0);
        }
        for n in 0..10_000 {
            let source = counts.key((32, n));
            assert!(counts.add(source, 1));
            counts.remove(source);
        }
    }

    #[test]
    fn no_source_is_refused_for_others_at_the_configured_size() {
        const SOURCES: u64 = 1_000_000;
        let counts = Counts::new(SOURCES as usize);
        for n in 0..SOURCES {
            assert!(counts.add(counts.key((32, n)), 1), "source {n} is refused");
        }
        let uncounted = (0..SOURCES).filter(|n| counts.count(counts.key((32, *n))) != 1);
        assert_eq!(uncounted.count(), 0);
    }

    #[test]
    fn lcores_that_count_at_once_lose_nothing() {
        let counts = Arc::new(Counts::new(64));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let counts = Arc::clone(&counts);
                thread::spawn(move || {
                    for round in 0..2_000u64 {
                        let source = counts.key((64, round % 8));
                        assert!(counts.add(source, 1 << 20));
                        if round.is_multiple_of(2) {
                            counts.remove(source);
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let total: u64 = (0..8).map(|n| counts.count(counts.key((64, n)))).sum();
        assert_eq!(total, 4 * 1_000);
    }
}
