use proptest::prelude::*;

use super::scan::farthest_distance;
use crate::deflate::{Deflater, InflateError, Inflater, Window};

const NO_CAP: usize = 1 << 24;

fn inflated(input: &[u8]) -> Result<Vec<u8>, InflateError> {
    let mut out = Vec::new();
    Inflater::new(15)
        .inflate(input, &mut out, NO_CAP)
        .map(|()| out)
}

fn deflated(deflater: &mut Deflater, input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    deflater.deflate(input, &mut out).unwrap();
    out
}

/// Words that recur, so that there are references at many distances.
fn prose(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let mut text = Vec::with_capacity(len + 8);
    while text.len() < len {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let word = state >> 27;
        text.extend_from_slice(format!("word{word} ").as_bytes());
    }
    text.truncate(len);
    text
}

#[test]
fn inflates_the_examples_of_the_rfc() {
    // RFC 7692 §7.2.3.1, §7.2.3.3, §7.2.3.4 (BFINAL) and §7.2.3.5 (two blocks).
    let examples: [&[u8]; 4] = [
        &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
        &[
            0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00,
        ],
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
        &[
            0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
        ],
    ];
    for example in examples {
        assert_eq!(
            inflated(example).as_deref(),
            Ok(&b"Hello"[..]),
            "{example:02x?}"
        );
    }
}

#[test]
fn context_taken_over_as_in_the_rfc() {
    // RFC 7692 §7.2.3.2: the second "Hello" refers to the first.
    let mut inflater = Inflater::new(15);
    let mut out = Vec::new();
    inflater
        .inflate(
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
            &mut out,
            NO_CAP,
        )
        .unwrap();
    inflater
        .inflate(&[0xf2, 0x00, 0x11, 0x00, 0x00], &mut out, NO_CAP)
        .unwrap();
    assert_eq!(out, b"HelloHello");
    // Without the context the reference is invalid.
    inflater.reset();
    let again = inflater.inflate(&[0xf2, 0x00, 0x11, 0x00, 0x00], &mut out, NO_CAP);
    assert_eq!(again, Err(InflateError::Corrupt));
    assert_eq!(out, b"HelloHello");
}

#[test]
fn deflates_the_examples_of_the_rfc() {
    // RFC 7692 §7.2.3.1 and §7.2.3.2, octet by octet.
    let mut deflater = Deflater::new(6, 15, 8);
    assert_eq!(
        deflated(&mut deflater, b"Hello"),
        [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]
    );
    assert_eq!(
        deflated(&mut deflater, b"Hello"),
        [0xf2, 0x00, 0x11, 0x00, 0x00]
    );
    // RFC 7692 §7.1.1: no context takeover, so the same message gives the same octets.
    deflater.reset();
    assert_eq!(
        deflated(&mut deflater, b"Hello"),
        [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]
    );
}

#[test]
fn empty_messages() {
    // RFC 7692 §7.2.3.6: one octet 0x00, before, between and after others.
    let mut deflater = Deflater::new(1, 15, 8);
    let mut inflater = Inflater::new(15);
    for message in [&b""[..], b"one", b"", b"", b"one and two", b""] {
        let payload = deflated(&mut deflater, message);
        assert!(!message.is_empty() || payload == [0]);
        let mut out = Vec::new();
        inflater.inflate(&payload, &mut out, NO_CAP).unwrap();
        assert_eq!(out, message);
    }
    // Some senders send an empty payload for it.
    assert_eq!(inflated(b""), Ok(vec![]));
}

#[test]
fn history_outlives_final_blocks() {
    // RFC 7692 §7.2.1: "An endpoint MAY use both DEFLATE blocks with the "BFINAL" bit set to 0 and DEFLATE blocks with
    // the "BFINAL" bit set to 1." The octets of §7.2.3.2 but for BFINAL, then in one message with the first "Hello",
    // then followed by a block that refers to all of it.
    let hello = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let back_reference = [0xf3, 0x00, 0x11, 0x00];
    let mut inflater = Inflater::new(15);
    let mut out = Vec::new();
    inflater
        .inflate(&[&hello[..], &[0]].concat(), &mut out, NO_CAP)
        .unwrap();
    inflater
        .inflate(&[&back_reference[..], &[0]].concat(), &mut out, NO_CAP)
        .unwrap();
    assert_eq!(out, b"HelloHello");

    let message = [&hello[..], &back_reference, &back_reference, &[0]].concat();
    assert_eq!(inflated(&message).as_deref(), Ok(&b"HelloHelloHello"[..]));
    // Without the padding octet the message is still unambiguous.
    assert_eq!(inflated(&hello).as_deref(), Ok(&b"Hello"[..]));
}

#[test]
fn final_blocks_are_bounded() {
    // Two octets are an empty final block, and each block costs a priming of the engine.
    let few = [&[0x03, 0x00].repeat(20)[..], &[0]].concat();
    assert_eq!(inflated(&few), Ok(vec![]));
    let many = [&[0x03, 0x00].repeat(1000)[..], &[0]].concat();
    assert_eq!(inflated(&many), Err(InflateError::Corrupt));
}

#[test]
fn a_message_cut_short_is_corrupt() {
    // (Not at level 0: the first octet of a stored block is itself an empty message.)
    for level in [1, 6] {
        let payload = deflated(&mut Deflater::new(level, 15, 8), &prose(600, 7));
        for cut in 1..payload.len() {
            assert_eq!(
                inflated(&payload[..cut]),
                Err(InflateError::Corrupt),
                "level {level}, {cut}"
            );
        }
    }
}

#[test]
fn the_cap_is_exact() {
    for len in [0, 1, 255, 256, 257, 1000, 40_000, 300_000] {
        for byte_wise in [prose(len, 3), vec![b'a'; len]] {
            let payload = deflated(&mut Deflater::new(6, 15, 8), &byte_wise);
            let mut out = b"before".to_vec();
            Inflater::new(15).inflate(&payload, &mut out, len).unwrap();
            assert_eq!(&out[6..], byte_wise);
            if len > 0 {
                out.truncate(6);
                let result = Inflater::new(15).inflate(&payload, &mut out, len - 1);
                assert_eq!(result, Err(InflateError::TooBig));
                assert_eq!(out, b"before");
            }
        }
    }
}

#[test]
fn a_bomb_is_stopped_at_the_cap() {
    let payload = deflated(&mut Deflater::new(9, 15, 9), &vec![0; 16 << 20]);
    assert!(payload.len() < 20_000);
    let mut out = Vec::new();
    let result = Inflater::new(15).inflate(&payload, &mut out, 64 * 1024);
    assert_eq!(result, Err(InflateError::TooBig));
    // No space beyond the cap was allocated.
    assert!(out.capacity() <= 2 * 64 * 1024, "{}", out.capacity());
}

#[test]
fn eight_bits_reach_back_250_bytes_at_most() {
    // RFC 7692 §7.1.2.1: what was agreed bounds the "LZ77 sliding window size" of the sender. 8 bits are served by
    // an engine of 9, so its distances are checked by a separate reader and by a history of 256 bytes.
    let mut farthest = 0;
    for level in 0..=9 {
        for mem_level in [1, 8] {
            let mut deflater = Deflater::new(level, 8, mem_level);
            let mut inflater = Inflater::new(8);
            let mut scanned = Vec::new();
            let mut sent = Vec::new();
            for round in 0..40 {
                let message = match round % 4 {
                    0 => prose(50 + round * 37, 5),
                    1 => prose(250, 9),
                    2 => b"0123456789".repeat(round + 20),
                    _ => (0..=255u8).cycle().take(700).collect(),
                };
                let payload = deflated(&mut deflater, &message);
                let stream = [&payload[..], &[0, 0, 0xff, 0xff]].concat();
                farthest = farthest.max(farthest_distance(&stream, &mut scanned));
                sent.extend_from_slice(&message);
                let mut out = Vec::new();
                inflater.inflate(&payload, &mut out, NO_CAP).unwrap();
                assert_eq!(out, message);
            }
            assert_eq!(scanned, sent, "level {level}");
        }
    }
    assert!((200..=250).contains(&farthest), "{farthest}");
}

#[test]
fn no_window_is_exceeded() {
    // RFC 7692 §7.2.1: "An endpoint MUST NOT use an LZ77 sliding window longer than 32,768 bytes to compress messages
    // to send." "[...] the client MUST NOT use an LZ77 sliding window longer than the w-th power of 2 bytes to compress
    // messages to send." "[...] the server MUST NOT use an LZ77 sliding window longer than the w-th power of 2 bytes to
    // compress messages to send."
    for bits in 9..=15u8 {
        let mut deflater = Deflater::new(6, bits, 8);
        let mut scanned = Vec::new();
        for seed in 0..12 {
            // Noise fills the window, and the text recurs after it.
            let noise: Vec<u8> = (0..3000u32)
                .map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(seed * 977) >> 13) as u8)
                .collect();
            let message = [prose(1200, 11), noise].concat();
            let payload = deflated(&mut deflater, &message);
            let stream = [&payload[..], &[0, 0, 0xff, 0xff]].concat();
            assert!(farthest_distance(&stream, &mut scanned) <= (1 << bits) - 262);
        }
    }
}

#[test]
fn one_inflater_serves_many_connections() {
    let mut shared = Inflater::new(15);
    let mut ends: Vec<_> = [9, 10, 12, 15]
        .map(|bits| (Deflater::new(6, bits, 5), Window::new(bits)))
        .into_iter()
        .collect();
    for round in 0..60u32 {
        for (i, (deflater, window)) in ends.iter_mut().enumerate() {
            let message = prose(1 + (round as usize * 613) % 5000, i as u32 + round % 3);
            let payload = deflated(deflater, &message);
            let mut out = Vec::new();
            shared
                .inflate_with(window, &payload, &mut out, NO_CAP)
                .unwrap();
            assert_eq!(out, message);
            assert!(window.len() <= window.size());
        }
        // In between, a connection without context takeover.
        let payload = deflated(&mut Deflater::new(1, 15, 8), b"alone");
        let mut out = Vec::new();
        shared.inflate_alone(&payload, &mut out, NO_CAP).unwrap();
        assert_eq!(out, b"alone");
    }
}

#[test]
fn an_error_does_not_change_the_window() {
    let mut deflater = Deflater::new(6, 15, 8);
    let mut inflater = Inflater::new(15);
    let mut window = Window::new(15);
    let mut out = Vec::new();
    let first = deflated(&mut deflater, b"what has been said before");
    inflater
        .inflate_with(&mut window, &first, &mut out, NO_CAP)
        .unwrap();
    assert!(
        inflater
            .inflate_with(&mut window, &[0x07, 0xff], &mut out, NO_CAP)
            .is_err()
    );
    let second = deflated(&mut deflater, b"what has been said before, again");
    out.clear();
    inflater
        .inflate_with(&mut window, &second, &mut out, NO_CAP)
        .unwrap();
    assert_eq!(out, b"what has been said before, again");
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..3000),
        (0usize..20_000, any::<u32>()).prop_map(|(len, seed)| prose(len, seed % 16)),
        (any::<u8>(), 0usize..50_000).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_deflated_inflates_to_the_same(
        messages in proptest::collection::vec(message(), 1..12),
        level in 0u8..=9,
        bits in 8u8..=15,
        mem_level in 1u8..=9,
        takeover: bool,
    ) {
        let mut deflater = Deflater::new(level, bits, mem_level);
        let mut inflater = Inflater::new(bits);
        let (mut payload, mut out) = (Vec::new(), Vec::new());
        for message in &messages {
            payload.clear();
            out.clear();
            deflater.deflate(message, &mut payload).unwrap();
            if takeover {
                inflater.inflate(&payload, &mut out, message.len()).unwrap();
            } else {
                inflater.inflate_alone(&payload, &mut out, message.len()).unwrap();
                deflater.reset();
            }
            prop_assert_eq!(&out, message);
        }
    }

    #[test]
    fn arbitrary_octets_never_panic_nor_pass_the_cap(
        inputs in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..6),
        cap in 0usize..5000,
        bits in 0u8..=20,
    ) {
        let mut inflater = Inflater::new(bits);
        for input in &inputs {
            let mut out = b"kept".to_vec();
            match inflater.inflate(input, &mut out, cap) {
                Ok(()) => prop_assert!(out.len() - 4 <= cap),
                Err(_) => prop_assert_eq!(&out, b"kept"),
            }
            prop_assert_eq!(&out[..4], b"kept");
        }
    }

    #[test]
    fn damaged_messages_never_panic(
        seed: u32,
        bits in 8u8..=15,
        damage in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..5),
        cap in 0usize..20_000,
    ) {
        let mut payload = deflated(&mut Deflater::new(6, bits, 8), &prose(5000, seed));
        for (at, with) in damage {
            let at = at % payload.len();
            payload[at] ^= with;
        }
        let mut out = Vec::new();
        let _ = Inflater::new(bits).inflate(&payload, &mut out, cap);
        prop_assert!(out.len() <= cap);
    }
}
