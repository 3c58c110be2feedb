//! The ends of flows.

use std::io::ErrorKind;

use super::forged::{forge, syn};
use super::*;
use crate::parse::flags;
use crate::raw_segment::RawSegment;
use crate::tuple::Tuple;

#[test]
fn either_side_or_both_may_finish_first() {
    for (a_first, together) in [(true, false), (false, false), (true, true)] {
        let mut world = World::new();
        let (here, there) = world.connect("10.77.0.2:80");
        world.a.stack.send(here, b"last words");
        if a_first {
            world.a.stack.finish(here);
        }
        if together || !a_first {
            world.b.stack.finish(there);
        }
        world.turns(4);
        assert_eq!(world.b.seen[&there].bytes, b"last words");
        // The other direction is still open.
        if !together {
            let (side, flow) = if a_first {
                (&mut world.b, there)
            } else {
                (&mut world.a, here)
            };
            assert!(side.stack.ended(flow));
            assert_eq!(side.stack.send(flow, b"more"), 4);
            side.stack.finish(flow);
            assert_eq!(side.stack.send(flow, b"too late"), 0);
        }
        world.turns(8);
        for (side, flow) in [(&world.a, here), (&world.b, there)] {
            assert!(
                side.events(flow)
                    .contains(EventFlags::END | EventFlags::CLOSED)
            );
            assert_eq!(side.seen[&flow].error, None);
        }
        world.assert_empty();
        let waiting = world.a.stack.stats().time_wait + world.b.stack.stats().time_wait;
        assert_eq!(waiting, if together { 2 } else { 1 });
    }
}

#[test]
fn what_was_received_can_be_read_after_the_end() {
    let mut world = World::new();
    world.b.reads = false;
    let (here, there) = world.connect("10.77.0.2:80");
    world.a.stack.send(here, b"unread");
    world.turns(2);
    world.b.stack.finish(there);
    world.turns(4);
    world.a.stack.finish(here);
    world.turns(4);
    // TCP has ended, but the bytes are still to be read.
    assert_eq!(
        world.b.events(there),
        EventFlags::ACCEPTED | EventFlags::DATA | EventFlags::END
    );
    assert_eq!(world.b.stack.readable(there), b"unread");
    world.b.stack.consume(there, 2);
    world.turns(2);
    assert_eq!(world.b.stack.readable(there), b"read");
    world.b.stack.consume(there, 4);
    world.turns(2);
    assert!(world.b.events(there).contains(EventFlags::CLOSED));
    world.assert_empty();
}

#[test]
fn aborting_resets_the_peer_and_makes_the_id_stale() {
    let mut world = World::new();
    let (here, there) = world.connect("[fd77::2]:80");
    world.b.stack.abort(there);
    assert_eq!(world.b.stack.peer(there), None);
    assert_eq!(world.b.stack.send(there, b"x"), 0);
    world.turns(2);
    assert!(world.a.events(here).contains(EventFlags::CLOSED));
    assert_eq!(world.a.seen[&here].error, Some(ErrorKind::ConnectionReset));
    world.turns(1);
    world.assert_empty();
    assert_eq!(world.a.stack.stats().resets, 1);
    assert_eq!(world.b.stack.stats().rst_sent, 1);
    // The slot is used again with another id.
    let (_, again) = world.connect("[fd77::2]:80");
    assert_eq!(again.index, there.index);
    assert_ne!(again.generation, there.generation);
    world.b.stack.consume(there, 1);
    world.b.stack.abort(there);
    assert!(world.b.stack.peer(again).is_some());
}

#[test]
fn a_released_flow_closes_without_its_user() {
    let mut world = World::new();
    let (here, there) = world.connect("10.77.0.2:80");
    let bytes = vec![5; 60_000];
    assert_eq!(world.b.stack.send(there, &bytes), 60_000);
    world.b.stack.release(there);
    assert_eq!(world.b.stack.peer(there), None);
    assert_eq!(world.b.stack.stats().orphans, 1);
    world.pass(Duration::from_millis(100));
    assert_eq!(world.a.seen[&here].bytes, bytes);
    assert!(world.a.events(here).contains(EventFlags::END));
    // Bytes that the peer still sends are discarded.
    world.a.stack.send(here, b"never read");
    world.turns(4);
    assert_eq!(world.b.stack.stats().orphans, 1);
    world.a.stack.release(here);
    world.turns(6);
    world.assert_empty();
}

#[test]
fn a_flow_whose_peer_does_not_finish_is_freed_after_the_linger_time() {
    let mut world = World::new();
    let (here, there) = world.connect("10.77.0.2:80");
    world.b.stack.release(there);
    world.turns(4);
    assert_eq!(world.b.stack.stats().orphans, 1);
    world.pass(Duration::from_secs(9));
    assert_eq!(world.b.stack.stats().orphans, 1);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.b.stack.stats().orphans, 0);
    // The peer gets an RST for its next segment.
    world.a.stack.send(here, b"hello?");
    world.turns(4);
    assert_eq!(world.a.seen[&here].error, Some(ErrorKind::ConnectionReset));
    world.assert_empty();
}

#[test]
fn a_new_orphan_resets_the_oldest() {
    let mut world = World::with(
        client(),
        StackConfig {
            orphans: 4,
            ..server()
        },
        1500,
    );
    let flows: Vec<_> = (0..6).map(|_| world.connect("10.77.0.2:80")).collect();
    for (_, there) in &flows {
        world.b.stack.release(*there);
    }
    world.turns(4);
    let stats = world.b.stack.stats();
    assert_eq!((stats.orphans, stats.orphans_reset), (4, 2));
    // It is reset before it has sent its FIN.
    let reset = |flow: FlowId| world.a.seen[&flow].error == Some(ErrorKind::ConnectionReset);
    let resets: Vec<bool> = flows.iter().map(|&(here, _)| reset(here)).collect();
    assert_eq!(resets, [true, true, false, false, false, false]);
}

#[test]
fn a_closed_port_refuses_connections() {
    let mut world = World::new();
    for to in ["10.77.0.2:81", "[fd77::2]:81"] {
        let here = world.a.stack.connect(addr(to)).expect("it begins");
        world.turns(8);
        assert_eq!(
            world.a.seen[&here].error,
            Some(ErrorKind::ConnectionRefused)
        );
        assert_eq!(world.a.events(here), EventFlags::CLOSED);
    }
    world.b.stack.stop_listening();
    let here = world
        .a
        .stack
        .connect(addr("10.77.0.2:80"))
        .expect("it begins");
    world.turns(8);
    assert_eq!(
        world.a.seen[&here].error,
        Some(ErrorKind::ConnectionRefused)
    );
    world.assert_empty();
}

#[test]
fn a_connection_fails_without_an_answer_of_the_neighbour() {
    let mut world = World::new();
    let here = world
        .a
        .stack
        .connect(addr("10.77.0.77:80"))
        .expect("it begins");
    world.pass(Duration::from_secs(5));
    assert_eq!(world.a.seen[&here].error, Some(ErrorKind::HostUnreachable));
    let error = world
        .a
        .stack
        .connect(addr("8.8.8.8:80"))
        .expect_err("no gateway");
    assert_eq!(error, crate::ConnectError::HostUnreachable);
    world.assert_empty();
}

#[test]
fn a_flow_fails_after_the_user_timeout() {
    let mut world = World::new();
    let (here, there) = world.connect("10.77.0.2:80");
    let cut = Impairment::default().loss(1.0);
    world.a.stack.device().set_rx(&cut);
    // Nothing is outstanding, so the silence of the peer has no effect.
    world.pass(Duration::from_secs(3600));
    assert!(!world.a.events(here).contains(EventFlags::CLOSED));
    world.a.stack.send(here, b"are you there?");
    world.pass(Duration::from_secs(29));
    assert!(!world.a.events(here).contains(EventFlags::CLOSED));
    world.pass(Duration::from_secs(4));
    assert_eq!(world.a.seen[&here].error, Some(ErrorKind::TimedOut));
    let stats = world.a.stack.stats();
    assert_eq!(stats.timeouts, 1);
    assert!((4..=6).contains(&stats.retransmits), "{stats:?}");
    // The peer was sent an RST.
    assert_eq!(world.b.seen[&there].error, Some(ErrorKind::ConnectionReset));
    // The neighbour is known, but it does not answer.
    world.a.stack.device().set_rx(&Impairment::default());
    let (here, _) = world.connect("10.77.0.2:80");
    world.a.stack.abort(here);
    world.a.stack.device().set_rx(&cut);
    let syn = world
        .a
        .stack
        .connect(addr("10.77.0.2:80"))
        .expect("it begins");
    world.pass(Duration::from_secs(40));
    assert_eq!(world.a.seen[&syn].error, Some(ErrorKind::TimedOut));
    // The other side has freed its half-open flow.
    world.pass(Duration::from_secs(12));
    world.assert_empty();
}

#[test]
fn keepalive_finds_a_dead_peer() {
    let keepalive = Some(Duration::from_secs(10));
    let mut world = World::with(
        client(),
        StackConfig {
            keepalive,
            ..server()
        },
        1500,
    );
    let (_, there) = world.connect("10.77.0.2:80");
    world.pass(Duration::from_secs(100));
    assert_eq!(world.b.state(there), "ESTABLISHED");
    let cut = Impairment::default().loss(1.0);
    world.b.stack.device().set_rx(&cut);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.b.seen[&there].error, Some(ErrorKind::TimedOut));
}

#[test]
fn a_connection_in_time_wait_can_be_opened_again() {
    let one_port = StackConfig {
        source_ports: 40_000..=40_000,
        ..client()
    };
    let mut world = World::with(one_port, server(), 1500);
    for round in 0..3 {
        let (here, there) = world.connect("10.77.0.2:80");
        // The server closes first.
        world.b.stack.release(there);
        world.turns(4);
        world.a.stack.release(here);
        world.turns(4);
        world.assert_empty();
        let stats = world.b.stack.stats();
        assert_eq!((stats.time_wait, stats.time_wait_reused), (1, round));
        assert_eq!(world.a.stack.stats().time_wait, 0);
    }
    // In the end nothing is left.
    world.pass(Duration::from_secs(61));
    assert_eq!(world.b.stack.stats().time_wait, 0);
    assert_eq!(world.b.stack.next_deadline(), None);
}

#[test]
fn a_restarted_peer_replaces_time_wait_with_any_sequence_number() {
    let one_port = StackConfig {
        source_ports: 40_000..=40_000,
        ..client()
    };
    let mut world = World::with(one_port, server(), 1500);
    let (here, there) = world.connect("10.77.0.2:80");
    world.b.stack.release(there);
    world.turns(4);
    world.a.stack.release(here);
    world.turns(4);
    let ours = Tuple::new(addr("10.77.0.2:80"), addr("10.77.0.1:40000")).expect("a flow");
    let hash = world.b.stack.flows.hash(&ours);
    let (_, entry) = world.b.stack.time_wait.find(hash, &ours).expect("it waits");

    // An RST at any other sequence number is ignored.
    let late = entry.rcv_nxt.wrapping_sub(1);
    let rst = RawSegment {
        flags: flags::RST,
        ..syn(late)
    };
    forge(&mut world, "10.77.0.1:40000", rst);
    world.turns(1);
    assert_eq!(world.b.stack.stats().time_wait, 1);
    // A SYN with an old number is answered with an acknowledgement, and the peer's stack answers that with an RST.
    forge(
        &mut world,
        "10.77.0.1:40000",
        syn(late.wrapping_sub(1 << 20)),
    );
    world.turns(2);
    assert_eq!(world.b.stack.stats().time_wait, 0);
    // Both sides have forgotten the old connection, so the port connects.
    world.connect("10.77.0.2:80");
}

#[test]
fn a_lost_last_acknowledgement_is_repeated_from_time_wait() {
    let mut world = World::new();
    let (here, there) = world.connect("10.77.0.2:80");
    world.a.stack.finish(here);
    world.turns(2);
    world.b.stack.finish(there);
    let cut = Impairment::default().loss(1.0);
    world.a.stack.device().set_tx(&cut);
    world.turns(3);
    assert!(world.a.events(here).contains(EventFlags::CLOSED));
    assert_eq!(world.b.state(there), "LAST-ACK");
    world.a.stack.device().set_tx(&Impairment::default());
    world.pass(Duration::from_secs(2));
    assert!(world.b.events(there).contains(EventFlags::CLOSED));
    assert_eq!(world.b.seen[&there].error, None);
    world.assert_empty();
}

/// With `hold_finished`, a flow that both sides have finished stays until its user releases it.
#[test]
fn a_finished_flow_is_held_until_it_is_released() {
    for ours_first in [true, false] {
        let mut world = World::new();
        world.b.stack.hold_finished();
        let (here, there) = world.connect("10.77.0.2:80");
        for ours in [ours_first, !ours_first] {
            if ours {
                world.b.stack.finish(there);
            } else {
                world.a.stack.finish(here);
            }
            world.turns(4);
        }
        assert!(world.b.events(there).contains(EventFlags::END));
        assert!(
            !world.b.events(there).contains(EventFlags::CLOSED),
            "it is held"
        );
        assert!(world.b.stack.flows().any(|flow| flow == there));
        world.b.stack.release(there);
        world.turns(4);
        assert_eq!(world.b.stack.flows().count(), 0, "and gone with its user");
    }
}
