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

use hioload_mem::{LocalShared, Pool};

use crate::send_queue::{SendQueue, room_when_empty};
use crate::slots::{Held, Slot, Slots, flag};
use crate::{
    Activity, Budget, Closed, ConnId, Driver, Endpoint, Features, Peer, SendError, Transport,
    TransportStats, Waker,
};

mod flush;
mod network;
mod receive;

pub use network::{Accepted, Event, Network, Ready};

/// How long accepting rests after it failed for want of descriptors or memory, unless a connection closes before.
const ACCEPT_REST: Duration = Duration::from_millis(100);
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

/// A [`Transport`] over a [`Network`].
pub struct Streams<N: Network> {
    pub(crate) net: N,
    pub(crate) slots: Slots<N::Stream>,
    pool: Pool,
    rx: Vec<u8>,
    /// Bytes a connection may have queued.
    bound: usize,
    /// Connections to visit, in the order in which they became ready.
    ready: VecDeque<ConnId>,
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

    /// The pool that send chunks come from.
    pub fn pool(&self) -> &Pool {
        &self.pool
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

    /// Polls, and turns edges into flags and list entries. No slot is freed between the two, so an event can never meet
    /// a later user of its slot.
    fn poll(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let Self {
            net,
            slots,
            ready: list,
            dirty,
            accepting,
            ..
        } = self;
        net.poll(timeout, |event| match event {
            Event::Backlog => accepting.backlog = true,
            Event::Stream(index, ready) => {
                if let Some((id, slot)) = slots.at_mut(index) {
                    note(id, slot, ready, list, dirty);
                }
            }
        })
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
    fn report<D: Driver<Self>>(&mut self, driver: &mut D) -> usize {
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

    /// The connection's queue, made if there is none, and what its methods need; marks it for the next flush.
    fn queue(&mut self, id: ConnId) -> Result<(&mut SendQueue, &Pool, usize), SendError> {
        let slot = self.slots.get_mut(id).ok_or(SendError::Closed)?;
        if slot.flags.any(flag::DEAD | flag::FINISH | flag::CLOSE) {
            return Err(SendError::Closed);
        }
        if slot.flags.newly(flag::DIRTY) {
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

impl<N: Network> Transport for Streams<N> {
    fn features(&self) -> Features {
        Features {
            name: self.net.name(),
            can_block: self.net.can_block(),
            max_connections: self.slots.max(),
        }
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = self.bounded_timeout(timeout);
        if timeout != Some(Duration::ZERO) {
            self.stats.sleeps += 1;
        }
        self.poll(timeout)
    }

    fn dispatch<D: Driver<Self>>(&mut self, driver: &mut D, budget: Budget) -> Activity {
        let mut activity = Activity::default();
        if N::POLL_IN_DISPATCH {
            // Such a network only looks at its own memory.
            let _ = self.poll(Some(Duration::ZERO));
        }
        activity.events += self.report(driver);
        self.accept_waiting(driver, budget.accepts, &mut activity);
        for _ in 0..self.ready.len().min(budget.events) {
            let Some(id) = self.ready.pop_front() else {
                break;
            };
            self.visit(driver, id, &mut activity);
        }
        activity.events += self.report(driver);
        activity.more = !self.ready.is_empty() || !self.ended.is_empty() || self.may_accept();
        self.stats.bytes_in += activity.bytes_in as u64;
        activity
    }

    fn flush<D: Driver<Self>>(&mut self, driver: &mut D) {
        self.net.begin_flush();
        let mut at = 0;
        // What `on_writable` queues is appended, and sent in this flush too.
        while let Some(&id) = self.dirty.get(at) {
            at += 1;
            self.flush_one(driver, id);
        }
        self.dirty.clear();
        self.report(driver);
    }

    fn connect(&mut self, to: &Endpoint) -> io::Result<ConnId> {
        if self.slots.is_full() {
            return Err(io::Error::new(
                io::ErrorKind::QuotaExceeded,
                "all connections in use",
            ));
        }
        let mut stream = self.net.connect(to)?;
        let peer = match to {
            Endpoint::Tcp(addr) => Peer::Ip(*addr),
            Endpoint::Unix(_) => Peer::Unix,
        };
        let flags = flag::CONNECTING | flag::WANT_WRITE;
        let Some(id) = self.slots.take(None, peer, flags) else {
            return Err(io::ErrorKind::QuotaExceeded.into());
        };
        if let Err(error) = self.net.attach(&mut stream, id, true) {
            self.release(id);
            return Err(error);
        }
        if let Some(slot) = self.slots.get_mut(id) {
            slot.stream = Some(stream);
        }
        Ok(id)
    }

    fn set_accepting(&mut self, on: bool) {
        if on && !self.accepting.on {
            // Edges seen meanwhile are not remembered for each listener.
            self.net.recheck_backlog();
            self.accepting.backlog = true;
        }
        self.accepting.on = on;
    }

    fn stop_listening(&mut self) {
        self.net.stop_listening();
        self.accepting.on = false;
    }

    fn send_space(&mut self, id: ConnId, want: usize) -> Result<&mut [u8], SendError> {
        let (queue, pool, bound) = self.queue(id)?;
        queue.space(pool, want, bound)
    }

    fn commit(&mut self, id: ConnId, n: usize) {
        if let Some(queue) = self.slots.get_mut(id).and_then(|slot| slot.send.as_mut()) {
            queue.commit(n);
        }
    }

    fn send_room(&self, id: ConnId) -> usize {
        match self.slots.get(id) {
            Some(slot) if !slot.flags.any(flag::DEAD | flag::FINISH | flag::CLOSE) => {
                match &slot.send {
                    Some(queue) => queue.room(&self.pool, self.bound),
                    None => room_when_empty(&self.pool, self.bound),
                }
            }
            _ => 0,
        }
    }

    fn send_shared(
        &mut self,
        id: ConnId,
        payload: LocalShared,
        droppable: bool,
    ) -> Result<(), SendError> {
        let (queue, pool, bound) = self.queue(id)?;
        queue.push_shared(pool, payload, droppable, bound)
    }

    fn drop_oldest(&mut self, id: ConnId) -> Option<usize> {
        self.slots.get_mut(id)?.send.as_mut()?.drop_oldest()
    }

    fn queued(&self, id: ConnId) -> usize {
        let queue = self.slots.get(id).and_then(|slot| slot.send.as_ref());
        queue.map_or(0, |queue| queue.len())
    }

    fn is_blocked(&self, id: ConnId) -> bool {
        self.slots
            .get(id)
            .is_some_and(|slot| slot.flags.any(flag::BLOCKED))
    }

    fn pause(&mut self, id: ConnId) {
        if let Some(slot) = self.living(id) {
            slot.flags.set(flag::PAUSED);
        }
    }

    fn resume(&mut self, id: ConnId) {
        let Some(slot) = self.living(id) else { return };
        if !slot.flags.any(flag::PAUSED) {
            return;
        }
        slot.flags.clear(flag::PAUSED);
        if slot.flags.any(flag::LATER | flag::READABLE | flag::END) {
            self.list(id);
        }
    }

    fn finish(&mut self, id: ConnId) {
        self.mark_dirty(id, flag::FINISH);
    }

    fn close(&mut self, id: ConnId) {
        self.mark_dirty(id, flag::CLOSE);
        if let Some(held) = self.living(id).map(|slot| slot.held.take()) {
            self.recycle_held(held);
        }
    }

    fn abort(&mut self, id: ConnId) {
        self.bury(id, Closed::Aborted);
    }

    fn peer(&self, id: ConnId) -> Option<Peer> {
        self.slots.get(id).map(Slot::peer)
    }

    fn waker(&self) -> Waker {
        self.net.waker()
    }

    fn stats(&self) -> TransportStats {
        self.stats
    }
}
