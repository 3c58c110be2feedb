//! The engine on a scripted network and a clock that the test holds: a `Lab` is one lcore, turned by hand.

mod bounds;
mod client;
mod group;
mod layers;
mod lifecycle;
mod limits;
mod messages;
mod pages;
mod progress;
mod proxies;
mod publishing;
mod reconfigure;
mod requests;
mod server;
mod topics;
mod turns;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hioload_lcore::Time;
use hioload_transport::fake::{Fake, FakeOptions};
use hioload_transport::{ConnId, Endpoint, Peer, Transport};
use hioload_ws_proto::deflate::DeflateConfig;
use hioload_ws_proto::handshake::client::Response as ServerReply;
use hioload_ws_proto::handshake::server::Request;
use hioload_ws_proto::{
    Assembler, AssemblerOptions, CloseCode, Decoder, Event, Kind, Message, OpCode, Role, encode,
};

use crate::core::LcoreInit;
use crate::counters::{CountersHandle, LcoreCounters};
use crate::executor::Executor;
use crate::group::prepare;
use crate::handler::*;
use crate::lcore::Lcore;
use crate::{Config, Totals, Tunables};

/// A handler that executes the commands in messages and logs its callbacks.
pub(super) struct Probe {
    log: Rc<RefCell<Vec<String>>>,
}

impl Probe {
    fn note(&self, what: impl Into<String>) {
        self.log.borrow_mut().push(what.into());
    }
}

impl Handler for Probe {
    type Conn = u32;
    type Event = String;

    fn event_bytes(event: &String) -> usize {
        event.len()
    }

    fn on_open(
        &mut self,
        _: &mut impl LcoreContext<Event = String>,
        peer: Peer,
        request: &Request<'_>,
    ) -> Result<Accept<u32>, Response> {
        match request.path() {
            "/panic" => panic!("on_open"),
            "/no" => Err(Response::text(403, "no\n")),
            "/bad" => Ok(Accept::new(0).protocol("not a token")),
            _ => {
                self.note(format!("open {} from {peer}", request.target));
                let accept = Accept::new(0);
                Ok(match request.protocols().next() {
                    Some(protocol) => accept.protocol(protocol.to_owned()),
                    None => accept,
                })
            }
        }
    }

    fn on_http(
        &mut self,
        _: &mut impl LcoreContext<Event = String>,
        _: Peer,
        request: &Request<'_>,
    ) -> Response {
        match request.path() {
            "/page" => Response::text(200, "hello\n"),
            _ => Response::not_found(),
        }
    }

    fn on_message(
        &mut self,
        count: &mut u32,
        cx: &mut impl Context<Event = String>,
        message: Message<'_>,
    ) {
        *count += 1;
        let Some(text) = message.as_text() else {
            let _ = cx.send(Kind::Binary, message.as_bytes());
            return;
        };
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        let number = || rest.parse::<u64>().unwrap_or(0);
        match verb {
            "panic" => panic!("on_message"),
            "close" => cx.close(CloseCode(number() as u16), "as you wish"),
            "sub" => self.note(format!("sub {:?}", cx.subscribe(rest))),
            "unsub" => self.note(format!("unsub {:?}", cx.unsubscribe(rest))),
            "pub" => {
                let (topic, text) = rest.split_once(' ').unwrap_or((rest, ""));
                self.note(format!(
                    "pub {:?}",
                    cx.publish(topic, Kind::Text, text.as_bytes())
                ));
            }
            "timer" => {
                cx.set_timer(Duration::from_millis(number()), number());
            }
            "timers" => {
                let cancelled = cx.set_timer(Duration::from_millis(number()), 1);
                cx.set_timer(Duration::from_millis(number()), 2);
                cx.cancel_timer(cancelled);
            }
            "job" => {
                let rest = rest.to_owned();
                let _ = cx.spawn(move || if rest == "panic" { panic!("job") } else { rest });
            }
            "pause" => {
                cx.pause();
                cx.set_timer(Duration::from_millis(50), 99);
            }
            "flood" => {
                for n in 0..number() {
                    if let Err(e) = cx.send(Kind::Binary, &vec![n as u8; 1000]) {
                        self.note(format!("send {n}: {e}"));
                    }
                }
            }
            "count" => {
                let _ = cx.send(Kind::Text, count.to_string().as_bytes());
            }
            _ => {
                let _ = cx.send(Kind::Text, text.as_bytes());
            }
        }
    }

    fn on_pong(&mut self, _: &mut u32, _: &mut impl Context<Event = String>, payload: &[u8]) {
        self.note(format!("pong {}", String::from_utf8_lossy(payload)));
    }

    fn on_writable(&mut self, _: &mut u32, _: &mut impl Context<Event = String>) {
        self.note("writable");
    }

    fn on_timer(&mut self, _: &mut u32, cx: &mut impl Context<Event = String>, token: u64) {
        self.note(format!("timer {token}"));
        if token == 99 {
            cx.resume();
        }
    }

    fn on_event(&mut self, _: &mut u32, cx: &mut impl Context<Event = String>, event: String) {
        let _ = cx.send(Kind::Text, event.as_bytes());
    }

    fn on_close(
        &mut self,
        _: u32,
        _: &mut impl LcoreContext<Event = String>,
        closure: Closure<'_>,
    ) {
        self.note(format!(
            "close {} {:?} by {:?}",
            closure.code, closure.reason, closure.by
        ));
        if closure.reason == "panic" {
            panic!("on_close");
        }
    }

    fn on_lcore_event(&mut self, cx: &mut impl LcoreContext<Event = String>, event: String) {
        if let Some(port) = event.strip_prefix("connect ") {
            let endpoint = Endpoint::Tcp(([127, 0, 0, 1], port.parse().unwrap()).into());
            let connect = Connect::new(endpoint).host("test").protocol("p1").token(7);
            cx.connect(connect).unwrap();
        } else {
            self.note(format!("event {event}"));
        }
    }

    fn on_connect(
        &mut self,
        _: &mut impl LcoreContext<Event = String>,
        token: u64,
        _: ConnectionId,
        outcome: Result<&ServerReply<'_>, ConnectError>,
    ) -> Option<u32> {
        match outcome {
            Ok(reply) => self.note(format!("connected {token} {:?}", reply.protocol)),
            Err(e) => self.note(format!("not connected {token}: {e}")),
        }
        Some(0)
    }

    fn on_ready(&mut self, _: &mut u32, _: &mut impl Context<Event = String>) {
        self.note("ready");
    }
}

/// Connections that a lab has room for.
const SLOTS: usize = 1024;

/// One lcore on a fake network.
pub(super) struct Lab<H: Handler = Probe> {
    pub(super) lcore: Lcore<Fake, H>,
    pub(super) now: Time,
    log: Rc<RefCell<Vec<String>>>,
    counters: Arc<LcoreCounters>,
    workers: Option<crate::executor::Workers>,
}

pub(super) const REQUEST: &[u8] = b"GET /chat HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

impl Lab {
    pub(super) fn new(config: Config) -> Self {
        Self::around(config, |probe| probe)
    }

    pub(super) fn mesh(lcores: usize, config: Config) -> Vec<Self> {
        Self::build(lcores, config, |probe| probe, SLOTS)
    }
}

impl<H: Handler<Event = String>> Lab<H> {
    /// One lcore with a handler that `make` makes from a probe.
    pub(super) fn around(config: Config, make: impl Fn(Probe) -> H) -> Self {
        Self::build(1, config, make, SLOTS)
            .pop()
            .expect("one lcore")
    }

    fn build(lcores: usize, config: Config, make: impl Fn(Probe) -> H, slots: usize) -> Vec<Self> {
        let options = FakeOptions::default()
            .send_queue(64 << 20)
            .max_connections(slots);
        let counters = CountersHandle::new::<Fake>(lcores);
        let (inits, _) = prepare(
            &Arc::new(config),
            &counters,
            &Executor::none(),
            H::event_bytes,
        );
        let lab = |mut init: LcoreInit<String>| {
            let (executor, workers) = Executor::start(init.config.executor_threads, 8).unwrap();
            init.executor = executor;
            let counters = Arc::clone(&init.counters);
            let log = Rc::new(RefCell::new(Vec::new()));
            let handler = make(Probe {
                log: Rc::clone(&log),
            });
            let now = Time::from_millis(1000);
            let lcore = Lcore::new(Fake::new(&options).unwrap(), handler, init, now);
            Self {
                lcore,
                now,
                log,
                counters,
                workers: Some(workers),
            }
        };
        inits.into_iter().map(lab).collect()
    }
}

impl<H: Handler> Lab<H> {
    pub(super) fn io(&mut self) -> &mut Fake {
        &mut self.lcore.io
    }

    /// A few turns at the same time, enough to finish all work.
    pub(super) fn turn(&mut self) {
        for _ in 0..4 {
            self.lcore.io.wait(Some(Duration::ZERO)).unwrap();
            self.lcore.turn(self.now);
        }
    }

    /// Moves the clock by `millis`, with a turn at each millisecond.
    pub(super) fn pass(&mut self, millis: u64) {
        for _ in 0..millis {
            self.now += Duration::from_millis(1);
            self.lcore.io.wait(Some(Duration::ZERO)).unwrap();
            self.lcore.turn(self.now);
        }
        self.turn();
    }

    /// A connection that has sent `bytes`.
    pub(super) fn dial(&mut self, bytes: &[u8]) -> ConnId {
        let id = self.io().accept(peer(1000));
        self.io().deliver(id, bytes);
        self.turn();
        id
    }

    /// A connection that is open.
    pub(super) fn open(&mut self) -> ConnId {
        let id = self.dial(REQUEST);
        let answer = self.text(id);
        assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
        id
    }

    pub(super) fn send(&mut self, id: ConnId, opcode: OpCode, payload: &[u8]) {
        let mut frame = Vec::new();
        encode::frame_into(&mut frame, opcode, payload, Some([1, 2, 3, 4]));
        self.io().deliver(id, &frame);
        self.turn();
    }

    pub(super) fn say(&mut self, id: ConnId, text: &str) {
        self.send(id, OpCode::Text, text.as_bytes());
    }

    /// The bytes that the peer has received, as text.
    pub(super) fn text(&mut self, id: ConnId) -> String {
        String::from_utf8_lossy(&self.io().sent(id)).into_owned()
    }

    /// The frames that the peer has received.
    pub(super) fn frames(&mut self, id: ConnId) -> Vec<String> {
        let bytes = self.io().sent(id);
        parse(Role::Client, &bytes)
    }

    pub(super) fn log(&mut self) -> Vec<String> {
        std::mem::take(&mut *self.log.borrow_mut())
    }

    pub(super) fn totals(&self) -> Totals {
        self.counters.totals::<Fake>()
    }
}

/// A source address.
pub(super) fn peer(port: u16) -> Peer {
    Peer::Ip(([10, 0, 0, 1], port).into())
}

/// The frames in `bytes`, which a peer in `role` has received, as text.
pub(super) fn parse(role: Role, bytes: &[u8]) -> Vec<String> {
    let mut bytes = bytes.to_vec();
    let mut assembler = Assembler::new(AssemblerOptions::default());
    // RFC 6455 §5.1: "A server MUST NOT mask any frames that it sends to the client." The decoder of a client refuses
    // masked frames.
    let mut decoder = Decoder::new(role);
    let (mut out, mut rest) = (Vec::new(), &mut bytes[..]);
    while !rest.is_empty() {
        let (n, event) = decoder
            .decode(&mut assembler, rest)
            .expect("the engine sent a valid frame");
        match event {
            Some(Event::Message(m)) => match m.as_text() {
                Some(text) => out.push(format!("text {text}")),
                None => out.push(format!("binary {}", m.len())),
            },
            Some(Event::Ping(p)) => out.push(format!("ping {}", String::from_utf8_lossy(p))),
            Some(Event::Pong(p)) => out.push(format!("pong {}", String::from_utf8_lossy(p))),
            Some(Event::Close(Some(c))) => out.push(format!("close {} {}", c.code, c.reason)),
            Some(Event::Close(None)) => out.push("close".into()),
            None => assert!(decoder.is_idle(), "half a frame was sent"),
        }
        rest = &mut rest[n..];
    }
    out
}
