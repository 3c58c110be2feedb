//! The stack of one lcore.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hioload_device::{Burst, Device};
use hioload_lcore::Time;

use crate::{ConnectError, Event, FlowId, FlowInfo, StackConfig, StackError, StackStats, Strays};

/// TCP of one lcore over one queue.
pub struct Stack<D: Device> {
    device: D,
    config: StackConfig,
    strays: Option<Strays>,
    now: Time,
    staged: Burst<D::Frame>,
    stats: StackStats,
}

impl<D: Device> Stack<D> {
    /// A stack without flows.
    ///
    /// # Errors
    /// If the configuration cannot be, or there is no memory.
    pub fn new(
        device: D,
        config: StackConfig,
        strays: Option<Strays>,
        now: Time,
    ) -> Result<Self, StackError> {
        Ok(Self {
            device,
            config,
            strays,
            now,
            staged: Burst::new(),
            stats: StackStats::default(),
        })
    }

    /// Sleeps until a frame may have come, a timer is due, the device's waker is used or `timeout` is over. Returns at once
    /// if something is left to do.
    ///
    /// # Errors
    /// What the device says.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.device.wait(timeout)
    }

    /// Begins a turn: takes frames from the device and from other lcores; returns how many.
    pub fn receive(&mut self, now: Time) -> usize {
        self.now = now;
        self.staged.clear();
        self.device.rx_burst(&mut self.staged)
    }

    /// What happened next, of the frames taken and the timers due; `None`: that was all of this turn.
    #[allow(clippy::should_implement_trait)] // Not an iterator: the stack is used between events.
    pub fn next(&mut self) -> Option<Event<D::Frame>> {
        self.staged.clear();
        None
    }

    /// Ends a turn: sends what flows have to send.
    pub fn transmit(&mut self) {
        let mut none = Burst::new();
        self.device.tx_burst(&mut none);
    }

    /// When a timer is due, if any is set.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        None
    }

    /// Opens a connection. The outcome is an event: `CONNECTED`, or `CLOSED` with an error.
    ///
    /// # Errors
    /// If it cannot even begin.
    pub fn connect(&mut self, _to: SocketAddr) -> Result<FlowId, ConnectError> {
        Err(ConnectError::AddrNotAvailable)
    }

    /// All bytes received and not consumed, contiguous.
    pub fn readable(&mut self, _id: FlowId) -> &mut [u8] {
        &mut []
    }

    /// Takes the first `n` bytes of those received.
    pub fn consume(&mut self, _id: FlowId, _n: usize) {}

    /// Bytes received and not consumed.
    #[must_use]
    pub fn received(&self, _id: FlowId) -> usize {
        0
    }

    /// Lends contiguous send space of at least `min(want, 256)` bytes, if there is so much. Write from the front, then
    /// [`commit`](Self::commit).
    pub fn send_space(&mut self, _id: FlowId, _want: usize) -> Option<&mut [u8]> {
        None
    }

    /// Queues the first `n` bytes of the space lent last.
    pub fn commit(&mut self, _id: FlowId, _n: usize) {}

    /// Queues as many of the bytes as fit; returns how many.
    pub fn send(&mut self, _id: FlowId, _bytes: &[u8]) -> usize {
        0
    }

    /// Bytes that can be queued now.
    #[must_use]
    pub fn send_room(&self, _id: FlowId) -> usize {
        0
    }

    /// Bytes queued and not yet acknowledged.
    #[must_use]
    pub fn send_queued(&self, _id: FlowId) -> usize {
        0
    }

    /// Ends the sending side after what is queued. Receiving goes on.
    pub fn finish(&mut self, _id: FlowId) {}

    /// Ends the sending side after what is queued, and lets the flow close on its own: the id is stale.
    pub fn release(&mut self, _id: FlowId) {}

    /// Resets the flow; the id is stale.
    pub fn abort(&mut self, _id: FlowId) {}

    /// The peer's end.
    #[must_use]
    pub fn peer(&self, _id: FlowId) -> Option<SocketAddr> {
        None
    }

    /// Our end.
    #[must_use]
    pub fn local(&self, _id: FlowId) -> Option<SocketAddr> {
        None
    }

    /// Whether the peer will send no more and all it sent is in the ring or consumed.
    #[must_use]
    pub fn ended(&self, _id: FlowId) -> bool {
        false
    }

    /// A flow as an operator sees it. Slow.
    #[must_use]
    pub fn info(&self, _id: FlowId) -> Option<FlowInfo> {
        None
    }

    /// All flows, orphans and half-open ones included.
    pub fn flows(&self) -> impl Iterator<Item = FlowId> {
        std::iter::empty()
    }

    /// Off: new connections are ignored, and their peers try again.
    pub fn set_accepting(&mut self, _on: bool) {}

    /// For good: new connections are refused.
    pub fn stop_listening(&mut self) {
        self.config.listen.clear();
    }

    /// The highest slot that a flow may ever have, and one.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.config.max_flows + self.config.half_open + self.config.orphans
    }

    /// The device.
    pub fn device(&mut self) -> &mut D {
        &mut self.device
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> StackStats {
        self.stats
    }

    /// The lcore it belongs to, of those connected by [`Strays`].
    #[must_use]
    pub fn lcore(&self) -> usize {
        self.strays.as_ref().map_or(0, Strays::index)
    }
}
