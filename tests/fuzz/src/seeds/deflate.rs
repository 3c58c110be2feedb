//! Seeds of the target `deflate`: messages to compress, and blocks to inflate.

use super::{Seed, deflated, seed};

pub fn seeds() -> Vec<Seed> {
    let one = |name: &str, what: u8, window: u8, effort: u8, splits: u8, data: &[u8]| {
        seed(name, &[&[what, window, effort, 0, 0, 0, splits], data])
    };
    let text = "to be compressed, to be compressed again; ".repeat(12);
    let bomb = deflated(&vec![b'z'; 200_000]);
    // A final block, its padding, and another message.
    let ended = [&[0x01, 0x03, 0x00, 0xfc, 0xff][..], b"abc", &[0x00]].concat();
    vec![
        one("inflate", 0, 15, 0, 1, &deflated(text.as_bytes())),
        one(
            "inflate-context",
            0,
            9,
            0,
            5,
            &[deflated(b"one one one"), deflated(b"one one two")].concat(),
        ),
        one("inflate-bomb", 0, 15, 0, 3, &bomb),
        one("inflate-final-block", 0, 15, 0, 0, &ended),
        one("inflate-final-blocks", 0, 15, 0, 0, &[3, 0].repeat(50)),
        one("inflate-bad-block", 0, 15, 0, 0, b"\x07"),
        one("inflate-too-far-back", 0, 0, 0, 0, b"\x02\x08\x20\x80\xff"),
        one("round-trip", 1, 15, 86, 9, text.as_bytes()),
        one("round-trip-window-8", 1, 8, 1, 9, text.as_bytes()),
        one("round-trip-stored", 1, 3, 0, 2, text.as_bytes()),
        one("stream", 2, 12, 81, 4, text.as_bytes()),
        one("stream-shared", 2, 4, 81, 4, text.as_bytes()),
        one("stream-arbitrary", 3, 12, 0, 4, &bomb),
    ]
}
