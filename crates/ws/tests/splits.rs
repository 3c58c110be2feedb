//! Any split of the input gives the same events: random streams, good and spoiled, cut at random.

mod common;

use common::{Seen, assembler, key_towards, run};
use hioload_ws_proto::{
    Assembler, AssemblerOptions, CloseCode, CloseFrame, Limits, OpCode, Role, encode,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// What a peer sends: a message in fragments with control frames between them, or a control frame.
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

/// Writes it, and says what the receiver must see.
fn write(sent: &Sent, role: Role, out: &mut Vec<u8>, expected: &mut Vec<Seen>) {
    let key = key_towards(role);
    match sent {
        Sent::Message {
            text,
            payload,
            cuts,
            pings,
        } => {
            let mut cuts: Vec<_> = cuts.iter().map(|&c| c.min(payload.len())).collect();
            cuts.sort_unstable();
            cuts.push(payload.len());
            let mut opcode = if *text { OpCode::Text } else { OpCode::Binary };
            let mut from = 0;
            for (i, &cut) in cuts.iter().enumerate() {
                let fin = i + 1 == cuts.len();
                if let (true, Some(ping)) = (i > 0, &pings[i]) {
                    encode::frame_into(out, OpCode::Ping, ping, key);
                    expected.push(Seen::Ping(ping.clone()));
                }
                encode::fragment_into(out, fin, false, opcode, &payload[from..cut], key);
                (from, opcode) = (cut, OpCode::Continuation);
            }
            let payload = payload.clone();
            expected.push(if *text {
                Seen::Text(String::from_utf8(payload).expect("generated as text"))
            } else {
                Seen::Binary(payload)
            });
        }
        Sent::Pong(payload) => {
            encode::frame_into(out, OpCode::Pong, payload, key);
            expected.push(Seen::Pong(payload.clone()));
        }
        Sent::Close(close) => {
            let frame = close.as_ref().map(|(code, reason)| CloseFrame {
                code: CloseCode(*code),
                reason,
            });
            encode::close_into(out, frame, key);
            expected.push(Seen::Close(close.clone()));
        }
    }
}

/// The stream and what must be seen in it; nothing counts after a Close.
fn stream(all: &[Sent], role: Role) -> (Vec<u8>, Vec<Seen>) {
    let (mut out, mut expected) = (Vec::new(), Vec::new());
    for sent in all {
        write(sent, role, &mut out, &mut expected);
    }
    if let Some(close) = expected.iter().position(|s| matches!(s, Seen::Close(_))) {
        expected.truncate(close + 1);
    }
    (out, expected)
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Server), Just(Role::Client)]
}

/// Cuts `bytes` into pieces of these sizes, over and over.
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
fn tight() -> Assembler {
    let limits = Limits {
        max_message: 60_500,
        max_frame: 60_300,
        max_fragments: 3,
    };
    Assembler::new(AssemblerOptions {
        limits,
        ..AssemblerOptions::default()
    })
}

proptest! {
    #[test]
    fn what_is_sent_is_seen_however_it_is_cut(all in vec(sent(), 0..6), role in role(), sizes in sizes()) {
        let (bytes, expected) = stream(&all, role);
        let mut asm = assembler();
        prop_assert_eq!(&run(role, &mut asm, [&bytes[..]]), &expected);
        prop_assert_eq!(&run(role, &mut asm, pieces(&bytes, &sizes)), &expected);
        prop_assert_eq!(&run(role, &mut asm, bytes.chunks(1)), &expected);
    }

    #[test]
    fn spoiled_streams_fail_alike_however_they_are_cut(
        all in vec(sent(), 1..4),
        role in role(),
        spoil in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        sizes in sizes(),
        near_the_front: bool,
    ) {
        let (mut bytes, _) = stream(&all, role);
        let reach = if near_the_front { bytes.len().min(20) } else { bytes.len() };
        for (at, xor) in spoil {
            bytes[at.index(reach)] ^= xor;
        }
        let whole = run(role, &mut tight(), [&bytes[..]]);
        prop_assert_eq!(&run(role, &mut tight(), pieces(&bytes, &sizes)), &whole);
        prop_assert_eq!(&run(role, &mut tight(), bytes.chunks(1)), &whole);
    }

    #[test]
    fn noise_is_read_alike_however_it_is_cut(bytes in vec(any::<u8>(), 0..200), role in role(), sizes in sizes()) {
        let whole = run(role, &mut tight(), [&bytes[..]]);
        prop_assert_eq!(&run(role, &mut tight(), pieces(&bytes, &sizes)), &whole);
        prop_assert_eq!(&run(role, &mut tight(), bytes.chunks(1)), &whole);
    }
}
