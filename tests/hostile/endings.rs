//! Peers that disappear in every state of a connection, and peers that never read.

use std::thread;
use std::time::Duration;

use crate::beside_a_bystander;
use crate::common::wire::{self, BINARY, CLOSE, CONTINUATION, FIN, PING, TEXT};
use crate::common::{Client, Server, eventually};

/// The states of a connection, and the bytes that lead to each.
fn states() -> Vec<(&'static str, Vec<u8>)> {
    let upgrade = wire::upgrade("/echo", &[]);
    let with = |more: &[u8]| [&upgrade, more].concat();
    let header = wire::header(FIN | BINARY, 70_000);
    vec![
        ("nothing said", Vec::new()),
        ("within the request", upgrade[..40].to_vec()),
        ("after the request", upgrade.clone()),
        ("within a frame's header", with(&header[..7])),
        ("after a frame's header", with(&header)),
        (
            "within a payload",
            with(&[&header[..], &[0; 30_000]].concat()),
        ),
        ("within a character", with(&wire::frame(TEXT, b"\xE2\x82"))),
        (
            "between fragments",
            with(&[wire::frame(TEXT, b"a"), wire::frame(CONTINUATION, b"b")].concat()),
        ),
        (
            "with echoes under way",
            with(&wire::frame(FIN | BINARY, &[1; 60_000]).repeat(20)),
        ),
        ("after a ping", with(&wire::frame(FIN | PING, b"?"))),
        ("after a Close", with(&wire::close(1000, ""))),
        (
            "after an error",
            with(&wire::frame(FIN | 0x70 | CLOSE, b"")),
        ),
    ]
}

/// The limit on connections is low, so that a leaked connection would soon block the others.
#[test]
fn a_reset_in_any_state_frees_everything() {
    beside_a_bystander(&["--max-connections", "8"], |server, bystander| {
        let before = server.held();
        for (state, said) in states() {
            println!("{state}");
            for pause in [0, 0, 0, 5, 20] {
                let mut client = connect_when_there_is_room(server);
                let _ = client.try_write(&said);
                thread::sleep(Duration::from_millis(pause)); // in some rounds the server reaches that state first
                client.reset();
            }
            bystander.is_served();
        }
        eventually("nothing of theirs is open", || server.held() <= before);
        connect_when_there_is_room(server)
            .upgraded("/echo", &[])
            .echo(TEXT, b"room for more");
    });
}

/// The server learns of a reset a moment later than we do: it may be full until then.
fn connect_when_there_is_room(server: &Server) -> Client {
    eventually("there is room", || {
        let health = Client::connect(server).ask_gently(&wire::request(&[
            "GET /healthz HTTP/1.1",
            "Host: localhost",
        ]));
        health.is_some_and(|response| response.status == 200)
    });
    Client::connect(server)
}

/// Requests before the end of the client's side are answered; then the server ends its side. No connection stays half open.
#[test]
fn a_half_closed_connection_is_answered_and_ended() {
    beside_a_bystander(&[], |server, bystander| {
        for (state, said) in states() {
            println!("{state}");
            let mut client = Client::connect(server);
            client.write(&said);
            client.finish();
            let upgraded = said.len() >= wire::upgrade("/echo", &[]).len();
            match client.try_response() {
                Ok(response) if upgraded => assert_eq!(response.status, 101),
                Ok(response) => assert!((400..500).contains(&response.status), "{response:?}"),
                Err(_) => assert!(!upgraded, "the answer to the handshake is missing"),
            }
            if upgraded {
                client.expect_end();
            }
            bystander.is_served();
        }

        let mut client = Client::connect(server);
        client.write(
            &[
                wire::upgrade("/echo", &[]),
                wire::frame(FIN | TEXT, b"last words"),
            ]
            .concat(),
        );
        client.finish();
        client.expect_upgrade();
        client.expect(FIN | TEXT, b"last words");
        let rest = client.expect_end();
        assert!(
            rest.iter().all(|frame| frame.first == FIN | CLOSE),
            "{rest:?}"
        );
    });
}

/// The server stops reading a client that sends and never reads, and its memory is bounded. Once the client reads, it gets all
/// echoes.
#[test]
fn the_server_does_not_read_a_client_that_never_reads() {
    const SENT: usize = 256 << 20;
    const BOUND: u64 = 64 << 20;
    beside_a_bystander(&[], |server, bystander| {
        let message = wire::noise(3, 50_000);
        let frame = wire::frame(FIN | BINARY, &message);
        let mut client = Client::open(server, "/echo");
        let before = server.memory();
        let written = client.write_until_stuck(&frame, SENT, Duration::from_secs(3));
        assert!(
            written < SENT,
            "the server took {written} bytes from a client that does not read: {}",
            server.counters()
        );
        bystander.is_served();
        let grown = server.peak_memory().saturating_sub(before);
        assert!(grown < BOUND, "the server grew by {grown} bytes");

        let mut reader = client.reader();
        let rest = frame[written % frame.len()..].to_vec();
        let writer = thread::spawn(move || {
            client.write(&rest);
            client.write(&wire::close(1000, ""));
            client
        });
        for _ in 0..=written / frame.len() {
            reader.expect(FIN | BINARY, &message);
        }
        reader.expect_close(1000);
        writer.join().expect("all was sent");
    });
}

/// The same with many at once that vanish in the end.
#[test]
fn many_clients_that_never_read_cost_bounded_memory() {
    const CLIENTS: u64 = 20;
    const EACH: u64 = 4 << 20;
    beside_a_bystander(&["--send-queue", "65536"], |server, bystander| {
        let frame = wire::frame(FIN | BINARY, &wire::noise(3, 50_000));
        let before = server.memory();
        let mut stuck = Vec::new();
        for _ in 0..CLIENTS {
            let mut client = Client::open(server, "/echo");
            client.write_until_stuck(&frame, 64 << 20, Duration::from_millis(300));
            stuck.push(client);
        }
        bystander.is_served();
        let grown = server.peak_memory().saturating_sub(before);
        assert!(grown < CLIENTS * EACH, "the server grew by {grown} bytes");
        let held = server.held();
        stuck.into_iter().for_each(Client::reset);
        eventually("nothing of theirs is open", || {
            server.held() <= held - CLIENTS as usize
        });
    });
}
