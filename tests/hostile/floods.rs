//! Floods: pings, fragments, messages, and compressed data that inflates to much more.

use std::thread;
use std::time::Duration;

use crate::beside_a_bystander;
use crate::common::wire::{self, BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT};
use crate::common::{Client, Got};

const MIB: u64 = 1 << 20;

/// RFC 6455 §5.5.3 lets an endpoint answer only the latest ping; the last one has to be among the answered.
#[test]
fn every_ping_of_a_flood_is_answered() {
    beside_a_bystander(&[], |server, bystander| {
        let mut client = Client::open(server, "/echo");
        let mut reader = client.reader();
        let writer = thread::spawn(move || {
            for round in 0..100_u32 {
                let pings = (0..200)
                    .flat_map(|n| wire::frame(FIN | PING, &(round * 200 + n).to_be_bytes()));
                client.write(&pings.collect::<Vec<_>>());
            }
            client
        });
        let mut expected = 0..20_000_u32;
        loop {
            let Got::Frame(pong) = reader.next() else {
                panic!("wanted a pong")
            };
            assert_eq!(pong.first, FIN | PONG);
            let number = u32::from_be_bytes(pong.payload.try_into().expect("what was sent"));
            assert!(
                expected.contains(&number),
                "{number} was answered twice, out of order, or never asked"
            );
            expected.start = number + 1;
            if expected.is_empty() {
                break;
            }
        }
        bystander.is_served();
        writer
            .join()
            .expect("all was sent")
            .echo(TEXT, b"and data still works");
    });
}

#[test]
fn pings_from_a_client_that_never_reads_cost_bounded_memory() {
    beside_a_bystander(&[], |server, bystander| {
        let mut client = Client::open(server, "/echo");
        let before = server.memory();
        client.write_until_stuck(
            &wire::frame(FIN | PING, &[9; 125]).repeat(100),
            64 << 20,
            Duration::from_secs(2),
        );
        bystander.is_served();
        let grown = server.peak_memory().saturating_sub(before);
        assert!(grown < 32 * MIB, "the server grew by {grown} bytes");
        client.reset();
    });
}

#[test]
fn a_flood_of_tiny_fragments_is_stopped() {
    beside_a_bystander(&["--max-fragments", "100"], |server, _| {
        for payload in [&b"x"[..], b""] {
            let mut client = Client::open(server, "/echo");
            let mut frames = wire::frame(BINARY, payload);
            frames.extend(wire::frame(CONTINUATION, payload).repeat(5000));
            let _ = client.try_write(&frames);
            client.expect_close(1008);
        }
        assert_eq!(server.counter("messages_too_fragmented"), 2);

        // The largest allowed number is accepted.
        let mut client = Client::open(server, "/echo");
        client.write(&wire::frame(TEXT, b"x"));
        client.write(&wire::frame(CONTINUATION, b"x").repeat(98));
        client.write(&wire::frame(FIN | CONTINUATION, b"x"));
        client.expect(FIN | TEXT, &[b'x'; 100]);
    });
}

/// By default no message of any shape makes the server use memory without bound.
#[test]
fn endless_fragments_are_stopped_by_default() {
    beside_a_bystander(&[], |server, bystander| {
        let before = server.memory();
        let mut client = Client::open(server, "/echo");
        client.write(&wire::frame(BINARY, b""));
        let nothing = wire::frame(CONTINUATION, b"").repeat(1000);
        let mut sent = 0;
        while client.try_write(&nothing).is_ok() && !client.has_news() {
            sent += 1000;
            assert!(sent < 10_000_000, "nobody stops it");
        }
        bystander.is_served();
        let grown = server.peak_memory().saturating_sub(before);
        assert!(grown < 64 * MIB, "the server grew by {grown} bytes");
    });
}

/// RFC 7692 §8: a few hundred kilobytes that would inflate to 64 MiB.
#[test]
fn a_decompression_bomb_is_stopped_before_it_is_inflated() {
    beside_a_bystander(&["--max-message", "1048576"], |server, bystander| {
        let bomb = wire::bomb(64 << 20);
        assert!(bomb.len() < 1 << 20, "small enough to be let in");
        let before = server.memory();
        for _ in 0..5 {
            let mut client = compressing(server);
            client.write(&wire::frame(FIN | 0x40 | BINARY, &bomb));
            client.expect_close(1009);
            // In fragments, with only the first marked as compressed.
            let mut client = compressing(server);
            let (head, tail) = bomb.split_at(1000);
            client.write(&wire::frame(0x40 | BINARY, head));
            client.write(&wire::frame(FIN | CONTINUATION, tail));
            client.expect_close(1009);
            bystander.is_served();
        }
        let grown = server.peak_memory().saturating_sub(before);
        assert!(grown < 16 * MIB, "the server grew by {grown} bytes");

        // The same stream below the limit is delivered, which proves that the stream is valid.
        let mut client = compressing(server);
        client.write(&wire::frame(FIN | 0x40 | BINARY, &wire::bomb(100_000)));
        let Got::Frame(echo) = client.next() else {
            panic!("wanted the echo")
        };
        assert_eq!(echo.first, FIN | 0x40 | BINARY, "compressed as agreed");
        assert!(
            echo.payload.len() < 2000,
            "and small: {}",
            echo.payload.len()
        );
    });
}

#[test]
fn invalid_compressed_data_closes_the_connection() {
    beside_a_bystander(&[], |server, _| {
        // A block of the reserved type, a distance before the start, and a stored block whose lengths disagree.
        for garbage in [
            &b"\x07\x00\x00"[..],
            b"\x63\x00\x02\xF0",
            b"\x00\x05\x00\x05\x00hello",
        ] {
            let mut client = compressing(server);
            client.write(&wire::frame(FIN | 0x40 | BINARY, garbage));
            let frame = client.closing();
            let code = frame
                .payload
                .first_chunk()
                .map(|code| u16::from_be_bytes(*code));
            assert!(matches!(code, Some(1002 | 1007)), "{frame:?}");
        }
        // RFC 7692 §6.1: only the first frame of a message carries the bit, and never a control frame.
        for bytes in [
            [
                wire::frame(BINARY, b"x"),
                wire::frame(FIN | 0x40 | CONTINUATION, b"x"),
            ]
            .concat(),
            wire::frame(FIN | 0x40 | PING, b""),
            wire::frame(FIN | 0x40 | CLOSE, b""),
        ] {
            let mut client = compressing(server);
            client.write(&bytes);
            client.expect_close(1002);
        }
    });
}

/// A connection with permessage-deflate agreed on.
pub(crate) fn compressing(server: &crate::Server) -> Client {
    let mut client = Client::connect(server);
    client.write(&wire::upgrade(
        "/echo",
        &["Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"],
    ));
    let response = client.expect_upgrade();
    let agreed = response.header("sec-websocket-extensions");
    assert!(
        agreed.is_some_and(|agreed| agreed.starts_with("permessage-deflate")),
        "{response:?}"
    );
    client
}
