//! Rings cost memory only while they hold something: empty ones that were not used for a while, or when the memory for
//! rings is used up, are given back to the system.
//!
//! A hand goes over the slots, a piece at a time, once around in [`StackConfig::ring_idle`]. Where it finds a flow's mark of
//! use it takes it away; where it finds none, the flow was idle since the last round. How much is resident is estimated: a
//! receive ring is filled page after page, so the sequence numbers say when a new one is begun; a send ring begins at its
//! first page whenever it was empty.

use std::ops::Range;
use std::time::Duration;

use hioload_device::Device;
use hioload_lcore::Time;

use crate::StackConfig;
use crate::flow_flags::FlowFlags;
use crate::stack::Stack;

const PAGE: usize = 4096;
const PAGE_BITS: u32 = 12;

/// Pieces of a round.
const PIECES: u32 = 64;

/// Slots looked at in one turn, and once more when memory is short.
const STRIDE: usize = 512;

/// What takes longer in one turn, and as often again when memory is short: runs of rings given back, each by a system call,
/// and flows asked whether they have anything out of order.
const CALLS: usize = 32;

/// The hand and what it knows.
pub(crate) struct RingReclaim {
    /// Resident pages, as estimated, and how many there may be.
    pages: u64,
    budget: u64,
    /// Pages of each ring.
    rx_most: u8,
    tx_most: u8,
    /// The slot to look at next.
    hand: usize,
    /// When the next piece is due, and the time between pieces.
    due: Time,
    period: Duration,
    /// Slots of the pieces that were due which have not been looked at.
    owed: usize,
    given_back: u64,
}

impl RingReclaim {
    pub(crate) fn new(config: &StackConfig, now: Time) -> Self {
        let pages = |bytes: usize| (bytes / PAGE).min(255) as u8;
        Self {
            pages: 0,
            budget: (config.ring_memory / PAGE) as u64,
            rx_most: pages(config.rx_ring),
            tx_most: pages(config.tx_ring),
            hand: 0,
            due: now,
            period: (config.ring_idle / PIECES).max(Duration::from_millis(1)),
            owed: 0,
            given_back: 0,
        }
    }

    /// Resident bytes, as estimated.
    pub(crate) fn resident(&self) -> u64 {
        self.pages * PAGE as u64
    }

    pub(crate) fn given_back(&self) -> u64 {
        self.given_back
    }

    /// When the next piece is due; never while nothing is resident, and at once while one is not finished.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        let due = if self.owed > 0 { Time::ZERO } else { self.due };
        (self.pages > 0).then_some(due)
    }

    /// So many pages more.
    #[inline]
    pub(crate) fn grown(&mut self, by: u64) {
        self.pages += by;
    }

    /// Pages of a receive ring that are resident after `len` bytes from `seq` on were written, where `have` were before.
    #[inline]
    pub(crate) fn rx_pages(&self, have: u8, seq: u32, len: usize) -> u8 {
        let begun = ((seq as usize & (PAGE - 1)) + len) >> PAGE_BITS;
        (usize::from(have.max(1)) + begun).min(self.rx_most.into()) as u8
    }

    /// Pages of a send ring that are resident with `queued` bytes in it.
    #[inline]
    pub(crate) fn tx_pages(&self, have: u8, queued: usize) -> u8 {
        let needed = queued.div_ceil(PAGE).min(self.tx_most.into()) as u8;
        have.max(needed)
    }
}

impl<D: Device> Stack<D> {
    /// Gives back what is not needed, a piece at a time, and of a piece as much as does not hold up a turn.
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
            // A round missed is not made up for.
            let due = (slots * pieces).div_ceil(PIECES as usize);
            self.ring_reclaim.owed = (self.ring_reclaim.owed + due).min(slots);
        }
        if self.ring_reclaim.owed > 0 {
            let looked_at = self.sweep_slots(self.ring_reclaim.owed.min(STRIDE));
            self.ring_reclaim.owed -= looked_at;
        }
        if self.ring_reclaim.pages > self.ring_reclaim.budget {
            self.sweep_slots(slots.min(STRIDE));
        }
    }

    /// Moves the hand over so many slots, or fewer if there is much to give back; says how many. Neighbouring rings are given
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
        // What came out of order is in the ring, but cannot be seen. What came twice looks the same at first.
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

    fn give_back(&mut self, run: Range<u32>) {
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
