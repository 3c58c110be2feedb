//! The rules of RFC 6455 §5-8 for received frames, one by one, each stream both whole and byte by byte.

mod common;

use common::{KEY, Seen, assembler, feed, frame, run};
use hioload_ws_proto::{
    Assembler, AssemblerOptions, Decoder, Limits, OpCode, ProtocolError, Role, encode,
};

/// The events of a server, at any split of the stream.
fn server(stream: &[u8]) -> Vec<Seen> {
    let whole = run(Role::Server, &mut assembler(), [stream]);
    let bytes = run(Role::Server, &mut assembler(), stream.chunks(1));
    assert_eq!(whole, bytes);
    whole
}

fn server_fails(stream: &[u8], error: ProtocolError) {
    assert_eq!(server(stream), [Seen::Error(error)]);
}

fn text(s: &str) -> Seen {
    Seen::Text(s.to_owned())
}

#[test]
fn a_decoder_is_small() {
    assert!(size_of::<Decoder>() <= 24);
}

#[test]
fn messages_of_every_length_form() {
    for len in [0, 1, 2, 3, 125, 126, 127, 128, 1000, 65535, 65536, 70000] {
        let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
        assert_eq!(
            server(&frame(true, OpCode::Binary, &payload)),
            [Seen::Binary(payload)]
        );
        let letters = "x".repeat(len);
        assert_eq!(
            server(&frame(true, OpCode::Text, letters.as_bytes())),
            [Seen::Text(letters)]
        );
    }
}

#[test]
fn a_server_refuses_unmasked_frames() {
    // RFC 6455 §5.1: "The server MUST close the connection upon receiving a frame that is not masked."
    for opcode in [OpCode::Text, OpCode::Binary, OpCode::Ping, OpCode::Close] {
        for len in [0, 1, 100] {
            let mut stream = Vec::new();
            encode::frame_into(&mut stream, opcode, &vec![b'a'; len], None);
            server_fails(&stream, ProtocolError::Unmasked);
        }
    }
}

#[test]
fn a_client_refuses_masked_frames() {
    // RFC 6455 §5.1: "A client MUST close a connection if it detects a masked frame."
    for payload in [&b""[..], b"a", b"hello", &[b'a'; 200]] {
        let stream = frame(true, OpCode::Text, payload);
        for size in [1, stream.len()] {
            let seen = run(Role::Client, &mut assembler(), stream.chunks(size));
            assert_eq!(seen, [Seen::Error(ProtocolError::Masked)]);
        }
    }
}

#[test]
fn a_client_reads_unmasked_frames() {
    let mut stream = Vec::new();
    for s in ["", "a", "été", &"x".repeat(130), &"y".repeat(70000)] {
        encode::frame_into(&mut stream, OpCode::Text, s.as_bytes(), None);
    }
    encode::frame_into(&mut stream, OpCode::Ping, b"p", None);
    let expected = [
        text(""),
        text("a"),
        text("été"),
        text(&"x".repeat(130)),
        text(&"y".repeat(70000)),
        Seen::Ping(b"p".to_vec()),
    ];
    for size in [1, 3, 100, stream.len()] {
        assert_eq!(
            run(Role::Client, &mut assembler(), stream.chunks(size)),
            expected
        );
    }
}

#[test]
fn reserved_bits_fail() {
    // RFC 6455 §5.2: "MUST be 0 unless an extension is negotiated that defines meanings for non-zero values. If a
    // nonzero value is received and none of the negotiated extensions defines the meaning of such a nonzero value, the
    // receiving endpoint MUST _Fail the WebSocket Connection_."
    for bits in [0x40, 0x20, 0x10, 0x70] {
        for opcode in [OpCode::Text, OpCode::Ping, OpCode::Close] {
            let mut stream = frame(true, opcode, b"");
            stream[0] |= bits;
            server_fails(&stream, ProtocolError::ReservedBits);
        }
    }
}

#[test]
fn reserved_opcodes_fail() {
    // RFC 6455 §5.2: "If an unknown opcode is received, the receiving endpoint MUST _Fail the WebSocket Connection_."
    for bits in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        let mut stream = frame(true, OpCode::Text, b"x");
        stream[0] = 0x80 | bits;
        server_fails(&stream, ProtocolError::ReservedOpcode(bits));
    }
}

#[test]
fn lengths_are_minimal_and_63_bits() {
    // RFC 6455 §5.2: "the most significant bit MUST be 0", "the minimal number of bytes MUST be used to encode the
    // length"
    server_fails(
        &[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4],
        ProtocolError::LengthTopBit,
    );
    server_fails(
        &[0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ProtocolError::LengthTopBit,
    );
    server_fails(
        &[0x82, 0xfe, 0, 125, 1, 2, 3, 4],
        ProtocolError::LengthNotMinimal,
    );
    server_fails(
        &[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4],
        ProtocolError::LengthNotMinimal,
    );
}

#[test]
fn control_frames_are_short_and_whole() {
    // RFC 6455 §5.4: "Control frames themselves MUST NOT be fragmented."
    // RFC 6455 §5.5: "All control frames MUST have a payload length of 125 bytes or less and MUST NOT be fragmented."
    let payload = [b'p'; 125];
    assert_eq!(
        server(&frame(true, OpCode::Ping, &payload)),
        [Seen::Ping(payload.to_vec())]
    );
    assert_eq!(
        server(&frame(true, OpCode::Pong, b"")),
        [Seen::Pong(Vec::new())]
    );
    for opcode in [OpCode::Ping, OpCode::Pong, OpCode::Close] {
        server_fails(
            &frame(true, opcode, &[b'p'; 126]),
            ProtocolError::ControlTooLong,
        );
        server_fails(
            &frame(false, opcode, b"x"),
            ProtocolError::ControlFragmented,
        );
    }
}

#[test]
fn fragments_make_one_message_with_control_frames_between() {
    // RFC 6455 §5.4: "An endpoint MUST be capable of handling control frames in the middle of a fragmented message."
    // "Clients and servers MUST support receiving both fragmented and unfragmented messages." "Message fragments MUST
    // be delivered to the recipient in the order sent by the sender."
    let stream = [
        frame(false, OpCode::Text, b"Hel"),
        frame(true, OpCode::Ping, b"now"),
        frame(false, OpCode::Continuation, b""),
        frame(true, OpCode::Pong, b""),
        frame(false, OpCode::Continuation, b"lo "),
        frame(true, OpCode::Continuation, "wörld".as_bytes()),
        frame(true, OpCode::Binary, b"next"),
    ]
    .concat();
    let expected = [
        Seen::Ping(b"now".to_vec()),
        Seen::Pong(Vec::new()),
        text("Hello wörld"),
        Seen::Binary(b"next".to_vec()),
    ];
    assert_eq!(server(&stream), expected);
}

#[test]
fn empty_fragments() {
    let stream = [
        frame(false, OpCode::Text, b""),
        frame(false, OpCode::Continuation, b""),
        frame(true, OpCode::Continuation, b""),
    ]
    .concat();
    assert_eq!(server(&stream), [text("")]);
}

#[test]
fn fragments_come_in_order() {
    // RFC 6455 §5.4: "The fragments of one message MUST NOT be interleaved between the fragments of another message".
    // "[...] the type for all fragments in a message MUST be either text, binary, or one of the reserved opcodes."
    for fin in [true, false] {
        let stream = [
            frame(false, OpCode::Text, b"a"),
            frame(fin, OpCode::Text, b"b"),
        ]
        .concat();
        server_fails(&stream, ProtocolError::MessageInterrupted);
        let stream = [
            frame(false, OpCode::Binary, b""),
            frame(fin, OpCode::Text, b"b"),
        ]
        .concat();
        server_fails(&stream, ProtocolError::MessageInterrupted);
        server_fails(
            &frame(fin, OpCode::Continuation, b"x"),
            ProtocolError::UnexpectedContinuation,
        );
    }
    let stream = [
        frame(true, OpCode::Text, b"a"),
        frame(true, OpCode::Continuation, b"b"),
    ]
    .concat();
    assert_eq!(
        server(&stream),
        [
            text("a"),
            Seen::Error(ProtocolError::UnexpectedContinuation)
        ]
    );
}

#[test]
fn text_is_utf8_across_fragments_and_reads() {
    // RFC 6455 §5.6: "a particular text frame might include a partial UTF-8 sequence; however, the whole message MUST
    // contain valid UTF-8"
    let whole = "κόσμε𐀀";
    for cut in 0..=whole.len() {
        let stream = [
            frame(false, OpCode::Text, &whole.as_bytes()[..cut]),
            frame(true, OpCode::Continuation, &whole.as_bytes()[cut..]),
        ]
        .concat();
        assert_eq!(server(&stream), [text(whole)]);
    }
    for bad in [
        &b"\xff"[..],
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"ok\xce",
        b"\xf0\x9f\x92",
    ] {
        // RFC 6455 §8.1: "that endpoint MUST _Fail the WebSocket Connection_"
        server_fails(&frame(true, OpCode::Text, bad), ProtocolError::InvalidUtf8);
        let long = [&[b'x'; 300], bad].concat();
        server_fails(
            &frame(true, OpCode::Text, &long),
            ProtocolError::InvalidUtf8,
        );
        let stream = [
            frame(false, OpCode::Text, bad),
            frame(true, OpCode::Continuation, b""),
        ]
        .concat();
        server_fails(&stream, ProtocolError::InvalidUtf8);
        assert_eq!(
            server(&frame(true, OpCode::Binary, bad)),
            [Seen::Binary(bad.to_vec())]
        );
    }
}

/// The payloads of Autobahn's cases 6.4.*: a valid prefix, the first bad byte, further bytes.
#[test]
fn bad_text_fails_at_its_first_bad_byte() {
    let good = "κόσμε".as_bytes();
    for (possible, spoiler) in [
        (&b""[..], 0xff),
        (b"\xf4", 0x90),
        (b"\xed", 0xa0),
        (b"\xe0", 0x80),
        (b"\xf0\x90\x80", 0x41),
        (b"", 0xc0),
    ] {
        let payload = [good, possible, &[spoiler], b"edited"].concat();
        let at = good.len() + possible.len();
        // In an incomplete frame, and in a fragment; byte by byte, and in one piece that ends with the bad byte.
        for fin in [true, false] {
            let stream = frame(fin, OpCode::Text, &payload);
            let spoiled = stream.len() - payload.len() + at;
            for size in [1, 7, 1000] {
                let (mut decoder, mut asm, mut seen) =
                    (Decoder::new(Role::Server), assembler(), Vec::new());
                for piece in stream[..spoiled].chunks(size) {
                    assert!(feed(&mut decoder, &mut asm, piece, &mut seen));
                }
                assert!(!feed(
                    &mut decoder,
                    &mut asm,
                    &stream[spoiled..=spoiled],
                    &mut seen
                ));
                assert_eq!(seen, [Seen::Error(ProtocolError::InvalidUtf8)]);
                assert_eq!(decoder.error(), Some(ProtocolError::InvalidUtf8));
                assert_eq!(asm.stats().bytes, 0, "the buffer was returned");
            }
        }
    }
}

#[test]
fn close_frames() {
    // RFC 6455 §5.5.1: "If there is a body, the first two bytes of the body MUST be a 2-byte unsigned integer"
    let close = |payload: &[u8]| server(&frame(true, OpCode::Close, payload));
    assert_eq!(close(b""), [Seen::Close(None)]);
    assert_eq!(
        close(b"\x03\xe8"),
        [Seen::Close(Some((1000, String::new())))]
    );
    assert_eq!(
        close("\u{3}\u{0}été".as_bytes()),
        [Seen::Error(ProtocolError::InvalidCloseCode(768))]
    );
    let reason = [&[0x0f, 0xa0][..], "é".repeat(61).as_bytes()].concat();
    assert_eq!(close(&reason), [Seen::Close(Some((4000, "é".repeat(61))))]);
    assert_eq!(close(b"\x03"), [Seen::Error(ProtocolError::CloseTooShort)]);
    assert_eq!(
        close(b"\x03\xe8\xce\xba\xe1"),
        [Seen::Error(ProtocolError::InvalidUtf8)]
    );
    for code in [
        0u16, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000,
    ] {
        // RFC 6455 §7.4.1: "1005 is a reserved value and MUST NOT be set as a status code in a Close control frame by
        // an endpoint." "1006 is a reserved value and MUST NOT be set as a status code in a Close control frame by an
        // endpoint." "1015 is a reserved value and MUST NOT be set as a status code in a Close control frame by an
        // endpoint."
        assert_eq!(
            close(&code.to_be_bytes()),
            [Seen::Error(ProtocolError::InvalidCloseCode(code))]
        );
    }
}

#[test]
fn bytes_after_a_close_are_ignored() {
    // RFC 6455 §1.4: "after receiving a control frame indicating the connection should be closed, a peer discards any
    // further data received"
    let stream = [
        frame(false, OpCode::Text, b"never finished"),
        frame(true, OpCode::Close, b"\x03\xe9bye"),
        frame(true, OpCode::Ping, b"x"),
        vec![0xff; 20],
    ]
    .concat();
    assert_eq!(
        server(&stream),
        [Seen::Close(Some((1001, "bye".to_owned())))]
    );
}

#[test]
fn a_failed_decoder_stays_failed() {
    // RFC 6455 §7.1.7: "An endpoint MUST NOT continue to attempt to process data (including a responding Close frame)
    // from the remote endpoint after being instructed to _Fail the WebSocket Connection_."
    let (mut decoder, mut asm) = (Decoder::new(Role::Server), assembler());
    for mut stream in [
        frame(true, OpCode::Text, b"\xff"),
        frame(true, OpCode::Text, b"good"),
        frame(true, OpCode::Close, b""),
    ] {
        assert_eq!(
            decoder.decode(&mut asm, &mut stream),
            Err(ProtocolError::InvalidUtf8)
        );
    }
    assert_eq!(
        decoder.decode(&mut asm, &mut []),
        Err(ProtocolError::InvalidUtf8)
    );
}

fn limited(max_message: usize, max_frame: usize, max_fragments: u32) -> Assembler {
    let limits = Limits::new(max_message, max_frame, max_fragments);
    Assembler::new(AssemblerOptions::new(limits))
}

#[test]
fn limits_are_exact() {
    // RFC 6455 §10.4: "Implementations that have implementation- and/or platform-specific limitations regarding the
    // frame size or total message size after reassembly from multiple frames MUST protect themselves against exceeding
    // those limits."
    let ok = frame(true, OpCode::Binary, &[7; 200]);
    let over = frame(true, OpCode::Binary, &[7; 201]);
    for size in [1, 50, 1000] {
        let see = |asm: &mut Assembler, stream: &[u8]| run(Role::Server, asm, stream.chunks(size));
        assert_eq!(
            see(&mut limited(200, 1000, 9), &ok),
            [Seen::Binary(vec![7; 200])]
        );
        assert_eq!(
            see(&mut limited(200, 1000, 9), &over),
            [Seen::Error(ProtocolError::MessageTooBig)]
        );
        assert_eq!(
            see(&mut limited(1000, 200, 9), &ok),
            [Seen::Binary(vec![7; 200])]
        );
        assert_eq!(
            see(&mut limited(1000, 200, 9), &over),
            [Seen::Error(ProtocolError::FrameTooBig)]
        );
        // In two frames the sum counts, and is known from the header of the second.
        let two = |n: usize| {
            [
                frame(false, OpCode::Binary, &[7; 100]),
                frame(true, OpCode::Continuation, &vec![7; n]),
            ]
            .concat()
        };
        assert_eq!(
            see(&mut limited(200, 1000, 9), &two(100)),
            [Seen::Binary(vec![7; 200])]
        );
        let header_only = &two(101)[..two(101).len() - 101];
        assert_eq!(
            see(&mut limited(200, 1000, 9), header_only),
            [Seen::Error(ProtocolError::MessageTooBig)]
        );
        // Control frames have their own limit.
        let ping = frame(true, OpCode::Ping, &[7; 100]);
        assert_eq!(
            see(&mut limited(10, 10, 1), &ping),
            [Seen::Ping(vec![7; 100])]
        );
    }
}

#[test]
fn announced_lengths_are_refused_at_the_header_and_cost_nothing() {
    let mut header = [0; 14];
    let n = encode::header(&mut header, true, false, OpCode::Binary, Some(KEY), 1 << 40);
    server_fails(&header[..n], ProtocolError::FrameTooBig);

    let mut asm = limited(usize::MAX, usize::MAX, 9);
    let mut decoder = Decoder::new(Role::Server);
    let mut seen = Vec::new();
    assert!(feed(&mut decoder, &mut asm, &header[..n], &mut seen));
    assert!(feed(&mut decoder, &mut asm, &[1; 1000], &mut seen));
    assert!(asm.stats().bytes < 2000);
    decoder.release(&mut asm);

    // The sum of two lengths does not overflow.
    let mut stream = frame(false, OpCode::Binary, b"x");
    let n = encode::header(
        &mut header,
        true,
        false,
        OpCode::Continuation,
        Some(KEY),
        (u64::MAX >> 1) as usize,
    );
    stream.extend_from_slice(&header[..n]);
    let seen = run(
        Role::Server,
        &mut limited(1 << 40, usize::MAX, 9),
        [&stream[..]],
    );
    assert_eq!(seen, [Seen::Error(ProtocolError::MessageTooBig)]);
}

#[test]
fn fragments_are_counted() {
    let many = |n: usize| {
        let mut stream = frame(false, OpCode::Text, b"");
        for _ in 2..n {
            stream.extend(frame(false, OpCode::Continuation, b""));
        }
        stream.extend(frame(true, OpCode::Continuation, b""));
        stream
    };
    let see = |max: u32, stream: &[u8]| run(Role::Server, &mut limited(100, 100, max), [stream]);
    assert_eq!(see(5, &many(5)), [text("")]);
    assert_eq!(
        see(5, &many(6)),
        [Seen::Error(ProtocolError::TooManyFragments)]
    );
    assert_eq!(
        see(0, &frame(true, OpCode::Text, b"whole")),
        [text("whole")]
    );
    assert_eq!(
        see(0, &many(2)),
        [Seen::Error(ProtocolError::TooManyFragments)]
    );
}

#[test]
fn unfinished_messages_of_all_connections_share_one_budget() {
    let budget = 10_000;
    let mut asm = Assembler::new(AssemblerOptions::default().budget(budget));
    let start = frame(false, OpCode::Binary, &[1; 3000]);
    let mut seen = Vec::new();
    let mut decoders: Vec<_> = (0..4).map(|_| Decoder::new(Role::Server)).collect();
    for decoder in &mut decoders[..3] {
        assert!(feed(decoder, &mut asm, &start, &mut seen));
    }
    assert!(asm.stats().bytes <= budget);
    assert!(!feed(&mut decoders[3], &mut asm, &start, &mut seen));
    assert_eq!(seen, [Seen::Error(ProtocolError::OutOfMemory)]);
    assert_eq!(asm.stats().refused, 1);
    // The other connections continue, and whole messages need no memory.
    seen.clear();
    assert!(feed(
        &mut decoders[0],
        &mut asm,
        &frame(true, OpCode::Continuation, b""),
        &mut seen
    ));
    let mut bystander = Decoder::new(Role::Server);
    assert!(feed(
        &mut bystander,
        &mut asm,
        &frame(true, OpCode::Binary, &[2; 20_000]),
        &mut seen
    ));
    assert_eq!(
        seen,
        [Seen::Binary(vec![1; 3000]), Seen::Binary(vec![2; 20_000])]
    );
    for decoder in &mut decoders {
        decoder.release(&mut asm);
    }
    assert_eq!((asm.stats().unfinished, asm.stats().bytes), (0, 0));
}

#[test]
fn an_idle_decoder_holds_nothing() {
    let (mut decoder, mut asm, mut seen) = (Decoder::new(Role::Server), assembler(), Vec::new());
    let message = frame(true, OpCode::Text, b"hello");
    for cut in 1..message.len() {
        assert!(feed(&mut decoder, &mut asm, &message[..cut], &mut seen));
        assert!(!decoder.is_idle());
        assert!(feed(&mut decoder, &mut asm, &message[cut..], &mut seen));
        assert!(decoder.is_idle());
        assert_eq!(asm.stats().unfinished, 0);
    }
    assert_eq!(seen, vec![text("hello"); message.len() - 1]);
}
