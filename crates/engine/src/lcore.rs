//! The loop of one lcore.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hioload_lcore::{Clock, IdleStrategy, Time, Wait};
use hioload_transport::{Activity, Budget, Transport};
use hioload_ws_proto::{Assembler, AssemblerOptions};

use crate::app::App;
use crate::commands::{Command, FlowsRequest, Pending};
use crate::config::{Config, ReconfigureError, Tunables};
use crate::core::{Core, LcoreInit};
use crate::counters::Totals;
use crate::handler::{ClosedBy, Handler};
use crate::session::Phase;

/// Commands taken from the mailbox in one turn.
const COMMANDS_PER_TURN: usize = 1024;
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
    /// As at start.
    config: Arc<Config>,
    pending: Arc<Pending>,
    pub(crate) idle: IdleStrategy,
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

    pub(crate) fn new(io: T, handler: H, mut init: LcoreInit<H::Event>, now: Time) -> Self {
        let tunables = &init.config.tunables;
        let limits = &tunables.limits;
        let options = AssemblerOptions::new(limits.of_messages()).budget(limits.reassembly_memory);
        let assembler = Assembler::new(options);
        let idle = IdleStrategy::new(tunables.idle);
        let (config, pending) = (Arc::clone(&init.config), Arc::clone(&init.pending));
        let waker = io.waker();
        init.mailbox.set_waker(move || waker.wake());
        let features = io.features();
        let core = Core::new(init, now, features.max_connections);
        let mut lcore = Self {
            io,
            app: App::new(handler, assembler, core),
            config,
            pending,
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

    /// Applies new tunables between two turns; [`Limits`](crate::Limits) says what that means for open connections. Bounds of the whole
    /// process (`max_connections`, `max_connections_per_source`) change for all lcores of the group.
    ///
    /// # Errors
    /// A value exceeds a size that was chosen at start. Nothing has changed then.
    pub fn reconfigure(&mut self, new: Tunables) -> Result<(), ReconfigureError> {
        self.config.check(&new)?;
        self.apply(Arc::new(new));
        Ok(())
    }

    #[inline]
    pub(crate) fn apply_pending(&mut self) {
        if let Some(new) = self.pending.take() {
            self.apply(new);
        }
        self.app.core.visit_sessions();
    }

    fn apply(&mut self, new: Arc<Tunables>) {
        if new.idle != self.idle.idle() {
            self.idle = IdleStrategy::new(new.idle);
        }
        self.app.reconfigure(new);
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

    /// One turn at `now`, after the transport's `wait`: command, timers, received bytes, then one flush for all of it.
    pub fn turn(&mut self, now: Time) {
        let core = &mut self.app.core;
        if !self.worked {
            let idle = now.saturating_sub(core.now).as_nanos();
            core.counters.idle_nanos.add(idle as u64);
        }
        core.now = now;
        core.counters.turns.bump();
        self.apply_pending();
        let Self { io, app, .. } = self;
        let commands = app.run_commands(io);
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
        let most = app.core.tunables.turn_events;
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

        app.core.mailbox.ring_doorbells();
        self.worked = events > 0 || commands > 0 || more || acted;
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

    /// How long the next `wait` may sleep. From a sleep announced here on, whoever sends command wakes this lcore.
    fn next_wait(&mut self) -> Option<Duration> {
        let core = &self.app.core;
        if self.idle.next(self.worked) == Wait::Poll || core.unvisited.is_some() {
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

    /// Time from this turn until the earliest timer: of a session, of the application, or of a drain.
    pub fn next_timer(&self) -> Option<Duration> {
        self.app.core.sleep_limit()
    }

    /// The handler.
    pub fn handler(&mut self) -> &mut H {
        &mut self.app.handler
    }

    /// Whether the loop has ended: the application or a command has stopped it, or every lcore of the group has drained. Then
    /// [`finish`](Self::finish) is the last call.
    pub fn is_done(&self) -> bool {
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
                        app.core.set_closed_by(index, ClosedBy::Engine);
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
    pub fn finish(mut self) {
        let Self { io, app, .. } = &mut self;
        io.stop_listening();
        for index in 0..app.core.sessions.len() as u32 {
            match app.core.sessions[index as usize].phase {
                Phase::Open => app.core.set_closed_by(index, ClosedBy::Engine),
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
    /// Runs the commands in the mailbox. Returns their number.
    fn run_commands<T: Transport>(&mut self, io: &mut T) -> usize {
        for taken in 0..COMMANDS_PER_TURN {
            let Some((from, command)) = self.core.mailbox.pop() else {
                return taken;
            };
            self.run_command(io, from, command);
        }
        COMMANDS_PER_TURN
    }

    fn run_command<T: Transport>(
        &mut self,
        io: &mut T,
        from: Option<usize>,
        command: Command<H::Event>,
    ) {
        match command {
            Command::Publish { topic, kind, frame } => {
                self.core.publish_here(io, &topic, kind, frame)
            }
            Command::Send { to, kind, payload } => {
                // The sender could not be told anyway: a closed connection and a full queue are counted.
                let _ = self.core.send_message(io, to, kind, &payload);
            }
            Command::Ping { to, payload } => {
                let _ = self.core.send_ping(io, to, &payload);
            }
            Command::Close { to, code, reason } => {
                self.core
                    .begin_close(io, to, code, &reason, ClosedBy::Application);
            }
            Command::Event {
                to: Some(id),
                event,
            } => {
                self.call(io, id, |handler, conn, cx| {
                    handler.on_event(conn, cx, event);
                });
            }
            Command::Event { to: None, event } => {
                self.call_lcore(io, |handler, cx| handler.on_lcore_event(cx, event));
            }
            Command::JobPanicked { to } => match to.filter(|id| self.core.session(*id).is_some()) {
                Some(id) => self.panicked(io, id),
                None => self.core.counters.handler_panics.bump(),
            },
            Command::Flows(request) => {
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
            Command::Drain => self.core.drain(),
            Command::Stop => self.core.stopping = true,
            Command::Wake => {}
        }
    }
}
