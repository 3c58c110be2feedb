//! Ring reclaim: the memory of empty rings is given back to the system when they were idle for a time, or when most of the memory
//! for rings is used.
//!
//! A clock hand passes over the slots, a part of them at a time, once around in [`StackConfig::ring_idle`]. It clears the mark
//! that a flow is active. A flow without the mark was idle since the last round.
//!
//! The resident pages are counted, never too few. A receive ring is filled page by page. The sequence numbers show when a page is
//! full, but not where in its page the ring begins, so a ring has a page more than it can be seen to have. Bytes out of order may
//! be anywhere: each such segment counts as new pages. An empty send ring begins at its first page, and the place of the next byte
//! shows how far it has been written. [`ring_memory`](crate::ring_memory) keeps the count within [`StackConfig::ring_memory`].

use std::ops::Range;
use std::time::Duration;

use hioload_device::Device;
use hioload_lcore::Time;

use crate::StackConfig;
use crate::flow_flags::FlowFlags;
use crate::stack::Stack;

pub(crate) const PAGE: usize = 4096;
const PAGE_BITS: u32 = 12;

/// The pages that must be free for each page of a ring, if there is memory for many rings.
const SHARE: u64 = 64;

/// The number of parts of a round.
const PIECES: u32 = 64;

/// The slots examined in one turn, and again if most of the memory is used.
const STRIDE: usize = 512;

/// The most expensive steps in one turn, and again if most of the memory is used: system calls that give back a run of rings, and
/// checks whether a flow has data out of order.
const CALLS: usize = 32;

/// The clock hand, and the count of resident memory.
pub(crate) struct RingReclaim {
    /// The resident pages, at most, and the limit.
    pages: u64,
    budget: u64,
    /// The pages that must be free for each page that a ring has already.
    share: u64,
    /// The pages of each ring.
    rx_most: u8,
    tx_most: u8,
    /// The slot to examine next.
    hand: usize,
    /// The time at which the next part is due, and the interval.
    due: Time,
    period: Duration,
    /// The number of slots that are due and have not been examined.
    owed: usize,
    given_back: u64,
}

impl RingReclaim {
    pub(crate) fn new(config: &StackConfig, now: Time) -> Self {
        let pages = |bytes: usize| (bytes / PAGE).min(255) as u8;
        let budget = (config.ring_memory / PAGE) as u64;
        Self {
            pages: 0,
            budget,
            share: (budget / 32).clamp(1, SHARE),
            rx_most: pages(config.rx_ring),
            tx_most: pages(config.tx_ring),
            hand: 0,
            due: now,
            period: (config.ring_idle / PIECES).max(Duration::from_millis(1)),
            owed: 0,
            given_back: 0,
        }
    }

    /// The resident bytes, at most.
    pub(crate) fn resident(&self) -> u64 {
        self.pages * PAGE as u64
    }

    pub(crate) fn given_back(&self) -> u64 {
        self.given_back
    }

    /// The time at which the next part is due: none while nothing is resident, and at once while slots are left.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        let due = if self.owed > 0 { Time::ZERO } else { self.due };
        (self.pages > 0).then_some(due)
    }

    /// Adds resident pages.
    #[inline]
    pub(crate) fn grown(&mut self, by: u64) {
        self.pages += by;
    }

    /// The pages that may still become resident.
    pub(crate) fn free(&self) -> u64 {
        self.budget.saturating_sub(self.pages)
    }

    /// Whether a ring that has `have` resident pages may have `pages`, and leave `reserve` pages free. This is a dynamic threshold
    /// (Choudhury and Hahne 1998): a ring may have its first page while any is free, and each further one only while `share` times the
    /// pages before it are free, or `most`. So n full rings of peers that do not read leave at least share/(n + share) of the memory to
    /// the others.
    #[inline]
    fn admits(&self, have: u8, pages: u8, reserve: u64, most: u64) -> bool {
        if pages <= have {
            return true;
        }
        let (growth, free) = (u64::from(pages - have), self.free());
        let threshold = (self.share * u64::from(pages - 1)).min(most);
        growth + threshold.max(reserve) <= free
    }

    /// The most pages that a send ring with `have` may have.
    #[inline]
    pub(crate) fn tx_admits(&self, have: u8) -> u8 {
        let half = self.budget / 2;
        (have..=self.tx_most)
            .rev()
            .find(|&pages| self.admits(have, pages, 0, half))
            .unwrap_or(have)
    }

    /// Whether a receive ring with `have` pages may have `pages`. Otherwise flows could wait for each other: bytes that wait for earlier
    /// ones leave more than those may need, and all received bytes leave some to the replies.
    #[inline]
    pub(crate) fn rx_admits(&self, have: u8, pages: u8, next: bool) -> bool {
        let (quarter, sixteenth) = (self.budget / 4, self.budget / 16);
        let reserve = if next { sixteenth } else { quarter + sixteenth };
        self.admits(have, pages, reserve, quarter)
    }

    /// The resident pages of a receive ring that had `have`, after `len` bytes from `seq` on were written: those that come next, or
    /// others.
    #[inline]
    pub(crate) fn rx_pages(&self, have: u8, seq: u32, len: usize, next: bool) -> u8 {
        let begun = ((seq as usize & (PAGE - 1)) + len) >> PAGE_BITS;
        let in_order = usize::from(have.max(2)) + begun;
        let pages = if next {
            in_order
        } else {
            in_order.max(usize::from(have) + (len >> PAGE_BITS) + 2)
        };
        pages.min(self.rx_most.into()) as u8
    }

    /// The resident pages of a send ring that had `have`, with `queued` bytes in it of which the last is before `end`.
    #[inline]
    pub(crate) fn tx_pages(&self, have: u8, end: usize, queued: usize) -> u8 {
        let needed = match queued {
            0 => 0,
            // It was written from its first page to its last.
            _ if end < queued => usize::from(self.tx_most),
            _ => end.div_ceil(PAGE).min(self.tx_most.into()),
        };
        have.max(needed as u8)
    }
}

impl<D: Device> Stack<D> {
    /// Gives back idle rings, as many as a turn has time for.
    pub(crate) fn sweep(&mut self) {
        let slots = self.flows.len();
        if self.ring_reclaim.pages == 0 || slots == 0 {
            self.ring_reclaim.owed = 0;
            return;
        }
        if self.now >= self.ring_reclaim.due {
            let late = self.now.saturating_sub(self.ring_reclaim.due).as_nanos();
            let pieces =
                (late / self.ring_reclaim.period.as_nanos() + 1).min(PIECES.into()) as usize;
            self.ring_reclaim.due = self.now + self.ring_reclaim.period;
            // A missed round is not repeated.
            let due = (slots * pieces).div_ceil(PIECES as usize);
            self.ring_reclaim.owed = (self.ring_reclaim.owed + due).min(slots);
        }
        if self.ring_reclaim.owed > 0 {
            let looked_at = self.sweep_slots(self.ring_reclaim.owed.min(STRIDE));
            self.ring_reclaim.owed -= looked_at;
        }
        if self.ring_reclaim.free() < self.ring_reclaim.budget / 4 {
            self.sweep_slots(slots.min(STRIDE));
        }
    }

    /// Moves the hand over `n` slots, or fewer if there is much to give back. Returns the number of slots. Adjacent rings are given
    /// back in one call.
    fn sweep_slots(&mut self, n: usize) -> usize {
        let mut run: Range<u32> = 0..0;
        let mut calls = 0;
        let mut looked_at = 0;
        while looked_at < n && calls < CALLS {
            looked_at += 1;
            if self.ring_reclaim.hand >= self.flows.len() {
                self.ring_reclaim.hand = 0;
            }
            let slot = self.ring_reclaim.hand as u32;
            self.ring_reclaim.hand += 1;
            if self.is_to_be_given_back(slot, &mut calls) {
                if run.end != slot {
                    calls += usize::from(!run.is_empty());
                    self.give_back(run);
                    run = slot..slot;
                }
                run.end = slot + 1;
            }
        }
        self.give_back(run);
        looked_at
    }

    fn is_to_be_given_back(&mut self, slot: u32, calls: &mut usize) -> bool {
        let hot = self.flows.hot_mut(slot);
        if hot.rx_pages == 0 && hot.tx_pages == 0 {
            return false;
        }
        if hot.is(FlowFlags::ACTIVE) {
            hot.clear(FlowFlags::ACTIVE);
            return false;
        }
        // Data out of order is in the ring, but not in the queue length. Duplicates set the same flag.
        if hot.is(FlowFlags::GAPS) {
            *calls += 1;
            self.check_gaps(slot);
            if self.flows.hot(slot).is(FlowFlags::GAPS) {
                return false;
            }
        }
        let holds = self
            .flows
            .sockets
            .with(slot, |socket| socket.recv_queue() + socket.send_queue());
        holds.unwrap_or(0) == 0
    }

    pub(crate) fn give_back(&mut self, run: Range<u32>) {
        if run.is_empty() {
            return;
        }
        self.flows.sockets.give_back(run.clone());
        for slot in run {
            let hot = self.flows.hot_mut(slot);
            let pages = u64::from(hot.rx_pages) + u64::from(hot.tx_pages);
            hot.rx_pages = 0;
            hot.tx_pages = 0;
            self.ring_reclaim.pages = self.ring_reclaim.pages.saturating_sub(pages);
            self.ring_reclaim.given_back += 1;
        }
    }
}
