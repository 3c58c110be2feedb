//! Frames that break the protocol, and unusual frames that do not.

use crate::beside_a_bystander;
use crate::common::wire::{self, BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT};
use crate::common::{Client, Got};

/// Each of these is answered with a Close frame of its code, and only then TCP ends.
#[test]
fn broken_frames_are_answered_with_the_right_close_code() {
    let too_long_control = vec![0; 126];
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        (
            "RFC 6455 §5.1: not masked",
            wire::unmasked(FIN | TEXT, b"hello"),
            1002,
        ),
        (
            "§5.2: RSV1 without an extension",
            wire::frame(FIN | 0x40 | TEXT, b"hello"),
            1002,
        ),
        ("§5.2: RSV2", wire::frame(FIN | 0x20 | TEXT, b"hello"), 1002),
        (
            "§5.2: RSV3",
            wire::frame(FIN | 0x10 | BINARY, b"hello"),
            1002,
        ),
        ("§5.2: reserved opcode 3", wire::frame(FIN | 3, b""), 1002),
        ("§5.2: reserved opcode 11", wire::frame(FIN | 11, b""), 1002),
        (
            "§5.2: 64-bit length with its top bit set",
            length_with_the_top_bit(),
            1002,
        ),
        (
            "§5.2: 16-bit length for 5 bytes",
            not_minimal(&[0xFE, 0, 5]),
            1002,
        ),
        (
            "§5.2: 64-bit length for 5 bytes",
            not_minimal(&[0xFF, 0, 0, 0, 0, 0, 0, 0, 5]),
            1002,
        ),
        (
            "§5.4: continuation of nothing",
            wire::frame(FIN | CONTINUATION, b"hello"),
            1002,
        ),
        (
            "§5.4: a message within a message",
            [wire::frame(TEXT, b"hel"), wire::frame(FIN | TEXT, b"lo")].concat(),
            1002,
        ),
        ("§5.5: fragmented ping", wire::frame(PING, b"hello"), 1002),
        (
            "§5.5: ping of 126 bytes",
            wire::frame(FIN | PING, &too_long_control),
            1002,
        ),
        (
            "§5.5: pong of 126 bytes",
            wire::frame(FIN | PONG, &too_long_control),
            1002,
        ),
        (
            "§5.5.1: Close of one byte",
            wire::frame(FIN | CLOSE, b"x"),
            1002,
        ),
        (
            "§5.5.1: Close with a reason not in UTF-8",
            wire::frame(FIN | CLOSE, b"\x03\xE8\xFF"),
            1007,
        ),
        ("§7.4.1: Close 1005", wire::close(1005, ""), 1002),
        ("§7.4.1: Close 1006", wire::close(1006, ""), 1002),
        ("§7.4.1: Close 1015", wire::close(1015, ""), 1002),
        ("§7.4.2: Close 0", wire::close(0, ""), 1002),
        ("§7.4.2: Close 999", wire::close(999, ""), 1002),
        ("§7.4.2: Close 2000", wire::close(2000, ""), 1002),
        ("§7.4.2: Close 5000", wire::close(5000, ""), 1002),
        (
            "§8.1: not UTF-8",
            wire::frame(FIN | TEXT, b"\xC3\x28"),
            1007,
        ),
        (
            "§8.1: a surrogate",
            wire::frame(FIN | TEXT, b"\xED\xA0\x80"),
            1007,
        ),
        (
            "§8.1: an overlong slash",
            wire::frame(FIN | TEXT, b"\xC0\xAF"),
            1007,
        ),
        (
            "§8.1: beyond the last code point",
            wire::frame(FIN | TEXT, b"\xF4\x90\x80\x80"),
            1007,
        ),
        (
            "§8.1: cut within a character",
            wire::frame(FIN | TEXT, b"\xE2\x82"),
            1007,
        ),
    ];
    beside_a_bystander(&[], |server, bystander| {
        for (what, bytes, code) in cases {
            println!("{what}");
            let mut client = Client::open(server, "/echo");
            client.write(&bytes);
            client.expect_close(code);
            bystander.is_served();
        }
    });
}

/// A frame header of 14 bytes: FIN and binary, a 64-bit length of 2^63, and a key. It crashed the Go server that preceded this one.
fn length_with_the_top_bit() -> Vec<u8> {
    wire::header(FIN | BINARY, 1 << 63)
}

/// A text frame `hello` with a length that is longer than it needs to be.
fn not_minimal(len: &[u8]) -> Vec<u8> {
    [&[FIN | TEXT], len, &wire::KEY, &wire::masked(b"hello")].concat()
}

/// RFC 6455 §8.1. The header announces 1000 bytes, but only the first of them are sent: the server must not wait for the rest.
#[test]
fn bad_utf8_is_answered_at_its_byte() {
    beside_a_bystander(&[], |server, _| {
        let bad = [&b"fine so far \xE2\x82\xAC "[..], b"\xFF"].concat();
        let mut client = Client::open(server, "/echo");
        client.write(&wire::header(FIN | TEXT, 1000));
        client.write(&wire::masked(&bad));
        client.expect_close(1007);

        // The second byte of the text makes it a surrogate, whatever follows. It is in another fragment than the first.
        let mut client = Client::open(server, "/echo");
        client.write(&wire::frame(TEXT, b"\xED"));
        client.write(&wire::header(CONTINUATION, 1000));
        client.write(&wire::masked(b"\xA0"));
        client.expect_close(1007);
    });
}

/// Sizes around 4 KiB and 64 KiB: the server that this one replaces truncated messages at its buffer sizes.
#[test]
fn messages_around_every_buffer_size_are_echoed_unchanged() {
    beside_a_bystander(&["--max-message", "16MiB"], |server, _| {
        let mut client = Client::open(server, "/echo");
        for size in [4 << 10, 16 << 10, 64 << 10, 128 << 10, 1 << 20] {
            for len in size - 15..=size + 1 {
                client.echo(BINARY, &wire::noise(len as u64, len));
            }
        }
        client.echo(TEXT, "ü€🦀".repeat(100_000).as_bytes());
        client.echo(BINARY, &wire::noise(1, 10 << 20));
    });
}

/// All of these are in the server's buffer at once, cut into segments at every possible place.
#[test]
fn any_split_of_the_bytes_gives_the_same_messages() {
    let text = "split anywhere: ü€🦀";
    let bytes = [
        wire::frame(FIN | TEXT, text.as_bytes()),
        wire::frame(BINARY, b"one "),
        wire::frame(FIN | PING, b"between"),
        wire::frame(CONTINUATION, b""),
        wire::frame(FIN | CONTINUATION, &[7; 130]),
        wire::close(1000, "bye"),
    ]
    .concat();
    beside_a_bystander(&[], |server, _| {
        for cut in 1..bytes.len() {
            let mut client = Client::open(server, "/echo");
            client.write(&bytes[..cut]);
            client.write(&bytes[cut..]);
            client.expect(FIN | TEXT, text.as_bytes());
            client.expect(FIN | PONG, b"between");
            client.expect(FIN | BINARY, &[&b"one "[..], &[7; 130]].concat());
            client.expect_close(1000);
        }
        let mut client = Client::open(server, "/echo");
        for byte in &bytes {
            client.write(&[*byte]);
        }
        client.expect(FIN | TEXT, text.as_bytes());
        client.expect(FIN | PONG, b"between");
    });
}

/// The Go server echoed pings as data.
#[test]
fn a_ping_is_answered_by_a_pong_and_is_not_data() {
    beside_a_bystander(&[], |server, _| {
        let mut client = Client::open(server, "/echo");
        for payload in [&b""[..], b"ping", &[0xFF; 125]] {
            client.write(&wire::frame(FIN | PING, payload));
            client.expect(FIN | PONG, payload);
        }
        client.write(&wire::frame(FIN | PONG, b"nobody asked"));
        client.echo(TEXT, b"only this is data");
    });
}

/// RFC 6455 §5.5.1: "the endpoint typically echos the status code it received".
#[test]
fn a_close_is_answered_with_the_same_code() {
    beside_a_bystander(&[], |server, _| {
        for code in [1000, 1001, 1003, 1011, 3000, 4999] {
            let mut client = Client::open(server, "/echo");
            client.write(&wire::close(code, "because"));
            client.expect_close(code);
        }
        let mut client = Client::open(server, "/echo");
        client.write(&wire::frame(FIN | CLOSE, b""));
        assert_eq!(client.closing().payload, b"");
        client.expect_end();

        // Frames after a Close are ignored.
        let mut client = Client::open(server, "/echo");
        client.write(&[wire::close(1000, ""), wire::frame(FIN | TEXT, b"too late")].concat());
        let Got::Frame(frame) = client.next() else {
            panic!("wanted a Close frame")
        };
        assert_eq!(frame.first, FIN | CLOSE);
        assert_eq!(client.expect_end(), []);
    });
}
