//! Peers that violate the protocol, and forged segments.

use hioload_device::Burst;

use super::*;
use crate::parse::flags;
use crate::raw_segment::RawSegment;
use crate::responder::Unreachable;
use crate::tuple::Tuple;

/// Sends a segment without payload from the device of `a`, with any source address.
pub(super) fn forge(world: &mut World, from: &str, bare: RawSegment) {
    let flow = Tuple::new(addr(from), addr("10.77.0.2:80")).expect("a flow");
    forge_as(world, &flow, bare);
}

pub(super) fn forge_as(world: &mut World, flow: &Tuple, bare: RawSegment) {
    forge_with(world, flow, bare, 0);
}

pub(super) fn forge_with(world: &mut World, flow: &Tuple, bare: RawSegment, payload: usize) {
    forge_from(world, 0xa, flow, bare, payload);
}

/// Sends it from the MAC address whose last byte is `mac`.
fn forge_from(world: &mut World, mac: u8, flow: &Tuple, bare: RawSegment, payload: usize) {
    let device = world.a.stack.device();
    let mut frame = device.alloc().expect("a frame");
    let len = bare.len(flow) + payload;
    frame.set_len(len);
    bare.write(flow, frame.bytes_mut());
    crate::checksum::fill_ipv4_header(&mut frame.bytes_mut()[..20]);
    crate::checksum::fill(frame.bytes_mut(), 20, crate::checksum::TCP);
    frame.grow_front(14);
    frame.bytes_mut()[..14].copy_from_slice(&[2, 0, 0, 0, 0, 0xb, 2, 0, 0, 0, 0, mac, 8, 0]);
    let mut burst = Burst::new();
    burst.push(frame);
    device.tx_burst(&mut burst);
    assert!(burst.is_empty());
}

pub(super) fn syn(seq: u32) -> RawSegment {
    RawSegment {
        seq,
        ack: 0,
        flags: flags::SYN,
        window: 1000,
        timestamp: None,
    }
}

/// A world in which no host answers for the forged peers.
fn world_of_forged(b: StackConfig) -> World {
    // A dump of a socket, which has its sequence numbers, takes long with large rings.
    let small = StackConfig {
        rx_ring: 1 << 12,
        tx_ring: 1 << 12,
        ..b
    };
    World::with(config(&["10.77.0.200/24"]), small, 1500)
}

/// A connection of a scripted peer.
struct Forged {
    flow: Tuple,
    id: FlowId,
    seq: u32,
    /// The first of our sequence numbers that it has not acknowledged.
    ack: u32,
}

impl Forged {
    fn connect(world: &mut World, port: u16) -> Self {
        let from = addr(&format!("10.77.0.1:{port}"));
        let flow = Tuple::new(from, addr("10.77.0.2:80")).expect("a flow");
        forge_as(world, &flow, syn(1000));
        world.turns(2);
        let stack = &world.b.stack;
        let id = stack.flows().find(|&id| stack.peer(id) == Some(from));
        let slot = id.and_then(|id| stack.flows.current(id)).expect("a slot");
        let (ours, _) = stack.numbers(slot).expect("numbers");
        let accepted = world.b.accepted.len();
        let mut peer = Self {
            flow,
            id: id.expect("half open"),
            seq: 1001,
            ack: ours.wrapping_add(1),
        };
        peer.say(world, 0, 1000);
        assert_eq!(world.b.accepted.len(), accepted + 1);
        peer
    }

    fn say(&mut self, world: &mut World, payload: usize, window: u16) {
        let bare = RawSegment {
            seq: self.seq,
            ack: self.ack,
            flags: flags::ACK,
            window,
            timestamp: None,
        };
        forge_with(world, &self.flow, bare, payload);
        self.seq = self.seq.wrapping_add(payload as u32);
        world.turn();
    }
}

/// An acknowledgement of a forger that knows the addresses and ports of the flow, but no sequence numbers.
fn guessed(peer: &Forged, round: u32, window: u16) -> RawSegment {
    RawSegment {
        seq: peer.seq.wrapping_add(round.wrapping_mul(77_777_777)),
        ack: peer.ack.wrapping_add(1 << 30).wrapping_add(round << 20),
        flags: flags::ACK,
        window,
        timestamp: None,
    }
}

#[test]
fn a_forged_acknowledgement_does_not_close_a_window() {
    let mut world = world_of_forged(server());
    let peer = Forged::connect(&mut world, 5000);
    world.b.stack.send(peer.id, &[1; 500]);
    world.turns(2);
    let slot = world.b.stack.flows.current(peer.id).expect("a slot");
    for round in 0..20 {
        forge_as(&mut world, &peer.flow, guessed(&peer, round, 0));
        world.turn();
        assert!(
            !world
                .b
                .stack
                .flows
                .hot(slot)
                .is(crate::flow_flags::FlowFlags::ZERO_WINDOW)
        );
    }
}

#[test]
fn forged_acknowledgements_do_not_keep_a_flow_of_a_dead_peer() {
    let mut world = world_of_forged(server());
    let peer = Forged::connect(&mut world, 5000);
    world.b.stack.send(peer.id, &[1; 500]);
    for round in 0..60 {
        forge_as(&mut world, &peer.flow, guessed(&peer, round, 1000));
        world.pass(Duration::from_secs(1));
    }
    assert_eq!(world.b.stack.stats().timeouts, 1);
    assert_eq!(world.b.stack.stats().flows, 0);
}

#[test]
fn a_retransmission_from_another_mac_address_moves_the_flow() {
    let mut world = world_of_forged(server());
    world.b.echoes = true;
    let mut peer = Forged::connect(&mut world, 5000);
    peer.say(&mut world, 10, 1000);
    let slot = world.b.stack.flows.owned(peer.id).expect("its slot");
    assert_eq!(world.b.stack.flows.next_hop(slot).mac[5], 0xa);
    // The echo went to the old MAC address, so the peer retransmits. A forger without both sequence numbers does not move
    // the flow.
    let says = |ack: u32, seq: u32| RawSegment {
        seq,
        ack,
        flags: flags::ACK,
        window: 1000,
        timestamp: None,
    };
    let first = peer.seq.wrapping_sub(10);
    for (bare, mac) in [
        (says(peer.ack.wrapping_add(1 << 20), first), 0xa),
        (says(peer.ack.wrapping_sub(1), first), 0xa),
        (says(peer.ack, first.wrapping_sub(1 << 20)), 0xa),
        (says(peer.ack, first.wrapping_add(1 << 20)), 0xa),
        (says(peer.ack, first), 0xc),
    ] {
        forge_from(&mut world, 0xc, &peer.flow, bare, 10);
        world.turn();
        assert_eq!(world.b.stack.flows.next_hop(slot).mac[5], mac, "{bare:?}");
    }
    assert_eq!(world.b.seen[&peer.id].bytes.len(), 10);
}

#[test]
fn segments_of_a_peer_with_a_zero_window_cause_no_socket_dump() {
    let mut world = world_of_forged(server());
    let mut peer = Forged::connect(&mut world, 5000);
    // The timer of the handshake has passed.
    world.pass(Duration::from_secs(5));
    for _ in 0..200 {
        peer.say(&mut world, 10, 0);
    }
    assert_eq!(world.b.seen[&peer.id].bytes.len(), 2000);
    assert_eq!(world.b.stack.stats().socket_dumps, 0);
}

#[test]
fn a_window_that_opens_with_bytes_in_flight_causes_no_socket_dump() {
    let mut world = world_of_forged(server());
    let mut peer = Forged::connect(&mut world, 5000);
    world.b.stack.send(peer.id, &[1; 500]);
    world.turns(2);
    for round in 0..40 {
        // The peer acknowledges some bytes with a zero window, and then opens it.
        peer.ack = peer.ack.wrapping_add(10);
        peer.say(&mut world, 0, 0);
        peer.say(&mut world, round % 2, 1000);
        assert_eq!(world.b.stack.stats().socket_dumps, 0);
    }
    // The bytes in flight have a timer.
    world.pass(Duration::from_secs(3));
    let stats = world.b.stack.stats();
    assert!(stats.retransmits > 0, "{stats:?}");
    peer.ack = peer.ack.wrapping_add(100);
    peer.say(&mut world, 0, 1000);
    assert_eq!(world.b.stack.send_queued(peer.id), 0);
}

#[test]
fn windows_that_close_with_bytes_in_flight_are_probed_a_few_at_a_time() {
    let mut world = world_of_forged(StackConfig {
        half_open: 64,
        ..server()
    });
    let mut peers: Vec<_> = (0..40)
        .map(|n| Forged::connect(&mut world, 5000 + n))
        .collect();
    for peer in &mut peers {
        world.b.stack.send(peer.id, &[1; 100]);
        world.turn();
        peer.say(&mut world, 0, 0);
    }
    assert_eq!(world.b.stack.stats().socket_dumps, 0);
    // The bytes in flight are not acknowledged, and their timer fires without effect.
    let mut seconds = 0;
    while world.b.stack.stats().socket_dumps < 40 {
        let before = world.b.stack.stats().socket_dumps;
        world.pass(Duration::from_secs(1));
        assert!(world.b.stack.stats().socket_dumps <= before + 12);
        seconds += 1;
        assert!(seconds < 60, "{:?}", world.b.stack.stats());
    }
    // All are probed now, without further dumps.
    world.pass(Duration::from_secs(5));
    assert_eq!(world.b.stack.stats().socket_dumps, 40);
}

#[test]
fn icmp_errors_that_do_not_quote_our_syn_do_not_fail_a_connecting_flow() {
    let mut world = World::new();
    world.connect("10.77.0.2:80");
    // The peer does not answer.
    world.b.stack.set_accepting(false);
    let here = world
        .a
        .stack
        .connect(addr("10.77.0.2:80"))
        .expect("it begins");
    world.turns(4);
    let local = world.a.stack.local(here).expect("local");
    let tuple = Tuple::new(local, addr("10.77.0.2:80")).expect("a flow");
    let slot = world.a.stack.flows.owned(here).expect("its slot");
    let (first, _) = world.a.stack.outstanding(slot).expect("numbers");
    for wrong in [0, first.wrapping_add(1), first.wrapping_sub(1), !first] {
        world.a.stack.unreachable(&tuple, Unreachable::Port, wrong);
        world.now += Duration::from_millis(100);
        world.turn();
        assert_eq!(world.a.events(here), EventFlags::empty());
    }
    // Impossible sequence numbers do not even cause a dump.
    assert!(world.a.stack.stats().socket_dumps <= 2);
    assert_eq!(world.a.stack.stats().icmp_ignored, 4);
    // The checks are limited for each flow.
    world.now += Duration::from_millis(1000);
    world.turn();
    world.a.stack.unreachable(&tuple, Unreachable::Port, first);
    world.turn();
    assert!(world.a.events(here).contains(EventFlags::CLOSED));
    let refused = Some(std::io::ErrorKind::ConnectionRefused);
    assert_eq!(world.a.seen[&here].error, refused);
}

#[test]
fn ended_flows_leave_the_list_of_lowered_paths() {
    let mut world = world_of_forged(server());
    for n in 0..3 {
        let peer = Forged::connect(&mut world, 5000 + n);
        world.b.stack.send(peer.id, &[1; 900]);
        world.turns(2);
        let tuple = Tuple::new(addr("10.77.0.2:80"), peer.flow.local()).expect("a flow");
        world.now += Duration::from_millis(200);
        world.turn();
        world.b.stack.lower_path(&tuple, 600, peer.ack);
        assert_eq!(world.b.stack.stats().pmtu_lowered, u64::from(n) + 1);
        assert_eq!(world.b.stack.lowered.live(), 1);
        world.b.stack.abort(peer.id);
        assert_eq!(world.b.stack.lowered.live(), 0);
    }
}

#[test]
fn data_out_of_order_keeps_a_ring_and_duplicates_do_not() {
    let mut world = world_of_forged(server());
    let mut twice = Forged::connect(&mut world, 5000);
    twice.say(&mut world, 10, 1000);
    twice.seq = twice.seq.wrapping_sub(10);
    twice.say(&mut world, 10, 1000);
    let mut gap = Forged::connect(&mut world, 5001);
    gap.seq = gap.seq.wrapping_add(10);
    gap.say(&mut world, 10, 1000);
    world.pass(Duration::from_secs(10));
    assert_eq!(world.b.stack.stats().ring_bytes, 4096);
    gap.seq = gap.seq.wrapping_sub(20);
    gap.say(&mut world, 10, 1000);
    assert_eq!(world.b.seen[&gap.id].bytes, [0; 20]);
    world.pass(Duration::from_secs(10));
    assert_eq!(world.b.stack.stats().ring_bytes, 0);
}

#[test]
fn an_orphan_whose_peer_answers_but_acknowledges_nothing_is_reset() {
    let mut world = world_of_forged(server());
    let mut peer = Forged::connect(&mut world, 5000);
    let mut slow = Forged::connect(&mut world, 5001);
    for id in [peer.id, slow.id] {
        world.b.stack.send(id, &[1; 10_000]);
        world.turn();
        world.b.stack.release(id);
    }
    for _ in 0..24 {
        world.pass(Duration::from_secs(1));
        peer.say(&mut world, 0, 0);
        slow.ack = slow.ack.wrapping_add(100);
        slow.say(&mut world, 0, 100);
    }
    let stats = world.b.stack.stats();
    assert_eq!((stats.orphans, stats.orphans_reset), (1, 1));
}

#[test]
fn the_ends_of_a_flow_are_known_until_its_user_frees_it() {
    let mut world = World::new();
    world.b.stack.hold_finished();
    let (here, there) = world.connect("10.77.0.2:80");
    let peer = world.a.stack.local(here);
    world.a.stack.finish(here);
    world.turns(2);
    world.b.stack.finish(there);
    world.turns(6);
    assert_eq!(world.b.state(there), "CLOSED");
    assert_eq!(world.b.stack.peer(there), peer);
    world.b.stack.release(there);
    assert_eq!(world.b.stack.peer(there), None);
    // The same after a reset.
    let (here, there) = world.connect("10.77.0.2:80");
    let peer = world.a.stack.local(here);
    world.a.stack.abort(here);
    world.a.turn(world.now);
    world.b.stack.receive(world.now);
    let event = world.b.stack.next().expect("the reset");
    assert!(event.flow == there && event.flags.contains(EventFlags::CLOSED));
    assert_eq!(world.b.stack.peer(there), peer);
    assert!(world.b.stack.next().is_none());
    assert_eq!(world.b.stack.peer(there), None);
}

#[test]
fn one_turn_gives_back_a_limited_number_of_rings() {
    const FLOWS: u16 = 1200;
    let many = StackConfig {
        max_flows: FLOWS.into(),
        half_open: 64,
        ..server()
    };
    let mut world = world_of_forged(many);
    let mut peers = Vec::new();
    for n in 0..FLOWS {
        let mut peer = Forged::connect(&mut world, 5000 + n);
        peer.say(&mut world, 10, 1000);
        // Every other flow keeps its bytes, so that no two adjacent rings are given back in one call.
        world.b.reads = n % 2 == 0;
        peers.push(peer);
    }
    let before = world.b.stack.stats().rings_given_back;
    // No turn has swept for a long time, so all slots are due at once.
    let mut most = 0;
    let mut last = before;
    for _ in 0..3 {
        world.now += Duration::from_secs(10);
        for _ in 0..100 {
            world.b.turn(world.now);
            let now = world.b.stack.stats().rings_given_back;
            most = most.max(now - last);
            last = now;
        }
    }
    assert!(most > 0 && most <= 40, "{most} in one turn");
    assert!(
        last - before >= u64::from(FLOWS) / 2 - 200,
        "{}",
        last - before
    );
}
