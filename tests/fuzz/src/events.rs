//! Runs a decoder over pieces of a stream, and collects its events.

use hioload_ws_proto::{Assembler, Decoder, Event, Kind, ProtocolError};

/// An event that owns its bytes, or the error that ended the stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Seen {
    /// A message.
    Message(Kind, Vec<u8>),
    /// A ping.
    Ping(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// A Close with its code and reason.
    Close(Option<(u16, String)>),
    /// The stream has failed.
    Error(ProtocolError),
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Message(m) => {
                // The decoder returns text without another check by its user, so it must be UTF-8.
                let text = m
                    .as_text()
                    .map(|text| std::str::from_utf8(text.as_bytes()).is_ok());
                assert_eq!(
                    text,
                    (m.kind() == Kind::Text).then_some(true),
                    "a text message is UTF-8"
                );
                Self::Message(m.kind(), m.as_bytes().to_vec())
            }
            Event::Ping(p) => Self::Ping(p.to_vec()),
            Event::Pong(p) => Self::Pong(p.to_vec()),
            Event::Close(c) => Self::Close(c.map(|c| (c.code.0, c.reason.to_owned()))),
        }
    }
}

/// All events of `decoder` in `pieces`. Each piece is in a heap buffer of exactly its size, so that a sanitizer detects an access
/// beyond it. In the end the decoder has returned all its memory.
pub fn decode(mut decoder: Decoder, asm: &mut Assembler, pieces: &[&[u8]]) -> Vec<Seen> {
    let mut seen = Vec::new();
    for piece in pieces {
        feed(&mut decoder, asm, piece, &mut seen);
    }
    decoder.release(asm);
    let stats = asm.stats();
    assert_eq!(
        (stats.unfinished, stats.bytes),
        (0, 0),
        "what a connection held is given back"
    );
    seen
}

fn feed(decoder: &mut Decoder, asm: &mut Assembler, piece: &[u8], seen: &mut Vec<Seen>) {
    let mut input = piece.to_vec().into_boxed_slice();
    let mut rest = &mut input[..];
    while !rest.is_empty() {
        let len = rest.len();
        match decoder.decode(asm, rest) {
            Ok((used, event)) => {
                // Bytes are left without an event only while a message is inflated in slices.
                assert!(used <= len && (used > 0 || decoder.is_inflating()));
                assert!(used == len || event.is_some() || decoder.is_inflating());
                assert!(
                    !matches!(seen.last(), Some(Seen::Error(_))),
                    "an error is for ever"
                );
                let ignores = matches!(seen.last(), Some(Seen::Close(_)));
                assert!(!ignores || event.is_none(), "an event after a Close");
                seen.extend(event.map(Seen::from));
                rest = &mut rest[used..];
            }
            Err(error) => {
                assert_eq!(decoder.error(), Some(error));
                match seen.last() {
                    Some(Seen::Error(first)) => {
                        assert_eq!(*first, error, "the error does not change");
                    }
                    _ => seen.push(Seen::Error(error)),
                }
                return;
            }
        }
    }
}
