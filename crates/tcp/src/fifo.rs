//! Flows in the order in which their time is up, where all have equally long: half-open ones, orphans.
//!
//! A flow that leaves before its time is not searched for: its entry is stale and skipped when it comes to the front. How
//! many are not stale is counted by those who know.

use std::collections::VecDeque;

use hioload_lcore::Time;

use crate::FlowId;

/// Stale entries taken from the front for each that is added. Flows leave more or less in the order they came, so this keeps
/// the sweep over all from being needed.
const TRIM: usize = 4;

/// Flows and when their time is up.
pub(crate) struct Fifo {
    entries: VecDeque<(FlowId, Time, u32)>,
    /// Entries that are not stale.
    live: usize,
    most: usize,
}

impl Fifo {
    /// For so many flows at once.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            live: 0,
            most: most.max(1),
        }
    }

    /// Flows in it.
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// Whether the oldest has to go before another comes.
    pub(crate) fn is_full(&self) -> bool {
        self.live >= self.most
    }

    /// When to look at the front.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.entries.front().map(|&(_, at, _)| at)
    }

    /// Adds a flow. `is_live` says of an entry whether it is not stale: stale ones at the front go, a few at a time, and all of
    /// them when they are the most.
    pub(crate) fn push(&mut self, id: FlowId, at: Time, is_live: impl Fn(FlowId) -> bool) {
        self.push_with(id, at, 0, is_live);
    }

    /// The same, with a note that [`pop_with`](Self::pop_with) gives back.
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

    /// One that is in it has left.
    pub(crate) fn left(&mut self) {
        debug_assert!(self.live > 0);
        self.live = self.live.saturating_sub(1);
    }

    /// Takes the entry at the front, stale or not, if its time is up by `now`. If it is not stale it is still counted.
    pub(crate) fn pop(&mut self, now: Time) -> Option<FlowId> {
        self.pop_with(now).map(|(id, _)| id)
    }

    /// The same, with the note it was added with.
    pub(crate) fn pop_with(&mut self, now: Time) -> Option<(FlowId, u32)> {
        if self.next_deadline()? > now {
            return None;
        }
        self.entries.pop_front().map(|(id, _, note)| (id, note))
    }
}
