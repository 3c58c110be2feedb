//! Measures the time of a 64-byte echo in the server's stack alone: without WebSocket and NIC. The client is a script on the
//! same core, and its time is not counted.
//!
//! ```text
//! cargo run --release -p hioload-tcp --example echo_cost -- [flows] [million echoes] [in a burst]
//! ```

use std::time::{Duration, Instant};

use hioload_device::memory::{MemoryDevice, PairOptions, pair};
use hioload_device::{Burst, Device};
use hioload_lcore::Time;
use hioload_tcp::{EventFlags, Stack, StackConfig};

/// Bytes of a message.
const MESSAGE: usize = 64;
/// Ethernet, IPv4, TCP with timestamps.
const HEADERS: usize = 14 + 20 + 32;

/// The client's end of a flow.
#[derive(Clone, Copy, Default)]
struct Flow {
    seq: u32,
    ack: u32,
}

struct Client {
    device: MemoryDevice,
    flows: Vec<Flow>,
    to: [u8; 6],
    burst: Burst<<MemoryDevice as Device>::Frame>,
    answered: usize,
}

fn sum(bytes: &[u8]) -> u32 {
    bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| u32::from(low)))
        .sum()
}

fn fold(mut sum: u32) -> [u8; 2] {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

impl Client {
    /// The address and the port of a flow.
    fn name(flow: usize) -> ([u8; 4], u16) {
        let (high, low) = (flow / 50_000, flow % 50_000);
        (
            [10, 77, 1 + (high / 250) as u8, 1 + (high % 250) as u8],
            10_000 + low as u16,
        )
    }

    fn send(&mut self, flow: usize, flags: u8, payload: usize) {
        let mut frame = self.device.alloc().expect("a frame");
        let len = HEADERS + payload;
        frame.set_len(len);
        let Flow { seq, ack } = self.flows[flow];
        let (ip, port) = Self::name(flow);
        let bytes = frame.bytes_mut();
        bytes.fill(b'm');
        bytes[..6].copy_from_slice(&self.to);
        bytes[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
        bytes[12..14].copy_from_slice(&[8, 0]);
        let packet = &mut bytes[14..];
        packet[..20].copy_from_slice(&[
            0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0, ip[0], ip[1], ip[2], ip[3], 10, 77, 0, 2,
        ]);
        packet[2..4].copy_from_slice(&((len - 14) as u16).to_be_bytes());
        let check = fold(sum(&packet[..20]));
        packet[10..12].copy_from_slice(&check);
        packet[20..22].copy_from_slice(&port.to_be_bytes());
        packet[22..24].copy_from_slice(&80_u16.to_be_bytes());
        packet[24..28].copy_from_slice(&seq.to_be_bytes());
        packet[28..32].copy_from_slice(&ack.to_be_bytes());
        packet[32..40].copy_from_slice(&[0x80, flags, 0xff, 0xff, 0, 0, 0, 0]);
        packet[40..52].copy_from_slice(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 1]);
        let pseudo = sum(&packet[12..20]) + 6 + (32 + payload) as u32;
        let check = fold(pseudo + sum(&packet[20..]));
        packet[36..38].copy_from_slice(&check);
        self.flows[flow].seq = seq.wrapping_add(payload as u32 + u32::from(flags & 2 != 0));
        self.burst.push(frame);
        if self.burst.is_full() {
            self.flush();
        }
    }

    fn flush(&mut self) {
        while !self.burst.is_empty() {
            self.device.tx_burst(&mut self.burst);
        }
    }

    /// Receives the frames of the server.
    fn receive(&mut self) {
        let mut burst = Burst::new();
        while self.device.rx_burst(&mut burst) > 0 {
            for frame in burst.drain(..) {
                let bytes = frame.bytes();
                if bytes[12..14] != [8, 0] || bytes[23] != 6 {
                    continue;
                }
                let flow = (usize::from(bytes[32] - 1) * 250 + usize::from(bytes[33] - 1)) * 50_000
                    + usize::from(u16::from_be_bytes([bytes[36], bytes[37]]) - 10_000);
                let seq = u32::from_be_bytes([bytes[38], bytes[39], bytes[40], bytes[41]]);
                let header = 34 + usize::from(bytes[46] >> 4) * 4;
                let len = bytes.len() - header + usize::from(bytes[47] & 2 != 0);
                assert_eq!(bytes[47] & 4, 0, "reset");
                self.flows[flow].ack = seq.wrapping_add(len as u32);
                self.answered += usize::from(len > 0);
            }
        }
    }
}

/// The server: it echoes everything, from the frame or from the ring.
struct Server {
    stack: Stack<MemoryDevice>,
    now: Time,
    busy: Duration,
    /// The nanoseconds of each turn.
    turns: Vec<u64>,
}

impl Server {
    fn turn(&mut self) {
        let begun = Instant::now();
        // The clock is slower than real time: a reply is acknowledged with the next message of its flow, and must not be
        // retransmitted before.
        self.now += Duration::from_nanos(5000);
        let now = self.now;
        self.stack.receive(now);
        while let Some(event) = self.stack.next() {
            if !event.flags.contains(EventFlags::DATA) {
                continue;
            }
            let id = event.flow;
            let len = if let Some(mut payload) = event.payload {
                let bytes = &mut payload.frame.bytes_mut()[payload.range];
                if let Some(space) = self.stack.send_space(id, bytes.len()) {
                    space[..bytes.len()].copy_from_slice(bytes);
                    self.stack.commit(id, bytes.len());
                }
                bytes.len()
            } else {
                let bytes = self.stack.readable(id).to_vec();
                self.stack.send(id, &bytes)
            };
            self.stack.consume(id, len);
        }
        self.stack.transmit();
        let took = begun.elapsed();
        self.busy += took;
        self.turns.push(took.as_nanos() as u64);
    }
}

/// Resident bytes of this process.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0_u64) * 4096
}

fn main() {
    let mut args = std::env::args()
        .skip(1)
        .map(|arg| arg.parse::<f64>().expect("a number"));
    let flows = args.next().unwrap_or(100.0) as usize;
    let echoes = (args.next().unwrap_or(5.0) * 1e6) as usize;
    let in_burst = args.next().unwrap_or(64.0) as usize;
    let (near, far) = pair(&PairOptions::default()).expect("a pair");
    let device = far.open();
    let to = device.capabilities().mac;
    let mut config = StackConfig::new(["10.77.0.2/16".parse().expect("an address")]);
    config.listen = vec!["0.0.0.0:80".parse().expect("an address")];
    config.max_flows = flows;
    config.ring_memory = 16 << 30;
    config.ring_idle = Duration::from_secs(3600);
    let mut server = Server {
        stack: Stack::new(device, config, None, Time::ZERO).expect("a stack"),
        now: Time::ZERO,
        busy: Duration::ZERO,
        turns: Vec::with_capacity(1 << 20),
    };
    let mut client = Client {
        device: near.open(),
        flows: vec![Flow::default(); flows],
        to,
        burst: Burst::new(),
        answered: 0,
    };
    for first in (0..flows).step_by(64) {
        let some = first..(first + 64).min(flows);
        some.clone().for_each(|flow| client.send(flow, 2, 0));
        client.flush();
        server.turn();
        client.receive();
        some.for_each(|flow| client.send(flow, 16, 0));
        client.flush();
        server.turn();
    }
    println!(
        "{flows} flows accepted, {:.0} ns each; {:?}",
        server.busy.as_nanos() as f64 / flows as f64,
        server.stack.stats().flows
    );
    println!("resident: {} MiB", resident() >> 20);
    // All rings are touched before the measurement.
    let mut random = 88_172_645_463_325_252_u64;
    let mut round = |echoes: usize, server: &mut Server, client: &mut Client, all: bool| {
        (server.busy, client.answered) = (Duration::ZERO, 0);
        server.turns.clear();
        let mut next = 0;
        for _ in 0..echoes / in_burst {
            for _ in 0..in_burst {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                next = (next + 1) % flows;
                let flow = if all { next } else { random as usize % flows };
                client.send(flow, 24, MESSAGE);
            }
            client.flush();
            server.turn();
            client.receive();
        }
    };
    round(flows.max(100_000), &mut server, &mut client, true);
    println!(
        "warm: {:.0} ns",
        server.busy.as_nanos() as f64 / client.answered as f64
    );
    round(echoes, &mut server, &mut client, false);
    server.turns.sort_unstable();
    let turn = |share: f64| server.turns[(server.turns.len() as f64 * share) as usize] as f64;
    println!(
        "by turns: best tenth {:.0}, half {:.0} ns for each",
        turn(0.1) / in_burst as f64,
        turn(0.5) / in_burst as f64,
    );
    let stats = server.stack.stats();
    let in_place = stats.rx_bytes_in_place as f64;
    println!(
        "{} flows: {:.0} ns for each {MESSAGE}-byte echo ({} of them, {} to a burst), {:.2} % in place, {} ring bytes",
        stats.flows,
        server.busy.as_nanos() as f64 / client.answered as f64,
        client.answered,
        in_burst,
        100.0 * in_place / (in_place + stats.rx_bytes_from_ring as f64),
        stats.ring_bytes,
    );
}
