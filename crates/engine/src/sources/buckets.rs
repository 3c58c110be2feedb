//! A fixed table of 64-bit entries in buckets, each key in one of two: the shape that the counts and the rates share.
//!
//! A key is a keyed hash, so nobody outside can aim for a bucket. Of its two buckets a new key takes the emptier (Azar et al.,
//! "Balanced allocations", 1999): at half load a bucket of sixteen is practically never full.

use std::sync::atomic::{AtomicU64, Ordering};

/// Entries of a bucket: two cache lines.
const BUCKET: usize = 16;

/// Entries by bucket.
#[derive(Debug)]
pub(super) struct Buckets {
    entries: Box<[AtomicU64]>,
    buckets: u64,
}

impl Buckets {
    /// Room for `keys` keys at half load.
    pub(super) fn new(keys: usize) -> Self {
        let buckets = (2 * keys).div_ceil(BUCKET).next_power_of_two().max(2);
        Self {
            entries: (0..buckets * BUCKET).map(|_| AtomicU64::new(0)).collect(),
            buckets: buckets as u64,
        }
    }

    /// The two buckets of a key.
    fn of(&self, key: u64) -> [&[AtomicU64]; 2] {
        let mask = self.buckets - 1;
        let first = key & mask;
        // Distinct from the first: an odd distance.
        let second = (first ^ (key.rotate_left(29) | 1)) & mask;
        [first, second].map(|at| &self.entries[at as usize * BUCKET..][..BUCKET])
    }

    /// The entries that a key may be in.
    pub(super) fn entries(&self, key: u64) -> impl Iterator<Item = &AtomicU64> {
        self.of(key).into_iter().flatten()
    }

    /// Replaces a free entry of the key's emptier bucket by `value`; `false` if there is none. `is_free` tells by an entry's value.
    pub(super) fn claim(&self, key: u64, value: u64, is_free: impl Fn(u64) -> bool) -> bool {
        let free = |bucket: &[AtomicU64]| {
            let free = bucket
                .iter()
                .filter(|entry| is_free(entry.load(Ordering::Relaxed)));
            free.count()
        };
        let mut buckets = self.of(key);
        if free(buckets[1]) > free(buckets[0]) {
            buckets.swap(0, 1);
        }
        buckets.into_iter().flatten().any(|entry| {
            let old = entry.load(Ordering::Relaxed);
            is_free(old)
                && entry
                    .compare_exchange(old, value, Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok()
        })
    }
}
