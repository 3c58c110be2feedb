//! The layer.

mod alerts;
mod clear;
mod closing;
mod conn;
mod established;
mod failing;
mod handshaking;
mod limits;
mod options;
mod pace;
mod receive;
mod send;
mod shared;
mod staging;
mod state;
mod threads;
mod unsent;
mod work;

use std::io;
use std::time::Duration;

use hioload_counters::CounterMeta;
use hioload_lcore::Time;
use hioload_mem::LocalShared;
use hioload_transport::layer::{Layer, View};
use hioload_transport::{
    Activity, Budget, Closed, ConnId, Connections, Driver, Endpoint, Peer, SendError, Taken, Waker,
};

use crate::counters::TlsStats;
use crate::handshake::Handshake;
use conn::{Conn, Pending, State, flag};
pub use options::TlsOptions;
pub use state::Tls;
pub use threads::{HandshakeSteps, HandshakeThreads};
use work::Setup;

impl Layer for Tls {
    fn attach(&mut self, waker: Waker) {
        self.attach_threads(waker);
    }

    fn has_work(&self) -> bool {
        let queued = match &self.offload {
            Some(offload) => !offload.is_empty(),
            None => !self.queue.is_empty(),
        };
        queued
            || !self.ready.is_empty()
            || !self.writable.is_empty()
            || !self.unsent.is_empty()
            || self.first_time().is_some_and(|at| at <= self.now)
    }

    fn begin_turn(&mut self, now: Time) {
        self.now = now;
        self.due = self.ready.len();
        self.steps = self.options.handshakes_per_turn.max(1);
        self.age_keys();
    }

    fn timeout(&self) -> Option<Duration> {
        let at = [self.first_time(), self.keys_due()]
            .into_iter()
            .flatten()
            .min()?;
        Some(at.saturating_sub(self.now))
    }

    fn dispatch<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        budget: Budget,
        _: Time,
        activity: &mut Activity,
    ) {
        self.expire(below, above);
        self.admit_limited();
        activity.events += self.take_back(below, above, budget.events);
        self.report_writable(below, above, activity);
        for visited in 0..self.due.min(budget.events) {
            if visited > 0 && above.is_exhausted() {
                break;
            }
            let Some(id) = self.ready.pop_front() else {
                break;
            };
            activity.events += 1;
            self.visit(below, above, id);
        }
        self.step_queued(below, above);
    }

    fn flush<C: Connections, D: Driver>(&mut self, below: &mut C, above: &mut D) {
        self.flush_staged(below);
        self.charge(above);
        self.flush_shared(below, above);
        self.flush_unsent(below, above);
    }

    fn has_unflushed(&self) -> bool {
        !self.fanned.is_empty()
    }

    fn flush_rounds(&self, below: u64) -> u64 {
        self.rounds.min(below)
    }

    const COUNTERS: &'static [CounterMeta] = TlsStats::META;

    fn counters(&self, visit: &mut dyn FnMut(&[u64])) {
        visit(&self.stats().values());
    }

    fn on_accept<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
        peer: Peer,
    ) -> bool {
        let state = match self.configs.server() {
            None => State::Plain,
            Some(config) => {
                if !self.admit(below) {
                    self.stats.handshakes_refused += 1;
                    return false;
                }
                let setup = Setup::Server(self.server.server(config));
                State::Handshake(Box::new(Pending::new(setup, None)))
            }
        };
        self.begin(id, state, 0);
        let accepted = above.on_accept(&mut View::new(self, below), id, peer);
        if !accepted {
            self.end(id);
        }
        accepted
    }

    fn connect<C: Connections>(&mut self, below: &mut C, to: &Endpoint) -> io::Result<ConnId> {
        let state = match self.configs.client(to) {
            None => State::Plain,
            Some((config, name)) => {
                let config = self.client.client(config);
                let handshake = Handshake::client(config, name)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
                State::Handshake(Box::new(Pending::new(Setup::Begun, Some(handshake))))
            }
        };
        let id = below.connect(to)?;
        self.begin(id, state, flag::CONNECTING);
        Ok(id)
    }

    fn on_connect<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
        result: io::Result<()>,
    ) {
        let is_tls = match self.conns.get(id) {
            Some(conn) => matches!(conn.state, State::Handshake(_)),
            None => return,
        };
        if result.is_err() {
            self.end(id);
        } else if is_tls {
            return self.begin_client(below, id);
        } else if let Some(conn) = self.conns.get_mut(id) {
            conn.clear(flag::CONNECTING);
        }
        above.on_connect(&mut View::new(self, below), id, result);
    }

    #[inline]
    fn on_data<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
        data: &mut [u8],
    ) -> Taken {
        match self.conns.get(id).map(|conn| &conn.state) {
            Some(State::Open(_)) => self.on_records(below, above, id, data),
            Some(State::Handshake(_)) => self.on_handshake(below, above, id, data),
            Some(State::Plain) => above.on_data(&mut View::new(self, below), id, data),
            None => Taken {
                bytes: data.len(),
                rest: hioload_transport::Rest::NeedsMore,
            },
        }
    }

    fn on_end<C: Connections, D: Driver>(&mut self, below: &mut C, above: &mut D, id: ConnId) {
        self.on_fin(below, above, id);
    }

    fn on_blocked<C: Connections, D: Driver>(&mut self, below: &mut C, above: &mut D, id: ConnId) {
        let silent = flag::HELD | flag::CONNECTING;
        if self.conns.get(id).is_some_and(|conn| !conn.is(silent)) {
            above.on_blocked(&mut View::new(self, below), id);
        }
    }

    fn on_writable<C: Connections, D: Driver>(&mut self, below: &mut C, above: &mut D, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        if conn.is(flag::CONNECTING) {
            return;
        }
        if conn.shared_bytes() > 0 {
            // The driver waits until these are sent as well.
            conn.set(flag::HELD);
            self.seal_shared(below, id);
            self.writable.push_back(id);
        } else {
            self.writable_now(below, above, id);
            self.seal_staged(below, id);
        }
        self.end_sending(below, id);
        self.charge(above);
    }

    #[inline]
    fn prefetch(&self, index: u32) {
        self.conns.prefetch(index);
    }

    fn on_closed<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
        why: Closed,
    ) {
        self.over(below, above, id, why);
    }

    #[inline]
    fn send_space<'a, C: Connections>(
        &'a mut self,
        below: &'a mut C,
        id: ConnId,
        want: usize,
    ) -> Result<&'a mut [u8], SendError> {
        let conn = self.conns.get_mut(id).ok_or(SendError::Closed)?;
        if conn.is(flag::FAILED | flag::CLOSE | flag::FINISH) {
            return Err(SendError::Closed);
        }
        match conn.state {
            State::Plain => return below.send_space(id, want),
            State::Open(_) => return self.lend(below, id, want),
            State::Handshake(_) => {}
        }
        match self.conns.get_mut(id).map(|conn| &mut conn.state) {
            Some(State::Handshake(pending)) => send::early_space(pending, want),
            _ => Err(SendError::Closed),
        }
    }

    #[inline]
    fn commit<C: Connections>(&mut self, below: &mut C, id: ConnId, n: usize) {
        match self.conns.get_mut(id).map(|conn| &mut conn.state) {
            Some(State::Open(_)) => self.commit_content(id, n),
            Some(State::Plain) => below.commit(id, n),
            Some(State::Handshake(pending)) => {
                pending.early_len = pending.early.len().min(pending.early_len + n);
            }
            None => {}
        }
    }

    fn send_room<C: Connections>(&self, below: &C, id: ConnId) -> usize {
        self.conns
            .get(id)
            .map_or(0, |conn| self.room(below, conn, id))
    }

    fn send_shared<C: Connections>(
        &mut self,
        below: &mut C,
        id: ConnId,
        payload: LocalShared,
        droppable: bool,
    ) -> Result<(), SendError> {
        match self.conns.get(id).map(|conn| &conn.state) {
            Some(State::Open(_)) => self.queue_shared(below, id, payload, droppable),
            Some(State::Plain) => below.send_shared(id, payload, droppable),
            Some(State::Handshake(_)) => {
                if payload.len() > self.send_room(below, id) {
                    return Err(SendError::Full);
                }
                let space = self.send_space(below, id, payload.len())?;
                space[..payload.len()].copy_from_slice(&payload);
                self.commit(below, id, payload.len());
                Ok(())
            }
            None => Err(SendError::Closed),
        }
    }

    fn drop_oldest<C: Connections>(&mut self, below: &mut C, id: ConnId) -> Option<usize> {
        match self.conns.get(id)?.state {
            State::Plain => below.drop_oldest(id),
            _ => self.drop_shared(id),
        }
    }

    fn queued<C: Connections>(&self, below: &C, id: ConnId) -> usize {
        let waiting = self.conns.get(id).map_or(0, |conn| match &conn.state {
            State::Handshake(pending) => pending.early_len,
            _ => self.staging.used(conn.staged) + conn.shared_bytes(),
        });
        below.queued(id) + waiting
    }

    fn is_blocked<C: Connections>(&self, below: &C, id: ConnId) -> bool {
        below.is_blocked(id) || self.is_held(id)
    }

    fn pause<C: Connections>(&mut self, below: &mut C, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id) {
            // Bytes of a handshake are not the driver's: only what is presented to it waits.
            conn.set(flag::PAUSED);
        }
        if self.conns.get(id).is_none_or(|conn| !is_handshake(conn)) {
            below.pause(id);
        }
    }

    fn resume<C: Connections>(&mut self, below: &mut C, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        if conn.is(flag::PAUSED) {
            conn.clear(flag::PAUSED);
            if conn.is(flag::LATER | flag::END_PENDING | flag::FIN) || conn.extra.is_some() {
                self.list(id);
            }
        }
        below.resume(id);
    }

    fn finish<C: Connections>(&mut self, below: &mut C, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.set(flag::FINISH);
            self.end_sending(below, id);
        }
    }

    fn close<C: Connections>(&mut self, below: &mut C, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.set(flag::CLOSE);
            self.end_sending(below, id);
        }
    }

    fn abort<C: Connections>(&mut self, below: &mut C, id: ConnId) {
        self.mark_failed(id);
        self.discard(id);
        below.abort(id);
    }

    fn peer<C: Connections>(&self, below: &C, id: ConnId) -> Option<Peer> {
        self.conns.get(id).and_then(|_| below.peer(id))
    }

    fn is_tls<C: Connections>(&self, _: &C, id: ConnId) -> bool {
        let state = self.conns.get(id).map(|conn| &conn.state);
        matches!(state, Some(State::Handshake(_) | State::Open(_)))
    }

    fn tls_resumed<C: Connections>(&self, _: &C, id: ConnId) -> Option<bool> {
        let conn = self.conns.get(id)?;
        matches!(conn.state, State::Open(_)).then(|| conn.is(flag::RESUMED))
    }

    fn failure<C: Connections>(&self, _: &C, id: ConnId) -> Option<io::Error> {
        let conn = self.conns.get(id)?;
        let alert = rustls::Error::AlertReceived(conn.alert?.into());
        Some(io::Error::new(io::ErrorKind::ConnectionAborted, alert))
    }

    fn certificate<'a, C: Connections>(&'a self, _: &'a C, id: ConnId) -> Option<&'a [u8]> {
        let extra = self.conns.get(id)?.extra.as_ref()?;
        extra.certificate.as_deref()
    }
}

fn is_handshake(conn: &Conn) -> bool {
    matches!(conn.state, State::Handshake(_))
}
