//! Seeds of the target `tls_handshake`.

use super::{SPLITS, Seed, seed};

/// A record of a plain handshake message.
fn record(message: &[u8]) -> Vec<u8> {
    let [high, low] = (message.len() as u16).to_be_bytes();
    [&[22, 3, 1, high, low], message].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = (body.len() as u32).to_be_bytes();
    [&[kind, a, b, c], body].concat()
}

fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u16).to_be_bytes();
    [&kind.to_be_bytes()[..], &len, body].concat()
}

/// A ClientHello with `versions` and a key share of X25519.
fn client_hello(versions: &[u8]) -> Vec<u8> {
    let share = [&[0, 36, 0, 29, 0, 32][..], &[9; 32]].concat();
    let extensions = [
        extension(0, b"\0\x0c\0\0\x09localhost"),
        extension(10, &[0, 2, 0, 29]),
        extension(13, &[0, 4, 4, 3, 8, 4]),
        extension(16, b"\0\x09\x08http/1.1"),
        extension(43, versions),
        extension(51, &share),
    ]
    .concat();
    let body = [
        &[3, 3][..],
        &[5; 32],
        &[0, 0, 4, 0x13, 1, 0xc0, 0x2b, 1, 0],
        &(extensions.len() as u16).to_be_bytes(),
        &extensions,
    ]
    .concat();
    message(1, &body)
}

pub fn seeds() -> Vec<Seed> {
    let server = |name: &str, bytes: &[u8]| seed(name, &[&[0], SPLITS, bytes]);
    let client = |name: &str, bytes: &[u8]| seed(name, &[&[1], SPLITS, bytes]);
    let tls13 = client_hello(&[2, 3, 4]);
    let tls12 = client_hello(&[2, 3, 3]);
    let tls11 = client_hello(&[2, 3, 2]);
    let (first, second) = tls13.split_at(40);
    let ccs = [20, 3, 3, 0, 1, 1];
    let server_hello = message(
        2,
        &[
            &[3, 3][..],
            &[6; 32],
            &[0, 0x13, 1, 0, 0, 6, 0, 43, 0, 2, 3, 4],
        ]
        .concat(),
    );
    vec![
        server("tls13", &record(&tls13)),
        server("tls12", &record(&tls12)),
        server("tls11", &record(&tls11)),
        server("two-records", &[record(first), record(second)].concat()),
        server("change-cipher-spec", &[&record(&tls13)[..], &ccs].concat()),
        server(
            "garbage-behind",
            &[&record(&tls13)[..], &[23, 3, 3, 0, 20], &[8; 20]].concat(),
        ),
        server("alert", &[21, 3, 1, 0, 2, 2, 40]),
        server("too-long", &[22, 3, 1, 0xff, 0xff]),
        server("empty-record", &[22, 3, 1, 0, 0]),
        server("unknown-message", &record(&message(99, b"x"))),
        server("http", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        server("http2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        server("ssh", b"SSH-2.0-x\r\n"),
        server("sslv2", &[0x80, 46, 1, 0, 2, 0, 21, 0, 0, 0, 16]),
        client("server-hello", &record(&server_hello)),
        client("server-alert", &[21, 3, 3, 0, 2, 2, 40]),
        client("server-ccs", &ccs),
        client("server-http", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    ]
}
