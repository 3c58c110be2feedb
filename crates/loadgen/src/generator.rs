//! The handler of a generator's lcore: opens connections, sends, checks what comes back, and counts.
//!
//! It is told what to do by [`Command`]s and answers with [`Notice`]s, over channels that are looked at once in a turn: a message
//! costs neither lock nor allocation.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use hioload_engine::{
    Accept, ClosedBy, Closure, Connect, ConnectError, ConnectionId, Context, Handler, LcoreContext,
    Response,
};
use hioload_lcore::{Clock, Time};
use hioload_transport::Peer;
use hioload_ws_proto::handshake::client::Response as ServerReply;
use hioload_ws_proto::handshake::server::Request;
use hioload_ws_proto::{CloseCode, Kind, Message};

use crate::flight::{Flight, State};
use crate::job::{Dialect, Job, Scenario};
use crate::meter::{Interval, Meter};
use crate::opener::Opener;
use crate::pacer::Pacer;
use crate::payload::{Payload, Wrong};
use crate::scenarios::fanout::Fan;

/// How often connections are looked at that do not answer.
const LOOK: Duration = Duration::from_millis(100);
/// Connections begun, or told to close, in one turn.
const AT_ONCE: usize = 256;
/// Errors that are sent as notices; the others are only counted.
const TOLD: usize = 4;
/// A ping that is not answered for so long ends the wait for what might come before it.
const PATIENCE: Duration = Duration::from_secs(1);

/// What an lcore is to do.
#[derive(Debug)]
pub enum Command {
    /// Open the connections, if the scenario has them before the load.
    Open,
    /// The load begins.
    Go,
    /// Tell what happened since the last time; here is an empty interval to go on with.
    Report(Box<Interval>),
    /// Send no more, and wait for what is under way.
    Halt,
    /// Close everything and end.
    Close,
}

/// What an lcore tells.
#[derive(Debug)]
pub enum Notice {
    /// Everything is open.
    Ready,
    /// The answer to [`Command::Report`].
    Interval {
        /// Whose.
        lcore: u16,
        /// When it ended, on the lcore's clock.
        at: Time,
        /// Open connections.
        open: usize,
        /// What happened in it.
        interval: Box<Interval>,
    },
    /// There is no more to do (`ramp`).
    Finished,
    /// Nothing is under way any more.
    Drained,
    /// An error that is counted, as text; only the first few are told.
    Error(String),
    /// It makes no sense to go on, and why.
    Failed(String),
}

/// Gives commands to one lcore.
#[derive(Debug, Clone)]
pub struct CommandSender {
    commands: Sender<Command>,
    sent: Arc<AtomicU64>,
}

impl CommandSender {
    /// Sends a command; an lcore that has ended has no use for it.
    pub fn send(&self, command: Command) {
        if self.commands.send(command).is_ok() {
            self.sent.fetch_add(1, Ordering::Release);
        }
    }
}

/// An lcore's ends of the channels.
#[derive(Debug)]
pub struct ControlLink {
    commands: Receiver<Command>,
    sent: Arc<AtomicU64>,
    received: u64,
    notices: Sender<Notice>,
}

/// The channels of one lcore, which tells its notices to `notices`.
pub fn control_link(notices: Sender<Notice>) -> (CommandSender, ControlLink) {
    let (sender, receiver) = channel();
    let sent = Arc::new(AtomicU64::new(0));
    let commands = CommandSender {
        commands: sender,
        sent: Arc::clone(&sent),
    };
    let link = ControlLink {
        commands: receiver,
        sent,
        received: 0,
        notices,
    };
    (commands, link)
}

impl ControlLink {
    /// The next command. One load if there is none.
    #[inline]
    fn next(&mut self) -> Option<Command> {
        if self.sent.load(Ordering::Acquire) == self.received {
            return None;
        }
        let command = self.commands.try_recv().ok()?;
        self.received += 1;
        Some(command)
    }

    pub(crate) fn notify(&self, notice: Notice) {
        // Whoever listened has ended the run.
        let _ = self.notices.send(notice);
    }
}

/// What a generator is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing was ordered yet.
    Waiting,
    /// Connections are being opened.
    Opening,
    /// They are open.
    Ready,
    /// The load is on.
    Running,
    /// What is under way is waited for.
    Draining,
    /// Connections are being closed.
    Closing,
    /// Something was wrong: nothing more is done.
    Failed,
}

/// The handler of one lcore.
#[derive(Debug)]
pub struct Generator {
    pub(crate) job: Arc<Job>,
    pub(crate) lcore: u16,
    pub(crate) link: ControlLink,
    pub(crate) stage: Stage,
    pub(crate) payload: Payload,
    pub(crate) kind: Kind,
    pub(crate) flights: Vec<Flight>,
    pub(crate) opener: Opener,
    pub(crate) pacer: Option<Pacer>,
    pub(crate) fan: Fan,
    /// Connections that take turns: how many have a message under way at once; none: all have. And those that wait for theirs.
    pub(crate) active: usize,
    pub(crate) turns: VecDeque<usize>,
    /// Connections that say nothing.
    pub(crate) silent: usize,
    pub(crate) meter: Meter,
    /// The next connection that is to begin sending, or to be closed.
    pub(crate) cursor: usize,
    /// Nothing that is due later is sent.
    pub(crate) until: u64,
    /// Connections that the end waits for.
    pub(crate) unsettled: usize,
    /// Real time, for when answers came; none in virtual time.
    clock: Option<Clock>,
    /// When the answers of this turn came, once there is one.
    came: Option<u64>,
    looked: Time,
    deadline: Time,
    endpoint: usize,
    told: usize,
}

impl Generator {
    /// The generator of lcore `lcore`.
    pub fn new(job: Arc<Job>, lcore: u16, link: ControlLink) -> Self {
        let topics = job.scenario == Scenario::Fanout && job.dialect == Dialect::Topics;
        let kind = if topics { Kind::Text } else { job.kind };
        let fan = Fan::new(&job, lcore);
        let share = job.share(job.connections, lcore);
        let wanted = share + fan.publishers;
        let flights = (0..wanted).map(|n| {
            let of = (u64::from(lcore) << 32 | n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            Flight::new((of >> 32) as u32)
        });
        Self {
            payload: Payload::new(&job.sizes, kind == Kind::Text, job.verify),
            kind,
            flights: flights.collect(),
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
            came: None,
            looked: Time::ZERO,
            deadline: Time::MAX,
            endpoint: 0,
            told: 0,
            lcore,
            link,
            job,
        }
    }

    /// The same for a run in real time: answers count as come when they were received, and not when their turn began. Between the
    /// two lie the messages that were sent in the turn, and whatever else the CPU was given to meanwhile.
    #[must_use]
    pub fn in_real_time(mut self) -> Self {
        self.clock = Some(Clock::new());
        self
    }

    /// When the answers of this turn came: the clock is read at the first of them, right after they were received all together.
    #[inline]
    pub(crate) fn arrival(&mut self, turn: Time) -> u64 {
        if let Some(came) = self.came {
            return came;
        }
        let came = self.clock.as_mut().map_or(turn, Clock::tick).as_nanos();
        self.came = Some(came);
        came
    }

    fn execute(&mut self, cx: &mut impl LcoreContext<Event = ()>, command: Command) {
        match command {
            Command::Open => {
                let later = matches!(self.job.scenario, Scenario::Ramp | Scenario::Churn);
                if later || self.opener.wanted == 0 {
                    self.become_ready();
                } else {
                    self.stage = Stage::Opening;
                }
            }
            Command::Go if self.stage != Stage::Failed => {
                self.stage = Stage::Running;
                self.cursor = 0;
                self.begin(cx);
            }
            Command::Report(next) => {
                let notice = Notice::Interval {
                    lcore: self.lcore,
                    at: cx.now(),
                    open: cx.connections(),
                    interval: self.meter.take(next),
                };
                self.link.notify(notice);
            }
            Command::Halt if self.stage != Stage::Failed => {
                self.halt(cx);
            }
            Command::Close => {
                self.opener.stop();
                self.stage = Stage::Closing;
                self.cursor = 0;
                self.deadline = Time::MAX;
            }
            Command::Go | Command::Halt => {}
        }
    }

    pub(crate) fn become_ready(&mut self) {
        self.stage = Stage::Ready;
        self.link.notify(Notice::Ready);
    }

    /// Opens what is to be opened now.
    fn open_some(&mut self, cx: &mut impl LcoreContext<Event = ()>) -> bool {
        let now = cx.now();
        let mut any = false;
        while let Some((n, since)) = self.opener.next(now) {
            any = true;
            self.flights[n].state = State::Opening;
            self.flights[n].due = since;
            let connect = self.connect(n);
            if let Err(error) = cx.connect(connect) {
                self.connect_failed(now, n, &ConnectError::Network(error));
            }
        }
        any
    }

    fn connect(&self, n: usize) -> Connect {
        let job = &self.job;
        let publishes = n + self.fan.publishers >= self.flights.len() && self.fan.publishers > 0;
        let target = if publishes {
            &job.publish_target
        } else {
            &job.target
        };
        Connect {
            endpoint: job.endpoints[self.endpoint].clone(),
            host: job.host.clone(),
            target: target.clone(),
            origin: job.origin.clone(),
            protocols: job.protocols.clone(),
            headers: job.headers.clone(),
            deflate: job.deflate,
            token: n as u64,
        }
    }

    fn connect_failed(&mut self, now: Time, n: usize, error: &ConnectError) {
        self.opener.failed(now);
        if let Some(flight) = self.flights.get_mut(n) {
            flight.reset();
        }
        if matches!(self.stage, Stage::Closing | Stage::Failed) {
            return;
        }
        let (name, line) = described(error);
        if !self.opener.proven {
            if matches!(error, ConnectError::Network(_))
                && self.endpoint + 1 < self.job.endpoints.len()
            {
                self.endpoint += 1;
                self.opener.again(n);
                return;
            }
            return self.fail(line);
        }
        self.error(&name, &line);
        if self.stage != Stage::Draining {
            self.opener.again(n);
        }
    }

    /// Counts an error.
    pub(crate) fn error(&mut self, name: &str, line: &str) {
        self.meter.error(name);
        if self.told < TOLD {
            self.told += 1;
            self.link.notify(Notice::Error(line.to_owned()));
        }
    }

    /// Ends it all.
    pub(crate) fn fail(&mut self, line: String) {
        if self.stage != Stage::Failed {
            self.stage = Stage::Failed;
            self.opener.stop();
            self.link.notify(Notice::Failed(line));
        }
    }

    /// An answer was wrong.
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

    /// Looks for connections that do not answer.
    fn look(&mut self, now: Time) {
        let limit = now
            .as_nanos()
            .saturating_sub(self.job.timeout.as_nanos() as u64);
        let silent = |flight: &Flight| !flight.under_way.is_empty() && flight.moved < limit;
        let late: Vec<usize> = (0..self.flights.len())
            .filter(|&n| silent(&self.flights[n]))
            .collect();
        let Some(&first) = late.first() else { return };
        for &n in &late {
            self.meter.error("missing");
            self.flights[n].under_way.clear();
        }
        let timeout = self.job.timeout;
        let others = match late.len() {
            1 => String::new(),
            many => format!(", and on {} others", many - 1),
        };
        self.fail(format!(
            "missing: no answer in {timeout:?} on connection {first}{others}"
        ));
    }

    /// Closes some of the connections; ends when all are.
    fn close_some(&mut self, cx: &mut impl LcoreContext<Event = ()>) -> bool {
        let end = (self.cursor + AT_ONCE).min(self.flights.len());
        let before = self.cursor;
        for n in self.cursor..end {
            if let Some(id) = self.flights[n].id {
                cx.close_to(id, CloseCode::NORMAL, "");
            }
        }
        self.cursor = end;
        if self.cursor == self.flights.len() {
            if self.deadline == Time::MAX {
                self.deadline = cx.now() + PATIENCE;
            }
            if cx.connections() == 0 || cx.now() >= self.deadline {
                cx.stop();
            }
        }
        end > before
    }

    fn halt(&mut self, cx: &mut impl LcoreContext<Event = ()>) {
        let now = cx.now();
        // All that was due is sent.
        while self.job.scenario == Scenario::Rate && self.send_due(cx) {}
        self.until = now.as_nanos();
        self.opener.stop();
        self.stage = Stage::Draining;
        self.deadline = now + self.job.timeout + PATIENCE;
        if let Some(pacer) = &mut self.pacer {
            pacer.clear();
        }
        self.settle_all(cx);
    }

    /// Says when the end need not wait any more.
    fn drain_turn(&mut self, cx: &mut impl LcoreContext<Event = ()>) {
        let done = match self.job.scenario {
            Scenario::Churn => cx.connections() == 0 && self.opener.under_way == 0,
            Scenario::Fanout => self.fan.is_complete(),
            _ => self.unsettled == 0,
        };
        if !done && cx.now() < self.deadline {
            return;
        }
        if !done && self.job.scenario == Scenario::Fanout {
            let timeout = self.job.timeout;
            self.meter.error("missing");
            return self.fail(format!(
                "missing: publications were not delivered to everybody in {timeout:?}"
            ));
        }
        self.stage = Stage::Ready;
        self.link.notify(Notice::Drained);
    }
}

impl Handler for Generator {
    type Conn = u32;
    type Event = ();

    const TURNS: bool = true;

    fn on_turn(&mut self, cx: &mut impl LcoreContext<Event = ()>) -> bool {
        let mut acted = false;
        self.came = None;
        while let Some(command) = self.link.next() {
            acted = true;
            self.execute(cx, command);
        }
        match self.stage {
            Stage::Opening => acted |= self.open_some(cx),
            Stage::Running => {
                acted |= self.open_some(cx);
                acted |= self.load_turn(cx);
            }
            Stage::Draining => self.drain_turn(cx),
            Stage::Closing => acted |= self.close_some(cx),
            Stage::Waiting | Stage::Ready | Stage::Failed => {}
        }
        let now = cx.now();
        if now.saturating_sub(self.looked) >= LOOK {
            self.looked = now;
            if matches!(self.stage, Stage::Running | Stage::Draining) {
                self.look(now);
            }
            let silent = |flight: &Flight| flight.under_way.is_empty() && !flight.waiting;
            if self.stage == Stage::Draining && self.flights.iter().all(silent) {
                // Only pongs are waited for.
                self.deadline = self.deadline.min(now + PATIENCE);
            }
        }
        acted
    }

    fn on_open(
        &mut self,
        _: &mut impl LcoreContext<Event = ()>,
        _: Peer,
        _: &Request<'_>,
    ) -> Result<Accept<u32>, Response> {
        // There are no listeners.
        Err(Response::not_found())
    }

    fn on_connect(
        &mut self,
        cx: &mut impl LcoreContext<Event = ()>,
        token: u64,
        id: ConnectionId,
        outcome: Result<&ServerReply<'_>, ConnectError>,
    ) -> Option<u32> {
        let n = token as usize;
        let now = cx.now();
        match outcome {
            Ok(_) => {
                self.opener.succeeded();
                if matches!(self.stage, Stage::Closing | Stage::Failed) {
                    return None;
                }
                let flight = &mut self.flights[n];
                flight.id = Some(id);
                flight.state = State::Open;
                self.meter.opened(now.as_nanos().saturating_sub(flight.due));
                Some(n as u32)
            }
            Err(error) => {
                self.connect_failed(now, n, &error);
                None
            }
        }
    }

    fn on_ready(&mut self, conn: &mut u32, cx: &mut impl Context<Event = ()>) {
        self.opened(*conn as usize, cx);
    }

    #[inline]
    fn on_message(
        &mut self,
        conn: &mut u32,
        cx: &mut impl Context<Event = ()>,
        message: Message<'_>,
    ) {
        self.answered(*conn as usize, cx, message);
    }

    fn on_pong(&mut self, conn: &mut u32, _: &mut impl Context<Event = ()>, _: &[u8]) {
        self.settled(*conn as usize);
    }

    fn on_writable(&mut self, conn: &mut u32, cx: &mut impl Context<Event = ()>) {
        self.refill(*conn as usize, cx);
    }

    fn on_close(
        &mut self,
        conn: u32,
        cx: &mut impl LcoreContext<Event = ()>,
        closure: Closure<'_>,
    ) {
        let n = conn as usize;
        self.opener.opened = self.opener.opened.saturating_sub(1);
        if !matches!(self.stage, Stage::Closing | Stage::Failed) {
            if self.flights[n].state == State::Closing && closure.by == ClosedBy::Application {
                self.closed_as_wanted(n);
            } else {
                self.lost(cx, n, closure);
            }
        }
        self.settled(n);
        self.flights[n].reset();
    }
}

impl Generator {
    /// A connection has ended that was not to end.
    fn lost(&mut self, _: &mut impl LcoreContext<Event = ()>, n: usize, closure: Closure<'_>) {
        let (name, line) = match closure.by {
            ClosedBy::Network => (
                "lost".to_owned(),
                "the server ended or reset a connection without a Close frame".to_owned(),
            ),
            _ => {
                let code = closure.code.0;
                let reason = match closure.reason {
                    "" => String::new(),
                    reason => format!(": {reason:?}"),
                };
                let who = match closure.by {
                    ClosedBy::Peer => "the server closed a connection with",
                    _ => "a connection was closed with",
                };
                (format!("closed {code}"), format!("{who} {code}{reason}"))
            }
        };
        self.error(&name, &line);
        if self.job.scenario == Scenario::Fanout {
            self.fail(line);
        } else if self.stage != Stage::Draining {
            self.opener.again(n);
        }
    }
}

/// The name of an error, and a line that says what it is.
fn described(error: &ConnectError) -> (String, String) {
    use std::io::ErrorKind;
    let (name, line): (&str, String) = match error {
        ConnectError::Network(error) => match error.kind() {
            ErrorKind::ConnectionRefused => {
                ("refused", "connection refused: nobody listens there".into())
            }
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => (
                "reset",
                "the server reset the connection before it was open".into(),
            ),
            ErrorKind::UnexpectedEof => (
                "ended",
                "the server ended the connection instead of answering the handshake: does it expect TLS there?".into(),
            ),
            ErrorKind::AddrNotAvailable | ErrorKind::AddrInUse => (
                "no ports",
                "no local port is left for another connection: more source addresses (--source) have more".into(),
            ),
            ErrorKind::TimedOut => ("timeout", "the connection timed out".into()),
            // EMFILE and ENFILE.
            _ if matches!(error.raw_os_error(), Some(23 | 24)) => (
                "files",
                "too few file descriptors: raise the limit with ulimit -n".into(),
            ),
            _ => ("network", error.to_string()),
        },
        ConnectError::Refused(status) => {
            return (format!("http {status}"), error.to_string());
        }
        ConnectError::Timeout => ("timeout", "the server did not answer the handshake in time".into()),
        ConnectError::Handshake(_) => ("handshake", format!("{error}: is a WebSocket server, without TLS, there?")),
        ConnectError::Request(_) => ("request", error.to_string()),
    };
    (name.to_owned(), line)
}
