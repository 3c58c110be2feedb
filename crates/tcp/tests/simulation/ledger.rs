//! Both ends of every connection, as nobody in the simulated world sees them: what may be believed of a death.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hioload_lcore::Time;

use crate::plan::{Dialogue, Ends, Plan, Reads};
use crate::random::{Content, Random};
use crate::trace;

/// A stack's time is that of its last turn, which may be so long ago when it is called.
const LAG: Duration = Duration::from_millis(100);

/// What became of one end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Not begun, or not known to be of this connection.
    None,
    Open,
    /// Released, and whether everything had been sent and received by then.
    Released(Time, bool),
    Aborted,
    Closed(Option<io::ErrorKind>),
    /// Its host was restarted.
    Lost,
}

/// What one end has said so far.
#[derive(Clone, Copy, Default, Debug)]
pub struct Half {
    /// Bytes that the stack took.
    pub queued: u64,
    /// No more will follow.
    pub done: bool,
}

/// One connection.
#[derive(Clone, Debug)]
pub struct Connection {
    pub dialogue: Dialogue,
    /// When it is begun; a connection that cannot begin tries again.
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

    /// Whether nothing more is to be expected of it.
    pub fn is_over(&self) -> bool {
        let over = |fate| !matches!(fate, Fate::Open);
        over(self.server) && over(self.client) && self.client != Fate::None
    }
}

/// What has gone wrong so far, as far as it may end connections.
#[derive(Clone, Copy, Default, Debug)]
pub struct Excuses {
    /// Frames may be lost.
    pub loss: bool,
    /// A host was not there, or somebody took its place.
    pub outage: bool,
    pub restart: bool,
    pub flood: bool,
    /// Some limits are low.
    pub budgets: bool,
    pub whims: bool,
}

/// What all of a simulated world have in common.
pub struct Ledger {
    pub now: Time,
    pub trace: trace::Shared,
    pub random: Random,
    pub plan: Plan,
    pub connections: Vec<Connection>,
    pub excuses: Excuses,
    /// Everything was mended at this time.
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

    /// What the client (`up`) or the server of a connection sends.
    pub fn content(&self, connection: usize, up: bool) -> Content {
        match up {
            true => Content::up(connection),
            false => Content::down(connection, self.connections[connection].dialogue.echo),
        }
    }

    /// Whether the end of a connection at one of its ends, seen now, is one that TCP and the world allow.
    ///
    /// # Panics
    /// If not.
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
        // A server that had no room, or forgot a handshake among too many.
        let crowded = trouble || excuses.flood || excuses.budgets || excuses.whims;
        let gone = match peer {
            Fate::Open => false,
            Fate::None => crowded,
            Fate::Released(when, complete) => {
                !complete || crowded || self.now.saturating_sub(when) + LAG >= linger
            }
            Fate::Aborted | Fate::Lost => true,
            // It is forgotten there, and may say so to what comes late.
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
            "connection {number}: the {end}'s end died of {error:?} (established: {established}), which nothing explains: {connection:?}, {excuses:?}"
        );
    }

    /// Whether a connection of polite ends has to be complete in the end: nothing could come between.
    pub fn must_succeed(&self, number: usize) -> bool {
        let dialogue = &self.connections[number].dialogue;
        let polite = |ends| matches!(ends, Ends::Finish | Ends::Closed | Ends::Second);
        // Who takes nothing for so long from a peer that has released the connection is reset.
        let linger = self.shortest_linger();
        let stalls = |reads| matches!(reads, Reads::Stall(_, time) if time >= linger);
        (self.plan.strict || dialogue.probe && !self.excuses.budgets)
            && polite(dialogue.up.ends)
            && polite(dialogue.down.ends)
            && !stalls(dialogue.up.reads)
            && !stalls(dialogue.down.reads)
    }

    /// The shortest time that any host gives its orphans.
    fn shortest_linger(&self) -> Duration {
        let hosts = self.plan.hosts.iter().map(|host| host.linger);
        hosts.min().unwrap_or_default()
    }
}
