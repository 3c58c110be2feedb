//! The receiving half of a turn: accepts, and visits to connections that are ready.

use std::io::ErrorKind;
use std::mem;
use std::time::Instant;

use super::{ACCEPT_REST, Accepted, Network, Streams};
use crate::slots::{Held, flag};
use crate::{Activity, Closed, ConnId, Driver, Rest, Taken};

impl<N: Network> Streams<N> {
    pub(super) fn accept_waiting<D: Driver>(
        &mut self,
        driver: &mut D,
        budget: usize,
        activity: &mut Activity,
    ) {
        for _ in 0..budget {
            if !self.may_accept() {
                self.count_full();
                return;
            }
            self.accepting.rest_until = None;
            match self.net.accept() {
                Ok(accepted) => self.welcome(driver, accepted, activity),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => {
                        self.accepting.backlog = false;
                        return;
                    }
                    // The connection failed while it waited: accept(2) hands its error out. Go on with the next.
                    ErrorKind::Interrupted
                    | ErrorKind::ConnectionAborted
                    | ErrorKind::ConnectionReset
                    | ErrorKind::TimedOut
                    | ErrorKind::HostUnreachable
                    | ErrorKind::NetworkUnreachable
                    | ErrorKind::NetworkDown => {}
                    // Out of descriptors or memory (or something unheard of): the connection stays in the backlog and
                    // no new edge will tell of it, so `backlog` stays set and accepting rests a while.
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
        if waiting && self.slots.is_full() && !mem::replace(&mut self.accepting.full_counted, true)
        {
            self.stats.accept_errors += 1;
        }
    }

    fn welcome<D: Driver>(
        &mut self,
        driver: &mut D,
        accepted: Accepted<N::Stream>,
        activity: &mut Activity,
    ) {
        let Accepted { stream, peer, slot } = accepted;
        let id = match slot {
            Some(id) => {
                if let Some(slot) = self.slots.get_mut(id) {
                    slot.stream = Some(stream);
                }
                id
            }
            None => match self.slots.take(Some(stream), peer, 0) {
                Some(id) => id,
                None => return,
            },
        };
        self.stats.accepted += 1;
        activity.events += 1;
        let welcome = driver.on_accept(self, id, peer);
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        if !welcome {
            // If the driver aborted it as well, the report about that will find the id stale.
            if let Some(stream) = slot.stream.take() {
                self.net.reset(stream);
            }
            self.release(id);
            return;
        }
        // Only now: refused connections never cost a registration.
        if let Some(stream) = &mut slot.stream
            && let Err(error) = self.net.attach(stream, id, false)
        {
            self.bury(id, Closed::Failed(error.kind()));
        }
    }

    /// One listed connection has its turn.
    pub(super) fn visit<D: Driver>(&mut self, driver: &mut D, id: ConnId, activity: &mut Activity) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        slot.flags.clear(flag::LISTED);
        if slot.flags.any(flag::DEAD) {
            return;
        }
        if slot.flags.any(flag::CONNECTING) {
            self.try_connected(driver, id, activity);
            return;
        }
        let silent = slot.flags.any(flag::PAUSED | flag::END | flag::CLOSE);
        if slot.flags.any(flag::ERROR) {
            slot.flags.clear(flag::ERROR);
            // A receive reports the error after what arrived before it; without receives it has to be asked for.
            if silent
                && let Some(stream) = &mut slot.stream
                && let Some(error) = self.net.take_error(stream)
            {
                self.bury(id, Closed::Failed(error.kind()));
                return;
            }
        }
        if slot.flags.any(flag::PAUSED | flag::CLOSE) {
            return;
        }
        if slot.flags.any(flag::LATER) {
            slot.flags.clear(flag::LATER);
            let held = slot.held.take();
            self.present(driver, id, held, 0, activity);
        } else if slot.flags.any(flag::READABLE) && !slot.flags.any(flag::END) {
            self.receive(driver, id, activity);
        }
        self.tell_end(driver, id, activity);
        if let Some(slot) = self.living(id)
            && !slot.flags.any(flag::PAUSED | flag::CLOSE)
            && (slot.flags.any(flag::LATER)
                || slot.flags.any(flag::READABLE) && !slot.flags.any(flag::END))
        {
            self.list(id);
        }
    }

    fn try_connected<D: Driver>(&mut self, driver: &mut D, id: ConnId, activity: &mut Activity) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        let Some(stream) = &mut slot.stream else {
            return;
        };
        let outcome = match self.net.connected(stream) {
            Ok(false) => return,
            Ok(true) => self.net.want_write(stream, id, false),
            Err(error) => Err(error),
        };
        activity.events += 1;
        if let Err(error) = outcome {
            self.release(id);
            driver.on_connect(self, id, Err(error));
            return;
        }
        slot.flags
            .clear(flag::CONNECTING | flag::WANT_WRITE | flag::ERROR);
        self.stats.connected += 1;
        // What was queued meanwhile can leave.
        self.mark_dirty(id, 0);
        driver.on_connect(self, id, Ok(()));
        if let Some(slot) = self.living(id)
            && slot.flags.any(flag::READABLE)
        {
            self.list(id);
        }
    }

    /// One receive, and its bytes to the driver.
    fn receive<D: Driver>(&mut self, driver: &mut D, id: ConnId, activity: &mut Activity) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        let Some(stream) = &mut slot.stream else {
            return;
        };
        self.stats.reads += 1;
        match self.net.recv(stream, &mut self.rx) {
            Ok(0) => {
                slot.flags.set(flag::END);
                slot.flags.clear(flag::READABLE);
            }
            Ok(n) => {
                // A full read may have left more. Neither does a short one prove anything when the end is in sight:
                // its edge may be the one that was just used.
                if n < self.rx.len()
                    && self.net.short_means_drained()
                    && !slot.flags.any(flag::READ_CLOSED)
                {
                    slot.flags.clear(flag::READABLE);
                }
                activity.bytes_in += n;
                let held = slot.held.take();
                self.present(driver, id, held, n, activity);
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => slot.flags.clear(flag::READABLE),
                ErrorKind::Interrupted => {}
                kind => self.bury(id, Closed::Failed(kind)),
            },
        }
    }

    /// Lends the driver what was `held` and the first `n` bytes of the receive buffer, as one slice, and keeps the rest.
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
            // The buffer is the driver's while it runs: it may call anything of `self`, nothing of which receives.
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
        match self.living(id) {
            Some(slot) if held.len() > 0 && !slot.flags.any(flag::CLOSE) => {
                slot.held = Some(held);
                if rest == Rest::Later {
                    slot.flags.set(flag::LATER);
                }
            }
            _ => self.recycle_held(Some(held)),
        }
    }

    /// Tells the driver of the end of the stream, once, when nothing more is to be presented before it.
    fn tell_end<D: Driver>(&mut self, driver: &mut D, id: ConnId, activity: &mut Activity) {
        let Some(slot) = self.living(id) else { return };
        if slot.flags.any(flag::END)
            && !slot
                .flags
                .any(flag::END_TOLD | flag::LATER | flag::PAUSED | flag::CLOSE)
        {
            slot.flags.set(flag::END_TOLD);
            activity.events += 1;
            driver.on_end(self, id);
        }
    }
}
