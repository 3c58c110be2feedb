//! The calls of the seam.

use std::io;
use std::time::Duration;

use hioload_lcore::Time;
use hioload_mem::LocalShared;

use super::{Network, Streams, UNPOLLED};
use crate::send_queue::room_when_empty;
use crate::slots::{Slot, flag};
use crate::{
    Activity, Budget, Closed, ConnId, Connections, Driver, Endpoint, Features, Peer, SendError,
    Transport, TransportStats, Waker,
};

impl<N: Network> Connections for Streams<N> {
    fn connect(&mut self, to: &Endpoint) -> io::Result<ConnId> {
        if self.slots.is_full() {
            return Err(io::Error::new(
                io::ErrorKind::QuotaExceeded,
                "all connections in use",
            ));
        }
        let mut stream = self.net.connect(to)?;
        let peer = match to {
            Endpoint::Tcp(addr) => Peer::Ip(*addr),
            Endpoint::Unix(_) => Peer::Unix,
        };
        let flags = flag::CONNECTING | flag::WANT_WRITE;
        let Some(id) = self.slots.take(None, peer, flags) else {
            return Err(io::ErrorKind::QuotaExceeded.into());
        };
        if let Err(error) = self.net.attach(&mut stream, id, true) {
            self.release(id);
            return Err(error);
        }
        if let Some(slot) = self.slots.get_mut(id) {
            slot.stream = Some(stream);
        }
        Ok(id)
    }

    fn send_space(&mut self, id: ConnId, want: usize) -> Result<&mut [u8], SendError> {
        let (queue, pool, bound) = self.queue(id)?;
        queue.space(pool, want, bound)
    }

    fn commit(&mut self, id: ConnId, n: usize) {
        if let Some(queue) = self.slots.get_mut(id).and_then(|slot| slot.send.as_mut()) {
            queue.commit(n);
        }
    }

    fn send_room(&self, id: ConnId) -> usize {
        match self.slots.get(id) {
            Some(slot) if !slot.flags.any(flag::DEAD | flag::FINISH | flag::CLOSE) => {
                match &slot.send {
                    Some(queue) => queue.room(&self.pool, self.bound),
                    None => room_when_empty(&self.pool, self.bound),
                }
            }
            _ => 0,
        }
    }

    fn send_shared(
        &mut self,
        id: ConnId,
        payload: LocalShared,
        droppable: bool,
    ) -> Result<(), SendError> {
        let (queue, pool, bound) = self.queue(id)?;
        queue.push_shared(pool, payload, droppable, bound)
    }

    fn drop_oldest(&mut self, id: ConnId) -> Option<usize> {
        self.slots.get_mut(id)?.send.as_mut()?.drop_oldest()
    }

    fn queued(&self, id: ConnId) -> usize {
        let queue = self.slots.get(id).and_then(|slot| slot.send.as_ref());
        queue.map_or(0, |queue| queue.len())
    }

    fn is_blocked(&self, id: ConnId) -> bool {
        self.slots
            .get(id)
            .is_some_and(|slot| slot.flags.any(flag::BLOCKED))
    }

    fn has_moved(&mut self, id: ConnId) -> bool {
        let Some(slot) = self.slots.get_mut(id) else {
            return false;
        };
        let moved = slot.flags.any(flag::MOVED);
        slot.flags.clear(flag::MOVED);
        moved
    }

    fn pause(&mut self, id: ConnId) {
        if let Some(slot) = self.living(id) {
            slot.flags.set(flag::PAUSED);
        }
    }

    fn resume(&mut self, id: ConnId) {
        let Some(slot) = self.living(id) else { return };
        if !slot.flags.any(flag::PAUSED) {
            return;
        }
        slot.flags.clear(flag::PAUSED);
        if slot.flags.any(flag::LATER | flag::READABLE | flag::END) {
            self.list(id);
        }
    }

    fn finish(&mut self, id: ConnId) {
        self.mark_dirty(id, flag::FINISH);
    }

    fn close(&mut self, id: ConnId) {
        self.mark_dirty(id, flag::CLOSE);
        if let Some(held) = self.living(id).map(|slot| slot.held.take()) {
            self.recycle_held(held);
        }
    }

    fn abort(&mut self, id: ConnId) {
        self.bury(id, Closed::Aborted);
    }

    fn peer(&self, id: ConnId) -> Option<Peer> {
        self.slots.get(id).map(Slot::peer)
    }
}

impl<N: Network> Transport for Streams<N> {
    fn features(&self) -> Features {
        Features {
            name: self.net.name(),
            can_block: self.net.can_block(),
            burst: 0,
            max_connections: self.slots.max(),
        }
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if !self.ready.is_empty() && self.unpolled < UNPOLLED {
            return Ok(());
        }
        self.unpolled = 0;
        let timeout = self.bounded_timeout(timeout);
        if timeout != Some(Duration::ZERO) {
            self.stats.sleeps += 1;
        }
        self.take_edges(Some(timeout))
    }

    fn dispatch<D: Driver>(&mut self, driver: &mut D, budget: Budget, _: Time) -> Activity {
        let mut activity = Activity::default();
        // Only a poll can fail.
        let _ = self.take_edges(None);
        activity.events += self.report(driver);
        self.accept_waiting(driver, budget.accepts, &mut activity);
        for _ in 0..self.ready.len().min(budget.events) {
            let Some(id) = self.ready.pop_front() else {
                break;
            };
            self.visit(driver, id, &mut activity);
            self.unpolled += 1;
        }
        activity.events += self.report(driver);
        activity.more = !self.ready.is_empty() || !self.ended.is_empty() || self.may_accept();
        self.stats.bytes_in += activity.bytes_in as u64;
        activity
    }

    fn flush<D: Driver>(&mut self, driver: &mut D) {
        self.net.begin_flush();
        let mut at = 0;
        // What `on_writable` queues is appended, and sent in this flush too.
        while let Some(&id) = self.dirty.get(at) {
            at += 1;
            self.flush_one(driver, id);
        }
        self.dirty.clear();
        self.report(driver);
    }

    fn set_accepting(&mut self, on: bool) {
        if on && !self.accepting.on {
            // Edges seen meanwhile are not remembered for each listener.
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
