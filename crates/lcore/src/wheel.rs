//! A hierarchical timer wheel.
//!
//! Time is divided into ticks of 1 ms. Level 0 has a slot for each of 64 ticks, level 1 a slot for each 64 of those, and so
//! on: the slot of a timer on level `l` is the `l`-th base-64 digit of its tick. A timer is kept on the level of the highest
//! digit in which its tick differs from the wheel's position. When the position reaches the slot, its timers move down, in
//! the end into the list of due timers. So every timer on a lower level is due before any timer on a higher one, and within
//! a level the lowest occupied slot comes first: one bit scan finds the next slot, however long the wheel has not moved.
//! Eight levels hold every tick of a [`Time`], so nothing overflows.
//!
//! Timers lie in one slab and are linked by 32-bit indices. Setting, cancelling and firing are O(1), apart from the
//! moves down: at most seven in a timer's life, two or three for a timer of 1 min. A slot of a higher level may hold very many
//! timers: of 1,000,000 spread over 1 min, 68,000 move down together every 4 s. So the moves of one turn are bounded,
//! and the wheel does not advance until the slot is empty.

use std::fmt;
use std::num::NonZeroU64;

use crate::Time;

const TICK_NANOS: u64 = 1_000_000;
const DIGIT_BITS: usize = 6;
const SLOTS: usize = 1 << DIGIT_BITS;
/// 64^8 ticks are 8,900 years.
const LEVELS: usize = 8;

/// The list of the due timers, after the slots' lists.
const DUE: usize = LEVELS * SLOTS;
const LISTS: usize = DUE + 1;

/// Timers moved down in one series of polls: about 50 µs if none of them is in cache.
const MOVES: usize = 1024;

/// Links from here on name a list's head instead of a timer, so there are at most this many timers.
const FIRST_HEAD: u32 = u32::MAX - LISTS as u32;
/// The end of a list.
const NIL: u32 = u32::MAX;

/// Names a timer set in a [`TimerWheel`]. It is stale once the timer has fired or was cancelled. A stale id names nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimerId(NonZeroU64);

impl TimerId {
    fn new(index: u32, generation: u32) -> Self {
        let bits = u64::from(generation) << 32 | u64::from(index);
        // Generations are odd while a timer is set, so this is never zero.
        Self(NonZeroU64::new(bits).unwrap_or(NonZeroU64::MAX))
    }

    fn index(self) -> u32 {
        self.0.get() as u32
    }

    fn generation(self) -> u32 {
        (self.0.get() >> 32) as u32
    }

    /// The index of the timer, half of its id. It is enough for an owner that knows that its timer is set, and has no room for
    /// the whole id. See [`TimerWheel::set_in`].
    #[must_use]
    pub fn place(self) -> u32 {
        self.index()
    }
}

impl fmt::Debug for TimerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TimerId({}.{})", self.index(), self.generation())
    }
}

/// 32 bytes with a key of 8, 24 with one of 4.
struct Entry<K> {
    tick: u64,
    /// The next timer in the list, or `NIL`. In an unused entry: the next unused entry.
    next: u32,
    /// The timer before. In the first one: `FIRST_HEAD` plus the number of the list.
    prev: u32,
    /// Odd while the timer is set.
    generation: u32,
    key: K,
}

/// Timers of one lcore. `K` identifies the purpose of a timer; `poll` returns it when the timer fires.
///
/// A timer fires in the first [`poll`](Self::poll) whose `now` is in or after the tick (1 ms) that begins at or next after
/// its deadline: never early, and less than one tick late by the `now` given. A timer that is set for a tick already polled
/// fires in the next tick, never in the same series of polls. A series is all polls up to one that returns `None`.
///
/// Timers can be late for one reason: a series moves at most 1024 timers within the wheel. If more have to move, the rest
/// moves in the next series, and `next_deadline` is not later than `now`.
pub struct TimerWheel<K> {
    entries: Vec<Entry<K>>,
    /// The first unused entry, or `NIL`.
    unused: u32,
    len: usize,
    /// The first timer of each list, or `NIL`.
    heads: Box<[u32; LISTS]>,
    /// For each level, a bit for each slot whose list is not empty.
    occupied: [u64; LEVELS],
    /// The tick that the wheel has reached: all timers in slots are after it.
    position: u64,
    /// The tick of the last `poll`, or of the start. `position` may be before it.
    polled: u64,
    /// The slot at `position` whose timers are moving down, as the number of its list; `DUE` if there is none.
    opening: usize,
    /// Moves left in this series of polls, and moves of each series.
    moves: usize,
    moves_each: usize,
}

impl<K: Copy> TimerWheel<K> {
    /// A wheel without timers.
    #[must_use]
    pub fn new(now: Time) -> Self {
        Self::with_capacity(now, 0)
    }

    /// A wheel with address space for `timers`, so that it does not move until it has more. Memory is touched as timers are
    /// set, and reused.
    #[must_use]
    pub fn with_capacity(now: Time, timers: usize) -> Self {
        let tick = now.as_nanos() / TICK_NANOS;
        Self {
            entries: Vec::with_capacity(timers),
            unused: NIL,
            len: 0,
            heads: Box::new([NIL; LISTS]),
            occupied: [0; LEVELS],
            position: tick,
            polled: tick,
            opening: DUE,
            moves: MOVES,
            moves_each: MOVES,
        }
    }

    /// The memory reserved for timers, as address and bytes, for a caller that chooses its pages.
    #[must_use]
    pub fn memory(&self) -> (*const u8, usize) {
        let bytes = self.entries.capacity() * size_of::<Entry<K>>();
        (self.entries.as_ptr().cast(), bytes)
    }

    /// Timers set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no timer is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sets a timer. A deadline that has passed is due in the next tick.
    ///
    /// # Panics
    /// If more than 4,294,966,782 timers are set at once.
    pub fn insert(&mut self, deadline: Time, key: K) -> TimerId {
        let tick = deadline
            .as_nanos()
            .div_ceil(TICK_NANOS)
            .max(self.polled + 1);
        let index = self.unused;
        let index = if let Some(entry) = self.entries.get_mut(index as usize) {
            self.unused = entry.next;
            entry.tick = tick;
            entry.key = key;
            entry.generation = entry.generation.wrapping_add(1);
            index
        } else {
            let index = self.entries.len();
            assert!(index < FIRST_HEAD as usize, "too many timers");
            self.entries.push(Entry {
                tick,
                next: NIL,
                prev: NIL,
                generation: 1,
                key,
            });
            index as u32
        };
        self.len += 1;
        self.place(index);
        TimerId::new(index, self.entries[index as usize].generation)
    }

    /// Cancels a timer and returns its key; `None` if it has fired or was cancelled before.
    pub fn cancel(&mut self, id: TimerId) -> Option<K> {
        let entry = self.entries.get(id.index() as usize)?;
        if entry.generation != id.generation() {
            return None;
        }
        self.unlink(id.index());
        Some(self.release(id.index()))
    }

    /// The timer that is set in a [place](TimerId::place), if one is.
    #[must_use]
    pub fn set_in(&self, place: u32) -> Option<TimerId> {
        let generation = self.entries.get(place as usize)?.generation;
        (generation % 2 == 1).then(|| TimerId::new(place, generation))
    }

    /// When a set timer will fire (its deadline, rounded up to the tick); `None` if the id is stale.
    #[must_use]
    pub fn deadline(&self, id: TimerId) -> Option<Time> {
        let entry = self.entries.get(id.index() as usize)?;
        (entry.generation == id.generation()).then(|| Time::from_millis(entry.tick))
    }

    /// Removes the next timer that is due at `now` and returns its key, in the order of ticks. Call it until it returns `None`;
    /// timers may be set and cancelled in between. A `now` before the last one counts as the last one.
    pub fn poll(&mut self, now: Time) -> Option<K> {
        self.polled = self.polled.max(now.as_nanos() / TICK_NANOS);
        loop {
            let first = self.heads[DUE];
            if first != NIL {
                self.unlink(first);
                return Some(self.release(first));
            }
            if self.opening != DUE {
                self.empty_opening();
                if self.opening != DUE {
                    break;
                }
                continue;
            }
            match self.next_slot() {
                Some((level, slot, tick)) if tick <= self.polled => self.open(level, slot, tick),
                _ => {
                    // No slot begins in between, so no digit changes that a timer's level depends on.
                    self.position = self.polled;
                    break;
                }
            }
        }
        self.moves = self.moves_each;
        None
    }

    /// When to `poll` next: not later than the first timer is due, and earlier if the wheel has to move timers down first.
    /// `None` without timers.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        if self.heads[DUE] != NIL || self.opening != DUE {
            return Some(Time::from_millis(self.position));
        }
        self.next_slot().map(|(_, _, tick)| Time::from_millis(tick))
    }

    /// The occupied slot that comes first: level, slot, and the tick at which it begins.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        // Slots at and before the position are empty, so the lowest one is the next one.
        let slot = self.occupied[level].trailing_zeros() as usize;
        let shift = level * DIGIT_BITS;
        let above = self.position >> (shift + DIGIT_BITS) << (shift + DIGIT_BITS);
        Some((level, slot, above | (slot as u64) << shift))
    }

    /// Advances the wheel to the beginning of `slot`. Its timers are due, or have to move down.
    fn open(&mut self, level: usize, slot: usize, tick: u64) {
        self.position = tick;
        let list = level * SLOTS + slot;
        if level > 0 {
            self.opening = list;
            return;
        }
        // All timers of the slot have one tick and are due, so the list moves as a whole. The list of due timers is empty:
        // otherwise `poll` would not advance.
        let first = std::mem::replace(&mut self.heads[list], NIL);
        self.occupied[0] &= !(1 << slot);
        self.heads[DUE] = first;
        self.entries[first as usize].prev = FIRST_HEAD + DUE as u32;
    }

    /// Moves timers of the slot `opening` down, at most the moves left in this series.
    fn empty_opening(&mut self) {
        while self.moves > 0 {
            let index = self.heads[self.opening];
            if index == NIL {
                self.opening = DUE;
                return;
            }
            self.moves -= 1;
            self.unlink(index);
            self.place(index);
        }
    }

    /// Links an entry into the list that its tick belongs to at this position.
    fn place(&mut self, index: u32) {
        let tick = self.entries[index as usize].tick;
        let differing = tick ^ self.position;
        let list = if differing == 0 {
            DUE
        } else {
            let level = differing.ilog2() as usize / DIGIT_BITS;
            let slot = (tick >> (level * DIGIT_BITS)) as usize % SLOTS;
            self.occupied[level] |= 1 << slot;
            level * SLOTS + slot
        };
        let second = std::mem::replace(&mut self.heads[list], index);
        let entry = &mut self.entries[index as usize];
        entry.next = second;
        entry.prev = FIRST_HEAD + list as u32;
        if second != NIL {
            self.entries[second as usize].prev = index;
        }
    }

    /// Takes an entry out of its list.
    fn unlink(&mut self, index: u32) {
        let Entry { next, prev, .. } = self.entries[index as usize];
        if next != NIL {
            self.entries[next as usize].prev = prev;
        }
        if prev < FIRST_HEAD {
            self.entries[prev as usize].next = next;
            return;
        }
        let list = (prev - FIRST_HEAD) as usize;
        self.heads[list] = next;
        if next == NIL && list != DUE {
            self.occupied[list / SLOTS] &= !(1 << (list % SLOTS));
        }
    }

    /// Makes an unlinked entry unused and its ids stale.
    fn release(&mut self, index: u32) -> K {
        let entry = &mut self.entries[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.next = std::mem::replace(&mut self.unused, index);
        self.len -= 1;
        entry.key
    }
}

impl<K> fmt::Debug for TimerWheel<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimerWheel")
            .field("len", &self.len)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
