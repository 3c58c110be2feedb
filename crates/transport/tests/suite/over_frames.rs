//! Two stacks on a pair of devices in memory: the transport on one, the peers' connections on the other.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use hioload_device::memory::{MemoryDevice, PairOptions, pair};
use hioload_lcore::Clock;
use hioload_mem::{Pool, PoolOptions};
use hioload_tcp::{EventFlags, FlowId, Stack, StackConfig};
use hioload_transport::Peer;
use hioload_transport::bypass::{Bypass, BypassOptions};

use super::layers::{Bare, Wrap};
use super::world::{Harness, Seen, Setup};

pub const IPV4: u8 = 4;
pub const IPV6: u8 = 6;
const PORT: u16 = 9001;

pub fn address(family: u8, host: u8) -> IpAddr {
    match family {
        IPV4 => IpAddr::from([10, 77, 0, host]),
        _ => IpAddr::from([0xfd77, 0, 0, 0, 0, 0, 0, u16::from(host)]),
    }
}

/// The stack of `host`, which listens on its one port.
pub fn config(family: u8, host: u8) -> StackConfig {
    let ip = address(family, host);
    let prefix = if ip.is_ipv4() { 24 } else { 64 };
    let mut config = StackConfig::new([format!("{ip}/{prefix}").parse().unwrap()]);
    config.listen = vec![SocketAddr::new(ip, PORT)];
    config.max_flows = 256;
    config.half_open = 64;
    config.orphans = 64;
    config.time_wait = 64;
    config.secret = [host; 16];
    config
}

pub fn pool(chunk: usize) -> Pool {
    Pool::new(&PoolOptions::new(4096, chunk)).unwrap()
}

/// The end of a peer's connection.
#[derive(Clone, Copy, Default)]
struct Fate {
    ended: bool,
    error: Option<std::io::ErrorKind>,
    closed: bool,
}

/// The peers, all on one stack.
pub struct Peers {
    pub stack: Stack<MemoryDevice>,
    fates: HashMap<FlowId, Fate>,
    /// Connections that the transport opened.
    pub accepted: Vec<FlowId>,
    clock: Clock,
}

impl Peers {
    pub fn new(stack: Stack<MemoryDevice>) -> Self {
        Self {
            stack,
            fates: HashMap::new(),
            accepted: Vec::new(),
            clock: Clock::new(),
        }
    }

    /// Runs a turn of the peers' stack.
    pub fn turn(&mut self) {
        self.stack.receive(self.clock.tick());
        while let Some(event) = self.stack.next() {
            if event.flags.contains(EventFlags::ACCEPTED) {
                self.accepted.push(event.flow);
            }
            let fate = self.fates.entry(event.flow).or_default();
            fate.ended |= event.flags.contains(EventFlags::END);
            fate.closed |= event.flags.contains(EventFlags::CLOSED);
            fate.error = fate.error.or(event.error);
        }
        self.stack.transmit();
    }

    pub fn dial(&mut self, to: SocketAddr) -> FlowId {
        let flow = self.stack.connect(to).unwrap();
        self.turn();
        flow
    }

    pub fn send(&mut self, wire: FlowId, bytes: &[u8]) -> usize {
        let n = self.stack.send(wire, bytes);
        self.turn();
        n
    }

    pub fn recv(&mut self, wire: FlowId, into: &mut Vec<u8>) -> Seen {
        self.turn();
        let received = self.stack.readable(wire);
        let n = received.len();
        into.extend_from_slice(received);
        self.stack.consume(wire, n);
        if n > 0 {
            // Says that there is room again.
            self.turn();
        }
        let fate = self.fates.get(&wire).copied().unwrap_or_default();
        match fate.error {
            Some(_) => Seen::Reset,
            None if n == 0 && (fate.ended || fate.closed) => Seen::End,
            None => Seen::Open,
        }
    }
}

/// The transport over flows, on IPv4 or IPv6.
pub struct BypassHarness<const FAMILY: u8, W: Wrap = Bare> {
    io: W::Io<Bypass<MemoryDevice>>,
    peers: Peers,
}

/// A transport on one end of a pair, and peers on the other.
pub fn bypass(
    setup: Setup,
    server: StackConfig,
    client: StackConfig,
) -> (Bypass<MemoryDevice>, Peers) {
    let (a, b) = pair(&PairOptions::default()).unwrap();
    let now = Clock::new().tick();
    let server = Stack::new(a.open(), server, None, now).unwrap();
    let client = Stack::new(b.open(), client, None, now).unwrap();
    let options = BypassOptions::default()
        .rx_buffer(setup.rx_buffer)
        .send_queue(setup.send_queue);
    let chunk = if setup.tiny { 256 } else { 16 << 10 };
    let io = Bypass::over(server, options, pool(chunk));
    (io, Peers::new(client))
}

impl<const FAMILY: u8> BypassHarness<FAMILY> {
    /// Replaces the transport and its peers.
    pub fn replace(&mut self, io: Bypass<MemoryDevice>, peers: Peers) {
        (self.io, self.peers) = (io, peers);
    }

    pub fn peers(&mut self) -> &mut Peers {
        &mut self.peers
    }

    pub fn listening(&self) -> SocketAddr {
        SocketAddr::new(address(FAMILY, 1), PORT)
    }
}

impl<const FAMILY: u8, W: Wrap> Harness for BypassHarness<FAMILY, W> {
    type Io = W::Io<Bypass<MemoryDevice>>;
    type Wire = FlowId;
    const HAS_RESET: bool = true;

    fn new(setup: Setup) -> Self {
        let ring = if setup.tiny { 4 << 10 } else { 64 << 10 };
        let rings = |mut config: StackConfig| {
            config.rx_ring = ring;
            config.tx_ring = ring;
            config
        };
        let mut server = rings(config(FAMILY, 1));
        server.max_flows = setup.max_connections;
        let (io, peers) = bypass(setup, server, rings(config(FAMILY, 2)));
        Self {
            io: W::wrap(io),
            peers,
        }
    }
    fn io(&mut self) -> &mut Self::Io {
        // Once for each turn, at least.
        self.peers.turn();
        &mut self.io
    }
    fn dial(&mut self) -> FlowId {
        self.peers.dial(SocketAddr::new(address(FAMILY, 1), PORT))
    }
    fn send(&mut self, wire: &mut FlowId, bytes: &[u8]) -> usize {
        self.peers.send(*wire, bytes)
    }
    fn recv(&mut self, wire: &mut FlowId, into: &mut Vec<u8>) -> Seen {
        self.peers.recv(*wire, into)
    }
    fn end(&mut self, wire: &mut FlowId) {
        self.peers.stack.finish(*wire);
        self.peers.turn();
    }
    fn reset(&mut self, wire: FlowId) {
        self.peers.stack.abort(wire);
        self.peers.turn();
    }
    // Only `recv` reads.
    fn refuse(&mut self, _: &mut FlowId) {}
    fn take(&mut self, _: &mut FlowId) {}
    fn address(&self, wire: &FlowId) -> Peer {
        Peer::Ip(self.peers.stack.local(*wire).unwrap())
    }
}
