//! Flows sorted by deadline. All entries of a list have the same lifetime, so a queue is enough: half-open flows, orphans.
//!
//! If a flow leaves early, its entry becomes stale, and is skipped when it reaches the front. The users of the list report
//! flows that leave, so that the entries that are not stale can be counted.

use std::collections::VecDeque;

use hioload_lcore::Time;

use crate::FlowId;

/// The most stale entries removed from the front for each entry added. Flows leave roughly in the order they came, so the sweep
/// over all entries is rarely needed.
const TRIM: usize = 4;

/// Flows and their deadlines.
pub(crate) struct Fifo {
    entries: VecDeque<(FlowId, Time, u32)>,
    /// Entries that are not stale.
    live: usize,
    most: usize,
}

impl Fifo {
    /// A list for `most` flows.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            live: 0,
            most: most.max(1),
        }
    }

    /// The number of flows in the list.
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// Whether the oldest has to leave before another is added.
    pub(crate) fn is_full(&self) -> bool {
        self.live >= self.most
    }

    /// The deadline of the front.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.entries.front().map(|&(_, at, _)| at)
    }

    /// Adds a flow. `is_live` returns whether an entry is not stale. A few stale entries at the front are removed, and all of them
    /// if they outnumber the others.
    pub(crate) fn push(&mut self, id: FlowId, at: Time, is_live: impl Fn(FlowId) -> bool) {
        self.push_with(id, at, 0, is_live);
    }

    /// The same, with a note that [`pop_with`](Self::pop_with) returns.
    pub(crate) fn push_with(
        &mut self,
        id: FlowId,
        at: Time,
        note: u32,
        is_live: impl Fn(FlowId) -> bool,
    ) {
        for _ in 0..TRIM {
            match self.entries.front() {
                Some(&(id, ..)) if !is_live(id) => self.entries.pop_front(),
                _ => break,
            };
        }
        if self.entries.len() >= 2 * self.most + 64 {
            self.entries.retain(|&(id, ..)| is_live(id));
        }
        self.entries.push_back((id, at, note));
        self.live += 1;
    }

    /// A flow in the list has left.
    pub(crate) fn left(&mut self) {
        debug_assert!(self.live > 0);
        self.live = self.live.saturating_sub(1);
    }

    /// Removes the entry at the front, stale or not, if its deadline has passed. If it is not stale, it is still counted.
    pub(crate) fn pop(&mut self, now: Time) -> Option<FlowId> {
        self.pop_with(now).map(|(id, _)| id)
    }

    /// The same, with the note.
    pub(crate) fn pop_with(&mut self, now: Time) -> Option<(FlowId, u32)> {
        if self.next_deadline()? > now {
            return None;
        }
        self.entries.pop_front().map(|(id, _, note)| (id, note))
    }
}
