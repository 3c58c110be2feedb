//! Expanded keys, bounded for each lcore.

use aws_lc_rs::aead::LessSafeKey;

use super::half::Half;
use super::suite::Suite;

/// A direction of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the peer.
    Receive,
    /// To the peer.
    Send,
}

/// The connection that a key belongs to: slot and generation, as the transport numbers them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyOwner {
    /// Slot, dense from 0.
    pub index: u32,
    /// How many connections had the slot before.
    pub generation: u32,
}

struct Entry {
    owner: KeyOwner,
    direction: Direction,
    /// Used since the last visit of [`KeyCache::age`].
    used: bool,
    key: LessSafeKey,
}

/// Expanded keys (about 600 bytes each) of the connections that were active last.
///
/// Two keys share a place if their slots are a multiple of the size apart; the later one replaces the earlier. Slots are dense from 0, so
/// up to half as many connections as there are places never do. With more connections that are active at once, each record may
/// expand its key again: that costs a few hundred nanoseconds and an allocation of the key's size (`dataplane tls-records` of the
/// benchmarks measures it), which is little more than to read a key that is in no cache of the CPU. The counter is
/// [`expanded`](Self::expanded).
///
/// Keys that are not used for a while are freed by [`age`](Self::age), so that an idle connection has its session alone. The counter is
/// [`freed`](Self::freed).
pub struct KeyCache {
    entries: Vec<Option<Entry>>,
    mask: usize,
    /// The place that `age` visits next.
    hand: usize,
    /// Keys that it holds.
    held: usize,
    /// Keys expanded so far.
    pub expanded: u64,
    /// Keys freed so far because they were not used.
    pub freed: u64,
}

impl std::fmt::Debug for KeyCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyCache")
            .field("expanded", &self.expanded)
            .finish_non_exhaustive()
    }
}

impl KeyCache {
    /// A cache of at most `keys` keys, rounded down to a power of two, and at least two.
    #[must_use]
    pub fn new(keys: usize) -> Self {
        let places = (keys.max(2) + 1).next_power_of_two() / 2;
        Self {
            entries: Vec::new(),
            mask: places.max(2) - 1,
            hand: 0,
            held: 0,
            expanded: 0,
            freed: 0,
        }
    }

    #[inline]
    fn place(&self, owner: KeyOwner, direction: Direction) -> usize {
        let direction = usize::from(direction == Direction::Send);
        (owner.index as usize * 2 + direction) & self.mask
    }

    /// The key of `half`, which is that direction of `owner`.
    #[inline]
    pub(super) fn get(
        &mut self,
        owner: KeyOwner,
        direction: Direction,
        suite: Suite,
        half: &Half,
    ) -> Option<&LessSafeKey> {
        let place = self.place(owner, direction);
        let is_there = self.entries.get(place).is_some_and(|entry| {
            entry
                .as_ref()
                .is_some_and(|entry| entry.owner == owner && entry.direction == direction)
        });
        if !is_there {
            self.expand(place, owner, direction, suite, half)?;
        }
        self.entries[place].as_mut().map(|entry| {
            entry.used = true;
            &entry.key
        })
    }

    /// Visits the next `1 / part` of the places, and at least one: a key that was not used since the visit before is freed.
    pub fn age(&mut self, part: usize) {
        for _ in 0..self.places().div_ceil(part.max(1)) {
            self.hand = (self.hand + 1) & self.mask;
            // The places that no connection had so far are visited too, so that a round takes as long with few as with many.
            match self.entries.get_mut(self.hand) {
                Some(Some(entry)) if entry.used => entry.used = false,
                Some(place @ Some(_)) => {
                    *place = None;
                    self.held -= 1;
                    self.freed += 1;
                }
                _ => {}
            }
        }
    }

    #[cold]
    fn expand(
        &mut self,
        place: usize,
        owner: KeyOwner,
        direction: Direction,
        suite: Suite,
        half: &Half,
    ) -> Option<()> {
        if self.entries.len() <= place {
            self.entries.resize_with(place + 1, || None);
        }
        self.expanded += 1;
        let key = half.expand(suite)?;
        let before = self.entries[place].replace(Entry {
            owner,
            direction,
            used: true,
            key,
        });
        self.held += usize::from(before.is_none());
        Some(())
    }

    /// Removes a key that is not valid any more.
    pub(super) fn forget(&mut self, owner: KeyOwner, direction: Direction) {
        let place = self.place(owner, direction);
        if let Some(entry) = self.entries.get_mut(place) {
            let removed =
                entry.take_if(|entry| entry.owner == owner && entry.direction == direction);
            self.held -= usize::from(removed.is_some());
        }
    }

    /// Removes the keys of a connection that has ended.
    pub fn remove(&mut self, owner: KeyOwner) {
        self.forget(owner, Direction::Receive);
        self.forget(owner, Direction::Send);
    }

    /// Keys that it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keys that it can hold.
    #[must_use]
    pub fn places(&self) -> usize {
        self.mask + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_holds_no_more_keys_than_it_has_places_and_gives_each_owner_its_own() {
        let half = Half::from_secret(Suite::Aes128Gcm, &[1; 32], 0).expect("32 bytes");
        let mut cache = KeyCache::new(9);
        assert_eq!(cache.places(), 8);
        for index in 0..100 {
            let owner = KeyOwner {
                index,
                generation: 0,
            };
            for direction in [Direction::Receive, Direction::Send] {
                for _ in 0..2 {
                    cache
                        .get(owner, direction, Suite::Aes128Gcm, &half)
                        .expect("a key");
                }
            }
        }
        assert_eq!((cache.len(), cache.expanded), (8, 200));
        cache.remove(KeyOwner {
            index: 99,
            generation: 1,
        });
        assert_eq!(cache.len(), 8, "another generation");
        cache.remove(KeyOwner {
            index: 99,
            generation: 0,
        });
        assert_eq!(cache.len(), 6);
    }

    #[test]
    fn keys_that_are_not_used_are_freed_and_the_others_stay() {
        let half = Half::from_secret(Suite::Aes128Gcm, &[1; 32], 0).expect("32 bytes");
        let mut cache = KeyCache::new(64);
        let get = |cache: &mut KeyCache, index| {
            let owner = KeyOwner {
                index,
                generation: 0,
            };
            let key = cache.get(owner, Direction::Send, Suite::Aes128Gcm, &half);
            assert!(key.is_some());
        };
        (0..32).for_each(|index| get(&mut cache, index));
        for round in 0..5 {
            (0..4).for_each(|index| get(&mut cache, index));
            (0..8).for_each(|_| cache.age(8));
            assert_eq!(cache.len(), if round == 0 { 32 } else { 4 });
        }
        assert_eq!((cache.expanded, cache.freed), (32, 28));
        (0..16).for_each(|_| cache.age(8));
        assert!(cache.is_empty());
        get(&mut cache, 31);
        assert_eq!((cache.len(), cache.expanded), (1, 33));
    }
}
