//! Packets per second of each flood on one core, over a memory pair whose other end discards them on the same thread.
//!
//! ```text
//! cargo run --release -p hioload-attack --example attack_rate
//! ```
#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use etherparse::PacketBuilder;
use hioload_attack::{AttackControl, AttackOptions, AttackPlan, Attacker};
use hioload_device::memory::{PairOptions, pair};
use hioload_device::{Burst, Device};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(200);

/// The first packet of a load, from which the attacker learns the path to the target.
fn first(from: IpAddr, target: SocketAddr) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 0x0b], [2, 0, 0, 0, 0, 0x0a]);
    let ip = match (from, target.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ethernet.ipv4(from.octets(), to.octets(), 64),
        (IpAddr::V6(from), IpAddr::V6(to)) => ethernet.ipv6(from.octets(), to.octets(), 64),
        _ => unreachable!("both are of one family"),
    };
    let mut frame = Vec::new();
    ip.tcp(40_000, target.port(), 1, 512)
        .ack(1)
        .write(&mut frame, &[])
        .unwrap();
    frame
}

/// Packets per second of an attack without a rate limit: the median of the rounds.
fn rate(attack: &str, from: &str, target: &str) -> f64 {
    let plan: AttackPlan = format!("{attack},rate=1000M").parse().unwrap();
    let (from, target): (IpAddr, SocketAddr) = (from.parse().unwrap(), target.parse().unwrap());
    let control = AttackControl::new(&plan);
    let (a, b) = pair(&PairOptions::default()).unwrap();
    let options = AttackOptions::new(plan, target, [from]);
    let (mut sink, mut attacker) = (
        a.open(),
        Attacker::new(b.open(), &options, &control).unwrap(),
    );
    let (mut out, mut heard) = (Burst::new(), Burst::new());
    let bytes = first(from, target);
    let mut frame = attacker.alloc().unwrap();
    frame.set_len(bytes.len());
    frame.bytes_mut().copy_from_slice(&bytes);
    out.push(frame);
    attacker.tx_burst(&mut out);
    control.start();

    let mut rates: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let (begin, mut packets) = (Instant::now(), 0);
            while begin.elapsed() < ROUND {
                for _ in 0..64 {
                    attacker.rx_burst(&mut heard);
                    attacker.tx_burst(&mut out);
                    while sink.rx_burst(&mut heard) > 0 {
                        packets += heard.len();
                        heard.clear();
                    }
                }
            }
            packets as f64 / begin.elapsed().as_secs_f64()
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    rates[ROUNDS / 2]
}

fn main() {
    println!("million packets a second   IPv4   IPv6");
    for attack in ["syn-flood", "ack-storm", "rst-storm", "malformed"] {
        let four = rate(attack, "10.77.0.1", "10.77.0.2:9001") / 1e6;
        let six = rate(attack, "fd77::1", "[fd77::2]:9001") / 1e6;
        println!("{attack:24} {four:6.1} {six:6.1}");
    }
}
