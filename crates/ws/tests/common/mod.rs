//! Helpers of the tests: events that own their bytes, and functions that feed a decoder with pieces.
#![allow(dead_code)] // Each test file uses a part of it.

use hioload_ws_proto::{
    Assembler, AssemblerOptions, Decoder, Event, Kind, Limits, OpCode, ProtocolError, Role, encode,
};

/// An event that owns its bytes, or the error that ended the stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Error(ProtocolError),
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Message(m) if m.kind() == Kind::Text => {
                Self::Text(m.as_text().expect("a text message").to_owned())
            }
            Event::Message(m) => Self::Binary(m.as_bytes().to_vec()),
            Event::Ping(p) => Self::Ping(p.to_vec()),
            Event::Pong(p) => Self::Pong(p.to_vec()),
            Event::Close(c) => Self::Close(c.map(|c| (c.code.0, c.reason.to_owned()))),
        }
    }
}

/// Feeds one piece, in a heap buffer of exactly its size, and appends the events to `seen`; returns `false` after an error.
pub(crate) fn feed(
    decoder: &mut Decoder,
    asm: &mut Assembler,
    piece: &[u8],
    seen: &mut Vec<Seen>,
) -> bool {
    let mut input = piece.to_vec().into_boxed_slice();
    let mut rest = &mut input[..];
    while !rest.is_empty() {
        let len = rest.len();
        match decoder.decode(asm, rest) {
            Ok((used, event)) => {
                // Bytes are left without an event only while a message is inflated in slices.
                assert!(event.is_some() || used == len || decoder.is_inflating());
                assert!(used > 0 || decoder.is_inflating());
                seen.extend(event.map(Seen::from));
                rest = &mut rest[used..];
            }
            Err(error) => {
                seen.push(Seen::Error(error));
                return false;
            }
        }
    }
    true
}

/// All events of a new decoder of this role for the pieces, up to the first error.
pub(crate) fn run<'p>(
    role: Role,
    asm: &mut Assembler,
    pieces: impl IntoIterator<Item = &'p [u8]>,
) -> Vec<Seen> {
    run_with(Decoder::new(role), asm, pieces)
}

/// The same for a given decoder.
pub(crate) fn run_with<'p>(
    mut decoder: Decoder,
    asm: &mut Assembler,
    pieces: impl IntoIterator<Item = &'p [u8]>,
) -> Vec<Seen> {
    let mut seen = Vec::new();
    for piece in pieces {
        if !feed(&mut decoder, asm, piece, &mut seen) {
            break;
        }
    }
    decoder.release(asm);
    assert_eq!((asm.stats().unfinished, asm.stats().bytes), (0, 0));
    seen
}

pub(crate) fn assembler() -> Assembler {
    Assembler::new(AssemblerOptions::default())
}

/// An assembler that inflates this many bytes in one call.
pub(crate) fn slicing(limits: Limits, slice: usize) -> Assembler {
    Assembler::new(AssemblerOptions::new(limits).slice(slice))
}

pub(crate) const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The key that a peer of `role` masks with, if it does.
pub(crate) fn key_towards(role: Role) -> Option<[u8; 4]> {
    (role == Role::Server).then_some(KEY)
}

/// A masked frame, as a client sends it.
pub(crate) fn frame(fin: bool, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode::fragment_into(&mut out, fin, false, opcode, payload, Some(KEY));
    out
}
