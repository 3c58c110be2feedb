//! Ends: close_notify, alerts, truncation, failure.

use std::io::ErrorKind;

use hioload_transport::layer::View;
use hioload_transport::{Closed, ConnId, Connections, Driver};

use super::conn::{State, flag};
use super::failing::failed;
use super::state::Tls;
use crate::record::{Alert, record_len};

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
            return self.list_stuck(below, id);
        }
        // A key that may not be used any more has ended the connection.
        if self.conns.get(id).is_none_or(|conn| conn.is(flag::FAILED)) {
            return;
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
        if !self.mark_failed(id) {
            return;
        }
        if let Some(conn) = self.conns.get_mut(id) {
            conn.error = Some(why);
        }
        self.seal_all(below, id);
        if let Some(alert) = alert {
            self.alert(below, id, alert);
        }
        if alert == Some(Alert::NoRenegotiation) {
            // That one is a warning (RFC 5246 §7.2.2), and an end after it without a close_notify would be a truncation.
            self.alert(below, id, Alert::CloseNotify);
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
    pub(super) fn on_alert<C: Connections>(&mut self, below: &mut C, id: ConnId, alert: u8) {
        self.stats.alerts_received += 1;
        if let Some(conn) = self.conns.get_mut(id) {
            conn.alert = Some(alert);
        }
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
        conn.set(flag::FIN);
        match conn.state {
            State::Plain => above.on_end(&mut View::new(self, below), id),
            State::Open(_) => self.judge_fin(below, above, id),
            // The records that wait for its turn may be those that complete it, with a close_notify.
            State::Handshake(_) if conn.is(flag::QUEUED) => {}
            State::Handshake(_) => self.handshake_cut(below, id),
        }
    }

    /// Finds out whether a stream that the peer has ended is complete, when all its records have been opened.
    pub(super) fn judge_fin<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
    ) {
        let Some(conn) = self.conns.get(id) else {
            return;
        };
        let State::Open(session) = &conn.state else {
            return;
        };
        if !conn.is(flag::FIN) || conn.is(flag::FAILED | flag::ENDED) {
            return;
        }
        let gathered = conn
            .extra
            .as_ref()
            .map_or(&[][..], |extra| &extra.gather[..]);
        let more = match record_len(session.version(), gathered) {
            Ok(len) => len.is_some_and(|len| len <= gathered.len()),
            Err(_) => true,
        };
        if !conn.is(flag::CLOSE) && (more || conn.is(flag::LATER | flag::PAUSED)) {
            // `resume` lists a connection that is paused.
            if !conn.is(flag::PAUSED) {
                self.list(id);
            }
            return;
        }
        if !conn.is(flag::CLOSE_SENT) {
            // RFC 8446 §6.1: without a close_notify, the end may be that of an attacker.
            self.stats.truncated += 1;
            return self.cut(below, id);
        }
        // This side has ended the stream already: the peer need not say so as well.
        if let Some(conn) = self.conns.get_mut(id) {
            conn.set(flag::ENDED | flag::END_PENDING);
        }
        self.report_end(below, above, id);
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
        self.mark_failed(id);
        above.on_closed(&mut View::new(self, below), id, why);
        self.end(id);
    }
}
