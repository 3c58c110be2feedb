//! Seeds of the target `frames`: valid and invalid sequences of frames.

use hioload_ws_proto::{OpCode, encode};

use super::super::session::CLOSE;
use super::{SPLITS, Seed, deflated, seed};

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

fn masked(fin: bool, rsv1: bool, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode::fragment_into(&mut out, fin, rsv1, opcode, payload, Some(MASK));
    out
}

pub fn seeds() -> Vec<Seed> {
    use OpCode::{Binary, Close, Continuation, Ping, Pong, Text};
    let one = |name: &str, options: u8, frames: &[Vec<u8>]| {
        seed(name, &[&[options], SPLITS, &frames.concat()])
    };
    let text = "Grüße, 世界 🌍".as_bytes();
    let plain = |opcode, payload: &[u8]| {
        let mut out = Vec::new();
        encode::frame_into(&mut out, opcode, payload, None);
        out
    };
    let packed = deflated(b"compressed compressed compressed");
    vec![
        one("text", 0, &[masked(true, false, Text, text)]),
        one(
            "text-in-the-middle-of-a-character",
            0,
            &[
                masked(false, false, Text, &text[..4]),
                masked(true, false, Ping, b"between"),
                masked(true, false, Continuation, &text[4..]),
            ],
        ),
        one("bad-utf8", 0, &[masked(false, false, Text, b"abc\xf4\x90")]),
        one("binary-126", 0, &[masked(true, false, Binary, &[7; 126])]),
        one(
            "binary-65536-unfinished",
            24,
            &[masked(true, false, Binary, &[7; 65536])[..40].to_vec()],
        ),
        one(
            "controls",
            0,
            &[
                masked(true, false, Ping, &[1; 125]),
                masked(true, false, Pong, b""),
            ],
        ),
        one(
            "close",
            0,
            &[
                masked(true, false, Close, b"\x03\xe8bye"),
                masked(true, false, Text, b"late"),
            ],
        ),
        one("close-empty", 0, &[masked(true, false, Close, b"")]),
        one("close-one-byte", 0, &[masked(true, false, Close, b"x")]),
        one("close-1005", 0, &[masked(true, false, Close, b"\x03\xed")]),
        one(
            "server-frames",
            1,
            &[plain(Text, text), plain(Ping, b"p"), plain(Close, &CLOSE)],
        ),
        one("unmasked-from-client", 0, &[plain(Text, b"x")]),
        one("masked-from-server", 1, &[masked(true, false, Text, b"x")]),
        one("reserved-bit", 0, &[vec![0xa1, 0x80, 0, 0, 0, 0]]),
        one("reserved-opcode", 0, &[vec![0x83, 0x80, 0, 0, 0, 0]]),
        one("long-control", 0, &[vec![0x89, 0xfe, 0, 126]]),
        one("length-not-minimal", 0, &[vec![0x82, 0xfe, 0, 5]]),
        one(
            "length-top-bit",
            0,
            &[vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1]],
        ),
        one(
            "continuation-of-nothing",
            0,
            &[masked(true, false, Continuation, b"x")],
        ),
        one(
            "interrupted",
            0,
            &[
                masked(false, false, Text, b"x"),
                masked(true, false, Text, b"y"),
            ],
        ),
        one(
            "over-the-limits",
            8,
            &[
                masked(false, false, Binary, &[1; 130]),
                masked(true, false, Continuation, &[1; 71]),
            ],
        ),
        one(
            "too-many-fragments",
            16,
            &[
                masked(false, false, Binary, b""),
                masked(false, false, Continuation, b""),
                masked(true, false, Continuation, b""),
            ],
        ),
        one(
            "poor",
            32,
            &[
                masked(false, false, Binary, &[1; 200]),
                masked(true, false, Continuation, &[1; 71]),
            ],
        ),
        one("deflate", 4, &[masked(true, true, Text, &packed)]),
        one(
            "deflate-context",
            6,
            &[
                masked(false, true, Text, &packed[..5]),
                masked(true, false, Pong, b""),
                masked(true, false, Continuation, &packed[5..]),
                masked(true, true, Text, &packed),
            ],
        ),
        one(
            "deflate-not-agreed",
            0,
            &[masked(true, true, Text, &packed)],
        ),
    ]
}
