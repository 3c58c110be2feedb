//! The connection table: the state of connections that all transports have in common.
//!
//! A [`Table`] holds one [`Entry`] for each slot: its generation, its flags, and what the transport itself adds. It also owns
//! the send queues and three lists of ids: connections to visit (`ready`), to flush (`dirty`), and those whose end the driver
//! has not received (`ended`). The rules of [`Connections`](crate::Connections) that do not depend on the network are its
//! methods: stale ids, bounds of queues, pause, finish, close, death. [`Owner`] adds the order in which a flush and the
//! reports at its end call the driver.
//!
//! Its users differ in three points:
//!
//! | | readiness ([`streams`](crate::streams)) | flows of our own TCP (`bypass`) |
//! |---|---|---|
//! | slot number | chosen by [`Numbers`] | that of the flow |
//! | added to an entry | the stream, held bytes, the peer | bytes lent and not consumed |
//! | bytes go to | the network, in a flush | the flow's ring at once; the queue while the ring is full |
//!
//! # A completion-based transport
//!
//! A transport over io_uring is the third user. It takes its slot numbers from [`Numbers`] and adds to an entry the
//! descriptor and the number of operations in flight. A `wait` submits and waits; `dispatch` turns completions into calls of
//! the driver; `flush_one` submits one send of the front of the queue ([`SendQueue::gather`](send_queue::SendQueue::gather)).
//!
//! - **The kernel reads the queue until the completion.** The transport sets a flag of its own while a send is in flight
//!   and submits no second one, and it calls [`consume`](send_queue::SendQueue::consume) only when the completion arrives.
//!   A chunk stays in the queue until its last byte is consumed, and bytes that are committed meanwhile go behind those
//!   that the kernel reads. `drop_oldest` must not take what was submitted: submitted payloads count as partly sent.
//! - **A send that did not complete within the turn is [`blocked`](Table::blocked)**, and the completion marks the connection
//!   dirty again. A completion that empties the queue ends in [`drained`](Table::drained), as with the other users.
//! - **A slot outlives its operations.** [`mark_dead`](Table::mark_dead) gives the queue back, so it has to wait: the transport
//!   cancels what is in flight, and calls it, or frees the slot in [`Owner::release`], after the last completion. An
//!   operation carries the id, and a completion with a stale id is ignored.
//! - **Received bytes** arrive in buffers that the kernel chose from a ring. The transport lends them in place and returns
//!   them to the ring after the call; the rest that a driver leaves is copied, as `streams` does.

use std::collections::VecDeque;
use std::time::Duration;

use hioload_lcore::Time;
use hioload_mem::{Pool, prefetch};

use crate::{Closed, ConnId};

mod flags;
mod numbers;
mod owner;
mod queues;
pub(crate) mod send_queue;
mod sending;
#[cfg(test)]
mod tests;

pub(crate) use flags::flag;
pub(crate) use numbers::Numbers;
pub(crate) use owner::{Owner, REPORTED_FIRST};

use flags::Flags;
use queues::Queues;

/// Memory of the pool that was free for this long is returned to the system, at most [`TRIMMED`] chunks at once. That is 2 MiB of the
/// default chunks, and takes a fraction of a turn.
const TRIM_INTERVAL: Duration = Duration::from_secs(1);
const TRIMMED: usize = 128;

/// One slot.
#[derive(Default)]
pub(crate) struct Entry<E> {
    generation: u32,
    pub(crate) flags: Flags,
    /// Bytes staged since the last flush. While the connection is `QUEUED`, the index of its queue, which has them instead.
    tail: u32,
    /// What the transport adds.
    pub(crate) own: E,
}

/// All connections of a transport. Memory is reserved at once and touched as slots are first used.
pub(crate) struct Table<E> {
    entries: Vec<Entry<E>>,
    queues: Queues,
    /// Where the chunks of queues come from.
    pool: Pool,
    /// The time of the next [`trim`](Self::trim) of the pool.
    next_trim: Time,
    /// Bytes that one connection may have queued.
    bound: usize,
    /// Connections to visit, in the order in which they became ready.
    pub(crate) ready: VecDeque<ConnId>,
    /// Connections to flush.
    dirty: Vec<ConnId>,
    /// Connections to flush when there is time: a payload that they share with others was queued. It may be for all connections
    /// there are, and an answer to one of them must not wait for that.
    fanned: VecDeque<ConnId>,
    /// Of these, those that were listed when the round began, and the rounds so far: see
    /// [`flush_rounds`](crate::Transport::flush_rounds).
    round_left: usize,
    rounds: u64,
    /// Connections whose end the driver has not received.
    ended: VecDeque<(ConnId, Closed)>,
}

impl<E: Default> Table<E> {
    /// An empty table in the memory of `entries`. Each connection queues at most `bound` bytes, in chunks of `pool`.
    pub(crate) fn new(entries: Vec<Entry<E>>, pool: Pool, bound: usize) -> Self {
        Self {
            entries,
            queues: Queues::default(),
            pool,
            next_trim: Time::ZERO,
            bound,
            ready: VecDeque::with_capacity(1024),
            dirty: Vec::with_capacity(1024),
            fanned: VecDeque::new(),
            round_left: 0,
            rounds: 0,
            ended: VecDeque::new(),
        }
    }

    /// Begins a connection in the slot of `id`, which must be free.
    pub(crate) fn open(&mut self, id: ConnId, own: E, flags: u32) {
        let index = id.index as usize;
        if self.entries.len() <= index {
            self.entries.resize_with(index + 1, Entry::default);
        }
        self.free_queue(index);
        self.entries[index] = Entry {
            generation: id.generation,
            flags: Flags::new(flag::LIVE | flags),
            tail: 0,
            own,
        };
    }

    /// Frees the slot: `id` is stale from here on. Returns what the transport had added.
    pub(crate) fn close(&mut self, id: ConnId) -> Option<E> {
        self.get(id)?;
        self.free_queue(id.index as usize);
        let entry = self.entries.get_mut(id.index as usize)?;
        entry.flags = Flags::default();
        entry.generation = entry.generation.wrapping_add(1);
        Some(std::mem::take(&mut entry.own))
    }
}

impl<E> Table<E> {
    /// The id that the next connection in free slot `index` has, unless something below chooses generations.
    pub(crate) fn next_id(&self, index: u32) -> ConnId {
        let entry = self.entries.get(index as usize);
        ConnId {
            index,
            generation: entry.map_or(0, |entry| entry.generation),
        }
    }

    /// The pool that chunks of queues come from.
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Returns memory of the pool that is no longer needed to the system, a little of it at intervals. Must be called in each turn.
    #[inline]
    pub(crate) fn trim(&mut self, now: Time) {
        if now >= self.next_trim {
            self.next_trim = now + TRIM_INTERVAL;
            self.pool.trim(TRIMMED);
        }
    }

    /// `timeout`, or less if there is memory to return.
    pub(crate) fn until_trim(&self, timeout: Option<Duration>) -> Option<Duration> {
        if timeout.is_some_and(|timeout| timeout <= TRIM_INTERVAL) || self.pool.is_trimmed() {
            return timeout;
        }
        Some(TRIM_INTERVAL)
    }

    /// Prefetches an entry.
    #[inline]
    pub(crate) fn prefetch(&self, index: u32) {
        prefetch::item(self.entries.as_ptr().wrapping_add(index as usize));
    }

    #[inline]
    pub(crate) fn get(&self, id: ConnId) -> Option<&Entry<E>> {
        let entry = self.entries.get(id.index as usize)?;
        (entry.generation == id.generation && entry.flags.any(flag::LIVE)).then_some(entry)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut Entry<E>> {
        let entry = self.entries.get_mut(id.index as usize)?;
        (entry.generation == id.generation && entry.flags.any(flag::LIVE)).then_some(entry)
    }

    /// The entry of a connection that is neither stale nor dead.
    #[inline]
    pub(crate) fn living(&mut self, id: ConnId) -> Option<&mut Entry<E>> {
        self.get_mut(id)
            .filter(|entry| !entry.flags.any(flag::DEAD))
    }

    /// The connection that has slot `index` now.
    pub(crate) fn id_at(&self, index: u32) -> Option<ConnId> {
        let entry = self.entries.get(index as usize)?;
        entry.flags.any(flag::LIVE).then_some(ConnId {
            index,
            generation: entry.generation,
        })
    }

    /// Whether a connection waits for a visit, a flush or the report of its end.
    pub(crate) fn has_work(&self) -> bool {
        self.has_more() || !self.dirty.is_empty() || self.has_unflushed()
    }

    /// Whether a connection waits for a visit or the report of its end.
    pub(crate) fn has_more(&self) -> bool {
        !self.ready.is_empty() || !self.ended.is_empty()
    }

    /// Whether a flush has left connections for the next one.
    pub(crate) fn has_unflushed(&self) -> bool {
        !self.fanned.is_empty()
    }

    pub(crate) fn flush_rounds(&self) -> u64 {
        self.rounds
    }

    /// Takes the next connection with shared payloads from the list.
    fn next_fanned(&mut self) -> Option<ConnId> {
        let id = self.fanned.pop_front()?;
        if let Some(entry) = self.get_mut(id) {
            entry.flags.clear(flag::FANNED);
        }
        self.round_left = self.round_left.saturating_sub(1);
        Some(id)
    }

    /// After a flush: ends the round if all connections of it were flushed, and begins the next one.
    fn end_round(&mut self) {
        if self.round_left == 0 {
            self.round_left = self.fanned.len();
            self.rounds += 1;
        }
    }

    /// Lists for a visit.
    #[inline]
    pub(crate) fn list(&mut self, id: ConnId) {
        if let Some(entry) = self.get_mut(id)
            && entry.flags.newly(flag::LISTED)
        {
            self.ready.push_back(id);
        }
    }

    /// Sets `flags` and marks for the next flush, unless the connection is dead.
    #[inline]
    pub(crate) fn mark_dirty(&mut self, id: ConnId, flags: u32) {
        let Some(entry) = self.living(id) else {
            return;
        };
        entry.flags.set(flags);
        if entry.flags.newly(flag::DIRTY) {
            self.dirty.push(id);
        }
    }

    /// Marks dead: nothing is sent or presented any more, and the driver receives the end with the next report. `None` if the
    /// connection was dead or stale already.
    pub(crate) fn mark_dead(&mut self, id: ConnId, why: Closed) -> Option<&mut Entry<E>> {
        let entry = self.living(id)?;
        entry.flags.set(flag::DEAD);
        if why == Closed::Aborted {
            entry.flags.set(flag::ABORT);
        }
        entry.flags.clear(flag::BLOCKED);
        self.free_queue(id.index as usize);
        self.ended.push_back((id, why));
        self.get_mut(id)
    }

    pub(crate) fn pause(&mut self, id: ConnId) {
        if let Some(entry) = self.living(id) {
            entry.flags.set(flag::PAUSED);
        }
    }

    pub(crate) fn resume(&mut self, id: ConnId) {
        let Some(entry) = self.living(id) else {
            return;
        };
        if !entry.flags.any(flag::PAUSED) {
            return;
        }
        entry.flags.clear(flag::PAUSED);
        if entry.flags.any(flag::LATER | flag::READABLE | flag::END) {
            self.list(id);
        }
    }
}
