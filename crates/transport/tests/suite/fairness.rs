//! Budgets, and the order of visits.

use hioload_transport::{Budget, Transport};

use super::world::{Harness, Note, Setup, World};

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
    let mut counts = Vec::new();
    world.until("all bytes", |world| {
        counts.push(world.script.log.len());
        world.script.log.len() == 20
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
    world.send(&mut loud, &[1; 4000]);
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
