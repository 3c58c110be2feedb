//! The traits of the contract.

use std::io;
use std::time::Duration;

use hioload_lcore::Time;
use hioload_mem::LocalShared;

use super::{Network, Streams, UNPOLLED, UNPOLLED_TIME};
use crate::table::{Owner, REPORTED_FIRST, flag};
use crate::{
    Activity, Budget, Closed, ConnId, Connections, Driver, Endpoint, Features, Peer, SendError,
    Transport, TransportStats, Waker,
};

impl<N: Network> Connections for Streams<N> {
    fn connect(&mut self, to: &Endpoint) -> io::Result<ConnId> {
        if self.numbers.is_full() {
            return Err(io::Error::new(
                io::ErrorKind::QuotaExceeded,
                "all slots for connections are in use",
            ));
        }
        let mut stream = self.net.connect(to)?;
        let peer = match to {
            Endpoint::Tcp(addr) => Peer::Ip(*addr),
            Endpoint::Unix(_) => Peer::Unix,
        };
        let flags = flag::CONNECTING | flag::WANT_WRITE;
        let Some(id) = self.open(None, peer, flags) else {
            return Err(io::ErrorKind::QuotaExceeded.into());
        };
        if let Err(error) = self.net.attach(&mut stream, id, true) {
            self.free(id);
            return Err(error);
        }
        if let Some(entry) = self.table.get_mut(id) {
            entry.own.stream = Some(stream);
        }
        Ok(id)
    }

    fn send_space(&mut self, id: ConnId, want: usize) -> Result<&mut [u8], SendError> {
        self.table.send_space(id, want)
    }

    fn commit(&mut self, id: ConnId, n: usize) {
        self.table.commit(id, n);
    }

    fn send_room(&self, id: ConnId) -> usize {
        self.table.send_room(id)
    }

    fn send_shared(
        &mut self,
        id: ConnId,
        payload: LocalShared,
        droppable: bool,
    ) -> Result<(), SendError> {
        self.table.send_shared(id, payload, droppable)
    }

    fn drop_oldest(&mut self, id: ConnId) -> Option<usize> {
        self.table.drop_oldest(id)
    }

    fn queued(&self, id: ConnId) -> usize {
        self.table.queued(id)
    }

    fn is_blocked(&self, id: ConnId) -> bool {
        self.table.is_blocked(id)
    }

    fn has_moved(&mut self, id: ConnId) -> bool {
        self.table.has_moved(id)
    }

    fn set_mark(&mut self, id: ConnId, most: usize) {
        self.table.set_mark(id, most);
    }

    fn before_mark(&self, id: ConnId) -> usize {
        self.table.before_mark(id)
    }

    fn pause(&mut self, id: ConnId) {
        self.table.pause(id);
    }

    fn resume(&mut self, id: ConnId) {
        self.table.resume(id);
    }

    fn finish(&mut self, id: ConnId) {
        self.table.mark_dirty(id, flag::FINISH);
    }

    fn close(&mut self, id: ConnId) {
        self.table.mark_dirty(id, flag::CLOSE);
        if let Some(held) = self.table.living(id).map(|entry| entry.own.held.take()) {
            self.recycle_held(held);
        }
    }

    fn abort(&mut self, id: ConnId) {
        self.mark_dead(id, Closed::Aborted);
    }

    fn peer(&self, id: ConnId) -> Option<Peer> {
        self.table.get(id).map(|entry| entry.own.peer())
    }
}

impl<N: Network> Transport for Streams<N> {
    fn features(&self) -> Features {
        Features {
            name: self.net.name(),
            can_block: self.net.can_block(),
            burst: 0,
            max_connections: self.numbers.max(),
        }
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if !self.table.ready.is_empty() && self.unpolled < UNPOLLED && !self.poll_due {
            return Ok(());
        }
        self.unpolled = 0;
        self.polled = None;
        self.poll_due = false;
        let timeout = self.table.until_trim(self.bounded_timeout(timeout));
        if timeout != Some(Duration::ZERO) {
            self.stats.sleeps += 1;
        }
        self.take_edges(Some(timeout))
    }

    fn dispatch<D: Driver>(&mut self, driver: &mut D, budget: Budget, now: Time) -> Activity {
        let polled = *self.polled.get_or_insert(now);
        let mut activity = Activity::default();
        self.table.trim(now);
        // Only a poll can fail.
        let _ = self.take_edges(None);
        activity.events += self.report(driver, REPORTED_FIRST);
        self.accept_waiting(driver, budget.accepts, &mut activity);
        for visited in 0..self.table.ready.len().min(budget.events) {
            if visited > 0 && driver.is_exhausted() {
                break;
            }
            let Some(id) = self.table.ready.pop_front() else {
                break;
            };
            self.visit(driver, id, &mut activity);
            self.unpolled += 1;
        }
        activity.events += self.report(driver, usize::MAX);
        // A turn that took its whole time is the last one before a poll, and so is one that began long after the last poll.
        self.poll_due = driver.is_exhausted() || now.saturating_sub(polled) >= UNPOLLED_TIME;
        activity.more = self.table.has_more() || self.may_accept();
        self.stats.bytes_in += activity.bytes_in as u64;
        activity
    }

    fn flush<D: Driver>(&mut self, driver: &mut D) {
        self.net.begin_flush();
        self.flush_dirty(driver);
    }

    fn has_unflushed(&self) -> bool {
        self.table.has_unflushed()
    }

    fn flush_rounds(&self) -> u64 {
        self.table.flush_rounds()
    }

    fn set_accepting(&mut self, on: bool) {
        if on && !self.accepting.on {
            // Which listeners had an edge meanwhile was not recorded.
            self.net.recheck_backlog();
            self.accepting.backlog = true;
        }
        self.accepting.on = on;
    }

    fn stop_listening(&mut self) {
        self.net.stop_listening();
        self.accepting.on = false;
    }

    fn waker(&self) -> Waker {
        self.net.waker()
    }

    fn stats(&self) -> TransportStats {
        self.stats
    }
}
