//! permessage-deflate: inflating arbitrary data under a cap, and compressing and inflating again.
//!
//! Input: a byte that selects the check, one with the window bits and context takeover, one with the level and the memory level,
//! the seed of the splits (4 bytes), the data.

use hioload_ws_proto::deflate::{DeflateConfig, Deflater, InflateError, Inflater, Sharing, Window};
use hioload_ws_proto::{
    Assembler, AssemblerOptions, Compressor, Decoder, Deflation, Inflation, Kind, Limits, OpCode,
    Role, encode,
};

use super::events::{Seen, decode};
use super::input::{Input, Random, cut};

/// The options of one input.
struct Options {
    bits: u8,
    context: bool,
    level: u8,
    mem_level: u8,
    seed: u32,
}

/// Runs one input; see the module.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let (what, window, effort) = (input.byte(), input.byte(), input.byte());
    let options = Options {
        bits: 8 + (window & 7),
        context: window & 8 != 0,
        level: effort % 10,
        mem_level: 1 + (effort / 10) % 9,
        seed: input.word(),
    };
    let data = input.rest();
    match what % 4 {
        0 => inflate(&options, data),
        1 => there_and_back(&options, data),
        2 => compressed_stream(&options, data),
        _ => arbitrary_stream(&options, data),
    }
}

/// A few messages of arbitrary bytes: the cap is exact, a failure appends nothing, and a shared window gives the same as an own
/// one.
fn inflate(options: &Options, data: &[u8]) {
    let mut random = Random::new(options.seed.into());
    let mut own = Inflater::new(options.bits);
    let mut shared = Inflater::new(15);
    let mut window = Window::new(options.bits);
    for message in messages(data, options.seed) {
        let cap = [0, 100, 5000, 1 << 20][random.below(4)];
        let before = window.clone();
        let mut out = b"before".to_vec();
        let result = own.inflate(message, &mut out, cap);
        let made = out.len() - 6;
        assert!(out.starts_with(b"before") && made <= cap);
        assert!(result.is_ok() || made == 0, "a failure appends nothing");
        assert!(
            out.capacity() <= 4 * cap + 64 + 4 * message.len().max(256),
            "memory beyond the cap"
        );
        let mut lent = Vec::new();
        assert_eq!(
            shared.inflate_with(&mut window, message, &mut lent, cap),
            result
        );
        assert_eq!(lent, out[6..]);
        if result.is_err() {
            return;
        }
        assert!(window.len() <= window.size());
        exact_cap(&mut shared, &before, message, made);
        if !options.context {
            own.reset();
            window.clear();
        }
    }
}

/// A message that inflates to `made` bytes fits a cap of `made`, and no smaller one.
fn exact_cap(inflater: &mut Inflater, window: &Window, message: &[u8], made: usize) {
    let mut out = Vec::new();
    assert_eq!(
        inflater.inflate_with(&mut window.clone(), message, &mut out, made),
        Ok(())
    );
    if made > 0 {
        let result = inflater.inflate_with(&mut window.clone(), message, &mut Vec::new(), made - 1);
        assert_eq!(result, Err(InflateError::TooBig));
    }
}

/// A deflated message inflates to itself, message after message, in the agreed window.
fn there_and_back(options: &Options, data: &[u8]) {
    let mut deflater = Deflater::new(options.level, options.bits, options.mem_level);
    let mut inflater = Inflater::new(options.bits);
    for message in messages(data, options.seed) {
        let (mut small, mut large) = (Vec::new(), Vec::new());
        assert_eq!(deflater.deflate(message, &mut small), Ok(()));
        assert_eq!(inflater.inflate(&small, &mut large, message.len()), Ok(()));
        assert_eq!(large, message);
        if !options.context {
            deflater.reset();
            inflater.reset();
        }
    }
}

/// A stream of messages, some compressed, as our side sends it: the decoder returns them however the stream is split.
fn compressed_stream(options: &Options, data: &[u8]) {
    let mut config = DeflateConfig::new(if options.context {
        Sharing::Own
    } else {
        Sharing::Shared
    });
    config.level = options.level;
    config.mem_level = options.mem_level;
    config.threshold = 8;
    let mut deflation = match options.context {
        true => Deflation::Own {
            deflater: Box::new(Deflater::new(config.level, options.bits, config.mem_level)),
            context_takeover: true,
        },
        false => Deflation::Shared {
            window_bits: options.bits,
        },
    };
    let mut compressor = Compressor::new(&config, 1000);
    let (mut wire, mut expected) = (Vec::new(), Vec::new());
    for message in messages(data, options.seed) {
        let small = compressor.compress(&mut deflation, message);
        write(
            &mut wire,
            small.unwrap_or(message),
            small.is_some(),
            options.seed,
        );
        expected.push(Seen::Message(Kind::Binary, message.to_vec()));
    }
    alike(options, &wire, Limits::default(), Some(&expected));
}

/// Arbitrary bytes as compressed messages in well-formed frames.
fn arbitrary_stream(options: &Options, data: &[u8]) {
    let mut wire = Vec::new();
    for message in messages(data, options.seed) {
        write(&mut wire, message, true, options.seed);
    }
    let limits = Limits::new(3000, 3000, 8);
    alike(options, &wire, limits, None);
}

/// The stream gives the same events whole and in pieces, and these are `expected` if that is known.
fn alike(options: &Options, wire: &[u8], limits: Limits, expected: Option<&[Seen]>) {
    let see = |pieces: &[&[u8]], slice: usize| {
        let inflation = match options.context {
            true => Inflation::Context(Box::new(Window::new(options.bits))),
            false => Inflation::Alone,
        };
        let mut asm = Assembler::new(AssemblerOptions::new(limits).slice(slice));
        decode(
            Decoder::with_deflate(Role::Server, inflation),
            &mut asm,
            pieces,
        )
    };
    let whole = see(&[wire], usize::MAX);
    if let Some(expected) = expected {
        assert_eq!(whole, expected);
    }
    let pieces = cut(wire, options.seed);
    assert_eq!(
        see(&pieces, usize::MAX),
        whole,
        "the split changes the events"
    );
    let slice = 1 + Random::new(u64::from(options.seed) << 2).below(5000);
    assert_eq!(see(&[wire], slice), whole, "the slice changes the events");
    assert_eq!(see(&pieces, slice), whole, "both change the events");
}

/// One binary message in up to three fragments.
fn write(wire: &mut Vec<u8>, payload: &[u8], compressed: bool, seed: u32) {
    let mut random = Random::new(u64::from(seed) + payload.len() as u64);
    let (mut rest, mut first) = (payload, true);
    for left in (0..=random.below(3)).rev() {
        let n = if left == 0 {
            rest.len()
        } else {
            random.below(rest.len() + 1)
        };
        let (piece, tail) = rest.split_at(n);
        let opcode = if first {
            OpCode::Binary
        } else {
            OpCode::Continuation
        };
        encode::fragment_into(
            wire,
            left == 0,
            compressed && first,
            opcode,
            piece,
            Some([9, 8, 7, 6]),
        );
        (rest, first) = (tail, false);
    }
}

/// Up to eight messages, some of them empty.
fn messages(data: &[u8], seed: u32) -> Vec<&[u8]> {
    let mut random = Random::new(u64::from(seed) << 1);
    let (mut messages, mut rest) = (Vec::new(), data);
    for left in (0..=random.below(8)).rev() {
        let n = if left == 0 {
            rest.len()
        } else {
            random.below(rest.len() + 1)
        };
        let (message, tail) = rest.split_at(n);
        messages.push(message);
        rest = tail;
    }
    messages
}
