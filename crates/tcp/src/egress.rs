//! What flows have to send, and their timers.

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

/// Segments of one flow in one go: a burst. The rest has its turn with the others'.
const SEGMENTS: usize = 64;

/// No timer of smoltcp's is set for less than its smallest retransmission timeout, in milliseconds.
const SHORTEST: u32 = 1000;

impl<D: Device> Stack<D> {
    /// Puts a flow on the list of those looked at before the end of the turn.
    #[inline]
    pub(crate) fn touch(&mut self, slot: u32) {
        let hot = self.flows.hot_mut(slot);
        hot.set_resting(false);
        if !hot.is(FlowFlags::TOUCHED) {
            hot.set(FlowFlags::TOUCHED);
            self.touched.push(slot);
        }
    }

    /// Sends what a touched flow has to send. Whether it has to stay on the list.
    #[inline]
    pub(crate) fn send_touched(&mut self, slot: u32) -> bool {
        if !self.flows.hot(slot).is(FlowFlags::TOUCHED) {
            // It has gone meanwhile.
            return false;
        }
        if self.flows.hot(slot).is(FlowFlags::ENDED) {
            // smoltcp would in time forget what is still to be read.
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

    /// Sends what a flow may send now: the first segment sent, and whether it could not send all.
    pub(crate) fn egress(&mut self, slot: u32) -> (Option<Sent>, bool) {
        self.port.next_hop = self.flows.next_hop(slot);
        if self.port.next_hop.is_unresolved() {
            // It is touched again when its neighbour is known.
            return (None, false);
        }
        self.port.starved = false;
        let mut first = None;
        let now = instant(self.now);
        let interface = &mut self.interfaces[self.flows.hot(slot).class()];
        for _ in 0..SEGMENTS {
            // smoltcp forgets a fast retransmission for which there is no frame.
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

    /// When smoltcp wants to look at a flow, if ever.
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

    /// Sets the flow's timer, if it needs one. As a rule one is set that fires in time for any that could have been set
    /// since: then there is nothing to do.
    #[inline]
    pub(crate) fn set_timer(&mut self, slot: u32) {
        let queued = self
            .flows
            .sockets
            .with(slot, |socket| socket.send_queue())
            .unwrap_or(0);
        let probe_timeout = self.flows.hot(slot).losses.probe_timeout(queued);
        let soon = probe_timeout.map_or(SHORTEST, |probe_timeout| probe_timeout.as_millis() as u32);
        if self
            .flows
            .armed(slot, self.now)
            .is_some_and(|left| left <= soon)
        {
            return;
        }
        match (self.deadline(slot), probe_timeout) {
            (Some(at), Some(probe_timeout)) => self.arm(slot, at.min(self.now + probe_timeout)),
            (Some(at), None) => self.arm(slot, at),
            (None, _) => self.flows.hot_mut(slot).set_resting(true),
        }
    }

    /// When smoltcp wants to look at a flow, which it has to if something cannot be sent for want of a window.
    #[inline]
    fn deadline(&mut self, slot: u32) -> Option<Time> {
        let at = self.poll_at(slot);
        if at.is_some() || !self.flows.hot(slot).is(FlowFlags::ZERO_WINDOW) {
            return at;
        }
        if self.unstick(slot) {
            self.poll_at(slot)
        } else {
            // Not all at once, or the same few would be helped each time.
            Some(self.now + Duration::from_millis((SHORTEST + slot % 1024).into()))
        }
    }

    /// Sets the timer for `at`, or for when the peer will have been silent too long.
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

    /// How long ago a quiet flow became quiet, rounded down.
    fn quiet_for(&self, since: u8) -> Duration {
        let unit = self.quiet_unit();
        let now = (self.now.as_millis() / unit) as u8;
        Duration::from_millis(u64::from(now.wrapping_sub(since)) * unit)
    }

    /// The timer of a flow has fired.
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
            // A probe of a closed window, or of a silent peer, is one byte.
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

    /// A flow is given up.
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

/// Whether there may be something to send after `sent`. A wrong yes costs time; a no is certain.
#[inline]
fn is_more_likely(sent: Sent, queued: usize, state: State) -> bool {
    let fin_wanted = matches!(state, State::FinWait1 | State::Closing | State::LastAck);
    if fin_wanted {
        return sent.flags & flags::FIN == 0;
    }
    queued != 0 && sent.payload != queued
}
