//! An lcore of the generator on a fake network, in virtual time, with a scripted server.
#![allow(dead_code, unreachable_pub)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use hioload_engine::Lcore;
use hioload_lcore::Time;
use hioload_loadgen::lcore::{Command, CommandSender, Generator, Interval, Notice, control_link};
use hioload_loadgen::{Job, Scenario, settings};
use hioload_transport::fake::{Fake, FakeOptions};
use hioload_transport::{ConnId, Endpoint, Transport};
use hioload_ws_proto::handshake::server;
use hioload_ws_proto::{OpCode, encode};

/// Time between two turns.
pub const TURN: Duration = Duration::from_micros(100);

/// A small job.
pub fn job(scenario: Scenario) -> Job {
    let mut job = Job::new(scenario, Endpoint::Tcp(([127, 0, 0, 1], 9001).into()));
    job.opening = 16;
    job.in_flight = 4;
    job.timeout = Duration::from_secs(2);
    job.echoes = 3;
    job
}

/// The frames that the server sends for the `n`th message (from 0) of a connection.
pub type Answer = Box<dyn FnMut(usize, &[u8]) -> Vec<Vec<u8>>>;

/// The server's state of a connection.
struct Peer {
    id: ConnId,
    open: bool,
    unread: Vec<u8>,
    messages: usize,
    /// The frames of an incomplete message.
    parts: Vec<u8>,
}

/// The lcore and its server.
pub struct Lab {
    pub lcore: Lcore<Fake, Generator>,
    pub now: Time,
    commands: CommandSender,
    notices: Receiver<Notice>,
    peers: Vec<Peer>,
    answer: Answer,
    /// Frames to be sent at a later time.
    later: VecDeque<(Time, ConnId, Vec<u8>)>,
    /// The server does nothing before this time.
    pub stalled: Time,
    /// Time until the server answers.
    pub delay: Duration,
    pub interval: Interval,
    pub failure: Option<String>,
    pub ready: bool,
    pub drained: bool,
    /// Frames received without FIN, and with FIN.
    pub frames: [usize; 2],
}

/// An unmasked frame.
pub fn frame(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode::fragment_into(&mut out, true, false, opcode, payload, None);
    out
}

/// An honest echo.
pub fn echo(payload: &[u8]) -> Vec<Vec<u8>> {
    vec![frame(OpCode::Binary, payload)]
}

impl Lab {
    pub fn new(job: Job, answer: Answer) -> Self {
        let fake = Fake::new(&FakeOptions::default()).expect("a fake");
        let now = Time::from_millis(1000);
        let (say, notices) = channel();
        let (commands, link) = control_link(say);
        let config = settings::config(&job);
        let generator = Generator::new(Arc::new(job), 0, link);
        Self {
            lcore: Lcore::alone(fake, generator, config, now),
            now,
            commands,
            notices,
            peers: Vec::new(),
            answer,
            later: VecDeque::new(),
            stalled: Time::ZERO,
            delay: Duration::ZERO,
            interval: Interval::empty(),
            failure: None,
            ready: false,
            drained: false,
            frames: [0; 2],
        }
    }

    /// A turn of the generator, then one of the server.
    pub fn turn(&mut self) {
        self.now += TURN;
        let now = self.now;
        self.lcore
            .transport()
            .wait(Some(Duration::ZERO))
            .expect("nothing fails");
        self.lcore.turn(now);
        self.serve();
        while let Ok(notice) = self.notices.try_recv() {
            match notice {
                Notice::Ready => self.ready = true,
                Notice::Drained => self.drained = true,
                Notice::Failed(line) => self.failure = Some(line),
                Notice::Interval { interval, .. } => self.interval = *interval,
                Notice::Error(_) | Notice::Finished => {}
            }
        }
    }

    /// A turn. Returns by how much the generator's side of it raised `count`.
    pub fn counted_turn(&mut self, count: fn() -> u64) -> u64 {
        self.now += TURN;
        let now = self.now;
        self.lcore
            .transport()
            .wait(Some(Duration::ZERO))
            .expect("nothing fails");
        let before = count();
        self.lcore.turn(now);
        let allocated = count() - before;
        self.serve();
        allocated
    }

    pub fn turns(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.turn();
        }
    }

    fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        for _ in 0..200_000 {
            if done(self) || self.failure.is_some() {
                return;
            }
            self.turn();
        }
        panic!("timed out waiting until {what}");
    }

    /// Opens the connections and begins the load.
    pub fn go(&mut self) {
        self.commands.send(Command::Open);
        self.until("all is open", |lab| lab.ready);
        self.commands.send(Command::Go);
        self.turn();
    }

    /// Drains, and takes the counters.
    pub fn halt(&mut self) {
        self.commands.send(Command::Halt);
        self.until("nothing is in flight", |lab| lab.drained);
        self.report();
    }

    pub fn report(&mut self) {
        self.commands
            .send(Command::Report(Box::new(Interval::empty())));
        self.turn();
    }

    /// A whole run that lasts `time`.
    pub fn run(&mut self, time: Duration) {
        self.go();
        self.turns(time);
        self.halt();
    }

    /// Messages that the server has received, by connection in the order of opening.
    pub fn messages(&self) -> Vec<usize> {
        self.peers.iter().map(|peer| peer.messages).collect()
    }

    /// The server ends a connection.
    pub fn end_one(&mut self) {
        let id = self.peers[0].id;
        self.lcore.transport().reset(id);
    }

    fn serve(&mut self) {
        let now = self.now;
        let connecting = self.lcore.transport().connecting();
        for (id, _) in connecting {
            self.lcore.transport().connect_outcome(id, Ok(()));
            self.peers.push(Peer {
                id,
                open: false,
                unread: Vec::new(),
                messages: 0,
                parts: Vec::new(),
            });
        }
        if now < self.stalled {
            return;
        }
        for peer in &mut self.peers {
            let sent = self.lcore.transport().peek_sent(peer.id);
            if sent.is_empty() {
                continue;
            }
            peer.unread.extend_from_slice(sent);
            self.lcore.transport().clear_sent(peer.id);
            if !peer.open {
                let Some(reply) = accept(&peer.unread) else {
                    continue;
                };
                peer.unread.clear();
                peer.open = true;
                self.lcore.transport().deliver(peer.id, &reply);
                continue;
            }
            let mut unread = std::mem::take(&mut peer.unread);
            let mut used = 0;
            while let Some((len, fin, opcode, payload)) = next_frame(&mut unread[used..]) {
                used += len;
                let frames = match opcode {
                    9 => vec![frame(OpCode::Pong, payload)],
                    8 => vec![frame(OpCode::Close, payload)],
                    _ => {
                        self.frames[usize::from(fin)] += 1;
                        if fin && peer.parts.is_empty() {
                            peer.messages += 1;
                            (self.answer)(peer.messages - 1, payload)
                        } else {
                            peer.parts.extend_from_slice(payload);
                            let mut answers = Vec::new();
                            if fin {
                                peer.messages += 1;
                                answers = (self.answer)(peer.messages - 1, &peer.parts);
                                peer.parts.clear();
                            }
                            answers
                        }
                    }
                };
                for frame in frames {
                    self.later.push_back((now + self.delay, peer.id, frame));
                }
            }
            unread.drain(..used);
            peer.unread = unread;
        }
        while self.later.front().is_some_and(|(at, ..)| *at <= now) {
            if let Some((_, id, bytes)) = self.later.pop_front() {
                self.lcore.transport().deliver(id, &bytes);
            }
        }
    }
}

/// The 101 response to a complete request.
fn accept(request: &[u8]) -> Option<Vec<u8>> {
    let request = request.to_vec();
    let (request, _) = server::parse(&request, &Default::default()).ok()??;
    let upgrade = request.upgrade.as_ref()?;
    let answer = hioload_ws_proto::handshake::accept_key(upgrade.key);
    let answer = std::str::from_utf8(&answer).ok()?;
    Some(
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {answer}\r\n\r\n"
        )
        .into_bytes(),
    )
}

/// The next complete frame of a client, unmasked in place: its length, FIN, opcode, payload.
fn next_frame(bytes: &mut [u8]) -> Option<(usize, bool, u8, &[u8])> {
    let [first, second, ..] = *bytes else {
        return None;
    };
    assert_eq!(second & 0x80, 0x80, "a client masks");
    let (len, at) = match second & 0x7f {
        126 => (
            usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)),
            4,
        ),
        127 => (
            u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize,
            10,
        ),
        short => (usize::from(short), 2),
    };
    let key: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    let payload = bytes.get_mut(at + 4..at + 4 + len)?;
    for (i, byte) in payload.iter_mut().enumerate() {
        *byte ^= key[i % 4];
    }
    Some((at + 4 + len, first & 0x80 != 0, first & 0x0f, payload))
}
