//! The operations of a flow's user.

use std::net::SocketAddr;

use hioload_device::Device;
use smoltcp::socket::tcp::State;

use crate::event::FlowId;
use crate::flow_flags::FlowFlags;
use crate::ingress::has_ended;
use crate::stack::Stack;

/// The least contiguous send space that is lent, if the ring has room for it.
const PIECE: usize = 256;

impl<D: Device> Stack<D> {
    /// All bytes received and not consumed, contiguous. The user may modify only bytes that it consumes afterwards.
    pub fn readable(&mut self, id: FlowId) -> &mut [u8] {
        let Some(slot) = self.flows.owned(id) else {
            return &mut [];
        };
        let received = self.received(id);
        let scratch = &mut self.rx_scratch;
        if self.flows.sockets.readable(slot).len() < received {
            let len = self
                .flows
                .sockets
                .with_mut(slot, |socket| socket.peek_slice(scratch).unwrap_or(0));
            return &mut scratch[..len.unwrap_or(0)];
        }
        self.flows.sockets.readable(slot)
    }

    /// Consumes the first `n` received bytes.
    pub fn consume(&mut self, id: FlowId, n: usize) {
        let Some(slot) = self.flows.owned(id) else {
            return;
        };
        let taken = self.flows.sockets.with_mut(slot, |socket| {
            let mut taken = 0;
            while taken < n {
                // Two rounds if the ring wraps.
                let got = socket.recv(|bytes| {
                    let len = bytes.len().min(n - taken);
                    (len, len)
                });
                match got {
                    Ok(1..) => taken += got.unwrap_or(0),
                    _ => break,
                }
            }
            taken
        });
        let taken = taken.unwrap_or(0);
        if taken == 0 {
            return;
        }
        let in_place = match &mut self.in_place {
            Some((flow, left)) if *flow == id => {
                let in_place = taken.min(*left);
                *left -= in_place;
                in_place
            }
            _ => 0,
        };
        self.stats.rx_bytes_in_place += in_place as u64;
        self.stats.rx_bytes_from_ring += (taken - in_place) as u64;
        // The window may have to be announced.
        self.touch(slot);
        self.closes_when_empty(slot);
    }

    /// The number of bytes received and not consumed.
    #[must_use]
    pub fn received(&self, id: FlowId) -> usize {
        self.with_socket(id, |socket| socket.recv_queue())
            .unwrap_or(0)
    }

    /// Lends contiguous send space of at least `min(want, 256)` bytes; `None` if the ring has not that much room. The user writes
    /// from the front, and then calls [`commit`](Self::commit).
    pub fn send_space(&mut self, id: FlowId, want: usize) -> Option<&mut [u8]> {
        let slot = self.flows.owned(id)?;
        if self.flows.hot(slot).closes_when_sent() {
            return None;
        }
        let least = want.clamp(1, PIECE);
        let room = self.send_room(id);
        if room < least {
            return None;
        }
        self.lent_scratch = None;
        if self.flows.sockets.send_space(slot).len() < least {
            // The space wraps at the end of the ring.
            self.lent_scratch = Some(id);
            return self.tx_scratch.get_mut(..room);
        }
        let space = self.flows.sockets.send_space(slot);
        let len = space.len().min(room);
        Some(&mut space[..len])
    }

    /// Queues the first `n` bytes of the space lent last.
    pub fn commit(&mut self, id: FlowId, n: usize) {
        let Some(slot) = self.flows.owned(id) else {
            return;
        };
        if self.flows.hot(slot).closes_when_sent() {
            return;
        }
        let scratch = (self.lent_scratch.take() == Some(id)).then_some(&self.tx_scratch);
        self.flows.sockets.with_mut(slot, |socket| match scratch {
            Some(scratch) => {
                let _ = socket.send_slice(scratch.get(..n).unwrap_or_default());
            }
            None => {
                let _ = socket.send(|bytes| (n.min(bytes.len()), ()));
            }
        });
        self.queued(slot);
    }

    /// Queues the first bytes, as many as fit, and returns their number.
    pub fn send(&mut self, id: FlowId, bytes: &[u8]) -> usize {
        let Some(slot) = self.flows.owned(id) else {
            return 0;
        };
        if self.flows.hot(slot).closes_when_sent() {
            return 0;
        }
        let admitted = self.admitted_room(slot, self.config.tx_ring);
        let offered = &bytes[..bytes.len().min(admitted)];
        let sent = self
            .flows
            .sockets
            .with_mut(slot, |socket| socket.send_slice(offered).unwrap_or(0));
        self.queued(slot);
        if offered.is_empty() && !bytes.is_empty() {
            self.starves(id);
        }
        sent.unwrap_or(0)
    }

    /// Accounts for queued bytes.
    #[inline]
    fn queued(&mut self, slot: u32) {
        let queued = self.flows.sockets.with(slot, |socket| socket.send_queue());
        let next = self.flows.sockets.tx_next(slot);
        let hot = self.flows.hot_mut(slot);
        hot.set(FlowFlags::ACTIVE);
        let (end, queued) = (next.unwrap_or(0), queued.unwrap_or(0));
        let pages = self.ring_reclaim.tx_pages(hot.tx_pages, end, queued);
        self.ring_reclaim.grown(u64::from(pages - hot.tx_pages));
        hot.tx_pages = pages;
        self.touch(slot);
    }

    /// The number of bytes that can be queued now: the ring has room, and [`StackConfig::ring_memory`] memory for it.
    ///
    /// [`StackConfig::ring_memory`]: crate::StackConfig::ring_memory
    #[must_use]
    pub fn send_room(&self, id: FlowId) -> usize {
        let closes = |slot| self.flows.hot(slot).closes_when_sent();
        if self.flows.owned(id).is_some_and(closes) {
            return 0;
        }
        let room = self.with_socket(id, |socket| {
            if socket.may_send() {
                socket.send_capacity() - socket.send_queue()
            } else {
                0
            }
        });
        match (self.flows.owned(id), room) {
            (Some(slot), Some(room @ 1..)) => self.admitted_room(slot, room),
            _ => 0,
        }
    }

    /// The number of bytes queued and not yet acknowledged.
    #[must_use]
    pub fn send_queued(&self, id: FlowId) -> usize {
        self.with_socket(id, |socket| socket.send_queue())
            .unwrap_or(0)
    }

    /// Ends the sending side after the queued bytes. Receiving continues. A flow that is not established yet is reset.
    pub fn finish(&mut self, id: FlowId) {
        let Some(slot) = self.flows.owned(id) else {
            return;
        };
        if self.flows.hot(slot).is(FlowFlags::CONNECTING) {
            self.reset(slot);
            return;
        }
        self.close(slot);
        self.touch(slot);
    }

    /// Ends the sending side after the queued bytes, and lets the flow close without its user: the id becomes stale. Bytes that
    /// are received from now on are discarded. A flow that has not closed after [`StackConfig::linger`] is reset.
    ///
    /// [`StackConfig::linger`]: crate::StackConfig::linger
    pub fn release(&mut self, id: FlowId) {
        if let Some(slot) = self.flows.owned(id) {
            self.orphan(slot);
        }
    }

    /// Resets the flow. The id becomes stale.
    pub fn abort(&mut self, id: FlowId) {
        if let Some(slot) = self.flows.owned(id) {
            self.reset(slot);
        }
    }

    /// The endpoint of the peer.
    #[must_use]
    pub fn peer(&self, id: FlowId) -> Option<SocketAddr> {
        let slot = self.flows.current(id)?;
        self.flows.tuple(slot).map(|tuple| tuple.remote())
    }

    /// Our endpoint.
    #[must_use]
    pub fn local(&self, id: FlowId) -> Option<SocketAddr> {
        let slot = self.flows.current(id)?;
        self.flows.tuple(slot).map(|tuple| tuple.local())
    }

    /// Whether the peer has ended its side. All bytes that it has sent are in the ring or consumed.
    #[must_use]
    pub fn ended(&self, id: FlowId) -> bool {
        self.with_socket(id, |socket| {
            has_ended(socket.state()) || socket.state() == State::Closed
        })
        .unwrap_or(false)
    }

    /// From now on, a flow that both sides have finished keeps its user until it is released or aborted: `CLOSED` comes only with
    /// an error.
    pub fn hold_finished(&mut self) {
        self.holds_finished = true;
    }

    /// The flow in slot `index`, including orphans and half-open flows.
    #[must_use]
    pub fn flow_at(&self, index: u32) -> Option<FlowId> {
        self.flows.at(index)
    }

    /// All flows, including orphans and half-open flows.
    pub fn flows(&self) -> impl Iterator<Item = FlowId> {
        self.flows.used().map(|slot| self.flows.id(slot))
    }

    #[inline]
    fn with_socket<R>(
        &self,
        id: FlowId,
        f: impl for<'a> FnOnce(&smoltcp::socket::tcp::Socket<'a>) -> R,
    ) -> Option<R> {
        let slot = self.flows.owned(id)?;
        self.flows.sockets.with(slot, f)
    }
}
