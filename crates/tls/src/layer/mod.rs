//! The layer.

mod closing;
mod handshaking;
mod receive;
mod send;
mod shared;
mod staging;
mod state;

use std::io;
use std::time::Duration;

use hioload_counters::CounterMeta;
use hioload_lcore::Time;
use hioload_mem::LocalShared;
use hioload_transport::layer::{Layer, View};
use hioload_transport::{
    Activity, Budget, Closed, ConnId, Connections, Driver, Endpoint, Peer, SendError, Taken,
};

use crate::counters::TlsStats;
use crate::handshake::Handshake;
use state::{Conn, Pending, Setup, State, flag};
pub use state::{Tls, TlsOptions};

fn pending(setup: Setup, handshake: Option<Handshake>) -> State {
    State::Handshake(Box::new(Pending {
        setup,
        handshake,
        input: Vec::new(),
        early: Vec::new(),
        early_len: 0,
    }))
}

impl Tls {
    fn first_deadline(&self) -> Option<Time> {
        self.deadlines.front().map(|(deadline, _)| *deadline)
    }

    fn is_held(&self, id: ConnId) -> bool {
        self.conns.get(id).is_some_and(|conn| conn.is(flag::HELD))
    }

    /// Reports connections whose last bytes were sealed when the queue below was empty.
    fn report_writable<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        activity: &mut Activity,
    ) {
        for id in std::mem::take(&mut self.writable) {
            if !self.is_held(id) || below.is_blocked(id) {
                // It is gone, or `on_writable` of the transport below comes again.
                continue;
            }
            if below.queued(id) > 0 {
                self.writable.push(id);
            } else {
                activity.events += 1;
                self.writable_now(below, above, id);
            }
        }
    }

    fn writable_now<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
    ) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.clear(flag::HELD);
        }
        above.on_writable(&mut View::new(self, below), id);
    }

    fn flush_staged<C: Connections>(&mut self, below: &mut C) {
        for at in 0..self.staging.len() {
            if let Some(id) = self.staging.at(at) {
                self.seal_staged(below, id);
            }
        }
    }

    /// Sends KeyUpdates, and ends that had no room before.
    fn flush_unsent<C: Connections>(&mut self, below: &mut C) {
        for id in std::mem::take(&mut self.unsent) {
            let Some(conn) = self.conns.get_mut(id) else {
                continue;
            };
            conn.clear(flag::UNSENT);
            if conn.is(flag::FAILED) {
                continue;
            }
            // On a blocked connection it is sent before the next content, so that requests do not add up.
            if !below.is_blocked(id)
                && let Some(mut sealer) = self.sealer(id)
                && sealer.session.needs_key_update()
            {
                sealer.update_key(below, id);
            }
            self.end_sending(below, id);
        }
    }
}

impl Layer for Tls {
    fn has_work(&self) -> bool {
        !self.ready.is_empty()
            || !self.queue.is_empty()
            || !self.writable.is_empty()
            || !self.unsent.is_empty()
            || self.first_deadline().is_some_and(|at| at <= self.now)
    }

    fn begin_turn(&mut self, now: Time) {
        self.now = now;
        self.due = self.ready.len();
        self.steps = self.options.handshakes_per_turn.max(1);
    }

    fn timeout(&self) -> Option<Duration> {
        let deadline = self.first_deadline()?;
        Some(deadline.saturating_sub(self.now))
    }

    fn dispatch<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        budget: Budget,
        _: Time,
        activity: &mut Activity,
    ) {
        self.expire(below);
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
        self.flush_shared(below, above);
        self.flush_unsent(below);
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
                if self.stats.handshakes_open >= self.options.handshakes as u64 {
                    self.stats.handshakes_refused += 1;
                    return false;
                }
                pending(Setup::Server(self.server.server(config)), None)
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
                pending(Setup::Begun, Some(handshake))
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
            self.writable.push(id);
            return;
        }
        self.writable_now(below, above, id);
        self.seal_staged(below, id);
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
            if conn.is(flag::LATER | flag::END_PENDING) || conn.extra.is_some() {
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
        if let Some(conn) = self.conns.get_mut(id) {
            conn.set(flag::FAILED);
            self.discard(id);
        }
        below.abort(id);
    }

    fn peer<C: Connections>(&self, below: &C, id: ConnId) -> Option<Peer> {
        self.conns.get(id).and_then(|_| below.peer(id))
    }

    fn certificate<'a, C: Connections>(&'a self, _: &'a C, id: ConnId) -> Option<&'a [u8]> {
        let extra = self.conns.get(id)?.extra.as_ref()?;
        extra.certificate.as_deref()
    }
}

fn is_handshake(conn: &Conn) -> bool {
    matches!(conn.state, State::Handshake(_))
}
