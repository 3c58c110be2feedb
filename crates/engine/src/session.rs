//! The engine's state of one connection, apart from its decoder and the application's state.

use std::ops::BitOr;
use std::time::Duration;

use hioload_lcore::{Time, TimerId};
use hioload_transport::ConnId;
use hioload_ws_proto::{CloseCode, Closing, Deflation};

use crate::admission::Ticket;
use crate::config::Limits;
use crate::handler::ClosedBy;
use crate::opening::Opening;
use crate::topics::SetId;

/// The phase of a connection.
///
/// ```text
/// accept [-> Proxy] -> Request -+-> Open -> Closing -> Lingering -> Gone -> (slot freed)
/// connect -> Connecting -> Reply -+                       ^            ^
///            an HTTP answer, a refusal -------------------+   a reset -+
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Phase {
    /// The slot is not in use.
    Free,
    /// Server role: the PROXY header of a trusted proxy is not complete.
    Proxy,
    /// Server role: the request head is not complete.
    Request,
    /// Client role: the network connects.
    Connecting,
    /// Client role: the response to our request is not complete.
    Reply,
    /// Messages flow.
    Open,
    /// We sent Close and wait for the peer's. Other frames of the peer are dropped.
    Closing,
    /// Everything is sent. The peer has time to end TCP, so that no reset overtakes the last frames.
    Lingering,
    /// The transport is closing or aborting it.
    Gone,
}

impl Phase {
    /// Whether a drain waits for sessions in it.
    pub(crate) fn holds_a_drain(self) -> bool {
        !matches!(
            self,
            Self::Free | Self::Proxy | Self::Request | Self::Lingering
        )
    }
}

/// Properties of a session, as bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct SessionFlags(u16);

impl SessionFlags {
    /// Client role: our frames are masked.
    pub(crate) const CLIENT: Self = Self(1);
    /// Compression was agreed on: [`Extra`] says how.
    pub(crate) const DEFLATE: Self = Self(2);
    /// The application paused reading.
    pub(crate) const PAUSED: Self = Self(4);
    /// The engine paused reading because the send queue is full.
    pub(crate) const THROTTLED: Self = Self(8);
    /// A drain has given it a time to close, in `mark`.
    pub(crate) const DRAINING: Self = Self(16);
    /// It holds an admission ticket.
    pub(crate) const ADMITTED: Self = Self(32);
    /// It was refused, and its 503 is being sent.
    pub(crate) const REFUSED: Self = Self(64);
    /// Its handler has published to subscribers of this lcore.
    pub(crate) const PUBLISHES: Self = Self(1024);
    /// A message is unfinished: `message_since` is valid.
    pub(crate) const UNFINISHED: Self = Self(256);
    /// The network has not taken everything that is queued: `blocked_since` is valid.
    pub(crate) const BLOCKED: Self = Self(512);
    /// It came from a trusted proxy, and its client is not known yet.
    pub(crate) const PROXIED: Self = Self(128);
}

impl BitOr for SessionFlags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// One connection. 64 bytes: an idle connection also has a decoder and the application's state.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) generation: u32,
    pub(crate) phase: Phase,
    pub(crate) flags: SessionFlags,
    /// The closing handshake.
    pub(crate) closing: Closing,
    /// Milliseconds (wrapping): when bytes last arrived if `Open`, else when the phase began.
    pub(crate) heard: u32,
    /// Seconds: when it was accepted.
    pub(crate) opened: u32,
    /// Bytes of the head that were searched for its end; once open, the time of the drain's Close in milliseconds.
    pub(crate) mark: u32,
    /// The last publish that reached it: it receives each once, however many of its subscriptions match.
    pub(crate) epoch: u32,
    /// Messages it may still send, and the time of the last refill (milliseconds, wrapping).
    pub(crate) tokens: u32,
    pub(crate) refilled: u32,
    /// Milliseconds (wrapping): the beginning of the period of `message_timeout` that the unfinished message is in.
    pub(crate) message_since: u32,
    /// Milliseconds (wrapping): when the transport's mark in the send queue was set.
    pub(crate) blocked_since: u32,
    pub(crate) closed_by: ClosedBy,
    pub(crate) timer: Option<TimerId>,
    pub(crate) ticket: Ticket,
    pub(crate) extra: Option<Box<Extra>>,
}

const _: () = assert!(size_of::<Session>() <= 72);

/// State that only some connections have.
#[derive(Default)]
pub(crate) struct Extra {
    /// The compression of our messages, and its window (bits).
    pub(crate) deflate: Option<Deflation>,
    pub(crate) window_bits: u8,
    pub(crate) subscriptions: Vec<SetId>,
    /// Bytes that they count for.
    pub(crate) subscription_bytes: usize,
    /// Slots of the application's timers.
    pub(crate) timers: Vec<u32>,
    /// Client role, until it is open.
    pub(crate) opening: Option<Box<Opening>>,
}

impl std::fmt::Debug for Extra {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Extra")
            .field("subscriptions", &self.subscriptions)
            .finish_non_exhaustive()
    }
}

impl Session {
    pub(crate) fn free() -> Self {
        Self {
            generation: 0,
            phase: Phase::Free,
            flags: SessionFlags::default(),
            closing: Closing::new(),
            heard: 0,
            opened: 0,
            mark: 0,
            epoch: 0,
            tokens: 0,
            refilled: 0,
            message_since: 0,
            blocked_since: 0,
            closed_by: ClosedBy::Network,
            timer: None,
            ticket: Ticket::NONE,
            extra: None,
        }
    }

    pub(crate) fn start(id: ConnId, phase: Phase, now: Time) -> Self {
        Self {
            generation: id.generation,
            phase,
            heard: millis(now),
            opened: (now.as_millis() / 1000) as u32,
            ..Self::free()
        }
    }

    #[inline]
    pub(crate) fn has(&self, flags: SessionFlags) -> bool {
        self.flags.0 & flags.0 != 0
    }

    pub(crate) fn set(&mut self, flags: SessionFlags) {
        self.flags.0 |= flags.0;
    }

    pub(crate) fn clear(&mut self, flags: SessionFlags) {
        self.flags.0 &= !flags.0;
    }

    pub(crate) fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// Enters the phase. Its time limit counts from `now`.
    pub(crate) fn enter(&mut self, phase: Phase, now: Time) {
        self.phase = phase;
        self.heard = millis(now);
    }

    /// The close code that the application receives: the one received (RFC 6455 §7.1.5), else the one sent, which is more
    /// specific than 1006, else 1006.
    pub(crate) fn final_code(&self) -> CloseCode {
        match self.closing.sent() {
            Some(sent) if !self.closing.has_received() => sent,
            _ => self.closing.code(),
        }
    }

    /// The time of the next check of this session: never too late, possibly early.
    pub(crate) fn deadline(&self, limits: &Limits, now: Time) -> Option<Time> {
        let since_heard = self.silence(now);
        let after = |limit: Duration| now + limit.saturating_sub(since_heard);
        let bounded = |limit: Duration| (!limit.is_zero()).then(|| after(limit));
        match self.phase {
            Phase::Free => None,
            Phase::Proxy | Phase::Request | Phase::Connecting | Phase::Reply => {
                Some(after(limits.handshake_timeout))
            }
            Phase::Closing | Phase::Lingering | Phase::Gone => Some(after(limits.close_timeout)),
            Phase::Open => {
                let ping = (!limits.ping_interval.is_zero()).then(|| {
                    // Silent for longer than the interval: a ping has just been sent, the next is due an interval later.
                    if since_heard < limits.ping_interval {
                        after(limits.ping_interval)
                    } else {
                        now + limits.ping_interval
                    }
                });
                let lifetime = (!limits.max_lifetime.is_zero())
                    .then(|| now + limits.max_lifetime.saturating_sub(self.age(now)));
                let drain = self.has(SessionFlags::DRAINING).then(|| {
                    let left = self.mark.wrapping_sub(millis(now)).cast_signed().max(0);
                    now + Duration::from_millis(u64::from(left.cast_unsigned()))
                });
                let message = self.ends(
                    SessionFlags::UNFINISHED,
                    self.message_since,
                    limits.message_timeout,
                    now,
                );
                let send = self.ends(
                    SessionFlags::BLOCKED,
                    self.blocked_since,
                    limits.send_timeout,
                    now,
                );
                let idle = bounded(limits.idle_timeout);
                [ping, idle, lifetime, drain, message, send]
                    .into_iter()
                    .flatten()
                    .min()
            }
        }
    }

    /// The end of a limit that counts from `since` while `flag` is set; zero is no limit.
    fn ends(&self, flag: SessionFlags, since: u32, limit: Duration, now: Time) -> Option<Time> {
        let counts = self.has(flag) && !limit.is_zero();
        counts.then(|| now + limit.saturating_sub(passed(since, now)))
    }

    /// Whether a limit that counts from `since` while `flag` is set has ended.
    pub(crate) fn is_over(
        &self,
        flag: SessionFlags,
        since: u32,
        limit: Duration,
        now: Time,
    ) -> bool {
        self.has(flag) && !limit.is_zero() && passed(since, now) >= limit
    }

    pub(crate) fn silence(&self, now: Time) -> Duration {
        passed(self.heard, now)
    }

    pub(crate) fn age(&self, now: Time) -> Duration {
        Duration::from_secs((now.as_millis() / 1000).saturating_sub(u64::from(self.opened)))
    }

    /// Takes one of the messages that `rate` per second allows; `false` if there is none left.
    pub(crate) fn take_token(&mut self, rate: u32, now: Time) -> bool {
        if self.tokens == 0 {
            let rate = u64::from(rate);
            let passed = u64::from(millis(now).wrapping_sub(self.refilled));
            let earned = passed * rate / 1000;
            if earned == 0 {
                return false;
            }
            self.tokens = earned.min(rate) as u32;
            // The time of a fraction of a message is kept.
            let spare = if earned < rate {
                passed - (earned * 1000).div_ceil(rate)
            } else {
                0
            };
            self.refilled = millis(now).wrapping_sub(spare as u32);
        }
        self.tokens -= 1;
        true
    }
}

/// Time since `since`, in wrapping milliseconds.
fn passed(since: u32, now: Time) -> Duration {
    Duration::from_millis(u64::from(millis(now).wrapping_sub(since)))
}

/// Milliseconds of `time`, wrapping after 49 days: only differences of it are used.
#[inline]
pub(crate) fn millis(time: Time) -> u32 {
    time.as_millis() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use hioload_ws_proto::{Answer, CloseFrame};

    fn at(ms: u64) -> Time {
        Time::ZERO + Duration::from_millis(ms)
    }

    fn open(now: Time) -> Session {
        Session::start(
            ConnId {
                index: 0,
                generation: 1,
            },
            Phase::Open,
            now,
        )
    }

    #[test]
    fn deadlines_follow_the_phase_and_survive_the_wrap_of_the_milliseconds() {
        let limits = Limits::default();
        for start in [0, u64::from(u32::MAX) - 5_000] {
            let mut s = open(at(start));
            assert_eq!(
                s.deadline(&limits, at(start)),
                Some(at(start) + limits.ping_interval)
            );
            // The next deadline is the next ping or the idle limit, whichever is first.
            let later = at(start) + limits.ping_interval;
            assert_eq!(
                s.deadline(&limits, later),
                Some(later + limits.ping_interval)
            );
            let late = at(start) + Duration::from_secs(60);
            assert_eq!(
                s.deadline(&limits, late),
                Some(at(start) + limits.idle_timeout)
            );
            s.enter(Phase::Closing, late);
            assert_eq!(s.deadline(&limits, late), Some(late + limits.close_timeout));
        }
    }

    #[test]
    fn no_limits_no_deadline_until_a_drain() {
        let limits = Limits {
            ping_interval: Duration::ZERO,
            idle_timeout: Duration::ZERO,
            ..Limits::default()
        };
        let mut s = open(at(0));
        assert_eq!(s.deadline(&limits, at(5)), None);
        s.set(SessionFlags::DRAINING);
        s.mark = 700;
        assert_eq!(s.deadline(&limits, at(5)), Some(at(700)));
        assert_eq!(s.deadline(&limits, at(900)), Some(at(900)));
    }

    #[test]
    fn the_message_rate_allows_a_second_of_burst_and_then_its_rate() {
        let mut s = open(at(0));
        s.tokens = 10;
        assert!((0..10).all(|_| s.take_token(10, at(0))));
        assert!(!s.take_token(10, at(99)));
        assert!(s.take_token(10, at(100)));
        assert!(!s.take_token(10, at(150)));
        // However long the silence, the burst is at most the messages of one second.
        assert_eq!(
            (0..100).filter(|_| s.take_token(10, at(60_000))).count(),
            10
        );
    }

    #[test]
    fn the_reported_code_is_the_received_one_then_the_sent_one_then_1006() {
        let mut s = open(at(0));
        assert_eq!(s.final_code(), CloseCode::ABNORMAL);
        assert!(s.closing.start(Some(CloseCode::GOING_AWAY)));
        assert_eq!(s.final_code(), CloseCode::GOING_AWAY);
        let answer = s.closing.receive(Some(CloseFrame {
            code: CloseCode::NORMAL,
            reason: "",
        }));
        assert_eq!(answer, Answer::Done);
        assert_eq!(s.final_code(), CloseCode::NORMAL);
    }
}
