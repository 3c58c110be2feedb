//! SIGTERM: every connection gets a Close, a health probe gets 503, and the process ends with code 0, whatever the peers do.

use crate::common::wire::{self, TEXT};
use crate::common::{Client, Server, eventually};

const HEALTH: [&str; 2] = ["GET /healthz HTTP/1.1", "Host: localhost"];

#[test]
fn every_connection_is_closed_with_1001() {
    let mut server = Server::start(&["--drain-jitter", "500ms"]);
    let mut clients: Vec<_> = (0..50).map(|_| Client::open(&server, "/echo")).collect();
    clients
        .iter_mut()
        .for_each(|client| client.echo(TEXT, b"before"));
    server.terminate();
    clients
        .iter_mut()
        .for_each(|client| client.expect_close(1001));
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn without_connections_a_drain_ends_at_once() {
    let mut server = Server::start(&["--drain-jitter", "1h", "--drain-deadline", "2h"]);
    server.terminate();
    assert_eq!(server.wait().code(), Some(0));
}

/// Peers that do not answer the Close, or that never sent anything, are reset at the deadline.
#[test]
fn clients_that_ignore_the_close_do_not_delay_the_end() {
    let mut server = Server::start(&[
        "--drain-jitter",
        "0",
        "--drain-deadline",
        "1s",
        "--close-timeout",
        "1h",
    ]);
    let mut stubborn = Client::open(&server, "/echo");
    let _silent = Client::connect(&server);
    let mut half = Client::open(&server, "/echo");
    half.write(&wire::header(wire::FIN | TEXT, 1000));
    server.terminate();
    assert_eq!(
        stubborn.closing().payload.first_chunk(),
        Some(&1001_u16.to_be_bytes())
    );
    assert_eq!(server.wait().code(), Some(0));
    stubborn.expect_end();
}

/// While the server waits for the last connection, `/healthz` answers 503 and upgrades are refused.
#[test]
fn a_draining_server_answers_503_and_accepts_no_upgrade() {
    let mut server = Server::start(&[
        "--drain-jitter",
        "0",
        "--drain-deadline",
        "10m",
        "--close-timeout",
        "10m",
        "--handshake-timeout",
        "10m",
    ]);
    let mut stubborn = Client::open(&server, "/echo");
    let mut probe = Client::connect(&server);
    let mut late = Client::connect(&server);
    assert_eq!(
        Client::connect(&server).ask(&wire::request(&HEALTH)).status,
        200
    );
    server.terminate();
    assert_eq!(
        stubborn.closing().payload.first_chunk(),
        Some(&1001_u16.to_be_bytes())
    );

    assert_eq!(probe.ask(&wire::request(&HEALTH)).status, 503);
    let refused = late.ask_gently(&wire::upgrade("/echo", &[]));
    assert!(
        refused.is_none_or(|response| response.status == 503),
        "an upgrade was granted"
    );
    assert!(
        server.is_running(),
        "the server waits for the last connection"
    );

    stubborn.write(&wire::close(1001, ""));
    stubborn.expect_end();
    assert_eq!(server.wait().code(), Some(0));
}

/// A second signal ends the server at once, with open connections.
#[test]
fn a_second_signal_ends_the_server_at_once() {
    let mut server = Server::start(&[
        "--drain-jitter",
        "0",
        "--drain-deadline",
        "1h",
        "--close-timeout",
        "1h",
    ]);
    let mut stubborn = Client::open(&server, "/echo");
    server.terminate();
    assert_eq!(
        stubborn.closing().payload.first_chunk(),
        Some(&1001_u16.to_be_bytes())
    );
    server.terminate();
    assert_eq!(server.wait().code(), Some(0));
    stubborn.expect_end();
}

/// Messages that were sent before the signal are answered before the Close.
#[test]
fn messages_sent_before_the_drain_are_answered() {
    let mut server = Server::start(&["--drain-jitter", "200ms"]);
    let mut client = Client::open(&server, "/echo");
    for n in 0..100_u32 {
        client.write(&wire::frame(wire::FIN | wire::BINARY, &n.to_be_bytes()));
    }
    client.expect(wire::FIN | wire::BINARY, &0_u32.to_be_bytes());
    server.terminate();
    for n in 1..100_u32 {
        client.expect(wire::FIN | wire::BINARY, &n.to_be_bytes());
    }
    client.expect_close(1001);
    assert_eq!(server.wait().code(), Some(0));
    if server.is_here() {
        eventually("the port is free", || {
            std::net::TcpListener::bind(server.addr()).is_ok()
        });
    }
}
