//! Fan-out: the actions of publishers and subscribers.

use hioload_engine::{Context, LcoreContext};
use hioload_ws_proto::{Kind, Message};

use crate::conn::State;
use crate::fan::{Fan, REMEMBERED, SUBSCRIBED, TAIL};
use crate::generator::{Generator, Stage};
use crate::job::Dialect;
use crate::payload::Wrong;

impl Generator {
    /// The topic of connection `n`, and whether the connection publishes.
    fn topic_of(&self, n: usize) -> (usize, bool) {
        let subscribers = self.conns.len() - self.fan.publishers;
        if n >= subscribers {
            (n - subscribers, true)
        } else {
            (n % self.fan.topics.len().max(1), false)
        }
    }

    /// A publisher or a subscriber is open.
    pub(crate) fn fan_opened(&mut self, n: usize, cx: &mut impl Context<Event = ()>) {
        let (t, publishes) = self.topic_of(n);
        self.conns[n].next = self.fan.topics[t].first;
        if publishes || self.fan.dialect == Dialect::Plain {
            return self.participant_ready();
        }
        self.conns[n].state = State::Subscribing;
        if self.fan.dialect == Dialect::Greeted {
            return;
        }
        if cx.send(Kind::Text, &self.fan.topics[t].request).is_err() {
            self.fail("the generator could not send a subscription".to_owned());
        }
    }

    fn participant_ready(&mut self) {
        self.fan.ready += 1;
        if self.fan.ready == self.conns.len() && self.stage == Stage::Opening {
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
        if self.conns[n].state == State::Subscribing {
            if bytes == SUBSCRIBED || self.fan.dialect == Dialect::Greeted {
                self.conns[n].state = State::Open;
                return self.participant_ready();
            }
            let answer = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
            return self.fail(format!(
                "the server answered a subscription with {answer:?}"
            ));
        }
        if self.fan.dialect != Dialect::Topics && (publishes || self.stage == Stage::Opening) {
            // The greeting, or a copy for the publisher.
            return;
        }
        if publishes {
            let answer = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
            return self.fail(format!("the server answered a publication with {answer:?}"));
        }
        let topic = &mut self.fan.topics[t];
        let conn = &mut self.conns[n];
        let number = conn.next;
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
        conn.next = number.wrapping_add(1);
        topic.deliveries += 1;
        self.meter.received(bytes.len());
        if self.stage == Stage::Running || self.stage == Stage::Draining {
            self.meter.done();
        }
        if topic.next.wrapping_sub(number) as usize <= REMEMBERED {
            let since = topic.at[number as usize % REMEMBERED];
            let arrived = self.arrival(cx.now());
            self.meter.time(arrived.saturating_sub(since));
        }
    }

    /// Publishes the messages that are due, or that the window has space for.
    pub(crate) fn publish_due(&mut self, cx: &mut impl LcoreContext<Event = ()>) -> bool {
        let now = cx.now().as_nanos();
        let mut any = false;
        if self.pacer.is_none() {
            let window = self.job.window() as u64;
            for t in 0..self.fan.topics.len() {
                while self.fan.topics[t].in_flight() < window && self.publish(t, cx, now) {
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

    /// Publishes the messages of a topic that are due.
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

    /// Publishes the next message of a topic, timed from `since`.
    fn publish(&mut self, t: usize, cx: &mut impl LcoreContext<Event = ()>, since: u64) -> bool {
        let Fan {
            topics, scratch, ..
        } = &mut self.fan;
        let topic = &mut topics[t];
        let Some(id) = self.conns[topic.publisher].id else {
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
