//! The engine's own state of an lcore: everything but the transport, the handler and the decoders.
//!
//! It is separate from those, so that a handler can borrow all of it mutably while its message borrows the memory of the
//! transport or of a decoder.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hioload_lcore::{Time, TimerWheel};
use hioload_mem::{Held, room_for};
use hioload_transport::{ConnId, Connections};
use hioload_ws_proto::Compressor;
use hioload_ws_proto::handshake::HandshakeLimits;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use crate::admission::Admission;
use crate::commands::Pending;
use crate::config::{Config, Tunables};
use crate::counters::LcoreCounters;
use crate::executor::Executor;
use crate::handler::ClosedBy;
use crate::heartbeat::Step;
use crate::mail::{MailPoster, Post};
use crate::session::{Phase, Session, SessionFlags, millis};
use crate::timers::UserTimers;
use crate::topics::{Index, Interest, Table};
use crate::work::{Unsent, Work};

/// The arguments of the start of an lcore.
pub(crate) struct LcoreInit<E> {
    pub(crate) lcore: u16,
    pub(crate) lcores: u16,
    pub(crate) config: Arc<Config>,
    pub(crate) pending: Arc<Pending>,
    pub(crate) mailbox: Post<E>,
    pub(crate) counters: Arc<LcoreCounters>,
    pub(crate) admission: Arc<Admission>,
    /// Which lcores have subscribers to what. `None` for a single lcore.
    pub(crate) interest: Option<Arc<Table>>,
    pub(crate) executor: Executor,
}

pub(crate) struct Core<E> {
    pub(crate) lcore: u16,
    pub(crate) lcores: u16,
    pub(crate) tunables: Arc<Tunables>,
    /// The first session that has yet to follow the latest tunables.
    pub(crate) unvisited: Option<usize>,
    /// The first session that has yet to learn of the drain.
    pub(crate) undrained: Option<usize>,
    pub(crate) now: Time,
    /// What the turn has done so far.
    pub(crate) work: Work,
    pub(crate) sessions: Vec<Session>,
    /// By slot: the clients that trusted proxies have named. Empty while there is none.
    pub(crate) clients: Vec<Option<SocketAddr>>,
    /// Session timers are keyed by slot, the application's by [`UserTimers`]' slot with [`TIMER_OF_USER`] set.
    pub(crate) wheel: TimerWheel<u32>,
    pub(crate) timers: UserTimers,
    pub(crate) topics: Index,
    /// Publishes this lcore's subscriptions to the other lcores, and reads theirs. `None` for a single lcore.
    pub(crate) interest: Option<Interest>,
    /// Scratch of `publish`: the subscribers that match.
    pub(crate) targets: Vec<u32>,
    pub(crate) epoch: u32,
    /// The bytes of published messages that wait in send queues.
    pub(crate) published: Held,
    pub(crate) unsent: Unsent,
    pub(crate) mailbox: Post<E>,
    pub(crate) poster: MailPoster<E>,
    /// Executor jobs hold a weak reference. Once this is dropped, no lcore takes their results.
    pub(crate) alive: Arc<()>,
    pub(crate) counters: Arc<LcoreCounters>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) executor: Executor,
    /// The compressor; `None` where the configuration has no compression, or while it is in use.
    pub(crate) compressor: Option<Compressor>,
    pub(crate) rng: StdRng,
    /// Scratch for heads and response bodies.
    pub(crate) out: Vec<u8>,
    /// Sessions in `Open`.
    pub(crate) open: usize,
    /// Sessions that a drain waits for ([`Phase::holds_a_drain`]).
    pub(crate) busy: usize,
    pub(crate) drain_deadline: Option<Time>,
    pub(crate) stopping: bool,
    /// Connections that the accept rate still allows, and the time of the last refill.
    pub(crate) accept_tokens: u32,
    pub(crate) accept_refilled: Time,
    /// Slots of refused connections whose 503 is being sent.
    pub(crate) refusals: usize,
}

/// The capacity of the output buffer that the lcore's compressor keeps between messages, in bytes.
pub(crate) const RETAINED_OUTPUT: usize = 256 << 10;

/// Sessions visited in one turn for a change of the tunables, and for a drain: a visit of a million sessions at once would stop
/// the lcore.
pub(crate) const SESSIONS_PER_TURN: usize = 1024;

/// The part (1 / N) of a send queue that messages published in turns that did not send everything may take.
const UNSENT_OF_QUEUE: usize = 4;

/// Marks a wheel key as one of the application's timers.
pub(crate) const TIMER_OF_USER: u32 = 1 << 31;

impl<E: Send + 'static> Core<E> {
    pub(crate) fn new(init: LcoreInit<E>, now: Time, max_sessions: usize) -> Self {
        let tunables = Arc::new(init.config.tunables.clone());
        Self {
            lcore: init.lcore,
            lcores: init.lcores,
            now,
            work: Work::new(now),
            sessions: room_for(max_sessions),
            clients: Vec::new(),
            wheel: TimerWheel::with_capacity(now, max_sessions),
            timers: UserTimers::default(),
            topics: Index::new(init.config.subscription_memory),
            interest: init
                .interest
                .map(|table| Interest::new(table, usize::from(init.lcore))),
            targets: Vec::new(),
            epoch: 0,
            published: Held::default(),
            unsent: Unsent::default(),
            poster: init.mailbox.poster(),
            mailbox: init.mailbox,
            alive: Arc::new(()),
            counters: init.counters,
            admission: init.admission,
            executor: init.executor,
            compressor: tunables
                .deflate
                .as_ref()
                .map(|config| Compressor::new(config, RETAINED_OUTPUT)),
            rng: StdRng::from_rng(&mut rand::rng()),
            out: Vec::new(),
            open: 0,
            busy: 0,
            drain_deadline: None,
            stopping: false,
            accept_tokens: tunables.limits.accept_rate.div_ceil(u32::from(init.lcores)),
            accept_refilled: now,
            refusals: 0,
            unvisited: None,
            undrained: None,
            tunables,
        }
    }

    /// Begins a step of the turn.
    #[inline]
    pub(crate) fn begin(&mut self, step: Step) {
        self.counters.heartbeat.enter(step);
        self.work.begin(step);
    }

    pub(crate) fn draining(&self) -> bool {
        self.drain_deadline.is_some()
    }

    pub(crate) fn handshake_limits(&self) -> HandshakeLimits {
        let mut limits = HandshakeLimits::default();
        limits.max_head = self.tunables.limits.max_handshake;
        limits
    }

    /// A masking key, from a cryptographic generator. RFC 6455 §5.3: "The masking key needs to be unpredictable; thus,
    /// the masking key MUST be derived from a strong source of entropy, and the masking key for a given frame MUST NOT
    /// make it simple for a server/proxy to predict the masking key for a subsequent frame."
    pub(crate) fn mask_key(&mut self) -> [u8; 4] {
        self.rng.next_u32().to_ne_bytes()
    }

    /// The session, if `id` is not stale.
    #[inline]
    pub(crate) fn session(&mut self, id: ConnId) -> Option<&mut Session> {
        self.sessions
            .get_mut(id.index as usize)
            .filter(|s| s.generation == id.generation && s.phase != Phase::Free)
    }

    pub(crate) fn id_of(&self, index: u32) -> ConnId {
        ConnId {
            index,
            generation: self.sessions[index as usize].generation,
        }
    }

    /// Takes the slot of a new connection.
    pub(crate) fn start(&mut self, id: ConnId, phase: Phase) -> &mut Session {
        let index = id.index as usize;
        while self.sessions.len() <= index {
            self.sessions.push(Session::free());
        }
        self.sessions[index] = Session::start(id, phase, self.now);
        self.busy += usize::from(phase.holds_a_drain());
        self.rearm(id.index);
        &mut self.sessions[index]
    }

    /// Frees a slot.
    pub(crate) fn free(&mut self, index: u32) {
        self.enter(index, Phase::Free);
        let session = std::mem::replace(&mut self.sessions[index as usize], Session::free());
        if let Some(timer) = session.timer {
            self.wheel.cancel(timer);
        }
        if session.has(SessionFlags::ADMITTED) {
            self.admission.release(session.ticket);
        }
        if let Some(client) = self.clients.get_mut(index as usize) {
            *client = None;
        }
    }

    /// Moves a session to its next phase and sets that phase's timer.
    pub(crate) fn enter(&mut self, index: u32, phase: Phase) {
        let session = &mut self.sessions[index as usize];
        self.busy -= usize::from(session.phase.holds_a_drain());
        self.busy += usize::from(phase.holds_a_drain());
        self.open -= usize::from(session.phase == Phase::Open);
        self.open += usize::from(phase == Phase::Open);
        session.enter(phase, self.now);
        if phase != Phase::Free {
            self.rearm(index);
        }
    }

    /// Sets the session's timer again.
    pub(crate) fn rearm(&mut self, index: u32) {
        let session = &mut self.sessions[index as usize];
        if let Some(timer) = session.timer.take() {
            self.wheel.cancel(timer);
        }
        if let Some(at) = session.deadline(&self.tunables.limits, self.now) {
            session.timer = Some(self.wheel.insert(at, index));
        }
    }

    /// Lets the session's timer fire at `due` at the latest. A session that is watched often has a timer that fires earlier, so that
    /// this is a comparison.
    pub(crate) fn watch(&mut self, index: u32, due: Time) {
        let timer = self.sessions[index as usize].timer;
        let earlier = timer.and_then(|timer| self.wheel.deadline(timer));
        if earlier.is_none_or(|at| at > due) {
            self.rearm(index);
        }
    }

    /// Lets the transport close once everything is sent.
    pub(crate) fn close_transport<C: Connections>(&mut self, io: &mut C, id: ConnId) {
        io.close(id);
        self.enter(id.index, Phase::Gone);
    }

    /// Lets the transport reset the connection.
    pub(crate) fn abort_transport<C: Connections>(&mut self, io: &mut C, id: ConnId) {
        io.abort(id);
        self.enter(id.index, Phase::Gone);
    }

    /// Ends our side of TCP and gives the peer time to end its own (RFC 6455 §7.1.1: closing at once could reset the
    /// connection and lose the last bytes sent). A client leaves the first step to the server.
    // RFC 6455 §5.5.1: "After both sending and receiving a Close message, an endpoint considers the WebSocket
    // connection closed and MUST close the underlying TCP connection."
    pub(crate) fn linger<C: Connections>(&mut self, io: &mut C, id: ConnId) {
        let client = self.sessions[id.index as usize].has(SessionFlags::CLIENT);
        if !client {
            io.finish(id);
        }
        io.resume(id);
        self.enter(id.index, Phase::Lingering);
    }

    /// Records the party that ends the connection.
    pub(crate) fn set_closed_by(&mut self, index: u32, by: ClosedBy) {
        self.sessions[index as usize].closed_by = by;
    }

    /// Begins a drain: every open connection is given a time to close within the jitter window.
    pub(crate) fn drain(&mut self) {
        if self.draining() {
            return;
        }
        self.drain_deadline = Some(self.now + self.tunables.drain_deadline);
        self.undrained = Some(0);
        self.drain_sessions();
    }

    /// Gives some of the connections that were open when the drain began their time to close.
    #[inline]
    pub(crate) fn drain_sessions(&mut self) {
        if let Some(from) = self.undrained {
            self.drain_sessions_from(from);
        }
    }

    #[cold]
    fn drain_sessions_from(&mut self, from: usize) {
        let to = (from + SESSIONS_PER_TURN).min(self.sessions.len());
        let jitter = self.tunables.drain_jitter.min(self.tunables.drain_deadline);
        let window = u32::try_from(jitter.as_millis()).unwrap_or(u32::MAX);
        for index in from as u32..to as u32 {
            let wait = if window == 0 {
                0
            } else {
                self.rng.random_range(0..window)
            };
            let session = &mut self.sessions[index as usize];
            // One that was opened since has its time already.
            if session.phase == Phase::Open && !session.has(SessionFlags::DRAINING) {
                session.set(SessionFlags::DRAINING);
                session.mark = millis(self.now).wrapping_add(wait);
                self.rearm(index);
            }
        }
        self.undrained = (to < self.sessions.len()).then_some(to);
    }

    /// Whether sessions wait for a visit that no event causes.
    pub(crate) fn has_unvisited(&self) -> bool {
        self.unvisited.is_some() || self.undrained.is_some()
    }

    /// Whether so much was published, and not yet sent, that more of it could fill the queues of subscribers that read well. Then
    /// publishers wait: their bytes stay with the transport.
    #[inline]
    pub(crate) fn fan_out_is_full(&self) -> bool {
        self.unsent.bytes() > self.tunables.limits.send_queue / UNSENT_OF_QUEUE
    }

    /// Publishes what the senders have counted of this lcore's mailbox.
    pub(crate) fn publish_mail(&self) {
        let (bytes, at) = (self.mailbox.bytes(), usize::from(self.lcore));
        self.counters.mailbox_bytes.set(bytes.waiting(at) as u64);
        self.counters.posts_refused.set(bytes.refused(at));
    }

    /// How long the loop may sleep.
    pub(crate) fn sleep_limit(&self) -> Option<Duration> {
        let timer = self.wheel.next_deadline();
        [timer, self.drain_deadline]
            .into_iter()
            .flatten()
            .min()
            .map(|at| at.saturating_sub(self.now))
    }
}
