//! The limits of a stack.

use super::forged::{forge, forge_as, forge_with, syn};
use super::*;
use crate::parse::flags;
use crate::raw_segment::RawSegment;
use crate::tuple::Tuple;

#[test]
fn a_syn_flood_evicts_the_oldest_and_real_clients_connect() {
    let mut world = World::new();
    // The real client resolves its neighbour first.
    world.connect("10.77.0.2:80");
    for n in 0..1000_u32 {
        let from = format!("10.77.{}.{}:{}", 1 + n % 200, 1 + n % 250, 1024 + n);
        forge(&mut world, &from, syn(n));
        if n % 50 == 0 {
            world.connect("10.77.0.2:80");
        }
        if n % 8 == 0 {
            world.turn();
        }
    }
    world.turns(20);
    let stats = world.b.stack.stats();
    assert_eq!(stats.half_open, 16);
    assert!(stats.half_open_evicted > 900, "{stats:?}");
    assert_eq!(stats.accepted, 21);
    assert!(world.b.stack.flows().count() <= 16 + 21);
    // The others expire without an answer.
    world.pass(Duration::from_secs(11));
    let stats = world.b.stack.stats();
    assert_eq!((stats.half_open, stats.half_open_expired), (0, 16));
}

#[test]
fn resets_are_accepted_only_at_exactly_rcv_nxt() {
    let mut world = World::new();
    let (here, there) = world.connect("10.77.0.2:80");
    world.a.stack.send(here, b"hello");
    world.turns(4);
    let from = world.a.stack.local(here).expect("local");
    let flow = Tuple::new(from, addr("10.77.0.2:80")).expect("a flow");
    // RCV.NXT, which only the peer knows.
    let isn = crate::isn::isn(&world.a.stack.key, &flow, Time::ZERO);
    let rst = |seq| RawSegment {
        seq,
        ack: 0,
        flags: flags::RST,
        window: 0,
        timestamp: None,
    };
    // All of them are in the window. The seventh is RCV.NXT, after SYN and five bytes.
    let mut tried = 0;
    let mut seq = isn;
    while !world.b.events(there).contains(EventFlags::CLOSED) {
        forge_as(&mut world, &flow, rst(seq));
        world.pass(Duration::from_millis(1100));
        seq = seq.wrapping_add(1);
        tried += 1;
        assert!(tried < 10, "never believed");
    }
    let stats = world.b.stack.stats();
    assert_eq!((tried, stats.resets, stats.rst_ignored), (7, 1, 6));
    // Every wrong one was answered with a challenge ACK, which the peer ignores.
    assert_eq!(world.a.state(here), "ESTABLISHED");
}

#[test]
fn a_restarted_peer_can_connect_again_from_the_same_port() {
    let mut world = World::new();
    let (here, there) = world.connect("10.77.0.2:80");
    let from = world.a.stack.local(here).expect("local");
    let flow = Tuple::new(from, addr("10.77.0.2:80")).expect("a flow");
    // The peer has crashed: it has no flow, and uses the same port again.
    let slot = world.a.stack.flows.owned(here).expect("its slot");
    world.a.stack.forget(slot, None);
    forge_as(&mut world, &flow, syn(12345));
    // The peer answers the challenge with an RST, which is accepted although smoltcp would not send another challenge yet.
    world.turns(4);
    assert!(world.b.events(there).contains(EventFlags::CLOSED));
}

#[test]
fn a_full_server_accepts_again_when_a_flow_has_ended() {
    let mut world = World::with(
        client(),
        StackConfig {
            max_flows: 3,
            ..server()
        },
        1500,
    );
    let flows: Vec<_> = (0..3).map(|_| world.connect("10.77.0.2:80")).collect();
    let late = world
        .a
        .stack
        .connect(addr("10.77.0.2:80"))
        .expect("it begins");
    world.turns(10);
    assert!(!world.a.events(late).contains(EventFlags::CONNECTED));
    assert_eq!(world.b.stack.stats().syn_drops, 1);
    world.b.stack.abort(flows[0].1);
    // The SYN is retransmitted.
    world.pass(Duration::from_secs(2));
    assert!(world.a.events(late).contains(EventFlags::CONNECTED));
}

#[test]
fn a_server_that_is_not_accepting_ignores_syns_until_it_is() {
    let mut world = World::new();
    world.b.stack.set_accepting(false);
    let here = world
        .a
        .stack
        .connect(addr("10.77.0.2:80"))
        .expect("it begins");
    world.turns(10);
    assert_eq!(world.a.events(here), EventFlags::empty());
    world.b.stack.set_accepting(true);
    world.pass(Duration::from_secs(2));
    assert!(world.a.events(here).contains(EventFlags::CONNECTED));
}

#[test]
fn connect_fails_without_a_free_port_or_flow() {
    let few = StackConfig {
        source_ports: 50_000..=50_002,
        ..client()
    };
    let mut world = World::with(few, server(), 1500);
    for _ in 0..3 {
        world.connect("10.77.0.2:80");
    }
    let to = addr("10.77.0.2:80");
    assert_eq!(
        world.a.stack.connect(to),
        Err(crate::ConnectError::AddrInUse)
    );
    // Another destination has all ports again.
    assert!(world.a.stack.connect(addr("[fd77::2]:80")).is_ok());
    let one = StackConfig {
        max_flows: 1,
        ..client()
    };
    let mut world = World::with(one, server(), 1500);
    world.connect("10.77.0.2:80");
    assert_eq!(world.a.stack.connect(to), Err(crate::ConnectError::Full));
}

#[test]
fn resets_are_limited_in_rate() {
    let mut world = World::with(
        client(),
        StackConfig {
            rst_rate: 10,
            ..server()
        },
        1500,
    );
    for n in 0..200_u32 {
        let bare = RawSegment {
            flags: flags::ACK,
            ..syn(n)
        };
        forge(&mut world, &format!("10.77.0.9:{}", 2000 + n), bare);
        world.turn();
    }
    let stats = world.b.stack.stats();
    assert_eq!(stats.rx_no_flow, 200);
    assert!(stats.rst_sent <= 2, "{stats:?}");
    assert_eq!(stats.rst_sent + stats.rst_limited, 200);
}

#[test]
fn idle_rings_are_given_back_and_full_ones_are_not() {
    let mut world = World::new();
    let (here, there) = world.connect("10.77.0.2:80");
    world.b.reads = false;
    world.a.stack.send(here, b"stays");
    world.turns(4);
    let (there2_here, _) = world.connect("10.77.0.2:80");
    world.b.reads = true;
    world.b.echoes = true;
    world.a.stack.send(there2_here, b"goes");
    world.turns(6);
    assert!(world.b.stack.stats().ring_bytes >= 3 * 4096);
    world.pass(Duration::from_secs(5));
    let stats = world.b.stack.stats();
    // The ring that holds bytes stays. They may be on two pages.
    assert_eq!(stats.ring_bytes, 2 * 4096);
    assert_eq!(stats.rings_given_back, 1);
    assert_eq!(world.b.stack.readable(there), b"stays");
    assert_eq!(world.a.stack.stats().ring_bytes, 0);
    // A ring that was given back is used again.
    world.a.stack.send(there2_here, b"again");
    world.turns(6);
    assert_eq!(world.a.seen[&there2_here].bytes, b"goesagain");
}

/// A server with memory for this many pages of rings; each ring has 16.
fn short(pages: usize) -> StackConfig {
    StackConfig {
        ring_memory: pages * 4096,
        ..server()
    }
}

/// Asserts that the rings of a side are within its memory, as it counts them and as the kernel does.
pub(super) fn assert_within(side: &super::Side, pages: u64) {
    let counted = side.stack.stats().ring_bytes / 4096;
    assert!(counted <= pages, "{counted} pages");
    #[cfg(target_os = "linux")]
    {
        let resident = side.stack.flows.sockets.resident_pages();
        assert!(resident <= counted, "{resident} of {counted} pages");
    }
}

#[test]
fn empty_rings_are_given_back_at_once_when_memory_is_short() {
    let mut world = World::with(client(), short(16), 1500);
    world.b.echoes = true;
    let flows: Vec<_> = (0..40).map(|_| world.connect("10.77.0.2:80").0).collect();
    for _ in 0..3 {
        for flow in &flows {
            world.a.stack.send(*flow, b"hello");
            world.turns(2);
            assert_within(&world.b, 16);
        }
        world.turns(4);
    }
    for flow in &flows {
        assert_eq!(world.a.seen[flow].bytes, b"hellohellohello");
    }
    assert_eq!(world.b.stack.stats().ring_drops, 0);
}

#[test]
fn full_rings_stay_within_ring_memory_and_leave_some_to_others() {
    let mut world = World::with(client(), short(64), 1500);
    let pairs: Vec<_> = (0..8).map(|_| world.connect("10.77.0.2:80")).collect();
    let (bystander, theirs) = world.connect("10.77.0.2:80");
    // Neither end reads: the receive rings of one and the send rings of the other fill as far as they may.
    world.a.reads = false;
    world.b.reads = false;
    let (mut accepted_by_a, mut accepted_by_b) = (0, 0);
    for round in 0..40 {
        for (here, there) in &pairs {
            accepted_by_a += world.a.stack.send(*here, &[round; 5000]);
            accepted_by_b += world.b.stack.send(*there, &[round; 5000]);
        }
        world.pass(Duration::from_millis(50));
        assert_within(&world.b, 64);
    }
    let stats = world.b.stack.stats();
    assert!(stats.ring_bytes >= 64 * 4096 / 2, "{stats:?}");
    assert!(stats.ring_drops > 0 && stats.ring_waits > 0, "{stats:?}");
    // The peers' rings hold the rest.
    assert!(accepted_by_b <= 8 * 65_535 + 64 * 4096);
    // A flow that holds nothing is served.
    world.b.stack.send(theirs, b"small");
    world.pass(Duration::from_millis(500));
    assert_eq!(world.a.stack.readable(bystander), b"small");

    // Once they are read, all that was accepted arrives.
    let (mut from_a, mut from_b) = (0, 0);
    for _ in 0..200 {
        for (here, there) in &pairs {
            let arrived = world.a.stack.readable(*here).len();
            world.a.stack.consume(*here, arrived);
            from_b += arrived;
            let arrived = world.b.stack.readable(*there).len();
            world.b.stack.consume(*there, arrived);
            from_a += arrived;
        }
        world.pass(Duration::from_millis(50));
        assert_within(&world.b, 64);
    }
    assert_eq!((from_a, from_b), (accepted_by_a, accepted_by_b));
}

#[test]
fn a_flow_that_could_queue_nothing_has_space_when_there_is_memory() {
    let mut world = World::with(client(), short(16), 1500);
    let (_, holder) = world.connect("10.77.0.2:80");
    let (_, waiting) = world.connect("10.77.0.2:80");
    world.a.reads = false;
    // Each takes a part of what the ones before leave, and keeps it once its peer's ring is full.
    let mut holders = vec![holder];
    let mut rounds_without = 0;
    while rounds_without < 3 {
        let (_, more) = world.connect("10.77.0.2:80");
        holders.push(more);
        for _ in 0..4 {
            for there in &holders {
                world.b.stack.send(*there, &[7; 100_000]);
            }
            world.pass(Duration::from_millis(20));
        }
        let room = world.b.stack.send_room(waiting);
        rounds_without = if room == 0 { rounds_without + 1 } else { 0 };
        assert!(holders.len() < 50, "{:?}", world.b.stack.stats());
    }
    assert_eq!(world.b.stack.send(waiting, b"x"), 0);
    world.turns(4);
    assert!(!world.b.events(waiting).contains(EventFlags::SPACE));
    for there in holders {
        world.b.stack.abort(there);
    }
    world.pass(Duration::from_secs(3));
    assert!(world.b.events(waiting).contains(EventFlags::SPACE));
    assert_eq!(world.b.stack.send(waiting, b"x"), 1);
}

#[test]
fn an_idle_flow_has_no_timer() {
    let mut world = World::new();
    world.b.echoes = true;
    let (here, _) = world.connect("10.77.0.2:80");
    world.a.stack.send(here, b"x");
    world.pass(Duration::from_secs(100));
    for side in [&world.a, &world.b] {
        assert_eq!(side.stack.next_deadline(), None);
    }
}

/// Sequence numbers that are arbitrary, almost right, or right.
fn near(draw: &mut impl FnMut(u64) -> u64, right: u32) -> u32 {
    match draw(12) {
        0 => right.wrapping_sub(1),
        1 => right.wrapping_add(1),
        2 => right.wrapping_add(draw(200_000) as u32),
        3 => right.wrapping_sub(draw(3000) as u32),
        4 => draw(1 << 32) as u32,
        _ => right,
    }
}

#[test]
fn no_sequence_of_segments_breaks_the_limits() {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut draw = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    // A dump of a socket, which has its sequence numbers, takes long with large rings.
    for (ring, steps) in [(1 << 12, 20_000), (1 << 16, 2000), (1 << 18, 600)] {
        let sizes = StackConfig {
            rx_ring: ring,
            tx_ring: ring,
            ..server()
        };
        // The peers are forged; this one only provides the device.
        let mut world = World::with(config(&["10.77.0.200/24"]), sizes, 1500);
        world.b.reads = false;
        let mut numbers = HashMap::new();
        for step in 0..steps {
            let from = addr(&format!("10.77.0.1:{}", 5000 + draw(3)));
            let flow = Tuple::new(from, addr("10.77.0.2:80")).expect("a flow");
            if step % 8 == 0 {
                let stack = &world.b.stack;
                let of = stack.flows().find(|&id| stack.peer(id) == Some(from));
                let slot = of.and_then(|id| stack.flows.current(id));
                if let Some(known) = slot.and_then(|slot| stack.numbers(slot)) {
                    numbers.insert(from, known);
                }
            }
            let (ours, theirs) = numbers.get(&from).copied().unwrap_or_default();
            let flags = match draw(40) {
                0..4 => flags::SYN,
                4 => flags::SYN | flags::ACK,
                5 => flags::RST,
                6..8 => flags::FIN | flags::ACK,
                8 => 0,
                9 => draw(256) as u8,
                _ => flags::ACK,
            };
            // In SYN-RECEIVED our SYN is not acknowledged yet.
            let ack = near(&mut draw, ours.wrapping_add(u32::from(step % 2 == 0)));
            let bare = RawSegment {
                seq: near(&mut draw, theirs),
                ack,
                flags,
                window: draw(1 << 16) as u16,
                timestamp: (draw(3) == 0).then_some((1, 2)),
            };
            let payload = if draw(2) == 0 { 0 } else { draw(1400) as usize };
            forge_with(&mut world, &flow, bare, payload);
            if draw(3) == 0 {
                world.turn();
            }
            if draw(200) == 0 {
                world.pass(Duration::from_millis(draw(3000)));
            }
            let Some(id) = world.b.accepted.last().copied() else {
                continue;
            };
            match draw(60) {
                0 => world.b.stack.release(id),
                1 => world.b.stack.finish(id),
                2 => world.b.stack.abort(id),
                3..10 => {
                    world.b.stack.send(id, &[1; 500]);
                }
                10..20 => {
                    let received = world.b.stack.readable(id).len();
                    world.b.stack.consume(id, received / 2 + 1);
                }
                _ => {}
            }
        }
        let stats = world.b.stack.stats();
        assert!(stats.accepted > steps / 1000 + 1, "{stats:?}");
        let ended_in_all_ways = stats.resets > 0 && stats.time_wait_reused > 0;
        assert!(steps < 10_000 || ended_in_all_ways, "{stats:?}");
        // Ended flows with unread bytes still have a user. All flows are accounted for.
        let open: Vec<_> = world.b.stack.flows().collect();
        for id in open {
            world.b.stack.abort(id);
        }
        world.pass(Duration::from_secs(120));
        assert_eq!(world.b.stack.flows().count(), 0);
    }
}

#[test]
fn an_acknowledgement_beyond_our_zero_window_is_accepted() {
    // The sequence number minus RCV.NXT, and the bytes of payload: a probe; then a peer that had sent up to the right edge of
    // the window before the rounding moved it back, with and without payload.
    for (beyond, payload) in [(0, 1), (4, 0), (4, 4), (15, 0), (15, 1)] {
        let mut config = server();
        config.rx_ring = 1 << 20;
        let mut world = World::with(client(), config, 1500);
        let (here, there) = world.connect("10.77.0.2:80");
        world.b.reads = false;
        let bytes = [7; 4096];
        while world.b.stack.received(there) < (1 << 20) - 16 {
            world.a.stack.send(here, &bytes);
            world.turn();
        }
        world.turns(20);
        // From now on the segments of this side are lost.
        let no_input = Impairment::default().loss(1.0);
        world.a.stack.device().set_rx(&no_input);
        assert_eq!(world.b.stack.send(there, &bytes), bytes.len());
        world.turns(4);
        assert_eq!(world.b.stack.send_queued(there), bytes.len());

        let from = world.a.stack.local(here).expect("local");
        let flow = Tuple::new(from, addr("10.77.0.2:80")).expect("a flow");
        let slot = world.b.stack.flows.owned(there).expect("its slot");
        let (first, expected) = world.b.stack.numbers(slot).expect("numbers");
        let bare = RawSegment {
            seq: expected.wrapping_add(beyond),
            ack: first.wrapping_add(bytes.len() as u32),
            flags: flags::ACK,
            window: 1000,
            timestamp: None,
        };
        forge_with(&mut world, &flow, bare, payload);
        let received = world.b.stack.received(there);
        world.turn();
        assert_eq!(
            world.b.stack.send_queued(there),
            0,
            "{beyond} beyond, {payload} bytes"
        );
        assert_eq!(world.b.stack.received(there), received);
    }
}
