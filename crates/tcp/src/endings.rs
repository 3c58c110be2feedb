//! How flows end, and who gives their slots back.

use std::io;

use hioload_device::Device;
use smoltcp::socket::tcp::State;

use crate::event::{Event, EventFlags, FlowId};
use crate::flow_flags::FlowFlags;
use crate::port::Lent;
use crate::stack::{Stack, instant};
use crate::tuple::Tuple;

/// Flows given up, or looked at, in one turn because their time is up.
pub(crate) const EXPIRED: usize = 256;

/// How TCP came to be done with a flow.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    /// Both sides finished, the peer first.
    Done,
    /// Both sides finished, we first. The numbers after both FINs.
    TimeWait((u32, u32)),
    /// It failed.
    Failed(io::ErrorKind),
}

impl<D: Device> Stack<D> {
    /// TCP is done with a flow. What its user is to be told; a flow without one is gone.
    pub(crate) fn end(&mut self, slot: u32, tuple: &Tuple, ending: Ending) -> EventFlags {
        if let Ending::TimeWait(numbers) = ending {
            // The peer's FIN may want its acknowledgement.
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
        // smoltcp forgets the ends of some; the user may still ask.
        self.flows.remember(slot, *tuple);
        self.flows.hot_mut(slot).set(FlowFlags::ENDED);
        self.flows.disarm(slot);
        if (received.unwrap_or(0) > 0 || self.holds_finished) && !failed {
            // Its user hears of it when the last byte has been consumed, or knows best when it is done with it.
            return EventFlags::empty();
        }
        self.closed = Some(self.flows.id(slot));
        EventFlags::CLOSED
    }

    /// After consuming: a flow that is over, and empty now, is to be closed.
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

    /// The next flow that was over and has been emptied.
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

    /// What an event has lent is over with the next call.
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

    /// Gives a slot back. `listed`: under which name it is in the table, if its socket does not know it any more.
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

    /// Sends an RST, if the peer can know of the flow.
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

    /// Resets a flow and gives its slot back.
    pub(crate) fn reset(&mut self, slot: u32) {
        let tuple = self.flows.tuple(slot);
        let named = tuple.as_ref().map(|tuple| (self.flows.hash(tuple), tuple));
        self.send_rst(slot);
        self.forget(slot, named);
    }

    /// Nobody wants what an orphan receives; it is taken, so that the peer can finish.
    pub(crate) fn discard_received(&mut self, slot: u32) {
        self.flows.sockets.with_mut(slot, |socket| {
            while socket.recv_queue() > 0 {
                if socket.recv(|bytes| (bytes.len(), ())).is_err() {
                    break;
                }
            }
        });
    }

    /// A flow loses its user and closes on its own.
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

    /// Ends the oldest orphan, if its time is up by `by`; whether there was an entry to look at.
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
            // All of ours has arrived: what the peer still has to say is not waited for any longer.
            Some((State::FinWait2, _)) => self.forget(slot, None),
            // Slow, but it goes on: a peer that answers and takes nothing is not waited for.
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

    /// What ends because its time is up.
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
