//! Topics across lcores: several engines share their interest and their mailboxes, and are turned in any order.
//!
//! Input: a byte of options ([`Options`]), the seed of the order of turns (4 bytes), then steps ([`Step::read`]).
//!
//! A naive model records the subscriptions of each connection. A publication has to reach every connection that matched when it was published and
//! until all lcores came to rest, and may reach those that matched in between; it reaches nobody else and nobody twice, and those of
//! one publisher arrive in order. When all connections have gone, no subscription is left.

mod model;

use std::time::Duration;

use hioload_engine::{Config, Context, Group, Handler, Lcore};
use hioload_lcore::Time;
use hioload_transport::fake::{Fake, FakeOptions};
use hioload_transport::{ConnId, Peer, Transport};
use hioload_ws_proto::{Kind, Message};

use super::input::{Input, Random};
use model::Model;

/// Connections.
const CONNECTIONS: usize = 8;
const MAX_STEPS: usize = 96;
/// The most turns until a command is answered, or all lcores are at rest.
const PATIENCE: usize = 4096;

const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// The options of an input.
#[derive(Clone, Copy, Debug)]
struct Options {
    /// All lcores come to rest after each step: then it is known exactly whom a publication reaches.
    rests: bool,
    /// 1 to 4.
    lcores: usize,
    /// The limits (0 to 3).
    limits: u8,
}

impl Options {
    fn from_bits(bits: u8) -> Self {
        Self {
            rests: bits & 1 == 1,
            lcores: usize::from(bits >> 1 & 3) + 1,
            limits: bits >> 3 & 3,
        }
    }

    fn config(self) -> Config {
        let mut config = Config::default();
        config.executor_threads = 0;
        let tunables = &mut config.tunables;
        match self.limits {
            1 => tunables.limits.max_subscriptions = 3,
            2 => tunables.limits.subscription_bytes = 600,
            3 => {
                tunables.turn_messages = 1;
                tunables.turn_events = 1;
            }
            _ => {}
        }
        config
    }
}

/// A step of one connection, or of an lcore.
#[derive(Clone, Debug)]
enum Step {
    Subscribe(String),
    Unsubscribe(String),
    /// Ends one of the subscriptions that it has.
    End(u8),
    Publish(String),
    /// The peer resets the connection (`true`) or ends it, and another one connects to this lcore.
    Leave(bool, u8),
    Turn(u8),
    Rest,
}

impl Step {
    /// Reads a step: a byte with the kind, one with the number of the connection, then its arguments.
    fn read(input: &mut Input<'_>) -> (usize, Self) {
        let (what, who) = (input.byte(), usize::from(input.byte()) % CONNECTIONS);
        let step = match what % 12 {
            0..=2 => Self::Subscribe(topic(input)),
            3 => Self::Unsubscribe(topic(input)),
            4 => Self::End(input.byte()),
            5..=7 => Self::Publish(topic(input)),
            8 => Self::Leave(true, input.byte()),
            9 => Self::Leave(false, input.byte()),
            10 => Self::Turn(input.byte()),
            _ => Self::Rest,
        };
        (who, step)
    }
}

/// Tokens of a few words, so that topics and patterns meet often.
fn topic(input: &mut Input<'_>) -> String {
    const WORDS: [&str; 8] = ["a", "b", "*", "a", ">", "*", "c", "a-longer-word"];
    let count = match input.byte() {
        n @ 0..=240 => 1 + n % 4,
        n => n - 237,
    };
    let tokens = (0..count).map(|_| WORDS[usize::from(input.byte()) % WORDS.len()]);
    tokens.collect::<Vec<_>>().join(".")
}

/// Carries out commands: `s PATTERN`, `u PATTERN`, `p NUMBER TOPIC`. The answer is the letter of the
/// command followed by `1` (done), `0` (nothing changed) or `x` (refused). A published message arrives as `m NUMBER`.
struct App;

impl Handler for App {
    type Conn = ();
    type Event = ();

    fn new_conn(&mut self) {}

    fn on_message(&mut self, (): &mut (), cx: &mut impl Context<Event = ()>, message: Message<'_>) {
        let text = std::str::from_utf8(message.as_bytes()).expect("a text message");
        let (verb, rest) = text.split_once(' ').expect("a command");
        let done = match verb {
            "s" => cx.subscribe(rest),
            "u" => cx.unsubscribe(rest),
            _ => {
                let (number, topic) = rest.split_once(' ').expect("a topic");
                let message = format!("m {number}");
                cx.publish(topic, Kind::Text, message.as_bytes())
                    .map(|_| true)
            }
        };
        let answer = match done {
            Ok(true) => "1",
            Ok(false) => "0",
            Err(_) => "x",
        };
        cx.send(Kind::Text, format!("{verb}{answer}").as_bytes())
            .expect("the queue has room");
    }
}

/// One run of a script.
struct World {
    group: Group<Fake, App>,
    now: Time,
    random: Random,
    /// Lcore and id of each connection.
    connections: Vec<(usize, ConnId)>,
    /// Bytes received from each that are no whole frame yet.
    received: Vec<Vec<u8>>,
    model: Model,
}

impl World {
    fn new(options: Options, seed: u32) -> Self {
        let fakes: Vec<Fake> = (0..options.lcores)
            .map(|_| {
                let options = FakeOptions::default()
                    .max_connections(1024)
                    .tx_chunks(2048)
                    .tx_chunk(1 << 10);
                Fake::new(&options).expect("memory for a pool")
            })
            .collect();
        let now = Time::from_millis(1000);
        let group = Lcore::group(fakes, |_| App, options.config(), now);
        let mut world = Self {
            group,
            now,
            random: Random::new(seed.into()),
            connections: Vec::new(),
            received: vec![Vec::new(); CONNECTIONS],
            model: Model::new(CONNECTIONS),
        };
        for n in 0..CONNECTIONS {
            let connection = world.connect(n % options.lcores);
            world.connections.push(connection);
        }
        world
    }

    fn connect(&mut self, lcore: usize) -> (usize, ConnId) {
        let io = self.group.lcores[lcore].transport();
        let id = io.accept(Peer::Unix);
        io.deliver(id, REQUEST);
        for _ in 0..PATIENCE {
            self.turn(lcore);
            let io = self.group.lcores[lcore].transport();
            if io.peek_sent(id).ends_with(b"\r\n\r\n") {
                assert!(io.sent(id).starts_with(b"HTTP/1.1 101 "));
                return (lcore, id);
            }
        }
        panic!("lcore {lcore} does not answer an upgrade");
    }

    fn turn(&mut self, lcore: usize) {
        let lcore = &mut self.group.lcores[lcore];
        lcore
            .transport()
            .wait(Some(Duration::ZERO))
            .expect("a fake does not fail");
        lcore.turn(self.now);
    }

    /// Turns the lcores in any order until none has work.
    fn rest(&mut self) {
        let count = self.group.lcores.len();
        let mut quiet = 0;
        for _ in 0..PATIENCE {
            let first = self.random.below(count);
            (0..count).for_each(|n| self.turn((first + n) % count));
            let busy = self.group.lcores.iter().any(Lcore::has_work);
            quiet = if busy { 0 } else { quiet + 1 };
            if quiet == 2 {
                (0..CONNECTIONS).for_each(|who| drop(self.read(who)));
                self.model.rest();
                return;
            }
        }
        panic!("the lcores never come to rest");
    }

    /// Reads what a connection was sent. Publications go to the model, the answer to a command is returned.
    fn read(&mut self, who: usize) -> Option<String> {
        let (lcore, id) = self.connections[who];
        let bytes = self.group.lcores[lcore].transport().sent(id);
        let stream = &mut self.received[who];
        stream.extend_from_slice(&bytes);
        let mut answer = None;
        while let [first, len, rest @ ..] = &stream[..] {
            let len = usize::from(*len);
            assert_eq!((*first, len < 126), (0x81, true), "a short text message");
            let Some(payload) = rest.get(..len) else {
                break;
            };
            let text = String::from_utf8(payload.to_vec()).expect("a text message");
            stream.drain(..2 + len);
            match text.strip_prefix("m ") {
                Some(number) => {
                    let number = number.parse().expect("a number");
                    self.model.delivered(who, number);
                }
                None => assert!(answer.replace(text).is_none(), "one answer"),
            }
        }
        answer
    }

    /// Sends a command and turns only the connection's lcore until it is answered.
    fn ask(&mut self, who: usize, command: &str) -> String {
        let (lcore, id) = self.connections[who];
        let mut frame = vec![0x81];
        match command.len() {
            len @ 0..126 => frame.push(0x80 | len as u8),
            len => {
                frame.push(0x80 | 126);
                frame.extend((len as u16).to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(command.as_bytes());
        self.group.lcores[lcore].transport().deliver(id, &frame);
        for _ in 0..PATIENCE {
            self.turn(lcore);
            if let Some(answer) = self.read(who) {
                return answer;
            }
        }
        panic!("no answer to {command}");
    }

    fn step(&mut self, who: usize, step: Step) {
        match step {
            Step::Subscribe(pattern) => {
                let answer = self.ask(who, &format!("s {pattern}"));
                self.model.subscribed(who, pattern, &answer);
            }
            Step::Unsubscribe(pattern) => self.unsubscribe(who, &pattern),
            Step::End(n) => {
                if let Some(pattern) = self.model.nth_pattern(who, n.into()) {
                    self.unsubscribe(who, &pattern);
                }
            }
            Step::Publish(topic) => {
                // The model has to know of it before it is delivered on this lcore.
                let number = self.model.publishing(who, &topic);
                let answer = self.ask(who, &format!("p {number} {topic}"));
                self.model.published(number, &answer);
            }
            Step::Leave(resets, lcore) => self.leave(who, resets, lcore.into()),
            Step::Turn(lcore) => self.turn(usize::from(lcore) % self.group.lcores.len()),
            Step::Rest => self.rest(),
        }
    }

    fn unsubscribe(&mut self, who: usize, pattern: &str) {
        let answer = self.ask(who, &format!("u {pattern}"));
        self.model.unsubscribed(who, pattern, &answer);
    }

    fn leave(&mut self, who: usize, resets: bool, next: usize) {
        let (lcore, id) = self.connections[who];
        self.read(who);
        let io = self.group.lcores[lcore].transport();
        let _ = if resets { io.reset(id) } else { io.end(id) };
        self.turn(lcore);
        self.turn(lcore);
        self.model.left(who);
        self.received[who].clear();
        self.connections[who] = self.connect(next % self.group.lcores.len());
    }
}

/// Runs one input; see the module.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let options = Options::from_bits(input.byte());
    let mut world = World::new(options, input.word());
    world.rest();
    let before = world.group.remote.counters().subscription_bytes;
    for _ in 0..MAX_STEPS {
        if input.is_empty() {
            break;
        }
        let (who, step) = Step::read(&mut input);
        world.step(who, step);
        if options.rests {
            world.rest();
        }
    }
    world.rest();
    for who in 0..CONNECTIONS {
        world.leave(who, who % 2 == 0, who);
    }
    world.rest();
    let after = world.group.remote.counters();
    assert_eq!(after.subscription_bytes, before, "subscriptions are left");
    assert_eq!(after.commands_dropped, 0, "a mailbox was full");
    assert_eq!(after.handler_panics, 0);
}
