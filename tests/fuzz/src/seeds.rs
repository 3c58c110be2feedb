//! The inputs that fuzzing starts from: one for each thing a peer does, well or badly.
//!
//! They are committed in `corpus/`, where the fuzzer finds them; an ordinary test compares them with this code, and writes them
//! anew if `HIOLOAD_WRITE_SEEDS` is set.

use hioload_ws_proto::deflate::Deflater;
use hioload_ws_proto::handshake::accept_key;
use hioload_ws_proto::{OpCode, encode};

use super::handshake::KEY;
use super::session::{CLOSE, REQUEST};

/// Name and content.
pub type Seed = (String, Vec<u8>);

/// The seeds of a target.
pub fn of(target: &str) -> Vec<Seed> {
    match target {
        "handshake" => handshake(),
        "frames" => frames(),
        "deflate" => deflate(),
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
