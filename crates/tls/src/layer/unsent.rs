//! What a flush sends besides content: KeyUpdates, ends, and what had no room before; and the report that a queue is empty.

use std::mem;
use std::time::Duration;

use hioload_transport::layer::View;
use hioload_transport::{Activity, ConnId, Connections, Driver};

use super::conn::flag;
use super::state::Tls;

/// The time after which a connection without space is tried again. The pool of chunks below is empty then, and nothing reports when it
/// is not any more.
const RETRY: Duration = Duration::from_millis(1);

impl Tls {
    /// Charges the driver for what was sealed.
    #[inline]
    pub(super) fn charge<D: Driver>(&mut self, above: &mut D) {
        let owed = mem::take(&mut self.owed);
        if owed > 0 {
            above.spend(owed);
        }
    }

    pub(super) fn is_held(&self, id: ConnId) -> bool {
        self.conns.get(id).is_some_and(|conn| conn.is(flag::HELD))
    }

    /// Reports connections whose last bytes were sealed when the queue below was empty.
    pub(super) fn report_writable<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        activity: &mut Activity,
    ) {
        for visited in 0..self.writable.len() {
            if visited > 0 && above.is_exhausted() {
                return;
            }
            let Some(id) = self.writable.pop_front() else {
                return;
            };
            if !self.is_held(id) || below.is_blocked(id) {
                // It has ended, or `on_writable` of the transport below comes again.
                continue;
            }
            if below.queued(id) > 0 {
                self.writable.push_back(id);
            } else {
                activity.events += 1;
                self.writable_now(below, above, id);
            }
        }
    }

    pub(super) fn writable_now<C: Connections, D: Driver>(
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

    pub(super) fn flush_staged<C: Connections>(&mut self, below: &mut C) {
        for at in 0..self.staging.len() {
            if let Some(id) = self.staging.at(at) {
                self.seal_staged(below, id);
            }
        }
    }

    /// Lists a connection that has no space below. A blocked one is not listed: `on_writable` continues there.
    pub(super) fn list_stuck<C: Connections>(&mut self, below: &C, id: ConnId) {
        if below.is_blocked(id) {
            return;
        }
        if let Some(conn) = self.conns.get_mut(id)
            && conn.newly(flag::UNSENT)
        {
            if self.stuck.is_empty() {
                self.retry_at = self.now + RETRY;
            }
            self.stuck.push_back(id);
        }
    }

    /// Sends KeyUpdates, and payloads and ends that had no room before.
    pub(super) fn flush_unsent<C: Connections, D: Driver>(&mut self, below: &mut C, above: &mut D) {
        if self.retry_at <= self.now {
            self.unsent.append(&mut self.stuck);
        }
        for visited in 0..self.unsent.len() {
            if visited > 0 && above.is_exhausted() {
                return;
            }
            let Some(id) = self.unsent.pop_front() else {
                return;
            };
            let Some(conn) = self.conns.get_mut(id) else {
                continue;
            };
            conn.clear(flag::UNSENT);
            // On a blocked connection a KeyUpdate is sent before the next content, so that requests do not add up.
            if conn.is(flag::FAILED) || below.is_blocked(id) {
                continue;
            }
            if let Some(mut sealer) = self.sealer(id)
                && sealer.session.needs_key_update()
                && !sealer.update_key(below, id)
            {
                self.list_stuck(below, id);
            }
            if !self.seal_shared(below, id) {
                self.list_stuck(below, id);
            }
            self.end_sending(below, id);
            self.charge(above);
        }
    }
}
