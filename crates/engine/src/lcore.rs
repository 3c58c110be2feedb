//! The loop of one lcore.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hioload_lcore::{Clock, IdleStrategy, Time, Wait};
use hioload_transport::{Activity, Budget, Transport};
use hioload_ws_proto::{Assembler, AssemblerOptions};

use crate::app::App;
use crate::commands::Pending;
use crate::config::{Config, ReconfigureError, Tunables};
use crate::core::{Core, LcoreInit};
use crate::counters::Totals;
use crate::handler::{ClosedBy, Handler};
use crate::heartbeat::Step;
use crate::session::Phase;

/// Connections served in a turn in which nothing is published: few, so that a connection's socket is still in the cache when
/// its reply is sent. When messages fan out, long turns are better: one write then sends several messages to a subscriber.
const SHORT_TURN: usize = 16;
/// Interval at which a drained lcore checks whether the others have drained.
const OTHERS_DRAIN: Duration = Duration::from_millis(10);
/// Time between two publications of the counters of the layers below the transport: there are many.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(10);
/// Connections accepted in one turn.
const ACCEPTS_PER_TURN: usize = 128;
/// Bytes inflated between two looks at the time.
const INFLATED_AT_ONCE: usize = 32 << 10;

/// One lcore's engine: a transport, a handler, and the sessions between them.
///
/// A [`Server`](crate::Server) runs one on each of its threads. Alone, it is for callers that hold the transport and the clock:
/// tests, fuzzing, simulation, and benchmarks without a network.
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
    /// It has reported that it has drained.
    drained: bool,
    /// The least budget of events for a turn ([`Features::burst`]).
    ///
    /// [`Features::burst`]: hioload_transport::Features::burst
    burst: usize,
    /// Deliveries of published messages up to the last turn.
    delivered: u64,
    /// The counters of the layers below the transport have changed since they were published.
    below_stale: bool,
    /// Time from which they are published again.
    below_due: Time,
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
        self.app.core.publish_mail();
        let counters = &self.app.core.counters;
        counters.publish(&self.io);
        counters.publish_below(&self.io);
        counters.totals::<T>()
    }

    /// Open WebSocket connections.
    pub fn connections(&self) -> usize {
        self.app.core.open
    }

    pub(crate) fn new(io: T, handler: H, mut init: LcoreInit<H::Event>, now: Time) -> Self {
        let tunables = &init.config.tunables;
        let limits = &tunables.limits;
        let options = AssemblerOptions::new(limits.of_messages())
            .budget(limits.reassembly_memory)
            .slice(INFLATED_AT_ONCE);
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
            below_stale: false,
            below_due: now,
        };
        lcore
            .app
            .call_lcore(&mut lcore.io, |handler, cx| handler.on_start(cx));
        // The first turn may follow a long sleep.
        lcore.app.core.mailbox.ring_doorbells();
        lcore
    }

    /// Applies new tunables between two turns; [`Limits`](crate::Limits) documents the effect on open connections. Bounds of
    /// the process (`max_connections`, `max_connections_per_source`) change for all lcores of the group.
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
        self.app.core.drain_sessions();
    }

    fn apply(&mut self, new: Arc<Tunables>) {
        if new.idle != self.idle.idle() {
            self.idle = IdleStrategy::new(new.idle);
        }
        self.app.reconfigure(new);
    }

    /// Bounds turns by what `clock` measures, whose times [`turn`](Self::turn) must be given from now on. Without it the bounds
    /// hold for estimates of the work, and every run with the same input is the same.
    pub fn measure(&mut self, clock: Clock) {
        self.app.core.work.measure(clock);
    }

    /// Runs until the lcore is stopped, or a drain has ended.
    pub(crate) fn run(mut self, clock: &mut Clock) -> io::Result<()> {
        self.measure(clock.clone());
        while !self.is_done() {
            let timeout = self.next_wait();
            let slept = timeout != Some(Duration::ZERO);
            self.app.core.begin(Step::Waiting);
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

    /// One turn at `now`, after the transport's `wait`: commands, timers, received bytes, then one flush.
    pub fn turn(&mut self, now: Time) {
        let core = &mut self.app.core;
        if !self.worked {
            let idle = now.saturating_sub(core.now).as_nanos();
            core.counters.idle_nanos.add(idle as u64);
        }
        core.now = now;
        core.counters.turns.bump();
        let tunables = &core.tunables;
        let (turn, visit) = (tunables.turn_time, tunables.visit_time);
        core.work.begin_turn(now, turn, visit);
        core.begin(Step::Commands);
        self.apply_pending();
        let Self { io, app, .. } = self;
        let commands = app.run_commands(io);
        app.core.begin(Step::Timers);
        app.run_timers(io);
        app.core.begin(Step::Turn);
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
        app.core.begin(Step::Dispatch);
        let Activity { events, more, .. } = io.dispatch(app, budget, now);
        if more && app.core.work.is_exhausted() {
            app.core.counters.turns_cut.bump();
        }
        app.core.begin(Step::Flush);
        io.flush(app);
        let unflushed = io.has_unflushed();
        app.core.unsent.flushed(io.flush_rounds(), unflushed);

        app.core.mailbox.ring_doorbells();
        self.worked = events > 0 || commands > 0 || more || acted || unflushed;
        if self.worked {
            self.app.core.counters.publish(&self.io);
            self.below_stale = true;
        }
        if self.below_stale && now >= self.below_due {
            self.publish_below();
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

    /// How long the next `wait` may sleep. Once it has announced a sleep here, a command wakes this lcore.
    fn next_wait(&mut self) -> Option<Duration> {
        let core = &self.app.core;
        if self.idle.next(self.worked) == Wait::Poll || core.has_unvisited() {
            return Some(Duration::ZERO);
        }
        if !core.mailbox.prepare_sleep() {
            core.mailbox.awake();
            return Some(Duration::ZERO);
        }
        // Without this, the counters of the last turns would be published only after the sleep.
        if self.below_stale {
            self.publish_below();
        }
        let core = &self.app.core;
        // No doorbell rings when the last lcore has drained.
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

    /// Whether a further turn at the same time has work, apart from events of the transport: the last turn left some, or
    /// commands wait in the mailbox.
    pub fn has_work(&self) -> bool {
        let core = &self.app.core;
        self.worked || core.has_unvisited() || !core.mailbox.is_empty()
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

    /// The drain's deadline: resets the connections that have not closed.
    fn reset_the_rest(&mut self) {
        let Self { io, app, .. } = self;
        for index in 0..app.core.sessions.len() as u32 {
            match app.core.sessions[index as usize].phase {
                Phase::Free | Phase::Gone => continue,
                Phase::Proxy | Phase::Request => {}
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
        app.core.begin(Step::Finish);
        io.flush(app);
        app.core.stopping = true;
    }

    /// Ends the loop: closes every connection, flushes once, and calls `on_close` for each that was open.
    pub fn finish(mut self) {
        let Self { io, app, .. } = &mut self;
        app.core.begin(Step::Finish);
        io.stop_listening();
        for index in 0..app.core.sessions.len() as u32 {
            match app.core.sessions[index as usize].phase {
                Phase::Open => app.core.set_closed_by(index, ClosedBy::Engine),
                // The cause is recorded. `on_close` has not been called.
                Phase::Closing => {}
                _ => continue,
            }
            let id = app.core.id_of(index);
            app.core.close_transport(io, id);
            app.end(io, id, "");
        }
        io.flush(app);
        // The ends of connections may have sent commands to other lcores, and no turn follows that would wake those.
        app.core.mailbox.ring_doorbells();
        self.app.core.counters.publish(&self.io);
        self.publish_below();
        self.app.core.begin(Step::Ended);
    }

    /// Publishes the counters of the layers below the transport.
    #[cold]
    fn publish_below(&mut self) {
        self.app.core.publish_mail();
        self.app.core.counters.publish_below(&self.io);
        self.below_stale = false;
        self.below_due = self.app.core.now + PUBLISH_INTERVAL;
    }
}
