//! The loop of one lcore.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hioload_lcore::mesh::mesh;
use hioload_lcore::{Clock, IdleStrategy, Time, Wait};
use hioload_transport::{Activity, Budget, Transport};
use hioload_ws_proto::{Assembler, AssemblerOptions, Limits};

use crate::admission::Admission;
use crate::app::App;
use crate::config::Config;
use crate::core::{Core, SUBSCRIBER_IS_LCORE, Seat};
use crate::counters::Totals;
use crate::executor::Executor;
use crate::handler::{ClosedBy, Handler};
use crate::mail::{FlowsRequest, Mail};
use crate::session::Phase;

/// Letters taken from the mailbox in one turn.
const MAIL_PER_TURN: usize = 1024;
/// Connections served in a turn in which nothing is published: few, so that a connection's socket is still in the cache when
/// its reply is sent. When messages fan out, long turns are better: what goes to one subscriber is then sent in one write.
const SHORT_TURN: usize = 16;
/// How often an lcore that has drained looks whether the others have.
const OTHERS_DRAIN: Duration = Duration::from_millis(10);
/// Connections accepted in one turn.
const ACCEPTS_PER_TURN: usize = 128;

/// One lcore's engine: a transport, a handler, and the sessions between them.
///
/// A [`Server`](crate::Server) runs one on each of its threads. By itself it is for whoever holds the transport and the clock:
/// tests, fuzzing, simulation, and benchmarks of the engine without a network.
pub struct Lcore<T: Transport, H: Handler> {
    pub(crate) io: T,
    pub(crate) app: App<H>,
    idle: IdleStrategy,
    /// Whether the last turn did anything.
    worked: bool,
    accepting: bool,
    /// It has said that it has nobody to wait for any more.
    drained: bool,
    /// What the transport receives at once ([`Features::burst`]).
    ///
    /// [`Features::burst`]: hioload_transport::Features::burst
    burst: usize,
    /// Deliveries of published messages up to the last turn.
    delivered: u64,
}

impl<T: Transport, H: Handler> fmt::Debug for Lcore<T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lcore")
            .field("lcore", &self.app.core.lcore)
            .finish_non_exhaustive()
    }
}

impl<T: Transport, H: Handler> Lcore<T, H> {
    /// An lcore with nobody beside it: no other lcores, and no executor, so that [`LcoreContext::spawn_lcore`] is always busy.
    ///
    /// [`LcoreContext::spawn_lcore`]: crate::LcoreContext::spawn_lcore
    pub fn alone(io: T, handler: H, config: Config, now: Time) -> Self {
        let limits = &config.limits;
        let admission = Admission::new(limits.max_connections, limits.max_connections_per_source);
        let mut mailboxes = mesh(1, config.mailbox);
        let seat = Seat {
            lcore: 0,
            lcores: 1,
            mailbox: mailboxes.pop().expect("a mesh of one has one mailbox"),
            counters: Arc::default(),
            admission: Arc::new(admission),
            executor: Executor::none(),
            config: Arc::new(config),
        };
        Self::new(io, handler, seat, now)
    }

    /// The transport.
    pub fn transport(&mut self) -> &mut T {
        &mut self.io
    }

    /// What this lcore has counted so far.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        self.app.core.counters.add_to(&mut totals);
        totals
    }

    /// Open WebSocket connections.
    pub fn connections(&self) -> usize {
        self.app.core.open
    }

    pub(crate) fn new(io: T, handler: H, mut seat: Seat<H::Event>, now: Time) -> Self {
        let limits = &seat.config.limits;
        let of_messages = Limits::new(limits.max_message, limits.max_message, limits.max_fragments);
        let assembler =
            Assembler::new(AssemblerOptions::new(of_messages).budget(limits.reassembly_memory));
        let waker = io.waker();
        seat.mailbox.set_waker(move || waker.wake());
        let idle = IdleStrategy::new(seat.config.idle);
        let features = io.features();
        let core = Core::new(seat, now, features.max_connections);
        let mut lcore = Self {
            io,
            app: App::new(handler, assembler, core),
            idle,
            worked: true,
            accepting: true,
            drained: false,
            burst: features.burst,
            delivered: 0,
        };
        lcore
            .app
            .call_lcore(&mut lcore.io, |handler, cx| handler.on_start(cx));
        // The first turn may be a long sleep away.
        lcore.app.core.mailbox.ring_doorbells();
        lcore
    }

    /// Runs until the lcore is told to stop, or a drain has ended.
    pub(crate) fn run(mut self, clock: &mut Clock) -> io::Result<()> {
        while !self.is_done() {
            let timeout = self.next_wait();
            let slept = timeout != Some(Duration::ZERO);
            let result = self.io.wait(timeout);
            if slept {
                self.app.core.mailbox.awake();
                self.app.core.counters.sleeps.bump();
            }
            result?;
            self.turn(clock.tick());
        }
        self.finish();
        Ok(())
    }

    /// One turn at `now`, after the transport's `wait`: mail, timers, received bytes, then one flush for all of it.
    pub fn turn(&mut self, now: Time) {
        let Self { io, app, .. } = self;
        if !self.worked {
            let idle = now.saturating_sub(app.core.now).as_nanos();
            app.core.counters.idle_nanos.add(idle as u64);
        }
        app.core.now = now;
        app.core.counters.turns.bump();
        let letters = app.take_mail(io);
        app.run_timers(io);
        let acted = H::TURNS
            && app
                .call_lcore(io, |handler, cx| handler.on_turn(cx))
                .unwrap_or(false);

        let accepts = app.core.accept_budget(ACCEPTS_PER_TURN);
        if self.accepting != (accepts > 0) {
            self.accepting = accepts > 0;
            io.set_accepting(self.accepting);
        }
        let delivered = app.core.counters.delivered.get();
        let most = app.core.config.turn_events;
        let budget = Budget {
            events: if delivered == self.delivered {
                most.min(SHORT_TURN.max(self.burst))
            } else {
                most
            },
            accepts,
        };
        self.delivered = delivered;
        let Activity { events, more, .. } = io.dispatch(app, budget, now);
        io.flush(app);

        app.core.send_interest();
        app.core.mailbox.ring_doorbells();
        self.worked = events > 0 || letters > 0 || more || acted;
        if self.worked {
            self.copy_transport_counters();
        }
        if self
            .app
            .core
            .drain_deadline
            .is_some_and(|deadline| now >= deadline)
        {
            self.reset_the_rest();
        }
        let core = &self.app.core;
        if core.draining() && core.busy == 0 && !self.drained {
            self.drained = true;
            core.admission.has_drained();
        }
    }

    /// How long the next `wait` may sleep. From a sleep announced here on, whoever sends mail wakes this lcore.
    fn next_wait(&mut self) -> Option<Duration> {
        let core = &self.app.core;
        if self.idle.next(self.worked) == Wait::Poll || core.interest_waiting() > 0 {
            return Some(Duration::ZERO);
        }
        if !core.mailbox.prepare_sleep() {
            core.mailbox.awake();
            return Some(Duration::ZERO);
        }
        // Nobody rings when the last lcore has drained.
        let others = self.drained.then_some(OTHERS_DRAIN);
        [core.sleep_limit(), core.accept_wait(), others]
            .into_iter()
            .flatten()
            .min()
    }

    pub(crate) fn is_done(&self) -> bool {
        let core = &self.app.core;
        core.stopping || (self.drained && core.busy == 0 && core.admission.all_have_drained())
    }

    /// The drain's deadline: what has not closed by now is reset.
    fn reset_the_rest(&mut self) {
        let Self { io, app, .. } = self;
        for index in 0..app.core.sessions.len() as u32 {
            match app.core.sessions[index as usize].phase {
                Phase::Free | Phase::Gone => continue,
                Phase::Request => {}
                phase => {
                    app.core.counters.drain_resets.bump();
                    if phase == Phase::Open {
                        app.core.blame(index, ClosedBy::Engine);
                    }
                }
            }
            let id = app.core.id_of(index);
            app.core.abort_transport(io, id);
            app.end(io, id, "");
        }
        io.flush(app);
        app.core.stopping = true;
    }

    /// The end of the loop: what is queued gets one last chance, and the application hears of every connection's end.
    pub(crate) fn finish(mut self) {
        let Self { io, app, .. } = &mut self;
        io.stop_listening();
        for index in 0..app.core.sessions.len() as u32 {
            match app.core.sessions[index as usize].phase {
                Phase::Open => app.core.blame(index, ClosedBy::Engine),
                // Why it ends is known; that it has ended, the application has yet to hear.
                Phase::Closing => {}
                _ => continue,
            }
            let id = app.core.id_of(index);
            app.core.close_transport(io, id);
            app.end(io, id, "");
        }
        io.flush(app);
        // What the ends of connections led to is in other lcores' mailboxes, and no turn follows that would wake them.
        app.core.mailbox.ring_doorbells();
        self.copy_transport_counters();
    }

    fn copy_transport_counters(&mut self) {
        let (stats, counters) = (self.io.stats(), &self.app.core.counters);
        counters.bytes_in.set(stats.bytes_in);
        counters.bytes_out.set(stats.bytes_out);
        counters.reads.set(stats.reads);
        counters.writes.set(stats.writes);
        counters.writes_blocked.set(stats.blocked);
        counters.accept_errors.set(stats.accept_errors);
        counters.rx_bytes_in_place.set(stats.rx_bytes_in_place);
        counters.rx_bytes_from_ring.set(stats.rx_bytes_from_ring);
        counters.tcp_retransmits.set(stats.tcp.retransmits);
        counters
            .tcp_half_open_evicted
            .set(stats.tcp.half_open_evicted);
        counters
            .tcp_time_wait_evicted
            .set(stats.tcp.time_wait_evicted);
        counters.tcp_orphans_reset.set(stats.tcp.orphans_reset);
        counters.tcp_timeouts.set(stats.tcp.timeouts);
        counters.tcp_rst_limited.set(stats.tcp.rst_limited);
        counters.tcp_icmp_limited.set(stats.tcp.icmp_limited);
        counters.tcp_handoffs.set(stats.tcp.handoffs);
        counters.tcp_handoff_drops.set(stats.tcp.handoff_drops);
        counters.tcp_bad_checksums.set(stats.tcp.bad_checksums);
        counters.tcp_rx_malformed.set(stats.tcp.rx_malformed);
        counters.tcp_tx_drops.set(stats.tcp.tx_drops);
        counters
            .tcp_rings_given_back
            .set(stats.tcp.rings_given_back);
        counters.device_rx_frames.set(stats.device.rx_frames);
        counters.device_rx_dropped.set(stats.device.rx_dropped);
        counters.device_tx_frames.set(stats.device.tx_frames);
        counters.device_tx_dropped.set(stats.device.tx_dropped);
        counters.device_tx_full.set(stats.device.tx_full);
    }
}

impl<H: Handler> App<H> {
    /// Opens the mail that has come; gives how many letters.
    fn take_mail<T: Transport>(&mut self, io: &mut T) -> usize {
        for taken in 0..MAIL_PER_TURN {
            let Some((from, mail)) = self.core.mailbox.pop() else {
                return taken;
            };
            self.open_mail(io, from, mail);
        }
        MAIL_PER_TURN
    }

    fn open_mail<T: Transport>(&mut self, io: &mut T, from: Option<usize>, mail: Mail<H::Event>) {
        match mail {
            Mail::Publish { topic, kind, frame } => self.core.publish_here(io, &topic, kind, frame),
            Mail::Interest { pattern, wanted } => {
                let Some(from) = from else { return };
                let subscriber = from as u32 | SUBSCRIBER_IS_LCORE;
                if wanted {
                    self.core.topics.subscribe(&pattern, subscriber);
                } else {
                    self.core.topics.unsubscribe(&pattern, subscriber);
                }
            }
            Mail::Send { to, kind, payload } => {
                // The sender could not be told anyway: a closed connection and a full queue are counted.
                let _ = self.core.send_message(io, to, kind, &payload);
            }
            Mail::Ping { to, payload } => {
                let _ = self.core.send_ping(io, to, &payload);
            }
            Mail::Close { to, code, reason } => {
                self.core
                    .begin_close(io, to, code, &reason, ClosedBy::Application);
            }
            Mail::Event {
                to: Some(id),
                event,
            } => {
                self.call(io, id, |handler, conn, cx| {
                    handler.on_event(conn, cx, event);
                });
            }
            Mail::Event { to: None, event } => {
                self.call_lcore(io, |handler, cx| handler.on_lcore_event(cx, event));
            }
            Mail::JobPanicked { to } => match to.filter(|id| self.core.session(*id).is_some()) {
                Some(id) => self.panicked(io, id),
                None => self.core.counters.handler_panics.bump(),
            },
            Mail::Flows(request) => {
                let FlowsRequest {
                    from,
                    wanted,
                    mut rows,
                    answer,
                } = *request;
                let next = io.flows(from, &wanted, &mut rows);
                // Whoever asked may have lost patience.
                let _ = answer.try_send((rows, next));
            }
            Mail::Drain => self.core.drain(),
            Mail::Stop => self.core.stopping = true,
        }
    }
}
