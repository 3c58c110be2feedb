//! A transport, the peers at the other end, and a driver that records its callbacks.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::time::Duration;

use hioload_lcore::Clock;
use hioload_transport::{
    Activity, Budget, Closed, ConnId, Connections, Driver, Peer, Rest, Taken, Transport,
};

/// Turns after which a test fails if what it waits for has not happened.
const TURNS: usize = 5000;

#[derive(Clone, Copy)]
pub struct Setup {
    pub rx_buffer: usize,
    pub send_queue: usize,
    pub max_connections: usize,
    /// Send chunks of the scripted fake.
    pub tx_chunks: usize,
    /// Small kernel buffers, or a small window.
    pub tiny: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            rx_buffer: 64 << 10,
            send_queue: 16 << 20,
            max_connections: 64,
            tx_chunks: 4096,
            tiny: false,
        }
    }
}

/// The state of a connection, as a peer sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    Open,
    End,
    Reset,
}

/// A transport, and the actions of its peers.
pub trait Harness: Sized {
    type Io: Transport + 'static;
    /// One peer's end.
    type Wire;
    /// Whether an abort looks different from a close.
    const HAS_RESET: bool;
    /// Whether the network carries the driver's bytes and no others, and lends them as they arrive: not so with TLS.
    const EXACT: bool = true;

    /// Whether this machine has what the transport needs.
    fn is_available() -> bool {
        true
    }
    fn new(setup: Setup) -> Self;
    fn io(&mut self) -> &mut Self::Io;
    fn dial(&mut self) -> Self::Wire;
    /// Whether a peer that was accepted can send. Called before each turn until it is so.
    fn establish(&mut self, _wire: &mut Self::Wire) -> bool {
        true
    }
    /// Sends from the front of `bytes`; returns how many were taken.
    fn send(&mut self, wire: &mut Self::Wire, bytes: &[u8]) -> usize;
    /// Appends the bytes that have arrived.
    fn recv(&mut self, wire: &mut Self::Wire, into: &mut Vec<u8>) -> Seen;
    fn end(&mut self, wire: &mut Self::Wire);
    fn reset(&mut self, wire: Self::Wire);
    /// The peer reads nothing until `take` is called.
    fn refuse(&mut self, wire: &mut Self::Wire);
    fn take(&mut self, wire: &mut Self::Wire);
    /// The peer's address.
    fn address(&self, wire: &Self::Wire) -> Peer;
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Note {
    Accept(ConnId, Peer),
    Connect(ConnId, Result<(), ErrorKind>),
    Data(ConnId, Vec<u8>),
    End(ConnId),
    Writable(ConnId),
    Closed(ConnId, Closed),
}

type OnData = Box<dyn FnMut(&mut dyn Connections, ConnId, &mut [u8]) -> Taken>;
type OnId = Box<dyn FnMut(&mut dyn Connections, ConnId)>;

/// The driver: a log, and closures that a test may replace. It checks the order of callbacks by itself.
pub struct Script {
    pub log: Vec<Note>,
    pub welcome: bool,
    pub on_data: OnData,
    pub on_end: OnId,
    pub on_writable: OnId,
    pub on_accept: OnId,
    /// Calls of `on_data` in one dispatch or flush after which the driver is exhausted.
    pub quota: usize,
    calls: usize,
    /// Calls of `on_data` in one visit after which it is over.
    pub share: usize,
    visited: usize,
    held: bool,
    /// Connections that are blocked, and the calls of `on_blocked`.
    blocked: HashSet<ConnId>,
    pub blocked_calls: usize,
    /// What `failure` said of connections that were closed.
    pub failures: Vec<String>,
    /// Open connections, and whether each has received `on_end`.
    open: HashMap<ConnId, bool>,
}

pub fn all(data: &[u8]) -> Taken {
    Taken {
        bytes: data.len(),
        rest: Rest::NeedsMore,
    }
}

/// Sends all of `bytes` or panics.
pub fn write(io: &mut dyn Connections, id: ConnId, mut bytes: &[u8]) {
    assert!(
        io.send_room(id) >= bytes.len(),
        "room {} for {}",
        io.send_room(id),
        bytes.len()
    );
    while !bytes.is_empty() {
        let space = io
            .send_space(id, bytes.len())
            .expect("the room was checked");
        let n = space.len().min(bytes.len());
        space[..n].copy_from_slice(&bytes[..n]);
        io.commit(id, n);
        bytes = &bytes[n..];
    }
}

impl Script {
    fn new() -> Self {
        Self {
            log: Vec::new(),
            welcome: true,
            on_data: Box::new(|_, _, data| all(data)),
            on_end: Box::new(|_, _| {}),
            on_writable: Box::new(|_, _| {}),
            on_accept: Box::new(|_, _| {}),
            quota: usize::MAX,
            calls: 0,
            share: usize::MAX,
            visited: 0,
            held: false,
            blocked: HashSet::new(),
            blocked_calls: 0,
            failures: Vec::new(),
            open: HashMap::new(),
        }
    }

    fn is_open(&self, id: ConnId) -> bool {
        self.open.contains_key(&id)
    }
}

impl Driver for Script {
    fn on_accept<C: Connections>(&mut self, io: &mut C, id: ConnId, peer: Peer) -> bool {
        self.log.push(Note::Accept(id, peer));
        assert_eq!(io.peer(id), Some(peer));
        if self.welcome {
            assert!(
                self.open.insert(id, false).is_none(),
                "{id} is open already"
            );
        }
        (self.on_accept)(io, id);
        self.welcome
    }

    fn on_connect<C: Connections>(&mut self, io: &mut C, id: ConnId, result: std::io::Result<()>) {
        let result = result.map_err(|error| error.kind());
        self.log.push(Note::Connect(id, result));
        match result {
            Ok(()) => assert!(
                self.open.insert(id, false).is_none(),
                "{id} is open already"
            ),
            Err(_) => assert_eq!(io.peer(id), None, "a failed connect has a stale id"),
        }
    }

    fn on_data<C: Connections>(&mut self, io: &mut C, id: ConnId, data: &mut [u8]) -> Taken {
        assert!(!data.is_empty(), "no bytes for {id}");
        assert!(self.is_open(id), "bytes for {id}, which is not open");
        self.log.push(Note::Data(id, data.to_vec()));
        self.calls += 1;
        if !self.held {
            self.visited = 0;
        }
        self.visited += 1;
        let taken = (self.on_data)(io, id, data);
        // The driver may overwrite the bytes that it consumes.
        data[..taken.bytes].fill(0xdd);
        taken
    }

    fn is_exhausted(&self) -> bool {
        self.calls >= self.quota
    }

    fn begin_visit(&mut self) {
        assert!(!self.held, "the visit before has not ended");
        self.held = true;
        self.visited = 0;
    }

    fn end_visit(&mut self) {
        self.held = false;
    }

    fn visit_is_over(&self) -> bool {
        self.visited >= self.share
    }

    fn on_end<C: Connections>(&mut self, io: &mut C, id: ConnId) {
        assert_eq!(self.open.insert(id, true), Some(false), "one end for {id}");
        self.log.push(Note::End(id));
        (self.on_end)(io, id);
    }

    fn on_blocked<C: Connections>(&mut self, io: &mut C, id: ConnId) {
        assert!(self.is_open(id) && io.is_blocked(id) && io.queued(id) > 0);
        assert!(self.blocked.insert(id), "{id} is blocked already");
        self.blocked_calls += 1;
    }

    fn on_writable<C: Connections>(&mut self, io: &mut C, id: ConnId) {
        assert!(self.blocked.remove(&id), "{id} was not blocked");
        assert!(self.is_open(id) && io.queued(id) == 0 && !io.is_blocked(id));
        self.log.push(Note::Writable(id));
        (self.on_writable)(io, id);
    }

    fn on_closed<C: Connections>(&mut self, io: &mut C, id: ConnId, why: Closed) {
        assert!(self.open.remove(&id).is_some(), "{id} is not open");
        self.blocked.remove(&id);
        assert_eq!(io.send_room(id), 0);
        self.failures
            .extend(io.failure(id).map(|error| error.to_string()));
        self.log.push(Note::Closed(id, why));
    }
}

/// A harness with its driver.
pub struct World<H: Harness> {
    pub net: H,
    pub script: Script,
    pub budget: Budget,
    pub clock: Clock,
}

impl<H: Harness> World<H> {
    pub fn new(setup: Setup) -> Self {
        let budget = Budget {
            events: 256,
            accepts: 64,
        };
        Self {
            net: H::new(setup),
            script: Script::new(),
            budget,
            clock: Clock::new(),
        }
    }

    pub fn io(&mut self) -> &mut H::Io {
        self.net.io()
    }

    /// One turn, whose wait is short.
    pub fn turn(&mut self) -> Activity {
        let (io, budget) = (self.net.io(), self.budget);
        io.wait(Some(Duration::from_millis(5))).unwrap();
        self.script.calls = 0;
        let activity = io.dispatch(&mut self.script, budget, self.clock.tick());
        io.flush(&mut self.script);
        activity
    }

    pub fn turns(&mut self, n: usize) {
        for _ in 0..n {
            self.turn();
        }
    }

    /// Runs turns until `done`.
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        for _ in 0..TURNS {
            if done(self) {
                return;
            }
            self.turn();
        }
        panic!("never: {what}; log: {:?}", self.script.log.last());
    }

    /// A peer, after its accept.
    pub fn dial(&mut self) -> (H::Wire, ConnId) {
        let from = self.script.log.len();
        let mut wire = self.net.dial();
        self.until("an accept", |world| world.accepted(from).is_some());
        let id = self.accepted(from).unwrap();
        self.until("a peer that can send", |world| {
            world.net.establish(&mut wire)
        });
        (wire, id)
    }

    fn accepted(&self, from: usize) -> Option<ConnId> {
        self.script.log[from..].iter().find_map(|note| match note {
            Note::Accept(id, _) => Some(*id),
            _ => None,
        })
    }

    /// Sends all of `bytes`, with turns while the network is full.
    pub fn send(&mut self, wire: &mut H::Wire, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let n = self.net.send(wire, bytes);
            bytes = &bytes[n..];
            if !bytes.is_empty() {
                self.turn();
            }
        }
    }

    /// Runs turns until the peer has received `n` bytes; returns all that it has.
    pub fn recv(&mut self, wire: &mut H::Wire, n: usize) -> Vec<u8> {
        let mut got = Vec::new();
        self.until("the peer's bytes", |world| {
            let seen = world.net.recv(wire, &mut got);
            assert!(
                got.len() >= n || seen == Seen::Open,
                "{seen:?} after {} bytes",
                got.len()
            );
            got.len() >= n
        });
        got
    }

    /// Runs turns until the peer sees the end; returns what it received before.
    pub fn recv_end(&mut self, wire: &mut H::Wire) -> (Vec<u8>, Seen) {
        let mut got = Vec::new();
        let mut seen = Seen::Open;
        self.until("the peer sees the end", |world| {
            seen = world.net.recv(wire, &mut got);
            seen != Seen::Open
        });
        (got, seen)
    }

    /// The bytes of every `on_data` of a connection.
    pub fn data(&self, of: ConnId) -> Vec<Vec<u8>> {
        let data = self.script.log.iter().filter_map(|note| match note {
            Note::Data(id, bytes) if *id == of => Some(bytes.clone()),
            _ => None,
        });
        data.collect()
    }

    pub fn has(&self, note: &Note) -> bool {
        self.script.log.contains(note)
    }

    pub fn count(&self, note: &Note) -> usize {
        self.script
            .log
            .iter()
            .filter(|other| *other == note)
            .count()
    }
}
