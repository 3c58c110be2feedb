//! One run of a script.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use hioload_engine::{Lcore, Totals};
use hioload_lcore::Time;
use hioload_transport::fake::{Fake, FakeOptions};
use hioload_transport::{ConnId, Peer, Transport};

use super::super::input::cut;
use super::super::wire::By;
use super::app::App;
use super::peers::{REQUEST, answer, frame, request};
use super::setup::config;
use super::{Options, Step};

/// The time between two steps.
const STEP: Duration = Duration::from_millis(25);
/// The longest silence of the bystander. It is short enough that the bystander is never pinged.
pub(super) const STRIDE: Duration = Duration::from_millis(100);
/// The most time that all steps of a script may let pass.
const MAX_TIME: Duration = Duration::from_secs(5);
/// The most turns that the bystander waits for its echo: every connection has had one by then.
const PATIENCE: usize = 16;
/// The most peers that connect to us.
const MAX_PEERS: usize = 24;

/// A hostile peer.
pub(super) struct Hostile {
    pub(super) id: ConnId,
    /// The role of the engine.
    pub(super) engine: By,
    pub(super) sent: Vec<u8>,
    /// It has refused the connection.
    pub(super) refused: bool,
}

pub(super) struct World {
    pub(super) options: Options,
    split: Option<u32>,
    pub(super) lcore: Lcore<Fake, App>,
    pub(super) now: Time,
    pub(super) live: Rc<Cell<usize>>,
    pub(super) patterns: Rc<RefCell<BTreeSet<String>>>,
    pub(super) bystander: ConnId,
    echoes: usize,
    patience: Duration,
    pub(super) peers: Vec<Hostile>,
    /// The index in `peers` of the peer that has each number.
    current: [Option<usize>; 6],
}

impl World {
    pub(super) fn new(options: Options, split: Option<u32>) -> Self {
        let fake = FakeOptions::default()
            .send_queue(64 << 20)
            .max_connections(256)
            .tx_chunk(if options.exact { 16 << 10 } else { 1 << 10 })
            .tx_chunks(8192)
            .short_means_drained(options.policy == 0);
        let (app, now) = (App::default(), Time::from_millis(1000));
        let (live, patterns) = (Rc::clone(&app.live), Rc::clone(&app.patterns));
        let fake = Fake::new(&fake).expect("memory for a pool");
        let mut lcore = Lcore::alone(fake, app, config(options), now);
        let bystander = lcore
            .transport()
            .accept(Peer::Ip(([10, 0, 0, 2], 1).into()));
        let mut world = Self {
            options,
            split,
            lcore,
            now,
            live,
            patterns,
            bystander,
            echoes: 0,
            patience: MAX_TIME,
            peers: Vec::new(),
            current: [None; 6],
        };
        world.io().deliver(bystander, REQUEST.as_bytes());
        world.settle();
        assert!(world.io().sent(bystander).starts_with(b"HTTP/1.1 101 "));
        world.echo();
        world
    }

    pub(super) fn io(&mut self) -> &mut Fake {
        self.lcore.transport()
    }

    fn turn(&mut self) {
        self.io()
            .wait(Some(Duration::ZERO))
            .expect("a fake does not fail");
        self.lcore.turn(self.now);
    }

    /// Runs turns until nothing happens any more.
    pub(super) fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..20_000 {
            let before = self.progress();
            self.turn();
            quiet = if self.progress() == before {
                quiet + 1
            } else {
                0
            };
            if quiet == 2 {
                self.discover();
                return;
            }
        }
        panic!("the engine never comes to rest");
    }

    fn progress(&mut self) -> Totals {
        let mut totals = self.lcore.totals();
        totals.turns = 0;
        totals.sleeps = 0;
        let transport = &mut totals.transport;
        transport.sleeps = 0;
        transport.blocked = 0;
        transport.reads = 0;
        transport.writes = 0;
        totals
    }

    /// Peers that the application has connected to get the numbers 4 and 5.
    fn discover(&mut self) {
        for (id, _) in self.io().connecting() {
            if self.peers.iter().all(|peer| peer.id != id) {
                let who = if self.current[4].is_none() { 4 } else { 5 };
                self.current[who] = Some(self.peers.len());
                self.peers.push(Hostile {
                    id,
                    engine: By::Client,
                    sent: Vec::new(),
                    refused: false,
                });
            }
        }
    }

    /// The bystander sends a message, and gets the echo within a few turns.
    fn echo(&mut self) {
        self.echoes += 1;
        let payload = format!("bystander {}", self.echoes).into_bytes();
        let expected = [&[0x82, payload.len() as u8][..], &payload].concat();
        let id = self.bystander;
        assert!(
            self.io().deliver(id, &frame(By::Server, 0x82, &payload)),
            "the bystander was cut off"
        );
        for _ in 0..PATIENCE {
            self.turn();
            if !self.io().peek_sent(id).is_empty() {
                break;
            }
        }
        assert_eq!(
            self.io().sent(id),
            expected,
            "the bystander did not receive exactly its echo"
        );
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.now += STRIDE;
            self.echo();
            self.settle();
        }
    }

    /// The index of the peer number `who`. A peer that connects to us and does not exist yet connects now.
    fn peer(&mut self, who: usize) -> Option<usize> {
        if who < 4 && self.current[who].is_none() {
            self.accept(who);
        }
        self.current[who]
    }

    fn accept(&mut self, who: usize) {
        if self.peers.len() < MAX_PEERS {
            let port = 1 + self.peers.len() as u16;
            let id = self.io().accept(Peer::Ip(([10, 0, 0, 1], port).into()));
            self.current[who] = Some(self.peers.len());
            self.peers.push(Hostile {
                id,
                engine: By::Server,
                sent: Vec::new(),
                refused: false,
            });
        }
    }

    pub(super) fn step(&mut self, who: usize, step: &Step<'_>) {
        self.now += STEP;
        if let Some(peer) = self.peer(who) {
            self.act(who, peer, step);
        }
        self.echo();
        self.settle();
    }

    fn act(&mut self, who: usize, peer: usize, step: &Step<'_>) {
        let Hostile { id, engine, .. } = self.peers[peer];
        match step {
            Step::Bytes(bytes) => self.deliver(peer, bytes),
            Step::Open(variant) => self.open(peer, *variant),
            Step::Frame(first, payload) => self.deliver(peer, &frame(engine, *first, payload)),
            Step::Burst(first, payload) => {
                let burst = frame(engine, *first, payload).repeat(1 + 2000 / (payload.len() + 6));
                self.deliver(peer, &burst);
            }
            Step::End => drop(self.io().end(id)),
            Step::Reset => drop(self.io().reset(id)),
            Step::Window(bytes) if !self.options.exact => {
                let bytes = if *bytes == u16::MAX {
                    usize::MAX
                } else {
                    usize::from(*bytes)
                };
                self.io().set_window(id, bytes);
            }
            Step::Window(_) => {}
            Step::Pass(millis) => {
                let time = Duration::from_millis(u64::from(*millis)).min(self.patience);
                self.patience -= time;
                self.pass(time);
            }
            Step::Fresh if who < 4 => self.accept(who),
            Step::Fresh => {
                let refused = std::io::ErrorKind::ConnectionRefused;
                let connecting = self.io().connecting().iter().any(|(known, _)| *known == id);
                if connecting && self.io().connect_outcome(id, Err(refused)) {
                    self.peers[peer].refused = true;
                }
            }
        }
    }

    /// Sends the bytes of a peer: whole, or in pieces with a turn after each.
    fn deliver(&mut self, peer: usize, bytes: &[u8]) {
        let id = self.peers[peer].id;
        let Some(seed) = self.split else {
            self.io().deliver(id, bytes);
            return;
        };
        for piece in cut(bytes, seed ^ bytes.len() as u32) {
            self.io().deliver(id, piece);
            self.turn();
        }
    }

    fn open(&mut self, peer: usize, variant: u8) {
        let Hostile { id, engine, .. } = self.peers[peer];
        match engine {
            By::Server => self.deliver(peer, &request(variant)),
            By::Client => {
                self.io().connect_outcome(id, Ok(()));
                self.turn();
                self.collect(peer);
                if let Some(answer) = answer(variant, &self.peers[peer].sent) {
                    self.deliver(peer, &answer);
                }
            }
        }
    }

    pub(super) fn collect(&mut self, peer: usize) {
        let id = self.peers[peer].id;
        let sent = self.io().sent(id);
        self.peers[peer].sent.extend_from_slice(&sent);
    }
}
