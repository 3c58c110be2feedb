//! Memory of permessage-deflate and of the handshake, counted by the allocator: none for a message or a request, and the
//! documented amount for a connection.

use hioload_testkit::counting::{Counting, allocations, held};
use hioload_ws_proto::deflate::{DeflateConfig, Deflater, Inflater, Window, negotiate};
use hioload_ws_proto::handshake::{HandshakeLimits, server};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The heap bytes that the result of `make` holds, and the result.
fn cost<T>(make: impl FnOnce() -> T) -> (isize, T) {
    let before = held();
    let made = make();
    (held() - before, made)
}

#[test]
fn an_inflater_allocates_its_documented_memory() {
    let (bytes, _inflater) = cost(|| Inflater::new(9));
    assert!(
        bytes > 32 * 1024 && bytes as usize <= Inflater::MEMORY,
        "{bytes}"
    );
}

#[test]
fn a_deflater_allocates_its_documented_memory() {
    for bits in 8..=15 {
        for mem_level in 1..=9 {
            let (bytes, _deflater) = cost(|| Deflater::new(6, bits, mem_level));
            let said = Deflater::memory(bits, mem_level);
            assert!(
                (bytes as usize).abs_diff(said) <= 1024,
                "{bits} {mem_level}: {bytes} {said}"
            );
        }
    }
}

#[test]
fn a_window_never_outgrows_its_size() {
    let mut deflater = Deflater::new(1, 15, 8);
    let mut inflater = Inflater::new(15);
    let (mut payload, mut out) = (Vec::new(), Vec::new());
    for bits in 8..=15 {
        let mut window = Window::new(bits);
        for len in [1, 3, 10, 200, 1000, 77, 5000, 40_000, 9] {
            deflater.reset();
            payload.clear();
            out.clear();
            deflater.deflate(&vec![b'x'; len], &mut payload).unwrap();
            inflater
                .inflate_with(&mut window, &payload, &mut out, len)
                .unwrap();
        }
        let before = held();
        drop(window);
        assert_eq!(before - held(), 1 << bits);
    }
}

#[test]
fn a_message_allocates_nothing_once_running() {
    let message: Vec<u8> = (0..16_384u32).map(|i| ((i * i) >> 7) as u8).collect();
    for (takeover, bits) in [(true, 15), (true, 9), (false, 15)] {
        let mut deflater = Deflater::new(1, bits, 8);
        let mut inflater = Inflater::new(15);
        let mut window = Window::new(bits);
        let (mut payload, mut out) = (Vec::new(), Vec::new());
        let mut turn = |len: usize| {
            payload.clear();
            out.clear();
            deflater.deflate(&message[..len], &mut payload).unwrap();
            if takeover {
                inflater
                    .inflate_with(&mut window, &payload, &mut out, 1 << 20)
                    .unwrap();
            } else {
                inflater.inflate_alone(&payload, &mut out, 1 << 20).unwrap();
                deflater.reset();
            }
            assert_eq!(out, &message[..len]);
        };
        for _ in 0..4 {
            turn(message.len());
        }
        let before = allocations();
        for len in [64, 0, 1, 16_384, 300, 5000] {
            turn(len);
        }
        assert_eq!(allocations() - before, 0);
    }
}

#[test]
fn a_handshake_allocates_nothing_but_its_answer() {
    let head = b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    let config = DeflateConfig::default();
    let mut out = Vec::with_capacity(1024);
    let before = allocations();
    let (request, _) = server::parse(head, &HandshakeLimits::default())
        .unwrap()
        .unwrap();
    let protocol = request.protocols().next();
    let agreed = negotiate::server(&config, request.extensions()).unwrap();
    let key = request.upgrade.unwrap().key;
    server::write_accept(
        &mut out,
        key,
        protocol,
        Some(&agreed.response()),
        &[("X-A", "b")],
    )
    .unwrap();
    assert_eq!(allocations() - before, 0);
    assert!(out.ends_with(b"\r\n\r\n"));
}
