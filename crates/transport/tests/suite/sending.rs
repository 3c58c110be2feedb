//! Bytes to peers.

use hioload_mem::Shared;
use hioload_transport::{Connections, SendError, Transport};

use super::receiving::pattern;
use super::world::{Harness, Note, Setup, World, write};

pub fn order_of_shared_and_written<H: Harness>() {
    let mut world = World::<H>::new(Setup::default());
    let (mut wire, id) = world.dial();
    let big = Shared::from(pattern(20_000)).local();
    let mut expected = Vec::new();
    for i in 0..100u8 {
        write(world.io(), id, &[i; 10]);
        expected.extend([i; 10]);
        world.io().send_shared(id, big.clone(), i % 2 == 0).unwrap();
        expected.extend_from_slice(&big);
    }
    let queued = world.io().queued(id);
    assert!(queued >= expected.len() && (queued == expected.len() || !H::EXACT));
    assert!(world.recv(&mut wire, expected.len()) == expected);
    assert_eq!(big.strong_count(), 1, "references are given back");
}

/// Fills the queue of a peer that does not read, until a flush is blocked; returns the bytes queued so far.
fn block<H: Harness>(
    world: &mut World<H>,
    wire: &mut H::Wire,
    id: hioload_transport::ConnId,
) -> Vec<u8> {
    world.net.refuse(wire);
    let mut all = Vec::new();
    world.until("it is blocked", |world| {
        if !world.io().is_blocked(id) {
            let bytes = pattern(300_000);
            write(world.io(), id, &bytes);
            all.extend(bytes);
            world.turn();
        }
        world.io().is_blocked(id)
    });
    all
}

pub fn blocked_then_writable<H: Harness>() {
    let mut world = World::<H>::new(Setup::default());
    let (mut wire, id) = world.dial();
    let sent = block(&mut world, &mut wire, id);
    assert!(world.io().queued(id) > 0 && world.io().stats().blocked > 0);
    world.turns(3);
    assert!(!world.has(&Note::Writable(id)));
    assert_eq!(world.script.blocked_calls, 1);
    assert_eq!(world.io().before_mark(id), 0, "no mark is set");
    world.io().set_mark(id, usize::MAX);
    assert_eq!(world.io().before_mark(id), world.io().queued(id));
    write(world.io(), id, b"behind the mark");
    assert_eq!(world.io().before_mark(id), world.io().queued(id) - 15);
    world.io().set_mark(id, 10);
    assert_eq!(world.io().before_mark(id), 10);
    let sent = [&sent[..], b"behind the mark"].concat();
    world.net.take(&mut wire);
    assert!(world.recv(&mut wire, sent.len()) == sent);
    world.until("writable", |world| world.has(&Note::Writable(id)));
    world.turns(3);
    assert_eq!(world.count(&Note::Writable(id)), 1);
    assert_eq!(world.io().before_mark(id), 0);
    write(world.io(), id, b"more");
    assert_eq!(world.recv(&mut wire, 4), b"more");
    assert_eq!(
        world.count(&Note::Writable(id)),
        1,
        "a flush that empties the queue is not reported"
    );
}

pub fn writable_may_write_again<H: Harness>() {
    let mut world = World::<H>::new(Setup::default());
    let mut written = false;
    world.script.on_writable = Box::new(move |io, id| {
        if !std::mem::replace(&mut written, true) {
            write(io, id, b"from on_writable");
        }
    });
    let (mut wire, id) = world.dial();
    let sent = block(&mut world, &mut wire, id);
    world.net.take(&mut wire);
    let got = world.recv(&mut wire, sent.len() + 16);
    assert!(got[..sent.len()] == sent && got[sent.len()..] == *b"from on_writable");
}

pub fn drop_oldest_while_blocked<H: Harness>() {
    let mut world = World::<H>::new(Setup::default());
    let (mut wire, id) = world.dial();
    let mut expected = block(&mut world, &mut wire, id);
    for i in 1..=5u8 {
        let payload = Shared::from(vec![i; 100 + usize::from(i)]).local();
        world.io().send_shared(id, payload, i != 2).unwrap();
    }
    let before = world.io().queued(id);
    assert_eq!(world.io().drop_oldest(id), Some(101));
    assert_eq!(world.io().drop_oldest(id), Some(103));
    assert_eq!(world.io().queued(id), before - 204);
    for i in [2, 4, 5u8] {
        expected.extend(vec![i; 100 + usize::from(i)]);
    }
    world.net.take(&mut wire);
    assert!(world.recv(&mut wire, expected.len()) == expected);
    assert_eq!(world.io().drop_oldest(id), None);
}

pub fn queue_bound<H: Harness>() {
    if !H::EXACT {
        return queue_bound_with_overhead::<H>();
    }
    let mut world = World::<H>::new(Setup {
        send_queue: 1000,
        ..Setup::default()
    });
    let (mut wire, id) = world.dial();
    assert_eq!(world.io().send_room(id), 1000);
    write(world.io(), id, &[1; 990]);
    assert_eq!(world.io().send_room(id), 10);
    assert_eq!(world.io().send_space(id, 14).unwrap_err(), SendError::Full);
    let payload = Shared::from(vec![2; 11]).local();
    assert_eq!(
        world.io().send_shared(id, payload.clone(), true),
        Err(SendError::Full)
    );
    write(world.io(), id, &[3; 10]);
    assert_eq!((world.io().send_room(id), world.io().queued(id)), (0, 1000));
    assert_eq!(world.recv(&mut wire, 1000).len(), 1000);
    assert_eq!(world.io().send_room(id), 1000);
}

/// A layer that adds to the bytes takes fewer of them, and what it says it takes.
fn queue_bound_with_overhead<H: Harness>() {
    let mut world = World::<H>::new(Setup {
        send_queue: 1000,
        ..Setup::default()
    });
    let (mut wire, id) = world.dial();
    let room = world.io().send_room(id);
    assert!((700..1000).contains(&room), "{room}");
    for n in [1, room / 2, room - room / 2 - 1] {
        write(world.io(), id, &vec![n as u8; n]);
    }
    let left = world.io().send_room(id);
    assert!(left < 100, "{left}");
    let payload = Shared::from(vec![2; left + 1]).local();
    assert_eq!(
        world.io().send_shared(id, payload, true),
        Err(SendError::Full)
    );
    let mut sent = room;
    while let Ok(space) = world.io().send_space(id, 1) {
        space[0] = 3;
        world.io().commit(id, 1);
        sent += 1;
        assert!(sent < 1000);
    }
    assert_eq!(world.recv(&mut wire, sent).len(), sent);
    assert_eq!(world.io().send_room(id), room);
}

pub fn nothing_is_sent_after_finish<H: Harness>() {
    let mut world = World::<H>::new(Setup::default());
    let (mut wire, id) = world.dial();
    write(world.io(), id, b"all");
    world.io().finish(id);
    assert_eq!(world.io().send_space(id, 1).unwrap_err(), SendError::Closed);
    let payload = Shared::from(vec![1]).local();
    assert_eq!(
        world.io().send_shared(id, payload, false),
        Err(SendError::Closed)
    );
    assert_eq!(world.io().send_room(id), 0);
    assert_eq!(world.recv_end(&mut wire).0, b"all");
}

pub fn lent_but_not_committed<H: Harness>() {
    let mut world = World::<H>::new(Setup::default());
    let (mut wire, id) = world.dial();
    let before = world.io().stats().writes;
    world.io().send_space(id, 100).unwrap()[0] = 1;
    world.turns(2);
    assert_eq!(world.io().stats().writes, before);
    world.io().send_space(id, 100).unwrap()[..2].copy_from_slice(b"ab");
    world.io().commit(id, 2);
    world.io().commit(id, 0);
    assert_eq!(world.recv(&mut wire, 2), b"ab");
}

/// A layer that seals in place relies on it.
pub fn uncommitted_space_is_lent_again<H: Harness>() {
    let mut world = World::<H>::new(Setup::default());
    let (mut wire, id) = world.dial();
    for (n, before) in [&b""[..], b"some bytes before it"].into_iter().enumerate() {
        write(world.io(), id, before);
        for want in [9, 300] {
            world.io().send_space(id, want).unwrap()[..9].copy_from_slice(b"plaintext");
            let again = world.io().send_space(id, want).unwrap();
            assert_eq!(again[..9], *b"plaintext", "{n}: {want}");
            again[..5].copy_from_slice(b"check");
            world.io().commit(id, 9);
        }
        let both = [before, b"checktextchecktext"].concat();
        assert_eq!(world.recv(&mut wire, both.len()), both);
    }
}
