//! In steady state the engine allocates nothing for a message, a ping, a reassembly or a compression. A published message
//! allocates the same for any number of subscribers. The allocator counts, over thousands of each.
#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use hioload_engine::{Accept, Config, Context, Handler, Lcore, LcoreContext, Response};
use hioload_lcore::{Clock, Time};
use hioload_testkit::counting::{Counting, allocations};
use hioload_transport::fake::{Fake, FakeOptions};
use hioload_transport::sockets::{BoundListener, SocketOptions, Sockets};
use hioload_transport::{ConnId, Endpoint, Peer, Transport};
use hioload_ws_proto::deflate::{DeflateConfig, Deflater};
use hioload_ws_proto::handshake::server::Request;
use hioload_ws_proto::{Kind, Message, OpCode, encode};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const WARM_UP: usize = 300;
const MESSAGES: usize = 3000;
const MASK: [u8; 4] = [1, 2, 3, 4];

/// Echoes binary messages and publishes text messages. Every connection is subscribed.
struct App;

impl Handler for App {
    type Conn = ();
    type Event = ();

    fn on_open(
        &mut self,
        _: &mut impl LcoreContext<Event = ()>,
        _: Peer,
        _: &Request<'_>,
    ) -> Result<Accept<()>, Response> {
        Ok(Accept::new(()))
    }

    fn on_ready(&mut self, _: &mut (), cx: &mut impl Context<Event = ()>) {
        cx.subscribe("news.>").unwrap();
    }

    fn on_message(&mut self, _: &mut (), cx: &mut impl Context<Event = ()>, message: Message<'_>) {
        match message.as_text() {
            Some(_) => drop(cx.publish("news.today", message.kind(), message.as_bytes())),
            None => cx.send(Kind::Binary, message.as_bytes()).unwrap(),
        }
    }
}

fn request(extensions: &str) -> String {
    format!(
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{extensions}\r\n"
    )
}

fn masked(fin: bool, rsv1: bool, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode::fragment_into(&mut out, fin, rsv1, opcode, payload, Some(MASK));
    out
}

/// A frame as the server sends it.
fn answer(rsv1: bool, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode::fragment_into(&mut out, true, rsv1, opcode, payload, None);
    out
}

/// Bytes with no pattern that a compressor could use.
fn noise(len: usize) -> Vec<u8> {
    let mut x = 1u32;
    let next = || {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (x >> 24) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// An lcore on a scripted network, with open connections.
struct Lab {
    lcore: Lcore<Fake, App>,
    now: Time,
    ids: Vec<ConnId>,
    /// Allocations made in turns.
    count: u64,
}

impl Lab {
    fn new(connections: u16, config: Config, extensions: &str) -> Self {
        let fake = Fake::new(&FakeOptions::default()).unwrap();
        let now = Time::from_millis(1000);
        let mut lab = Self {
            lcore: Lcore::alone(fake, App, config, now),
            now,
            ids: Vec::new(),
            count: 0,
        };
        for port in 0..connections {
            let id = lab
                .lcore
                .transport()
                .accept(Peer::Ip(([10, 0, 0, 1], port).into()));
            lab.lcore
                .transport()
                .deliver(id, request(extensions).as_bytes());
            lab.ids.push(id);
        }
        // Each turn serves some of them.
        (0..connections + 12).for_each(|_| lab.turn());
        assert_eq!(lab.lcore.connections(), usize::from(connections));
        lab.clear_sent();
        lab
    }

    /// One turn, 100 μs after the previous one.
    fn turn(&mut self) {
        self.now += Duration::from_micros(100);
        let before = allocations();
        self.lcore.transport().wait(Some(Duration::ZERO)).unwrap();
        self.lcore.turn(self.now);
        self.count += allocations() - before;
    }

    /// Delivers pieces to connection `n`, with a turn after each. Allocations of the scripted network are not counted.
    fn deliver(&mut self, n: usize, pieces: &[&[u8]]) {
        for piece in pieces {
            self.lcore.transport().deliver(self.ids[n], piece);
            self.turn();
        }
    }

    fn clear_sent(&mut self) {
        for &id in &self.ids {
            self.lcore.transport().clear_sent(id);
        }
    }

    /// Sends `pieces` on one connection after the other and expects `answer`. Returns the allocations of `MESSAGES`
    /// exchanges after the first `WARM_UP`.
    fn exchange(&mut self, pieces: &[&[u8]], answer: &[u8]) -> u64 {
        let mut begun = 0;
        for n in 0..WARM_UP + MESSAGES {
            if n == WARM_UP {
                begun = self.count;
            }
            let n = n % self.ids.len();
            self.deliver(n, pieces);
            assert!(
                self.lcore.transport().peek_sent(self.ids[n]) == answer,
                "not the answer"
            );
            self.lcore.transport().clear_sent(self.ids[n]);
        }
        self.count - begun
    }
}

#[test]
fn the_allocator_counts() {
    let before = allocations();
    drop(std::hint::black_box(Box::new(7)));
    assert_eq!(allocations() - before, 1);
    let mut lab = Lab::new(1, Config::default(), "");
    assert!(lab.count > 0, "opening a connection allocates");
    lab.count = 0;
    lab.turn();
    assert_eq!(lab.count, 0, "an idle turn does not allocate");
}

#[test]
fn echo_allocates_nothing() {
    for len in [64, 16 << 10] {
        let mut lab = Lab::new(3, Config::default(), "");
        let payload = noise(len);
        let frame = masked(true, false, OpCode::Binary, &payload);
        let echo = answer(false, OpCode::Binary, &payload);
        let whole = lab.exchange(&[&frame], &echo);
        assert_eq!(whole, 0, "{len} bytes, whole");
        let (one, rest) = frame.split_at(3);
        let (two, three) = rest.split_at(rest.len() / 2);
        let split = lab.exchange(&[one, two, three], &echo);
        assert_eq!(split, 0, "{len} bytes, in three reads");
        let (one, two) = payload.split_at(len / 3);
        let fragments = [
            masked(false, false, OpCode::Binary, one),
            masked(true, false, OpCode::Continuation, two),
        ]
        .concat();
        assert_eq!(
            lab.exchange(&[&fragments], &echo),
            0,
            "{len} bytes, in fragments"
        );
    }
}

#[test]
fn many_messages_in_one_read_allocate_nothing() {
    let mut lab = Lab::new(3, Config::default(), "");
    let frame = masked(true, false, OpCode::Binary, &[7; 64]).repeat(16);
    let echo = answer(false, OpCode::Binary, &[7; 64]).repeat(16);
    assert_eq!(lab.exchange(&[&frame], &echo), 0);
}

#[test]
fn pings_allocate_nothing() {
    let mut lab = Lab::new(3, Config::default(), "");
    let ping = masked(true, false, OpCode::Ping, b"are you there?");
    let pong = answer(false, OpCode::Pong, b"are you there?");
    assert_eq!(lab.exchange(&[&ping], &pong), 0);
    let (one, two) = ping.split_at(9);
    assert_eq!(lab.exchange(&[one, two], &pong), 0, "split");
}

#[test]
fn shared_compression_allocates_nothing() {
    let mut config = Config::default();
    config.tunables.deflate = Some(DeflateConfig::default());
    let text = "compress me, and then again ".repeat(600);
    let mut payload = Vec::new();
    Deflater::new(1, 15, 8)
        .deflate(text.as_bytes(), &mut payload)
        .unwrap();
    for extension in [
        "permessage-deflate; client_no_context_takeover",
        "permessage-deflate; client_max_window_bits=12",
    ] {
        let header = format!("Sec-WebSocket-Extensions: {extension}\r\n");
        let mut lab = Lab::new(3, config.clone(), &header);
        let mut payload = payload.clone();
        if extension.ends_with("12") {
            payload.clear();
            Deflater::new(1, 12, 8)
                .deflate(text.as_bytes(), &mut payload)
                .unwrap();
        }
        let frame = masked(true, true, OpCode::Binary, &payload);
        // The first echo gives the compressed form that all others must have.
        lab.deliver(0, &[&frame]);
        let echo = lab.lcore.transport().sent(lab.ids[0]);
        assert!(echo[0] == 0xc2 && echo.len() < text.len() / 10);
        assert_eq!(lab.exchange(&[&frame], &echo), 0, "{extension}");
        let (one, two) = frame.split_at(frame.len() / 2);
        assert_eq!(lab.exchange(&[one, two], &echo), 0, "{extension}, split");
    }
}

#[test]
fn publishing_allocates_for_the_message_and_not_for_its_subscribers() {
    const PUBLISHES: usize = 200;
    let per_publish = |subscribers: u16, len: usize| {
        // All subscribers are served in the turn of the publication.
        let mut config = Config::default();
        config.tunables.turn_time = Duration::ZERO;
        let mut lab = Lab::new(subscribers, config, "");
        let frame = masked(true, false, OpCode::Text, &vec![b'x'; len]);
        let copy = answer(false, OpCode::Text, &vec![b'x'; len]);
        let mut begun = 0;
        for n in 0..WARM_UP + PUBLISHES {
            if n == WARM_UP {
                begun = lab.count;
            }
            lab.deliver(0, &[&frame]);
            for &id in &lab.ids {
                assert!(
                    lab.lcore.transport().peek_sent(id) == copy,
                    "every subscriber receives it"
                );
            }
            lab.clear_sent();
        }
        (lab.count - begun) as f64 / PUBLISHES as f64
    };
    // Below and above the size from which a payload is queued by reference.
    for len in [64, 4096] {
        let (few, many) = (per_publish(5, len), per_publish(500, len));
        assert_eq!(few, many, "{len} bytes");
        assert!(few <= 3.0, "{len} bytes: {few} allocations for a publish");
    }
}

/// The client of the test over sockets, in its own thread. After the warm-up it waits for `go`.
fn client(
    to: std::net::SocketAddr,
    ready: &SyncSender<()>,
    go: &Receiver<()>,
    bytes_in: &AtomicU64,
) {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut sent = request("").len() as u64;
    stream.write_all(request("").as_bytes()).unwrap();
    let mut head = [0; 4096];
    let mut len = 0;
    while !head[..len].ends_with(b"\r\n\r\n") {
        len += stream.read(&mut head[len..]).unwrap();
    }
    let mut round = |len: usize, split: bool| {
        let payload = noise(len);
        let frame = masked(true, false, OpCode::Binary, &payload);
        let expected = answer(false, OpCode::Binary, &payload);
        let (one, two) = frame.split_at(if split { frame.len() / 2 } else { 0 });
        stream.write_all(one).unwrap();
        sent += one.len() as u64;
        // The second half is not sent before the server has read the first. `bytes_in` is updated after a turn, so it may be
        // behind an echo: it has to reach the sum of all bytes sent so far.
        while split && bytes_in.load(Ordering::Relaxed) < sent {
            std::thread::yield_now();
        }
        stream.write_all(two).unwrap();
        sent += two.len() as u64;
        let mut echo = vec![0; expected.len()];
        stream.read_exact(&mut echo).unwrap();
        assert!(echo == expected, "not the echo");
    };
    let mut rounds = |times: usize| {
        for n in 0..times {
            round(64, n % 4 == 3);
            round(16 << 10, n % 4 == 1);
        }
    };
    rounds(WARM_UP);
    ready.send(()).unwrap();
    go.recv().unwrap();
    rounds(MESSAGES / 2);
}

#[test]
fn echo_over_sockets_allocates_nothing() {
    let listener =
        BoundListener::bind(&Endpoint::Tcp(([127, 0, 0, 1], 0).into()), false, 16).unwrap();
    let Endpoint::Tcp(address) = listener.local().unwrap() else {
        panic!("a TCP address")
    };
    let io = Sockets::new(&SocketOptions::default(), vec![listener]).unwrap();
    let mut clock = Clock::new();
    let mut lcore = Lcore::alone(io, App, Config::default(), clock.tick());
    let ((ready, warm), (start, go)) = (sync_channel(1), sync_channel(1));
    let bytes_in = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&bytes_in);
    let client = std::thread::spawn(move || client(address, &ready, &go, &seen));

    let mut begun = None;
    // The lcore runs on this thread, so that only its allocations are counted.
    while !client.is_finished() {
        lcore
            .transport()
            .wait(Some(Duration::from_millis(20)))
            .unwrap();
        lcore.turn(clock.tick());
        bytes_in.store(lcore.totals().transport.bytes_in, Ordering::Relaxed);
        if begun.is_none() && warm.try_recv().is_ok() {
            begun = Some((allocations(), lcore.totals()));
            start.send(()).unwrap();
        }
        if lcore.connections() == 0 && begun.is_some() {
            break;
        }
        if let Some((before, totals)) = &begun
            && lcore.connections() == 1
        {
            let messages = lcore.totals().messages_in - totals.messages_in;
            assert_eq!(
                allocations() - before,
                0,
                "after {messages} messages in steady state"
            );
        }
    }
    client.join().unwrap();
    let (_, before) = begun.unwrap();
    let after = lcore.totals();
    assert_eq!(after.messages_in - before.messages_in, MESSAGES as u64);
    assert!(
        after.transport.reads - before.transport.reads >= (MESSAGES + MESSAGES / 4) as u64,
        "messages came in pieces"
    );
}
