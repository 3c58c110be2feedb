//! Seeds of the target `session`: scripts of several peers.

use super::super::session::CLOSE;
use super::{SPLITS, Seed, deflated};

/// A script, written as [`Step`](super::super::session::Step) reads it.
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

pub fn seeds() -> Vec<Seed> {
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
