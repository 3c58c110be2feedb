//! The traits of the contract.

use std::io;
use std::time::Duration;

use hioload_counters::CounterMeta;
use hioload_device::{Device, DeviceStats};
use hioload_lcore::Time;
use hioload_mem::LocalShared;
use hioload_tcp::StackStats;

use super::receive::Turn;
use super::{Bypass, conn_of, flow_of};
use crate::table::{Owner, REPORTED_FIRST, flag};
use crate::{
    Activity, Budget, Closed, ConnId, Connections, Driver, Endpoint, Features, FlowInfo, Peer,
    SendError, Transport, TransportStats, Waker, Wanted,
};

/// The stack lends this many bytes in one piece, if the ring has room for them.
const CONTIGUOUS: usize = 256;
/// Time between two reads of the device's counters.
const DEVICE_STATS_INTERVAL: Duration = Duration::from_millis(100);

impl<D: Device> Connections for Bypass<D> {
    fn connect(&mut self, to: &Endpoint) -> io::Result<ConnId> {
        let Endpoint::Tcp(addr) = to else {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "a Unix socket cannot be reached over a network interface",
            ));
        };
        let id = conn_of(self.stack.connect(*addr)?);
        self.table.open(id, 0, flag::CONNECTING);
        Ok(id)
    }

    fn send_space(&mut self, id: ConnId, want: usize) -> Result<&mut [u8], SendError> {
        self.lent = None;
        let entry = self.table.sendable(id).ok_or(SendError::Closed)?;
        if let Some(staged) = entry.staged_alone() {
            let bound = self.options.send_queue.saturating_sub(staged);
            let least = want.clamp(1, CONTIGUOUS);
            if bound < least {
                return Err(SendError::Full);
            }
            let flow = flow_of(id);
            if self.stack.send_room(flow) >= least {
                let space = self
                    .stack
                    .send_space(flow, want.max(1))
                    .ok_or(SendError::Full)?;
                let n = space.len().min(bound);
                self.lent = Some((id, n));
                return Ok(&mut space[..n]);
            }
        }
        self.table.send_space(id, want)
    }

    fn commit(&mut self, id: ConnId, n: usize) {
        let Some((to, lent)) = self.lent.take() else {
            self.table.commit(id, n);
            return;
        };
        debug_assert!(to == id && n <= lent, "committed {n} of {lent} bytes lent");
        let n = n.min(lent);
        if to == id && n > 0 {
            self.stack.commit(flow_of(id), n);
            self.table.stage(id, n, false);
        }
    }

    fn send_room(&self, id: ConnId) -> usize {
        let queue = self.table.send_room(id);
        match self.table.sendable(id).map(|entry| entry.staged_alone()) {
            Some(Some(staged)) => {
                // The end of the ring is left unused if it is too short for the next write.
                let ring = self.stack.send_room(flow_of(id));
                let ring = ring.saturating_sub(CONTIGUOUS - 1);
                let bound = self.options.send_queue.saturating_sub(staged);
                ring.saturating_add(queue).min(bound)
            }
            Some(None) | None => queue,
        }
    }

    fn send_shared(
        &mut self,
        id: ConnId,
        payload: LocalShared,
        droppable: bool,
    ) -> Result<(), SendError> {
        self.lent = None;
        let entry = self.table.sendable(id).ok_or(SendError::Closed)?;
        if let Some(staged) = entry.staged_alone() {
            if payload.len() > self.options.send_queue.saturating_sub(staged) {
                return Err(SendError::Full);
            }
            let flow = flow_of(id);
            if self.stack.send_room(flow) >= payload.len() {
                let n = self.stack.send(flow, &payload);
                debug_assert_eq!(n, payload.len(), "the ring had room");
                self.table.stage(id, n, true);
                return Ok(());
            }
        }
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
    }

    fn abort(&mut self, id: ConnId) {
        self.table.mark_dead(id, Closed::Aborted);
    }

    fn peer(&self, id: ConnId) -> Option<Peer> {
        self.table.get(id)?;
        self.stack.peer(flow_of(id)).map(Peer::Ip)
    }
}

impl<D: Device> Transport for Bypass<D> {
    fn features(&self) -> Features {
        self.features
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = if self.has_work() {
            Some(Duration::ZERO)
        } else {
            self.table.until_trim(timeout)
        };
        if timeout != Some(Duration::ZERO) {
            self.stats.sleeps += 1;
        }
        self.stack.wait(timeout)
    }

    fn dispatch<Dr: Driver>(&mut self, driver: &mut Dr, budget: Budget, now: Time) -> Activity {
        let mut turn = Turn {
            events: budget.events,
            accepts: budget.accepts,
            visited: 0,
            activity: Activity::default(),
        };
        self.table.trim(now);
        self.stats.reads += u64::from(self.stack.receive(now) > 0);
        if now >= self.next_device_stats {
            self.next_device_stats = now + DEVICE_STATS_INTERVAL;
            self.read_device_stats();
        }
        turn.activity.events += self.report(driver, REPORTED_FIRST);
        self.accept_waiting(driver, &mut turn);
        // Listed connections have half of the budget before the burst, and after it the part that the burst did not use.
        let listed = self.table.ready.len();
        let first = listed.min(budget.events.div_ceil(2));
        self.visit_listed(driver, first, &mut turn);
        loop {
            while let Some(index) = self.stack.prefetch_hint() {
                self.table.prefetch(index);
                driver.prefetch(index);
            }
            let Some(event) = self.stack.next() else {
                break;
            };
            self.on_event(driver, event, &mut turn);
        }
        self.visit_listed(driver, listed - first, &mut turn);
        self.table.ready.extend(self.again.drain(..));
        self.update_backlog();

        let mut activity = turn.activity;
        activity.events += self.report(driver, usize::MAX);
        activity.more = self.table.has_more() || self.may_accept();
        self.stats.bytes_in += activity.bytes_in as u64;
        activity
    }

    fn flush<Dr: Driver>(&mut self, driver: &mut Dr) {
        self.flush_dirty(driver);
        self.stack.transmit();
    }

    fn has_unflushed(&self) -> bool {
        self.table.has_unflushed()
    }

    fn flush_rounds(&self) -> u64 {
        self.table.flush_rounds()
    }

    fn set_accepting(&mut self, on: bool) {
        self.accepting = on && self.listening;
    }

    fn stop_listening(&mut self) {
        self.listening = false;
        self.accepting = false;
        self.stack.stop_listening();
        // As when a listener's socket is closed with connections in its backlog.
        while let Some(id) = self.accept_queue.pop_front() {
            if self.table.get(id).is_some() {
                self.table.close(id);
                self.stack.abort(flow_of(id));
            }
        }
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn stats(&self) -> TransportStats {
        TransportStats {
            accept_errors: self.stack.stats().syn_drops,
            ..self.stats
        }
    }

    const COUNTERS_BELOW: &'static [&'static [CounterMeta]] =
        &[StackStats::META, DeviceStats::META];

    fn counters_below(&self, visit: &mut dyn FnMut(&[u64])) {
        visit(&self.stack.stats().values());
        visit(&self.device_stats.values());
    }

    fn flows(&self, from: u32, wanted: &Wanted, rows: &mut Vec<FlowInfo>) -> Option<u32> {
        self.list_flows(from, wanted, rows)
    }
}

impl<D: Device> Bypass<D> {
    fn visit_listed<Dr: Driver>(&mut self, driver: &mut Dr, most: usize, turn: &mut Turn) {
        for _ in 0..most {
            // The first one in any case: a burst may have exhausted the driver in every turn.
            let exhausted = turn.visited > 0 && driver.is_exhausted();
            if turn.events == 0 || exhausted {
                return;
            }
            turn.visited += 1;
            let Some(id) = self.table.ready.pop_front() else {
                return;
            };
            turn.events -= 1;
            self.visit(driver, id, turn);
        }
    }

    #[cold]
    fn read_device_stats(&mut self) {
        self.device_stats = self.stack.device().stats();
    }
}
