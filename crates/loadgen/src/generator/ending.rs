//! The end of a run: answers that are missing, the drain, and closing.

use std::time::Duration;

use hioload_engine::LcoreContext;
use hioload_lcore::Time;
use hioload_ws_proto::CloseCode;

use super::{Generator, Stage};
use crate::channel::Notice;
use crate::conn::Conn;
use crate::job::Scenario;

/// Connections closed in one turn.
const CLOSED_PER_TURN: usize = 256;
/// The drain ends this long after the last answer even if a ping is not answered.
pub(crate) const PONG_TIMEOUT: Duration = Duration::from_secs(1);

impl Generator {
    pub(crate) fn halt(&mut self, cx: &mut impl LcoreContext<Event = ()>) {
        let now = cx.now();
        // Everything due up to now is sent.
        while self.job.scenario == Scenario::Rate && self.send_due(cx) {}
        self.until = now.as_nanos();
        self.opener.stop();
        self.stage = Stage::Draining;
        self.deadline = now + self.job.timeout + PONG_TIMEOUT;
        if let Some(pacer) = &mut self.pacer {
            pacer.clear();
        }
        self.settle_all(cx);
    }

    /// Notifies the control thread once the drain is complete or has timed out.
    pub(crate) fn drain_turn(&mut self, cx: &mut impl LcoreContext<Event = ()>) {
        let done = match self.job.scenario {
            Scenario::Churn => cx.connections() == 0 && self.opener.in_flight == 0,
            Scenario::Fanout => self.fan.is_complete(),
            _ => self.unsettled == 0,
        };
        if !done && cx.now() < self.deadline {
            return;
        }
        if !done && self.job.scenario == Scenario::Fanout {
            let timeout = self.job.timeout;
            self.meter.error("missing");
            return self.fail(format!(
                "missing: publications were not delivered to all subscribers in {timeout:?}"
            ));
        }
        self.stage = Stage::Ready;
        self.link.notify(Notice::Drained);
    }

    /// Closes some of the connections, and stops the lcore when all are closed.
    pub(crate) fn close_some(&mut self, cx: &mut impl LcoreContext<Event = ()>) -> bool {
        let end = (self.cursor + CLOSED_PER_TURN).min(self.conns.len());
        let before = self.cursor;
        for n in self.cursor..end {
            if let Some(id) = self.conns[n].id {
                cx.close_to(id, CloseCode::NORMAL, "");
            }
        }
        self.cursor = end;
        if self.cursor == self.conns.len() {
            if self.deadline == Time::MAX {
                self.deadline = cx.now() + PONG_TIMEOUT;
            }
            if cx.connections() == 0 || cx.now() >= self.deadline {
                cx.stop();
            }
        }
        end > before
    }

    /// Searches for connections whose answers are overdue.
    pub(crate) fn fail_if_overdue(&mut self, now: Time) {
        let limit = now
            .as_nanos()
            .saturating_sub(self.job.timeout.as_nanos() as u64);
        let overdue = |conn: &Conn| !conn.in_flight.is_empty() && conn.moved < limit;
        let late: Vec<usize> = (0..self.conns.len())
            .filter(|&n| overdue(&self.conns[n]))
            .collect();
        let Some(&first) = late.first() else { return };
        for &n in &late {
            self.meter.error("missing");
            self.conns[n].in_flight.clear();
        }
        let timeout = self.job.timeout;
        let others = match late.len() {
            1 => String::new(),
            many => format!(", and on {} others", many - 1),
        };
        self.fail(format!(
            "missing: no answer in {timeout:?} on connection {first}{others}"
        ));
    }

    /// Begins the drain: every connection waits for its answers in flight and then for the answer to a ping. The pong comes after
    /// everything that the server sent before, so that a surplus answer is detected.
    pub(crate) fn settle_all(&mut self, cx: &mut impl LcoreContext<Event = ()>) {
        // These scenarios have no answers in flight, or count them otherwise.
        if matches!(
            self.job.scenario,
            Scenario::Hold | Scenario::Ramp | Scenario::Churn | Scenario::Fanout
        ) {
            return;
        }
        self.unsettled = 0;
        for n in 0..self.conns.len() {
            self.conns[n].settled = self.conns[n].id.is_none();
            if self.conns[n].id.is_some() {
                self.unsettled += 1;
                self.settle(n, cx);
            }
        }
    }

    /// Sends the ping if nothing is in flight.
    pub(crate) fn settle(&mut self, n: usize, cx: &mut impl LcoreContext<Event = ()>) {
        let conn = &mut self.conns[n];
        let owes = conn.waiting && self.job.scenario == Scenario::Rate;
        let Some(id) = conn.id else { return };
        if conn.pinged || owes || !conn.in_flight.is_empty() {
            return;
        }
        conn.pinged = true;
        if cx.ping_to(id, b"").is_err() {
            self.settled(n);
        }
    }

    /// Marks a connection as drained.
    pub(crate) fn settled(&mut self, n: usize) {
        let conn = &mut self.conns[n];
        if self.stage == Stage::Draining && !conn.settled {
            conn.settled = true;
            self.unsettled = self.unsettled.saturating_sub(1);
        }
    }
}
