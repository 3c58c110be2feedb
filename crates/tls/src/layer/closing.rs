//! Ends: close_notify, alerts, truncation, failure.

use std::io::ErrorKind;

use hioload_transport::layer::View;
use hioload_transport::{Closed, ConnId, Connections, Driver};

use super::handshaking::failed;
use super::state::{State, Tls, flag};
use crate::record::Alert;

impl Tls {
    /// Seals everything that a connection has, then makes the end that the driver asked for.
    pub(super) fn end_sending<C: Connections>(&mut self, below: &mut C, id: ConnId) {
        let Some(conn) = self.conns.get(id) else {
            return;
        };
        if !conn.is(flag::FINISH | flag::CLOSE) || conn.is(flag::FAILED) {
            return;
        }
        let close = conn.is(flag::CLOSE);
        let sealed = match conn.state {
            State::Handshake(_) if !close => return,
            State::Handshake(_) | State::Plain => true,
            State::Open(_) => self.seal_all(below, id) && self.close_notify(below, id),
        };
        if !sealed {
            return self.list_unsent(id);
        }
        if close {
            below.close(id);
        } else {
            below.finish(id);
        }
    }

    /// Seals the payloads and the open record of a connection. `false` if something is left.
    fn seal_all<C: Connections>(&mut self, below: &mut C, id: ConnId) -> bool {
        // There are never both: a payload closes the open record, and a record is opened after all payloads.
        self.seal_shared(below, id) && self.seal_staged(below, id)
    }

    fn close_notify<C: Connections>(&mut self, below: &mut C, id: ConnId) -> bool {
        let Some(conn) = self.conns.get_mut(id) else {
            return true;
        };
        if !conn.newly(flag::CLOSE_SENT) {
            return true;
        }
        let sent = self.alert(below, id, Alert::CloseNotify);
        if !sent && let Some(conn) = self.conns.get_mut(id) {
            conn.clear(flag::CLOSE_SENT);
        }
        sent
    }

    /// Sends an alert. `false` if there is no room for it now.
    fn alert<C: Connections>(&mut self, below: &mut C, id: ConnId, alert: Alert) -> bool {
        let Some(sealer) = self.sealer(id) else {
            return true;
        };
        match below.send_space(id, 2 + sealer.session.overhead()) {
            Ok(space) => match sealer
                .session
                .alert(sealer.keys, sealer.owner, alert, space)
            {
                Ok(n) => {
                    below.commit(id, n);
                    true
                }
                Err(_) => false,
            },
            Err(error) => error == hioload_transport::SendError::Closed,
        }
    }

    /// Ends a connection that failed: replies that were written before, the alert, and the close.
    #[cold]
    pub(super) fn end_with<C: Connections>(
        &mut self,
        below: &mut C,
        id: ConnId,
        alert: Option<Alert>,
        why: ErrorKind,
    ) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        if !conn.newly(flag::FAILED) {
            return;
        }
        conn.error = Some(why);
        self.seal_all(below, id);
        if let Some(alert) = alert {
            self.alert(below, id, alert);
        }
        self.discard(id);
        if below.is_blocked(id) {
            below.abort(id);
        } else {
            below.close(id);
        }
    }

    /// Drops what waits to be sent.
    pub(super) fn discard(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        self.staging.free(conn.staged);
        conn.staged = 0;
        if let Some(extra) = &mut conn.extra {
            extra.shared.clear();
            (extra.shared_bytes, extra.shared_sealed) = (0, 0);
        }
        self.trim(id);
    }

    /// The peer sent a fatal alert: nothing is sent any more (RFC 8446 §6.2).
    #[cold]
    pub(super) fn on_alert<C: Connections>(&mut self, below: &mut C, id: ConnId) {
        self.stats.alerts_received += 1;
        self.discard(id);
        self.end_with(below, id, None, ErrorKind::ConnectionAborted);
    }

    /// The peer ended its sending side below.
    pub(super) fn on_fin<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
    ) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        if conn.is(flag::FAILED | flag::ENDED) {
            return;
        }
        match conn.state {
            State::Plain => above.on_end(&mut View::new(self, below), id),
            // This side has ended the stream already: the peer need not say so as well.
            State::Open(_) if conn.is(flag::CLOSE_SENT) => {
                conn.set(flag::ENDED | flag::END_PENDING);
                self.list(id);
            }
            // RFC 8446 §6.1: without a close_notify, the end may be that of an attacker.
            State::Open(_) | State::Handshake(_) => {
                match conn.state {
                    State::Handshake(_) => self.stats.handshake_failures += 1,
                    _ => self.stats.truncated += 1,
                }
                conn.set(flag::FAILED);
                conn.error = Some(ErrorKind::UnexpectedEof);
                self.discard(id);
                below.abort(id);
            }
        }
    }

    /// The slot below is freed.
    pub(super) fn over<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
        why: Closed,
    ) {
        let Some(conn) = self.conns.get(id) else {
            return;
        };
        let connecting = conn.is(flag::CONNECTING);
        let why = conn.error.map_or(why, Closed::Failed);
        if connecting {
            // The id is stale from here on.
            self.end(id);
            let failure = self.failures.iter().position(|(failed, _)| *failed == id);
            let error = failure.map(|at| self.failures.swap_remove(at).1);
            let kind = match why {
                Closed::Failed(kind) => kind,
                _ => ErrorKind::ConnectionAborted,
            };
            above.on_connect(&mut View::new(self, below), id, Err(failed(kind, error)));
            return;
        }
        self.discard(id);
        if let Some(conn) = self.conns.get_mut(id) {
            conn.set(flag::FAILED);
        }
        above.on_closed(&mut View::new(self, below), id, why);
        self.end(id);
    }
}
