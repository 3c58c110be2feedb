//! What an attacker, or a busy lcore, does to handshakes, records and ends.

use super::suite::world::Harness;
use super::*;
use hioload_lcore::Time;

/// The bytes that a client sends to end its handshake, with `messages` records of one byte behind it. `answer` has the server answer the
/// first ones.
pub(super) fn last_flight(
    world: &mut Tested,
    id: ConnId,
    messages: u8,
    close: bool,
    answer: &mut dyn FnMut(&mut Tested),
) -> Vec<u8> {
    let mut peer = common::peer(common::client(None));
    let mut out = Vec::new();
    peer.write_tls(&mut out).unwrap();
    world.io().below().deliver(id, &out);
    answer(world);
    let flight = world.io().below().sent(id);
    peer.read_tls(&mut &flight[..]).unwrap();
    peer.process_new_packets().unwrap();
    out.clear();
    for n in 0..messages {
        peer.writer().write_all(&[n]).unwrap();
        while peer.wants_write() {
            peer.write_tls(&mut out).unwrap();
        }
    }
    if close {
        peer.send_close_notify();
    }
    while peer.wants_write() {
        peer.write_tls(&mut out).unwrap();
    }
    out
}

fn two_turns(world: &mut Tested) {
    world.turns(2);
}

pub(super) fn hello() -> Vec<u8> {
    let mut hello = Vec::new();
    common::peer(common::client(None))
        .write_tls(&mut hello)
        .unwrap();
    hello
}

#[test]
fn records_behind_a_handshake_are_presented_however_early_the_driver_is_exhausted() {
    let mut world = serving(TlsOptions::default());
    let (_, id) = world.dial();
    let flight = last_flight(&mut world, id, 10, false, &mut two_turns);
    world.script.quota = 1;
    world.io().below().deliver(id, &flight);
    world.turns(20);
    let expected: Vec<Vec<u8>> = (0..10).map(|n| vec![n]).collect();
    assert_eq!(world.data(id), expected);
    assert!(!world.turn().more, "nothing is left");
}

#[test]
fn a_stream_that_ends_while_its_records_wait_is_whole() {
    let mut world = serving(TlsOptions::default());
    let (_, id) = world.dial();
    let flight = last_flight(&mut world, id, 10, true, &mut two_turns);
    world.script.quota = 1;
    world.io().below().deliver(id, &flight);
    world.io().below().end(id);
    world.turns(20);
    assert_eq!(world.data(id).len(), 10);
    assert!(world.has(&Note::End(id)));
    assert_eq!(stats(&mut world).truncated, 0);
}

#[test]
fn a_stream_that_ends_while_its_records_wait_and_has_no_close_notify_is_cut() {
    let mut world = serving(TlsOptions::default());
    let (_, id) = world.dial();
    let flight = last_flight(&mut world, id, 10, false, &mut two_turns);
    world.script.quota = 1;
    world.io().below().deliver(id, &flight);
    world.io().below().end(id);
    world.turns(20);
    assert_eq!(world.data(id).len(), 10);
    assert!(closed(&world, id, ErrorKind::UnexpectedEof));
    assert_eq!(stats(&mut world).truncated, 1);
}

#[test]
fn a_stream_that_ends_while_its_handshake_waits_for_its_turn_is_whole() {
    let mut world = serving(TlsOptions::default().handshakes_per_turn(1));
    let ids: Vec<ConnId> = (0..4).map(|_| world.dial().1).collect();
    let flights: Vec<Vec<u8>> = ids
        .iter()
        .map(|id| last_flight(&mut world, *id, 2, true, &mut two_turns))
        .collect();
    for (id, flight) in ids.iter().zip(&flights) {
        world.io().below().deliver(*id, flight);
        world.io().below().end(*id);
    }
    world.turns(12);
    assert!(stats(&mut world).handshakes_delayed > 0);
    for id in ids {
        assert_eq!(world.data(id).concat(), [0, 1]);
        assert!(world.has(&Note::End(id)));
    }
    assert_eq!(stats(&mut world).handshake_failures, 0);
}

#[test]
fn records_of_one_connection_share_its_part_of_the_turn() {
    let mut world = serving(TlsOptions::default());
    let (id, mut peer) = dial(&mut world, common::client(None));
    let mut bytes = Vec::new();
    for n in 0..10 {
        peer.refresh_traffic_keys().unwrap();
        peer.writer().write_all(&[n]).unwrap();
        while peer.wants_write() {
            peer.write_tls(&mut bytes).unwrap();
        }
    }
    world.script.share = 2;
    world.io().below().deliver(id, &bytes);
    for turn in 1..=5 {
        world.turn();
        assert!(world.data(id).len() <= 2 * turn);
    }
    world.turns(10);
    let expected: Vec<Vec<u8>> = (0..10).map(|n| vec![n]).collect();
    assert_eq!(world.data(id), expected);
}

#[test]
fn a_key_that_is_used_up_by_published_messages_ends_the_connection() {
    use hioload_tls::record::Session;
    let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
    let mut world = serving(TlsOptions::default());
    let (id, mut peer) = dial(&mut world, common::client(Some(suite)));
    pump(&mut world, id, &mut peer).unwrap();
    let mut bytes = *world.io().layer().session(id).unwrap().export().unwrap();
    let at = bytes.len() - 8;
    bytes[at..].copy_from_slice(&((1u64 << 24) - 1).to_be_bytes());
    let session = Session::import(&bytes).unwrap();
    assert!(world.io().layer_mut().set_session(id, session));
    let publish = |world: &mut Tested| {
        let payload = hioload_mem::Shared::from(vec![1; 2000]).local();
        let sent = world.io().send_shared(id, payload, true);
        world.turns(2);
        sent
    };
    // Two records, of which the key seals one.
    assert!(publish(&mut world).is_ok());
    assert!(closed(&world, id, ErrorKind::ConnectionAborted));
    assert!(publish(&mut world).is_err());
}

/// The answer to a renegotiation is a warning (RFC 5246 §7.2.2), which no end of a stream replaces.
#[test]
fn a_client_that_wants_to_renegotiate_receives_a_warning_and_an_orderly_end() {
    use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
    let mut world = serving(TlsOptions::default());
    let (id, mut peer) = dial(&mut world, common::client(Some(suite)));
    let session = world.io().layer().session(id).unwrap();
    let (exported, seq) = (session.export().unwrap(), session.numbers().0);
    // The receiving half: 4 bytes before it, then secret, key, IV.
    let half = &exported[4..];
    let explicit = [9; 8];
    let nonce = [&half[80..84], &explicit].concat().try_into().unwrap();
    let mut sealed = vec![1, 0, 0, 0];
    let aad = [&seq.to_be_bytes()[..], &[22, 3, 3, 0, 4]].concat();
    LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &half[48..64]).unwrap())
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(aad),
            &mut sealed,
        )
        .unwrap();
    let header = [22, 3, 3, 0, explicit.len() as u8 + sealed.len() as u8];
    let record = [&header[..], &explicit, &sealed].concat();
    world.io().below().deliver(id, &record);
    pump(&mut world, id, &mut peer).unwrap();
    assert!(peer.process_new_packets().unwrap().peer_has_closed());
    assert_eq!(stats(&mut world).renegotiations_refused, 1);
}

#[test]
fn silent_connections_make_room_for_one_that_comes() {
    let mut world = serving(TlsOptions::default().handshakes(3));
    let (_, answered) = world.dial();
    world.io().below().deliver(answered, &hello());
    world.turns(2);
    let silent = [world.dial().1, world.dial().1];
    world.io().below().deliver(silent[0], &hello()[..100]);
    world.turns(2);
    for oldest in silent {
        let (id, _) = dial(&mut world, common::client(None));
        world.dial();
        world.turns(2);
        assert!(closed(&world, oldest, ErrorKind::TimedOut));
        assert!(!closed(&world, id, ErrorKind::TimedOut));
    }
    assert!(!closed(&world, answered, ErrorKind::TimedOut));
    assert_eq!(stats(&mut world).handshakes_refused, 0);
    assert!(stats(&mut world).handshakes_evicted >= 2);
    assert_eq!(stats(&mut world).handshakes_open, 3);
}

#[test]
fn handshakes_hold_no_more_memory_than_they_may() {
    let mut world = serving(TlsOptions::default().handshake_memory(32 << 10));
    let ids: Vec<ConnId> = (0..10).map(|_| world.dial().1).collect();
    for id in &ids {
        // A part of a record of 16 KiB.
        let mut bytes = vec![22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc];
        bytes.resize(9000, 0);
        world.io().below().deliver(*id, &bytes);
    }
    world.turns(3);
    let seen = stats(&mut world);
    assert!((6..10).contains(&seen.handshakes_over_memory), "{seen:?}");
    assert_eq!(seen.handshakes_open + seen.handshakes_over_memory, 10);
    let ended = ids.iter().filter(|id| {
        let sent = world.io().below().sent(**id);
        sent == [21, 3, 3, 0, 2, 2, 80]
    });
    assert_eq!(ended.count() as u64, seen.handshakes_over_memory);
    // Others are not affected, and what was ended is free again.
    dial(&mut world, common::client(None));
    for id in ids {
        world.io().abort(id);
    }
    world.turns(2);
    assert_eq!(stats(&mut world).handshakes_open, 0);
}

#[test]
fn a_client_hello_has_at_most_16_kib() {
    let mut world = serving(TlsOptions::default());
    let (_, id) = world.dial();
    let mut first = vec![22, 3, 1, 0x3f, 0, 1, 0, 0xff, 0];
    first.resize(5 + 0x3f00, 0);
    world.io().below().deliver(id, &first);
    world.turns(2);
    assert!(world.io().below().is_open(id));
    world.io().below().deliver(id, &first);
    world.turns(2);
    assert_eq!(world.io().below().sent(id), [21, 3, 3, 0, 2, 2, 50]);
    assert_eq!(stats(&mut world).handshakes_too_long, 1);
}

#[test]
fn a_connection_without_a_byte_is_no_failed_handshake() {
    let mut world = serving(TlsOptions::default());
    let (_, id) = world.dial();
    world.io().below().end(id);
    world.turns(2);
    assert!(!world.io().below().is_open(id));
    assert_eq!(stats(&mut world).handshake_failures, 0);
    let (_, id) = world.dial();
    world.io().below().deliver(id, &[22, 3]);
    world.turn();
    world.io().below().end(id);
    world.turns(2);
    assert_eq!(stats(&mut world).handshake_failures, 1);
}

/// A turn at `now`, and the time that the lcore may sleep after it.
pub(super) fn turn_at(world: &mut Tested, now: Time) -> Option<Duration> {
    let io = world.net.io();
    io.dispatch(&mut world.script, world.budget, now);
    io.flush(&mut world.script);
    io.wait(None).unwrap();
    io.below().last_wait().unwrap()
}

/// A pool without chunks: what waits for one does not keep the lcore awake, and is sent when there is one again.
#[test]
fn a_connection_that_waits_for_memory_does_not_keep_the_lcore_busy() {
    const RETRY: Duration = Duration::from_millis(1);
    let configs = Both {
        server: Some(Arc::new(common::server(None))),
        ..Both::default()
    };
    let setup = Setup {
        tiny: true,
        tx_chunks: 64,
        ..Setup::default()
    };
    let mut world = world_of(TlsOptions::default(), configs, setup);
    let (waiting, mut peer) = dial(&mut world, common::client(None));
    let others: Vec<ConnId> = (0..32).map(|_| world.dial().1).collect();
    let payload = hioload_mem::Shared::from(vec![7; 1500]).local();
    world.io().send_shared(waiting, payload, false).unwrap();
    // All chunks are theirs.
    let below = world.io().below();
    for id in &others {
        below.set_window(*id, 0);
        while let Ok(space) = below.send_space(*id, 1) {
            let n = space.len();
            below.commit(*id, n);
        }
    }
    assert_eq!(below.send_room(waiting), 0);
    world.io().finish(waiting);
    let mut now = world.clock.tick();
    turn_at(&mut world, now);
    for _ in 0..5 {
        now += RETRY;
        assert_eq!(turn_at(&mut world, now), Some(RETRY));
        assert!(world.io().below().peek_sent(waiting).is_empty());
        assert_eq!(world.io().queued(waiting), 1500, "it waits");
    }
    for id in others {
        world.io().abort(id);
    }
    for _ in 0..50 {
        now += RETRY;
        turn_at(&mut world, now);
    }
    assert!(world.io().below().finished(waiting));
    assert_eq!(pump(&mut world, waiting, &mut peer).unwrap(), [7; 1500]);
}

/// A server that verifies clients and has tickets, and a client with a certificate.
pub(super) fn mutual(suite: rustls::SupportedCipherSuite) -> (ServerConfig, ClientConfig) {
    let pair = rcgen::generate_simple_self_signed(vec!["client.example".to_owned()]).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(pair.cert.der().clone()).unwrap();
    let verifier = rustls::server::WebPkiClientVerifier::builder(Arc::new(roots))
        .build()
        .unwrap();
    let (certificate, key) = common::certificate();
    let mut server = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![certificate.clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.clone()).unwrap(),
        )
        .unwrap();
    server.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
    server.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(pair.signing_key.serialize_der()).unwrap();
    let client = ClientConfig::builder_with_protocol_versions(&[suite.version()])
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![pair.cert.der().clone()], key)
        .unwrap();
    (server, client)
}

#[test]
fn a_client_that_resumes_is_verified_again() {
    for suite in [common::suites()[0], common::suites()[3]] {
        for invalid in [None, Some(rustls::CertificateError::Expired)] {
            let (server, client) = mutual(suite);
            let configs = Both {
                server: Some(Arc::new(server)),
                invalid: invalid.clone(),
                ..Both::default()
            };
            let asked = Arc::clone(&configs.asked);
            let mut world = world(TlsOptions::default(), configs);
            let (id, mut peer) = dial(&mut world, client.clone());
            pump(&mut world, id, &mut peer).unwrap();
            assert!(world.io().certificate(id).is_some());
            assert_eq!(asked.load(Ordering::Relaxed), 0, "rustls has verified it");

            let (_, id) = world.dial();
            let mut peer = common::peer(client);
            let outcome = pump(&mut world, id, &mut peer);
            assert_eq!(asked.load(Ordering::Relaxed), 1);
            assert_eq!(stats(&mut world).resumed, 1);
            if invalid.is_none() {
                outcome.unwrap();
                assert!(world.io().certificate(id).is_some());
                continue;
            }
            let alert = Error::AlertReceived(AlertDescription::CertificateExpired);
            assert_eq!(outcome.unwrap_err(), alert);
            world.turns(2);
            assert!(closed(&world, id, ErrorKind::PermissionDenied));
            assert_eq!(stats(&mut world).resumptions_refused, 1);
        }
    }
}

/// The state of a connection is overwritten where it is, not only in the place that it is moved to.
#[cfg(target_os = "linux")]
#[test]
fn the_memory_of_a_connection_that_has_ended_has_no_secrets() {
    use std::os::unix::fs::FileExt;
    let mut world = serving(TlsOptions::default());
    let (id, _) = dial(&mut world, common::client(None));
    let session = world.io().layer().session(id).unwrap();
    let (at, len) = (std::ptr::from_ref(session).addr(), size_of_val(session));
    let exported = session.export().unwrap();
    let (receive, send) = (&exported[4..36], &exported[104..136]);
    let contains = || {
        let mut memory = vec![0; len];
        let own = std::fs::File::open("/proc/self/mem").unwrap();
        own.read_exact_at(&mut memory, at as u64).unwrap();
        [receive, send].map(|secret| {
            let mut parts = secret.windows(8);
            parts.any(|part| memory.windows(8).any(|bytes| bytes == part))
        })
    };
    assert_eq!(contains(), [true, true], "it is the right place");
    world.io().abort(id);
    world.turns(2);
    assert!(world.io().layer().session(id).is_none());
    assert_eq!(contains(), [false, false]);
}
