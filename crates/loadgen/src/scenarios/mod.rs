//! What the scenarios do when a connection opens, an answer comes, a turn begins.

use hioload_engine::{Context, LcoreContext};
use hioload_ws_proto::{CloseCode, Message};

use crate::flight::State;
use crate::generator::{Generator, Notice, Stage};
use crate::job::Scenario;
use crate::pacer::Pacer;
use crate::payload::Wrong;

pub(crate) mod fanout;
pub(crate) mod turns;

/// Connections that begin to send in one turn.
const BEGIN: usize = 256;
/// Messages of an open loop sent in one turn.
const PACED: usize = 1024;

impl Generator {
    /// The load begins.
    pub(crate) fn begin(&mut self, cx: &mut impl LcoreContext<Event = ()>) {
        let now = cx.now();
        let rate = |share: usize, all: usize| {
            self.job
                .rate
                .map(|rate| rate * share as f64 / all.max(1) as f64)
        };
        let share = self.job.share(self.job.connections, self.lcore);
        match self.job.scenario {
            Scenario::Ramp | Scenario::Churn => {
                if let Some(rate) = rate(share, self.job.connections).filter(|rate| *rate > 0.0) {
                    self.opener.pace(rate, now);
                }
                if self.opener.wanted == 0 {
                    self.link.notify(Notice::Finished);
                }
            }
            Scenario::Rate => {
                let rate = rate(share, self.job.connections).unwrap_or(1.0);
                self.pace(rate, share, now.as_nanos());
            }
            Scenario::Fanout => {
                let (topics, all) = (self.fan.topics.len(), self.job.topics);
                if let Some(rate) = rate(topics, all) {
                    self.pace(rate, topics, now.as_nanos());
                }
            }
            Scenario::Echo => self.queue_up(),
            Scenario::Bulk | Scenario::Hold => {}
        }
    }

    /// Gives `of` connections, or topics, their first due times.
    fn pace(&mut self, rate: f64, of: usize, now: u64) {
        if of == 0 {
            return;
        }
        let seed = u64::from(self.lcore).wrapping_add(1);
        let mut pacer = Pacer::new(rate, of, self.job.arrival, seed);
        for n in 0..of {
            let due = pacer.first(now, n, of);
            if self.job.scenario == Scenario::Fanout {
                self.fan.topics[n].due = due;
            } else {
                self.flights[n].due = due;
                if self.flights[n].state != State::Open {
                    // It is being opened again, and falls behind its schedule meanwhile.
                    continue;
                }
            }
            pacer.put(due, n);
        }
        self.pacer = Some(pacer);
    }

    /// What is sent by the clock.
    pub(crate) fn load_turn(&mut self, cx: &mut impl LcoreContext<Event = ()>) -> bool {
        match self.job.scenario {
            Scenario::Echo if self.active > 0 => self.first_turns(cx),
            Scenario::Echo | Scenario::Bulk if self.cursor < self.flights.len() => {
                let end = (self.cursor + BEGIN).min(self.flights.len());
                for n in self.cursor..end {
                    self.fill(n, cx);
                }
                self.cursor = end;
                true
            }
            Scenario::Rate => self.send_due(cx),
            Scenario::Fanout => self.publish_due(cx),
            _ => false,
        }
    }

    /// Open loop: sends what is due.
    pub(crate) fn send_due(&mut self, cx: &mut impl LcoreContext<Event = ()>) -> bool {
        let now = cx.now().as_nanos().min(self.until);
        let mut any = false;
        for _ in 0..PACED {
            let Some((_, n)) = self.pacer.as_mut().and_then(|pacer| pacer.take(now)) else {
                break;
            };
            any = true;
            self.catch_up(n, cx);
        }
        any
    }

    /// Sends what is due on a connection, as far as it takes it; puts it back into the schedule if it is not behind.
    fn catch_up(&mut self, n: usize, cx: &mut impl LcoreContext<Event = ()>) {
        let now = cx.now().as_nanos();
        let upto = now.min(self.until);
        let window = self.job.window();
        self.flights[n].waiting = false;
        while self.flights[n].due <= upto {
            let due = self.flights[n].due;
            if self.flights[n].under_way.len() >= window || !self.send(n, cx, due, now) {
                self.flights[n].waiting = true;
                return;
            }
            if let Some(pacer) = &mut self.pacer {
                self.flights[n].due = pacer.next(due);
            }
        }
        if self.stage == Stage::Running
            && let Some(pacer) = &mut self.pacer
        {
            pacer.put(self.flights[n].due, n);
        }
    }

    /// Closed loop: sends until enough is under way.
    pub(crate) fn fill(&mut self, n: usize, cx: &mut impl LcoreContext<Event = ()>) {
        let now = cx.now().as_nanos();
        let window = self.job.window();
        if self.flights[n].state != State::Open
            || turns::is_silent(n, self.flights.len(), self.silent)
        {
            return;
        }
        while self.flights[n].under_way.len() < window {
            if !self.send(n, cx, now, now) {
                self.flights[n].waiting = true;
                return;
            }
        }
        self.flights[n].waiting = false;
    }

    /// Sends the next message of a connection, which counts from `since`. `false` if it was not taken.
    #[inline]
    fn send(
        &mut self,
        n: usize,
        cx: &mut impl LcoreContext<Event = ()>,
        since: u64,
        now: u64,
    ) -> bool {
        let flight = &mut self.flights[n];
        let Some(id) = flight.id else { return false };
        let (kind, fragments) = (self.kind, self.job.fragments);
        let taken = self.payload.lend(flight.sent, |bytes| {
            if fragments > 1 {
                cx.send_fragmented(id, kind, bytes, fragments)
            } else {
                cx.send_to(id, kind, bytes)
            }
        });
        if taken.is_err() {
            return false;
        }
        flight.sends(since, now);
        self.meter.sent();
        true
    }

    /// A connection is open.
    pub(crate) fn opened(&mut self, n: usize, cx: &mut impl Context<Event = ()>) {
        match self.job.scenario {
            Scenario::Fanout => return self.fan_opened(n, cx),
            Scenario::Ramp => self.meter.done(),
            Scenario::Churn if self.stage == Stage::Running => {
                let now = cx.now().as_nanos();
                self.flights[n].due = 0;
                if self.send(n, cx, now, now) {
                    return;
                }
            }
            // Opened again.
            Scenario::Echo | Scenario::Bulk if self.stage == Stage::Running => self.fill(n, cx),
            Scenario::Rate if self.stage == Stage::Running => {
                // What was due meanwhile went with the connection that was lost.
                self.flights[n].due = cx.now().as_nanos();
                self.catch_up(n, cx);
            }
            _ => {}
        }
        let all = self.opener.opened == self.opener.wanted;
        match self.stage {
            Stage::Opening if all => self.become_ready(),
            Stage::Running if all && self.job.scenario == Scenario::Ramp => {
                self.link.notify(Notice::Finished);
            }
            _ => {}
        }
    }

    /// A message has come.
    #[inline]
    pub(crate) fn answered(
        &mut self,
        n: usize,
        cx: &mut impl Context<Event = ()>,
        message: Message<'_>,
    ) {
        if self.job.scenario == Scenario::Fanout {
            return self.delivered(n, cx, message);
        }
        let now = self.arrival(cx.now());
        let flight = &mut self.flights[n];
        let Some(&since) = flight.under_way.front() else {
            return self.unasked(n);
        };
        let bytes = message.as_bytes();
        if message.kind() != self.kind {
            return self.wrong(n, Wrong::Kind);
        }
        if let Err(wrong) = self.payload.check(flight.next, bytes) {
            return self.wrong(n, wrong);
        }
        flight.under_way.pop_front();
        flight.next = flight.next.wrapping_add(1);
        flight.moved = now;
        self.meter.received(bytes.len());
        self.meter.time(now.saturating_sub(since));
        match (self.stage, self.job.scenario) {
            (Stage::Running, Scenario::Echo | Scenario::Bulk) => {
                self.meter.done();
                if self.active > 0 {
                    self.turns.push_back(n);
                    self.next_turn(cx);
                } else if !self.send(n, cx, now, now) {
                    self.flights[n].waiting = true;
                }
            }
            (_, Scenario::Churn) => self.churned(n, cx),
            (Stage::Running, _) => {
                self.meter.done();
                if self.flights[n].waiting {
                    self.catch_up(n, cx);
                }
            }
            (Stage::Draining, _) => {
                if self.flights[n].waiting && self.job.scenario == Scenario::Rate {
                    self.catch_up(n, cx);
                }
                self.settle(n, cx);
            }
            _ => {}
        }
    }

    #[cold]
    fn unasked(&mut self, n: usize) {
        if !matches!(self.stage, Stage::Closing | Stage::Failed) {
            self.wrong(n, Wrong::Unasked);
        }
    }

    /// An echo of a connection that is to be closed after some.
    fn churned(&mut self, n: usize, cx: &mut impl Context<Event = ()>) {
        let flight = &mut self.flights[n];
        flight.due += 1;
        let now = cx.now().as_nanos();
        if flight.due < self.job.echoes as u64 && self.send(n, cx, now, now) {
            return;
        }
        self.flights[n].state = State::Closing;
        cx.close(CloseCode::NORMAL, "");
    }

    /// A connection that we closed has closed.
    pub(crate) fn closed_as_wanted(&mut self, n: usize) {
        if self.job.scenario == Scenario::Churn {
            self.meter.done();
            if self.stage == Stage::Running {
                self.opener.again(n);
            }
        }
    }

    /// There is room on a connection again.
    pub(crate) fn refill(&mut self, n: usize, cx: &mut impl Context<Event = ()>) {
        if !self.flights[n].waiting {
            return;
        }
        match (self.stage, self.job.scenario) {
            (Stage::Running, Scenario::Echo | Scenario::Bulk) => self.fill(n, cx),
            (Stage::Running | Stage::Draining, Scenario::Rate) => self.catch_up(n, cx),
            _ => {}
        }
    }

    /// The end: waits for what is under way on every connection, and then for the answer to a ping, before which everything must
    /// have come that was sent; so an answer too many is seen.
    pub(crate) fn settle_all(&mut self, cx: &mut impl LcoreContext<Event = ()>) {
        // Those that have said nothing have nothing to wait for.
        if matches!(
            self.job.scenario,
            Scenario::Hold | Scenario::Ramp | Scenario::Churn | Scenario::Fanout
        ) {
            return;
        }
        self.unsettled = 0;
        for n in 0..self.flights.len() {
            self.flights[n].settled = self.flights[n].id.is_none();
            if self.flights[n].id.is_some() {
                self.unsettled += 1;
                self.settle(n, cx);
            }
        }
    }

    /// Sends the ping if nothing is under way.
    pub(crate) fn settle(&mut self, n: usize, cx: &mut impl LcoreContext<Event = ()>) {
        let flight = &mut self.flights[n];
        let owes = flight.waiting && self.job.scenario == Scenario::Rate;
        let Some(id) = flight.id else { return };
        if flight.pinged || owes || !flight.under_way.is_empty() {
            return;
        }
        flight.pinged = true;
        if cx.ping_to(id, b"").is_err() {
            self.settled(n);
        }
    }

    /// Nothing more is to come on a connection.
    pub(crate) fn settled(&mut self, n: usize) {
        let flight = &mut self.flights[n];
        if self.stage == Stage::Draining && !flight.settled {
            flight.settled = true;
            self.unsettled = self.unsettled.saturating_sub(1);
        }
    }
}
