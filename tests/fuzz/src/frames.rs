//! The decoder in both roles: the same events and errors however the stream is split.
//!
//! Input: a byte of options (our role, permessage-deflate, limits, budget), the seed of the splits (4 bytes), the stream.

use hioload_ws_proto::deflate::Window;
use hioload_ws_proto::{
    Assembler, AssemblerOptions, CloseCode, CloseFrame, Decoder, Inflation, Limits, OpCode, Role,
    encode,
};

use super::events::{Seen, decode};
use super::input::{Input, cut};

/// Limits; some are low, so that inputs reach them.
const LIMITS: [Limits; 4] = [
    Limits::new(1 << 20, 1 << 20, 1 << 10),
    Limits::new(200, 130, 3),
    Limits::new(20, 100, 2),
    Limits::new(70_000, 66_000, 1),
];

/// Runs one input; see the module.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let options = input.byte();
    let seed = input.word();
    let stream = input.rest();
    let role = if options & 1 == 0 {
        Role::Server
    } else {
        Role::Client
    };
    let deflate = options >> 1 & 3;
    let limits = LIMITS[usize::from(options >> 3 & 3)];
    let poor = options >> 5 & 1 == 1;

    let see =
        |pieces: &[&[u8]]| decode(decoder(role, deflate), &mut assembler(limits, poor), pieces);
    let whole = see(&[stream]);
    let split = see(&cut(stream, seed));
    // A message in one piece needs no memory. With a small budget the results may differ.
    if !poor {
        assert_eq!(whole, split, "the split changes the events");
        if stream.len() < 300 {
            let single: Vec<_> = stream.chunks(1).collect();
            assert_eq!(whole, see(&single), "single bytes change the events");
        }
    }
    again(role, &whole);
}

fn decoder(role: Role, deflate: u8) -> Decoder {
    let inflation = match deflate {
        0 | 1 => Inflation::None,
        2 => Inflation::Alone,
        _ => Inflation::Context(Box::new(Window::new(9))),
    };
    Decoder::with_deflate(role, inflation)
}

fn assembler(limits: Limits, poor: bool) -> Assembler {
    Assembler::new(AssemblerOptions::new(limits).budget(if poor { 500 } else { 256 << 20 }))
}

/// The events, written by our encoder, are decoded to the same events.
fn again(role: Role, seen: &[Seen]) {
    let key = (role == Role::Server).then_some([0x37, 0xfa, 0x21, 0x3d]);
    let mut wire = Vec::new();
    let mut expected = Vec::new();
    for event in seen {
        match event {
            Seen::Message(kind, payload) => {
                encode::frame_into(&mut wire, (*kind).into(), payload, key);
            }
            Seen::Ping(payload) => encode::frame_into(&mut wire, OpCode::Ping, payload, key),
            Seen::Pong(payload) => encode::frame_into(&mut wire, OpCode::Pong, payload, key),
            Seen::Close(close) => {
                let close = close.as_ref().map(|(code, reason)| CloseFrame {
                    code: CloseCode(*code),
                    reason,
                });
                encode::close_into(&mut wire, close, key);
            }
            Seen::Error(_) => continue,
        }
        expected.push(event.clone());
    }
    let mut asm = Assembler::new(AssemblerOptions::default());
    assert_eq!(
        decode(Decoder::new(role), &mut asm, &[&wire]),
        expected,
        "written and read again"
    );
}
