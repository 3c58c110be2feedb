//! The receiving half of a turn: accepts, and visits to connections that are ready.

use std::io::ErrorKind;
use std::mem;
use std::time::Instant;

use super::conn::Held;
use super::{ACCEPT_COST, ACCEPT_REST, ACCEPTS, Accepted, Network, RECEIVE_COST, Streams};
use crate::table::flag;
use crate::{Activity, Closed, ConnId, Driver, Rest, Taken};

impl<N: Network> Streams<N> {
    pub(super) fn accept_waiting<D: Driver>(
        &mut self,
        driver: &mut D,
        budget: usize,
        activity: &mut Activity,
    ) {
        for tried in 0..budget.min(ACCEPTS) {
            if tried > 0 && driver.is_exhausted() {
                return;
            }
            if !self.may_accept() {
                self.count_full();
                return;
            }
            self.accepting.rest_until = None;
            match self.net.accept() {
                Ok(accepted) => {
                    self.accept_one(driver, accepted, activity);
                    driver.spend(ACCEPT_COST);
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => {
                        self.accepting.backlog = false;
                        return;
                    }
                    // The connection failed in the backlog, and accept(2) reports its error. Go on with the next.
                    ErrorKind::Interrupted
                    | ErrorKind::ConnectionAborted
                    | ErrorKind::ConnectionReset
                    | ErrorKind::TimedOut
                    | ErrorKind::HostUnreachable
                    | ErrorKind::NetworkUnreachable
                    | ErrorKind::NetworkDown => {}
                    // Out of descriptors or memory, or an error not known here: the connection stays in the backlog and
                    // no new edge reports it, so `backlog` stays set and accepting rests a while.
                    _ => {
                        self.stats.accept_errors += 1;
                        self.accepting.rest_until = Some(Instant::now() + ACCEPT_REST);
                        return;
                    }
                },
            }
        }
    }

    /// Counts once that the table is full while connections may be waiting.
    fn count_full(&mut self) {
        let waiting = self.accepting.on && self.accepting.backlog;
        if waiting
            && self.numbers.is_full()
            && !mem::replace(&mut self.accepting.full_counted, true)
        {
            self.stats.accept_errors += 1;
        }
    }

    fn accept_one<D: Driver>(
        &mut self,
        driver: &mut D,
        accepted: Accepted<N::Stream>,
        activity: &mut Activity,
    ) {
        let Accepted { stream, peer, slot } = accepted;
        let id = match slot {
            Some(id) => {
                if let Some(entry) = self.table.get_mut(id) {
                    entry.own.stream = Some(stream);
                }
                id
            }
            None => match self.open(Some(stream), peer, 0) {
                Some(id) => id,
                None => return,
            },
        };
        self.stats.accepted += 1;
        activity.events += 1;
        let wanted = driver.on_accept(self, id, peer);
        let Some(entry) = self.table.get_mut(id) else {
            return;
        };
        if !wanted {
            // If the driver aborted it as well, the report of that finds the id stale.
            if let Some(stream) = entry.own.stream.take() {
                self.net.reset(stream);
            }
            self.free(id);
            return;
        }
        // Not before: a refused connection costs no registration.
        if let Some(stream) = &mut entry.own.stream
            && let Err(error) = self.net.attach(stream, id, false)
        {
            self.mark_dead(id, Closed::Failed(error.kind()));
        }
    }

    /// Visits one listed connection.
    pub(super) fn visit<D: Driver>(&mut self, driver: &mut D, id: ConnId, activity: &mut Activity) {
        let Some(entry) = self.table.get_mut(id) else {
            return;
        };
        entry.flags.clear(flag::LISTED);
        if entry.flags.any(flag::DEAD) {
            return;
        }
        if entry.flags.any(flag::CONNECTING) {
            self.try_connected(driver, id, activity);
            return;
        }
        let silent = entry.flags.any(flag::PAUSED | flag::END | flag::CLOSE);
        if entry.flags.any(flag::ERROR) {
            entry.flags.clear(flag::ERROR);
            // A receive reports an error only after the bytes that arrived before it. Without a receive, the error must be read.
            if silent
                && let Some(stream) = &mut entry.own.stream
                && let Some(error) = self.net.take_error(stream)
            {
                self.mark_dead(id, Closed::Failed(error.kind()));
                return;
            }
        }
        if entry.flags.any(flag::PAUSED | flag::CLOSE) {
            return;
        }
        if entry.flags.any(flag::LATER) {
            entry.flags.clear(flag::LATER);
            let held = entry.own.held.take();
            self.present(driver, id, held, 0, activity);
        } else if entry.flags.any(flag::READABLE) && !entry.flags.any(flag::END) {
            self.receive(driver, id, activity);
        }
        self.report_end(driver, id, activity);
        if let Some(entry) = self.table.living(id)
            && !entry.flags.any(flag::PAUSED | flag::CLOSE)
            && (entry.flags.any(flag::LATER)
                || entry.flags.any(flag::READABLE) && !entry.flags.any(flag::END))
        {
            self.table.list(id);
        }
    }

    fn try_connected<D: Driver>(&mut self, driver: &mut D, id: ConnId, activity: &mut Activity) {
        let Some(entry) = self.table.get_mut(id) else {
            return;
        };
        let Some(stream) = &mut entry.own.stream else {
            return;
        };
        let outcome = match self.net.connected(stream) {
            Ok(false) => return,
            Ok(true) => self.net.want_write(stream, id, false),
            Err(error) => Err(error),
        };
        activity.events += 1;
        if let Err(error) = outcome {
            self.free(id);
            driver.on_connect(self, id, Err(error));
            return;
        }
        entry
            .flags
            .clear(flag::CONNECTING | flag::WANT_WRITE | flag::ERROR);
        self.stats.connected += 1;
        // What was queued before can leave now.
        self.table.mark_dirty(id, 0);
        driver.on_connect(self, id, Ok(()));
        if let Some(entry) = self.table.living(id)
            && entry.flags.any(flag::READABLE)
        {
            self.table.list(id);
        }
    }

    /// One receive, and its bytes to the driver.
    fn receive<D: Driver>(&mut self, driver: &mut D, id: ConnId, activity: &mut Activity) {
        let Some(entry) = self.table.get_mut(id) else {
            return;
        };
        let Some(stream) = &mut entry.own.stream else {
            return;
        };
        self.stats.reads += 1;
        driver.spend(RECEIVE_COST);
        match self.net.recv(stream, &mut self.rx) {
            Ok(0) => {
                entry.flags.set(flag::END);
                entry.flags.clear(flag::READABLE);
            }
            Ok(n) => {
                // A full read may have left more. A short one does not mean that nothing is left once the peer has ended its
                // sending side: the edge that this read answers may be the one of the end.
                if n < self.rx.len()
                    && self.net.short_means_drained()
                    && !entry.flags.any(flag::READ_CLOSED)
                {
                    entry.flags.clear(flag::READABLE);
                }
                activity.bytes_in += n;
                let held = entry.own.held.take();
                self.present(driver, id, held, n, activity);
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => entry.flags.clear(flag::READABLE),
                ErrorKind::Interrupted => {}
                kind => self.mark_dead(id, Closed::Failed(kind)),
            },
        }
    }

    /// Lends the driver the `held` bytes and the first `n` of the receive buffer, as one slice, and keeps the rest.
    fn present<D: Driver>(
        &mut self,
        driver: &mut D,
        id: ConnId,
        held: Option<Box<Held>>,
        n: usize,
        activity: &mut Activity,
    ) {
        activity.events += 1;
        let rest;
        let left = if let Some(mut held) = held {
            held.push(&self.rx[..n]);
            let Taken { bytes, rest: when } = driver.on_data(self, id, held.bytes_mut());
            held.consume(bytes);
            rest = when;
            Some(held)
        } else {
            // The driver has the buffer while it runs. It may call anything of `self`, none of which receives.
            let mut rx = mem::take(&mut self.rx);
            let Taken { bytes, rest: when } = driver.on_data(self, id, &mut rx[..n]);
            rest = when;
            let left = (bytes < n).then(|| {
                let mut held = self.spare_held.pop().unwrap_or_default();
                held.push(&rx[bytes..n]);
                held
            });
            self.rx = rx;
            left
        };
        let Some(held) = left else { return };
        match self.table.living(id) {
            Some(entry) if held.len() > 0 && !entry.flags.any(flag::CLOSE) => {
                entry.own.held = Some(held);
                if rest == Rest::Later {
                    entry.flags.set(flag::LATER);
                }
            }
            _ => self.recycle_held(Some(held)),
        }
    }

    /// Reports the end of the stream, once, when nothing more is to be presented before it.
    fn report_end<D: Driver>(&mut self, driver: &mut D, id: ConnId, activity: &mut Activity) {
        let Some(entry) = self.table.living(id) else {
            return;
        };
        if entry.flags.any(flag::END)
            && !entry
                .flags
                .any(flag::END_REPORTED | flag::LATER | flag::PAUSED | flag::CLOSE)
        {
            entry.flags.set(flag::END_REPORTED);
            activity.events += 1;
            driver.on_end(self, id);
        }
    }
}
