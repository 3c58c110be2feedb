//! Received bytes: records are opened where they lie, and their content is presented.

use std::mem;

use hioload_transport::layer::View;
use hioload_transport::{ConnId, Connections, Driver, Rest, Taken};

use super::conn::{Conn, Extra, State, flag};
use super::state::{Tls, owner};
use crate::record::{Alert, HEADER, Opened, record_len};

/// Estimates of the time to open a record, in nanoseconds: for each, and for each byte in 1 / 4.
const OPEN_COST: u32 = 150;
/// The same for a KeyUpdate: two derivations of keys and one expansion.
const KEY_UPDATE_COST: u32 = 4000;

/// Why records are not opened any more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The rest is not a whole record.
    Partial,
    /// The driver has had its share, or has paused the connection.
    Later,
    /// Nothing more is read from this connection.
    Over,
}

impl Tls {
    /// Bytes arrived on a connection with a session.
    pub(super) fn on_records<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
        data: &mut [u8],
    ) -> Taken {
        above.begin_visit();
        let taken = self.on_arrived(below, above, id, data);
        above.end_visit();
        taken
    }

    fn on_arrived<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
        data: &mut [u8],
    ) -> Taken {
        let mut used = 0;
        let gathered = self
            .conns
            .get(id)
            .and_then(|conn| conn.extra.as_ref())
            .is_some_and(|extra| !extra.gather.is_empty());
        if gathered {
            match self.complete_gathered(below, above, id, data, &mut used) {
                Stop::Partial => {}
                stop => return self.taken(id, used, data.len(), stop),
            }
        }
        if used == data.len() {
            return self.taken(id, used, used, Stop::Partial);
        }
        let copied = self.conns.get_mut(id).is_some_and(|conn| {
            let copied = conn.is(flag::COPIED);
            conn.clear(flag::COPIED);
            copied
        });
        let (n, stop) = self.open_records(below, above, id, &mut data[used..], !copied);
        used += n;
        if stop == Stop::Partial && used < data.len() && self.may_gather(id) {
            if let Some(extra) = self.extra(id) {
                extra.gather.extend_from_slice(&data[used..]);
            }
            self.gathering += 1;
            used = data.len();
        }
        self.taken(id, used, data.len(), stop)
    }

    fn may_gather(&self, id: ConnId) -> bool {
        self.gathering < self.options.gathered && self.conns.get(id).is_some()
    }

    fn taken(&mut self, id: ConnId, used: usize, all: usize, stop: Stop) -> Taken {
        if stop == Stop::Over {
            return Taken {
                bytes: all,
                rest: Rest::NeedsMore,
            };
        }
        if used < all
            && let Some(conn) = self.conns.get_mut(id)
        {
            conn.set(flag::COPIED);
        }
        Taken {
            bytes: used,
            rest: match stop {
                Stop::Later => Rest::Later,
                _ => Rest::NeedsMore,
            },
        }
    }

    /// Appends as many bytes of `data` to the gathered ones as their first record needs, and opens it.
    fn complete_gathered<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
        data: &[u8],
        used: &mut usize,
    ) -> Stop {
        loop {
            let Some(Conn {
                state: State::Open(session),
                extra: Some(extra),
                ..
            }) = self.conns.get_mut(id)
            else {
                return Stop::Partial;
            };
            let Extra { gather, .. } = &mut **extra;
            if gather.is_empty() {
                return Stop::Partial;
            }
            let need = match record_len(session.version(), gather) {
                Ok(len) => len.unwrap_or(HEADER),
                Err(alert) => {
                    self.fail(below, id, alert);
                    return Stop::Over;
                }
            };
            if gather.len() < need {
                let n = (need - gather.len()).min(data.len() - *used);
                if n == 0 {
                    return Stop::Partial;
                }
                gather.extend_from_slice(&data[*used..*used + n]);
                *used += n;
                continue;
            }
            match self.open_gathered(below, above, id) {
                Stop::Partial => {}
                stop => return stop,
            }
        }
    }

    /// Opens the whole records among the gathered bytes.
    pub(super) fn open_gathered<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
    ) -> Stop {
        let mut bytes = match self.conns.get_mut(id).and_then(|conn| conn.extra.as_mut()) {
            Some(extra) if !extra.gather.is_empty() => mem::take(&mut extra.gather),
            _ => return Stop::Partial,
        };
        let (n, stop) = self.open_records(below, above, id, &mut bytes, false);
        bytes.drain(..n);
        let is_empty = bytes.is_empty();
        match self.extra(id) {
            Some(extra) => {
                extra.gather = bytes;
                self.gathering -= usize::from(is_empty);
                self.trim(id);
            }
            // The connection ended meanwhile, when nothing was gathered.
            None => self.gathering -= 1,
        }
        stop
    }

    /// Opens the whole records at the front of `data`. Returns the bytes that they have.
    fn open_records<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
        data: &mut [u8],
        in_place: bool,
    ) -> (usize, Stop) {
        let mut used = 0;
        while used < data.len() {
            let Some(conn) = self.conns.get_mut(id) else {
                return (data.len(), Stop::Over);
            };
            if conn.is(flag::FAILED | flag::ENDED | flag::CLOSE) {
                return (data.len(), Stop::Over);
            }
            let enough = used > 0 && (above.is_exhausted() || above.visit_is_over());
            if enough || conn.is(flag::LATER | flag::PAUSED) {
                return (used, Stop::Later);
            }
            let State::Open(session) = &mut conn.state else {
                return (data.len(), Stop::Over);
            };
            let rest = &mut data[used..];
            let n = match record_len(session.version(), rest) {
                Ok(Some(n)) if n <= rest.len() => n,
                Ok(_) => return (used, Stop::Partial),
                Err(alert) => {
                    self.fail(below, id, alert);
                    return (data.len(), Stop::Over);
                }
            };
            used += n;
            let extra = &mut conn.extra;
            let opened = session.open(&mut self.keys, owner(id), &mut rest[..n], &mut |body| {
                store_ticket(extra, body);
            });
            above.spend(OPEN_COST + n as u32 / 4);
            match opened {
                Ok(Opened::Data(content)) => {
                    if in_place {
                        self.stats.records_in_place += 1;
                    } else {
                        self.stats.records_gathered += 1;
                    }
                    self.present(below, above, id, content);
                }
                Ok(other) => self.on_other(below, above, id, &other),
                Err(alert) => self.fail(below, id, alert),
            }
        }
        (used, Stop::Partial)
    }

    #[cold]
    fn on_other<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
        opened: &Opened<'_>,
    ) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        match opened {
            Opened::Closed => {
                conn.set(flag::ENDED | flag::END_PENDING);
                self.report_end(below, above, id);
            }
            Opened::Alert(alert) => self.on_alert(below, id, *alert),
            Opened::Control | Opened::Data(_) => {
                let State::Open(session) = &conn.state else {
                    return;
                };
                if session.numbers().0 == 0 {
                    self.stats.key_updates_received += 1;
                    above.spend(KEY_UPDATE_COST);
                }
                if session.needs_key_update() {
                    self.list_unsent(id);
                }
            }
        }
    }

    /// Lends the driver what it left and `more`, contiguous; keeps what it leaves.
    pub(super) fn present<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
        more: &mut [u8],
    ) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        conn.clear(flag::LATER);
        let left = match &mut conn.extra {
            Some(extra) => mem::take(&mut extra.left),
            None => Vec::new(),
        };
        if !left.is_empty() {
            return self.present_left(below, above, id, left, more);
        }
        let Taken { bytes, rest } = above.on_data(&mut View::new(self, below), id, more);
        if bytes < more.len() {
            let mut left = left;
            left.extend_from_slice(&more[bytes..]);
            self.keep(id, left, rest);
        }
    }

    #[cold]
    fn present_left<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
        mut left: Vec<u8>,
        more: &[u8],
    ) {
        left.extend_from_slice(more);
        let Taken { bytes, rest } = above.on_data(&mut View::new(self, below), id, &mut left);
        left.drain(..bytes.min(left.len()));
        self.keep(id, left, rest);
    }

    fn keep(&mut self, id: ConnId, left: Vec<u8>, rest: Rest) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        if left.is_empty() || conn.is(flag::CLOSE | flag::FAILED) {
            return self.trim(id);
        }
        if rest == Rest::Later {
            conn.set(flag::LATER);
            if !conn.is(flag::PAUSED) {
                self.list(id);
            }
        }
        if let Some(extra) = self.extra(id) {
            extra.left = left;
        }
    }

    /// Calls `on_end`, unless something has to be presented before it.
    pub(super) fn report_end<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
    ) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let silent = flag::LATER | flag::PAUSED | flag::FAILED | flag::CLOSE;
        if conn.is(flag::END_PENDING) && !conn.is(silent) {
            conn.clear(flag::END_PENDING);
            above.on_end(&mut View::new(self, below), id);
        }
    }

    /// Presents what waits on one connection.
    pub(super) fn visit<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
    ) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        conn.clear(flag::LISTED);
        if conn.is(flag::PAUSED | flag::FAILED | flag::CLOSE) {
            return;
        }
        above.begin_visit();
        if conn.is(flag::LATER) {
            self.present(below, above, id, &mut []);
        }
        if self.conns.get(id).is_some_and(|conn| !conn.is(flag::LATER))
            && self.open_gathered(below, above, id) == Stop::Later
            && self
                .conns
                .get(id)
                .is_some_and(|conn| !conn.is(flag::PAUSED))
        {
            self.list(id);
        }
        above.end_visit();
        self.report_end(below, above, id);
        self.judge_fin(below, above, id);
    }

    /// Ends a connection for what the peer sent.
    #[cold]
    pub(super) fn fail<C: Connections>(&mut self, below: &mut C, id: ConnId, alert: Alert) {
        let counter = match alert {
            Alert::BadRecordMac => &mut self.stats.bad_records,
            Alert::RecordOverflow => &mut self.stats.oversized_records,
            Alert::NoRenegotiation => &mut self.stats.renegotiations_refused,
            _ => &mut self.stats.unexpected_messages,
        };
        *counter += 1;
        self.end_with(below, id, Some(alert), std::io::ErrorKind::InvalidData);
    }
}

/// Stores a session ticket of a client.
#[cold]
fn store_ticket(extra: &mut Option<Box<Extra>>, body: &[u8]) {
    if let Some(extra) = extra
        && let Some((kernel, left)) = &mut extra.tickets
    {
        // A ticket that cannot be stored costs the next connection a full handshake.
        let _ = kernel.handle_new_session_ticket(body);
        *left -= 1;
        if *left == 0 {
            extra.tickets = None;
        }
    }
}
