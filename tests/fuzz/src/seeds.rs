//! The inputs that fuzzing starts from: one for each thing a peer does, well or badly.
//!
//! They are committed in `corpus/`, where the fuzzer finds them; an ordinary test compares them with this code, and writes them
//! anew if `HIOLOAD_WRITE_SEEDS` is set.

use hioload_ws_proto::deflate::Deflater;
use hioload_ws_proto::handshake::accept_key;
use hioload_ws_proto::{OpCode, encode};

use super::handshake::KEY;
use super::packets::BATCH;
use super::packets::steps::{
    ACCEPTING, AGAIN, ARP, CALL, CONNECT, EXTENDED, ICMP, PASS, RAW, SEGMENT, SHAKE,
};
use super::session::{CLOSE, REQUEST};

/// Name and content.
pub type Seed = (String, Vec<u8>);

/// The seeds of a target.
pub fn of(target: &str) -> Vec<Seed> {
    match target {
        "handshake" => handshake(),
        "frames" => frames(),
        "deflate" => deflate(),
        "packets" => packets(),
        _ => session(),
    }
}

fn seed(name: &str, parts: &[&[u8]]) -> Seed {
    (name.to_owned(), parts.concat())
}

const SPLITS: &[u8] = &[0, 0, 0, 7];

fn handshake() -> Vec<Seed> {
    let one =
        |name: &str, options: u8, head: &str| seed(name, &[&[options], SPLITS, head.as_bytes()]);
    // The base64 of the key that the target's client uses.
    let accept = accept_key("dGhlIHNhbXBsZSBub25jZQ==");
    let accept = String::from_utf8_lossy(&accept);
    assert_eq!(&KEY, b"the sample nonce");
    let reply = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"
    );
    let more = "Origin: http://x\r\nSec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Extensions: \
        permessage-deflate; client_max_window_bits; server_max_window_bits=10, x-other;a=\"b\"\r\n\r\n";
    let full = format!("{}{more}", &REQUEST[..REQUEST.len() - 2]);
    vec![
        one("request", 0, REQUEST),
        one("request-all-headers", 0, &full),
        one(
            "request-then-frames",
            0,
            &format!("{REQUEST}\u{1}\u{2}\u{3}"),
        ),
        one("request-over-the-limit", 1, &full),
        one("request-after-an-empty-line", 0, &format!("\r\n{REQUEST}")),
        one("request-bare-lf", 0, &REQUEST.replace("\r\n", "\n")),
        one("request-bad-key", 0, &REQUEST.replace("dGhl", "dGh")),
        one("request-version-8", 0, &REQUEST.replace("13", "8")),
        one(
            "request-absolute",
            0,
            &REQUEST.replace("GET /", "GET http://a:80/b?c"),
        ),
        one(
            "plain-get",
            1,
            "GET /healthz HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
        ),
        one("plain-head-1.0", 1, "HEAD / HTTP/1.0\r\n\r\n"),
        one(
            "plain-with-body",
            1,
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        ),
        one("reply", 0, &format!("{reply}\r\n")),
        one(
            "reply-deflate",
            0,
            &format!("{reply}Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
        ),
        one(
            "reply-protocol",
            0,
            &format!("{reply}Sec-WebSocket-Protocol: superchat\r\n\r\n"),
        ),
        one(
            "reply-after-100",
            0,
            &format!("HTTP/1.1 100 Continue\r\n\r\n{reply}\r\n"),
        ),
        one(
            "reply-503",
            0,
            "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\r\n",
        ),
        one(
            "parts",
            0,
            "example.com:80\n/path?query\nhttp://o\nvalue\nchat,v2.x",
        ),
    ]
}

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

fn masked(fin: bool, rsv1: bool, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode::fragment_into(&mut out, fin, rsv1, opcode, payload, Some(MASK));
    out
}

fn deflated(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Deflater::new(6, 9, 1)
        .deflate(payload, &mut out)
        .expect("never fails");
    out
}

fn frames() -> Vec<Seed> {
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

fn deflate() -> Vec<Seed> {
    let one = |name: &str, what: u8, window: u8, effort: u8, splits: u8, data: &[u8]| {
        seed(name, &[&[what, window, effort, 0, 0, 0, splits], data])
    };
    let text = "to be compressed, to be compressed again; ".repeat(12);
    let bomb = deflated(&vec![b'z'; 200_000]);
    // A final block, the padding after it, and another message behind it.
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

/// A script, written as [`super::session::Step`] reads it.
struct Script(Vec<u8>);

impl Script {
    fn new(options: u8) -> Self {
        Self([&[options], SPLITS].concat())
    }
    fn step(mut self, what: u8, who: u8, more: &[u8]) -> Self {
        self.0.extend_from_slice(&[what, who]);
        self.0.extend_from_slice(more);
        self
    }
    fn counted(self, what: u8, who: u8, first: Option<u8>, bytes: &[u8]) -> Self {
        let more = [first.as_slice(), &[bytes.len() as u8], bytes].concat();
        self.step(what, who, &more)
    }
    fn bytes(self, who: u8, bytes: &[u8]) -> Self {
        self.counted(0, who, None, bytes)
    }
    fn open(self, who: u8, variant: u8) -> Self {
        self.step(1, who, &[variant])
    }
    fn frame(self, who: u8, first: u8, payload: &[u8]) -> Self {
        self.counted(2, who, Some(first), payload)
    }
    fn say(self, who: u8, text: &str) -> Self {
        self.counted(3, who, None, text.as_bytes())
    }
    fn burst(self, who: u8, first: u8, payload: &[u8]) -> Self {
        self.counted(4, who, Some(first), payload)
    }
    fn close(self, who: u8) -> Self {
        self.step(5, who, &[])
    }
    fn reset(self, who: u8) -> Self {
        self.step(6, who, &[])
    }
    fn window(self, who: u8, bytes: u16) -> Self {
        self.step(7, who, &bytes.to_be_bytes())
    }
    fn pass(self, millis: u16) -> Self {
        self.step(8, 0, &millis.to_be_bytes())
    }
    fn fresh(self, who: u8) -> Self {
        self.step(9, who, &[])
    }
    fn named(self, name: &str) -> Seed {
        (name.to_owned(), self.0)
    }
}

fn session() -> Vec<Seed> {
    let opened = |options: u8| Script::new(options).open(0, 0);
    vec![
        opened(0)
            .say(0, "hello")
            .frame(0, 0x82, &[5; 200])
            .frame(0, 0x88, &CLOSE)
            .close(0)
            .named("echo-and-close"),
        opened(128)
            .say(0, "hello")
            .pass(1500)
            .frame(0, 0x8a, b"")
            .named("silence"),
        opened(0)
            .frame(0, 0x01, b"he")
            .frame(0, 0x89, b"?")
            .frame(0, 0x80, b"llo")
            .named("fragments"),
        opened(0)
            .frame(0, 0x01, b"he")
            .reset(0)
            .open(1, 0)
            .frame(1, 0x01, b"x")
            .close(1)
            .named("ends-in-a-message"),
        opened(0)
            .frame(0, 0xff, b"")
            .frame(0, 0x81, b"after")
            .named("protocol-error"),
        opened(2)
            .frame(0, 0x82, &[1; 151])
            .open(1, 0)
            .burst(1, 0x00, b"")
            .named("over-the-limits"),
        opened(4)
            .burst(0, 0x82, &[1; 10])
            .named("too-many-messages"),
        opened(6)
            .say(0, "sa")
            .say(0, "sb")
            .say(0, "sc")
            .open(1, 0)
            .open(2, 0)
            .open(3, 0)
            .named("subscriptions-and-sources"),
        opened(0)
            .open(1, 0)
            .say(0, "sa.*")
            .say(0, "s>")
            .say(1, "pa.b hello")
            .say(0, "u>")
            .say(1, "pa.b")
            .close(0)
            .say(1, "pa.b")
            .named("topics"),
        opened(0)
            .say(0, "z")
            .say(0, "later")
            .pass(100)
            .say(0, "t30")
            .say(0, "qping")
            .pass(60)
            .named("pause-and-timers"),
        opened(0)
            .open(1, 0)
            .say(0, "m1 to you")
            .say(0, "k0")
            .say(1, "c4000 bye")
            .named("across-connections"),
        opened(16)
            .say(0, "o")
            .open(4, 17)
            .say(4, "from the server")
            .frame(4, 0x88, &CLOSE)
            .close(4)
            .named("dialed"),
        opened(0)
            .say(0, "o")
            .say(0, "o")
            .fresh(4)
            .open(5, 0)
            .reset(5)
            .named("dialed-in-vain"),
        Script::new(0)
            .say(0, "o")
            .open(0, 0)
            .say(0, "o")
            .open(4, 0)
            .bytes(4, &[0x81, 0x80, 0, 0, 0, 0])
            .named("dialed-a-liar"),
        Script::new(16)
            .open(0, 1)
            .say(0, &"twice ".repeat(10))
            .frame(0, 0xc2, &deflated(&[7; 500]))
            .named("deflate-shared"),
        Script::new(24)
            .open(0, 2)
            .say(0, &"twice ".repeat(10))
            .say(0, &"twice ".repeat(11))
            .named("deflate-own"),
        Script::new(24)
            .open(0, 1)
            .open(1, 2)
            .open(2, 0)
            .say(0, "s>")
            .say(1, "s>")
            .say(2, "s>")
            .say(0, "what it heard before, what it heard before")
            .say(2, &format!("pa {}", "same ".repeat(20)))
            .say(0, "what it heard before, what it heard before")
            .named("deflate-topics"),
        opened(1)
            .window(0, 10)
            .say(0, "f50")
            .say(0, "f50")
            .say(0, "more")
            .window(0, 65535)
            .named("never-reads-close"),
        opened(33)
            .window(0, 10)
            .say(0, "f50")
            .frame(0, 0x89, b"?")
            .window(0, 65535)
            .named("never-reads-drop-new"),
        opened(65 + 24)
            .open(1, 1)
            .window(1, 0)
            .say(1, "s>")
            .say(0, "pa x")
            .say(0, "f9")
            .burst(0, 0x81, b"pa y")
            .window(1, 300)
            .named("never-reads-drop-oldest"),
        opened(129)
            .window(0, 0)
            .burst(0, 0x82, &[3; 100])
            .named("never-reads-and-silent"),
        opened(3)
            .open(1, 0)
            .frame(0, 0x02, &[1; 100])
            .frame(1, 0x02, &[1; 100])
            .named("little-memory"),
        Script::new(0)
            .bytes(0, b"GET / HTTP/1.1\r\n")
            .pass(1100)
            .named("slow-request"),
        Script::new(0)
            .bytes(0, b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            .close(0)
            .bytes(1, b"\0\x01")
            .named("plain-requests"),
        Script::new(2)
            .bytes(0, &[b'A'; 255])
            .bytes(0, &[b'A'; 255])
            .open(1, 4)
            .named("refused"),
        Script::new(7)
            .open(0, 0)
            .fresh(0)
            .open(0, 0)
            .fresh(0)
            .open(0, 0)
            .say(0, "p> x")
            .named("crowd"),
    ]
}

/// Segments as [`super::packets`] reads them: who, flags, places relative to what is expected, window; no options, no payload,
/// nothing changed.
fn segment(who: u8, flags: u8, seq: u16, ack: u16) -> Vec<u8> {
    let ([s1, s0], [a1, a0]) = (seq.to_be_bytes(), ack.to_be_bytes());
    vec![SEGMENT, who, flags, s1, s0, a1, a0, 0x40, 0, 0, 0, 0]
}

fn packets() -> Vec<Seed> {
    const FIN: u8 = 1;
    const SYN: u8 = 2;
    const RST: u8 = 4;
    const ACK: u8 = 16;
    let one = |name: &str, options: u8, steps: &[Vec<u8>]| {
        seed(name, &[&[options], SPLITS, &steps.concat()])
    };
    let shake = |who: u8| vec![SHAKE, who];
    let pass = |millis: u16| [&[PASS][..], &millis.to_be_bytes()].concat();
    let call =
        |flow: u8, what: u8, amount: u16| [&[CALL, flow, what][..], &amount.to_be_bytes()].concat();
    let with = |mut step: Vec<u8>, options: &[u8], payload: u8| {
        step.truncate(9);
        step.push(options.len() as u8);
        step.extend(options);
        step.extend([payload, 0]);
        step
    };
    let batch = |mut step: Vec<u8>| {
        step[0] |= BATCH;
        step
    };
    let crowd: Vec<_> = (0..16)
        .map(|who| batch(segment(who, SYN, who.into(), 0)))
        .collect();
    vec![
        one(
            "shake-and-finish",
            0,
            &[shake(0), segment(0, FIN | ACK, 0, 0), segment(0, ACK, 0, 0)],
        ),
        one(
            "shake-and-finish-v6-vlan",
            5,
            &[shake(1), segment(1, FIN | ACK, 0, 0), pass(100)],
        ),
        one(
            "shake-and-reset",
            0,
            &[
                shake(0),
                segment(0, RST, 0, 0),
                shake(0),
                segment(0, RST, 77, 0),
            ],
        ),
        one("crowd-of-syns", 0, &crowd),
        one("crowd-of-flows", 0, &(0..16).map(shake).collect::<Vec<_>>()),
        one(
            "out-of-order",
            2,
            &[
                shake(0),
                with(segment(0, ACK, 60, 0), &[], 10),
                with(segment(0, ACK, 0, 0), &[], 5),
                with(segment(0, ACK, 0, 0), &[], 40),
                segment(0, FIN | ACK, 600, 0),
                pass(3000),
            ],
        ),
        one(
            "options",
            0,
            &[
                with(
                    segment(2, SYN, 0, 0),
                    &[
                        2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 14,
                    ],
                    0,
                ),
                with(
                    segment(2, ACK, 0, 0),
                    &[5, 10, 0, 0, 0, 1, 0, 0, 0, 9, 1, 1],
                    3,
                ),
                with(segment(3, SYN, 0, 0), &[2, 0, 3, 40, 8], 0),
                with(segment(4, SYN, 0, 0), &[2, 4, 0, 0], 9),
            ],
        ),
        one(
            "window-zero",
            32,
            &[
                shake(0),
                vec![SEGMENT, 0, ACK, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                call(0, 1, 9000),
                pass(60_000),
            ],
        ),
        one(
            "retransmits",
            0,
            &[shake(0), call(0, 1, 5000), pass(1500), pass(65_535)],
        ),
        one(
            "orphans",
            32,
            &[
                [shake(0), shake(2), shake(4), shake(1), shake(3)].concat(),
                [
                    call(0, 1, 3000),
                    call(0, 4, 0),
                    call(0, 4, 0),
                    call(0, 4, 0),
                    call(0, 4, 0),
                    call(0, 4, 0),
                ]
                .concat(),
                pass(20_000),
            ],
        ),
        one(
            "calls",
            32,
            &[
                shake(0),
                call(0, 2, 300),
                call(0, 6, 0),
                call(0, 0, 3),
                call(0, 3, 0),
                call(0, 7, 0),
                segment(0, FIN | ACK, 0, 0),
                call(0, 5, 0),
            ],
        ),
        one(
            "connect",
            0,
            &[
                vec![CONNECT, 0],
                pass(10),
                segment(0x80, SYN | ACK, 0, 0),
                segment(0x80, ACK, 1, 0),
                vec![CONNECT, 1],
                pass(10),
                segment(0x81, RST | ACK, 0, 0),
                vec![CONNECT, 2],
                pass(65_535),
            ],
        ),
        one(
            "connect-nobody",
            64,
            &[vec![CONNECT, 0], vec![CONNECT, 1], pass(65_535)],
        ),
        one(
            "arp",
            0,
            &[
                vec![ARP, 0, 1, 1, 0],
                vec![ARP, 2, 1, 2, 0],
                vec![ARP, 0, 9, 3, 1, 0, 9, 7],
            ],
        ),
        one(
            "ndp",
            0,
            &[
                [
                    vec![ICMP, 1, 135, 0, 28, 0, 0, 0, 0],
                    vec![0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
                    vec![1, 1, 2, 0, 0, 0, 2, 1, 0],
                ]
                .concat(),
                vec![ICMP, 1, 128, 0, 6, 1, 2, 3, 4, 5, 6, 0],
            ],
        ),
        one(
            "icmp",
            0,
            &[
                vec![ICMP, 0, 8, 0, 6, 1, 2, 3, 4, 5, 6, 0],
                shake(0),
                call(0, 1, 3000),
                vec![ICMP, 0x80, 3, 4, 4, 0, 0, 2, 0x40, 0],
                vec![ICMP, 0x80, 3, 1, 4, 0, 0, 0, 0, 0],
                shake(1),
                call(1, 1, 3000),
                vec![ICMP, 0x81, 2, 0, 4, 0, 0, 5, 0, 0],
                pass(2000),
            ],
        ),
        one(
            "extension-headers",
            0,
            &[
                [
                    vec![EXTENDED, 1, 0, 6, 1, 4, 0, 0, 0, 0],
                    vec![0, 0, 0, 0, 0, 99, 0, 0, 0],
                ]
                .concat(),
                [vec![EXTENDED, 1, 44, 0], vec![0, 0, 0, 0, 0, 99, 0, 0, 0]].concat(),
                [
                    vec![EXTENDED, 0, 0x20, 4, 1, 1, 1, 0],
                    vec![0, 0, 0, 0, 0, 99, 0, 0, 0],
                ]
                .concat(),
            ],
        ),
        one(
            "again",
            8,
            &[
                shake(0),
                vec![AGAIN, 0, 0],
                vec![AGAIN, 1, 0],
                vec![AGAIN, 1, 0x0b, 0, 30, 1, 0, 40, 2, 0, 50, 3],
                vec![AGAIN, 1, 4, 9],
            ],
        ),
        one(
            "not-accepting",
            0,
            &[vec![ACCEPTING, 1], shake(0), vec![ACCEPTING, 0], shake(2)],
        ),
        one(
            "raw",
            0,
            &[
                vec![RAW, 14, 2, 0, 0, 0, 0, 10, 2, 0, 0, 0, 2, 0, 8, 0],
                vec![RAW, 3, 1, 2, 3],
                vec![RAW, 0],
            ],
        ),
        one(
            "time-wait",
            0,
            &[
                shake(0),
                call(0, 3, 0),
                segment(0, FIN | ACK, 0, 0),
                shake(0),
                pass(30_000),
                shake(0),
            ],
        ),
    ]
}
