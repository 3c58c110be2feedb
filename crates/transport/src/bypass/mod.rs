//! The transport over our own TCP: a connection is a flow of a [`Stack`], on the frames of one device queue.
//!
//! ```text
//! wait      the device's, cut short by the stack's timers
//! dispatch  one burst: segments lent to the driver in their frames, what came out of order from the ring   receive.rs
//! flush     queues into the rings; finish, close, report the closed; one transmit for all                  flush.rs
//! ```
//!
//! A reply is written straight into the flow's send ring. Only while the ring has no room for what is to be sent does a
//! connection have a send queue, of chunks of the lcore's pool and shared payloads; a flush moves it into the ring as the
//! peer acknowledges. So "handed to the network" means: in the ring, and flushed. Received bytes are read where the device
//! put them, if the segment was the next one and nothing waited before it; else from the ring, where TCP has put them in
//! order. What the driver leaves stays in the ring and keeps the peer's window closed by as much.
//!
//! A burst is at most 64 frames, and each gives one event at most. A turn's budget should have room for a burst
//! ([`Features::burst`](crate::Features::burst)): an event beyond it is served in a later turn, from the ring.
//!
//! The slot of a flow stays taken until the driver was told of its end: a connection that is closed or aborted is
//! released to the stack by the report, so no new flow can have its number before.

use std::collections::VecDeque;

use hioload_device::{BURST, Device};
use hioload_lcore::Time;
use hioload_mem::Pool;
use hioload_tcp::Stack;

use crate::send_queue::SendQueue;
use crate::slots::flag;
use crate::{Closed, ConnId, Driver, Features, SendError, TransportStats, Waker};

mod conns;
mod flush;
mod receive;
mod transport;

use conns::{Conn, Conns, flow_of};

/// Sizes of one lcore's [`Bypass`]; those of the flows are the stack's.
#[derive(Clone, Copy, Debug)]
pub struct BypassOptions {
    /// Bytes lent to the driver for the first time in one call, at most.
    pub rx_buffer: usize,
    /// The most bytes queued for one connection that the network has not taken.
    pub send_queue: usize,
    /// Established flows that may wait until the driver accepts them; beyond, new ones are not answered.
    pub backlog: usize,
}

impl Default for BypassOptions {
    fn default() -> Self {
        Self {
            rx_buffer: 64 << 10,
            send_queue: 1 << 20,
            backlog: 4096,
        }
    }
}

/// The transport over flows.
pub struct Bypass<D: Device> {
    stack: Stack<D>,
    conns: Conns,
    pool: Pool,
    options: BypassOptions,
    features: Features,
    waker: Waker,
    /// Where bytes are lent that do not lie in a frame.
    scratch: Vec<u8>,
    /// Connections to visit, in the order in which they became ready.
    ready: VecDeque<ConnId>,
    /// Those of this turn that have more: behind all that become ready in it.
    again: Vec<ConnId>,
    /// Established flows the driver has not been told of.
    waiting: VecDeque<ConnId>,
    /// Connections to flush.
    dirty: Vec<ConnId>,
    /// Connections whose end the driver has not heard of.
    ended: VecDeque<ConnId>,
    /// Whose send space was lent last, and how much, if it was the ring's.
    lent: Option<(ConnId, usize)>,
    accepting: bool,
    listening: bool,
    /// Whether the stack takes new connections: not while too many wait.
    backlog_open: bool,
    stats: TransportStats,
    /// When the device is asked again what it counted: that may be a system call.
    device_asked: Time,
}

impl<D: Device> Bypass<D> {
    /// A transport over the flows of `stack`; queues of connections whose ring is full are made of chunks of `pool`.
    pub fn over(mut stack: Stack<D>, options: BypassOptions, pool: Pool) -> Self {
        let capabilities = stack.device().capabilities();
        let features = Features {
            name: capabilities.name,
            can_block: capabilities.can_block,
            burst: 2 * BURST,
            max_connections: stack.capacity(),
        };
        // The slot of a flow is its connection's until the driver is done with it.
        stack.hold_finished();
        let waker = Waker(stack.device().waker());
        Self {
            conns: Conns::new(stack.capacity()),
            stack,
            pool,
            options: BypassOptions {
                rx_buffer: options.rx_buffer.max(1),
                backlog: options.backlog.max(1),
                ..options
            },
            features,
            waker,
            scratch: Vec::new(),
            ready: VecDeque::with_capacity(1024),
            again: Vec::with_capacity(BURST),
            waiting: VecDeque::new(),
            dirty: Vec::with_capacity(1024),
            ended: VecDeque::new(),
            lent: None,
            accepting: true,
            listening: true,
            backlog_open: true,
            stats: TransportStats::default(),
            device_asked: Time::ZERO,
        }
    }

    /// The stack below.
    pub fn stack(&mut self) -> &mut Stack<D> {
        &mut self.stack
    }

    /// The pool that queues are made of.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    fn may_accept(&self) -> bool {
        self.accepting && !self.waiting.is_empty()
    }

    fn has_work(&self) -> bool {
        !self.ready.is_empty()
            || !self.ended.is_empty()
            || !self.dirty.is_empty()
            || self.may_accept()
    }

    fn list(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id)
            && conn.flags.newly(flag::LISTED)
        {
            self.ready.push_back(id);
        }
    }

    /// Marks for the next flush, unless the connection is gone.
    fn mark_dirty(&mut self, id: ConnId, flags: u32) {
        let Some(conn) = self.conns.living(id) else {
            return;
        };
        conn.flags.set(flags);
        if conn.flags.newly(flag::DIRTY) {
            self.dirty.push(id);
        }
    }

    /// Ends a connection, of which the driver is told later; until then its flow keeps its number.
    fn bury(&mut self, id: ConnId, flags: u32) {
        let Some(conn) = self.conns.living(id) else {
            return;
        };
        conn.flags.set(flag::DEAD | flags);
        conn.flags.clear(flag::BLOCKED);
        self.conns.drop_queue(id);
        self.ended.push_back(id);
    }

    /// Tells the driver of connections that have ended; those that end meanwhile have their turn later.
    fn report<Dr: Driver>(&mut self, driver: &mut Dr) -> usize {
        let mut calls = 0;
        for _ in 0..self.ended.len() {
            let Some(id) = self.ended.pop_front() else {
                break;
            };
            calls += usize::from(self.tell_ended(driver, id));
        }
        calls
    }

    /// Tells the driver of the end of a connection that [`bury`](Self::bury) ended, and lets its flow go.
    fn tell_ended<Dr: Driver>(&mut self, driver: &mut Dr, id: ConnId) -> bool {
        let Some(conn) = self.conns.get(id) else {
            return false;
        };
        let flags = conn.flags;
        if flags.any(flag::CONNECTING) {
            self.conns.free(id);
            self.stack.abort(flow_of(id));
            driver.on_connect(self, id, Err(std::io::ErrorKind::ConnectionAborted.into()));
            return true;
        }
        let abort = flags.any(flag::ABORT);
        let why = if abort {
            Closed::Aborted
        } else {
            Closed::Flushed
        };
        driver.on_closed(self, id, why);
        self.conns.free(id);
        if abort {
            self.stack.abort(flow_of(id));
        } else {
            self.stack.release(flow_of(id));
        }
        true
    }

    /// The connection, if it may be written to.
    #[inline]
    fn sendable(&self, id: ConnId) -> Option<&Conn> {
        let gone = flag::DEAD | flag::FINISH | flag::CLOSE;
        self.conns.get(id).filter(|conn| !conn.flags.any(gone))
    }

    /// `n` bytes have been written into the ring of a connection without a queue.
    #[inline]
    fn staged(&mut self, id: ConnId, n: usize) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.stage(n);
            if conn.flags.newly(flag::DIRTY) {
                self.dirty.push(id);
            }
        }
    }

    /// The connection's queue, made if there is none, and what its methods need; marks it for the next flush, unless it is
    /// blocked: then it is flushed when the peer has acknowledged something.
    fn queue(&mut self, id: ConnId) -> Result<(&mut SendQueue, &Pool, usize), SendError> {
        let conn = self.conns.get_mut(id).ok_or(SendError::Closed)?;
        if !conn.flags.any(flag::BLOCKED) && conn.flags.newly(flag::DIRTY) {
            self.dirty.push(id);
        }
        let queued = self.conns.queue_or_new(id).ok_or(SendError::Closed)?;
        let bound = self.options.send_queue.saturating_sub(queued.staged);
        Ok((&mut queued.queue, &self.pool, bound))
    }
}
