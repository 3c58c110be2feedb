//! A transport over any readiness-based network: the part that sockets and the fake share.
//!
//! ```text
//! wait      poll -> edges become flags of slots; readable connections are listed
//! dispatch  accept; visit the listed: one receive into the lcore's buffer, lent to the driver in place    receive.rs
//! flush     one gathered send per connection that has something queued; finish, close; report the closed  flush.rs
//! ```
//!
//! A connection in the table is a slot of 56 bytes. A send queue and a buffer for bytes that the driver left exist only
//! while they hold something, and are recycled, so that steady traffic allocates nothing.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use hioload_mem::Pool;

use crate::send_queue::SendQueue;
use crate::slots::{Held, Slot, Slots, flag};
use crate::{Closed, ConnId, Driver, SendError, TransportStats};

mod flush;
mod network;
mod receive;
mod transport;

pub use network::{Accepted, Event, Network, Ready};

/// How long accepting rests after it failed for want of descriptors or memory, unless a connection closes before.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// Connections visited between two polls while others are listed: what a poll finds would only be listed behind them.
const UNPOLLED: usize = 64;
/// Queues and buffers kept for reuse.
const SPARE_QUEUES: usize = 16384;
const SPARE_HELD: usize = 1024;
/// The largest buffer of held bytes that is kept for reuse.
const SPARE_HELD_BYTES: usize = 128 << 10;

/// How a connection ended, until the driver is told.
enum Ended {
    Closed(Closed),
    Connect(io::Error),
}

/// What is known of the listeners' backlogs.
struct Accepting {
    on: bool,
    /// Connections may be waiting.
    backlog: bool,
    /// Rest until then.
    rest_until: Option<Instant>,
    /// That the table is full has been counted.
    full_counted: bool,
}

/// A [`Transport`](crate::Transport) over a [`Network`].
pub struct Streams<N: Network> {
    pub(crate) net: N,
    pub(crate) slots: Slots<N::Stream>,
    pool: Pool,
    rx: Vec<u8>,
    /// Bytes a connection may have queued.
    bound: usize,
    /// Connections to visit, in the order in which they became ready.
    ready: VecDeque<ConnId>,
    /// Connections visited since the last poll.
    unpolled: usize,
    /// Connections to flush.
    dirty: Vec<ConnId>,
    /// Connections whose end the driver has not heard of.
    ended: VecDeque<(ConnId, Ended)>,
    accepting: Accepting,
    // The boxes are what is recycled.
    #[allow(clippy::vec_box)]
    spare_queues: Vec<Box<SendQueue>>,
    #[allow(clippy::vec_box)]
    spare_held: Vec<Box<Held>>,
    stats: TransportStats,
}

impl<N: Network> Streams<N> {
    /// The pool that send chunks come from.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// A transport over `net`: `rx_buffer` bytes are received at most in one call, `send_queue` bytes are queued at most
    /// for each connection, in chunks of `pool`.
    pub fn over(
        net: N,
        max_connections: usize,
        rx_buffer: usize,
        send_queue: usize,
        pool: Pool,
    ) -> Self {
        Self {
            net,
            slots: Slots::new(max_connections),
            pool,
            rx: vec![0; rx_buffer.max(1)],
            bound: send_queue,
            ready: VecDeque::with_capacity(1024),
            unpolled: 0,
            dirty: Vec::with_capacity(1024),
            ended: VecDeque::new(),
            accepting: Accepting {
                on: true,
                backlog: true,
                rest_until: None,
                full_counted: false,
            },
            spare_queues: Vec::new(),
            spare_held: Vec::new(),
            stats: TransportStats::default(),
        }
    }

    /// Whether an accept may be tried now.
    fn may_accept(&self) -> bool {
        let full = self.slots.is_full() && !N::CHOOSES_SLOTS;
        self.accepting.on
            && self.accepting.backlog
            && !full
            && self
                .accepting
                .rest_until
                .is_none_or(|until| until <= Instant::now())
    }

    fn has_work(&self) -> bool {
        !self.ready.is_empty()
            || !self.ended.is_empty()
            || !self.dirty.is_empty()
            || self.may_accept()
    }

    /// `timeout`, or less if accepting has to be tried again before.
    fn bounded_timeout(&self, timeout: Option<Duration>) -> Option<Duration> {
        if self.has_work() {
            return Some(Duration::ZERO);
        }
        let rest = self
            .accepting
            .rest_until
            .filter(|_| self.accepting.on && self.accepting.backlog)
            .map(|until| until.saturating_duration_since(Instant::now()));
        match (timeout, rest) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Turns edges into flags and list entries: those of a poll (`Some`), or those known without one. No slot is freed
    /// between the two, so an event can never meet a later user of its slot.
    fn take_edges(&mut self, poll: Option<Option<Duration>>) -> io::Result<()> {
        let Self {
            net,
            slots,
            ready: list,
            dirty,
            accepting,
            ..
        } = self;
        let sink = |event| match event {
            Event::Backlog => accepting.backlog = true,
            Event::Stream(index, ready) => {
                if let Some((id, slot)) = slots.at_mut(index) {
                    note(id, slot, ready, list, dirty);
                }
            }
        };
        match poll {
            Some(timeout) => net.poll(timeout, sink),
            None => {
                net.known(sink);
                Ok(())
            }
        }
    }

    fn list(&mut self, id: ConnId) {
        if let Some(slot) = self.slots.get_mut(id)
            && slot.flags.newly(flag::LISTED)
        {
            self.ready.push_back(id);
        }
    }

    /// The slot of a connection that is neither stale nor dead.
    fn living(&mut self, id: ConnId) -> Option<&mut Slot<N::Stream>> {
        self.slots
            .get_mut(id)
            .filter(|slot| !slot.flags.any(flag::DEAD))
    }

    /// Marks for the next flush, unless the connection is gone.
    fn mark_dirty(&mut self, id: ConnId, flags: u32) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        if slot.flags.any(flag::DEAD) {
            return;
        }
        slot.flags.set(flags);
        if slot.flags.newly(flag::DIRTY) {
            self.dirty.push(id);
        }
    }

    /// Takes the stream from a connection and leaves the rest of the slot for the driver to be told.
    fn bury(&mut self, id: ConnId, why: Closed) {
        let Some(slot) = self.living(id) else { return };
        let connecting = slot.flags.any(flag::CONNECTING);
        slot.flags.set(flag::DEAD);
        slot.flags.clear(flag::BLOCKED | flag::WANT_WRITE);
        let (stream, send, held) = (slot.stream.take(), slot.send.take(), slot.held.take());
        self.recycle_queue(send);
        self.recycle_held(held);
        match (stream, why) {
            (Some(stream), Closed::Aborted) => self.net.reset(stream),
            (Some(stream), _) => self.net.close(stream),
            (None, _) => {}
        }
        let ended = match why {
            Closed::Failed(kind) if connecting => Ended::Connect(kind.into()),
            _ if connecting => Ended::Connect(io::ErrorKind::ConnectionAborted.into()),
            why => Ended::Closed(why),
        };
        self.ended.push_back((id, ended));
    }

    /// Frees a slot; what else it held is given back.
    fn release(&mut self, id: ConnId) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        let (send, held) = (slot.send.take(), slot.held.take());
        self.slots.release(id);
        self.recycle_queue(send);
        self.recycle_held(held);
        self.accepting.rest_until = None;
        self.accepting.full_counted = false;
    }

    /// Tells the driver of connections that have ended; those that end meanwhile have their turn later.
    fn report<D: Driver>(&mut self, driver: &mut D) -> usize {
        let mut calls = 0;
        for _ in 0..self.ended.len() {
            let Some((id, ended)) = self.ended.pop_front() else {
                break;
            };
            if self.slots.get(id).is_none() {
                continue;
            }
            calls += 1;
            match ended {
                Ended::Closed(why) => {
                    driver.on_closed(self, id, why);
                    self.release(id);
                }
                Ended::Connect(error) => {
                    self.release(id);
                    driver.on_connect(self, id, Err(error));
                }
            }
        }
        calls
    }

    fn recycle_queue(&mut self, queue: Option<Box<SendQueue>>) {
        if let Some(mut queue) = queue
            && self.spare_queues.len() < SPARE_QUEUES
        {
            queue.clear();
            self.spare_queues.push(queue);
        }
    }

    fn recycle_held(&mut self, held: Option<Box<Held>>) {
        if let Some(mut held) = held
            && self.spare_held.len() < SPARE_HELD
            && held.capacity() <= SPARE_HELD_BYTES
        {
            held.clear();
            self.spare_held.push(held);
        }
    }

    /// The connection's queue, made if there is none, and what its methods need; marks it for the next flush, unless it is
    /// blocked: then the network says when to try again, and trying before would be a system call in vain for each turn.
    fn queue(&mut self, id: ConnId) -> Result<(&mut SendQueue, &Pool, usize), SendError> {
        let slot = self.slots.get_mut(id).ok_or(SendError::Closed)?;
        if slot.flags.any(flag::DEAD | flag::FINISH | flag::CLOSE) {
            return Err(SendError::Closed);
        }
        if !slot.flags.any(flag::BLOCKED) && slot.flags.newly(flag::DIRTY) {
            self.dirty.push(id);
        }
        let queue = slot
            .send
            .get_or_insert_with(|| self.spare_queues.pop().unwrap_or_default());
        Ok((queue, &self.pool, self.bound))
    }
}

/// Records an edge.
fn note<S>(
    id: ConnId,
    slot: &mut Slot<S>,
    ready: Ready,
    list: &mut VecDeque<ConnId>,
    dirty: &mut Vec<ConnId>,
) {
    let flags = &mut slot.flags;
    if flags.any(flag::DEAD) {
        return;
    }
    if ready.readable || ready.read_closed || ready.error {
        flags.set(flag::READABLE);
    }
    if ready.read_closed {
        flags.set(flag::READ_CLOSED);
    }
    if ready.error {
        flags.set(flag::ERROR);
    }
    if ready.writable && flags.any(flag::BLOCKED) && flags.newly(flag::DIRTY) {
        dirty.push(id);
    }
    let receives = flags.any(flag::READABLE) && !flags.any(flag::PAUSED | flag::CLOSE | flag::END);
    let visit = receives || flags.any(flag::CONNECTING | flag::ERROR);
    if visit && flags.newly(flag::LISTED) {
        list.push_back(id);
    }
}
