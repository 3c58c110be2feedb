use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use super::*;

fn counted_waker(mailbox: &mut Mailbox<u32>) -> Arc<AtomicUsize> {
    let wakes = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&wakes);
    assert!(mailbox.set_waker(move || {
        count.fetch_add(1, Ordering::Relaxed);
    }));
    wakes
}

fn drained(mailbox: &mut Mailbox<u32>, max: usize) -> Vec<(Option<usize>, u32)> {
    let mut all = Vec::new();
    let count = mailbox.drain(max, |from, message| all.push((from, message)));
    assert_eq!(count, all.len());
    all
}

#[test]
fn every_pair_has_its_own_ring_and_keeps_order() {
    let mut mesh = mesh::<u32>(3, 8);
    for (from, mailbox) in (0..).zip(&mut mesh) {
        for to in 0..3 {
            for k in 0..4 {
                assert_eq!(mailbox.send(to as usize, from * 100 + to * 10 + k), Ok(()));
            }
        }
    }
    for (to, mailbox) in mesh.iter_mut().enumerate() {
        assert_eq!(
            (mailbox.index(), mailbox.lcores(), mailbox.is_empty()),
            (to, 3, false)
        );
        let expected: Vec<_> = (0..3)
            .flat_map(|from| (0..4).map(move |k| (Some(from), (from * 100 + to * 10 + k) as u32)))
            .collect();
        assert_eq!(drained(mailbox, 100), expected);
        assert!(mailbox.is_empty());
    }
}

#[test]
fn a_message_that_does_not_fit_is_returned() {
    let mut mesh = mesh::<u32>(2, 2);
    assert_eq!(
        (mesh[0].send(1, 1), mesh[0].send(1, 2), mesh[0].send(1, 3)),
        (Ok(()), Ok(()), Err(3))
    );
    assert_eq!(mesh[0].send(2, 4), Err(4));
    let poster = mesh[1].poster();
    assert_eq!(
        (poster.post(5), poster.post(6), poster.post(7)),
        (Ok(()), Ok(()), Err(7))
    );
    assert_eq!(
        drained(&mut mesh[1], 9),
        [(Some(0), 1), (Some(0), 2), (None, 5), (None, 6)]
    );
    assert_eq!(mesh[0].send(1, 8), Ok(()));
}

#[test]
fn a_flood_from_one_source_does_not_delay_the_others() {
    let mut mesh = mesh::<u32>(3, 1000);
    for k in 0..1000 {
        assert_eq!(mesh[0].send(2, k), Ok(()));
    }
    assert_eq!(mesh[1].send(2, 5000), Ok(()));
    assert_eq!(mesh[2].poster().post(6000), Ok(()));
    let first = drained(&mut mesh[2], 2 * SHARE);
    assert!(first.contains(&(Some(1), 5000)) && first.contains(&(None, 6000)));
    // Small budgets take turns from call to call, too.
    assert_eq!(mesh[1].send(2, 5001), Ok(()));
    let later: Vec<_> = (0..=SHARE).flat_map(|_| drained(&mut mesh[2], 1)).collect();
    assert!(later.contains(&(Some(1), 5001)));
    let total = first.len() + later.len() + drained(&mut mesh[2], 10_000).len();
    assert_eq!(total, 1003);
}

#[test]
fn a_sleeper_is_woken_once_and_only_if_it_sleeps() {
    let mut mesh = mesh::<u32>(2, 8);
    let wakes = counted_waker(&mut mesh[1]);
    let woken = || wakes.swap(0, Ordering::Relaxed);
    let poster = mesh[1].poster();

    // Awake: no bell rings.
    assert_eq!((mesh[0].send(1, 1), poster.post(2)), (Ok(()), Ok(())));
    mesh[0].ring_doorbells();
    assert_eq!(woken(), 0);
    // A message is queued: it must not sleep, and is not announced as sleeping.
    assert!(!mesh[1].prepare_sleep());
    mesh[0].ring_doorbells();
    assert_eq!(drained(&mut mesh[1], 9).len(), 2);
    assert_eq!((poster.post(3), woken()), (Ok(()), 0));
    drained(&mut mesh[1], 9);

    // Asleep: a send wakes it at the end of the turn, and two sends wake it once.
    assert!(mesh[1].prepare_sleep());
    assert_eq!(
        (mesh[0].send(1, 4), mesh[0].send(1, 5), woken()),
        (Ok(()), Ok(()), 0)
    );
    mesh[0].ring_doorbells();
    mesh[0].ring_doorbells();
    assert_eq!((poster.post(6), woken()), (Ok(()), 1));
    mesh[1].awake();
    drained(&mut mesh[1], 9);

    // Asleep: a post wakes at once.
    assert!(mesh[1].prepare_sleep());
    assert_eq!((poster.post(7), woken()), (Ok(()), 1));
}

#[test]
fn an_lcore_without_a_waker_never_sleeps_and_the_first_waker_stays() {
    let mut mesh = mesh::<u32>(1, 8);
    assert!(!mesh[0].prepare_sleep());
    let wakes = counted_waker(&mut mesh[0]);
    assert!(!mesh[0].set_waker(|| ()));
    assert!(mesh[0].prepare_sleep());
    assert_eq!(mesh[0].poster().post(1), Ok(()));
    assert_eq!(wakes.load(Ordering::Relaxed), 1);
}

#[test]
fn doorbells_beyond_the_first_64_lcores_ring() {
    let mut mesh = mesh::<u32>(70, 1);
    let wakes = counted_waker(&mut mesh[69]);
    assert!(mesh[69].prepare_sleep());
    assert_eq!(mesh[0].send(69, 1), Ok(()));
    mesh[0].ring_doorbells();
    assert_eq!(wakes.load(Ordering::Relaxed), 1);
}

/// The threads sleep in a poller, so a lost wake-up would stop the test.
#[test]
fn lcores_that_sleep_receive_every_message() {
    const EACH: u32 = 5_000;
    let mut mailboxes = mesh::<u32>(2, 16);
    let posters: Vec<_> = mailboxes.iter().map(Mailbox::poster).collect();
    let lcores: Vec<_> = mailboxes
        .drain(..)
        .map(|mut mailbox| {
            thread::spawn(move || {
                // A channel of capacity 1 is a poller that keeps a wake-up that comes early.
                let (wake, sleep) = mpsc::sync_channel(1);
                mailbox.set_waker(move || {
                    let _ = wake.try_send(());
                });
                let other = 1 - mailbox.index();
                let mut sent = 0;
                let mut got = [0, 0];
                while got != [EACH, EACH] {
                    if sent == EACH && mailbox.prepare_sleep() {
                        sleep
                            .recv()
                            .expect("the waker lives as long as the mailbox");
                    }
                    mailbox.awake();
                    mailbox.drain(64, |from, message| {
                        let seen = &mut got[usize::from(from.is_none())];
                        assert_eq!(*seen, message, "in order");
                        *seen += 1;
                    });
                    while sent < EACH && mailbox.send(other, sent).is_ok() {
                        sent += 1;
                    }
                    mailbox.ring_doorbells();
                }
            })
        })
        .collect();
    for k in 0..EACH {
        for poster in &posters {
            while poster.post(k).is_err() {
                thread::yield_now();
            }
        }
    }
    for lcore in lcores {
        lcore.join().expect("the lcore ends");
    }
}
