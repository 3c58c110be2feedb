//! What the user of a flow does with it.

use std::net::SocketAddr;

use hioload_device::Device;
use smoltcp::socket::tcp::State;

use crate::event::FlowId;
use crate::flow_flags::FlowFlags;
use crate::ingress::has_ended;
use crate::stack::Stack;

/// Send space that is lent in one piece at least, if there is so much.
const PIECE: usize = 256;

impl<D: Device> Stack<D> {
    /// All bytes received and not consumed, contiguous. What is not consumed must not have been modified.
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

    /// Takes the first `n` bytes of those received.
    pub fn consume(&mut self, id: FlowId, n: usize) {
        let Some(slot) = self.flows.owned(id) else {
            return;
        };
        let taken = self.flows.sockets.with_mut(slot, |socket| {
            let mut taken = 0;
            while taken < n {
                // Twice if the ring wraps.
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
        // The peer may have to hear of the room.
        self.touch(slot);
        self.closes_when_empty(slot);
    }

    /// Bytes received and not consumed.
    #[must_use]
    pub fn received(&self, id: FlowId) -> usize {
        self.with_socket(id, |socket| socket.recv_queue())
            .unwrap_or(0)
    }

    /// Lends contiguous send space of at least `min(want, 256)` bytes, if there is so much. Write from the front, then
    /// [`commit`](Self::commit).
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
            // At the end of the ring.
            self.lent_scratch = Some(id);
            return self.tx_scratch.get_mut(..room);
        }
        Some(self.flows.sockets.send_space(slot))
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

    /// Queues as many of the bytes as fit; returns how many.
    pub fn send(&mut self, id: FlowId, bytes: &[u8]) -> usize {
        let Some(slot) = self.flows.owned(id) else {
            return 0;
        };
        if self.flows.hot(slot).closes_when_sent() {
            return 0;
        }
        let sent = self
            .flows
            .sockets
            .with_mut(slot, |socket| socket.send_slice(bytes).unwrap_or(0));
        self.queued(slot);
        sent.unwrap_or(0)
    }

    /// Something was queued.
    #[inline]
    fn queued(&mut self, slot: u32) {
        let queued = self.flows.sockets.with(slot, |socket| socket.send_queue());
        let hot = self.flows.hot_mut(slot);
        hot.set(FlowFlags::ACTIVE);
        let pages = self
            .ring_reclaim
            .tx_pages(hot.tx_pages, queued.unwrap_or(0));
        self.ring_reclaim.grown(u64::from(pages - hot.tx_pages));
        hot.tx_pages = pages;
        self.touch(slot);
    }

    /// Bytes that can be queued now.
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
        room.unwrap_or(0)
    }

    /// Bytes queued and not yet acknowledged.
    #[must_use]
    pub fn send_queued(&self, id: FlowId) -> usize {
        self.with_socket(id, |socket| socket.send_queue())
            .unwrap_or(0)
    }

    /// Ends the sending side after what is queued. Receiving goes on. A flow that is not established yet is reset.
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

    /// Ends the sending side after what is queued, and lets the flow close on its own: the id is stale. What is received
    /// from now on is taken and thrown away. A flow that does not come to its end within [`StackConfig::linger`] is reset.
    ///
    /// [`StackConfig::linger`]: crate::StackConfig::linger
    pub fn release(&mut self, id: FlowId) {
        if let Some(slot) = self.flows.owned(id) {
            self.orphan(slot);
        }
    }

    /// Resets the flow; the id is stale.
    pub fn abort(&mut self, id: FlowId) {
        if let Some(slot) = self.flows.owned(id) {
            self.reset(slot);
        }
    }

    /// The peer's end.
    #[must_use]
    pub fn peer(&self, id: FlowId) -> Option<SocketAddr> {
        let slot = self.flows.current(id)?;
        self.flows.tuple(slot).map(|tuple| tuple.remote())
    }

    /// Our end.
    #[must_use]
    pub fn local(&self, id: FlowId) -> Option<SocketAddr> {
        let slot = self.flows.current(id)?;
        self.flows.tuple(slot).map(|tuple| tuple.local())
    }

    /// Whether the peer will send no more and all it sent is in the ring or consumed.
    #[must_use]
    pub fn ended(&self, id: FlowId) -> bool {
        self.with_socket(id, |socket| {
            has_ended(socket.state()) || socket.state() == State::Closed
        })
        .unwrap_or(false)
    }

    /// From now on a flow that both sides have finished stays its user's until it is released or aborted: there is no `CLOSED`
    /// without an error.
    pub fn hold_finished(&mut self) {
        self.holds_finished = true;
    }

    /// The flow that has slot `index` now, orphans and half-open ones included.
    #[must_use]
    pub fn flow_at(&self, index: u32) -> Option<FlowId> {
        self.flows.at(index)
    }

    /// All flows, orphans and half-open ones included.
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
