//! Budgets, and the order of visits.

use hioload_mem::Shared;
use hioload_transport::{Budget, Connections, Rest, Taken, Transport};

use super::world::{Harness, Note, Setup, World, write};

/// Ten ready connections, three for each turn: each has one call before any has two.
pub fn event_budget<H: Harness>() {
    let mut world = World::<H>::new(Setup {
        rx_buffer: 10,
        ..Setup::default()
    });
    let mut peers: Vec<_> = (0..10).map(|_| world.dial()).collect();
    world.script.log.clear();
    world.budget = Budget {
        events: 3,
        accepts: 1,
    };
    for (wire, _) in &mut peers {
        // Two calls for each: the second receive is a full one's rest.
        assert_eq!(world.net.send(wire, &[1; 15]), 15);
    }
    let calls = if H::EXACT { 20 } else { 10 };
    let mut counts = Vec::new();
    world.until("all bytes", |world| {
        counts.push(world.script.log.len());
        world.script.log.len() == calls
    });
    assert!(
        counts.windows(2).all(|pair| pair[1] - pair[0] <= 3),
        "{counts:?}"
    );
    let order = world.script.log.iter().map(|note| match note {
        Note::Data(id, _) => *id,
        note => panic!("{note:?}"),
    });
    let order: Vec<_> = order.collect();
    for (_, id) in &peers {
        assert_eq!(
            order[..10].iter().filter(|other| *other == id).count(),
            1,
            "{order:?}"
        );
    }
}

/// An exhausted driver ends a dispatch. Nothing is lost or reordered, and each connection has a call before any has another one.
pub fn exhausted_driver<H: Harness>() {
    const PEERS: usize = 12;
    const ROUNDS: u8 = 5;
    let mut world = World::<H>::new(Setup::default());
    let mut peers: Vec<_> = (0..PEERS).map(|_| world.dial()).collect();
    world.script.log.clear();
    world.script.quota = 2;
    // A part of each call's bytes is left for a later turn.
    world.script.on_data = Box::new(|_, _, data| Taken {
        bytes: data.len().div_ceil(2),
        rest: Rest::Later,
    });
    let total = PEERS * usize::from(ROUNDS) * 100;
    let mut calls = Vec::new();
    for round in 0..ROUNDS {
        for (wire, _) in &mut peers {
            assert_eq!(world.net.send(wire, &[round; 100]), 100);
        }
        let before = world.script.log.len();
        let activity = world.turn();
        calls.push(world.script.log.len() - before);
        assert!(
            activity.more || calls[calls.len() - 1] == 0,
            "others are ready"
        );
    }
    let mut taken = 0;
    world.until("all bytes", |world| {
        taken = world
            .script
            .log
            .iter()
            .map(|note| match note {
                Note::Data(_, bytes) => bytes.len().div_ceil(2),
                note => panic!("{note:?}"),
            })
            .sum();
        calls.push(world.script.log.len());
        taken == total
    });
    for pair in calls[usize::from(ROUNDS)..].windows(2) {
        // One call of each kind of work in any case.
        assert!(pair[1] - pair[0] <= 3, "{calls:?}");
    }
    assert!(
        calls[..usize::from(ROUNDS)].iter().all(|&n| n <= 3),
        "{calls:?}"
    );
    for (_, id) in &peers {
        let mut stream = Vec::new();
        for bytes in world.data(*id) {
            stream.extend_from_slice(&bytes[..bytes.len().div_ceil(2)]);
        }
        let sent: Vec<u8> = (0..ROUNDS).flat_map(|round| [round; 100]).collect();
        assert!(stream == sent, "the bytes of {id} in order: {stream:?}");
    }
    // What a layer holds has its share of each turn besides what arrives.
    let visits = if H::EXACT { PEERS } else { 3 * PEERS };
    let order: Vec<_> = world.script.log.iter().take(visits).collect();
    for (_, id) in &peers {
        let is_its = |note: &&&Note| matches!(note, Note::Data(other, _) if other == id);
        let calls = order.iter().filter(is_its).count();
        assert!(calls == 1 || (!H::EXACT && calls > 0), "{order:?}");
    }
}

/// An exhausted driver ends the flush of shared payloads. The rest is flushed later, and an answer does not wait for it.
pub fn exhausted_flush<H: Harness>() {
    const PEERS: usize = 100;
    let mut world = World::<H>::new(Setup {
        max_connections: 128,
        ..Setup::default()
    });
    let mut peers: Vec<_> = (0..PEERS).map(|_| world.dial()).collect();
    world.script.quota = 0;
    let published = Shared::from(b"published".to_vec()).local();
    for (_, id) in &peers {
        world
            .io()
            .send_shared(*id, published.clone(), false)
            .unwrap();
        assert_eq!(world.io().queued(*id), 9);
    }
    world.turn();
    assert!(world.io().has_unflushed());
    let waiting = |world: &mut World<H>, peers: &[(H::Wire, _)]| {
        peers
            .iter()
            .filter(|(_, id)| world.io().queued(*id) > 0)
            .count()
    };
    let left = waiting(&mut world, &peers);
    assert!(left > 0 && left < PEERS, "{left}");
    // The last one of those that wait has an answer now.
    let (answered, id) = peers
        .iter()
        .rposition(|(_, id)| world.io().queued(*id) > 0)
        .map(|at| (at, peers[at].1))
        .unwrap();
    write(world.io(), id, b"+answer");
    world.turn();
    assert_eq!(world.io().queued(id), 0);
    assert!(waiting(&mut world, &peers) > 0);
    world.until("all is flushed", |world| !world.io().has_unflushed());
    for (at, (wire, _)) in peers.iter_mut().enumerate() {
        let expected: &[u8] = if at == answered {
            b"published+answer"
        } else {
            b"published"
        };
        assert_eq!(world.recv(wire, expected.len()), expected);
    }
}

pub fn accept_budget<H: Harness>() {
    let mut world = World::<H>::new(Setup::default());
    world.budget = Budget {
        events: 10,
        accepts: 2,
    };
    let _wires: Vec<_> = (0..7).map(|_| world.net.dial()).collect();
    let mut counts = Vec::new();
    world.until("all accepted", |world| {
        counts.push(world.script.log.len());
        world.script.log.len() == 7
    });
    assert!(
        counts.windows(2).all(|pair| pair[1] - pair[0] <= 2),
        "{counts:?}"
    );
}

/// A peer that sends much does not delay another.
pub fn full_reads_take_turns<H: Harness>() {
    let mut world = World::<H>::new(Setup {
        rx_buffer: 16,
        ..Setup::default()
    });
    let (mut loud, loud_id) = world.dial();
    let (mut quiet, quiet_id) = world.dial();
    for _ in 0..10 {
        world.send(&mut loud, &[1; 400]);
    }
    world.until("the loud one is heard", |world| {
        !world.data(loud_id).is_empty()
    });
    world.send(&mut quiet, b"psst");
    world.until("the quiet one is heard", |world| {
        !world.data(quiet_id).is_empty()
    });
    assert!(
        world.data(loud_id).concat().len() < 4000,
        "before the loud one has finished"
    );
    world.until("all is heard", |world| {
        world.data(loud_id).concat().len() == 4000
    });
}

pub fn accepting_stops_and_restarts<H: Harness>() {
    let mut world = World::<H>::new(Setup::default());
    world.turn();
    world.io().set_accepting(false);
    let _wires: Vec<_> = (0..3).map(|_| world.net.dial()).collect();
    world.turns(3);
    assert!(world.script.log.is_empty());
    world.io().set_accepting(true);
    world.until("all accepted", |world| world.script.log.len() == 3);
}

pub fn stop_listening<H: Harness>() {
    let mut world = World::<H>::new(Setup::default());
    let (mut wire, id) = world.dial();
    world.io().stop_listening();
    world.turns(2);
    world.send(&mut wire, b"open still");
    world.until("connections go on", |world| {
        world.data(id).concat() == b"open still"
    });
    world.io().set_accepting(true);
    world.turns(2);
}
