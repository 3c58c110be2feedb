//! The state of the layer and of its connections.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::Arc;

use hioload_lcore::Time;
use hioload_mem::LocalShared;
use hioload_transport::ConnId;
use hioload_transport::layer::BySlot;
use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ServerConfig};

use super::options::TlsOptions;
use super::staging::Staging;
use crate::configs::{Configs, Prepared};
use crate::counters::TlsStats;
use crate::handshake::Handshake;
use crate::record::{KeyCache, KeyOwner, Session};

/// Bytes that recycled buffers of a connection keep.
const KEEP: usize = 18 << 10;
/// Recycled buffers.
const SPARE: usize = 64;

/// Flags of a connection.
pub(super) mod flag {
    /// What the driver left is presented in the next turn.
    pub(crate) const LATER: u16 = 1 << 0;
    /// It is in the list of connections to visit.
    pub(crate) const LISTED: u16 = 1 << 1;
    /// The driver has paused it.
    pub(crate) const PAUSED: u16 = 1 << 2;
    /// A close_notify has been received.
    pub(crate) const ENDED: u16 = 1 << 3;
    /// The driver has not received the end.
    pub(crate) const END_PENDING: u16 = 1 << 4;
    /// It has failed: nothing is presented or sent any more.
    pub(crate) const FAILED: u16 = 1 << 5;
    /// The sending side ends when everything is sealed.
    pub(crate) const FINISH: u16 = 1 << 6;
    /// It closes when everything is sealed.
    pub(crate) const CLOSE: u16 = 1 << 7;
    /// The close_notify has been sealed.
    pub(crate) const CLOSE_SENT: u16 = 1 << 8;
    /// It is in the list of connections with shared payloads.
    pub(crate) const FANNED: u16 = 1 << 9;
    /// The transport below presents bytes that were left, from a copy.
    pub(crate) const COPIED: u16 = 1 << 10;
    /// The driver has not received `on_writable`, although the queue below was empty.
    pub(crate) const HELD: u16 = 1 << 11;
    /// It waits for its handshake's turn.
    pub(crate) const QUEUED: u16 = 1 << 12;
    /// The driver waits for `on_connect`.
    pub(crate) const CONNECTING: u16 = 1 << 13;
    /// It is in the list of connections that have something to send besides content.
    pub(crate) const UNSENT: u16 = 1 << 14;
    /// The peer has ended its sending side below.
    pub(crate) const FIN: u16 = 1 << 15;
}

/// The configuration of a handshake that has not begun.
pub(super) enum Setup {
    Server(Arc<ServerConfig>),
    /// The handshake has begun.
    Begun,
}

/// A connection during its handshake.
pub(super) struct Pending {
    pub(super) setup: Setup,
    pub(super) handshake: Option<Handshake>,
    /// Received bytes that were not processed.
    pub(super) input: Vec<u8>,
    /// What the driver has written: it is sealed when there are keys.
    pub(super) early: Vec<u8>,
    pub(super) early_len: usize,
    /// The bytes of `input` and of the handshake in the account of all handshakes.
    pub(super) charged: usize,
}

impl Pending {
    pub(super) fn new(setup: Setup, handshake: Option<Handshake>) -> Self {
        Self {
            setup,
            handshake,
            input: Vec::new(),
            early: Vec::new(),
            early_len: 0,
            charged: 0,
        }
    }

    /// Whether no record has been encrypted yet.
    pub(super) fn is_clear(&self) -> bool {
        let handshake = self.handshake.as_ref();
        handshake.is_none_or(|handshake| handshake.is_clear())
    }
}

#[allow(
    clippy::large_enum_variant,
    reason = "most connections have a session, and a box for each would cost a cache miss for each record"
)]
pub(super) enum State {
    /// Without TLS.
    Plain,
    Handshake(Box<Pending>),
    Open(Session),
}

/// What few connections have.
#[derive(Default)]
pub(super) struct Extra {
    /// Plaintext that the driver left.
    pub(super) left: Vec<u8>,
    /// Bytes of records that are not opened, before those that the transport below has.
    pub(super) gather: Vec<u8>,
    /// Payloads that wait for a flush, and whether each may be dropped.
    pub(super) shared: VecDeque<(LocalShared, bool)>,
    /// Their bytes, without those of the first one that were sealed.
    pub(super) shared_bytes: usize,
    pub(super) shared_sealed: usize,
    /// What stores the tickets of a client, and how many it may still store.
    pub(super) tickets: Option<(Box<KernelConnection<ClientConnectionData>>, u8)>,
    pub(super) certificate: Option<CertificateDer<'static>>,
}

impl Extra {
    /// Frees buffers that are empty, of a connection that keeps something else for its whole life.
    fn shrink(&mut self) {
        for buffer in [&mut self.left, &mut self.gather] {
            if buffer.is_empty() {
                *buffer = Vec::new();
            }
        }
        if self.shared.is_empty() {
            self.shared = VecDeque::new();
        }
    }

    fn is_empty(&self) -> bool {
        self.left.is_empty()
            && self.gather.is_empty()
            && self.shared.is_empty()
            && self.tickets.is_none()
            && self.certificate.is_none()
    }
}

/// One connection.
pub(super) struct Conn {
    pub(super) state: State,
    flags: u16,
    /// The index of its open record, plus one.
    pub(super) staged: u16,
    /// Content bytes sealed so far, up to a bound.
    pub(super) sent: u32,
    pub(super) extra: Option<Box<Extra>>,
    /// Why it failed.
    pub(super) error: Option<ErrorKind>,
}

impl Conn {
    pub(super) fn new(state: State, flags: u16) -> Self {
        Self {
            state,
            flags,
            staged: 0,
            sent: 0,
            extra: None,
            error: None,
        }
    }
    #[inline]
    pub(super) fn is(&self, flags: u16) -> bool {
        self.flags & flags != 0
    }
    pub(super) fn set(&mut self, flags: u16) {
        self.flags |= flags;
    }
    pub(super) fn clear(&mut self, flags: u16) {
        self.flags &= !flags;
    }
    /// Sets a flag. Returns whether it was not set before.
    pub(super) fn newly(&mut self, flag: u16) -> bool {
        let new = !self.is(flag);
        self.set(flag);
        new
    }
    /// Bytes of shared payloads that wait.
    pub(super) fn shared_bytes(&self) -> usize {
        self.extra.as_ref().map_or(0, |extra| extra.shared_bytes)
    }
}

/// The TLS layer of one lcore.
pub struct Tls {
    pub(super) options: TlsOptions,
    pub(super) configs: Box<dyn Configs>,
    pub(super) server: Prepared<ServerConfig>,
    pub(super) client: Prepared<ClientConfig>,
    pub(super) conns: BySlot<Conn>,
    pub(super) keys: KeyCache,
    pub(super) staging: Staging,
    pub(super) scratch: Vec<u8>,
    /// Connections with plaintext, records or an end to present.
    pub(super) ready: VecDeque<ConnId>,
    /// Those of them that were listed when the turn began.
    pub(super) due: usize,
    /// Connections whose handshake has a record to process.
    pub(super) queue: VecDeque<ConnId>,
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
    /// Why handshakes of connections that were opened have failed, until the driver hears of it.
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
            staging: Staging::default(),
            scratch: Vec::new(),
            ready: VecDeque::new(),
            due: 0,
            queue: VecDeque::new(),
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

    /// Its counters.
    #[must_use]
    pub fn stats(&self) -> TlsStats {
        TlsStats {
            keys_expanded: self.keys.expanded,
            ..self.stats
        }
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
    pub(super) fn begin(&mut self, id: ConnId, state: State, flags: u16) {
        if matches!(state, State::Handshake(_)) {
            self.stats.handshakes_open += 1;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What an idle connection costs in this layer: its entry, and nothing beside it.
    #[test]
    fn a_connection_has_at_most_256_bytes() {
        let entry = size_of::<Conn>() + size_of::<u32>();
        assert!(entry <= 256, "{entry} bytes, the generation included");
    }
}
