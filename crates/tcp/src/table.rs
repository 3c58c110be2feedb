//! The flow table: from the hash of a flow to its slot.
//!
//! The table is allocated once for all slots, so it never grows while traffic waits. Pages that are not touched use no memory. A
//! bucket is one cache line: 15 entries, and the number of entries that found it full and went on to a later bucket. So a
//! search knows when to stop, and removal leaves no tombstones. An entry has 32 bits: the slot number, and as many bits of
//! the hash as fit beside it. The ends of the flow are not in the table. The caller compares them with those in the slot.

/// Entries in a bucket.
const WAYS: usize = 15;

/// Words in a bucket: the entries (zero, or the slot number plus one in the low bits and bits of the hash above), and the number
/// of entries whose search begins at or before this bucket and ends after it.
const WORDS: usize = WAYS + 1;

/// Maps hashes to slots.
pub(crate) struct Table {
    /// The buckets, from `skip` on.
    words: Vec<u32>,
    /// The words before the first one that begins a cache line.
    skip: usize,
    buckets: usize,
    /// The bits of an entry that have the slot number plus one.
    slot_mask: u32,
}

impl Table {
    /// A table for slots below `slots`. If all are in it, seven eighths of the entries are used.
    pub(crate) fn new(slots: usize) -> Self {
        let buckets = (slots * 8).div_ceil(WAYS * 7).max(2);
        let slot_mask = (slots as u32 + 1).next_power_of_two().wrapping_sub(1);
        // The system zeroes the pages when they are touched.
        let words = vec![0_u32; (buckets + 1) * WORDS];
        hioload_mem::prefer_huge_pages(words.as_ptr(), words.len());
        let skip = words.as_ptr().align_offset(64).min(WORDS);
        Self {
            words,
            skip,
            buckets,
            slot_mask,
        }
    }

    #[inline]
    fn bucket(&self, at: usize) -> &[u32; WORDS] {
        let start = self.skip + at * WORDS;
        self.words[start..].first_chunk().unwrap_or(&[0; WORDS])
    }

    #[inline]
    fn bucket_mut(&mut self, at: usize) -> &mut [u32] {
        let start = self.skip + at * WORDS;
        &mut self.words[start..start + WORDS]
    }

    /// The bucket where a search for `hash` begins. It depends on the high bits.
    #[inline]
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.buckets as u64) >> 32) as usize
    }

    #[inline]
    fn after(&self, bucket: usize) -> usize {
        if bucket + 1 == self.buckets {
            0
        } else {
            bucket + 1
        }
    }

    /// The low bits of the hash, moved above the slot number.
    #[inline]
    fn tag(&self, hash: u32) -> u32 {
        hash.rotate_right(self.slot_mask.count_ones()) & !self.slot_mask
    }

    /// Prefetches the bucket where a search for `hash` begins.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u32) {
        hioload_mem::prefetch::line(self.bucket(self.home(hash)));
    }

    /// The slot with `hash` for which `is` returns true.
    #[inline]
    pub(crate) fn find(&self, hash: u32, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let tag = self.tag(hash);
        let mut at = self.home(hash);
        for _ in 0..self.buckets {
            let bucket = self.bucket(at);
            let mut hits = 0_u32;
            for (way, &entry) in bucket[..WAYS].iter().enumerate() {
                let hit = entry & !self.slot_mask == tag && entry != 0;
                hits |= u32::from(hit) << way;
            }
            while hits != 0 {
                let way = hits.trailing_zeros() as usize;
                let slot = (bucket[way] & self.slot_mask) - 1;
                if is(slot) {
                    return Some(slot);
                }
                hits &= hits - 1;
            }
            if bucket[WAYS] == 0 {
                return None;
            }
            at = self.after(at);
        }
        None
    }

    /// Adds a slot that is not in the table.
    pub(crate) fn insert(&mut self, hash: u32, slot: u32) {
        let entry = self.tag(hash) | (slot + 1);
        let mut at = self.home(hash);
        // There are more entries than slots, so one is free.
        for _ in 0..self.buckets {
            let bucket = self.bucket_mut(at);
            if let Some(free) = bucket[..WAYS].iter_mut().find(|entry| **entry == 0) {
                *free = entry;
                return;
            }
            // It cannot overflow: there are fewer slots.
            bucket[WAYS] += 1;
            at = self.after(at);
        }
    }

    /// Removes a slot that was added with this hash.
    pub(crate) fn remove(&mut self, hash: u32, slot: u32) {
        let entry = self.tag(hash) | (slot + 1);
        let (home, mut at) = (self.home(hash), self.home(hash));
        let mut found = None;
        for _ in 0..self.buckets {
            let bucket = self.bucket(at);
            found = bucket[..WAYS].iter().position(|&other| other == entry);
            if found.is_some() || bucket[WAYS] == 0 {
                break;
            }
            at = self.after(at);
        }
        let Some(way) = found else {
            debug_assert!(false, "slot {slot} is not in the table");
            return;
        };
        self.bucket_mut(at)[way] = 0;
        let mut passed = home;
        while passed != at {
            self.bucket_mut(passed)[WAYS] -= 1;
            passed = self.after(passed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bucket_is_a_cache_line() {
        let table = Table::new(100);
        assert_eq!(size_of_val(table.bucket(1)), 64);
        assert_eq!(table.bucket(1).as_ptr().align_offset(64), 0);
    }

    #[test]
    fn all_slots_fit_whatever_their_hashes() {
        let hashes: [fn(u32) -> u32; 3] =
            [|_| 0, |_| u32::MAX, |slot| slot.wrapping_mul(0x9e37_79b9)];
        for hash in hashes {
            let mut table = Table::new(1000);
            for slot in 0..1000 {
                table.insert(hash(slot), slot);
            }
            for slot in 0..1000 {
                assert_eq!(table.find(hash(slot), |found| found == slot), Some(slot));
            }
            for slot in (0..1000).rev() {
                table.remove(hash(slot), slot);
                assert_eq!(table.find(hash(slot), |found| found == slot), None);
            }
            assert!(table.words.iter().all(|&word| word == 0));
        }
    }

    proptest! {
        #[test]
        fn the_table_behaves_as_a_map(steps in proptest::collection::vec((0_u32..64, 0_u32..8), 0..400)) {
            let mut table = Table::new(64);
            let mut model = HashMap::new();
            for (slot, high) in steps {
                if let Some(hash) = model.remove(&slot) {
                    table.remove(hash, slot);
                } else {
                    // Few homes, so that buckets overflow.
                    let hash = (high << 29) | (slot % 3);
                    table.insert(hash, slot);
                    model.insert(slot, hash);
                }
                for slot in 0..64 {
                    let hash = model.get(&slot).copied();
                    let found = table.find(hash.unwrap_or(slot), |found| found == slot);
                    prop_assert_eq!(found, hash.map(|_| slot));
                }
            }
        }
    }
}
