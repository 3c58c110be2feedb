//! Handshakes on threads, and their rate.

use super::attacks::{hello, last_flight};
use super::suite::world::Harness;
use super::*;
use hioload_tls::{HandshakeSteps, HandshakeThreads};

/// A server whose handshakes are made by the caller.
fn by_hand(options: TlsOptions, queue: usize) -> (Tested, HandshakeSteps) {
    let (threads, steps) = HandshakeThreads::by_hand(queue);
    THREADS.set(Some(threads));
    (serving(options), steps)
}

/// Turns and steps until nothing waits.
fn work(world: &mut Tested, steps: &HandshakeSteps) {
    for _ in 0..5 {
        world.turns(2);
        steps.run();
    }
    world.turns(2);
}

#[test]
fn a_step_that_a_thread_has_made_wakes_the_lcore_and_is_sent() {
    let (mut world, steps) = by_hand(TlsOptions::default(), 4);
    let (_, id) = world.dial();
    world.io().below().deliver(id, &hello());
    world.turns(3);
    assert!(world.io().below().sent(id).is_empty());
    assert_eq!(steps.waiting(), 1);
    assert!(!world.turn().more, "the lcore may sleep");
    world.io().below().woken();
    assert_eq!(steps.run(), 1);
    assert!(world.io().below().woken());
    world.turn();
    let sent = world.io().below().sent(id);
    assert!(matches!(sent[..], [22, 3, 3, ..]), "a ServerHello");
    let seen = stats(&mut world);
    assert_eq!(
        (seen.handshake_steps_offloaded, seen.handshakes_delayed),
        (1, 0)
    );
}

#[test]
fn what_arrives_while_a_thread_works_is_processed_after_its_step() {
    for (pieces, close) in [(1, false), (2, true), (7, true)] {
        let (mut world, steps) = by_hand(TlsOptions::default(), 4);
        let (_, id) = world.dial();
        let flight = last_flight_with(&mut world, id, &steps, 5, close);
        // The records before the first whole one, then the rest in pieces while that one is away.
        let (first, rest) = flight.split_at(6);
        world.io().below().deliver(id, first);
        world.turns(2);
        assert_eq!(steps.waiting(), 1);
        for piece in rest.chunks(rest.len().div_ceil(pieces)) {
            world.io().below().deliver(id, piece);
            world.turn();
        }
        if close {
            world.io().below().end(id);
        }
        work(&mut world, &steps);
        assert_eq!(world.data(id).concat(), [0, 1, 2, 3, 4]);
        assert_eq!(world.has(&Note::End(id)), close);
        let seen = stats(&mut world);
        assert_eq!((seen.handshakes, seen.handshakes_open), (1, 0));
        assert_eq!((seen.handshake_failures, seen.truncated), (0, 0));
    }
}

/// The last flight of a client, whose first byte group is a whole ChangeCipherSpec record of 6 bytes.
fn last_flight_with(
    world: &mut Tested,
    id: ConnId,
    steps: &HandshakeSteps,
    messages: u8,
    close: bool,
) -> Vec<u8> {
    let mut answer = |world: &mut Tested| {
        world.turns(2);
        assert_eq!(steps.run(), 1);
        world.turns(2);
    };
    last_flight(world, id, messages, close, &mut answer)
}

#[test]
fn connections_wait_while_the_threads_are_busy_and_none_is_lost() {
    let (mut world, steps) = by_hand(TlsOptions::default(), 2);
    let ids: Vec<ConnId> = (0..6).map(|_| world.dial().1).collect();
    for id in &ids {
        world.io().below().deliver(*id, &hello());
    }
    world.turns(3);
    assert_eq!(steps.waiting(), 2, "no more than the queue has places");
    let seen = stats(&mut world);
    assert!(seen.handshake_threads_busy > 0 && seen.handshakes_delayed >= 4);
    work(&mut world, &steps);
    for id in ids {
        assert!(!world.io().below().sent(id).is_empty());
    }
    assert_eq!(stats(&mut world).handshake_steps_offloaded, 6);
}

#[test]
fn a_connection_that_ends_while_a_thread_works_leaves_nothing() {
    let (mut world, steps) = by_hand(TlsOptions::default(), 4);
    let (_, id) = world.dial();
    world.io().below().deliver(id, &hello());
    world.turns(2);
    world.io().abort(id);
    world.turns(2);
    // Another one gets its slot before the step comes back.
    let (_, next) = world.dial();
    assert_eq!(next.index, id.index);
    work(&mut world, &steps);
    assert!(world.io().below().sent(next).is_empty());
    world.io().abort(next);
    world.turns(2);
    let seen = stats(&mut world);
    assert_eq!((seen.handshakes_open, seen.handshake_failures), (0, 0));
}

#[test]
fn a_step_that_fails_on_a_thread_is_answered_and_counted() {
    let (mut world, steps) = by_hand(TlsOptions::default(), 4);
    let (_, id) = world.dial();
    world
        .io()
        .below()
        .deliver(id, &[22, 3, 1, 0, 5, 1, 0, 0, 1, 9]);
    work(&mut world, &steps);
    let sent = world.io().below().sent(id);
    assert!(matches!(sent[..], [21, 3, _, 0, 2, 2, _]), "{sent:?}");
    assert!(closed(&world, id, ErrorKind::InvalidData));
    assert_eq!(stats(&mut world).handshake_failures, 1);
}

/// A resolver that panics.
#[derive(Debug)]
struct Panicking;

impl rustls::server::ResolvesServerCert for Panicking {
    fn resolve(
        &self,
        _: rustls::server::ClientHello<'_>,
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        std::panic::resume_unwind(Box::new("no certificate"))
    }
}

#[test]
fn a_panic_on_a_thread_ends_the_connection_and_not_the_thread() {
    let (threads, steps) = HandshakeThreads::by_hand(4);
    THREADS.set(Some(threads));
    let mut config = common::server(None);
    config.cert_resolver = Arc::new(Panicking);
    let configs = Both {
        server: Some(Arc::new(config)),
        ..Both::default()
    };
    let mut world = world(TlsOptions::default(), configs);
    for failures in 1..=2 {
        let (_, id) = world.dial();
        world.io().below().deliver(id, &hello());
        work(&mut world, &steps);
        assert!(closed(&world, id, ErrorKind::InvalidData));
        assert_eq!(stats(&mut world).handshake_failures, failures);
    }
}

#[test]
fn threads_make_the_handshakes_of_several_connections() {
    THREADS.set(Some(HandshakeThreads::start(2, 4).unwrap()));
    let mut world = serving(TlsOptions::default());
    world.script.on_data = Box::new(echo_all);
    let mut peers: Vec<_> = (0..12)
        .map(|_| (world.dial().1, common::peer(common::client(None))))
        .collect();
    world.until("all handshakes are complete", |world| {
        for (id, peer) in &mut peers {
            let mut out = Vec::new();
            while peer.wants_write() {
                peer.write_tls(&mut out).unwrap();
            }
            world.io().below().deliver(*id, &out);
            let sent = world.io().below().sent(*id);
            peer.read_tls(&mut &sent[..]).unwrap();
            peer.process_new_packets().unwrap();
        }
        stats(world).handshakes == 12
    });
    for (id, peer) in &mut peers {
        peer.writer().write_all(b"echo").unwrap();
        assert_eq!(pump(&mut world, *id, peer).unwrap(), b"echo");
    }
    assert_eq!(stats(&mut world).handshake_steps_offloaded, 24);
}

#[test]
fn handshakes_beyond_the_rate_wait_and_are_not_refused() {
    use hioload_lcore::Time;
    let options = TlsOptions::default()
        .handshakes_per_turn(100)
        .handshake_rate(10)
        .handshake_timeout(Duration::from_secs(3600));
    let mut world = serving(options);
    let ids: Vec<ConnId> = (0..6).map(|_| world.dial().1).collect();
    for id in &ids {
        world.io().below().deliver(*id, &hello());
    }
    let mut answered = |millis: u64| {
        let now = Time::from_millis(1_000_000 + millis);
        for _ in 0..2 {
            let budget = world.budget;
            let io = world.net.io();
            io.wait(Some(Duration::ZERO)).unwrap();
            io.dispatch(&mut world.script, budget, now);
            io.flush(&mut world.script);
        }
        let sent = ids
            .iter()
            .filter(|id| !world.io().below().sent(**id).is_empty());
        sent.count()
    };
    // A tenth of a second's worth at once, and the one of now; then one every 100 ms.
    let new: Vec<usize> = [0, 50, 99, 100, 199, 200, 5000].map(&mut answered).into();
    assert_eq!(new, [2, 0, 0, 1, 0, 1, 2]);
    let seen = stats(&mut world);
    assert_eq!((seen.handshakes_limited, seen.handshakes_refused), (4, 0));
    assert_eq!(seen.handshakes_open, 6);
}
