//! The calls of the seam.

use std::io;
use std::time::Duration;

use hioload_device::Device;
use hioload_lcore::Time;
use hioload_mem::LocalShared;

use super::Bypass;
use super::conns::{conn_of, flow_of};
use super::receive::Turn;
use crate::send_queue::room_when_empty;
use crate::slots::flag;
use crate::{
    Activity, Budget, ConnId, Connections, DeviceCounts, Driver, Endpoint, Features, FlowInfo,
    Peer, SendError, TcpCounts, Transport, TransportStats, Waker, Wanted,
};

/// Slots looked at in one call of `flows`.
const SLOTS_AT_ONCE: u32 = 4096;
/// The stack lends this much in one piece, if the ring has room for it.
const CONTIGUOUS: usize = 256;
/// Between two looks at the device's counters.
const DEVICE_LOOKS: Duration = Duration::from_millis(100);

impl<D: Device> Connections for Bypass<D> {
    fn connect(&mut self, to: &Endpoint) -> io::Result<ConnId> {
        let Endpoint::Tcp(addr) = to else {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "a Unix socket cannot be reached over a network interface",
            ));
        };
        let id = conn_of(self.stack.connect(*addr)?);
        self.conns.open(id, flag::CONNECTING);
        Ok(id)
    }

    fn send_space(&mut self, id: ConnId, want: usize) -> Result<&mut [u8], SendError> {
        self.lent = None;
        let flow = flow_of(id);
        let conn = self.sendable(id).ok_or(SendError::Closed)?;
        let mut bound = self.options.send_queue;
        if let Some(staged) = conn.staged_alone() {
            bound = bound.saturating_sub(staged);
            let least = want.clamp(1, CONTIGUOUS);
            if bound < least {
                return Err(SendError::Full);
            }
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
        let (queued, pool, bound) = self.queue(id)?;
        queued.space(pool, want, bound)
    }

    fn commit(&mut self, id: ConnId, n: usize) {
        let Some((to, lent)) = self.lent.take() else {
            if let Some(queued) = self.conns.queue_mut(id) {
                queued.queue.commit(n);
            }
            return;
        };
        debug_assert!(to == id && n <= lent, "committed {n} of {lent} bytes lent");
        let n = n.min(lent);
        if to == id && n > 0 {
            self.stack.commit(flow_of(id), n);
            self.staged(id, n);
        }
    }

    fn send_room(&self, id: ConnId) -> usize {
        if self.sendable(id).is_none() {
            return 0;
        }
        let bound = self
            .options
            .send_queue
            .saturating_sub(self.conns.staged(id));
        match self.conns.queue(id) {
            Some(queued) => queued.queue.room(&self.pool, bound),
            None => {
                // The end of the ring is left unused if it is too short for what comes next.
                let ring = self.stack.send_room(flow_of(id));
                let ring = ring.saturating_sub(CONTIGUOUS - 1);
                let queue = room_when_empty(&self.pool, bound);
                ring.saturating_add(queue).min(bound)
            }
        }
    }

    fn send_shared(
        &mut self,
        id: ConnId,
        payload: LocalShared,
        droppable: bool,
    ) -> Result<(), SendError> {
        self.lent = None;
        let flow = flow_of(id);
        let conn = self.sendable(id).ok_or(SendError::Closed)?;
        if let Some(staged) = conn.staged_alone() {
            if payload.len() > self.options.send_queue.saturating_sub(staged) {
                return Err(SendError::Full);
            }
            if self.stack.send_room(flow) >= payload.len() {
                let n = self.stack.send(flow, &payload);
                debug_assert_eq!(n, payload.len(), "the room was looked at");
                self.staged(id, n);
                return Ok(());
            }
        }
        let (queued, pool, bound) = self.queue(id)?;
        queued.push_shared(pool, payload, droppable, bound)
    }

    fn drop_oldest(&mut self, id: ConnId) -> Option<usize> {
        self.conns.queue_mut(id)?.queue.drop_oldest()
    }

    fn queued(&self, id: ConnId) -> usize {
        let queue = self.conns.queue(id).map_or(0, |queued| queued.queue.len());
        self.conns.staged(id) + queue
    }

    fn is_blocked(&self, id: ConnId) -> bool {
        self.conns
            .get(id)
            .is_some_and(|conn| conn.flags.any(flag::BLOCKED))
    }

    fn has_moved(&mut self, id: ConnId) -> bool {
        let Some(conn) = self.conns.get_mut(id) else {
            return false;
        };
        let moved = conn.flags.any(flag::MOVED);
        conn.flags.clear(flag::MOVED);
        moved
    }

    fn pause(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.living(id) {
            conn.flags.set(flag::PAUSED);
        }
    }

    fn resume(&mut self, id: ConnId) {
        let Some(conn) = self.conns.living(id) else {
            return;
        };
        if !conn.flags.any(flag::PAUSED) {
            return;
        }
        conn.flags.clear(flag::PAUSED);
        if conn.flags.any(flag::LATER | flag::READABLE | flag::END) {
            self.list(id);
        }
    }

    fn finish(&mut self, id: ConnId) {
        self.mark_dirty(id, flag::FINISH);
    }

    fn close(&mut self, id: ConnId) {
        self.mark_dirty(id, flag::CLOSE);
    }

    fn abort(&mut self, id: ConnId) {
        self.bury(id, flag::ABORT);
    }

    fn peer(&self, id: ConnId) -> Option<Peer> {
        self.conns.get(id)?;
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
            timeout
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
            activity: Activity::default(),
        };
        self.stats.reads += u64::from(self.stack.receive(now) > 0);
        if now >= self.device_asked {
            self.device_asked = now + DEVICE_LOOKS;
            self.ask_device();
        }
        turn.activity.events += self.report(driver);
        self.accept_waiting(driver, &mut turn);
        // Those that wait have half of the budget before the burst, and what the burst leaves.
        let listed = self.ready.len();
        let first = listed.min(budget.events.div_ceil(2));
        self.visit_listed(driver, first, &mut turn);
        loop {
            while let Some(index) = self.stack.prefetch_hint() {
                self.conns.prefetch(index);
                driver.prefetch(index);
            }
            let Some(event) = self.stack.next() else {
                break;
            };
            self.on_event(driver, event, &mut turn);
        }
        self.visit_listed(driver, listed - first, &mut turn);
        self.ready.extend(self.again.drain(..));
        self.mind_backlog();

        let mut activity = turn.activity;
        activity.events += self.report(driver);
        activity.more = !self.ready.is_empty() || !self.ended.is_empty() || self.may_accept();
        self.stats.bytes_in += activity.bytes_in as u64;
        activity
    }

    fn flush<Dr: Driver>(&mut self, driver: &mut Dr) {
        let mut at = 0;
        // What `on_writable` writes is flushed with the rest.
        while let Some(&id) = self.dirty.get(at) {
            at += 1;
            self.flush_one(driver, id);
        }
        self.dirty.clear();
        self.report(driver);
        self.stack.transmit();
    }

    fn set_accepting(&mut self, on: bool) {
        self.accepting = on && self.listening;
    }

    fn stop_listening(&mut self) {
        self.listening = false;
        self.accepting = false;
        self.stack.stop_listening();
        // As when a listener's socket is closed with connections in its backlog.
        while let Some(id) = self.waiting.pop_front() {
            if self.conns.get(id).is_some() {
                self.conns.free(id);
                self.stack.abort(flow_of(id));
            }
        }
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn stats(&self) -> TransportStats {
        let stack = self.stack.stats();
        let tcp = TcpCounts {
            retransmits: stack.retransmits,
            half_open_evicted: stack.half_open_evicted,
            time_wait_evicted: stack.time_wait_evicted,
            orphans_reset: stack.orphans_reset,
            timeouts: stack.timeouts,
            rst_limited: stack.rst_limited,
            icmp_limited: stack.icmp_limited,
            handoffs: stack.handoffs_out,
            handoff_drops: stack.handoff_drops,
            bad_checksums: stack.bad_checksums,
            rx_malformed: stack.rx_malformed,
            rings_given_back: stack.rings_given_back,
            tx_drops: stack.tx_drops + stack.no_frames,
        };
        TransportStats {
            accept_errors: stack.syn_drops,
            tcp,
            ..self.stats
        }
    }

    fn flows(&self, from: u32, wanted: &Wanted, rows: &mut Vec<FlowInfo>) -> Option<u32> {
        let slots = u32::try_from(self.features.max_connections).unwrap_or(u32::MAX);
        let end = slots.min(from.saturating_add(SLOTS_AT_ONCE));
        for index in from..end {
            if rows.len() == rows.capacity() {
                return Some(index);
            }
            let Some(flow) = self.stack.flow_at(index) else {
                continue;
            };
            let other = |peer| !wanted.matches(peer);
            if *wanted != Wanted::default() && self.stack.peer(flow).is_none_or(other) {
                continue;
            }
            let Some(mut row) = self.stack.info(flow) else {
                continue;
            };
            if wanted.details {
                row.details = self.stack.details(flow);
                rows.push(row);
                return Some(index + 1);
            }
            rows.push(row);
        }
        (end < slots).then_some(end)
    }
}

impl<D: Device> Bypass<D> {
    fn visit_listed<Dr: Driver>(&mut self, driver: &mut Dr, most: usize, turn: &mut Turn) {
        for _ in 0..most {
            if turn.events == 0 {
                return;
            }
            let Some(id) = self.ready.pop_front() else {
                return;
            };
            turn.events -= 1;
            self.visit(driver, id, turn);
        }
    }
}

impl<D: Device> Bypass<D> {
    #[cold]
    fn ask_device(&mut self) {
        let counted = self.stack.device().stats();
        self.stats.device = DeviceCounts {
            rx_frames: counted.rx_frames,
            rx_dropped: counted.rx_dropped,
            tx_frames: counted.tx_frames,
            tx_dropped: counted.tx_dropped,
            tx_full: counted.tx_full,
        };
    }
}
