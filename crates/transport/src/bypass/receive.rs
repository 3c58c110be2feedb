//! The receiving half of a turn: what happened to flows, and visits to connections that have more to read.

use std::mem;

use hioload_device::{Device, Frame};
use hioload_tcp::{Event, EventFlags, FramePayload};

use super::Bypass;
use super::conns::{conn_of, flow_of};
use crate::slots::flag;
use crate::{Activity, Closed, ConnId, Driver, Peer, Rest, Taken};

/// Nothing is presented to these.
const SILENT: u32 = flag::DEAD | flag::CLOSE | flag::PAUSED | flag::WAITING;

/// What is left of a turn's budget, and what was done with it.
pub(super) struct Turn {
    pub(super) events: usize,
    pub(super) accepts: usize,
    pub(super) activity: Activity,
}

impl<D: Device> Bypass<D> {
    /// Tells the driver of established flows that waited.
    pub(super) fn accept_waiting<Dr: Driver>(&mut self, driver: &mut Dr, turn: &mut Turn) {
        while turn.accepts > 0 && self.may_accept() {
            let Some(id) = self.waiting.pop_front() else {
                return;
            };
            if self.conns.get(id).is_none() {
                continue;
            }
            self.welcome(driver, id, turn);
            if let Some(conn) = self.conns.living(id)
                && conn.flags.any(flag::READABLE | flag::END)
            {
                self.list(id);
            }
        }
    }

    /// Lets new connections come as long as not too many wait.
    pub(super) fn mind_backlog(&mut self) {
        let open = self.waiting.len() < self.options.backlog;
        if open != self.backlog_open {
            self.backlog_open = open;
            self.stack.set_accepting(open);
        }
    }

    /// Asks the driver whether it takes a connection.
    fn welcome<Dr: Driver>(&mut self, driver: &mut Dr, id: ConnId, turn: &mut Turn) {
        let Some(peer) = self.stack.peer(flow_of(id)) else {
            // The stack knows the ends of whatever it has not told the end of.
            self.conns.free(id);
            self.stack.abort(flow_of(id));
            return;
        };
        if let Some(conn) = self.conns.get_mut(id) {
            conn.flags.clear(flag::WAITING);
        }
        turn.accepts -= 1;
        turn.activity.events += 1;
        self.stats.accepted += 1;
        if !driver.on_accept(self, id, Peer::Ip(peer)) {
            // If the driver aborted it as well, the report about that will find the id stale.
            self.conns.free(id);
            self.stack.abort(flow_of(id));
        }
    }

    /// One event of a flow.
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
            self.conns.open(id, flag::WAITING);
            if turn.accepts > 0 && self.accepting && self.waiting.is_empty() {
                self.welcome(driver, id, turn);
            } else {
                self.waiting.push_back(id);
            }
        }
        if flags.contains(EventFlags::CONNECTED) {
            self.connected(driver, id, turn);
        }
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        if flags.contains(EventFlags::DATA) {
            conn.flags.set(flag::READABLE);
        }
        if flags.contains(EventFlags::END) {
            conn.flags.set(flag::END);
        }
        if flags.contains(EventFlags::SPACE)
            && conn.flags.any(flag::BLOCKED)
            && conn.flags.newly(flag::DIRTY)
        {
            self.dirty.push(id);
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
        let Some(conn) = self.conns.living(id) else {
            return;
        };
        conn.flags.clear(flag::CONNECTING);
        self.stats.connected += 1;
        turn.activity.events += 1;
        // What was queued meanwhile can leave.
        self.mark_dirty(id, 0);
        driver.on_connect(self, id, Ok(()));
    }

    /// Bytes or the end have come: the driver has them at once, or the connection is listed.
    fn arrived<Dr: Driver>(
        &mut self,
        driver: &mut Dr,
        id: ConnId,
        payload: Option<FramePayload<D::Frame>>,
        turn: &mut Turn,
    ) {
        let Some(conn) = self.conns.get(id) else {
            return;
        };
        if conn.flags.any(flag::CLOSE | flag::DEAD) {
            self.discard_received(id);
            return;
        }
        if conn.flags.any(SILENT | flag::LISTED) {
            return;
        }
        if turn.events == 0 {
            self.list(id);
            return;
        }
        turn.events -= 1;
        match payload {
            Some(payload) => self.present_in_place(driver, id, payload, turn),
            None => self.present_next(driver, id, turn),
        }
        self.after_presenting(driver, id, turn);
    }

    /// One listed connection has its turn.
    pub(super) fn visit<Dr: Driver>(&mut self, driver: &mut Dr, id: ConnId, turn: &mut Turn) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        conn.flags.clear(flag::LISTED);
        if conn.flags.any(SILENT) {
            return;
        }
        self.present_next(driver, id, turn);
        self.after_presenting(driver, id, turn);
    }

    /// The end, if it is time to tell of it; another visit, if there is more.
    fn after_presenting<Dr: Driver>(&mut self, driver: &mut Dr, id: ConnId, turn: &mut Turn) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let pending = flag::READABLE | flag::LATER;
        if conn.flags.any(flag::END)
            && !conn.flags.any(pending | SILENT)
            && conn.flags.newly(flag::END_TOLD)
        {
            turn.activity.events += 1;
            driver.on_end(self, id);
        }
        if let Some(conn) = self.conns.get_mut(id)
            && conn.flags.any(pending)
            && !conn.flags.any(SILENT)
            && conn.flags.newly(flag::LISTED)
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
        self.took(id, n, took, taken.rest);
    }

    /// Lends the driver what it left, if it wanted that later; else that and what has come since.
    fn present_next<Dr: Driver>(&mut self, driver: &mut Dr, id: ConnId, turn: &mut Turn) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let left = conn.lent as usize;
        let later = conn.flags.any(flag::LATER);
        if !later && !conn.flags.any(flag::READABLE) {
            return;
        }
        conn.flags.clear(flag::LATER);
        let new = if later { 0 } else { self.options.rx_buffer };
        // The stack's memory cannot be lent while the driver has the transport; and what is not the next segment in an
        // empty ring is rare.
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
            self.took(id, n, took, rest);
        } else if let Some(conn) = self.conns.get_mut(id) {
            conn.flags.clear(flag::READABLE);
        }
        self.scratch = scratch;
    }

    /// The driver took `took` of `n` bytes from the front of what was received.
    fn took(&mut self, id: ConnId, n: usize, took: usize, rest: Rest) {
        let flow = flow_of(id);
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        self.stack.consume(flow, took);
        // A ring is at most a few megabytes.
        conn.lent = (n - took) as u32;
        if took < n && rest == Rest::Later {
            conn.flags.set(flag::LATER);
        }
        if self.stack.received(flow) == n - took {
            conn.flags.clear(flag::READABLE);
        } else {
            conn.flags.set(flag::READABLE);
        }
    }

    /// Takes what nobody will read, so that the peer may go on until it has heard of the end.
    pub(super) fn discard_received(&mut self, id: ConnId) {
        let received = self.stack.received(flow_of(id));
        if received > 0 {
            self.stack.consume(flow_of(id), received);
        }
    }

    /// The flow is over; its number is free after this event.
    fn closed<Dr: Driver>(&mut self, driver: &mut Dr, id: ConnId, why: Closed, turn: &mut Turn) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let flags = conn.flags;
        conn.flags.set(flag::DEAD);
        conn.flags.clear(flag::BLOCKED);
        self.conns.drop_queue(id);
        if flags.any(flag::WAITING) {
            self.conns.free(id);
            return;
        }
        turn.activity.events += 1;
        if flags.any(flag::DEAD) {
            // It ended by our side first, and the driver is owed that.
            self.tell_ended(driver, id);
            return;
        }
        if flags.any(flag::CONNECTING) {
            let kind = match why {
                Closed::Failed(kind) => kind,
                _ => std::io::ErrorKind::ConnectionAborted,
            };
            self.conns.free(id);
            driver.on_connect(self, id, Err(kind.into()));
            return;
        }
        driver.on_closed(self, id, why);
        self.conns.free(id);
    }
}
