//! The handler of a generator's lcore: it opens connections, sends messages, checks the answers, and counts.

mod ending;
mod handler;
mod opening;

use std::collections::VecDeque;
use std::sync::Arc;

use hioload_lcore::{Clock, Time};
use hioload_ws_proto::Kind;

use crate::channel::{ControlLink, Notice};
use crate::conn::Conn;
use crate::fan::Fan;
use crate::job::{Dialect, Job, Scenario};
use crate::meter::Meter;
use crate::opener::Opener;
use crate::pacer::Pacer;
use crate::payload::{Payload, Wrong};

/// Errors that are sent as notices; the others are only counted.
const NOTIFIED_ERRORS: usize = 4;

/// The stage of a run, on one lcore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// No command has arrived.
    Waiting,
    /// Connections are being opened.
    Opening,
    /// All connections are open.
    Ready,
    /// The load runs.
    Running,
    /// The lcore waits for the answers to the messages in flight.
    Draining,
    /// Connections are being closed.
    Closing,
    /// An answer was wrong, or the run cannot go on.
    Failed,
}

/// The handler of one lcore of the generator.
#[derive(Debug)]
pub struct Generator {
    pub(crate) job: Arc<Job>,
    pub(crate) lcore: u16,
    pub(crate) link: ControlLink,
    pub(crate) stage: Stage,
    pub(crate) payload: Payload,
    pub(crate) kind: Kind,
    pub(crate) conns: Vec<Conn>,
    pub(crate) opener: Opener,
    pub(crate) pacer: Option<Pacer>,
    pub(crate) fan: Fan,
    /// Messages in flight at once over all connections, which take turns; 0: each connection sends whenever it can.
    pub(crate) active: usize,
    /// Connections that wait for their turn.
    pub(crate) turns: VecDeque<usize>,
    /// Connections that stay open and send nothing.
    pub(crate) silent: usize,
    pub(crate) meter: Meter,
    /// The next connection to begin sending, or to be closed.
    pub(crate) cursor: usize,
    /// Messages due after this time are not sent.
    pub(crate) until: u64,
    /// Connections that the drain still waits for.
    pub(crate) unsettled: usize,
    /// Real time, for the arrival of answers; `None` in virtual time.
    clock: Option<Clock>,
    /// Arrival time of the answers of this turn, once there is one.
    arrived: Option<u64>,
    last_check: Time,
    deadline: Time,
    endpoint: usize,
    notified: usize,
}

impl Generator {
    /// Makes the generator of lcore `lcore`, with its part of the job.
    pub fn new(job: Arc<Job>, lcore: u16, link: ControlLink) -> Self {
        let topics = job.scenario == Scenario::Fanout && job.dialect == Dialect::Topics;
        let kind = if topics { Kind::Text } else { job.kind };
        let fan = Fan::new(&job, lcore);
        let share = job.share(job.connections, lcore);
        let wanted = share + fan.publishers;
        let conns = (0..wanted).map(|n| {
            let of = (u64::from(lcore) << 32 | n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            Conn::new((of >> 32) as u32)
        });
        Self {
            payload: Payload::new(&job.sizes, kind == Kind::Text, job.verify),
            kind,
            conns: conns.collect(),
            opener: Opener::new(wanted, job.opening),
            pacer: None,
            fan,
            active: job.share(job.active, lcore),
            turns: VecDeque::new(),
            silent: job.share(job.silent, lcore),
            meter: Meter::new(),
            stage: Stage::Waiting,
            cursor: 0,
            until: u64::MAX,
            unsettled: 0,
            clock: None,
            arrived: None,
            last_check: Time::ZERO,
            deadline: Time::MAX,
            endpoint: 0,
            notified: 0,
            lcore,
            link,
            job,
        }
    }

    /// Takes the arrival time of answers from a clock of its own instead of the time of the turn. The turn begins before the answers
    /// are received: messages sent in it, and a preemption of the thread, lie between the two.
    #[must_use]
    pub fn in_real_time(mut self) -> Self {
        self.clock = Some(Clock::new());
        self
    }

    /// Arrival time of the answers of this turn. The clock is read at the first of them, right after all were received together.
    #[inline]
    pub(crate) fn arrival(&mut self, turn: Time) -> u64 {
        if let Some(arrived) = self.arrived {
            return arrived;
        }
        let arrived = self.clock.as_mut().map_or(turn, Clock::tick).as_nanos();
        self.arrived = Some(arrived);
        arrived
    }

    pub(crate) fn become_ready(&mut self) {
        self.stage = Stage::Ready;
        self.link.notify(Notice::Ready);
    }

    /// Counts an error.
    pub(crate) fn error(&mut self, name: &str, line: &str) {
        self.meter.error(name);
        if self.notified < NOTIFIED_ERRORS {
            self.notified += 1;
            self.link.notify(Notice::Error(line.to_owned()));
        }
    }

    /// Ends the run.
    pub(crate) fn fail(&mut self, line: String) {
        if self.stage != Stage::Failed {
            self.stage = Stage::Failed;
            self.opener.stop();
            self.link.notify(Notice::Failed(line));
        }
    }

    /// Ends the run because of a wrong answer.
    #[cold]
    pub(crate) fn wrong(&mut self, n: usize, wrong: Wrong) {
        self.meter.error(wrong.name());
        let lcore = match self.job.lcores {
            1 => String::new(),
            _ => format!(" of lcore {}", self.lcore),
        };
        self.fail(format!(
            "{} on connection {n}{lcore}: {wrong}",
            wrong.name()
        ));
    }
}
