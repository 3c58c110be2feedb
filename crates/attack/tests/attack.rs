//! Each attack against a server of this project, with a regular load beside it, in virtual time.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, unreachable_pub)]
mod range;

use std::time::Duration;

use hioload_attack::{AttackKind, Count};
use range::{Lab, Setup};

const SECOND: Duration = Duration::from_secs(1);

/// The setup for an attack that takes seconds: with longer turns.
fn slowly(plan: &'static str, v6: bool) -> Setup {
    let turn = Duration::from_millis(2);
    Setup {
        turn,
        v6,
        ..Setup::new(plan)
    }
}

/// Runs an attack for `time` beside an open load, and checks that the load is not affected.
fn survives(setup: &Setup, time: Duration) -> Lab {
    let mut lab = Lab::new(setup);
    lab.open();
    lab.pass(SECOND / 10);
    let echoes = lab.attacked(time);
    println!("{}: {echoes} echoes beside it", setup.plan);
    for (name, value) in lab.counters().iter() {
        println!("  {name} {value}");
    }
    println!("  {:?}", lab.server_stats());
    lab.assert_unharmed();
    lab
}

/// IPv6 in a VLAN, and IPv4 from a pool of addresses. Without either: [`slowly`].
fn everywhere(plan: &'static str) -> [Setup; 2] {
    [
        Setup {
            v6: true,
            vlan: Some(77),
            ..Setup::new(plan)
        },
        Setup {
            pool: Some("10.66.0.0/16"),
            ..Setup::new(plan)
        },
    ]
}

#[test]
fn a_syn_flood_keeps_its_rate_and_is_answered() {
    for setup in everywhere("syn-flood,rate=100k") {
        let mut lab = survives(&setup, SECOND / 5);
        let counters = lab.counters();
        let sent = counters.get(AttackKind::SynFlood, Count::Sent);
        assert!(sent.abs_diff(20_000) <= 10, "{sent}");
        assert_eq!(counters.get(AttackKind::SynFlood, Count::NoRoom), 0);
        assert_eq!(counters.get(AttackKind::SynFlood, Count::SynAck), sent);
        let stats = lab.server_stats();
        assert!(stats.half_open <= 4096 && stats.half_open_evicted > 15_000);
        assert_eq!(stats.rx_malformed + stats.bad_checksums, 0);
    }
}

#[test]
fn storms_affect_no_connection() {
    for setup in everywhere("ack-storm,rate=50k+rst-storm,rate=50k") {
        let mut lab = survives(&setup, SECOND / 5);
        let counters = lab.counters();
        for kind in [AttackKind::AckStorm, AttackKind::RstStorm] {
            assert!(counters.get(kind, Count::Sent) > 9_900);
        }
        let stats = lab.server_stats();
        assert!(stats.rst_ignored > 1000 && stats.resets == 0, "{stats:?}");
        assert_eq!(stats.half_open, 0, "no SYN of a storm opens a connection");
        assert_eq!(stats.rx_malformed + stats.bad_checksums, 0);
    }
}

#[test]
fn malformed_frames_are_only_counted() {
    for setup in everywhere("malformed,rate=100k") {
        let mut lab = survives(&setup, SECOND / 2);
        let stats = lab.server_stats();
        assert!(
            stats.rx_malformed > 1000 && stats.bad_checksums > 1000 && stats.rx_fragments > 500,
            "{stats:?}"
        );
        assert_eq!(stats.flows, range::TALKERS);
    }
}

#[test]
fn one_byte_segments_are_echoed() {
    for setup in everywhere("tiny-segments,rate=50k,connections=8") {
        let lab = survives(&setup, SECOND / 2);
        let counters = lab.counters();
        assert!(counters.get(AttackKind::TinySegments, Count::Echoes) > 100);
        assert!(
            counters.get(AttackKind::TinySegments, Count::Closed) > 4,
            "more than once"
        );
        assert_eq!(counters.get(AttackKind::TinySegments, Count::Wrong), 0);
        assert_eq!(counters.get(AttackKind::TinySegments, Count::Unanswered), 0);
    }
}

#[test]
fn overlapping_segments_are_reassembled() {
    for setup in everywhere("overlap,rate=50k,connections=8") {
        let lab = survives(&setup, SECOND / 4);
        let counters = lab.counters();
        assert!(counters.get(AttackKind::Overlap, Count::Echoes) > 250);
        assert_eq!(counters.get(AttackKind::Overlap, Count::Wrong), 0);
    }
}

#[test]
fn clients_that_do_not_read_cost_bounded_memory() {
    let setup = slowly(
        "zero-window,connections=32+slow-reader,connections=32,interval=20ms",
        false,
    );
    let mut lab = survives(&setup, 5 * SECOND);
    let counters = lab.counters();
    assert!(counters.get(AttackKind::ZeroWindow, Count::Upgraded) >= 32);
    assert!(counters.get(AttackKind::SlowReader, Count::Upgraded) >= 32);
    assert_eq!(counters.get(AttackKind::SlowReader, Count::Wrong), 0);
    // Both windows of each connection, and the send queue of the server.
    let stats = lab.server_stats();
    assert!(
        stats.ring_bytes <= (64 + range::TALKERS) * 2 * (64 << 10),
        "{stats:?}"
    );
    // The attack resets its connections at the end.
    assert_eq!(stats.flows, range::TALKERS);
}

#[test]
fn handshakes_that_never_end_time_out() {
    let mut setup = slowly("slow-handshake,connections=30,interval=500ms", true);
    setup.limits.handshake_timeout = 2 * SECOND;
    let mut lab = survives(&setup, 6 * SECOND);
    let counters = lab.counters();
    let get = |count| counters.get(AttackKind::SlowHandshake, count);
    assert!(get(Count::Http408) >= 20, "trickling clients");
    assert!(get(Count::Closed) >= 40, "and silent clients");
    assert!(get(Count::SynAck) >= 30);
    assert_eq!(get(Count::Upgraded), 0);
    lab.pass(15 * SECOND);
    assert_eq!(lab.server_stats().half_open, 0);
}

#[test]
fn broken_frames_and_requests_get_their_codes() {
    let setup = slowly("bad-frames,rate=50k,connections=16", true);
    let lab = survives(&setup, 6 * SECOND);
    let counters = lab.counters();
    let get = |count| counters.get(AttackKind::BadFrames, count);
    assert!(get(Count::Close1002) > 100);
    assert!(get(Count::Close1007) > 10);
    assert!(get(Count::Http400) > 10);
    assert!(get(Count::Http431) > 10);
}

#[test]
fn an_attack_starts_and_stops_by_its_control() {
    let mut lab = Lab::new(&Setup::new(
        "syn-flood,rate=100k+tiny-segments,connections=4",
    ));
    lab.open();
    lab.pass(SECOND / 10);
    let sent = |lab: &Lab| lab.counters().get(AttackKind::SynFlood, Count::Sent);
    assert_eq!((sent(&lab), lab.server_stats().syns), (0, range::TALKERS));
    for round in 1..=3 {
        lab.attacked(SECOND / 10);
        let all = sent(&lab);
        assert!(all.abs_diff(round * 10_000) < 100, "{all}");
        lab.pass(SECOND / 10);
        assert_eq!(sent(&lab), all, "no packet after the stop");
        assert_eq!(
            lab.server_stats().flows,
            range::TALKERS,
            "its connections are reset"
        );
    }
    lab.assert_unharmed();
}
