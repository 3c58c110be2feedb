//! The state of the layer.

use std::collections::VecDeque;
use std::time::Duration;

use hioload_lcore::Time;
use hioload_transport::layer::BySlot;
use hioload_transport::{ConnId, Waker};
use rustls::{ClientConfig, ServerConfig};

use super::conn::{Conn, Extra, Pending, State, flag};
use super::options::TlsOptions;
use super::pace::Pace;
use super::staging::Staging;
use super::threads::{HandshakeThreads, Offload};
use super::work::Setup;
use crate::configs::{Configs, Prepared};
use crate::counters::TlsStats;
use crate::record::{KeyCache, KeyOwner, Session};

/// Bytes that recycled buffers of a connection keep.
const KEEP: usize = 18 << 10;
/// Recycled buffers.
const SPARE: usize = 64;

/// The cached keys are visited in this many parts, each of which is due after this time. So a key that is not used for 10 s is freed
/// within the next 10 s.
const AGE_PARTS: usize = 1000;
const AGE_EVERY: Duration = Duration::from_millis(10);
/// Parts that one turn visits at most, and for which an lcore without other work wakes up while there are keys.
const AGE_AT_ONCE: u32 = 10;

/// The TLS layer of one lcore.
pub struct Tls {
    pub(super) options: TlsOptions,
    pub(super) configs: Box<dyn Configs>,
    pub(super) server: Prepared<ServerConfig>,
    pub(super) client: Prepared<ClientConfig>,
    pub(super) conns: BySlot<Conn>,
    pub(super) keys: KeyCache,
    /// When the next part of the cached keys is visited.
    keys_age_at: Time,
    pub(super) staging: Staging,
    pub(super) scratch: Vec<u8>,
    /// Connections with plaintext, records or an end to present.
    pub(super) ready: VecDeque<ConnId>,
    /// Those of them that were listed when the turn began.
    pub(super) due: usize,
    /// Connections whose handshake has a record to process.
    pub(super) queue: VecDeque<ConnId>,
    /// Connections whose handshake may not begin yet, by `handshake_rate`.
    pub(super) limited: VecDeque<ConnId>,
    pub(super) pace: Pace,
    /// The threads that the caller gave, and this layer's end of them.
    threads: Option<HandshakeThreads>,
    pub(super) offload: Option<Offload>,
    /// When a step is offered to the threads again, after they were busy.
    pub(super) offload_at: Time,
    /// When handshakes have to be over, in order.
    pub(super) deadlines: VecDeque<(Time, ConnId)>,
    /// Connections with shared payloads, and those of them that were listed when the round began.
    pub(super) fanned: VecDeque<ConnId>,
    pub(super) round_left: usize,
    pub(super) rounds: u64,
    /// Connections with a KeyUpdate or an end to send.
    pub(super) unsent: VecDeque<ConnId>,
    /// Those for which there was no space, although they are not blocked, and when they are tried again.
    pub(super) stuck: VecDeque<ConnId>,
    pub(super) retry_at: Time,
    /// Accepted connections in their order, among them those that have sent no whole record.
    pub(super) silent: VecDeque<ConnId>,
    /// The bytes that handshakes in progress hold.
    pub(super) handshake_bytes: usize,
    /// Nanoseconds of sealing that the driver has not been charged for.
    pub(super) owed: u32,
    /// Why handshakes of connections that were opened have failed, until the driver has received `on_connect`.
    pub(super) failures: Vec<(ConnId, rustls::Error)>,
    /// Connections whose driver waits for `on_writable`.
    pub(super) writable: VecDeque<ConnId>,
    #[allow(
        clippy::vec_box,
        reason = "a connection has a pointer, and the boxes are recycled"
    )]
    pub(super) spare: Vec<Box<Extra>>,
    pub(super) gathering: usize,
    pub(super) now: Time,
    /// Handshake steps left in this turn.
    pub(super) steps: usize,
    pub(super) stats: TlsStats,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("options", &self.options)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

pub(super) fn owner(id: ConnId) -> KeyOwner {
    KeyOwner {
        index: id.index,
        generation: id.generation,
    }
}

impl Tls {
    /// A layer without connections, whose connections use the configurations of `configs`.
    #[must_use]
    pub fn new(options: TlsOptions, configs: Box<dyn Configs>) -> Self {
        Self {
            options,
            configs,
            server: Prepared::new(),
            client: Prepared::new(),
            conns: BySlot::new(),
            keys: KeyCache::new(options.key_cache),
            keys_age_at: Time::ZERO,
            staging: Staging::default(),
            scratch: Vec::new(),
            ready: VecDeque::new(),
            due: 0,
            queue: VecDeque::new(),
            limited: VecDeque::new(),
            pace: Pace::default(),
            threads: None,
            offload: None,
            offload_at: Time::ZERO,
            deadlines: VecDeque::new(),
            fanned: VecDeque::new(),
            round_left: 0,
            rounds: 0,
            unsent: VecDeque::new(),
            stuck: VecDeque::new(),
            retry_at: Time::ZERO,
            silent: VecDeque::new(),
            handshake_bytes: 0,
            owed: 0,
            failures: Vec::new(),
            writable: VecDeque::new(),
            spare: Vec::new(),
            gathering: 0,
            now: Time::ZERO,
            steps: options.handshakes_per_turn,
            stats: TlsStats::default(),
        }
    }

    /// Has the steps of its handshakes made by threads. Without them the lcore makes `handshakes_per_turn` steps in a turn.
    #[must_use]
    pub fn threads(mut self, threads: &HandshakeThreads) -> Self {
        self.threads = Some(threads.clone());
        self
    }

    /// Connects it to the threads that it was given; `waker` wakes its lcore.
    pub(super) fn attach_threads(&mut self, waker: Waker) {
        self.offload = self
            .threads
            .take()
            .map(|threads| Offload::new(threads, waker));
    }

    /// Its counters.
    #[must_use]
    pub fn stats(&self) -> TlsStats {
        TlsStats {
            keys_expanded: self.keys.expanded,
            keys_freed: self.keys.freed,
            ..self.stats
        }
    }

    /// Frees keys that connections do not use any more.
    pub(super) fn age_keys(&mut self) {
        if self.now < self.keys_age_at {
            return;
        }
        let late = self.now.saturating_sub(self.keys_age_at);
        let due = late.as_millis() / AGE_EVERY.as_millis() + 1;
        for _ in 0..due.min(AGE_AT_ONCE.into()) {
            self.keys.age(AGE_PARTS);
        }
        self.keys_age_at = self.now + AGE_EVERY;
    }

    /// When keys have to be visited at the latest; `None` if there are none. Lcores that have a turn for another reason visit them
    /// more often.
    pub(super) fn keys_due(&self) -> Option<Time> {
        (!self.keys.is_empty()).then(|| self.keys_age_at + AGE_EVERY * (AGE_AT_ONCE - 1))
    }

    /// The bounds, to change them. The size of the key cache is that of the start.
    pub fn options_mut(&mut self) -> &mut TlsOptions {
        &mut self.options
    }

    /// The session of a connection; `None` without TLS, and before the handshake is complete.
    #[must_use]
    pub fn session(&self, id: ConnId) -> Option<&Session> {
        match &self.conns.get(id)?.state {
            State::Open(session) => Some(session),
            _ => None,
        }
    }

    /// Continues a connection, whose handshake is complete, with another session: one that was [exported](Session::export) elsewhere.
    /// Returns whether there is such a connection.
    pub fn set_session(&mut self, id: ConnId, session: Session) -> bool {
        let Some(State::Open(own)) = self.conns.get_mut(id).map(|conn| &mut conn.state) else {
            return false;
        };
        *own = session;
        self.keys.remove(owner(id));
        true
    }

    /// The rare state of a connection, made if there is none.
    pub(super) fn extra(&mut self, id: ConnId) -> Option<&mut Extra> {
        let conn = self.conns.get_mut(id)?;
        let spare = &mut self.spare;
        let extra = conn
            .extra
            .get_or_insert_with(|| spare.pop().unwrap_or_default());
        Some(extra)
    }

    /// Recycles the rare state of a connection, if it is empty.
    pub(super) fn trim(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        if let Some(extra) = conn.extra.take_if(|extra| extra.is_empty()) {
            self.recycle(extra);
        } else if let Some(extra) = &mut conn.extra
            && (extra.certificate.is_some() || extra.tickets.is_some())
        {
            extra.shrink();
        }
    }

    pub(super) fn recycle(&mut self, mut extra: Box<Extra>) {
        let kept = extra.left.capacity().max(extra.gather.capacity());
        if self.spare.len() >= SPARE || kept > KEEP || extra.shared.capacity() > 64 {
            return;
        }
        extra.left.clear();
        extra.gather.clear();
        extra.shared.clear();
        (extra.shared_bytes, extra.shared_sealed) = (0, 0);
        (extra.tickets, extra.certificate) = (None, None);
        self.spare.push(extra);
    }

    /// Lists for a visit.
    pub(super) fn list(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id)
            && conn.newly(flag::LISTED)
        {
            self.ready.push_back(id);
        }
    }

    /// Lists for a flush.
    pub(super) fn list_unsent(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id)
            && conn.newly(flag::UNSENT)
        {
            self.unsent.push_back(id);
        }
    }

    /// Begins a connection.
    pub(super) fn begin(&mut self, id: ConnId, state: State, flags: u32) {
        if matches!(state, State::Handshake(_)) {
            self.stats.handshakes_open += 1;
            self.prune_lists();
            let deadline = self.now + self.options.handshake_timeout;
            self.deadlines.push_back((deadline, id));
            if flags == 0 {
                self.silent.push_back(id);
            }
        }
        self.conns.insert(id, Conn::new(state, flags));
    }

    /// Marks a connection as failed: nothing is presented or sent any more. A handshake is over then, and its memory is free.
    /// Returns whether the connection was not marked before.
    pub(super) fn mark_failed(&mut self, id: ConnId) -> bool {
        let Some(conn) = self.conns.get_mut(id) else {
            return false;
        };
        if !conn.newly(flag::FAILED) {
            return false;
        }
        if let State::Handshake(pending) = &mut conn.state {
            self.stats.handshakes_open -= 1;
            self.handshake_bytes -= pending.charged;
            **pending = Pending::new(Setup::Begun, None);
        }
        true
    }

    /// Ends a connection: its secrets are overwritten where they are, and its state is dropped.
    pub(super) fn end(&mut self, id: ConnId) {
        self.mark_failed(id);
        if let Some(State::Open(session)) = self.conns.get_mut(id).map(|conn| &mut conn.state) {
            session.wipe();
        }
        let Some(mut conn) = self.conns.remove(id) else {
            return;
        };
        self.keys.remove(owner(id));
        self.staging.free(conn.staged);
        if let Some(extra) = conn.extra.take() {
            self.gathering -= usize::from(!extra.gather.is_empty());
            self.recycle(extra);
        }
    }
}
