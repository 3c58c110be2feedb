//! The actions of the scenarios when a connection opens, an answer arrives, and a turn begins.

use hioload_engine::{Context, LcoreContext};
use hioload_ws_proto::{CloseCode, Message};

use crate::channel::Notice;
use crate::conn::State;
use crate::generator::{Generator, Stage};
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
    /// Begins the load.
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

    /// Schedules the first messages of `of` connections, or topics.
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
                self.conns[n].due = due;
                if self.conns[n].state != State::Open {
                    // It is being opened again, and falls behind its schedule until it is open.
                    continue;
                }
            }
            pacer.put(due, n);
        }
        self.pacer = Some(pacer);
    }

    /// Sends the messages of a turn.
    pub(crate) fn load_turn(&mut self, cx: &mut impl LcoreContext<Event = ()>) -> bool {
        match self.job.scenario {
            Scenario::Echo if self.active > 0 => self.first_turns(cx),
            Scenario::Echo | Scenario::Bulk if self.cursor < self.conns.len() => {
                let end = (self.cursor + BEGIN).min(self.conns.len());
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

    /// Open loop: sends the messages that are due.
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

    /// Sends the messages due on a connection until it takes no more. Returns it to the schedule if it is not behind.
    fn catch_up(&mut self, n: usize, cx: &mut impl LcoreContext<Event = ()>) {
        let now = cx.now().as_nanos();
        let upto = now.min(self.until);
        let window = self.job.window();
        self.conns[n].waiting = false;
        while self.conns[n].due <= upto {
            let due = self.conns[n].due;
            if self.conns[n].in_flight.len() >= window || !self.send(n, cx, due, now) {
                self.conns[n].waiting = true;
                return;
            }
            if let Some(pacer) = &mut self.pacer {
                self.conns[n].due = pacer.next(due);
            }
        }
        if self.stage == Stage::Running
            && let Some(pacer) = &mut self.pacer
        {
            pacer.put(self.conns[n].due, n);
        }
    }

    /// Closed loop: sends until the window is full.
    pub(crate) fn fill(&mut self, n: usize, cx: &mut impl LcoreContext<Event = ()>) {
        let now = cx.now().as_nanos();
        let window = self.job.window();
        if self.conns[n].state != State::Open || turns::is_silent(n, self.conns.len(), self.silent)
        {
            return;
        }
        while self.conns[n].in_flight.len() < window {
            if !self.send(n, cx, now, now) {
                self.conns[n].waiting = true;
                return;
            }
        }
        self.conns[n].waiting = false;
    }

    /// Sends the next message of a connection, timed from `since`. Returns `false` if the engine did not take it.
    #[inline]
    fn send(
        &mut self,
        n: usize,
        cx: &mut impl LcoreContext<Event = ()>,
        since: u64,
        now: u64,
    ) -> bool {
        let conn = &mut self.conns[n];
        let Some(id) = conn.id else { return false };
        let (kind, fragments) = (self.kind, self.job.fragments);
        let taken = self.payload.lend(conn.sent, |bytes| {
            if fragments > 1 {
                cx.send_fragmented(id, kind, bytes, fragments)
            } else {
                cx.send_to(id, kind, bytes)
            }
        });
        if taken.is_err() {
            return false;
        }
        conn.sends(since, now);
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
                self.conns[n].due = 0;
                if self.send(n, cx, now, now) {
                    return;
                }
            }
            // The connection was opened again.
            Scenario::Echo | Scenario::Bulk if self.stage == Stage::Running => self.fill(n, cx),
            Scenario::Rate if self.stage == Stage::Running => {
                // The messages due meanwhile are lost with the old connection.
                self.conns[n].due = cx.now().as_nanos();
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

    /// A message has arrived.
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
        let conn = &mut self.conns[n];
        let Some(&since) = conn.in_flight.front() else {
            return self.unasked(n);
        };
        let bytes = message.as_bytes();
        if message.kind() != self.kind {
            return self.wrong(n, Wrong::Kind);
        }
        if let Err(wrong) = self.payload.check(conn.next, bytes) {
            return self.wrong(n, wrong);
        }
        conn.in_flight.pop_front();
        conn.next = conn.next.wrapping_add(1);
        conn.moved = now;
        self.meter.received(bytes.len());
        self.meter.time(now.saturating_sub(since));
        match (self.stage, self.job.scenario) {
            (Stage::Running, Scenario::Echo | Scenario::Bulk) => {
                self.meter.done();
                if self.active > 0 {
                    self.turns.push_back(n);
                    self.next_turn(cx);
                } else if !self.send(n, cx, now, now) {
                    self.conns[n].waiting = true;
                }
            }
            (_, Scenario::Churn) => self.churned(n, cx),
            (Stage::Running, _) => {
                self.meter.done();
                if self.conns[n].waiting {
                    self.catch_up(n, cx);
                }
            }
            (Stage::Draining, _) => {
                if self.conns[n].waiting && self.job.scenario == Scenario::Rate {
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

    /// Churn: an echo has arrived. Closes the connection after the last one.
    fn churned(&mut self, n: usize, cx: &mut impl Context<Event = ()>) {
        let conn = &mut self.conns[n];
        conn.due += 1;
        let now = cx.now().as_nanos();
        if conn.due < self.job.echoes as u64 && self.send(n, cx, now, now) {
            return;
        }
        self.conns[n].state = State::Closing;
        cx.close(CloseCode::NORMAL, "");
    }

    /// A connection that the generator closed has closed.
    pub(crate) fn closed_as_requested(&mut self, n: usize) {
        if self.job.scenario == Scenario::Churn {
            self.meter.done();
            if self.stage == Stage::Running {
                self.opener.again(n);
            }
        }
    }

    /// A connection has space again.
    pub(crate) fn refill(&mut self, n: usize, cx: &mut impl Context<Event = ()>) {
        if !self.conns[n].waiting {
            return;
        }
        match (self.stage, self.job.scenario) {
            (Stage::Running, Scenario::Echo | Scenario::Bulk) => self.fill(n, cx),
            (Stage::Running | Stage::Draining, Scenario::Rate) => self.catch_up(n, cx),
            _ => {}
        }
    }
}
