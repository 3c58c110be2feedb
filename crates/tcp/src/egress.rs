//! Sending, and the timers of flows.

use std::io;
use std::time::Duration;

use hioload_device::Device;
use hioload_lcore::Time;
use smoltcp::socket::tcp::State;

use crate::endings::Ending;
use crate::event::Event;
use crate::flow_flags::FlowFlags;
use crate::parse::flags;
use crate::port::{Lent, Sent};
use crate::sockets::tcp_mut;
use crate::stack::{Stack, instant};

/// The most segments of one flow in one poll: a burst. The rest is sent in the next turn.
const SEGMENTS: usize = 64;

/// The shortest retransmission timeout of smoltcp, in milliseconds. No other timer of it is shorter.
const SHORTEST: u32 = 1000;

impl<D: Device> Stack<D> {
    /// Adds a flow to the list of those that are polled before the end of the turn.
    #[inline]
    pub(crate) fn touch(&mut self, slot: u32) {
        let hot = self.flows.hot_mut(slot);
        hot.set_resting(false);
        if !hot.is(FlowFlags::TOUCHED) {
            hot.set(FlowFlags::TOUCHED);
            self.touched.push(slot);
        }
    }

    /// Sends the segments of a touched flow. Returns whether it has to stay on the list.
    #[inline]
    pub(crate) fn send_touched(&mut self, slot: u32) -> bool {
        if !self.flows.hot(slot).is(FlowFlags::TOUCHED) {
            // The flow has left the slot.
            return false;
        }
        if self.flows.hot(slot).is(FlowFlags::ENDED) {
            // A poll could make smoltcp drop the bytes that are still to be read.
            self.flows.hot_mut(slot).clear(FlowFlags::TOUCHED);
            return false;
        }
        let (_, more) = self.egress(slot);
        if !more {
            self.flows.hot_mut(slot).clear(FlowFlags::TOUCHED);
            if !self.port.next_hop.is_unresolved() {
                self.set_timer(slot);
            }
        }
        more
    }

    /// Sends the segments that a flow may send now. Returns the first one, and whether others are left.
    pub(crate) fn egress(&mut self, slot: u32) -> (Option<Sent>, bool) {
        self.port.next_hop = self.flows.next_hop(slot);
        if self.port.next_hop.is_unresolved() {
            // The flow is touched again when its neighbour is resolved.
            return (None, false);
        }
        self.port.starved = false;
        let mut first = None;
        let now = instant(self.now);
        let interface = &mut self.interfaces[self.flows.hot(slot).class()];
        for _ in 0..SEGMENTS {
            // smoltcp loses a fast retransmission for which there is no frame.
            if !self.port.reserve() {
                return (first, true);
            }
            self.port.last = None;
            let mut lent = Lent {
                port: &mut self.port,
                packet: None,
                mtu: 0,
            };
            let left = self.flows.sockets.with_set(slot, |set| {
                interface.poll_egress(now, &mut lent, set);
                let sent = lent.port.last?;
                let socket = tcp_mut(set)?;
                Some((
                    sent,
                    is_more_likely(sent, socket.send_queue(), socket.state()),
                ))
            });
            let Some((sent, more)) = left.flatten() else {
                return (first, self.port.starved);
            };
            self.flows.hot_mut(slot).losses.expected = sent.ack;
            first = first.or(Some(sent));
            if !more {
                return (first, false);
            }
        }
        (first, true)
    }

    /// The time at which smoltcp wants the flow to be polled.
    fn poll_at(&mut self, slot: u32) -> Option<Time> {
        let now = instant(self.now);
        let interface = &mut self.interfaces[self.flows.hot(slot).class()];
        let at = self
            .flows
            .sockets
            .with_set(slot, |set| interface.poll_at(now, set));
        at.flatten()
            .map(|at| Time::from_nanos(at.total_micros().max(0) as u64 * 1000))
    }

    /// Sets the flow's timer, if it needs one. Usually a timer is set that fires before any other could be due; then there is
    /// nothing to do.
    #[inline]
    pub(crate) fn set_timer(&mut self, slot: u32) {
        let queued = self
            .flows
            .sockets
            .with(slot, |socket| socket.send_queue())
            .unwrap_or(0);
        let probe_timeout = self.flows.hot(slot).losses.probe_timeout(queued);
        let earliest =
            probe_timeout.map_or(SHORTEST, |probe_timeout| probe_timeout.as_millis() as u32);
        if self
            .flows
            .armed(slot, self.now)
            .is_some_and(|left| left <= earliest)
        {
            return;
        }
        match (self.deadline(slot), probe_timeout) {
            (Some(at), Some(probe_timeout)) => self.arm(slot, at.min(self.now + probe_timeout)),
            (Some(at), None) => self.arm(slot, at),
            (None, _) => self.flows.hot_mut(slot).set_resting(true),
        }
    }

    /// The same, after the timer is set again that smoltcp loses when the peer's window is zero.
    #[inline]
    fn deadline(&mut self, slot: u32) -> Option<Time> {
        let at = self.poll_at(slot);
        if at.is_some() || !self.flows.hot(slot).is(FlowFlags::ZERO_WINDOW) {
            return at;
        }
        if self.unstick(slot) {
            self.poll_at(slot)
        } else {
            // Spread over time, so that not the same few flows pass the rate limit each time.
            Some(self.now + Duration::from_millis((SHORTEST + slot % 1024).into()))
        }
    }

    /// Sets the timer for `at`, or for the end of the user timeout if that is earlier.
    fn arm(&mut self, slot: u32, at: Time) {
        let hot = self.flows.hot(slot);
        let mut at = at.max(self.now + Duration::from_millis(1));
        if hot.is(FlowFlags::QUIET) {
            let silent = self.quiet_for(hot.quiet);
            at = at.min(self.now + self.config.user_timeout.saturating_sub(silent));
        }
        self.flows.arm(slot, at, self.now);
    }

    /// The unit of [`crate::flows::Hot::quiet`].
    fn quiet_unit(&self) -> u64 {
        (self.config.user_timeout.as_millis() as u64 / 64).max(1)
    }

    /// The time since a flow became quiet, rounded down.
    fn quiet_for(&self, since: u8) -> Duration {
        let unit = self.quiet_unit();
        let now = (self.now.as_millis() / unit) as u8;
        Duration::from_millis(u64::from(now.wrapping_sub(since)) * unit)
    }

    /// Handles the timer of a flow.
    pub(crate) fn on_timer(&mut self, slot: u32) -> Option<Event<D::Frame>> {
        let hot = *self.flows.hot(slot);
        if !hot.is(FlowFlags::USED) || hot.is(FlowFlags::ENDED) {
            return None;
        }
        if hot.is_resting() {
            self.flows
                .hot_mut(slot)
                .clear(FlowFlags::HEARD | FlowFlags::QUIET);
            return None;
        }
        let at = self.deadline(slot)?;
        let hot = *self.flows.hot(slot);
        if hot.is(FlowFlags::HEARD) {
            self.flows
                .hot_mut(slot)
                .clear(FlowFlags::HEARD | FlowFlags::QUIET);
        } else if hot.is(FlowFlags::QUIET) && self.quiet_for(hot.quiet) >= self.config.user_timeout
        {
            self.stats.timeouts += 1;
            return self.fail(slot, io::ErrorKind::TimedOut);
        }
        if at <= self.now {
            if !self.flows.hot(slot).is(FlowFlags::QUIET) {
                let unit = self.quiet_unit();
                let now = (self.now.as_millis() / unit) as u8;
                let hot = self.flows.hot_mut(slot);
                hot.set(FlowFlags::QUIET);
                hot.quiet = now;
            }
            if hot.is(FlowFlags::CONNECTING) {
                self.refresh_next_hop(slot);
            }
            let queued = self.flows.sockets.with(slot, |socket| socket.send_queue());
            let (sent, more) = self.egress(slot);
            // A probe of a zero window, and a keep-alive, is one byte.
            let again = sent.is_some_and(|sent| {
                sent.payload > 1
                    || sent.flags & (flags::SYN | flags::FIN) != 0
                    || sent.payload == 1 && queued == Some(1)
            });
            if again {
                self.count_retransmit(slot);
            }
            if more {
                self.touch(slot);
                return None;
            }
        }
        let probed = if at > self.now {
            self.probe(slot)
        } else {
            None
        };
        if let Some(at) = self.deadline(slot) {
            self.arm(slot, probed.map_or(at, |probed| at.min(probed)));
        }
        None
    }

    pub(crate) fn count_retransmit(&mut self, slot: u32) {
        self.stats.retransmits += 1;
        self.flows.hot_mut(slot).count_retransmit();
    }

    /// Fails a flow: resets it, and reports the error to its user.
    pub(crate) fn fail(&mut self, slot: u32, kind: io::ErrorKind) -> Option<Event<D::Frame>> {
        let tuple = self.flows.tuple(slot)?;
        let id = self.flows.id(slot);
        self.send_rst(slot);
        let flags = self.end(slot, &tuple, Ending::Failed(kind));
        (!flags.is_empty()).then_some(Event {
            flow: id,
            flags,
            error: Some(kind),
            payload: None,
        })
    }
}

/// Whether there may be more to send after `sent`. `true` may be wrong, at the cost of a poll; `false` is never wrong.
#[inline]
fn is_more_likely(sent: Sent, queued: usize, state: State) -> bool {
    let fin_wanted = matches!(state, State::FinWait1 | State::Closing | State::LastAck);
    if fin_wanted {
        return sent.flags & flags::FIN == 0;
    }
    queued != 0 && sent.payload != queued
}
