//! The ledger knows both ends of every connection, and checks that each has a reason to end.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hioload_lcore::Time;

use crate::plan::{Dialogue, Ends, Plan, Reads};
use crate::random::{Content, Random};
use crate::trace;

/// The longest time since the last turn of a stack when it is called: its own time is that of the last turn.
const LAG: Duration = Duration::from_millis(100);

/// The state of one end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It has not begun, or is not known to belong to this connection.
    None,
    Open,
    /// It was released; whether everything had been sent and received by then.
    Released(Time, bool),
    Aborted,
    Closed(Option<io::ErrorKind>),
    /// Its host was restarted.
    Lost,
}

/// The stream that one end has sent so far.
#[derive(Clone, Copy, Default, Debug)]
pub struct Half {
    /// Bytes that the stack has accepted.
    pub queued: u64,
    /// The stream is complete.
    pub done: bool,
}

/// One connection.
#[derive(Clone, Debug)]
pub struct Connection {
    pub dialogue: Dialogue,
    /// The time at which it begins. A connection that cannot begin tries again.
    pub due: Time,
    pub client: Fate,
    pub server: Fate,
    pub up: Half,
    pub down: Half,
    /// The client's address.
    pub from: Option<SocketAddr>,
}

impl Connection {
    /// The fate of the end that sends `up`, or of the other one.
    pub fn fate(&mut self, client: bool) -> &mut Fate {
        if client {
            &mut self.client
        } else {
            &mut self.server
        }
    }

    pub fn half(&mut self, client: bool) -> &mut Half {
        if client { &mut self.up } else { &mut self.down }
    }

    /// Whether both ends have ended.
    pub fn is_over(&self) -> bool {
        let over = |fate| !matches!(fate, Fate::Open);
        over(self.server) && over(self.client) && self.client != Fate::None
    }
}

/// The disturbances so far that may end connections.
#[derive(Clone, Copy, Default, Debug)]
pub struct Excuses {
    /// Frames may be lost.
    pub loss: bool,
    /// A host was absent, or was replaced.
    pub outage: bool,
    pub restart: bool,
    pub flood: bool,
    /// Some limits are low.
    pub budgets: bool,
    pub whims: bool,
}

/// The state that all parts of a simulated world share.
pub struct Ledger {
    pub now: Time,
    pub trace: trace::Shared,
    pub random: Random,
    pub plan: Plan,
    pub connections: Vec<Connection>,
    pub excuses: Excuses,
    /// The time at which everything was repaired.
    pub healed: Option<Time>,
}

impl Ledger {
    pub fn new(plan: Plan, trace: trace::Shared) -> Self {
        let connection = |dialogue: &Dialogue| Connection {
            dialogue: *dialogue,
            due: match dialogue.probe {
                true => Time::MAX,
                false => Time::ZERO + dialogue.at,
            },
            client: Fate::None,
            server: Fate::None,
            up: Half::default(),
            down: Half::default(),
            from: None,
        };
        let tiny = plan.hosts.iter().any(|host| host.max_flows < 256);
        Self {
            now: Time::ZERO,
            random: Random::new(plan.seed ^ 0xa11),
            connections: plan.dialogues.iter().map(connection).collect(),
            excuses: Excuses {
                loss: !plan.lossless || plan.chunks < 8192,
                budgets: tiny,
                whims: plan.whims,
                ..Excuses::default()
            },
            healed: None,
            plan,
            trace,
        }
    }

    /// The bytes that the client (`up`) or the server of a connection sends.
    pub fn content(&self, connection: usize, up: bool) -> Content {
        match up {
            true => Content::up(connection),
            false => Content::down(connection, self.connections[connection].dialogue.echo),
        }
    }

    /// Checks that TCP and the world allow one end of a connection to end as it does now.
    ///
    /// # Panics
    /// If they do not.
    pub fn judge(
        &self,
        number: usize,
        client: bool,
        established: bool,
        error: Option<io::ErrorKind>,
    ) {
        use io::ErrorKind as E;
        let connection = &self.connections[number];
        let peer = if client {
            connection.server
        } else {
            connection.client
        };
        let excuses = self.excuses;
        let linger = self.shortest_linger();
        let trouble = excuses.loss || excuses.outage || excuses.restart;
        // The server had no room, or has evicted the half-open flow.
        let crowded = trouble || excuses.flood || excuses.budgets || excuses.whims;
        let gone = match peer {
            Fate::Open => false,
            Fate::None => crowded,
            Fate::Released(when, complete) => {
                !complete || crowded || self.now.saturating_sub(when) + LAG >= linger
            }
            Fate::Aborted | Fate::Lost => true,
            // The other end is freed there, and answers late segments with RSTs.
            Fate::Closed(error) => error.is_some() || crowded,
        };
        let explained = match error {
            None => established,
            Some(E::ConnectionReset | E::ConnectionAborted | E::BrokenPipe) => gone,
            Some(E::ConnectionRefused) => !established && excuses.restart,
            Some(E::TimedOut) => trouble || excuses.flood || excuses.budgets || (gone && crowded),
            Some(E::HostUnreachable | E::NetworkUnreachable) => !established && trouble,
            Some(_) => false,
        };
        let end = if client { "client" } else { "server" };
        assert!(
            explained,
            "connection {number}: the {end}'s end failed with {error:?} (established: {established}) without a reason: {connection:?}, {excuses:?}"
        );
    }

    /// Whether a connection has to be complete in the end, because nothing could disturb it.
    pub fn must_succeed(&self, number: usize) -> bool {
        let dialogue = &self.connections[number].dialogue;
        let polite = |ends| matches!(ends, Ends::Finish | Ends::Closed | Ends::Second);
        // An orphan is reset if its peer acknowledges nothing for the linger time.
        let linger = self.shortest_linger();
        let stalls = |reads| matches!(reads, Reads::Stall(_, time) if time >= linger);
        // Memory for the rings of a few flows: others may wait for longer than that.
        let short = self
            .plan
            .hosts
            .iter()
            .any(|host| host.ring_memory <= 1 << 20);
        (self.plan.strict && !short || dialogue.probe && !self.excuses.budgets)
            && polite(dialogue.up.ends)
            && polite(dialogue.down.ends)
            && !stalls(dialogue.up.reads)
            && !stalls(dialogue.down.reads)
    }

    /// The shortest linger time of all hosts.
    fn shortest_linger(&self) -> Duration {
        let hosts = self.plan.hosts.iter().map(|host| host.linger);
        hosts.min().unwrap_or_default()
    }
}
