//! Any frames for the user-space stack: it does not panic, no limit is exceeded, every frame returns to its pool, and the connection
//! of a bystander goes on.
//!
//! Input: a byte of options (VLAN, small rings, keep-alive, shared addresses, echoing, answers to ARP and NDP), the seed of the
//! secret (4 bytes), then steps: a byte with the kind, with [`BATCH`] if no turn follows, and the bytes that [`steps`] reads.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hioload_device::memory::{self, MemoryDevice, PairOptions};
use hioload_device::{Burst, Device};
use hioload_lcore::Time;
use hioload_tcp::{Event, EventFlags, FlowId, Stack, StackConfig};

use super::input::Input;
use super::packet::{self, Link};

mod bystander;
pub mod steps;

use bystander::Bystander;

/// A flag in the first byte of a step: the next step is in the same burst.
pub const BATCH: u8 = 0x80;

/// The port where the stack listens.
pub const PORT: u16 = 9001;

const CHUNKS: usize = 128;
const OURS: [u8; 6] = [2, 0, 0, 0, 0, 0x0a];
/// The limits of the stack. They are low, so that inputs reach them.
const MAX_FLOWS: usize = 8;
const HALF_OPEN: usize = 4;
const ORPHANS: usize = 3;
const TIME_WAIT: usize = 4;

/// Runs one input; see the module.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let mut bench = Bench::new(input.byte(), input.word());
    let mut bystander = Bystander::open(&mut bench);
    bystander.ask(&mut bench, b"before");
    while !input.is_empty() {
        let what = input.byte();
        if let Some(time) = bench.step(what, &mut input) {
            bench.pass(time, Some(&mut bystander));
        }
        if what & BATCH == 0 {
            bench.turn();
            bystander.answer(&mut bench);
        }
    }
    bench.turn();
    bystander.answer(&mut bench);
    bystander.ask(&mut bench, b"and after");
    bench.abort_all();
    bystander.close(&mut bench);
    bench.rest();
}

/// The numbers in the last segment of the stack to a peer. The peers have no state of their own.
#[derive(Clone, Copy, Debug)]
struct Track {
    /// The next sequence number that it expects.
    wanted: u32,
    /// The next sequence number that it sends.
    next: u32,
}

/// The endpoints of the peer and of the stack.
type Ends = (SocketAddr, SocketAddr);

/// The stack, its application, and the far end of the cable.
pub struct Bench {
    stack: Stack<MemoryDevice>,
    cable: MemoryDevice,
    out: Burst<<MemoryDevice as Device>::Frame>,
    now: Time,
    vlan: Option<u16>,
    /// The application echoes, and releases flows that have ended.
    echoes: bool,
    /// ARP and NDP requests for the peers are answered.
    resolves: bool,
    flows: Vec<FlowId>,
    tracks: BTreeMap<Ends, Track>,
    /// The last frame to the stack, and the last frame from it.
    last_in: Vec<u8>,
    last_out: Vec<u8>,
    /// Frames for the bystander.
    bystanders: VecDeque<Vec<u8>>,
}

/// The address of the stack.
fn own(six: bool) -> IpAddr {
    match six {
        false => Ipv4Addr::new(10, 77, 0, 1).into(),
        true => Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1).into(),
    }
}

impl Bench {
    fn new(options: u8, seed: u32) -> Self {
        let bit = |bit: u8| options >> bit & 1 == 1;
        let pair = PairOptions::default().chunks(CHUNKS).ring(CHUNKS);
        let (a, b) = memory::pair(&pair).expect("memory");
        let vlan = bit(0).then_some(5);
        let ring = if bit(1) { 4096 } else { 65_536 };
        let mut secret = [0; 16];
        secret[..4].copy_from_slice(&seed.to_be_bytes());
        let addresses =
            ["10.77.0.1/24", "fd77::1/64"].map(|cidr| cidr.parse().expect("an address"));
        let mut config = StackConfig::new(addresses);
        config.gateway_v4 = Some(Ipv4Addr::new(10, 77, 0, 254));
        config.vlan = vlan;
        config.answers_for_addresses = !bit(3);
        config.listen = [false, true].map(|six| (own(six), PORT).into()).to_vec();
        config.max_flows = MAX_FLOWS;
        config.half_open = HALF_OPEN;
        config.time_wait = TIME_WAIT;
        config.orphans = ORPHANS;
        config.rx_ring = ring;
        config.tx_ring = ring;
        config.ring_memory = 1 << 20;
        config.keepalive = bit(4).then_some(Duration::from_secs(5));
        config.secret = secret;
        config.source_ports = 50_000..=50_007;
        let stack = Stack::new(a.open(), config, None, Time::ZERO).expect("a stack");
        Self {
            stack,
            cable: b.open(),
            out: Burst::new(),
            now: Time::ZERO,
            vlan,
            echoes: !bit(5),
            resolves: !bit(6),
            flows: Vec::new(),
            tracks: BTreeMap::new(),
            last_in: Vec::new(),
            last_out: Vec::new(),
            bystanders: VecDeque::new(),
        }
    }

    /// The link from `src` to the stack.
    fn link(&self, src: [u8; 6]) -> Link {
        Link {
            src,
            dst: OURS,
            vlan: self.vlan,
        }
    }

    /// Sends a frame to the stack. Frames with the address of the bystander are dropped: it could not detect a perfect forgery.
    fn send(&mut self, frame: &[u8]) {
        let forged = frame
            .windows(4)
            .any(|four| four == bystander::ADDRESS.octets());
        if !forged {
            self.last_in = frame.to_vec();
            self.put(frame);
        }
    }

    /// Sends a frame on the cable.
    fn put(&mut self, bytes: &[u8]) {
        if self.out.is_full() {
            self.turn();
        }
        if let Some(mut frame) = self.cable.alloc()
            && bytes.len() <= frame.room()
        {
            frame.set_len(bytes.len());
            frame.bytes_mut().copy_from_slice(bytes);
            self.out.push(frame);
        }
    }

    /// Runs a turn of the stack, and receives its frames.
    fn turn(&mut self) {
        self.cable.tx_burst(&mut self.out);
        self.stack.receive(self.now);
        while let Some(event) = self.stack.next() {
            self.event(event);
        }
        self.stack.transmit();
        let stats = self.stack.stats();
        assert!(stats.flows <= MAX_FLOWS as u64, "{stats:?}");
        assert!(stats.half_open <= HALF_OPEN as u64, "{stats:?}");
        assert!(stats.orphans <= ORPHANS as u64, "{stats:?}");
        assert!(stats.time_wait <= TIME_WAIT as u64, "{stats:?}");

        let mut burst = Burst::new();
        while self.cable.rx_burst(&mut burst) > 0 {
            for frame in burst.drain(..) {
                self.hear(frame.bytes());
            }
        }
    }

    /// Handles an event as the application.
    fn event(&mut self, event: Event<<MemoryDevice as Device>::Frame>) {
        let Event {
            flow: id,
            flags,
            payload,
            ..
        } = event;
        let bystander = self.stack.peer(id) == Some(bystander::END);
        if flags.contains(EventFlags::ACCEPTED) && !bystander {
            assert!(!self.flows.contains(&id), "{id} accepted twice");
            self.flows.push(id);
        }
        assert!(
            bystander || self.flows.contains(&id),
            "{id}: an event of a stale flow"
        );
        if let Some(payload) = payload {
            let there = self.stack.readable(id);
            assert_eq!(
                payload.frame.bytes()[payload.range],
                *there,
                "{id}: in place"
            );
        }
        if self.echoes || bystander {
            let there = self.stack.readable(id).to_vec();
            let sent = self.stack.send(id, &there);
            self.stack.consume(id, sent);
            if self.stack.ended(id) && self.stack.received(id) == 0 {
                self.stack.release(id);
                self.flows.retain(|&flow| flow != id);
            }
        }
        if flags.contains(EventFlags::CLOSED) {
            assert!(
                !bystander,
                "the bystander's connection died: {:?}",
                event.error
            );
            self.flows.retain(|&flow| flow != id);
        }
    }

    /// Receives a frame of the stack.
    fn hear(&mut self, frame: &[u8]) {
        self.last_out = frame.to_vec();
        let Some(view) = packet::view(frame) else {
            return self.resolve(frame);
        };
        if view.dst == IpAddr::V4(bystander::ADDRESS) {
            return self.bystanders.push_back(frame.to_vec());
        }
        let Some(tcp) = view.tcp else {
            return self.resolve(frame);
        };
        let ends = (
            (view.dst, tcp.ports.1).into(),
            (view.src, tcp.ports.0).into(),
        );
        let control = tcp.flags & (packet::SYN | packet::FIN) != 0;
        let length = tcp.payload as u32 + u32::from(control);
        let track = Track {
            wanted: tcp.ack,
            next: tcp.seq.wrapping_add(length),
        };
        if self.tracks.len() < 64 || self.tracks.contains_key(&ends) {
            self.tracks.insert(ends, track);
        }
    }

    /// Answers an ARP request for the address of a peer or the bystander.
    fn resolve(&mut self, frame: &[u8]) {
        let Some(at) = frame.windows(2).position(|two| two == [8, 6]) else {
            return self.advertise(frame);
        };
        let Some(arp) = frame.get(at + 2..at + 30) else {
            return;
        };
        let asked = [arp[24], arp[25], arp[26], arp[27]];
        let bystander = asked == bystander::ADDRESS.octets();
        if arp[7] != 1 || !(self.resolves || bystander) {
            return;
        }
        let mac = [2, 0, 0, 0, 2, asked[3]];
        let answer = [&[0, 1, 8, 0, 6, 4, 0, 2], &mac[..], &asked, &arp[8..18]].concat();
        let frame = packet::ethernet(self.link(mac), packet::ARP, &answer);
        self.put(&frame);
    }

    /// The same by NDP.
    fn advertise(&mut self, frame: &[u8]) {
        let Some(view) = packet::view(frame) else {
            return;
        };
        let icmp = packet::ip_at(frame).and_then(|at| frame.get(at + 40..at + 64));
        let Some(icmp) = icmp.filter(|icmp| view.protocol == packet::ICMPV6 && icmp[0] == 135)
        else {
            return;
        };
        let (target, IpAddr::V6(asking), true) = (&icmp[8..24], view.src, self.resolves) else {
            return;
        };
        let mac = [2, 0, 0, 0, 2, icmp[23]];
        let body = [&[136, 0, 0, 0, 0x60, 0, 0, 0], target, &[2, 1], &mac].concat();
        let own = <[u8; 16]>::try_from(target)
            .map(Ipv6Addr::from)
            .expect("its length");
        let packet = packet::ip(own.into(), asking.into(), packet::ICMPV6, &body);
        let frame = packet::ip_frame(self.link(mac), &packet);
        self.put(&frame);
    }

    /// Advances the time, with a turn for each timer, up to a limit of turns.
    fn pass(&mut self, time: Duration, bystander: Option<&mut Bystander>) {
        let end = self.now + time;
        let mut bystander = bystander;
        for _ in 0..300 {
            let next = self.stack.next_deadline().unwrap_or(end);
            // The time does not go back, and advances at least by 1 ms.
            let earliest = self.now + Duration::from_millis(1);
            self.now = next.clamp(earliest, end.max(earliest));
            self.turn();
            if let Some(bystander) = &mut bystander {
                bystander.answer(self);
                self.turn();
            }
            if self.now >= end {
                break;
            }
        }
    }

    fn abort_all(&mut self) {
        for id in std::mem::take(&mut self.flows) {
            self.stack.abort(id);
        }
        self.turn();
    }

    /// Ends all flows, and checks that nothing is left.
    fn rest(&mut self) {
        for _ in 0..40 {
            self.pass(Duration::from_secs(10), None);
        }
        let left: Vec<_> = self.stack.flows().map(|id| self.stack.info(id)).collect();
        assert!(left.is_empty(), "flows left: {left:?}");
        let stats = self.stack.stats();
        let gauges = [stats.flows, stats.half_open, stats.orphans, stats.time_wait];
        assert_eq!(gauges, [0; 4], "flows, half-open, orphans, TIME_WAIT");
        self.out.clear();
        let device = self.stack.device();
        device.settle();
        self.cable.settle();
        device.settle();
        let free = device.pool().available() + self.cable.pool().available();
        assert_eq!(free, 2 * CHUNKS, "frames lost");
    }
}
