//! The order in which a flush and the reports at its end call the driver.

use std::io::ErrorKind;

use super::{Table, flag};
use crate::{Closed, ConnId, Connections, Driver};

/// Connections with shared payloads that are flushed even if the driver is exhausted.
const LEAST_FLUSHED: usize = 32;

/// Connections whose end is reported before the connections that are ready have their turn. More are reported after it.
pub(crate) const REPORTED_FIRST: usize = 32;

/// A transport whose connections are in a [`Table`].
pub(crate) trait Owner: Connections + Sized {
    /// What it adds to an entry.
    type Own;

    fn table(&mut self) -> &mut Table<Self::Own>;

    /// Frees the slot of a dead connection, and what the transport still holds of it.
    fn release(&mut self, id: ConnId, why: Closed);

    /// Hands over what one connection has queued, then finishes or closes it if that was asked for.
    fn flush_one<D: Driver>(&mut self, driver: &mut D, id: ConnId);

    /// Flushes every dirty connection, then as many as there is time for of those to which shared payloads were queued, then
    /// reports those that ended.
    fn flush_dirty<D: Driver>(&mut self, driver: &mut D) {
        let mut at = 0;
        // What `on_writable` queues is appended, and leaves with this flush too.
        while let Some(&id) = self.table().dirty.get(at) {
            at += 1;
            self.flush_one(driver, id);
        }
        self.table().dirty.clear();
        for n in 0..self.table().fanned.len() {
            if n >= LEAST_FLUSHED && driver.is_exhausted() {
                break;
            }
            let Some(id) = self.table().next_fanned() else {
                break;
            };
            // One that was flushed since, because of an answer, has nothing left.
            self.flush_one(driver, id);
        }
        self.table().end_round();
        self.report(driver, usize::MAX);
    }

    /// Reports at most `most` connections that have ended, until the driver is exhausted. Those that end meanwhile are reported by
    /// the next call.
    fn report<D: Driver>(&mut self, driver: &mut D, most: usize) -> usize {
        let mut calls = 0;
        for _ in 0..self.table().ended.len().min(most) {
            if calls > 0 && driver.is_exhausted() {
                break;
            }
            let Some((id, why)) = self.table().ended.pop_front() else {
                break;
            };
            calls += usize::from(self.report_one(driver, id, why));
        }
        calls
    }

    /// Reports the end of a dead connection and releases it; `false` if it was released before.
    fn report_one<D: Driver>(&mut self, driver: &mut D, id: ConnId, why: Closed) -> bool {
        let Some(entry) = self.table().get(id) else {
            return false;
        };
        if entry.flags.any(flag::CONNECTING) {
            let kind = match why {
                Closed::Failed(kind) => kind,
                Closed::Flushed | Closed::Aborted => ErrorKind::ConnectionAborted,
            };
            self.release(id, why);
            driver.on_connect(self, id, Err(kind.into()));
        } else {
            driver.on_closed(self, id, why);
            self.release(id, why);
        }
        true
    }
}
