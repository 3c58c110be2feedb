//! permessage-deflate in the decoder (RFC 7692 §6, §7.2): inflation, refusals, and bounds.

mod common;

use common::{KEY, Seen, run_with};
use hioload_ws_proto::deflate::{DeflateConfig, Deflater, Sharing, Window, negotiate};
use hioload_ws_proto::{
    Assembler, AssemblerOptions, Compressor, Decoder, Deflation, Inflation, Limits, OpCode,
    ProtocolError, Role, encode,
};

fn deflated(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Deflater::new(6, 15, 8)
        .deflate(payload, &mut out)
        .expect("never fails");
    out
}

fn frame(fin: bool, rsv1: bool, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode::fragment_into(&mut out, fin, rsv1, opcode, payload, Some(KEY));
    out
}

/// The events of a server with permessage-deflate, at any split of the stream.
fn server_within(limits: Limits, stream: &[u8]) -> Vec<Seen> {
    let mut all = [1, 13, stream.len()].map(|size| {
        let mut asm = Assembler::new(AssemblerOptions::new(limits));
        let decoder =
            Decoder::with_deflate(Role::Server, Inflation::Context(Box::new(Window::new(15))));
        run_with(decoder, &mut asm, stream.chunks(size))
    });
    assert_eq!(all[0], all[1]);
    assert_eq!(all[0], all[2]);
    std::mem::take(&mut all[0])
}

fn server(stream: &[u8]) -> Vec<Seen> {
    server_within(Limits::default(), stream)
}

#[test]
fn a_decoder_is_small_with_compression_too() {
    assert!(size_of::<Decoder>() <= 24);
    assert!(size_of::<Deflation>() <= 16);
}

#[test]
fn compressed_and_plain_messages_mix() {
    // RFC 7692 §6.2: "An endpoint MUST use the following algorithm to receive a message in the form of a compressed
    // message." "An endpoint MUST use the following algorithm to receive a message in the form of an uncompressed
    // message."
    let text = "compressed ".repeat(20);
    let whole = deflated(text.as_bytes());
    let (one, two) = whole.split_at(whole.len() / 2);
    let stream = [
        frame(true, true, OpCode::Text, &whole),
        frame(true, false, OpCode::Text, b"plain"),
        frame(false, true, OpCode::Text, one),
        frame(true, false, OpCode::Ping, b"p"),
        frame(true, false, OpCode::Continuation, two),
        // RFC 7692 §7.2.3.6: an empty message is the single octet 0x00.
        frame(true, true, OpCode::Binary, b"\0"),
    ]
    .concat();
    let expected = [
        Seen::Text(text.clone()),
        Seen::Text("plain".to_owned()),
        Seen::Ping(b"p".to_vec()),
        Seen::Text(text),
        Seen::Binary(Vec::new()),
    ];
    assert_eq!(server(&stream), expected);
}

#[test]
fn rsv1_is_valid_in_the_first_data_frame_only() {
    // RFC 7692 §6.1: "An endpoint MUST NOT set the "Per-Message Compressed" bit of control frames and non-first
    // fragments of a data message. An endpoint receiving such a frame MUST _Fail the WebSocket Connection_."
    let refused = [Seen::Error(ProtocolError::ReservedBits)];
    for opcode in [OpCode::Ping, OpCode::Pong, OpCode::Close] {
        assert_eq!(server(&frame(true, true, opcode, b"")), refused);
    }
    for first in [true, false] {
        let stream = [
            frame(false, first, OpCode::Binary, &deflated(b"x")),
            frame(true, true, OpCode::Continuation, b""),
        ];
        assert_eq!(server(&stream.concat()), refused);
    }
    // RFC 6455 §5.2, for a connection that did not agree to it.
    let stream = frame(true, true, OpCode::Text, &deflated(b"x"));
    let mut asm = common::assembler();
    assert_eq!(
        run_with(Decoder::new(Role::Server), &mut asm, [&stream[..]]),
        refused
    );
}

#[test]
fn data_that_does_not_inflate_fails() {
    for bad in [&b"\x07"[..], b"\xff\xff\xff\xff", b"\x02\x08\x20\x80\xff"] {
        for fin in [true, false] {
            let stream = [
                frame(fin, true, OpCode::Binary, bad),
                frame(true, false, OpCode::Continuation, b""),
            ];
            assert_eq!(
                server(&stream.concat()),
                [Seen::Error(ProtocolError::InvalidCompression)],
                "{bad:x?}"
            );
        }
    }
}

#[test]
fn text_is_checked_after_inflation() {
    // RFC 6455 §8.1: "that endpoint MUST _Fail the WebSocket Connection_"
    let payload = deflated(b"abc\xff");
    let stream = frame(true, true, OpCode::Text, &payload);
    assert_eq!(server(&stream), [Seen::Error(ProtocolError::InvalidUtf8)]);
    let stream = frame(true, true, OpCode::Binary, &payload);
    assert_eq!(server(&stream), [Seen::Binary(b"abc\xff".to_vec())]);
}

#[test]
fn the_bound_holds_for_inflated_bytes() {
    let limits = Limits::new(10_000, 10_000, 2);
    for (len, fits) in [(10_000, true), (10_001, false), (5_000_000, false)] {
        let plain = vec![b'z'; len];
        let stream = frame(true, true, OpCode::Text, &deflated(&plain));
        let expected = if fits {
            Seen::Text("z".repeat(len))
        } else {
            Seen::Error(ProtocolError::MessageTooBig)
        };
        assert_eq!(server_within(limits, &stream), [expected]);
    }
}

#[test]
fn a_message_of_the_size_allowed_may_grow_by_compression() {
    // Bytes without a pattern: the high bits of a linear congruential generator.
    let mut x = 1u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (x >> 24) as u8
    })
    .take(10_000)
    .collect();
    let payload = deflated(&noise);
    assert!(payload.len() > noise.len());
    let limits = Limits::new(10_000, 10_000, 2);
    let stream = frame(true, true, OpCode::Binary, &payload);
    assert_eq!(server_within(limits, &stream), [Seen::Binary(noise)]);
    // The growth is bounded.
    let mut header = [0; 14];
    let n = encode::header(
        &mut header,
        true,
        true,
        OpCode::Binary,
        Some(KEY),
        Limits::on_wire(10_000) + 1,
    );
    assert_eq!(
        server_within(limits, &header[..n]),
        [Seen::Error(ProtocolError::FrameTooBig)]
    );
}

#[test]
fn messages_that_do_not_shrink_stay_uncompressed() {
    let mut config = DeflateConfig::default();
    config.threshold = 100;
    let mut compressor = Compressor::new(&config, 1 << 16);
    let text = b"the same again and again, ".repeat(8);
    let mut shared = Deflation::Shared { window_bits: 15 };
    assert!(
        compressor.compress(&mut Deflation::None, &text).is_none(),
        "not agreed"
    );
    assert!(
        compressor.compress(&mut shared, &text[..99]).is_none(),
        "below the threshold"
    );
    let noise: Vec<u8> = (0..200u32)
        .map(|i| ((i * i * 167) >> 3) as u8 ^ (i * 73) as u8)
        .collect();
    assert!(
        compressor.compress(&mut shared, &noise).is_none(),
        "not shorter"
    );
    let once = compressor.compress(&mut shared, &text).unwrap().to_vec();
    let twice = compressor.compress(&mut shared, &text).unwrap();
    assert_eq!(once, twice, "no context is taken over");
    // With context the second message is shorter, and every message that entered the history is sent.
    let deflater = Box::new(Deflater::new(6, 15, 8));
    let mut own = Deflation::Own {
        deflater,
        context_takeover: true,
    };
    let once = compressor.compress(&mut own, &text).unwrap().len();
    assert!(compressor.compress(&mut own, &text).unwrap().len() < once);
    assert!(compressor.compress(&mut own, &noise).is_some());
}
#[test]
fn both_ends_keep_to_the_agreed_parameters() {
    // RFC 7692 §5: "both endpoints MUST use the algorithm described in Section 6 and the message payload transformation
    // (compressing and decompressing) procedure of the PMCE configured with the "agreed parameters"". §6.1: "An
    // endpoint MUST use the following algorithm to send a message in the form of a compressed message." "An endpoint
    // MUST use the following algorithm to send a message in the form of an uncompressed message." §7.2.1: "the client
    // MUST start compressing each new message with an empty LZ77 sliding window." "the server MUST start compressing
    // each new message with an empty LZ77 sliding window." §7.2.2: "the client MUST decompress each new message using
    // the LZ77 sliding window used to process the last compressed message." "the server MUST decompress each new
    // message using the LZ77 sliding window used to process the last compressed message." "the client MUST use a
    // 32,768-byte LZ77 sliding window to decompress received messages." "the server MUST use a 32,768-byte LZ77 sliding
    // window to decompress received messages." "[...] the client MUST use an LZ77 sliding window of a size that
    // conforms the "agreed parameters" to compress messages to send."
    let mut open = DeflateConfig::new(Sharing::Own);
    open.client_max_window_bits = 15;
    let mut forgetful = open.clone();
    forgetful.server_no_context_takeover = true;
    forgetful.client_no_context_takeover = true;
    // The text compresses to half of its size, and only the repetition as a whole, 32,000 bytes back, can be referred to.
    let mut x = 1u32;
    let letters: Vec<u8> = std::iter::repeat_with(|| {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b'a' + (x >> 28) as u8
    })
    .take(32_000)
    .collect();
    for (config, takes_over) in [(open.clone(), true), (forgetful, false)] {
        let response = negotiate::server(&config, [negotiate::client_offer(&config).as_bytes()])
            .expect("accepted")
            .response();
        let agreed = negotiate::client_accept(&config, [response.as_bytes()])
            .expect("valid")
            .expect("accepted");
        for (sender, receiver) in [(Role::Client, Role::Server), (Role::Server, Role::Client)] {
            let mut deflation = Deflation::agreed(&agreed, sender, &config);
            let mut compressor = Compressor::new(&config, 1 << 20);
            let key = (sender == Role::Client).then_some(KEY);
            let (mut stream, mut lengths) = (Vec::new(), Vec::new());
            for _ in 0..2 {
                let small = compressor
                    .compress(&mut deflation, &letters)
                    .expect("it shrinks");
                lengths.push(small.len());
                encode::fragment_into(&mut stream, true, true, OpCode::Text, small, key);
                encode::frame_into(&mut stream, OpCode::Text, b"plain", key);
            }
            // About two octets for each 258 repeated ones with context, the whole text without.
            assert_eq!(lengths[1] < 1000, takes_over, "{lengths:?}");
            assert_eq!(lengths[1] == lengths[0], !takes_over, "{lengths:?}");
            let inflation = Inflation::agreed(&agreed, receiver);
            match &inflation {
                Inflation::Context(window) => assert!(takes_over && window.size() == 32_768),
                _ => assert!(!takes_over),
            }
            let decoder = Decoder::with_deflate(receiver, inflation);
            let seen = run_with(decoder, &mut common::assembler(), stream.chunks(997));
            let text = Seen::Text(String::from_utf8(letters.clone()).expect("letters"));
            let plain = Seen::Text("plain".to_owned());
            assert!(seen == [text.clone(), plain.clone(), text, plain]);
        }
    }
    // The client offers 10 bits and the server allows 12, or the other way round.
    for (own, allowed) in [(10, 12), (12, 10)] {
        let mut config = open.clone();
        config.client_max_window_bits = own;
        let response = format!("permessage-deflate; client_max_window_bits={allowed}");
        let agreed = negotiate::client_accept(&config, [response.as_bytes()])
            .expect("valid")
            .expect("accepted");
        assert_eq!(agreed.client.window_bits, 10);
    }
}

#[test]
fn a_call_inflates_no_more_than_a_slice_and_keeps_what_it_counts() {
    const SLICE: usize = 10_000;
    let plain = vec![b'z'; 1_000_000];
    let mut stream = frame(true, true, OpCode::Text, &deflated(&plain));
    let wire = stream.clone();
    let mut asm = common::slicing(Limits::default(), SLICE);
    let mut decoder = Decoder::with_deflate(Role::Server, Inflation::Alone);
    let (mut from, mut calls) = (0, 0);
    loop {
        let left = stream.len() - from;
        let (used, event) = decoder
            .decode(&mut asm, &mut stream[from..])
            .expect("a good stream");
        calls += 1;
        from += used;
        if let Some(event) = event {
            assert!(Seen::from(event) == Seen::Text("z".repeat(1_000_000)));
            break;
        }
        assert!(decoder.is_inflating() && !decoder.is_idle());
        // The last byte is left as it was, so that the caller has something to come back with.
        assert_eq!(
            (used, from),
            (if calls == 1 { left - 1 } else { 0 }, wire.len() - 1)
        );
        assert_eq!(stream[from], wire[from]);
        // One step may go beyond the slice, by less than the slice again.
        assert!(asm.take_effort() < 2 * SLICE + 16 * wire.len());
        let held = asm.stats().bytes;
        assert!(held >= calls * SLICE / 2, "{held} after {calls} calls");
    }
    assert_eq!(from, stream.len());
    assert!(calls >= 1_000_000 / (2 * SLICE), "{calls}");
    assert_eq!((asm.stats().unfinished, asm.stats().bytes), (0, 0));
}

#[test]
fn the_budget_bounds_what_is_inflated_in_slices() {
    let small = frame(true, true, OpCode::Text, &deflated(&[b'z'; 5000]));
    let large = frame(true, true, OpCode::Text, &deflated(&[b'z'; 900_000]));
    let options = AssemblerOptions::default().budget(600_000).slice(10_000);
    let mut asm = Assembler::new(options);
    let mut see = |stream: &[u8]| {
        let decoder = Decoder::with_deflate(Role::Server, Inflation::Alone);
        run_with(decoder, &mut asm, [stream])
    };
    // Three quarters of the budget are for messages beyond 16 KiB, and a message of one slice needs none of it.
    assert_eq!(see(&large), [Seen::Error(ProtocolError::OutOfMemory)]);
    assert_eq!(see(&small), [Seen::Text("z".repeat(5000))]);
    // A decoder that ends in the middle gives everything back: `run_with` checks it.
    assert_eq!(see(&large), [Seen::Error(ProtocolError::OutOfMemory)]);
}

#[test]
fn octets_that_make_no_output_are_effort_too() {
    // Empty stored blocks: five octets each, and no byte. Of the last one the sender removes four.
    let mut blocks = [0x00, 0x00, 0x00, 0xff, 0xff].repeat(20_000);
    blocks.push(0x00);
    let mut stream = frame(true, true, OpCode::Binary, &blocks);
    let mut asm = common::slicing(Limits::default(), 10_000);
    let mut decoder = Decoder::with_deflate(Role::Server, Inflation::Alone);
    let (mut from, mut calls) = (0, 0);
    while from < stream.len() {
        let (used, event) = decoder.decode(&mut asm, &mut stream[from..]).expect("good");
        assert!(event.is_none_or(|event| Seen::from(event) == Seen::Binary(Vec::new())));
        from += used;
        calls += 1;
    }
    assert!(calls > 100, "{calls}");
}

#[test]
fn messages_above_the_maximum_stay_uncompressed() {
    let mut config = DeflateConfig::default();
    config.max = 1000;
    let mut compressor = Compressor::new(&config, 1 << 16);
    let mut shared = Deflation::Shared { window_bits: 15 };
    assert!(compressor.compress(&mut shared, &[7; 1000]).is_some());
    assert!(compressor.compress(&mut shared, &[7; 1001]).is_none());
    assert!(compressor.is_too_long(1001) && !compressor.is_too_long(1000));
}
