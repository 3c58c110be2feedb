//! A fixed table of 64-bit entries in buckets, each key in one of two: the shape that the counts and the rates share.
//!
//! A key is a keyed hash, so nobody outside can aim for a bucket. Of its two buckets a new key takes the emptier (Azar et al.,
//! "Balanced allocations", 1999): at half load a bucket of sixteen is practically never full.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Entries of a bucket: two cache lines.
const BUCKET: usize = 16;
/// Buckets of a segment: one page.
const SEGMENT: usize = 32;

type Segment = Box<[AtomicU64]>;

/// Entries by bucket. A segment is allocated when a key is first put into it.
#[derive(Debug)]
pub(super) struct Buckets {
    segments: Box<[OnceLock<Segment>]>,
    buckets: u64,
}

impl Buckets {
    /// Room for `keys` keys at half load.
    pub(super) fn new(keys: usize) -> Self {
        let buckets = (2 * keys).div_ceil(BUCKET).next_power_of_two().max(2);
        Self {
            segments: (0..buckets.div_ceil(SEGMENT))
                .map(|_| OnceLock::new())
                .collect(),
            buckets: buckets as u64,
        }
    }

    /// The numbers of the two buckets of a key.
    fn of(&self, key: u64) -> [usize; 2] {
        let mask = self.buckets - 1;
        let first = key & mask;
        // Distinct from the first: an odd distance.
        let second = (first ^ (key.rotate_left(29) | 1)) & mask;
        [first as usize, second as usize]
    }

    /// The entries of a bucket, unless none was ever put there.
    fn bucket(&self, at: usize) -> &[AtomicU64] {
        match self.segments[at / SEGMENT].get() {
            Some(segment) => &segment[at % SEGMENT * BUCKET..][..BUCKET],
            None => &[],
        }
    }

    fn bucket_or_new(&self, at: usize) -> &[AtomicU64] {
        let segment = self.segments[at / SEGMENT]
            .get_or_init(|| (0..SEGMENT * BUCKET).map(|_| AtomicU64::new(0)).collect());
        &segment[at % SEGMENT * BUCKET..][..BUCKET]
    }

    /// The entries that a key may be in.
    pub(super) fn entries(&self, key: u64) -> impl Iterator<Item = &AtomicU64> {
        self.of(key).into_iter().flat_map(|at| self.bucket(at))
    }

    /// Replaces a free entry of the key's emptier bucket by `value`; `false` if there is none. `is_free` tells by an entry's value.
    pub(super) fn claim(&self, key: u64, value: u64, is_free: impl Fn(u64) -> bool) -> bool {
        let taken = |at: usize| {
            let entries = self.bucket(at).iter();
            let taken = entries.filter(|entry| !is_free(entry.load(Ordering::Relaxed)));
            taken.count()
        };
        let mut buckets = self.of(key);
        if taken(buckets[1]) < taken(buckets[0]) {
            buckets.swap(0, 1);
        }
        buckets.into_iter().any(|at| {
            self.bucket_or_new(at).iter().any(|entry| {
                let old = entry.load(Ordering::Relaxed);
                is_free(old)
                    && entry
                        .compare_exchange(old, value, Ordering::Relaxed, Ordering::Relaxed)
                        .is_ok()
            })
        })
    }
}
