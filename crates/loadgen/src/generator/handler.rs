//! The generator as a handler of the engine.

use std::time::Duration;

use hioload_engine::{
    Accept, ClosedBy, Closure, ConnectError, ConnectionId, Context, Handler, LcoreContext, Response,
};
use hioload_lcore::Time;
use hioload_transport::Peer;
use hioload_ws_proto::Message;
use hioload_ws_proto::handshake::client::Response as ServerReply;
use hioload_ws_proto::handshake::server::Request;

use super::ending::PONG_TIMEOUT;
use super::{Generator, Stage};
use crate::channel::{Command, Notice};
use crate::conn::{Conn, State};
use crate::job::Scenario;

/// Interval of the search for connections whose answers are overdue.
const OVERDUE_CHECK: Duration = Duration::from_millis(100);

impl Generator {
    fn execute(&mut self, cx: &mut impl LcoreContext<Event = ()>, command: Command) {
        match command {
            Command::Open => {
                let later = matches!(self.job.scenario, Scenario::Ramp | Scenario::Churn);
                if later || self.opener.wanted == 0 {
                    self.become_ready();
                } else {
                    self.stage = Stage::Opening;
                }
            }
            Command::Go if self.stage != Stage::Failed => {
                self.stage = Stage::Running;
                self.cursor = 0;
                self.begin(cx);
            }
            Command::Report(next) => {
                let notice = Notice::Interval {
                    lcore: self.lcore,
                    at: cx.now(),
                    open: cx.connections(),
                    interval: self.meter.take(next),
                };
                self.link.notify(notice);
            }
            Command::Halt if self.stage != Stage::Failed => {
                self.halt(cx);
            }
            Command::Close => {
                self.opener.stop();
                self.stage = Stage::Closing;
                self.cursor = 0;
                self.deadline = Time::MAX;
            }
            Command::Go | Command::Halt => {}
        }
    }
}

impl Handler for Generator {
    type Conn = u32;
    type Event = ();

    const TURNS: bool = true;

    fn on_turn(&mut self, cx: &mut impl LcoreContext<Event = ()>) -> bool {
        let mut acted = false;
        self.arrived = None;
        while let Some(command) = self.link.next() {
            acted = true;
            self.execute(cx, command);
        }
        match self.stage {
            Stage::Opening => acted |= self.open_some(cx),
            Stage::Running => {
                acted |= self.open_some(cx);
                acted |= self.load_turn(cx);
            }
            Stage::Draining => self.drain_turn(cx),
            Stage::Closing => acted |= self.close_some(cx),
            Stage::Waiting | Stage::Ready | Stage::Failed => {}
        }
        let now = cx.now();
        if now.saturating_sub(self.last_check) >= OVERDUE_CHECK {
            self.last_check = now;
            if matches!(self.stage, Stage::Running | Stage::Draining) {
                self.fail_if_overdue(now);
            }
            let is_idle = |conn: &Conn| conn.in_flight.is_empty() && !conn.waiting;
            // Deliveries of a fan-out are not in flight on the connection that waits for them.
            let pongs = self.job.scenario != Scenario::Fanout;
            if self.stage == Stage::Draining && pongs && self.conns.iter().all(is_idle) {
                // Only pongs are missing.
                self.deadline = self.deadline.min(now + PONG_TIMEOUT);
            }
        }
        acted
    }

    fn on_open(
        &mut self,
        _: &mut impl LcoreContext<Event = ()>,
        _: Peer,
        _: &Request<'_>,
    ) -> Result<Accept<u32>, Response> {
        // The generator has no listeners.
        Err(Response::not_found())
    }

    fn on_connect(
        &mut self,
        cx: &mut impl LcoreContext<Event = ()>,
        token: u64,
        id: ConnectionId,
        outcome: Result<&ServerReply<'_>, ConnectError>,
    ) -> Option<u32> {
        let n = token as usize;
        let now = cx.now();
        match outcome {
            Ok(_) => {
                self.opener.succeeded();
                if matches!(self.stage, Stage::Closing | Stage::Failed) {
                    return None;
                }
                let conn = &mut self.conns[n];
                conn.id = Some(id);
                conn.state = State::Open;
                let nanos = now.as_nanos().saturating_sub(conn.due);
                self.meter.opened(nanos, cx.tls_resumed(id));
                Some(n as u32)
            }
            Err(error) => {
                self.connect_failed(now, n, &error);
                None
            }
        }
    }

    fn on_ready(&mut self, conn: &mut u32, cx: &mut impl Context<Event = ()>) {
        self.opened(*conn as usize, cx);
    }

    #[inline]
    fn on_message(
        &mut self,
        conn: &mut u32,
        cx: &mut impl Context<Event = ()>,
        message: Message<'_>,
    ) {
        self.answered(*conn as usize, cx, message);
    }

    fn on_pong(&mut self, conn: &mut u32, _: &mut impl Context<Event = ()>, _: &[u8]) {
        self.settled(*conn as usize);
    }

    fn on_writable(&mut self, conn: &mut u32, cx: &mut impl Context<Event = ()>) {
        self.refill(*conn as usize, cx);
    }

    fn on_close(
        &mut self,
        conn: u32,
        cx: &mut impl LcoreContext<Event = ()>,
        closure: Closure<'_>,
    ) {
        let n = conn as usize;
        self.opener.opened = self.opener.opened.saturating_sub(1);
        if !matches!(self.stage, Stage::Closing | Stage::Failed) {
            if self.conns[n].state == State::Closing && closure.by == ClosedBy::Application {
                self.closed_as_requested(n);
            } else {
                self.lost(cx, n, closure);
            }
        }
        self.settled(n);
        self.conns[n].reset();
    }
}
