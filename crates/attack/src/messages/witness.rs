//! Subscribers that count lost publications.
//!
//! A publisher publishes at a modest rate to a topic of its own, and every subscriber has to receive each publication. The server
//! spreads the subscribers over its lcores, so that most publications cross from one lcore to another.

use std::io;

use mio::{Registry, Token};

use super::frames::{FIN, TEXT, frame};
use super::options::MessageOptions;
use super::peer::{Dial, Event, Peer, request};

const MILLISECOND: u64 = 1_000_000;
/// Time between two publications, ns.
const EVERY: u64 = 10 * MILLISECOND;
/// Time between two publications until all subscribers receive them, ns.
const TRIAL_EVERY: u64 = 50 * MILLISECOND;
/// Time without publications after the last trial, in which its deliveries arrive.
const SETTLE: u64 = 500 * MILLISECOND;

/// What the witness has seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Witness {
    /// Whether all subscribers received publications before the attack. Nothing was counted otherwise.
    pub ready: bool,
    /// Publications.
    pub published: u64,
    /// Deliveries that had to arrive: publications times subscribers.
    pub expected: u64,
    /// Deliveries that arrived.
    pub delivered: u64,
    /// Connections of the witness that the server ended.
    pub ended: u64,
}

impl Witness {
    /// Deliveries that did not arrive.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.delivered)
    }
}

#[derive(Debug)]
struct Subscriber {
    /// `None` once the server has ended it.
    peer: Option<Peer>,
    subscribed: bool,
    /// Publications received in all.
    got: u64,
    /// Of these, before the count began.
    before: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Publishes until all subscribers have received something.
    Trial,
    /// Waits for the deliveries of the trial to arrive, until this time.
    Settling(u64),
    Counting,
    /// Waits for the last deliveries.
    Ending,
}

/// The connections of the witness.
#[derive(Debug)]
pub(crate) struct WitnessPeers {
    publisher: Option<Peer>,
    subscribers: Vec<Subscriber>,
    stage: Stage,
    /// Time of the next publication, ns.
    due: u64,
    published: u64,
    ended: u64,
    publication: Vec<u8>,
    subscription: Vec<u8>,
    /// A word that a delivery contains.
    word: Vec<u8>,
    /// The text of the subscription. A server that echoes it has delivered nothing.
    request: String,
}

impl WitnessPeers {
    /// Connects the subscribers and the publisher. `token` gives the token of each; that of the publisher is the last.
    pub(crate) fn connect(
        options: &MessageOptions,
        registry: &Registry,
        token: impl Fn(usize) -> Token,
    ) -> io::Result<Self> {
        let texts = &options.texts;
        let word = format!("witness{:016x}", rand::random::<u64>());
        let message = |text: &str| {
            let mut out = Vec::new();
            frame(
                &mut out,
                FIN | TEXT,
                text.replace("{topic}", &word).as_bytes(),
            );
            out
        };
        let request = request(
            &options.topics_path,
            &options.host,
            options.origin.as_deref(),
            &options.topics_protocol,
            false,
        );
        let dial = Dial {
            target: options.target,
            request: &request,
            receive_buffer: 0,
        };
        let subscribers = (0..options.witnesses).map(|n| {
            Ok(Subscriber {
                peer: Some(Peer::dial(&dial, registry, token(n))?),
                subscribed: false,
                got: 0,
                before: 0,
            })
        });
        let subscribers = subscribers.collect::<io::Result<_>>()?;
        Ok(Self {
            publisher: Some(Peer::dial(&dial, registry, token(options.witnesses))?),
            subscribers,
            stage: Stage::Trial,
            due: 0,
            published: 0,
            ended: 0,
            publication: message(&texts.publish),
            subscription: message(&texts.subscribe),
            request: texts.subscribe.replace("{topic}", &word),
            word: word.into_bytes(),
        })
    }

    /// Whether all subscribers have received something, so that from now on nothing may be lost.
    pub(crate) fn is_ready(&self) -> bool {
        !matches!(self.stage, Stage::Trial | Stage::Settling(_))
    }

    /// The socket with this index is ready.
    pub(crate) fn ready(&mut self, n: usize, scratch: &mut [u8]) {
        let (word, request) = (&self.word, self.request.as_bytes());
        let mut got = 0;
        let mut sink = |event: Event<'_>| {
            if let Event::Message(head) = event {
                let found = head.windows(word.len()).any(|part| part == word);
                let answers = head.starts_with(b"{\"error\"") || request.starts_with(head);
                got += u64::from(found && !answers);
            }
        };
        let peer = match self.subscribers.get_mut(n) {
            Some(subscriber) => &mut subscriber.peer,
            None => &mut self.publisher,
        };
        let Some(one) = peer else { return };
        let mut alive = one.flush(&mut sink).is_ok();
        while alive {
            match one.receive(scratch, usize::MAX, &mut sink) {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => alive = false,
            }
        }
        alive = alive && one.flush(&mut sink).is_ok();
        if !alive {
            *peer = None;
            self.ended += 1;
        }
        if let Some(subscriber) = self.subscribers.get_mut(n) {
            subscriber.got += got;
        }
    }

    /// Subscribes and publishes what is due.
    pub(crate) fn turn(&mut self, now: u64) {
        for subscriber in &mut self.subscribers {
            let Some(peer) = subscriber.peer.as_mut().filter(|peer| peer.is_open()) else {
                continue;
            };
            if !subscriber.subscribed {
                subscriber.subscribed = true;
                peer.out().extend_from_slice(&self.subscription);
                let _ = peer.flush(&mut |_| {});
            }
        }
        match self.stage {
            Stage::Trial if self.subscribers.iter().all(|one| one.got > 0) => {
                self.stage = Stage::Settling(now + SETTLE);
            }
            Stage::Settling(until) if now >= until => {
                for subscriber in &mut self.subscribers {
                    subscriber.before = subscriber.got;
                }
                self.stage = Stage::Counting;
                self.due = now;
            }
            Stage::Trial => self.publish(now, TRIAL_EVERY),
            Stage::Counting => self.publish(now, EVERY),
            Stage::Settling(_) | Stage::Ending => {}
        }
    }

    /// Stops publishing.
    pub(crate) fn end(&mut self) {
        if self.is_ready() {
            self.stage = Stage::Ending;
        }
    }

    /// Whether everything has arrived.
    pub(crate) fn is_complete(&self) -> bool {
        let report = self.report();
        report.lost() == 0 || !report.ready
    }

    /// The counts so far.
    pub(crate) fn report(&self) -> Witness {
        let subscribers = self.subscribers.iter();
        let delivered = subscribers.map(|one| (one.got - one.before).min(self.published));
        let ready = self.is_ready();
        Witness {
            ready,
            published: self.published,
            expected: self.published * self.subscribers.len() as u64,
            delivered: if ready { delivered.sum() } else { 0 },
            ended: self.ended,
        }
    }

    fn publish(&mut self, now: u64, every: u64) {
        if now < self.due {
            return;
        }
        let Some(peer) = self.publisher.as_mut().filter(|peer| peer.has_room()) else {
            return;
        };
        // A publication that was due during a pause of this thread is left out.
        self.due = (self.due + every).max(now);
        peer.out().extend_from_slice(&self.publication);
        let _ = peer.flush(&mut |_| {});
        if self.stage == Stage::Counting {
            self.published += 1;
        }
    }
}
