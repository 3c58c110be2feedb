//! Any split of the input gives the same events: random streams, valid and corrupted, split at random.

mod common;

use common::{Seen, assembler, key_towards, run, run_with, slicing};
use hioload_ws_proto::deflate::{DeflateConfig, Deflater, Window};
use hioload_ws_proto::{
    Assembler, AssemblerOptions, CloseCode, CloseFrame, Compressor, Decoder, Deflation, Inflation,
    Limits, OpCode, Role, encode,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// A sent message, in fragments with control frames between them, or a sent control frame.
#[derive(Clone, Debug)]
enum Sent {
    Message {
        text: bool,
        payload: Vec<u8>,
        cuts: Vec<usize>,
        pings: Vec<Option<Vec<u8>>>,
    },
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

fn payload() -> impl Strategy<Value = (bool, Vec<u8>)> {
    prop_oneof![
        vec(any::<u8>(), 0..300).prop_map(|bytes| (false, bytes)),
        ".{0,60}".prop_map(|s| (true, s.into_bytes())),
        "[ -~]{0,300}".prop_map(|s| (true, s.into_bytes())),
        (60_000..70_000usize).prop_map(|n| (true, vec![b'z'; n])),
    ]
}

fn sent() -> impl Strategy<Value = Sent> {
    let control = || vec(any::<u8>(), 0..=125);
    prop_oneof![
        8 => (payload(), vec(0..300usize, 0..4), vec(proptest::option::of(control()), 5))
            .prop_map(|((text, payload), cuts, pings)| Sent::Message { text, payload, cuts, pings }),
        1 => control().prop_map(Sent::Pong),
        1 => proptest::option::of((3000..5000u16, ".{0,20}")).prop_map(Sent::Close),
    ]
}

/// A sending peer, and the events that the other end must see.
struct Sender {
    key: Option<[u8; 4]>,
    compressor: Compressor,
    deflation: Deflation,
    wire: Vec<u8>,
    expected: Vec<Seen>,
}

impl Sender {
    fn send(&mut self, sent: &Sent) {
        match sent {
            Sent::Message {
                text,
                payload,
                cuts,
                pings,
            } => {
                self.message(*text, payload, cuts, pings);
                let payload = payload.clone();
                self.expected.push(if *text {
                    Seen::Text(String::from_utf8(payload).expect("generated as text"))
                } else {
                    Seen::Binary(payload)
                });
            }
            Sent::Pong(payload) => {
                encode::frame_into(&mut self.wire, OpCode::Pong, payload, self.key);
                self.expected.push(Seen::Pong(payload.clone()));
            }
            Sent::Close(close) => {
                let frame = close.as_ref().map(|(code, reason)| CloseFrame {
                    code: CloseCode(*code),
                    reason,
                });
                encode::close_into(&mut self.wire, frame, self.key);
                self.expected.push(Seen::Close(close.clone()));
            }
        }
    }

    /// Sends fragments, with pings between some of them, compressed if that is agreed and makes the message shorter.
    fn message(&mut self, text: bool, payload: &[u8], cuts: &[usize], pings: &[Option<Vec<u8>>]) {
        let compressed = self.compressor.compress(&mut self.deflation, payload);
        let mut rsv1 = compressed.is_some();
        let payload = compressed.unwrap_or(payload);
        let mut cuts: Vec<_> = cuts.iter().map(|&c| c.min(payload.len())).collect();
        cuts.sort_unstable();
        cuts.push(payload.len());
        let mut opcode = if text { OpCode::Text } else { OpCode::Binary };
        let mut from = 0;
        for (i, &cut) in cuts.iter().enumerate() {
            if let (true, Some(ping)) = (i > 0, &pings[i]) {
                encode::frame_into(&mut self.wire, OpCode::Ping, ping, self.key);
                self.expected.push(Seen::Ping(ping.clone()));
            }
            let (fin, piece) = (i + 1 == cuts.len(), &payload[from..cut]);
            encode::fragment_into(&mut self.wire, fin, rsv1, opcode, piece, self.key);
            (from, opcode, rsv1) = (cut, OpCode::Continuation, false);
        }
    }
}

/// permessage-deflate of the two ends: none, without context takeover, or with it.
fn deflation(mode: u8) -> Deflation {
    match mode {
        0 => Deflation::None,
        1 => Deflation::Shared { window_bits: 11 },
        _ => Deflation::Own {
            deflater: Box::new(Deflater::new(6, 9, 4)),
            context_takeover: true,
        },
    }
}

fn decoder(role: Role, mode: u8) -> Decoder {
    Decoder::with_deflate(
        role,
        match mode {
            0 => Inflation::None,
            1 => Inflation::Alone,
            _ => Inflation::Context(Box::new(Window::new(9))),
        },
    )
}

/// The stream, and the events that it must give; none after a Close.
fn stream(all: &[Sent], role: Role, mode: u8) -> (Vec<u8>, Vec<Seen>) {
    let mut config = DeflateConfig::default();
    config.threshold = 5;
    let mut sender = Sender {
        key: key_towards(role),
        compressor: Compressor::new(&config, 1 << 16),
        deflation: deflation(mode),
        wire: Vec::new(),
        expected: Vec::new(),
    };
    for sent in all {
        sender.send(sent);
    }
    if let Some(close) = sender
        .expected
        .iter()
        .position(|s| matches!(s, Seen::Close(_)))
    {
        sender.expected.truncate(close + 1);
    }
    (sender.wire, sender.expected)
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Server), Just(Role::Client)]
}

/// Splits `bytes` into pieces of these sizes, repeated.
fn pieces<'b>(bytes: &'b [u8], sizes: &'b [usize]) -> impl Iterator<Item = &'b [u8]> {
    let mut rest = bytes;
    sizes.iter().cycle().map_while(move |&size| {
        let (piece, tail) = rest.split_at(size.min(rest.len()));
        rest = tail;
        (!piece.is_empty()).then_some(piece)
    })
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        vec(1..8usize, 1..6),
        vec(1..400usize, 1..6),
        vec(1..70_000usize, 1..6)
    ]
}

/// Limits low enough that random streams reach them.
const TIGHT: Limits = Limits::new(60_500, 60_300, 3);

fn tight() -> Assembler {
    Assembler::new(AssemblerOptions::new(TIGHT))
}

/// Bytes inflated in one call: a few, a few thousand, more than any message here.
fn slice() -> impl Strategy<Value = usize> {
    prop_oneof![1..40usize, 1..5000usize, 1..100_000usize]
}

proptest! {
    #[test]
    fn sent_messages_are_received_at_any_split(
        all in vec(sent(), 0..6),
        role in role(),
        mode in 0..3u8,
        sizes in sizes(),
        slice in slice(),
    ) {
        let (bytes, expected) = stream(&all, role, mode);
        let mut asm = slicing(Limits::default(), slice);
        prop_assert_eq!(&run_with(decoder(role, mode), &mut asm, [&bytes[..]]), &expected);
        prop_assert_eq!(&run_with(decoder(role, mode), &mut asm, pieces(&bytes, &sizes)), &expected);
        let mut asm = assembler();
        prop_assert_eq!(&run_with(decoder(role, mode), &mut asm, [&bytes[..]]), &expected);
        prop_assert_eq!(&run_with(decoder(role, mode), &mut asm, pieces(&bytes, &sizes)), &expected);
        prop_assert_eq!(&run_with(decoder(role, mode), &mut asm, bytes.chunks(1)), &expected);
    }

    #[test]
    fn spoiled_streams_fail_alike_however_they_are_cut(
        all in vec(sent(), 1..4),
        role in role(),
        mode in 0..3u8,
        spoil in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        sizes in sizes(),
        near_the_front: bool,
        slice in slice(),
    ) {
        let (mut bytes, _) = stream(&all, role, mode);
        let reach = if near_the_front { bytes.len().min(20) } else { bytes.len() };
        for (at, xor) in spoil {
            bytes[at.index(reach)] ^= xor;
        }
        let whole = run_with(decoder(role, mode), &mut tight(), [&bytes[..]]);
        prop_assert_eq!(&run_with(decoder(role, mode), &mut tight(), pieces(&bytes, &sizes)), &whole);
        prop_assert_eq!(&run_with(decoder(role, mode), &mut tight(), bytes.chunks(1)), &whole);
        let sliced = || slicing(TIGHT, slice);
        prop_assert_eq!(&run_with(decoder(role, mode), &mut sliced(), [&bytes[..]]), &whole);
        prop_assert_eq!(&run_with(decoder(role, mode), &mut sliced(), pieces(&bytes, &sizes)), &whole);
    }

    #[test]
    fn noise_gives_the_same_events_at_any_split(bytes in vec(any::<u8>(), 0..200), role in role(), sizes in sizes()) {
        let whole = run(role, &mut tight(), [&bytes[..]]);
        prop_assert_eq!(&run(role, &mut tight(), pieces(&bytes, &sizes)), &whole);
        prop_assert_eq!(&run(role, &mut tight(), bytes.chunks(1)), &whole);
    }
}
