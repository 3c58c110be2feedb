//! In steady state the decoder allocates nothing, at any split of the input.

mod common;

use common::{assembler, frame};
use hioload_testkit::counting::{Counting, allocations};
use hioload_ws_proto::deflate::{DeflateConfig, Deflater, Window};
use hioload_ws_proto::{
    Assembler, Compressor, Decoder, Deflation, Event, Inflation, OpCode, Role, encode,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Decodes `stream` in pieces of `size`, on each connection in turn; returns the number of messages and pings.
fn feed_all(
    decoders: &mut [Decoder],
    asm: &mut Assembler,
    stream: &[u8],
    size: usize,
    scratch: &mut [u8],
) -> usize {
    let mut seen = 0;
    for piece in stream.chunks(size) {
        for decoder in &mut *decoders {
            let mut rest = &mut scratch[..piece.len()];
            rest.copy_from_slice(piece);
            while !rest.is_empty() {
                let (used, event) = decoder.decode(asm, rest).expect("a good stream");
                seen += usize::from(matches!(event, Some(Event::Message(_) | Event::Ping(_))));
                rest = &mut rest[used..];
            }
        }
    }
    seen
}

#[test]
fn nothing_is_allocated_in_steady_state() {
    let text = "é".repeat(40_000);
    let stream = [
        frame(true, OpCode::Text, &[b'a'; 64]),
        frame(true, OpCode::Binary, &[1; 16 << 10]),
        frame(true, OpCode::Text, text.as_bytes()),
        frame(false, OpCode::Text, b"in "),
        frame(true, OpCode::Ping, b"between"),
        frame(true, OpCode::Continuation, b"two"),
    ]
    .concat();
    let mut asm = assembler();
    let mut decoders: Vec<_> = (0..20).map(|_| Decoder::new(Role::Server)).collect();
    let mut scratch = vec![0; stream.len()];
    for size in [stream.len(), 4096, 100, 7] {
        let before_warm_up = allocations();
        feed_all(&mut decoders, &mut asm, &stream, size, &mut scratch);
        let warm = allocations();
        let seen = feed_all(&mut decoders, &mut asm, &stream, size, &mut scratch);
        assert_eq!(seen, 5 * decoders.len());
        assert_eq!(allocations() - warm, 0, "pieces of {size}");
        // The counter works: the first reassembly allocates.
        assert!(size != 4096 || warm > before_warm_up);
    }
}

#[test]
fn nothing_is_allocated_with_compression() {
    let text = "to be compressed ".repeat(300);
    let mut stream = Vec::new();
    let mut payload = Vec::new();
    Deflater::new(1, 12, 8)
        .deflate(text.as_bytes(), &mut payload)
        .expect("never fails");
    encode::fragment_into(
        &mut stream,
        true,
        true,
        OpCode::Text,
        &payload,
        Some(common::KEY),
    );
    let mut asm = assembler();
    for context in [false, true] {
        let inflation = || match context {
            false => Inflation::Alone,
            true => Inflation::Context(Box::new(Window::new(12))),
        };
        let mut decoders: Vec<_> = (0..5)
            .map(|_| Decoder::with_deflate(Role::Server, inflation()))
            .collect();
        let mut scratch = vec![0; stream.len()];
        for size in [stream.len(), 11] {
            feed_all(&mut decoders, &mut asm, &stream, size, &mut scratch);
            let warm = allocations();
            assert_eq!(
                feed_all(&mut decoders, &mut asm, &stream, size, &mut scratch),
                5
            );
            assert_eq!(
                allocations() - warm,
                0,
                "pieces of {size}, context {context}"
            );
        }
    }

    let mut compressor = Compressor::new(&DeflateConfig::default(), 1 << 16);
    let mut shared = Deflation::Shared { window_bits: 15 };
    let mut own = Deflation::Own {
        deflater: Box::new(Deflater::new(6, 15, 8)),
        context_takeover: true,
    };
    for deflation in [&mut shared, &mut own] {
        assert!(compressor.compress(deflation, text.as_bytes()).is_some());
        let warm = allocations();
        for _ in 0..10 {
            assert!(compressor.compress(deflation, text.as_bytes()).is_some());
        }
        assert_eq!(allocations() - warm, 0);
    }
}
