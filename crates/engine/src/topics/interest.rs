//! Which lcores may have subscribers to a topic: state that all lcores share, not messages between them.
//!
//! A table of slots, each a bit for each lcore. A subscription sets its lcore's bit in the slot of its pattern: of the whole
//! pattern, or, if that has wildcards, of the tokens before the first. A publisher reads the slot of its topic, and one for
//! each prefix length at which any lcore has a wildcard. A bit may be set without need (two patterns can share a slot), and that costs
//! one command to an lcore that finds no subscriber. It is never clear while there is a subscription, so no publication is lost.
//!
//! An lcore counts its subscriptions by slot and writes to the table only when a count leaves or reaches zero. However fast
//! clients subscribe and unsubscribe, nothing is queued anywhere.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::grammar::MAX_TOKENS;

/// The most lcores, in words of bits.
const MAX_WORDS: usize = 4;
/// Slots of the table. With as many patterns in use as slots, two of three publications reach an lcore without need.
const SLOTS: usize = 1 << 17;

/// A set of lcores.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct LcoreSet([u64; MAX_WORDS]);

impl LcoreSet {
    /// The lcores in it, in rising order.
    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        self.0.into_iter().enumerate().flat_map(|(at, mut word)| {
            std::iter::from_fn(move || {
                let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
                word &= word - 1;
                Some(at * 64 + bit)
            })
        })
    }

    /// Whether it has no lcore.
    pub(crate) fn is_empty(self) -> bool {
        self.0 == [0; MAX_WORDS]
    }

    /// Takes an lcore out.
    pub(crate) fn remove(&mut self, lcore: usize) {
        self.0[lcore / 64] &= !(1 << (lcore % 64));
    }
}

/// What all lcores share.
pub(crate) struct Table {
    keys: RandomState,
    /// Words for each slot.
    words: usize,
    slots: Box<[AtomicU64]>,
    /// By the number of tokens before the first wildcard.
    wild: Box<[AtomicU64]>,
}

impl Table {
    /// A table for `lcores` lcores, at most 256.
    pub(crate) fn new(lcores: usize) -> Self {
        let words = lcores.div_ceil(64).clamp(1, MAX_WORDS);
        let zeroed = |n: usize| (0..n).map(|_| AtomicU64::new(0)).collect();
        Self {
            keys: RandomState::new(),
            words,
            slots: zeroed(SLOTS * words),
            wild: zeroed((MAX_TOKENS + 1) * words),
        }
    }

    fn add_slot(&self, slot: usize, into: &mut LcoreSet) {
        let at = slot * self.words;
        for (set, word) in into.0.iter_mut().zip(&self.slots[at..at + self.words]) {
            // Pairs with the read-modify-writes of `Interest`: whoever has heard of a subscription finds its bit.
            *set |= word.load(Ordering::Acquire);
        }
    }

    fn has_wildcards(&self, tokens: usize) -> bool {
        let at = tokens * self.words;
        self.wild[at..at + self.words]
            .iter()
            .any(|word| word.load(Ordering::Acquire) != 0)
    }

    /// The lcores that may have subscribers to `topic`.
    pub(crate) fn lcores(&self, topic: &str) -> LcoreSet {
        let mut set = LcoreSet::default();
        let mut hash = 0;
        for (tokens, token) in topic.split('.').enumerate() {
            if self.has_wildcards(tokens) {
                self.add_slot(slot_of(hash, true), &mut set);
            }
            hash = self.extend(hash, token);
        }
        self.add_slot(slot_of(hash, false), &mut set);
        set
    }

    fn extend(&self, hash: u64, token: &str) -> u64 {
        hash.rotate_left(23).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ self.keys.hash_one(token)
    }

    /// The slot of a pattern, and the number of tokens before its first wildcard if it has one.
    fn place(&self, pattern: &str) -> (usize, Option<usize>) {
        let mut hash = 0;
        for (tokens, token) in pattern.split('.').enumerate() {
            if token == "*" || token == ">" {
                return (slot_of(hash, true), Some(tokens));
            }
            hash = self.extend(hash, token);
        }
        (slot_of(hash, false), None)
    }
}

fn slot_of(hash: u64, wildcard: bool) -> usize {
    let hash = (hash ^ u64::from(wildcard)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (hash >> 32) as usize & (SLOTS - 1)
}

/// One lcore's part of it.
pub(crate) struct Interest {
    table: Arc<Table>,
    lcore: usize,
    /// Subscriptions of this lcore by slot, and by the number of tokens before the first wildcard.
    counts: Vec<u32>,
    wild: [u32; MAX_TOKENS + 1],
}

impl Interest {
    pub(crate) fn new(table: Arc<Table>, lcore: usize) -> Self {
        Self {
            table,
            lcore,
            counts: vec![0; SLOTS],
            wild: [0; MAX_TOKENS + 1],
        }
    }

    /// The other lcores that may have subscribers to `topic`.
    pub(crate) fn others(&self, topic: &str) -> LcoreSet {
        let mut set = self.table.lcores(topic);
        set.remove(self.lcore);
        set
    }

    /// This lcore has one more subscription to `pattern`.
    pub(crate) fn add(&mut self, pattern: &str) {
        let (slot, wildcard) = self.table.place(pattern);
        self.counts[slot] += 1;
        if self.counts[slot] == 1 {
            self.set(&self.table.slots, slot, true);
        }
        if let Some(tokens) = wildcard {
            self.wild[tokens] += 1;
            if self.wild[tokens] == 1 {
                self.set(&self.table.wild, tokens, true);
            }
        }
    }

    /// It has one less.
    pub(crate) fn remove(&mut self, pattern: &str) {
        let (slot, wildcard) = self.table.place(pattern);
        self.counts[slot] -= 1;
        if self.counts[slot] == 0 {
            self.set(&self.table.slots, slot, false);
        }
        if let Some(tokens) = wildcard {
            self.wild[tokens] -= 1;
            if self.wild[tokens] == 0 {
                self.set(&self.table.wild, tokens, false);
            }
        }
    }

    fn set(&self, words: &[AtomicU64], slot: usize, on: bool) {
        let word = &words[slot * self.table.words + self.lcore / 64];
        let bit = 1 << (self.lcore % 64);
        if on {
            word.fetch_or(bit, Ordering::AcqRel);
        } else {
            word.fetch_and(!bit, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lcores(n: usize) -> Vec<Interest> {
        let table = Arc::new(Table::new(n));
        (0..n)
            .map(|lcore| Interest::new(Arc::clone(&table), lcore))
            .collect()
    }

    #[test]
    fn a_topic_leads_to_the_lcores_with_matching_patterns() {
        let mut all = lcores(130);
        all[129].add("a.b");
        all[64].add("a.*");
        all[3].add(">");
        all[2].add("a.b.c");
        let others: Vec<_> = all[0].others("a.b").iter().collect();
        assert_eq!(others, [3, 64, 129]);
        let others: Vec<_> = all[129].others("a.b").iter().collect();
        assert_eq!(others, [3, 64], "not the publisher's own lcore");
        all[64].remove("a.*");
        all[3].remove(">");
        let others: Vec<_> = all[0].others("a.b").iter().collect();
        assert_eq!(others, [129]);
        assert_eq!(all[0].others("z").iter().count(), 0);
    }

    proptest! {
        #[test]
        fn no_lcore_with_a_matching_subscription_is_left_out(
            patterns in prop::collection::vec(("([abc*]\\.){0,3}[abc*>]", 0usize..3), 0..40),
            keep in prop::collection::vec(any::<bool>(), 40),
            topic in "([abc]\\.){0,3}[abc]",
        ) {
            let mut all = lcores(3);
            for (pattern, lcore) in &patterns {
                all[*lcore].add(pattern);
            }
            let mut left = Vec::new();
            for ((pattern, lcore), keep) in patterns.iter().zip(keep) {
                if keep {
                    left.push((pattern, *lcore));
                } else {
                    all[*lcore].remove(pattern);
                }
            }
            let set: Vec<_> = all[0].table.lcores(&topic).iter().collect();
            for (pattern, lcore) in &left {
                if super::super::tests::matches_slowly(pattern, &topic) {
                    prop_assert!(set.contains(lcore), "{pattern} on {lcore} for {topic}");
                }
            }
            if left.is_empty() {
                prop_assert!(set.is_empty());
            }
        }
    }
}
