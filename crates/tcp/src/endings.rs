//! The ends of flows, and when their slots are freed.

use std::io;

use hioload_device::Device;
use smoltcp::socket::tcp::State;

use crate::event::{Event, EventFlags, FlowId};
use crate::flow_flags::FlowFlags;
use crate::port::Lent;
use crate::stack::{Stack, instant};
use crate::tuple::Tuple;

/// The most expired entries of a list that are handled in one turn.
pub(crate) const EXPIRED: usize = 256;

/// How a flow has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    /// Both sides have finished, the peer first.
    Done,
    /// Both sides have finished, we first. The sequence numbers are those after both FINs.
    TimeWait((u32, u32)),
    /// The flow has failed.
    Failed(io::ErrorKind),
}

impl<D: Device> Stack<D> {
    /// Handles the end of TCP in a flow. Returns the flags for its user. A flow without a user is freed.
    pub(crate) fn end(&mut self, slot: u32, tuple: &Tuple, ending: Ending) -> EventFlags {
        if let Ending::TimeWait(numbers) = ending {
            // The peer's FIN may have to be acknowledged.
            self.egress(slot);
            self.enter_time_wait(slot, tuple, numbers);
        }
        let hash = self.flows.hash(tuple);
        self.flows.unlist(slot, hash);
        if !self.flows.hot(slot).is(FlowFlags::OWNED) {
            self.forget(slot, None);
            return EventFlags::empty();
        }
        let received = self.flows.sockets.with(slot, |socket| socket.recv_queue());
        let failed = matches!(ending, Ending::Failed(_));
        // smoltcp forgets the ends of a closed socket, and the user may still ask for them.
        self.flows.remember(slot, *tuple);
        self.flows.hot_mut(slot).set(FlowFlags::ENDED);
        self.flows.disarm(slot);
        if (received.unwrap_or(0) > 0 || self.holds_finished) && !failed {
            // The event comes when the last byte has been consumed, or the user frees the flow itself.
            return EventFlags::empty();
        }
        self.closed = Some(self.flows.id(slot));
        EventFlags::CLOSED
    }

    /// After bytes were consumed: closes a flow that has ended and is now empty.
    pub(crate) fn closes_when_empty(&mut self, slot: u32) {
        if !self.holds_finished
            && self.flows.hot(slot).is(FlowFlags::ENDED)
            && self.flows.sockets.with(slot, |socket| socket.recv_queue()) == Some(0)
        {
            let id = self.flows.id(slot);
            if self.closed != Some(id) && self.drained.back() != Some(&id) {
                self.drained.push_back(id);
            }
        }
    }

    /// The event of the next ended flow whose bytes have all been consumed.
    pub(crate) fn next_drained(&mut self) -> Option<Event<D::Frame>> {
        while let Some(id) = self.drained.pop_front() {
            if self.flows.owned(id).is_some() {
                self.closed = Some(id);
                return Some(Event {
                    flow: id,
                    flags: EventFlags::CLOSED,
                    error: None,
                    payload: None,
                });
            }
        }
        None
    }

    /// Ends the loans of the last event, and frees the flow that it has closed.
    #[inline]
    pub(crate) fn end_loans(&mut self) {
        self.in_place = None;
        self.lent_scratch = None;
        if let Some(id) = self.closed.take()
            && let Some(slot) = self.flows.owned(id)
        {
            self.forget(slot, None);
        }
    }

    /// Frees a slot. `listed` has the hash and the ends with which it is in the flow table, if the socket has forgotten them.
    pub(crate) fn forget(&mut self, slot: u32, listed: Option<(u32, &Tuple)>) {
        let hot = *self.flows.hot(slot);
        if hot.is(FlowFlags::LISTED) {
            let hash = listed.map(|(hash, _)| hash).or_else(|| {
                let tuple = self.flows.tuple(slot)?;
                Some(self.flows.hash(&tuple))
            });
            if let Some(hash) = hash {
                self.flows.unlist(slot, hash);
            }
        }
        if hot.is(FlowFlags::OWNED) {
            self.owned -= 1;
        }
        if hot.is(FlowFlags::HALF_OPEN) {
            self.half_open.left();
        }
        if hot.is(FlowFlags::ORPHAN) {
            self.orphans.left();
        }
        if hot.class() != 0 {
            self.lowered.left();
        }
        self.flows.put(slot);
    }

    /// Aborts the socket, and sends an RST if the peer can know of the flow.
    pub(crate) fn send_rst(&mut self, slot: u32) {
        let now = instant(self.now);
        let silent = self.flows.sockets.with_mut(slot, |socket| {
            let silent = matches!(
                socket.state(),
                State::Closed | State::Listen | State::SynSent | State::TimeWait
            );
            if !silent {
                socket.abort();
            }
            silent
        });
        if silent != Some(false) {
            return;
        }
        self.port.next_hop = self.flows.next_hop(slot);
        if self.port.next_hop.is_unresolved() {
            return;
        }
        let interface = &mut self.interfaces[self.flows.hot(slot).class()];
        let mut lent = Lent {
            port: &mut self.port,
            packet: None,
            mtu: 0,
        };
        self.flows.sockets.with_set(slot, |set| {
            interface.poll_egress(now, &mut lent, set);
        });
    }

    /// Resets a flow and frees its slot.
    pub(crate) fn reset(&mut self, slot: u32) {
        let tuple = self.flows.tuple(slot);
        let named = tuple.as_ref().map(|tuple| (self.flows.hash(tuple), tuple));
        self.send_rst(slot);
        self.forget(slot, named);
    }

    /// Discards the bytes that an orphan has received, so that the window stays open and the peer can finish.
    pub(crate) fn discard_received(&mut self, slot: u32) {
        self.flows.sockets.with_mut(slot, |socket| {
            while socket.recv_queue() > 0 {
                if socket.recv(|bytes| (bytes.len(), ())).is_err() {
                    break;
                }
            }
        });
    }

    /// Releases a flow from its user and closes it.
    pub(crate) fn orphan(&mut self, slot: u32) {
        self.flows
            .hot_mut(slot)
            .clear(FlowFlags::OWNED | FlowFlags::CONNECTING);
        self.owned -= 1;
        self.flows.rename(slot);
        self.discard_received(slot);
        self.close(slot);
        let state = self.flows.sockets.with(slot, |socket| socket.state());
        if matches!(state, None | Some(State::Closed | State::TimeWait)) {
            self.forget(slot, None);
            return;
        }
        while self.orphans.is_full() && self.expire_orphan(hioload_lcore::Time::MAX) {}
        self.flows.hot_mut(slot).set(FlowFlags::ORPHAN);
        self.push_orphan(slot);
        self.touch(slot);
    }

    fn push_orphan(&mut self, slot: u32) {
        let id = self.flows.id(slot);
        let flows = &self.flows;
        let queued = flows.sockets.with(slot, |socket| socket.send_queue());
        let until = self.now + self.config.linger;
        self.orphans
            .push_with(id, until, queued.unwrap_or(0) as u32, |id| {
                let live = flows
                    .current(id)
                    .map(|slot| flows.hot(slot).is(FlowFlags::ORPHAN));
                live == Some(true)
            });
    }

    /// Handles the oldest orphan, if its deadline is at most `by`. Returns whether there was such an entry.
    fn expire_orphan(&mut self, by: hioload_lcore::Time) -> bool {
        let Some((id, before)) = self.orphans.pop_with(by) else {
            return false;
        };
        let Some(slot) = self.current_orphan(id) else {
            return true;
        };
        let view = self
            .flows
            .sockets
            .with(slot, |socket| (socket.state(), socket.send_queue()));
        match view {
            // All of our bytes and our FIN have arrived. The peer had its time to finish.
            Some((State::FinWait2, _)) => self.forget(slot, None),
            // The peer has acknowledged something since the last check. A peer that acknowledges nothing is reset.
            Some((_, queued @ 1..)) if by == self.now && (queued as u32) < before => {
                self.orphans.left();
                self.push_orphan(slot);
            }
            _ => {
                self.stats.orphans_reset += 1;
                self.reset(slot);
            }
        }
        true
    }

    fn current_orphan(&self, id: FlowId) -> Option<u32> {
        let slot = self.flows.current(id)?;
        self.flows.hot(slot).is(FlowFlags::ORPHAN).then_some(slot)
    }

    /// Handles all that has expired: half-open flows, orphans, TIME_WAIT.
    pub(crate) fn expire(&mut self) {
        self.expire_half_open();
        for _ in 0..EXPIRED {
            if !self.expire_orphan(self.now) {
                break;
            }
        }
        for _ in 0..EXPIRED {
            let Some(id) = self.time_wait.pop(self.now) else {
                break;
            };
            self.flows.next_hops.release(id);
        }
    }
}
