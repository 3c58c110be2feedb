//! Every limit that an operator can set: beyond it the documented response, and no effect on other connections.

use std::fs;
use std::time::Duration;

use crate::beside_a_bystander;
use crate::common::wire::{self, BINARY, CONTINUATION, FIN, PING, PONG, TEXT};
use crate::common::{Bystander, Client, Got, Server, eventually};

/// The refusal precedes the payload: the client sends only the header.
#[test]
fn a_message_over_the_limit_is_refused_at_its_header() {
    beside_a_bystander(&["--max-message", "65536"], |server, _| {
        for len in [65_537, 1 << 20, 1 << 40, (1 << 63) - 1] {
            let mut client = Client::open(server, "/echo");
            client.write(&wire::header(FIN | BINARY, len));
            client.expect_close(1009);
        }
        // The sum of the fragments counts.
        let mut client = Client::open(server, "/echo");
        client.write(&wire::frame(BINARY, &[0; 65_000]));
        client.write(&wire::header(CONTINUATION, 537));
        client.expect_close(1009);

        assert_eq!(server.counter("messages_too_big"), 5);

        Client::open(server, "/echo").echo(BINARY, &wire::noise(1, 65_536));
    });
}

#[test]
fn beyond_the_connection_limit_the_answer_is_503() {
    beside_a_bystander(&["--max-connections", "5"], |server, _| {
        let mut others: Vec<_> = (0..4).map(|_| Client::open(server, "/echo")).collect();
        for _ in 0..10 {
            let response = Client::connect(server).ask(&wire::upgrade("/echo", &[]));
            assert_eq!(response.status, 503);
            assert!(response.header("retry-after").is_some(), "{response:?}");
        }
        others
            .iter_mut()
            .for_each(|client| client.echo(TEXT, b"not me"));
        others.pop();
        eventually("the slot is free again", || {
            is_let_in(Client::connect(server))
        });
        others.clear();
        eventually("all of them are free", || {
            is_let_in(Client::connect(server))
        });
        assert!(server.counter("rejected_connections") >= 10);
    });
}

/// Whether an upgrade is granted now.
fn is_let_in(mut client: Client) -> bool {
    client
        .ask_gently(&wire::upgrade("/echo", &[]))
        .is_some_and(|response| response.status == 101)
}

#[test]
fn one_source_cannot_use_all_connections() {
    beside_a_bystander(&["--max-connections-per-source", "3"], |server, _| {
        let source = |nth| server.source(nth);
        let greedy: Vec<_> = (0..3)
            .map(|_| Client::connect_as(server, source(2), 0).upgraded("/echo", &[]))
            .collect();
        let refused = Client::connect_as(server, source(2), 0).ask(&wire::upgrade("/echo", &[]));
        assert_eq!(refused.status, 503);
        Client::connect_as(server, source(3), 0)
            .upgraded("/echo", &[])
            .echo(TEXT, b"from elsewhere");
        assert_eq!(server.counter("rejected_source"), 1);
        drop(greedy);
        eventually("its slots are free again", || {
            is_let_in(Client::connect_as(server, source(2), 0))
        });
    });
}

/// Connections beyond the rate wait in the backlog; none is refused.
#[test]
fn a_burst_beyond_the_accept_rate_waits_in_the_backlog() {
    beside_a_bystander(&["--accept-rate", "50"], |server, bystander| {
        let burst: Vec<_> = (0..120).map(|_| Client::connect(server)).collect();
        bystander.is_served();
        for client in burst {
            client.upgraded("/echo", &[]).echo(TEXT, b"at last");
        }
        assert!(server.counter("accept_throttled") > 0);
    });
}

#[test]
fn beyond_the_message_rate_the_connection_is_closed_1008() {
    let mut server = Server::start(&["--message-rate", "50"]);
    let bystander = Bystander::with(Client::open(&server, "/echo"), Duration::from_millis(100));
    for first in [FIN | TEXT, FIN | PING] {
        let mut client = Client::open(&server, "/echo");
        let _ = client.try_write(&wire::frame(first, b"x").repeat(2000));
        client.expect_close(1008);
        bystander.is_served();
    }
    assert_eq!(server.counter("rate_exceeded"), 2);
    bystander.finish();
    server.terminate();
    assert_eq!(server.wait().code(), Some(0));
}

/// Without a bystander: a pause of the machine would close it too.
#[test]
fn a_silent_connection_is_pinged_and_then_closed() {
    let server = Server::start(&["--ping-interval", "200ms", "--idle-timeout", "2s"]);
    let mut silent = Client::open(&server, "/echo");
    let mut pings = 0;
    let close = loop {
        match silent.next() {
            Got::Frame(frame) if frame.first == FIN | PING => pings += 1,
            Got::Frame(frame) => break frame,
            end => panic!("expected a Close frame, got {end:?}"),
        }
    };
    assert!(pings > 0, "no ping before the end");
    assert_eq!(
        close.payload.first_chunk(),
        Some(&1001_u16.to_be_bytes()),
        "{close:?}"
    );
    assert_eq!(server.counter("idle_timeouts"), 1);
    // Pongs are enough to stay. For the same reason as above, there is more than one try.
    assert!(
        (0..5).any(|_| stays_by_pongs_alone(&server)),
        "closed although it answered every ping"
    );
}

/// Whether a client that only answers pings is still served after more time than the silent one had.
fn stays_by_pongs_alone(server: &Server) -> bool {
    let mut quiet = Client::open(server, "/echo");
    for _ in 0..15 {
        match quiet.next() {
            Got::Frame(ping) if ping.first == FIN | PING => {
                quiet.write(&wire::frame(FIN | PONG, &ping.payload));
            }
            _ => return false,
        }
    }
    quiet.echo(TEXT, b"still here");
    true
}

/// No bystander here: it would reach the end of its life as well.
#[test]
fn a_busy_connection_is_closed_at_its_max_lifetime() {
    let server = Server::start(&["--max-lifetime", "1s"]);
    let mut client = Client::open(&server, "/echo");
    let mut echoes = 0;
    let close = loop {
        let _ = client.try_write(&wire::frame(FIN | TEXT, b"busy"));
        match client.next() {
            Got::Frame(frame) if frame.first == FIN | TEXT => echoes += 1,
            Got::Frame(frame) => break frame,
            end => panic!("expected a Close frame, got {end:?}"),
        }
    };
    assert!(echoes > 0);
    assert_eq!(server.counter("lifetime_reached"), 1);
    assert_eq!(
        close.payload.first_chunk(),
        Some(&1001_u16.to_be_bytes()),
        "{close:?}"
    );
}

/// The connections of an lcore share the memory for unfinished messages. A connection that needs more than is left is closed.
#[test]
fn unfinished_messages_use_bounded_memory() {
    beside_a_bystander(
        &["--reassembly-memory", "4194304", "--max-message", "1048576"],
        |server, bystander| {
            let before = server.memory();
            let unfinished = [wire::header(FIN | BINARY, 1 << 20), vec![0; (1 << 20) - 1]].concat();
            let mut clients = Vec::new();
            for _ in 0..40 {
                let mut client = Client::open(server, "/echo");
                let _ = client.try_write(&unfinished);
                clients.push(client);
            }
            bystander.is_served();
            let grown = server.peak_memory().saturating_sub(before);
            assert!(grown < 24 << 20, "the server grew by {grown} bytes");
            eventually("the surplus is closed", || {
                clients.iter().filter(|client| client.has_news()).count() >= 30
            });
            let mut refused = clients
                .into_iter()
                .find(Client::has_news)
                .expect("there are some");
            refused.expect_close(1013);
            assert!(server.counter("reassembly_exhausted") >= 30);
        },
    );
}

/// The file has the same names with underscores. The command line wins over it.
#[test]
fn limits_can_be_set_in_a_file() {
    let folder = std::env::temp_dir().join(format!("hioload-limits-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("hioload.toml");
    let text =
        "[limits]\nmax_message = \"5000\"\nmax_connections = 2\nhandshake_timeout = \"5s\"\n";
    fs::write(&path, text).expect("a file");
    let file = path.to_str().expect("a path in UTF-8");

    beside_a_bystander(&["--config", file], |server, _| {
        let mut client = Client::open(server, "/echo");
        assert_eq!(
            Client::connect(server)
                .ask(&wire::upgrade("/echo", &[]))
                .status,
            503
        );
        client.write(&wire::header(FIN | BINARY, 5001));
        client.expect_close(1009);
    });
    fs::remove_dir_all(&folder).expect("a folder of ours");
}
