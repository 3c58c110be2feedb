//! After its creation an attacker allocates nothing, with any attack and any answers.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, unreachable_pub)]
mod range;

use std::net::SocketAddr;
use std::time::Duration;

use etherparse::PacketBuilder;
use hioload_attack::{AttackControl, AttackKind, AttackOptions, AttackPlan, Attacker, Count};
use hioload_device::memory::{PairOptions, pair};
use hioload_device::{Burst, Device};
use hioload_engine::{Config, Lcore};
use hioload_lcore::Clock;
use hioload_tcp::StackConfig;
use hioload_testkit::counting::{Counting, allocations};
use hioload_transport::Transport;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A SYN of the load, from which an attacker learns the path.
fn syn() -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 0x0b], [2, 0, 0, 0, 0, 0x0a])
        .ipv4([10, 77, 0, 1], [10, 77, 0, 2], 64)
        .tcp(40_000, 9001, 1, 512)
        .syn()
        .write(&mut frame, &[])
        .unwrap();
    frame
}

#[test]
fn a_running_attack_allocates_nothing() {
    let names = AttackKind::PACKETS.map(|kind| format!("{kind},rate=20k"));
    let plan: AttackPlan = names.join("+").parse().unwrap();
    let target: SocketAddr = "10.77.0.2:9001".parse().unwrap();
    let control = AttackControl::new(&plan);
    let options = AttackOptions::new(plan, target, ["10.77.0.1".parse().unwrap()]);
    let (a, b) = pair(&PairOptions::default()).unwrap();
    let mut now = Clock::new().now();
    let mut config = StackConfig::new(["10.77.0.2/24".parse().unwrap()]);
    config.listen = vec![target];
    config.max_flows = 4096;
    config.secret = *b"secret of a test";
    let server = hioload_testkit::links::bypass(a.open(), config, now);
    let mut server = Lcore::alone(server, range::Echo, Config::default(), now);
    let mut attacker = Attacker::new(b.open(), &options, &control).unwrap();

    let mut burst = Burst::new();
    let mut frame = attacker.alloc().unwrap();
    let bytes = syn();
    hioload_device::Frame::set_len(&mut frame, bytes.len());
    hioload_device::Frame::bytes_mut(&mut frame).copy_from_slice(&bytes);
    burst.push(frame);
    attacker.tx_burst(&mut burst);
    control.start();

    let mut allocated = 0;
    for turn in 0..10_000 {
        now += Duration::from_micros(200);
        if turn == 9_000 {
            control.stop();
        }
        attacker.set_now(now);
        let before = allocations();
        attacker.rx_burst(&mut burst);
        burst.clear();
        attacker.tx_burst(&mut burst);
        allocated += allocations() - before;
        server.transport().wait(Some(Duration::ZERO)).unwrap();
        server.turn(now);
    }
    assert_eq!(allocated, 0);
    let counters = control.counters();
    for kind in AttackKind::PACKETS {
        assert!(
            counters.get(kind, Count::Sent) > 300,
            "{kind}: {counters:?}"
        );
    }
    assert!(counters.get(AttackKind::TinySegments, Count::Echoes) > 0);
    assert!(counters.get(AttackKind::BadFrames, Count::Close1002) > 0);
}
