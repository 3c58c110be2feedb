//! Peers that make no progress: messages that do not arrive, and queued bytes that do not leave.
//!
//! Both limits count from the last progress that suffices, not from the last byte, so that a byte now and then extends nothing. Neither
//! costs anything for a message: the receiving side looks at its decoder after each pass over received bytes, and the sending side is
//! told when the network takes no more. The time is that of the session's timer, which fires for other reasons most of the time.

use std::time::Duration;

use hioload_transport::{ConnId, Connections};
use hioload_ws_proto::CloseCode;

use crate::app::App;
use crate::core::Core;
use crate::handler::{ClosedBy, Handler};
use crate::session::{Phase, SessionFlags, millis};

/// The reason of the Close for `message_timeout`.
const INCOMPLETE: &str = "message took too long";

impl<H: Handler> App<H> {
    /// After a pass over received bytes: whether a message, a frame or a header is unfinished.
    #[inline]
    pub(crate) fn note_unfinished(&mut self, id: ConnId) {
        let index = id.index as usize;
        let decoder = &self.decoders[index];
        // A message that is being inflated has arrived, and the turns are ours.
        if decoder.is_idle() || decoder.is_inflating() {
            self.core.sessions[index].clear(SessionFlags::UNFINISHED);
        } else {
            self.watch_message(id);
        }
    }

    /// Begins the time of the unfinished message, if it has not begun.
    #[cold]
    fn watch_message(&mut self, id: ConnId) {
        let index = id.index as usize;
        let decoder = &mut self.decoders[index];
        let core = &mut self.core;
        if core.sessions[index].phase != Phase::Open || decoder.since_mark().is_some() {
            return;
        }
        decoder.set_mark();
        let session = &mut core.sessions[index];
        session.set(SessionFlags::UNFINISHED);
        session.message_since = millis(core.now);
        let limit = core.tunables.limits.message_timeout;
        if !limit.is_zero() {
            core.watch(id.index, core.now + limit);
        }
    }

    /// At the timer of an open connection: closes it if a message has taken too long to arrive, or queued bytes to leave.
    pub(crate) fn closes_for_progress<C: Connections>(&mut self, io: &mut C, id: ConnId) -> bool {
        if self.message_took_too_long(id) {
            self.core.counters.message_timeouts.bump();
            self.begin_close(io, id, CloseCode::POLICY_VIOLATION, INCOMPLETE);
            self.core.linger(io, id);
            self.end(io, id, INCOMPLETE);
            return true;
        }
        if self.core.sending_took_too_long(io, id) {
            self.core.counters.send_timeouts.bump();
            self.core.set_closed_by(id.index, ClosedBy::Engine);
            self.core.abort_transport(io, id);
            self.end(io, id, "");
            return true;
        }
        false
    }

    fn message_took_too_long(&mut self, id: ConnId) -> bool {
        let index = id.index as usize;
        let core = &mut self.core;
        let session = &mut core.sessions[index];
        let (now, limits) = (core.now, &core.tunables.limits);
        if session.has(SessionFlags::PAUSED | SessionFlags::THROTTLED) {
            // It is not read, so the message cannot arrive.
            session.message_since = millis(now);
        }
        let limit = limits.message_timeout;
        if !session.is_over(SessionFlags::UNFINISHED, session.message_since, limit, now) {
            return false;
        }
        let decoder = &mut self.decoders[index];
        let arrived = decoder.since_mark().unwrap_or(0);
        if arrived < least(limits.message_min_rate, limit) {
            return true;
        }
        decoder.set_mark();
        session.message_since = millis(now);
        false
    }
}

impl<E: Send + 'static> Core<E> {
    /// The network has not taken everything that a connection has queued: begins the time in which it has to leave.
    pub(crate) fn note_blocked<C: Connections>(&mut self, io: &mut C, id: ConnId) {
        let since = millis(self.now);
        let Some(session) = self.session(id) else {
            return;
        };
        session.set(SessionFlags::BLOCKED);
        session.blocked_since = since;
        let phase = session.phase;
        io.set_mark(id, self.tunables.limits.send_queue);
        let limit = self.tunables.limits.send_timeout;
        if phase == Phase::Open && !limit.is_zero() {
            self.watch(id.index, self.now + limit);
        }
    }

    fn sending_took_too_long<C: Connections>(&mut self, io: &mut C, id: ConnId) -> bool {
        let session = &mut self.sessions[id.index as usize];
        let (now, limits) = (self.now, &self.tunables.limits);
        let limit = limits.send_timeout;
        if !session.is_over(SessionFlags::BLOCKED, session.blocked_since, limit, now) {
            return false;
        }
        if io.before_mark(id) > 0 {
            return true;
        }
        io.set_mark(id, limits.send_queue);
        session.blocked_since = millis(now);
        false
    }
}

/// The bytes that have to arrive in `period` at `rate` bytes per second; at a rate of 0 no number suffices.
fn least(rate: usize, period: Duration) -> usize {
    if rate == 0 {
        return usize::MAX;
    }
    let bytes = (rate as u128).saturating_mul(period.as_millis()) / 1000;
    usize::try_from(bytes).unwrap_or(usize::MAX).max(1)
}
