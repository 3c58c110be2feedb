//! The layer on the scripted transport: handshakes, their bounds, failures, and what it makes of records.
#![allow(clippy::unwrap_used)]

mod attacks;
#[path = "../common/mod.rs"]
#[allow(dead_code, unreachable_pub)]
mod common;
#[path = "../../../transport/tests/suite/mod.rs"]
#[allow(dead_code, unreachable_pub)]
mod suite;
mod threads;

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hioload_tls::record::Version;
use hioload_tls::{Configs, HandshakeThreads, Tls, TlsOptions, TlsStats};
use hioload_transport::layer::Layered;
use hioload_transport::{Closed, ConnId, Connections, Endpoint, Transport};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, ConnectionCommon, Error, ServerConfig,
    ServerConnection,
};
use suite::layers::Wrap;
use suite::over_script::FakeHarness;
use suite::receiving::{echo_all, pattern};
use suite::world::{Note, Setup, World, all, write};

thread_local! {
    static OPTIONS: RefCell<TlsOptions> = RefCell::new(TlsOptions::default());
    static CONFIGS: RefCell<Both> = RefCell::new(Both::default());
    static THREADS: RefCell<Option<HandshakeThreads>> = const { RefCell::new(None) };
}

/// Configurations of both roles.
#[derive(Clone, Default)]
struct Both {
    server: Option<Arc<ServerConfig>>,
    client: Option<Arc<ClientConfig>>,
    /// What is wrong with clients whose sessions are resumed, and how often that was asked.
    invalid: Option<rustls::CertificateError>,
    asked: Arc<std::sync::atomic::AtomicUsize>,
    /// Whether the sessions of clients are not kept.
    forgets: bool,
}

impl Configs for Both {
    fn server(&mut self) -> Option<Arc<ServerConfig>> {
        self.server.clone()
    }
    fn client(&mut self, _: &Endpoint) -> Option<(Arc<ClientConfig>, ServerName<'static>)> {
        Some((self.client.clone()?, common::name()))
    }
    fn keeps_sessions(&self) -> bool {
        !self.forgets
    }
    fn verify_resumed(&mut self, chain: &[CertificateDer<'static>]) -> Result<(), Error> {
        assert!(!chain.is_empty());
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.invalid
            .clone()
            .map_or(Ok(()), |why| Err(Error::InvalidCertificate(why)))
    }
}

struct ThroughTls;

impl Wrap for ThroughTls {
    type Io<T: Transport + 'static> = Layered<T, Tls>;
    fn wrap<T: Transport + 'static>(io: T) -> Self::Io<T> {
        let (options, configs) = (OPTIONS.take(), CONFIGS.take());
        let tls = Tls::new(options, Box::new(configs));
        let tls = match THREADS.take() {
            Some(threads) => tls.threads(&threads),
            None => tls,
        };
        Layered::new(io, tls)
    }
    fn below<T: Transport + 'static>(io: &mut Self::Io<T>) -> &mut T {
        io.below()
    }
}

type Tested = World<FakeHarness<true, ThroughTls>>;

fn world(options: TlsOptions, configs: Both) -> Tested {
    world_of(options, configs, Setup::default())
}

fn world_of(options: TlsOptions, configs: Both, setup: Setup) -> Tested {
    OPTIONS.set(options);
    CONFIGS.set(configs);
    Tested::new(setup)
}

fn serving(options: TlsOptions) -> Tested {
    let server = Some(Arc::new(common::server(None)));
    let configs = Both {
        server,
        ..Both::default()
    };
    world(options, configs)
}

fn stats(world: &mut Tested) -> TlsStats {
    world.io().layer().stats()
}

/// Moves bytes between a peer and the transport, with turns, until nothing moves; returns what the peer read.
fn pump<D>(
    world: &mut Tested,
    id: ConnId,
    peer: &mut ConnectionCommon<D>,
) -> Result<Vec<u8>, Error> {
    let mut content = Vec::new();
    let mut quiet = 0;
    while quiet < 3 {
        quiet += 1;
        let mut out = Vec::new();
        while peer.wants_write() {
            peer.write_tls(&mut out).unwrap();
            quiet = 0;
        }
        world.io().below().deliver(id, &out);
        world.turn();
        let bytes = world.io().below().sent(id);
        let mut bytes = &bytes[..];
        while !bytes.is_empty() {
            quiet = 0;
            peer.read_tls(&mut bytes).unwrap();
            peer.process_new_packets()?;
            let mut chunk = [0; 4096];
            while let Ok(n @ 1..) = peer.reader().read(&mut chunk) {
                content.extend_from_slice(&chunk[..n]);
            }
        }
    }
    Ok(content)
}

/// A peer with a complete handshake.
fn dial(world: &mut Tested, config: ClientConfig) -> (ConnId, ClientConnection) {
    let (_, id) = world.dial();
    let mut peer = common::peer(config);
    pump(world, id, &mut peer).unwrap();
    assert!(!peer.is_handshaking());
    (id, peer)
}

fn closed(world: &Tested, id: ConnId, kind: ErrorKind) -> bool {
    world.has(&Note::Closed(id, Closed::Failed(kind)))
}

#[test]
fn a_plain_http_request_is_answered_by_a_400() {
    for request in [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        for piece in [1, 100] {
            let mut world = serving(TlsOptions::default());
            let (_, id) = world.dial();
            for part in request.as_bytes().chunks(piece) {
                world.io().below().deliver(id, part);
                world.turn();
            }
            world.turns(2);
            let answer = String::from_utf8(world.io().below().sent(id)).unwrap();
            assert!(
                answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
                "{answer}"
            );
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}", body.len())));
            assert!(body.contains("TLS") && body.contains("wss://"));
            assert!(closed(&world, id, ErrorKind::InvalidData));
            assert!(world.data(id).is_empty());
            assert_eq!(stats(&mut world).plain_http, 1);
        }
    }
}

#[test]
fn what_is_not_tls_is_closed_without_an_answer() {
    for bytes in [&b"SSH-2.0-x\r\n"[..], &[22, 2, 0, 0, 1, 0], &[0; 100]] {
        let mut world = serving(TlsOptions::default());
        let (_, id) = world.dial();
        world.io().below().deliver(id, bytes);
        world.turns(3);
        assert!(world.io().below().sent(id).is_empty());
        assert!(closed(&world, id, ErrorKind::InvalidData));
        assert_eq!(stats(&mut world).not_tls, 1);
    }
}

#[test]
fn a_broken_client_hello_gets_an_alert() {
    let mut world = serving(TlsOptions::default());
    let (_, id) = world.dial();
    world
        .io()
        .below()
        .deliver(id, &[22, 3, 1, 0, 5, 1, 0, 0, 1, 9]);
    world.turns(3);
    let sent = world.io().below().sent(id);
    assert!(matches!(sent[..], [21, 3, _, 0, 2, 2, _]), "{sent:?}");
    assert!(closed(&world, id, ErrorKind::InvalidData));
    assert_eq!(stats(&mut world).handshake_failures, 1);
    assert_eq!(stats(&mut world).handshakes_open, 0);
}

#[test]
fn an_oversized_or_endless_handshake_is_ended() {
    let mut world = serving(TlsOptions::default());
    let (_, oversized) = world.dial();
    world
        .io()
        .below()
        .deliver(oversized, &[22, 3, 1, 0xff, 0xff]);
    world.turns(3);
    assert!(closed(&world, oversized, ErrorKind::InvalidData));
    assert_eq!(
        world.io().below().sent(oversized),
        [21, 3, 3, 0, 2, 2, 22],
        "record_overflow"
    );
    assert_eq!(stats(&mut world).oversized_records, 1);

    // A ClientHello of 64 KiB, in records of 20 bytes: the number of records is bounded.
    let (_, id) = world.dial();
    let mut bytes = vec![22, 3, 1, 0, 4, 1, 0, 0xff, 0xff];
    for _ in 0..3000 {
        bytes.extend_from_slice(&[22, 3, 1, 0, 20]);
        bytes.extend_from_slice(&[0; 20]);
    }
    for part in bytes.chunks(4000) {
        world.io().below().deliver(id, part);
        world.turn();
    }
    world.turns(5);
    assert!(closed(&world, id, ErrorKind::InvalidData));
    assert_eq!(stats(&mut world).handshake_failures, 2);
    assert_eq!(stats(&mut world).handshakes_too_long, 1);
    assert_eq!(
        world.io().below().sent(id),
        [21, 3, 3, 0, 2, 2, 50],
        "decode_error"
    );
}

#[test]
fn a_handshake_that_takes_too_long_is_ended() {
    let mut world = serving(TlsOptions::default().handshake_timeout(Duration::ZERO));
    let (_, id) = world.dial();
    world.turns(2);
    assert!(closed(&world, id, ErrorKind::TimedOut));
    assert_eq!(stats(&mut world).handshake_timeouts, 1);
    assert_eq!(stats(&mut world).handshakes_open, 0);
}

#[test]
fn a_turn_makes_as_many_steps_of_handshakes_as_it_may() {
    let mut world = serving(TlsOptions::default().handshakes_per_turn(2));
    let ids: Vec<ConnId> = (0..10).map(|_| world.dial().1).collect();
    for id in &ids {
        let mut peer = common::peer(common::client(None));
        let mut hello = Vec::new();
        peer.write_tls(&mut hello).unwrap();
        world.io().below().deliver(*id, &hello);
    }
    let answered = |world: &mut Tested| {
        let below = world.io().below();
        ids.iter()
            .filter(|id| !below.peek_sent(**id).is_empty())
            .count()
    };
    for turn in 1..=5 {
        let activity = world.turn();
        assert_eq!(answered(&mut world), 2 * turn);
        assert_eq!(activity.more, turn < 5);
    }
    assert_eq!(stats(&mut world).handshakes_delayed, 8);
}

#[test]
fn connections_beyond_the_bound_of_handshakes_are_refused() {
    let mut world = serving(TlsOptions::default().handshakes(2));
    let first = dial(&mut world, common::client(None));
    // Each has sent a whole record and waits for the server's answer to be read.
    let waiting = [world.dial().1, world.dial().1];
    for id in waiting {
        let mut hello = Vec::new();
        common::peer(common::client(None))
            .write_tls(&mut hello)
            .unwrap();
        world.io().below().deliver(id, &hello);
        world.turns(2);
    }
    world.net_dial_and_turn();
    assert_eq!(stats(&mut world).handshakes_refused, 1);
    assert_eq!(stats(&mut world).handshakes_open, 2);
    world.io().abort(waiting[0]);
    world.turn();
    let second = dial(&mut world, common::client(None));
    assert!(first.0 != second.0);
}

trait DialOnly {
    fn net_dial_and_turn(&mut self);
}

impl DialOnly for Tested {
    fn net_dial_and_turn(&mut self) {
        use suite::world::Harness;
        self.net.dial();
        self.turns(2);
    }
}

#[test]
fn every_suite_and_version_works_in_any_pieces() {
    for suite in common::suites() {
        for piece in [1, 9, 1460] {
            let mut world = serving(TlsOptions::default());
            world.script.on_data = Box::new(echo_all);
            let (id, mut peer) = dial(&mut world, common::client(Some(suite)));
            let message = pattern(3000);
            peer.writer().write_all(&message).unwrap();
            let mut bytes = Vec::new();
            peer.write_tls(&mut bytes).unwrap();
            for part in bytes.chunks(piece) {
                world.io().below().deliver(id, part);
                world.turn();
            }
            assert!(pump(&mut world, id, &mut peer).unwrap() == message);
            let seen = stats(&mut world);
            assert_eq!((seen.records_in_place, seen.records_gathered), (0, 1));
            let version = world.io().layer().session(id).unwrap().version();
            let is_tls13 = suite.version().version == rustls::ProtocolVersion::TLSv1_3;
            assert_eq!(version == Version::Tls13, is_tls13);
        }
    }
}

#[test]
fn replies_of_a_turn_share_a_record_and_whole_records_are_opened_in_place() {
    let mut world = serving(TlsOptions::default());
    world.script.on_data = Box::new(echo_all);
    let (id, mut peer) = dial(&mut world, common::client(None));
    let before = stats(&mut world);
    let mut bytes = Vec::new();
    for n in 0..16 {
        peer.writer().write_all(&[n; 64]).unwrap();
        peer.write_tls(&mut bytes).unwrap();
    }
    world.io().below().deliver(id, &bytes);
    assert_eq!(pump(&mut world, id, &mut peer).unwrap().len(), 16 * 64);
    let after = stats(&mut world);
    assert_eq!(after.records_in_place - before.records_in_place, 16);
    assert_eq!(after.records_sent - before.records_sent, 1);
    assert_eq!(after.keys_expanded, 2);
}

/// An lcore without other work wakes up for it ten times a second, for twice the ten seconds that a key may be unused, and then no more.
#[test]
fn a_silent_connection_keeps_no_expanded_key() {
    let mut world = serving(TlsOptions::default());
    world.script.on_data = Box::new(echo_all);
    let (id, mut peer) = dial(&mut world, common::client(None));
    peer.writer().write_all(b"once").unwrap();
    assert_eq!(pump(&mut world, id, &mut peer).unwrap(), b"once");
    assert_eq!(stats(&mut world).keys_expanded, 2);
    let began = world.clock.tick();
    let (mut now, mut wakes) = (began, 0);
    while let Some(sleep) = attacks::turn_at(&mut world, now) {
        now += sleep;
        wakes += 1;
        assert!(
            wakes <= 210,
            "still awake after {:?}",
            now.saturating_sub(began)
        );
    }
    assert!(wakes > 100, "freed after {:?}", now.saturating_sub(began));
    peer.writer().write_all(b"again").unwrap();
    assert_eq!(pump(&mut world, id, &mut peer).unwrap(), b"again");
    assert_eq!(stats(&mut world).keys_expanded, 4);
}

#[test]
fn records_are_short_while_a_connection_is_young() {
    let mut world = serving(TlsOptions::default());
    let (id, mut peer) = dial(&mut world, common::client(None));
    let sent = |world: &mut Tested, bytes: usize| {
        let before = stats(world).records_sent;
        write(world.io(), id, &pattern(bytes));
        world.turn();
        stats(world).records_sent - before
    };
    assert!(sent(&mut world, 64 << 10) >= 45);
    assert!(sent(&mut world, 64 << 10) <= 8);
    assert_eq!(pump(&mut world, id, &mut peer).unwrap().len(), 128 << 10);
}

#[test]
fn keys_change_in_both_directions_and_the_echo_goes_on() {
    let mut world = serving(TlsOptions::default());
    world.script.on_data = Box::new(echo_all);
    let (id, mut peer) = dial(&mut world, common::client(None));
    for n in 1..=5 {
        peer.refresh_traffic_keys().unwrap();
        peer.writer().write_all(b"again").unwrap();
        assert_eq!(pump(&mut world, id, &mut peer).unwrap(), b"again");
        assert_eq!(stats(&mut world).key_updates_received, n);
        assert_eq!(stats(&mut world).key_updates_sent, n, "each was requested");
    }
}

#[test]
fn a_record_that_does_not_decrypt_ends_the_connection_after_those_before_it() {
    let mut world = serving(TlsOptions::default());
    world.script.on_data = Box::new(echo_all);
    let (id, mut peer) = dial(&mut world, common::client(None));
    let mut bytes = Vec::new();
    for message in [&b"good"[..], b"forged", b"behind"] {
        peer.writer().write_all(message).unwrap();
        peer.write_tls(&mut bytes).unwrap();
    }
    let forged = 5 + 4 + 17 + 8;
    bytes[forged] ^= 1;
    world.io().below().deliver(id, &bytes);
    world.turns(3);
    assert_eq!(world.data(id), [b"good"]);
    assert!(closed(&world, id, ErrorKind::InvalidData));
    assert_eq!(stats(&mut world).bad_records, 1);
    let sent = world.io().below().sent(id);
    peer.read_tls(&mut &sent[..]).unwrap();
    let error = peer.process_new_packets().unwrap_err();
    assert_eq!(error, Error::AlertReceived(AlertDescription::BadRecordMac));
    let mut echo = [0; 10];
    assert_eq!(
        peer.reader().read(&mut echo).unwrap(),
        4,
        "the answer before"
    );
}

#[test]
fn a_stream_cut_without_a_close_notify_is_an_error_and_with_one_an_end() {
    let mut world = serving(TlsOptions::default());
    let (cut, mut peer) = dial(&mut world, common::client(None));
    peer.writer().write_all(b"partial").unwrap();
    pump(&mut world, cut, &mut peer).unwrap();
    world.io().below().end(cut);
    world.turns(3);
    assert!(closed(&world, cut, ErrorKind::UnexpectedEof));
    assert!(!world.has(&Note::End(cut)));
    assert_eq!(stats(&mut world).truncated, 1);

    let (id, mut peer) = dial(&mut world, common::client(None));
    peer.send_close_notify();
    pump(&mut world, id, &mut peer).unwrap();
    assert!(world.has(&Note::End(id)));
    world.io().below().end(id);
    write(world.io(), id, b"last");
    world.io().close(id);
    assert_eq!(pump(&mut world, id, &mut peer).unwrap(), b"last");
    assert!(peer.process_new_packets().unwrap().peer_has_closed());
    assert!(world.has(&Note::Closed(id, Closed::Flushed)));
}

#[test]
fn a_fatal_alert_of_the_peer_ends_the_connection() {
    let mut world = serving(TlsOptions::default());
    let (id, _) = dial(&mut world, common::client(None));
    // In the clear, as no peer with keys sends it.
    world.io().below().deliver(id, &[21, 3, 3, 0, 2, 2, 40]);
    world.turns(3);
    assert!(closed(&world, id, ErrorKind::InvalidData));
    assert_eq!(stats(&mut world).unexpected_messages, 1);
}

#[test]
fn what_is_written_before_the_handshake_is_complete_is_sent_after_it() {
    let mut world = serving(TlsOptions::default());
    world.script.on_accept = Box::new(|io, id| {
        assert!(io.send_room(id) > 1000);
        write(io, id, b"early");
        assert_eq!(io.queued(id), 5);
    });
    let (_, id) = world.dial();
    world.turns(2);
    assert!(world.io().below().sent(id).is_empty());
    let mut peer = common::peer(common::client(None));
    assert_eq!(pump(&mut world, id, &mut peer).unwrap(), b"early");
}

#[test]
fn content_that_comes_with_the_end_of_the_handshake_is_presented() {
    for pieces in [1, 2] {
        let mut world = serving(TlsOptions::default());
        world.script.on_data = Box::new(echo_all);
        let (_, id) = world.dial();
        let mut peer = common::peer(common::client(None));
        let mut out = Vec::new();
        peer.write_tls(&mut out).unwrap();
        world.io().below().deliver(id, &out);
        world.turns(2);
        let flight = world.io().below().sent(id);
        peer.read_tls(&mut &flight[..]).unwrap();
        peer.process_new_packets().unwrap();
        peer.writer().write_all(b"at once").unwrap();
        out.clear();
        while peer.wants_write() {
            peer.write_tls(&mut out).unwrap();
        }
        let (first, second) = out.split_at(out.len() - 3 * (pieces - 1));
        world.io().below().deliver(id, first);
        world.turn();
        world.io().below().deliver(id, second);
        assert_eq!(pump(&mut world, id, &mut peer).unwrap(), b"at once");
    }
}

#[test]
fn a_client_connects_resumes_and_sends() {
    connects(false, [0, 1, 2]);
}

#[test]
fn a_client_that_keeps_no_sessions_connects_and_sends() {
    connects(true, [0, 0, 0]);
}

/// Connections of a client to one server, after each of which so many sessions have been resumed.
fn connects(forgets: bool, expected: [u64; 3]) {
    let mut server = common::server(None);
    server.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
    let server = Arc::new(server);
    let client = Some(Arc::new(common::client(None)));
    let configs = Both {
        client,
        forgets,
        ..Both::default()
    };
    let mut world = world(TlsOptions::default(), configs);
    let to: Endpoint = Endpoint::Tcp("192.0.2.1:443".parse().unwrap());
    for resumed in expected {
        let id = world.io().connect(&to).unwrap();
        world.io().below().connect_outcome(id, Ok(()));
        let mut peer = ServerConnection::new(Arc::clone(&server)).unwrap();
        world.turn();
        assert!(
            !world.has(&Note::Connect(id, Ok(()))),
            "not before the handshake"
        );
        pump(&mut world, id, &mut peer).unwrap();
        assert!(world.has(&Note::Connect(id, Ok(()))));
        assert_eq!(peer.server_name(), Some("localhost"));
        assert_eq!(peer.alpn_protocol(), None, "this server names no protocol");
        assert_eq!(stats(&mut world).resumed, resumed);
        write(world.io(), id, b"request");
        assert_eq!(pump(&mut world, id, &mut peer).unwrap(), b"request");
        peer.writer().write_all(b"answer").unwrap();
        pump(&mut world, id, &mut peer).unwrap();
        assert_eq!(world.data(id).concat(), b"answer");
        world.io().close(id);
        world.turns(2);
    }
}

#[test]
fn a_connect_fails_if_the_server_has_another_name_or_ends() {
    let mut config = common::client(None);
    config.dangerous().set_certificate_verifier(
        rustls::client::WebPkiServerVerifier::builder(Arc::new({
            let mut roots = rustls::RootCertStore::empty();
            let other = rcgen::generate_simple_self_signed(vec!["other".to_owned()]).unwrap();
            roots.add(other.cert.der().clone()).unwrap();
            roots
        }))
        .build()
        .unwrap(),
    );
    let configs = Both {
        client: Some(Arc::new(config)),
        ..Both::default()
    };
    let mut world = world(TlsOptions::default(), configs);
    let to: Endpoint = Endpoint::Tcp("192.0.2.1:443".parse().unwrap());
    let id = world.io().connect(&to).unwrap();
    world.io().below().connect_outcome(id, Ok(()));
    let mut peer = ServerConnection::new(Arc::new(common::server(None))).unwrap();
    let error = pump(&mut world, id, &mut peer).unwrap_err();
    assert!(matches!(error, Error::AlertReceived(_)), "{error}");
    world.turns(2);
    assert!(world.has(&Note::Connect(id, Err(ErrorKind::InvalidData))));

    let id = world.io().connect(&to).unwrap();
    world.io().below().connect_outcome(id, Ok(()));
    world.turns(2);
    world.io().below().end(id);
    world.turns(2);
    assert!(world.has(&Note::Connect(id, Err(ErrorKind::UnexpectedEof))));
    assert_eq!(stats(&mut world).handshakes_open, 0);
}

/// With TLS 1.3 a client has completed its handshake before the server examines its certificate.
#[test]
fn the_alert_of_a_server_that_refuses_a_client_is_known_until_the_connection_is_closed() {
    let suite = common::suites()[0];
    let (server, _) = attacks::mutual(suite);
    let configs = Both {
        client: Some(Arc::new(common::client(Some(suite)))),
        ..Both::default()
    };
    let mut world = world(TlsOptions::default(), configs);
    let to: Endpoint = Endpoint::Tcp("192.0.2.1:443".parse().unwrap());
    let id = world.io().connect(&to).unwrap();
    world.io().below().connect_outcome(id, Ok(()));
    let mut peer = ServerConnection::new(Arc::new(server)).unwrap();
    pump(&mut world, id, &mut peer).unwrap_err();
    assert!(world.has(&Note::Connect(id, Ok(()))));
    assert!(world.io().failure(id).is_none());
    let mut alert = Vec::new();
    while peer.wants_write() {
        peer.write_tls(&mut alert).unwrap();
    }
    world.io().below().deliver(id, &alert);
    world.turns(3);
    assert!(closed(&world, id, ErrorKind::ConnectionAborted));
    assert_eq!(
        world.script.failures,
        ["received fatal alert: CertificateRequired"]
    );
    assert!(world.io().failure(id).is_none());
}

#[test]
fn a_connection_without_a_configuration_is_plain() {
    let mut world = world(TlsOptions::default(), Both::default());
    world.script.on_data = Box::new(echo_all);
    let (_, id) = world.dial();
    world.io().below().deliver(id, b"plain");
    world.turns(2);
    assert_eq!(world.io().below().sent(id), b"plain");
    assert!(world.io().layer().session(id).is_none());
}

#[test]
fn unfinished_records_beyond_the_bound_wait_in_the_transport() {
    let mut world = serving(TlsOptions::default().gathered(1));
    world.script.on_data = Box::new(|_, _, data| all(data));
    let mut peers: Vec<_> = (0..3)
        .map(|_| dial(&mut world, common::client(None)))
        .collect();
    let mut rests = Vec::new();
    for (id, peer) in &mut peers {
        peer.writer().write_all(&[1; 500]).unwrap();
        let mut bytes = Vec::new();
        peer.write_tls(&mut bytes).unwrap();
        world.io().below().deliver(*id, &bytes[..300]);
        rests.push(bytes.split_off(300));
    }
    world.turns(3);
    for ((id, _), rest) in peers.iter().zip(&rests) {
        world.io().below().deliver(*id, rest);
    }
    world.turns(3);
    for (id, _) in &peers {
        assert_eq!(world.data(*id).concat(), [1; 500]);
    }
    assert_eq!(stats(&mut world).records_gathered, 3);
}

#[test]
fn the_secrets_of_a_connection_are_not_printed() {
    let mut world = serving(TlsOptions::default());
    let (id, _) = dial(&mut world, common::client(None));
    let exported = world.io().layer().session(id).unwrap().export().unwrap();
    let layer = world.io().layer();
    let printed = format!("{layer:?} {:?}", layer.session(id));
    for secret in exported[4..].windows(3).filter(|part| part[0] > 9) {
        let bytes = format!("{}, {}, {}", secret[0], secret[1], secret[2]);
        assert!(!printed.contains(&bytes));
    }
}
