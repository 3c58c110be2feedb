//! The ways in which a connection ends.

use std::io::ErrorKind;

use hioload_mem::Shared;
use hioload_transport::{Closed, Connections, SendError, Transport};

use super::receiving::echo_all;
use super::world::{Harness, Note, Seen, Setup, World, all, write};

/// The peer ends its side and still receives the reply.
pub fn half_close<H: Harness>() {
    let mut world = World::<H>::new(Setup::default());
    world.script.on_end = Box::new(|io, id| {
        write(io, id, b"answer after the end");
        io.close(id);
    });
    let (mut wire, id) = world.dial();
    world.send(&mut wire, b"question");
    world.net.end(&mut wire);
    assert_eq!(
        world.recv_end(&mut wire),
        (b"answer after the end".to_vec(), Seen::End)
    );
    assert_eq!(world.data(id).concat(), b"question");
    assert_eq!(
        world.script.log.last(),
        Some(&Note::Closed(id, Closed::Flushed))
    );
}

/// The transport ends its side and still receives.
pub fn finish_then_receive<H: Harness>() {
    let mut world = World::<H>::new(Setup::default());
    let (mut wire, id) = world.dial();
    write(world.io(), id, b"done");
    world.io().finish(id);
    world.io().finish(id);
    assert_eq!(world.recv_end(&mut wire), (b"done".to_vec(), Seen::End));
    world.send(&mut wire, b"not I");
    world.until("bytes after finish", |world| {
        world.data(id).concat() == b"not I"
    });
    world.net.end(&mut wire);
    world.until("the end", |world| world.has(&Note::End(id)));
    world.turns(2);
    assert!(
        world.io().peer(id).is_some(),
        "both sides have ended, but the slot is the driver's"
    );
    world.io().close(id);
    world.until("closed", |world| {
        world.has(&Note::Closed(id, Closed::Flushed))
    });
}

/// `close` of a blocked connection lasts until the peer has taken everything.
pub fn close_waits_for_the_peer<H: Harness>() {
    let mut world = World::<H>::new(Setup::default());
    let (mut wire, id) = world.dial();
    world.net.refuse(&mut wire);
    let payload = Shared::from(vec![7; 6 << 20]).local();
    world.io().send_shared(id, payload, false).unwrap();
    world.turns(2);
    assert!(world.io().is_blocked(id));
    world.io().close(id);
    world.send(&mut wire, b"nobody listens");
    world.turns(5);
    assert!(
        world.data(id).is_empty(),
        "nothing is presented after close"
    );
    assert!(!world.has(&Note::Closed(id, Closed::Flushed)));
    world.net.take(&mut wire);
    let (got, seen) = world.recv_end(&mut wire);
    assert_eq!((got.len(), seen), (6 << 20, Seen::End));
    assert_eq!(
        world.script.log.last(),
        Some(&Note::Closed(id, Closed::Flushed))
    );
    assert!(!world.has(&Note::Writable(id)));
}

/// Bytes that arrived and were never read must not turn the close into a reset.
pub fn close_delivers_despite_unread_bytes<H: Harness>() {
    let mut world = World::<H>::new(Setup {
        rx_buffer: 100,
        ..Setup::default()
    });
    let (mut wire, id) = world.dial();
    world.io().pause(id);
    world.send(&mut wire, &[1; 1000]);
    world.turns(3);
    write(world.io(), id, b"parting");
    world.io().close(id);
    assert_eq!(world.recv_end(&mut wire), (b"parting".to_vec(), Seen::End));
    assert!(world.data(id).is_empty());
}

pub fn abort_is_reported_later<H: Harness>() {
    let mut world = World::<H>::new(Setup::default());
    world.script.on_data = Box::new(|io, id, data| {
        write(io, id, b"lost");
        io.abort(id);
        io.abort(id);
        io.close(id);
        assert_eq!(io.send_space(id, 1).unwrap_err(), SendError::Closed);
        assert!(io.peer(id).is_some(), "the id is good until on_closed");
        all(data)
    });
    let (mut wire, id) = world.dial();
    world.send(&mut wire, b"x");
    let (got, seen) = world.recv_end(&mut wire);
    assert!(got.is_empty());
    assert!(!H::HAS_RESET || seen == Seen::Reset, "{seen:?}");
    assert_eq!(
        world.script.log.last(),
        Some(&Note::Closed(id, Closed::Aborted))
    );
    world.turns(2);
    assert_eq!(world.count(&Note::Closed(id, Closed::Aborted)), 1);
}

pub fn abort_while_blocked<H: Harness>() {
    let mut world = World::<H>::new(Setup::default());
    let (mut wire, id) = world.dial();
    world.net.refuse(&mut wire);
    let payload = Shared::from(vec![7; 6 << 20]).local();
    world.io().send_shared(id, payload.clone(), false).unwrap();
    world.turns(2);
    world.io().close(id);
    world.io().abort(id);
    assert_eq!(payload.strong_count(), 1, "the queue is given back at once");
    world.turn();
    assert_eq!(
        world.script.log.last(),
        Some(&Note::Closed(id, Closed::Aborted))
    );
}

pub fn stale_ids<H: Harness>() {
    let mut world = World::<H>::new(Setup {
        max_connections: 1,
        ..Setup::default()
    });
    world.script.on_data = Box::new(echo_all);
    let (_wire, old) = world.dial();
    world.io().abort(old);
    world.turn();
    let (mut wire, new) = world.dial();
    assert_eq!(
        (new.index, new.generation),
        (old.index, old.generation + 1),
        "the slot is used again"
    );
    let io = world.io();
    io.pause(old);
    io.resume(old);
    io.finish(old);
    io.close(old);
    io.abort(old);
    io.commit(old, 5);
    assert_eq!(io.send_space(old, 1).unwrap_err(), SendError::Closed);
    let payload = Shared::from(vec![1]).local();
    assert_eq!(io.send_shared(old, payload, false), Err(SendError::Closed));
    assert_eq!((io.peer(old), io.drop_oldest(old)), (None, None));
    assert_eq!(
        (io.queued(old), io.send_room(old), io.is_blocked(old)),
        (0, 0, false)
    );
    world.send(&mut wire, b"still here");
    assert_eq!(world.recv(&mut wire, 10), b"still here");
}

fn is_failure(note: &Note) -> bool {
    // A Unix socket has no reset: a write reveals that the peer is gone, or the missing end of what a layer carries.
    matches!(
        note,
        Note::Closed(
            _,
            Closed::Failed(
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof
            )
        )
    )
}

pub fn peer_resets<H: Harness>() {
    let mut world = World::<H>::new(Setup::default());
    world.script.on_end = Box::new(|io, id| write(io, id, b"anybody?"));
    let (wire, _) = world.dial();
    world.net.reset(wire);
    world.until("the failure", |world| {
        world.script.log.iter().any(is_failure)
    });
    world.turns(2);
    assert_eq!(
        world
            .script
            .log
            .iter()
            .filter(|note| is_failure(note))
            .count(),
        1
    );
}

pub fn peer_resets_while_paused<H: Harness>() {
    let mut world = World::<H>::new(Setup::default());
    let (mut wire, id) = world.dial();
    world.io().pause(id);
    world.send(&mut wire, b"never read");
    world.turns(2);
    world.net.reset(wire);
    if !H::HAS_RESET {
        write(world.io(), id, b"anybody?");
    }
    world.until("the failure", |world| {
        world.script.log.iter().any(is_failure)
    });
    assert!(world.data(id).is_empty());
}

pub fn refused_accept<H: Harness>() {
    let mut world = World::<H>::new(Setup {
        max_connections: 1,
        ..Setup::default()
    });
    world.script.welcome = false;
    for _ in 0..3 {
        let (mut wire, id) = world.dial();
        assert_ne!(world.recv_end(&mut wire).1, Seen::Open);
        assert_eq!(world.io().peer(id), None);
    }
    world.turns(2);
    assert_eq!(
        world.script.log.len(),
        3,
        "no on_closed: {:?}",
        world.script.log
    );
    assert_eq!(world.io().stats().accepted, 3);
}

pub fn refused_and_aborted<H: Harness>() {
    let mut world = World::<H>::new(Setup::default());
    world.script.welcome = false;
    world.script.on_accept = Box::new(|io, id| {
        write(io, id, b"no");
        io.abort(id);
    });
    world.dial();
    world.turns(2);
    assert_eq!(
        world.script.log.len(),
        1,
        "no on_closed: {:?}",
        world.script.log
    );
}

pub fn write_to_a_dead_peer<H: Harness>() {
    let mut world = World::<H>::new(Setup::default());
    let (wire, id) = world.dial();
    world.net.reset(wire);
    world.until("a write fails or the reset is seen", |world| {
        if world.io().send_room(id) >= 10 {
            write(world.io(), id, &[1; 10]);
        }
        world.script.log.iter().any(is_failure)
    });
}
