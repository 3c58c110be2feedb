//! Tests of the transport over frames alone: bytes lent in their frames, connects through our own TCP, the accept queue.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, unreachable_pub)]
mod suite;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use hioload_lcore::Clock;
use hioload_mem::Shared;
use hioload_transport::bypass::{Bypass, BypassOptions};
use hioload_transport::{Closed, ConnId, Connections, Endpoint, Rest, Taken, Transport, Wanted};
use suite::over_frames::{BypassHarness, IPV4, IPV6, Peers, address, config, pool};
use suite::receiving::{echo_all, pattern};
use suite::world::{Harness, Note, Seen, Setup, World, write};

type Ipv4 = BypassHarness<{ IPV4 }>;

fn peers_port(family: u8) -> Endpoint {
    Endpoint::Tcp(SocketAddr::new(address(family, 2), 9001))
}

fn outcome<H: Harness>(world: &mut World<H>, id: ConnId) -> Result<(), ErrorKind> {
    let mut outcome = None;
    world.until("the outcome", |world| {
        outcome = world.script.log.iter().find_map(|note| match note {
            Note::Connect(of, result) if *of == id => Some(*result),
            _ => None,
        });
        outcome.is_some()
    });
    outcome.unwrap()
}

#[test]
fn bytes_in_order_are_lent_in_their_frames() {
    for size in [64, 1 << 10, 16 << 10] {
        let mut world = World::<Ipv4>::new(Setup::default());
        world.script.on_data = Box::new(echo_all);
        let (mut wire, _) = world.dial();
        let message = pattern(size);
        for _ in 0..50 {
            world.send(&mut wire, &message);
            assert!(world.recv(&mut wire, size) == message);
        }
        // The device is polled at times.
        world.until("the device's counters", |world| {
            world.io().device_stats().tx_frames >= 50
        });
        let stats = world.io().stats();
        assert_eq!(stats.bytes_in, 50 * size as u64);
        assert_eq!(
            stats.rx_bytes_in_place + stats.rx_bytes_from_ring,
            stats.bytes_in
        );
        assert!(
            stats.rx_bytes_in_place * 100 >= stats.bytes_in * 99,
            "{size}: {stats:?}"
        );
        let device = *world.io().device_stats();
        assert!(device.rx_frames > 0 && device.tx_frames > 0, "{device:?}");
        assert_eq!((device.rx_dropped, device.tx_dropped), (0, 0));
    }
}

/// Bytes that the driver leaves are presented from the ring, together with the next segment.
#[test]
fn unconsumed_bytes_are_presented_from_the_ring() {
    let mut world = World::<Ipv4>::new(Setup::default());
    world.script.on_data = Box::new(|_, _, data| Taken {
        bytes: data.len() / 10 * 10,
        rest: Rest::NeedsMore,
    });
    let (mut wire, id) = world.dial();
    world.send(&mut wire, b"0123456789abc");
    world.until("the first", |world| world.data(id).len() == 1);
    world.send(&mut wire, b"defghij");
    world.until("the second", |world| world.data(id).len() == 2);
    assert_eq!(world.data(id)[1], b"abcdefghij");
    let stats = world.io().stats();
    assert_eq!(
        (stats.rx_bytes_in_place, stats.rx_bytes_from_ring),
        (10, 10)
    );
    world.send(&mut wire, b"0123456789");
    world.until("the third", |world| world.data(id).len() == 3);
    assert_eq!(world.io().stats().rx_bytes_in_place, 20, "in place again");
}

/// All replies of a turn are sent together: one write, and full segments.
#[test]
fn the_replies_of_a_turn_leave_in_one_segment() {
    let mut world = World::<Ipv4>::new(Setup::default());
    let (mut wire, id) = world.dial();
    world.turns(3);
    let before = (
        world.io().stats().writes,
        world.io().stack().stats().tx_segments,
    );
    for i in 0..20 {
        write(world.io(), id, &[i; 50]);
    }
    assert_eq!(world.io().queued(id), 1000);
    assert_eq!(world.recv(&mut wire, 1000).len(), 1000);
    let after = (
        world.io().stats().writes,
        world.io().stack().stats().tx_segments,
    );
    assert_eq!((after.0 - before.0, after.1 - before.1), (1, 1));
}

#[test]
fn bytes_queued_while_connecting_are_sent_once_connected() {
    let mut world = World::<Ipv4>::new(Setup::default());
    connect_and_talk(&mut world, &peers_port(IPV4));
    let mut world = World::<BypassHarness<{ IPV6 }>>::new(Setup::default());
    connect_and_talk(&mut world, &peers_port(IPV6));
}

fn connect_and_talk<const FAMILY: u8>(world: &mut World<BypassHarness<FAMILY>>, to: &Endpoint) {
    let id = world.io().connect(to).unwrap();
    write(world.io(), id, b"early");
    assert_eq!(world.io().queued(id), 5);
    world.turn();
    assert_eq!(outcome(world, id), Ok(()));
    assert_eq!(world.script.log.len(), 1);
    world.until("the peer has it", |world| {
        !world.net.peers().accepted.is_empty()
    });
    let mut wire = world.net.peers().accepted[0];
    assert_eq!(world.recv(&mut wire, 5), b"early");
    world.send(&mut wire, b"answer");
    world.until("the answer", |world| world.data(id).concat() == b"answer");
    assert_eq!(world.io().stats().connected, 1);
    world.io().close(id);
    assert_eq!(world.recv_end(&mut wire).1, Seen::End);
    assert!(world.has(&Note::Closed(id, Closed::Flushed)));
}

#[test]
fn a_refused_connect_is_reported_once_and_its_id_is_stale() {
    let mut world = World::<Ipv4>::new(Setup::default());
    let nobody = Endpoint::Tcp(SocketAddr::new(address(IPV4, 2), 9002));
    for _ in 0..3 {
        let id = world.io().connect(&nobody).unwrap();
        assert_eq!(outcome(&mut world, id), Err(ErrorKind::ConnectionRefused));
    }
    world.turns(2);
    assert_eq!(world.script.log.len(), 3);
    assert_eq!(world.io().stats().connected, 0);
}

#[test]
fn a_connect_that_is_aborted_fails() {
    let mut world = World::<Ipv4>::new(Setup::default());
    let id = world.io().connect(&peers_port(IPV4)).unwrap();
    world.io().abort(id);
    world.turns(4);
    assert_eq!(
        world.script.log,
        [Note::Connect(id, Err(ErrorKind::ConnectionAborted))]
    );
}

#[test]
fn connecting_to_a_unix_socket_is_unsupported() {
    let mut world = World::<Ipv4>::new(Setup::default());
    let error = world.io().connect(&Endpoint::Unix("/x".into()));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Unsupported);
}

/// Established connections wait, as in a listener's backlog, with the bytes that they have sent.
#[test]
fn connections_wait_with_their_bytes_until_they_are_accepted() {
    let mut world = World::<Ipv4>::new(Setup::default());
    world.io().set_accepting(false);
    let mut wires: Vec<_> = (0..3).map(|_| world.net.dial()).collect();
    for (i, wire) in wires.iter_mut().enumerate() {
        world.until("it is established", |world| {
            world.net.send(wire, &[i as u8; 10]) == 10
        });
    }
    world.turns(3);
    assert!(world.script.log.is_empty());
    world.budget.accepts = 1;
    world.io().set_accepting(true);
    world.until("all are heard", |world| world.script.log.len() == 6);
    let stats = world.io().stats();
    assert_eq!((stats.accepted, stats.bytes_in), (3, 30));
}

#[test]
fn a_peer_that_resets_before_its_accept_is_never_reported() {
    let mut world = World::<Ipv4>::new(Setup::default());
    world.io().set_accepting(false);
    let mut wire = world.net.dial();
    world.until("it is established", |world| {
        world.net.send(&mut wire, b"hello") == 5
    });
    world.turns(2);
    world.net.reset(wire);
    world.turns(2);
    world.io().set_accepting(true);
    world.turns(2);
    assert!(world.script.log.is_empty(), "{:?}", world.script.log);
}

#[test]
fn connections_in_the_accept_queue_are_reset_when_listening_stops() {
    let mut world = World::<Ipv4>::new(Setup::default());
    world.io().set_accepting(false);
    let mut wire = world.net.dial();
    world.until("it is established", |world| {
        world.net.send(&mut wire, b"hello") == 5
    });
    world.turns(2);
    world.io().stop_listening();
    assert_eq!(world.recv_end(&mut wire).1, Seen::Reset);
    assert!(world.script.log.is_empty());
}

/// Both sides have finished, so the flow is closed; the driver has not received the end.
#[test]
fn the_peer_is_known_until_on_closed_has_returned() {
    let mut world = World::<Ipv4>::new(Setup::default());
    let (mut wire, id) = world.dial();
    let peer = world.net.address(&wire);
    world.net.end(&mut wire);
    world.until("its end", |world| world.has(&Note::End(id)));
    world.io().finish(id);
    assert_eq!(world.recv_end(&mut wire).1, Seen::End);
    world.turns(4);
    assert_eq!(world.io().peer(id), Some(peer));
    let mut rows = Vec::with_capacity(8);
    world.io().flows(0, &Wanted::default(), &mut rows);
    assert_eq!((rows.len(), rows[0].state), (1, "CLOSED"));
    world.io().close(id);
    world.until("the report", |world| {
        world.has(&Note::Closed(id, Closed::Flushed))
    });
    assert_eq!(world.io().peer(id), None);
}

/// Peers that do not read hold most of the pool, and peers that read are still answered.
#[test]
fn the_last_quarter_of_the_pool_is_for_connections_that_are_not_blocked() {
    let mut world = World::<Ipv4>::new(Setup {
        tiny: true,
        send_queue: 64 << 20,
        ..Setup::default()
    });
    let (_stalled, stalled) = world.dial();
    let (mut wire, id) = world.dial();
    world.until(
        "the peer that does not read has filled its share",
        |world| {
            let io = world.io();
            let room = io.send_room(stalled).min(10_000);
            if room > 0 {
                write(io, stalled, &pattern(room));
            }
            world.turn();
            world.io().is_blocked(stalled) && world.io().send_room(stalled) == 0
        },
    );
    assert!(world.io().pool().available() >= 4096 / 4);
    write(world.io(), id, &[5; 20_000]);
    assert_eq!(world.recv(&mut wire, 20_000).len(), 20_000);
}

#[test]
fn a_shared_payload_is_queued_without_a_copy_only_if_the_ring_is_full() {
    let mut world = World::<Ipv4>::new(Setup::default());
    let (mut wire, id) = world.dial();
    let small = Shared::from(pattern(1000)).local();
    world.io().send_shared(id, small.clone(), true).unwrap();
    assert_eq!(small.strong_count(), 1, "it is in the ring");
    let large = Shared::from(pattern(1 << 20)).local();
    world.io().send_shared(id, large.clone(), true).unwrap();
    world.turn();
    assert_eq!(large.strong_count(), 2, "it waits");
    let got = world.recv(&mut wire, 1000 + (1 << 20));
    assert!(got[..1000] == small[..] && got[1000..] == large[..]);
    assert_eq!(large.strong_count(), 1);
}

#[test]
fn a_waker_ends_a_sleep_and_is_not_lost_before_it() {
    let mut world = World::<Ipv4>::new(Setup::default());
    world.turns(2);
    let io = world.io();
    let waker = io.waker();
    waker.wake();
    io.wait(None).unwrap();
    let thread = std::thread::spawn(move || waker.wake());
    io.wait(None).unwrap();
    thread.join().unwrap();
}

#[test]
fn wait_does_not_sleep_while_work_is_left() {
    let mut world = World::<Ipv4>::new(Setup {
        rx_buffer: 4,
        ..Setup::default()
    });
    let (mut wire, id) = world.dial();
    world.send(&mut wire, b"12345678");
    world.until("the first part", |world| !world.data(id).is_empty());
    let sleeps = world.io().stats().sleeps;
    world.io().wait(None).unwrap();
    assert_eq!(world.io().stats().sleeps, sleeps);
}

#[test]
fn flows_are_listed_in_slices() {
    let mut world = World::<Ipv4>::new(Setup::default());
    let wires: Vec<_> = (0..20).map(|_| world.dial()).collect();
    let all_of = Wanted::default();
    let (mut from, mut all) = (Some(0), Vec::new());
    let mut slices = 0;
    while let Some(slot) = from {
        let mut rows = Vec::with_capacity(8);
        from = world.io().flows(slot, &all_of, &mut rows);
        assert!(rows.len() <= 8);
        all.append(&mut rows);
        slices += 1;
    }
    assert!(slices >= 3, "{slices}");
    for (wire, _) in &wires {
        let hioload_transport::Peer::Ip(peer) = world.net.address(wire) else {
            panic!("flows have addresses");
        };
        let row = all.iter().find(|row| row.peer == peer).unwrap();
        assert_eq!(row.local, world.net.listening());
        assert_eq!((row.recv_queue, row.send_queue, row.orphan), (0, 0, false));
        assert_eq!((row.state, row.recv_window), ("ESTABLISHED", 65535));
    }
    let one = Wanted {
        peer: Some(all[7].peer.ip()),
        port: Some(all[7].peer.port()),
        details: true,
    };
    let mut rows = Vec::with_capacity(8);
    assert!(world.io().flows(0, &one, &mut rows).is_some());
    assert_eq!((rows.len(), rows[0].peer), (1, all[7].peer));
    let details = rows[0].details.unwrap();
    assert_eq!((details.in_flight, details.send_window), (0, 65535));
    assert!(
        details.mss > 1000 && details.cwnd >= details.mss,
        "{details:?}"
    );
}

#[test]
fn options_of_zero_are_raised_to_one() {
    let (a, b) = hioload_device::memory::pair(&Default::default()).unwrap();
    let now = Clock::new().tick();
    let stack = |end: hioload_device::memory::End, host| {
        hioload_tcp::Stack::new(end.open(), config(IPV4, host), None, now).unwrap()
    };
    let options = BypassOptions::default().rx_buffer(0).backlog(0);
    let io = Bypass::over(stack(a, 1), options, pool(4096));
    let mut world = World::<Ipv4>::new(Setup::default());
    world.net.replace(io, Peers::new(stack(b, 2)));
    let (mut wire, id) = world.dial();
    world.send(&mut wire, b"ab");
    world.until("byte by byte", |world| world.data(id).concat() == b"ab");
    world.io().wait(Some(Duration::ZERO)).unwrap();
}
