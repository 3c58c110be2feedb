//! Connections are opened, and opened again after they were lost.

use hioload_engine::{ClosedBy, Closure, Connect, ConnectError, LcoreContext};
use hioload_lcore::Time;

use super::{Generator, Stage};
use crate::conn::State;
use crate::connect_error::describe;
use crate::job::Scenario;

impl Generator {
    /// Begins the connections that are due. Returns whether there was one.
    pub(crate) fn open_some(&mut self, cx: &mut impl LcoreContext<Event = ()>) -> bool {
        let now = cx.now();
        let mut any = false;
        while let Some((n, since)) = self.opener.next(now) {
            any = true;
            self.conns[n].state = State::Opening;
            self.conns[n].due = since;
            let connect = self.connect(n);
            if let Err(error) = cx.connect(connect) {
                self.connect_failed(now, n, &ConnectError::Network(error));
            }
        }
        any
    }

    pub(crate) fn connect(&self, n: usize) -> Connect {
        let job = &self.job;
        let publishes = n + self.fan.publishers >= self.conns.len() && self.fan.publishers > 0;
        let target = if publishes {
            &job.publish_target
        } else {
            &job.target
        };
        let mut connect = Connect::new(job.endpoints[self.endpoint].clone())
            .host(job.host.clone())
            .target(target.clone())
            .deflate(job.deflate)
            .token(n as u64);
        connect.origin = job.origin.clone();
        connect.protocols = job.protocols.clone();
        connect.headers = job.headers.clone();
        connect
    }

    pub(crate) fn connect_failed(&mut self, now: Time, n: usize, error: &ConnectError) {
        self.opener.failed(now);
        if let Some(conn) = self.conns.get_mut(n) {
            conn.reset();
        }
        if matches!(self.stage, Stage::Closing | Stage::Failed) {
            return;
        }
        let (name, line) = describe(error);
        if !self.opener.proven {
            if matches!(error, ConnectError::Network(_))
                && self.endpoint + 1 < self.job.endpoints.len()
            {
                self.endpoint += 1;
                self.opener.again(n);
                return;
            }
            return self.fail(line);
        }
        self.error(&name, &line);
        if self.stage != Stage::Draining {
            self.opener.again(n);
        }
    }

    /// A connection ended unexpectedly.
    pub(crate) fn lost(
        &mut self,
        _: &mut impl LcoreContext<Event = ()>,
        n: usize,
        closure: Closure<'_>,
    ) {
        let (name, line) = match closure.by {
            ClosedBy::Network => (
                "lost".to_owned(),
                "the server ended or reset a connection without a Close frame".to_owned(),
            ),
            _ => {
                let code = closure.code.0;
                let reason = match closure.reason {
                    "" => String::new(),
                    reason => format!(": {reason:?}"),
                };
                let subject = match closure.by {
                    ClosedBy::Peer => "the server closed a connection with",
                    _ => "a connection was closed with",
                };
                (
                    format!("closed {code}"),
                    format!("{subject} {code}{reason}"),
                )
            }
        };
        self.error(&name, &line);
        if self.job.scenario == Scenario::Fanout {
            self.fail(line);
        } else if self.stage != Stage::Draining {
            self.opener.again(n);
        }
    }
}
