//! Fan-out: publishers, topics, subscribers. Each lcore has topics of its own with all that belongs to them, so that when a
//! message was published is known where it is delivered.

use hioload_engine::{Context, LcoreContext};
use hioload_ws_proto::{Kind, Message};

use crate::flight::State;
use crate::generator::{Generator, Stage};
use crate::job::{Dialect, Job, Scenario};
use crate::payload::Wrong;

/// Publications of a topic whose time is remembered; a subscriber that is further behind is not timed.
const REMEMBERED: usize = 1 << 14;
/// What a subscriber asks, before the topic, and behind it.
const SUBSCRIBE: (&str, &str) = ("{\"sub\":\"", "\",\"id\":1}");
/// The yes to it.
const SUBSCRIBED: &[u8] = b"{\"ok\":1}";
/// Behind the data of a publication and of a delivery.
const TAIL: &[u8] = b"\"}";

/// A topic of this lcore.
#[derive(Debug)]
pub(crate) struct Topic {
    /// What a subscriber sends.
    request: Vec<u8>,
    /// What stands before the data, when it is published and when it is delivered.
    published: Vec<u8>,
    delivered: Vec<u8>,
    /// Which connection publishes.
    publisher: usize,
    subscribers: u64,
    /// The number of the next publication, and of the first.
    next: u32,
    first: u32,
    deliveries: u64,
    /// When publications were due, by their number.
    at: Box<[u64]>,
    /// Open loop: when the next is due.
    pub(crate) due: u64,
}

/// The topics of an lcore.
#[derive(Debug)]
pub(crate) struct Fan {
    pub(crate) publishers: usize,
    pub(crate) topics: Vec<Topic>,
    /// Publishers that are open, and subscribers that are subscribed.
    there: usize,
    dialect: Dialect,
    scratch: Vec<u8>,
    /// Open loop: topics whose publisher has no room.
    waiting: Vec<usize>,
}

impl Fan {
    pub(crate) fn new(job: &Job, lcore: u16) -> Self {
        let mut fan = Self {
            publishers: 0,
            topics: Vec::new(),
            there: 0,
            dialect: job.dialect,
            scratch: Vec::new(),
            waiting: Vec::new(),
        };
        if job.scenario != Scenario::Fanout {
            return fan;
        }
        let subscribers = job.share(job.connections, lcore);
        let count = job.share(job.topics.max(1), lcore);
        fan.publishers = job.share(job.publishers.max(1), lcore).min(count);
        // Two runs at once do not hear each other.
        let run: u32 = rand::random();
        for t in 0..count {
            let name = format!("load.{run:08x}.{lcore}.{t}");
            let topics = job.dialect == Dialect::Topics;
            let head = |verb: &str| match topics {
                true => format!("{{\"{verb}\":\"{name}\",\"data\":\"").into_bytes(),
                false => Vec::new(),
            };
            let first = rand::random();
            fan.topics.push(Topic {
                request: format!("{}{name}{}", SUBSCRIBE.0, SUBSCRIBE.1).into_bytes(),
                published: head("pub"),
                delivered: head("msg"),
                publisher: subscribers + t % fan.publishers.max(1),
                // Subscriber n has topic n modulo their number.
                subscribers: (subscribers + count - 1 - t).div_euclid(count) as u64,
                next: first,
                first,
                deliveries: 0,
                at: vec![0; REMEMBERED].into(),
                due: 0,
            });
        }
        fan
    }

    /// Whether everybody has got everything.
    pub(crate) fn is_complete(&self) -> bool {
        self.topics
            .iter()
            .all(|topic| topic.deliveries == u64::from(topic.sent()) * topic.subscribers)
    }
}

impl Topic {
    fn sent(&self) -> u32 {
        self.next.wrapping_sub(self.first)
    }

    /// Publications that somebody may still have to get.
    fn under_way(&self) -> u64 {
        u64::from(self.sent()).saturating_sub(self.deliveries / self.subscribers.max(1))
    }
}

impl Generator {
    /// Which topic connection `n` publishes or has subscribed to, and whether it publishes.
    fn topic_of(&self, n: usize) -> (usize, bool) {
        let subscribers = self.flights.len() - self.fan.publishers;
        if n >= subscribers {
            (n - subscribers, true)
        } else {
            (n % self.fan.topics.len().max(1), false)
        }
    }

    /// A publisher or a subscriber is open.
    pub(crate) fn fan_opened(&mut self, n: usize, cx: &mut impl Context<Event = ()>) {
        let (t, publishes) = self.topic_of(n);
        self.flights[n].next = self.fan.topics[t].first;
        if publishes || self.fan.dialect == Dialect::Plain {
            return self.is_there();
        }
        self.flights[n].state = State::Subscribing;
        if self.fan.dialect == Dialect::Greeted {
            return;
        }
        if cx.send(Kind::Text, &self.fan.topics[t].request).is_err() {
            self.fail("a subscription could not be sent".to_owned());
        }
    }

    fn is_there(&mut self) {
        self.fan.there += 1;
        if self.fan.there == self.flights.len() && self.stage == Stage::Opening {
            self.become_ready();
        }
    }

    /// A message to a subscriber, or to a publisher.
    pub(crate) fn delivered(
        &mut self,
        n: usize,
        cx: &mut impl Context<Event = ()>,
        message: Message<'_>,
    ) {
        let bytes = message.as_bytes();
        let (t, publishes) = self.topic_of(n);
        if self.flights[n].state == State::Subscribing {
            if bytes == SUBSCRIBED || self.fan.dialect == Dialect::Greeted {
                self.flights[n].state = State::Open;
                return self.is_there();
            }
            let said = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
            return self.fail(format!("a subscription was answered with {said:?}"));
        }
        if self.fan.dialect != Dialect::Topics && (publishes || self.stage == Stage::Opening) {
            // A greeting, or what everybody gets.
            return;
        }
        if publishes {
            let said = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
            return self.fail(format!("a publication was answered with {said:?}"));
        }
        let topic = &mut self.fan.topics[t];
        let flight = &mut self.flights[n];
        let number = flight.next;
        if number == topic.next {
            return self.wrong(n, Wrong::Unasked);
        }
        if message.kind() != self.kind {
            return self.wrong(n, Wrong::Kind);
        }
        let data = match self.fan.dialect {
            Dialect::Plain | Dialect::Greeted => Some(bytes),
            Dialect::Topics => bytes
                .strip_prefix(&topic.delivered[..])
                .and_then(|rest| rest.strip_suffix(TAIL)),
        };
        let Some(data) = data else {
            return self.wrong(n, Wrong::Byte { at: 0 });
        };
        if let Err(wrong) = self.payload.check(number, data) {
            return self.wrong(n, wrong);
        }
        flight.next = number.wrapping_add(1);
        topic.deliveries += 1;
        self.meter.received(bytes.len());
        if self.stage == Stage::Running || self.stage == Stage::Draining {
            self.meter.done();
        }
        if topic.next.wrapping_sub(number) as usize <= REMEMBERED {
            let since = topic.at[number as usize % REMEMBERED];
            let came = self.arrival(cx.now());
            self.meter.time(came.saturating_sub(since));
        }
    }

    /// Publishes what is due, or what the window has room for.
    pub(crate) fn publish_due(&mut self, cx: &mut impl LcoreContext<Event = ()>) -> bool {
        let now = cx.now().as_nanos();
        let mut any = false;
        if self.pacer.is_none() {
            let window = self.job.window() as u64;
            for t in 0..self.fan.topics.len() {
                while self.fan.topics[t].under_way() < window && self.publish(t, cx, now) {
                    any = true;
                }
            }
            return any;
        }
        for t in std::mem::take(&mut self.fan.waiting) {
            any |= self.publish_behind(t, cx, now);
        }
        while let Some((_, t)) = self.pacer.as_mut().and_then(|pacer| pacer.take(now)) {
            any = true;
            self.publish_behind(t, cx, now);
        }
        any
    }

    /// Publishes all that is due of a topic.
    fn publish_behind(
        &mut self,
        t: usize,
        cx: &mut impl LcoreContext<Event = ()>,
        now: u64,
    ) -> bool {
        let mut any = false;
        while self.fan.topics[t].due <= now {
            let due = self.fan.topics[t].due;
            if !self.publish(t, cx, due) {
                self.fan.waiting.push(t);
                return any;
            }
            any = true;
            if let Some(pacer) = &mut self.pacer {
                self.fan.topics[t].due = pacer.next(due);
            }
        }
        if let Some(pacer) = &mut self.pacer {
            pacer.put(self.fan.topics[t].due, t);
        }
        any
    }

    /// Publishes the next message of a topic, which counts from `since`.
    fn publish(&mut self, t: usize, cx: &mut impl LcoreContext<Event = ()>, since: u64) -> bool {
        let Fan {
            topics, scratch, ..
        } = &mut self.fan;
        let topic = &mut topics[t];
        let Some(id) = self.flights[topic.publisher].id else {
            return false;
        };
        scratch.clear();
        scratch.extend_from_slice(&topic.published);
        self.payload
            .lend(topic.next, |bytes| scratch.extend_from_slice(bytes));
        if !topic.published.is_empty() {
            scratch.extend_from_slice(TAIL);
        }
        if cx.send_to(id, self.kind, scratch).is_err() {
            return false;
        }
        topic.at[topic.next as usize % REMEMBERED] = since;
        topic.next = topic.next.wrapping_add(1);
        self.meter.sent();
        true
    }
}
