//! Two stacks on a pair of devices in memory, in virtual time.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use hioload_device::Device;
use hioload_device::faults::{Faults, Impairment};
use hioload_device::memory::{MemoryDevice, PairOptions, pair};
use hioload_lcore::Time;

use crate::{Event, EventFlags, FlowId, Stack, StackConfig};

mod closing;
mod forged;
mod lcores;
mod limits;
mod network;
mod observer;

/// The events of one flow, accumulated.
#[derive(Default, Debug)]
pub(crate) struct Seen {
    pub flags: EventFlags,
    pub bytes: Vec<u8>,
    pub error: Option<std::io::ErrorKind>,
    pub in_place: usize,
    pub events: usize,
}

pub(crate) type Dev = Faults<MemoryDevice>;

/// One side: a stack, and a user that records its events.
pub(crate) struct Side {
    pub stack: Stack<Dev>,
    pub seen: HashMap<FlowId, Seen>,
    pub accepted: Vec<FlowId>,
    /// Sends received bytes back.
    pub echoes: bool,
    /// Consumes received bytes.
    pub reads: bool,
    /// Releases flows whose peer has ended its side.
    pub releases: bool,
}

impl Side {
    fn new(device: MemoryDevice, config: StackConfig, seed: u64) -> Self {
        let none = Impairment::default();
        let device = Faults::new(device, seed, &none, &none);
        Self {
            stack: Stack::new(device, config, None, Time::ZERO).expect("a stack"),
            seen: HashMap::new(),
            accepted: Vec::new(),
            echoes: false,
            reads: true,
            releases: false,
        }
    }

    fn turn(&mut self, now: Time) {
        self.stack.device().set_now(now);
        self.stack.receive(now);
        while let Some(event) = self.stack.next() {
            self.on_event(event);
        }
        self.stack.transmit();
    }

    fn on_event(&mut self, event: Event<<Dev as Device>::Frame>) {
        let Event {
            flow,
            flags,
            error,
            payload,
        } = event;
        assert!(!flags.is_empty());
        if flags.contains(EventFlags::ACCEPTED) {
            self.accepted.push(flow);
        }
        let seen = self.seen.entry(flow).or_default();
        assert!(
            !seen.flags.contains(EventFlags::CLOSED),
            "an event after the last"
        );
        seen.flags |= flags;
        seen.events += 1;
        if error.is_some() {
            seen.error = error;
        }
        if flags.contains(EventFlags::DATA) && self.reads {
            let bytes = match payload {
                Some(mut payload) => {
                    let bytes = payload.frame.bytes_mut()[payload.range].to_vec();
                    assert_eq!(self.stack.readable(flow), bytes, "the ring has the same");
                    seen.in_place += bytes.len();
                    bytes
                }
                None => self.stack.readable(flow).to_vec(),
            };
            self.stack.consume(flow, bytes.len());
            if self.echoes {
                assert_eq!(self.stack.send(flow, &bytes), bytes.len());
            }
            seen.bytes.extend(bytes);
        }
        if self.releases && flags.contains(EventFlags::END) {
            self.stack.release(flow);
        }
    }

    pub(crate) fn state(&self, flow: FlowId) -> &'static str {
        self.stack.info(flow).map_or("gone", |info| info.state)
    }

    pub(crate) fn events(&self, flow: FlowId) -> EventFlags {
        self.seen
            .get(&flow)
            .map_or(EventFlags::empty(), |seen| seen.flags)
    }
}

/// Two sides: `a` connects, `b` listens on port 80.
pub(crate) struct World {
    pub a: Side,
    pub b: Side,
    pub now: Time,
}

pub(crate) fn config(addresses: &[&str]) -> StackConfig {
    StackConfig {
        addresses: addresses
            .iter()
            .map(|address| address.parse().expect("an address"))
            .collect(),
        max_flows: 64,
        half_open: 16,
        orphans: 16,
        time_wait: 64,
        secret: *b"sixteen of bytes",
        source_ports: 40_000..=40_063,
        ..StackConfig::default()
    }
}

pub(crate) fn server() -> StackConfig {
    StackConfig {
        listen: vec![addr("0.0.0.0:80"), addr("[::]:80")],
        ..config(&["10.77.0.2/24", "fd77::2/64"])
    }
}

pub(crate) fn client() -> StackConfig {
    config(&["10.77.0.1/24", "fd77::1/64"])
}

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(client(), server(), 1500)
    }

    pub(crate) fn with(a: StackConfig, b: StackConfig, mtu: usize) -> Self {
        let (one, other) =
            pair(&PairOptions::default().chunks(1024).ring(256).mtu(mtu)).expect("a pair");
        Self {
            a: Side::new(one.open(), a, 1),
            b: Side::new(other.open(), b, 2),
            now: Time::from_millis(1000),
        }
    }

    /// One turn of each side, and a little time.
    pub(crate) fn turn(&mut self) {
        self.now += Duration::from_micros(50);
        self.a.turn(self.now);
        self.b.turn(self.now);
    }

    pub(crate) fn turns(&mut self, n: usize) {
        for _ in 0..n {
            self.turn();
        }
    }

    /// Lets time pass, from one deadline to the next.
    pub(crate) fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.turns(4);
            let a = self.a.stack.next_deadline();
            let b = self.b.stack.next_deadline();
            let held = [
                self.a.stack.device().next_deadline(),
                self.b.stack.device().next_deadline(),
            ];
            let next = a
                .into_iter()
                .chain(b)
                .chain(held.into_iter().flatten())
                .min();
            self.now = next.unwrap_or(end).min(end).max(self.now);
        }
        self.turns(4);
    }

    /// Opens a connection, and returns the ids of both ends.
    pub(crate) fn connect(&mut self, to: &str) -> (FlowId, FlowId) {
        let here = self.a.stack.connect(addr(to)).expect("it begins");
        self.turns(12);
        assert!(self.a.events(here).contains(EventFlags::CONNECTED));
        let there = *self.b.accepted.last().expect("accepted");
        (here, there)
    }

    /// Asserts that no flow, half-open flow or orphan is left.
    pub(crate) fn assert_empty(&mut self) {
        for side in [&mut self.a, &mut self.b] {
            let stats = side.stack.stats();
            let left = (stats.flows, stats.half_open, stats.orphans);
            assert_eq!(left, (0, 0, 0), "{stats:?}");
            assert_eq!(side.stack.flows().count(), 0);
        }
    }
}

#[test]
fn a_connection_opens_echoes_and_closes() {
    for to in ["10.77.0.2:80", "[fd77::2]:80"] {
        let mut world = World::new();
        world.b.echoes = true;
        let (here, there) = world.connect(to);
        assert_eq!(world.b.stack.local(there), Some(addr(to)));
        assert_eq!(world.a.stack.local(here), world.b.stack.peer(there));
        for round in 0..200_u32 {
            let message = round.to_be_bytes().repeat(16);
            assert_eq!(world.a.stack.send(here, &message), 64);
            world.turns(2);
        }
        let sent: Vec<u8> = (0..200_u32)
            .flat_map(|n| n.to_be_bytes().repeat(16))
            .collect();
        assert_eq!(world.b.seen[&there].bytes, sent);
        assert_eq!(world.b.seen[&there].in_place, sent.len());
        assert_eq!(world.a.seen[&here].bytes, sent);
        assert_eq!(world.a.seen[&here].in_place, sent.len());
        let stats = world.b.stack.stats();
        assert_eq!(
            (stats.rx_bytes_in_place, stats.rx_bytes_from_ring),
            (12_800, 0)
        );
        assert_eq!(
            (stats.retransmits, stats.bad_checksums, stats.flows),
            (0, 0, 1)
        );
        // One segment in each direction for each message: the reply has the acknowledgement.
        assert!(stats.tx_segments < 210, "{stats:?}");

        world.a.stack.finish(here);
        world.turns(2);
        assert!(world.b.events(there).contains(EventFlags::END));
        assert!(world.b.stack.ended(there));
        world.b.stack.finish(there);
        world.turns(4);
        assert!(
            world
                .a
                .events(here)
                .contains(EventFlags::END | EventFlags::CLOSED)
        );
        assert!(world.b.events(there).contains(EventFlags::CLOSED));
        assert_eq!(world.a.seen[&here].error, None);
        assert_eq!(world.b.seen[&there].error, None);
        world.turns(1);
        assert_eq!(world.a.stack.flows().count(), 0);
        assert_eq!(world.b.stack.flows().count(), 0);
        assert_eq!(world.a.stack.stats().time_wait, 1);
        assert_eq!(world.b.stack.stats().time_wait, 0);
        world.pass(Duration::from_secs(61));
        assert_eq!(world.a.stack.stats().time_wait, 0);
    }
}
