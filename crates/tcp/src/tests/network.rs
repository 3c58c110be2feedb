//! Loss, reordering and delay; path MTUs, VLANs, checksum offload, windows.

use super::*;

/// Moves `len` bytes in each direction and compares them.
fn move_both_ways(world: &mut World, len: usize) {
    let (here, there) = world.connect("10.77.0.2:80");
    let bytes: Vec<u8> = (0..len as u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let (mut from_a, mut from_b) = (0, 0);
    let mut turns = 0;
    while world.a.seen[&here].bytes.len() < len || world.b.seen[&there].bytes.len() < len {
        from_a += world.a.stack.send(here, &bytes[from_a..]);
        from_b += world.b.stack.send(there, &bytes[from_b..]);
        world.pass(Duration::from_millis(1));
        turns += 1;
        assert!(turns < 300_000, "it is stuck");
    }
    assert_eq!(world.a.seen[&here].bytes, bytes);
    assert_eq!(world.b.seen[&there].bytes, bytes);
    world.a.stack.release(here);
    world.b.stack.release(there);
    world.pass(Duration::from_secs(20));
    world.assert_empty();
}

#[test]
fn bytes_arrive_once_and_in_order_over_a_bad_network() {
    let bad = Impairment::default()
        .loss(0.02)
        .duplicate(0.02)
        .corrupt(0.01)
        .reorder(0.05)
        .delay(Duration::from_millis(2))
        .jitter(Duration::from_millis(1));
    let mut world = World::new();
    for side in [&mut world.a, &mut world.b] {
        side.stack.device().set_rx(&bad);
    }
    // The neighbours resolve each other first.
    let mut tries = 0;
    while !world
        .a
        .seen
        .values()
        .any(|seen| seen.flags.contains(EventFlags::CONNECTED))
    {
        let _ = world.a.stack.connect(addr("10.77.0.2:80"));
        world.pass(Duration::from_secs(5));
        tries += 1;
        assert!(tries < 10);
    }
    let first = *world.a.seen.keys().next().expect("one");
    world.a.stack.abort(first);
    world.pass(Duration::from_secs(60));
    let (here, there) = loop {
        let here = world
            .a
            .stack
            .connect(addr("10.77.0.2:80"))
            .expect("it begins");
        world.pass(Duration::from_secs(10));
        if world.a.events(here).contains(EventFlags::CONNECTED) {
            break (here, *world.b.accepted.last().expect("accepted"));
        }
    };
    let bytes: Vec<u8> = (0..400_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let (mut from_a, mut from_b) = (0, 0);
    for _ in 0..200_000 {
        from_a += world.a.stack.send(here, &bytes[from_a..]);
        from_b += world.b.stack.send(there, &bytes[from_b..]);
        world.pass(Duration::from_millis(5));
        // Bytes out of order are counted where they are.
        super::limits::assert_within(&world.a, u64::MAX);
        super::limits::assert_within(&world.b, u64::MAX);
        if world.a.seen[&here].bytes.len() == bytes.len()
            && world.b.seen[&there].bytes.len() == bytes.len()
        {
            break;
        }
    }
    assert!(world.a.seen[&here].bytes == bytes && world.b.seen[&there].bytes == bytes);
    let (a, b) = (world.a.stack.stats(), world.b.stack.stats());
    assert!(a.retransmits > 0 && b.retransmits > 0);
    assert!(a.bad_checksums > 0 && b.bad_checksums > 0);
    assert!(a.rx_bytes_in_place > 0 && a.rx_bytes_from_ring > 0);
    assert!(world.a.stack.info(here).expect("info").retransmits > 0);
}

#[test]
fn bulk_data_passes_small_and_large_rings_at_any_mtu() {
    for (ring, mtu) in [
        (1 << 12, 1500),
        (1 << 16, 1500),
        (1 << 16, 9000),
        (1 << 20, 1500),
        (1 << 20, 9000),
        (1 << 16, 552),
    ] {
        let sizes = |config| StackConfig {
            rx_ring: ring,
            tx_ring: ring,
            ..config
        };
        let mut world = World::with(sizes(client()), sizes(server()), mtu);
        move_both_ways(&mut world, 300_000);
        assert_eq!(world.a.stack.stats().retransmits, 0);
    }
}

#[test]
fn hosts_of_one_vlan_reach_each_other_and_no_others() {
    let tag = |config, vlan| StackConfig { vlan, ..config };
    for vlan in [None, Some(77)] {
        let mut world = World::with(tag(client(), vlan), tag(server(), vlan), 1500);
        world.connect("10.77.0.2:80");
        world.connect("[fd77::2]:80");
    }
    // A host in another VLAN, or in one when the server is in none, or the reverse, gets no answer to anything.
    let other = [
        (Some(77), Some(78)),
        (Some(666), None),
        (None, Some(666)),
        (Some(4094), None),
    ];
    for (client_in, server_in) in other {
        let mut world = World::with(tag(client(), client_in), tag(server(), server_in), 1500);
        for to in ["10.77.0.2:80", "[fd77::2]:80"] {
            let here = world.a.stack.connect(addr(to)).expect("it begins");
            world.pass(Duration::from_secs(5));
            assert_eq!(
                world.a.seen[&here].error,
                Some(std::io::ErrorKind::HostUnreachable)
            );
        }
        let stats = world.b.stack.stats();
        assert!(stats.rx_not_ours > 0);
        assert_eq!((stats.arp_in, stats.ndp_in, stats.rx_segments), (0, 0, 0));
        assert!(world.b.stack.drops().get(crate::Reason::OtherVlan) >= 6);
    }
}

#[test]
fn checksums_are_left_to_devices_with_offload() {
    for (tx, rx) in [(true, true), (true, false), (false, true)] {
        let mut options = PairOptions::default();
        for end in [&mut options.a, &mut options.b] {
            (end.tx_checksum, end.rx_checksum) = (tx, rx);
        }
        let (one, other) = pair(&options).expect("a pair");
        let mut world = World {
            a: Side::new(one.open(), client(), 1),
            b: Side::new(other.open(), server(), 2),
            now: Time::from_millis(1),
        };
        move_both_ways(&mut world, 100_000);
        assert_eq!(world.a.stack.stats().bad_checksums, 0);
    }
}

#[test]
fn a_zero_window_stops_the_sender_and_reading_opens_it() {
    let mut world = World::new();
    world.b.reads = false;
    let (here, there) = world.connect("10.77.0.2:80");
    let bytes = vec![3; 200_000];
    let mut sent = 0;
    for _ in 0..100 {
        sent += world.a.stack.send(here, &bytes[sent..]);
        world.turn();
    }
    // Both rings are full.
    assert_eq!(world.b.stack.received(there), (1 << 16) - 1);
    assert_eq!(world.a.stack.send_room(here), 0);
    assert_eq!(sent, (1 << 17) - 1);
    // Probes go on, and neither flow fails.
    world.pass(Duration::from_secs(200));
    assert_eq!(world.a.state(here), "ESTABLISHED");
    let all = world.b.stack.readable(there).len();
    assert_eq!(all, (1 << 16) - 1);
    world.b.reads = true;
    world.b.stack.consume(there, all);
    world.pass(Duration::from_millis(50));
    assert!(world.a.events(here).contains(EventFlags::SPACE));
    assert_eq!(world.b.seen[&there].bytes.len() + all, sent);
}

#[test]
fn segments_respect_the_path_mtu_that_a_router_reports() {
    let mut world = World::new();
    let (here, there) = world.connect("10.77.0.2:80");
    // The error of a router for a segment of 1500 bytes.
    world.a.stack.send(here, &[1; 3000]);
    let tuple = {
        let (local, peer) = (world.a.stack.local(here), world.a.stack.peer(here));
        crate::tuple::Tuple::new(local.expect("local"), peer.expect("peer")).expect("a flow")
    };
    let slot = world.a.stack.flows.owned(here).expect("its slot");
    let (first, _) = world.a.stack.outstanding(slot).expect("numbers");
    // Errors that quote no outstanding segment are ignored, and their checks are limited in rate.
    for wrong in [first.wrapping_sub(1), first.wrapping_add(3001), !first] {
        world.a.stack.lower_path(&tuple, 1300, wrong);
        world.now += Duration::from_millis(1000);
        world.a.stack.receive(world.now);
    }
    assert_eq!(world.a.stack.stats().socket_dumps, 3);
    for _ in 0..10 {
        world.a.stack.lower_path(&tuple, 1300, !first);
    }
    world.a.stack.lower_path(&tuple, 1300, first);
    let stats = world.a.stack.stats();
    assert_eq!((stats.pmtu_lowered, stats.icmp_ignored), (0, 14));
    assert!((4..=5).contains(&stats.socket_dumps), "{stats:?}");
    world.now += Duration::from_millis(1000);
    world.a.stack.receive(world.now);
    world.a.stack.lower_path(&tuple, 1300, first);
    world.turns(4);
    assert_eq!(world.a.stack.stats().pmtu_lowered, 1);
    assert_eq!(
        world.a.stack.details(here).expect("details").mss,
        1280 - 40 - 12
    );
    assert_eq!(world.b.seen[&there].bytes.len(), 3000);
    // Errors are ignored without an outstanding segment, and if they would raise the MTU.
    let after = first.wrapping_add(3000);
    world.a.stack.lower_path(&tuple, 600, after);
    world.a.stack.send(here, &[1; 10]);
    world.a.stack.lower_path(&tuple, 1500, after);
    assert_eq!(world.a.stack.stats().pmtu_lowered, 1);
    world.pass(Duration::from_secs(601));
    assert_eq!(
        world.a.stack.details(here).expect("details").mss,
        1500 - 40 - 12
    );
}

#[test]
fn info_has_the_fields_of_ss() {
    let mut world = World::new();
    world.b.echoes = true;
    let (here, there) = world.connect("10.77.0.2:80");
    world.a.stack.send(here, &[0; 5000]);
    world.turns(8);
    let info = world.a.stack.info(here).expect("info");
    let details = world.a.stack.details(here).expect("details");
    assert_eq!(
        (info.local, info.peer),
        (
            world.b.stack.peer(there).expect("peer"),
            addr("10.77.0.2:80")
        )
    );
    assert_eq!(
        (info.state, details.mss, info.retransmits),
        ("ESTABLISHED", 1448, 0)
    );
    assert_eq!(
        (info.recv_queue, info.send_queue, details.in_flight),
        (0, 0, 0)
    );
    assert_eq!((details.send_window, info.recv_window), (65_535, 65_535));
    assert_eq!(info.rto, Duration::from_secs(1));
    assert!(info.srtt.is_some() && details.cwnd > 1448 && !info.orphan);
}
