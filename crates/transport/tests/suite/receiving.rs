//! Bytes from peers.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use hioload_transport::{ConnId, Connections, Rest, Taken, Transport};

use super::world::{Harness, Note, Setup, World, all, write};

/// Bytes that reveal any loss, duplication or reordering.
pub fn pattern(n: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..n).map(|_| next()).collect()
}

pub fn echo_all(io: &mut dyn Connections, id: ConnId, data: &mut [u8]) -> Taken {
    write(io, id, data);
    all(data)
}

pub fn echo<H: Harness>() {
    let mut world = World::<H>::new(Setup::default());
    world.script.on_data = Box::new(echo_all);
    let (mut wire, id) = world.dial();
    for message in [&b"hello"[..], &[0; 4000], b"!"] {
        world.send(&mut wire, message);
        assert_eq!(world.recv(&mut wire, message.len()), message);
    }
    let stats = world.io().stats();
    assert_eq!(stats.accepted, 1);
    if H::EXACT {
        assert_eq!((stats.bytes_in, stats.bytes_out), (4006, 4006));
    }
    assert_eq!(
        (world.io().queued(id), world.io().is_blocked(id)),
        (0, false)
    );
}

pub fn peer_address<H: Harness>() {
    let mut world = World::<H>::new(Setup::default());
    let (wire, id) = world.dial();
    let address = world.net.address(&wire);
    assert!(world.has(&Note::Accept(id, address)));
    assert_eq!(world.io().peer(id), Some(address));
}

/// Records of 7 bytes, sent byte by byte: each presentation begins with the first unconsumed byte.
pub fn held_for_more<H: Harness>() {
    let mut world = World::<H>::new(Setup::default());
    let records = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&records);
    world.script.on_data = Box::new(move |_, _, data| {
        let whole = data.len() / 7 * 7;
        seen.borrow_mut()
            .extend(data[..whole].chunks(7).map(<[u8]>::to_vec));
        Taken {
            bytes: whole,
            rest: Rest::NeedsMore,
        }
    });
    let (mut wire, id) = world.dial();
    let sent = pattern(40);
    for (i, byte) in sent.iter().enumerate() {
        world.send(&mut wire, &[*byte]);
        world.until("the byte is presented", |world| {
            world.data(id).len() == i + 1
        });
    }
    assert_eq!(records.borrow().concat(), sent[..35]);
    world.turns(3);
    assert_eq!(
        world.data(id).len(),
        40,
        "a rest that needs more is not presented without more"
    );
    world.send(&mut wire, &sent[..30]);
    world.until("all records", |_| records.borrow().len() == 10);
    assert_eq!(
        records.borrow().concat()[35..],
        [&sent[35..], &sent[..30]].concat()
    );
}

/// The driver takes one byte in each call: the rest is presented once in each turn, although nothing arrives.
pub fn held_for_later<H: Harness>() {
    let mut world = World::<H>::new(Setup::default());
    world.script.on_data = Box::new(|_, _, _| Taken {
        bytes: 1,
        rest: Rest::Later,
    });
    let (mut wire, id) = world.dial();
    world.send(&mut wire, b"abcdef");
    world.until("the first call", |world| !world.data(id).is_empty());
    for n in 2..=6 {
        assert!(world.turn().events == 1);
        assert_eq!(world.data(id).len(), n);
    }
    let expected: Vec<Vec<u8>> = (0..6).map(|i| b"abcdef"[i..].to_vec()).collect();
    assert_eq!(world.data(id), expected);
    assert!(!world.turn().more);
    if H::EXACT {
        let stats = world.io().stats();
        assert_eq!(stats.bytes_in, 6, "bytes are counted when first lent");
    }
}

/// While bytes are left for later nothing more is received, and the end is reported after them.
pub fn later_before_the_end<H: Harness>() {
    let mut world = World::<H>::new(Setup {
        rx_buffer: 8,
        ..Setup::default()
    });
    world.script.on_data = Box::new(|_, _, data| Taken {
        bytes: data.len().min(3),
        rest: Rest::Later,
    });
    let (mut wire, id) = world.dial();
    world.send(&mut wire, b"0123456789");
    world.net.end(&mut wire);
    world.until("the end", |world| world.has(&Note::End(id)));
    assert_eq!(world.script.log.last(), Some(&Note::End(id)));
    let presented: &[&[u8]] = if H::EXACT {
        &[b"01234567", b"34567", b"67", b"89"]
    } else {
        &[b"0123456789", b"3456789", b"6789", b"9"]
    };
    assert_eq!(world.data(id), presented);
    world.turns(3);
    assert_eq!(world.count(&Note::End(id)), 1);
}

pub fn pause_and_resume<H: Harness>() {
    let mut world = World::<H>::new(Setup::default());
    let (mut wire, id) = world.dial();
    world.io().pause(id);
    world.send(&mut wire, b"one");
    world.turns(5);
    world.send(&mut wire, b"two");
    world.turns(5);
    assert!(world.data(id).is_empty(), "{:?}", world.data(id));
    world.io().resume(id);
    world.until("the bytes after resume", |world| {
        world.data(id).concat() == b"onetwo"
    });
    world.send(&mut wire, b"three");
    world.until("bytes go on", |world| {
        world.data(id).concat() == b"onetwothree"
    });

    world.io().pause(id);
    world.net.end(&mut wire);
    world.turns(5);
    assert!(!world.has(&Note::End(id)), "the end waits too");
    world.io().resume(id);
    world.until("the end", |world| world.has(&Note::End(id)));
}

/// Bytes left by a driver that pauses in the call are presented after the resume, before later ones.
pub fn paused_within_a_call<H: Harness>() {
    let mut world = World::<H>::new(Setup::default());
    let calls = Rc::new(Cell::new(0));
    let called = Rc::clone(&calls);
    world.script.on_data = Box::new(move |io, id, data| {
        called.set(called.get() + 1);
        if called.get() == 1 {
            io.pause(id);
            return Taken {
                bytes: 2,
                rest: Rest::Later,
            };
        }
        all(data)
    });
    let (mut wire, id) = world.dial();
    world.send(&mut wire, b"abcd");
    world.until("the first call", |_| calls.get() == 1);
    world.send(&mut wire, b"efgh");
    world.turns(5);
    assert_eq!(calls.get(), 1);
    world.io().resume(id);
    world.until("everything", |world| {
        world.data(id)[1..].concat() == b"cdefgh"
    });
    assert_eq!(world.data(id)[1], b"cd", "held bytes come before a receive");
}

/// Bytes and the end in one event are both reported.
pub fn data_with_the_end<H: Harness>() {
    for round in 0..50 {
        let mut world = World::<H>::new(Setup::default());
        let (mut wire, id) = world.dial();
        world.send(&mut wire, b"last words");
        world.net.end(&mut wire);
        world.until("the end", |world| world.has(&Note::End(id)));
        assert_eq!(world.data(id).concat(), b"last words", "round {round}");
    }
}

/// An echo of 1 MiB through small buffers, with the backpressure that a driver has to apply.
pub fn big_transfer<H: Harness>() {
    let mut world = World::<H>::new(Setup {
        rx_buffer: 1000,
        send_queue: 3000,
        tiny: true,
        ..Setup::default()
    });
    world.script.on_data = Box::new(|io, id, data| {
        let n = io.send_room(id).min(data.len());
        write(io, id, &data[..n]);
        if n < data.len() {
            io.pause(id);
        }
        Taken {
            bytes: n,
            rest: Rest::Later,
        }
    });
    world.script.on_writable = Box::new(|io, id| io.resume(id));
    let (mut wire, id) = world.dial();
    let sent = pattern(1 << 20);
    let (mut at, mut got) = (0, Vec::new());
    while got.len() < sent.len() {
        at += world.net.send(&mut wire, &sent[at..]);
        let activity = world.turn();
        // A queue that a flush empties at once brings no call: the pause must end all the same.
        if world.io().queued(id) == 0 {
            world.io().resume(id);
        }
        // The peer reads only when nothing moves any more, so that all buffers on the way are full.
        if activity.events == 0 {
            world.net.recv(&mut wire, &mut got);
        }
    }
    assert!(got == sent, "the bytes differ");
    assert!(
        world.io().stats().blocked > 0,
        "it was never blocked: the test shows too little"
    );
}

pub fn unread_held_bytes_are_dropped<H: Harness>() {
    let mut world = World::<H>::new(Setup::default());
    world.script.on_data = Box::new(|io, id, _| {
        write(io, id, b"bye");
        io.close(id);
        Taken {
            bytes: 0,
            rest: Rest::Later,
        }
    });
    let (mut wire, id) = world.dial();
    world.send(&mut wire, b"ignored");
    let (got, _) = world.recv_end(&mut wire);
    assert_eq!(got, b"bye");
    world.turns(2);
    assert_eq!(world.data(id).len(), 1);
}
