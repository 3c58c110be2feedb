//! Time: the deadlines of sessions, the application's timers, the accept rate.

use std::time::Duration;

use hioload_transport::{ConnId, Connections};
use hioload_ws_proto::{CloseCode, OpCode};

use crate::app::App;
use crate::core::{Core, TIMER_OF_USER};
use crate::handler::Handler;
use crate::session::{Phase, SessionFlags, millis};
use crate::work::cost;

/// Timers handled in one turn: what they send, pings and Close frames, is sent in it as well.
const TIMERS_PER_TURN: usize = 128;

impl<H: Handler> App<H> {
    /// Handles the timers that are due, as many as the turn has time for. The others stay due.
    pub(crate) fn run_timers<C: Connections>(&mut self, io: &mut C) {
        for _ in 0..TIMERS_PER_TURN {
            if self.core.work.is_exhausted() {
                return;
            }
            let Some(key) = self.core.wheel.poll(self.core.now) else {
                return;
            };
            if key & TIMER_OF_USER == 0 {
                self.core.sessions[key as usize].timer = None;
                let id = self.core.id_of(key);
                self.on_session_timer(io, id);
            } else {
                self.on_user_timer(io, key & !TIMER_OF_USER);
            }
            self.core.work.charge(cost::TIMER);
        }
    }

    fn on_user_timer<C: Connections>(&mut self, io: &mut C, slot: u32) {
        let Some(timer) = self.core.take_user_timer(slot) else {
            return;
        };
        match timer.owner {
            Some(id) => self.call(io, id, |handler, conn, cx| {
                handler.on_timer(conn, cx, timer.token);
            }),
            None => {
                self.call_lcore(io, |handler, cx| handler.on_lcore_timer(cx, timer.token));
            }
        }
    }

    fn on_session_timer<C: Connections>(&mut self, io: &mut C, id: ConnId) {
        match self.core.sessions[id.index as usize].phase {
            Phase::Free => {}
            Phase::Request => {
                if self
                    .core
                    .is_over_time(id, self.core.tunables.limits.handshake_timeout)
                {
                    self.answer_timeout(io, id);
                } else {
                    self.core.rearm(id.index);
                }
            }
            Phase::Proxy => {
                if self
                    .core
                    .is_over_time(id, self.core.tunables.limits.handshake_timeout)
                {
                    // Without the header there is no client that an answer would be for.
                    self.core.counters.handshake_timeouts.bump();
                    self.core.abort_transport(io, id);
                } else {
                    self.core.rearm(id.index);
                }
            }
            Phase::Connecting | Phase::Reply => {
                if self
                    .core
                    .is_over_time(id, self.core.tunables.limits.handshake_timeout)
                {
                    self.connect_timed_out(io, id);
                } else {
                    self.core.rearm(id.index);
                }
            }
            Phase::Closing | Phase::Lingering | Phase::Gone => self.on_close_timer(io, id),
            Phase::Open => self.on_open_timer(io, id),
        }
    }

    fn on_close_timer<C: Connections>(&mut self, io: &mut C, id: ConnId) {
        if !self
            .core
            .is_over_time(id, self.core.tunables.limits.close_timeout)
        {
            return self.core.rearm(id.index);
        }
        self.core.counters.close_timeouts.bump();
        self.core.abort_transport(io, id);
        self.end(io, id, "");
    }

    fn on_open_timer<C: Connections>(&mut self, io: &mut C, id: ConnId) {
        if self.closes_for_progress(io, id) {
            return;
        }
        let core = &mut self.core;
        let now = core.now;
        // A blocked connection is not pinged, and one whose queue stays full is not read. That its peer takes bytes is then its
        // only sign of life.
        if io.is_blocked(id) && io.has_moved(id) {
            core.sessions[id.index as usize].heard = millis(now);
        }
        // A connection that the application has paused is not read, so its silence is not the peer's.
        if core.sessions[id.index as usize].has(SessionFlags::PAUSED) {
            core.sessions[id.index as usize].heard = millis(now);
        }
        let session = &core.sessions[id.index as usize];
        let over = |limit: Duration, passed: Duration| !limit.is_zero() && passed >= limit;
        let limits = &core.tunables.limits;
        let (silence, age) = (session.silence(now), session.age(now));
        let drain_due = session.has(SessionFlags::DRAINING)
            && millis(now).wrapping_sub(session.mark).cast_signed() >= 0;
        if drain_due {
            core.counters.drained.bump();
            self.begin_close(io, id, CloseCode::GOING_AWAY, "server is shutting down");
        } else if over(limits.idle_timeout, silence) {
            core.counters.idle_timeouts.bump();
            self.begin_close(io, id, CloseCode::GOING_AWAY, "idle");
        } else if over(limits.max_lifetime, age) {
            core.counters.lifetime_reached.bump();
            self.begin_close(io, id, CloseCode::GOING_AWAY, "connection is too old");
        } else {
            // No ping behind a full send queue: it would not arrive in time to be answered.
            if over(limits.ping_interval, silence)
                && !io.is_blocked(id)
                && core.send_control(io, id, OpCode::Ping, &[]).is_ok()
            {
                core.counters.pings_sent.bump();
            }
            core.rearm(id.index);
        }
    }
}

impl<E: Send + 'static> Core<E> {
    /// Whether the phase of a session has lasted for `limit`.
    fn is_over_time(&self, id: ConnId, limit: Duration) -> bool {
        self.sessions[id.index as usize].silence(self.now) >= limit
    }

    /// Takes a timer that fired.
    fn take_user_timer(&mut self, slot: u32) -> Option<crate::timers::UserTimer> {
        let timer = self.timers.remove(slot)?;
        if let Some(extra) = timer
            .owner
            .and_then(|id| self.session(id))
            .and_then(|session| session.extra.as_mut())
        {
            extra.timers.retain(|s| *s != slot);
        }
        Some(timer)
    }

    /// Adds the connections that the accept rate allows for the time since the last turn. Returns the number of connections that may be
    /// accepted in this turn.
    pub(crate) fn accept_budget(&mut self, most: usize) -> usize {
        let rate = self.tunables.limits.accept_rate;
        if rate == 0 {
            return most;
        }
        const SECOND: u64 = 1_000_000_000;
        // The process' rate is shared out: connections are spread over the lcores evenly.
        let lcores = u32::from(self.lcores);
        let share = u64::from(rate.div_ceil(lcores));
        let passed = self.now.saturating_sub(self.accept_refilled).as_nanos();
        let earned = passed.min(u128::from(SECOND)) as u64 * share / SECOND;
        let tokens = u64::from(self.accept_tokens) + earned;
        if tokens >= share {
            self.accept_tokens = share as u32;
            self.accept_refilled = self.now;
        } else {
            self.accept_tokens = tokens as u32;
            // Time that has not earned a whole connection yet goes on counting, or a loop that turns often earns less.
            let spent = Duration::from_nanos((earned * SECOND).div_ceil(share));
            self.accept_refilled += spent;
        }
        if self.accept_tokens == 0 {
            self.counters.accept_throttled.bump();
        }
        most.min(self.accept_tokens as usize)
    }

    /// The time until the accept rate allows the next connection, if it allows none now.
    pub(crate) fn accept_wait(&self) -> Option<Duration> {
        let rate = self.tunables.limits.accept_rate;
        (rate != 0 && self.accept_tokens == 0).then(|| {
            let share = rate.div_ceil(u32::from(self.lcores));
            Duration::from_millis(u64::from(1000 / share) + 1)
        })
    }
}
