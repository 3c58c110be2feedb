//! The transport over our own TCP: a connection is a flow of a [`Stack`], on the frames of one device queue.
//!
//! ```text
//! wait      the device's, cut short by the stack's timers
//! dispatch  one burst: segments lent to the driver in their frames, the rest from the ring                receive.rs
//! flush     queues into the rings; finish, close, report the closed; one transmit for all                  flush.rs
//! ```
//!
//! A reply is written straight into the flow's send ring. Only while the ring has no room for what is to be sent does a
//! connection have a send queue, of chunks of the lcore's pool and shared payloads; a flush moves it into the ring as the
//! peer acknowledges. So "handed to the network" means: in the ring, and flushed. Received bytes are read where the device
//! put them, if the segment was the next one and nothing waited before it; else from the ring, where TCP has put them in
//! order. Bytes that the driver leaves stay in the ring and reduce the peer's window.
//!
//! A burst is at most 64 frames, and each gives one event at most. A turn's budget should have room for a burst
//! ([`Features::burst`](crate::Features::burst)): an event beyond it is served in a later turn, from the ring.
//!
//! A connection has the slot of its flow. A connection that is closed or aborted is released to the stack only after the
//! driver has received `on_closed`, so no new flow can have its number before.

use std::collections::VecDeque;

use hioload_device::{BURST, Device, DeviceStats};
use hioload_lcore::Time;
use hioload_mem::Pool;
use hioload_tcp::{FlowId, Stack};

use crate::setters::setters;
use crate::table::{Owner, Table, flag};
use crate::{Closed, ConnId, Driver, Features, TransportStats, Waker};

mod flows;
mod flush;
mod receive;
mod transport;

/// Sizes of one lcore's [`Bypass`]; those of the flows are the stack's. All fields have defaults, and can be assigned or set.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct BypassOptions {
    /// Bytes lent to the driver for the first time in one call, at most.
    pub rx_buffer: usize,
    /// The most bytes queued for one connection that the network has not taken.
    pub send_queue: usize,
    /// Established flows that may wait until the driver accepts them. While this number waits, a SYN is not answered.
    pub backlog: usize,
}

impl BypassOptions {
    setters! {
        rx_buffer: usize,
        send_queue: usize,
        backlog: usize,
    }
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
    table: Table<Unconsumed>,
    options: BypassOptions,
    features: Features,
    waker: Waker,
    /// The buffer for lent bytes that are not in a frame.
    scratch: Vec<u8>,
    /// Connections of this turn that have more bytes to read. They follow those that become ready in it.
    again: Vec<ConnId>,
    /// Established flows that the driver has not accepted.
    accept_queue: VecDeque<ConnId>,
    /// The connection whose ring lent the latest send space, and its size.
    lent: Option<(ConnId, usize)>,
    accepting: bool,
    listening: bool,
    /// Whether the stack takes new connections: not while the accept queue is full.
    backlog_open: bool,
    stats: TransportStats,
    /// The device's counters, read at most ten times a second.
    device_stats: DeviceStats,
    /// When the device's counters are read again: that may be a system call.
    next_device_stats: Time,
}

/// The addition to a connection's entry: the number of received bytes that the driver was lent and did not consume.
type Unconsumed = u32;

fn flow_of(id: ConnId) -> FlowId {
    FlowId {
        index: id.index,
        generation: id.generation,
    }
}

fn conn_of(flow: FlowId) -> ConnId {
    ConnId {
        index: flow.index,
        generation: flow.generation,
    }
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
        // A connection keeps the slot of its flow until the driver has received the end.
        stack.hold_finished();
        let waker = Waker(stack.device().waker());
        Self {
            table: Table::new(
                hioload_mem::room_for(stack.capacity()),
                pool,
                options.send_queue,
            ),
            stack,
            options: BypassOptions {
                rx_buffer: options.rx_buffer.max(1),
                backlog: options.backlog.max(1),
                ..options
            },
            features,
            waker,
            scratch: Vec::new(),
            again: Vec::with_capacity(BURST),
            accept_queue: VecDeque::new(),
            lent: None,
            accepting: true,
            listening: true,
            backlog_open: true,
            stats: TransportStats::default(),
            device_stats: DeviceStats::default(),
            next_device_stats: Time::ZERO,
        }
    }

    /// The device's counters, read at most ten times a second.
    pub fn device_stats(&self) -> &DeviceStats {
        &self.device_stats
    }

    /// The stack below.
    pub fn stack(&mut self) -> &mut Stack<D> {
        &mut self.stack
    }

    /// The pool that chunks of queues come from.
    pub fn pool(&self) -> &Pool {
        self.table.pool()
    }

    fn may_accept(&self) -> bool {
        self.accepting && !self.accept_queue.is_empty()
    }

    fn has_work(&self) -> bool {
        self.table.has_work() || self.may_accept()
    }
}

impl<D: Device> Owner for Bypass<D> {
    type Own = Unconsumed;

    fn table(&mut self) -> &mut Table<Unconsumed> {
        &mut self.table
    }

    fn release(&mut self, id: ConnId, why: Closed) {
        let connecting = self
            .table
            .get(id)
            .is_some_and(|entry| entry.flags.any(flag::CONNECTING));
        self.table.close(id);
        if connecting || why == Closed::Aborted {
            self.stack.abort(flow_of(id));
        } else {
            self.stack.release(flow_of(id));
        }
    }

    fn flush_one<Dr: Driver>(&mut self, driver: &mut Dr, id: ConnId) {
        self.hand_over(driver, id);
    }
}
