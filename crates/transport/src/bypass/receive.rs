//! The receiving half of a turn: events of flows, and visits to connections that have more to read.

use std::mem;

use hioload_device::{Device, Frame};
use hioload_tcp::{Event, EventFlags, FramePayload};

use super::{Bypass, conn_of, flow_of};
use crate::table::{Owner, flag};
use crate::{Activity, Closed, ConnId, Driver, Peer, Rest, Taken};

/// No bytes are presented on a connection with any of these flags.
const SILENT: u32 = flag::DEAD | flag::CLOSE | flag::PAUSED | flag::ACCEPT_PENDING;

/// The remaining budget of a turn, and its activity.
pub(super) struct Turn {
    pub(super) events: usize,
    pub(super) accepts: usize,
    /// Listed connections visited.
    pub(super) visited: usize,
    pub(super) activity: Activity,
}

impl<D: Device> Bypass<D> {
    /// Offers the driver the flows of the accept queue.
    pub(super) fn accept_waiting<Dr: Driver>(&mut self, driver: &mut Dr, turn: &mut Turn) {
        let begun = turn.accepts;
        while turn.accepts > 0 && self.may_accept() {
            if turn.accepts < begun && driver.is_exhausted() {
                return;
            }
            let Some(id) = self.accept_queue.pop_front() else {
                return;
            };
            if self.table.get(id).is_none() {
                continue;
            }
            self.accept_one(driver, id, turn);
            if let Some(entry) = self.table.living(id)
                && entry.flags.any(flag::READABLE | flag::END)
            {
                self.table.list(id);
            }
        }
    }

    /// Stops the stack from taking new connections while the accept queue is full.
    pub(super) fn update_backlog(&mut self) {
        let open = self.accept_queue.len() < self.options.backlog;
        if open != self.backlog_open {
            self.backlog_open = open;
            self.stack.set_accepting(open);
        }
    }

    /// Offers the driver a connection.
    fn accept_one<Dr: Driver>(&mut self, driver: &mut Dr, id: ConnId, turn: &mut Turn) {
        let Some(peer) = self.stack.peer(flow_of(id)) else {
            // Cannot happen: the stack knows the ends of a flow until it has reported that the flow is over.
            self.table.close(id);
            self.stack.abort(flow_of(id));
            return;
        };
        if let Some(entry) = self.table.get_mut(id) {
            entry.flags.clear(flag::ACCEPT_PENDING);
        }
        turn.accepts -= 1;
        turn.activity.events += 1;
        self.stats.accepted += 1;
        if !driver.on_accept(self, id, Peer::Ip(peer)) {
            // If the driver aborted it as well, the report of that finds the id stale.
            self.table.close(id);
            self.stack.abort(flow_of(id));
        }
    }

    /// Handles one event of a flow.
    pub(super) fn on_event<Dr: Driver>(
        &mut self,
        driver: &mut Dr,
        event: Event<D::Frame>,
        turn: &mut Turn,
    ) {
        let Event {
            flow,
            flags,
            error,
            payload,
            ..
        } = event;
        let id = conn_of(flow);
        if flags.contains(EventFlags::ACCEPTED) {
            self.table.open(id, 0, flag::ACCEPT_PENDING);
            let room = turn.accepts > 0 && !driver.is_exhausted();
            if room && self.accepting && self.accept_queue.is_empty() {
                self.accept_one(driver, id, turn);
            } else {
                self.accept_queue.push_back(id);
            }
        }
        if flags.contains(EventFlags::CONNECTED) {
            self.connected(driver, id, turn);
        }
        let Some(entry) = self.table.get_mut(id) else {
            return;
        };
        if flags.contains(EventFlags::DATA) {
            entry.flags.set(flag::READABLE);
        }
        if flags.contains(EventFlags::END) {
            entry.flags.set(flag::END);
        }
        if flags.contains(EventFlags::SPACE) && entry.flags.any(flag::BLOCKED) {
            self.table.mark_dirty(id, 0);
        }
        if flags.contains(EventFlags::DATA) || flags.contains(EventFlags::END) {
            self.arrived(driver, id, payload, turn);
        }
        if flags.contains(EventFlags::CLOSED) {
            let why = error.map_or(Closed::Flushed, Closed::Failed);
            self.closed(driver, id, why, turn);
        }
    }

    fn connected<Dr: Driver>(&mut self, driver: &mut Dr, id: ConnId, turn: &mut Turn) {
        let Some(entry) = self.table.living(id) else {
            return;
        };
        entry.flags.clear(flag::CONNECTING);
        self.stats.connected += 1;
        turn.activity.events += 1;
        // What was queued before can leave now.
        self.table.mark_dirty(id, 0);
        driver.on_connect(self, id, Ok(()));
    }

    /// Bytes or the end arrived: they are presented at once, or the connection is listed.
    fn arrived<Dr: Driver>(
        &mut self,
        driver: &mut Dr,
        id: ConnId,
        payload: Option<FramePayload<D::Frame>>,
        turn: &mut Turn,
    ) {
        let Some(entry) = self.table.get(id) else {
            return;
        };
        if entry.flags.any(flag::CLOSE | flag::DEAD) {
            self.discard_received(id);
            return;
        }
        if entry.flags.any(SILENT | flag::LISTED) {
            return;
        }
        // The payload is in the ring as well, and is presented from there in a later turn.
        if turn.events == 0 || driver.is_exhausted() {
            self.table.list(id);
            return;
        }
        turn.events -= 1;
        match payload {
            Some(payload) => self.present_in_place(driver, id, payload, turn),
            None => self.present_next(driver, id, turn),
        }
        self.after_presenting(driver, id, turn);
    }

    /// Visits one listed connection.
    pub(super) fn visit<Dr: Driver>(&mut self, driver: &mut Dr, id: ConnId, turn: &mut Turn) {
        let Some(entry) = self.table.get_mut(id) else {
            return;
        };
        entry.flags.clear(flag::LISTED);
        if entry.flags.any(SILENT) {
            return;
        }
        self.present_next(driver, id, turn);
        self.after_presenting(driver, id, turn);
    }

    /// Reports the end, if nothing is to be presented before it; lists for another visit, if there is more.
    fn after_presenting<Dr: Driver>(&mut self, driver: &mut Dr, id: ConnId, turn: &mut Turn) {
        let Some(entry) = self.table.get_mut(id) else {
            return;
        };
        let pending = flag::READABLE | flag::LATER;
        if entry.flags.any(flag::END)
            && !entry.flags.any(pending | SILENT)
            && entry.flags.newly(flag::END_REPORTED)
        {
            turn.activity.events += 1;
            driver.on_end(self, id);
        }
        if let Some(entry) = self.table.get_mut(id)
            && entry.flags.any(pending)
            && !entry.flags.any(SILENT)
            && entry.flags.newly(flag::LISTED)
        {
            self.again.push(id);
        }
    }

    /// Lends the driver a payload in its frame.
    fn present_in_place<Dr: Driver>(
        &mut self,
        driver: &mut Dr,
        id: ConnId,
        payload: FramePayload<D::Frame>,
        turn: &mut Turn,
    ) {
        let FramePayload { mut frame, range } = payload;
        let Some(bytes) = frame.bytes_mut().get_mut(range) else {
            return self.present_next(driver, id, turn);
        };
        let n = bytes.len().min(self.options.rx_buffer);
        turn.activity.events += 1;
        turn.activity.bytes_in += n;
        let taken = driver.on_data(self, id, &mut bytes[..n]);
        let took = taken.bytes.min(n);
        self.stats.rx_bytes_in_place += took as u64;
        self.consumed(id, n, took, taken.rest);
    }

    /// Lends the driver the bytes that it left. Unless it left them as `Later`, the bytes received since are included.
    fn present_next<Dr: Driver>(&mut self, driver: &mut Dr, id: ConnId, turn: &mut Turn) {
        let Some(entry) = self.table.get_mut(id) else {
            return;
        };
        let left = entry.own as usize;
        let later = entry.flags.any(flag::LATER);
        if !later && !entry.flags.any(flag::READABLE) {
            return;
        }
        entry.flags.clear(flag::LATER);
        let new = if later { 0 } else { self.options.rx_buffer };
        // The stack's memory cannot be lent while the driver has the transport. The copy is rare: in order and into an empty
        // ring is the common case.
        let mut scratch = mem::take(&mut self.scratch);
        let received = self.stack.readable(flow_of(id));
        let n = received.len().min(left.saturating_add(new));
        if scratch.len() < n {
            scratch.resize(n, 0);
        }
        scratch[..n].copy_from_slice(&received[..n]);
        if n > 0 {
            turn.activity.events += 1;
            turn.activity.bytes_in += n.saturating_sub(left);
            let Taken { bytes, rest } = driver.on_data(self, id, &mut scratch[..n]);
            let took = bytes.min(n);
            self.stats.rx_bytes_from_ring += took as u64;
            self.consumed(id, n, took, rest);
        } else if let Some(entry) = self.table.get_mut(id) {
            entry.flags.clear(flag::READABLE);
        }
        self.scratch = scratch;
    }

    /// The driver consumed `took` of the `n` bytes that it was lent from the front of the received bytes.
    fn consumed(&mut self, id: ConnId, n: usize, took: usize, rest: Rest) {
        let flow = flow_of(id);
        let Some(entry) = self.table.get_mut(id) else {
            return;
        };
        self.stack.consume(flow, took);
        // A ring is at most a few megabytes.
        entry.own = (n - took) as u32;
        if took < n && rest == Rest::Later {
            entry.flags.set(flag::LATER);
        }
        if self.stack.received(flow) == n - took {
            entry.flags.clear(flag::READABLE);
        } else {
            entry.flags.set(flag::READABLE);
        }
    }

    /// Discards received bytes, so that the peer's window stays open until it receives our FIN.
    pub(super) fn discard_received(&mut self, id: ConnId) {
        let received = self.stack.received(flow_of(id));
        if received > 0 {
            self.stack.consume(flow_of(id), received);
        }
    }

    /// The flow is over; its number is free after this event.
    fn closed<Dr: Driver>(&mut self, driver: &mut Dr, id: ConnId, why: Closed, turn: &mut Turn) {
        let Some(entry) = self.table.get_mut(id) else {
            return;
        };
        let flags = entry.flags;
        entry.flags.set(flag::DEAD);
        entry.flags.clear(flag::BLOCKED);
        self.table.drop_queue(id);
        if flags.any(flag::ACCEPT_PENDING) {
            self.table.close(id);
            return;
        }
        turn.activity.events += 1;
        if flags.any(flag::DEAD) {
            // Our side ended it first, and the driver receives that.
            let why = if flags.any(flag::ABORT) {
                Closed::Aborted
            } else {
                Closed::Flushed
            };
            self.report_one(driver, id, why);
            return;
        }
        if flags.any(flag::CONNECTING) {
            let kind = match why {
                Closed::Failed(kind) => kind,
                _ => std::io::ErrorKind::ConnectionAborted,
            };
            self.table.close(id);
            driver.on_connect(self, id, Err(kind.into()));
            return;
        }
        driver.on_closed(self, id, why);
        self.table.close(id);
    }
}
