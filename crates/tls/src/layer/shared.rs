//! Shared payloads: each is sealed from its own memory, in the flush, so that it can be dropped until then.

use hioload_mem::LocalShared;
use hioload_transport::{ConnId, Connections, Driver, SendError};

use super::conn::flag;
use super::send::Emitted;
use super::state::Tls;

/// Payloads of fewer bytes are copied together into one record; a record of its own costs more than the copy.
const COPY_BELOW: usize = 1024;
/// The most content bytes of such a record.
const TOGETHER: usize = 16 << 10;
/// Payloads that may wait besides one for each [`BYTES_PER_SHARED`] bytes of room.
const SHARED_FREE: usize = 64;
const BYTES_PER_SHARED: usize = 64;

impl Tls {
    /// Queues a shared payload of a connection with a session.
    pub(super) fn queue_shared<C: Connections>(
        &mut self,
        below: &mut C,
        id: ConnId,
        payload: LocalShared,
        droppable: bool,
    ) -> Result<(), SendError> {
        let conn = self.conns.get(id).ok_or(SendError::Closed)?;
        if conn.is(flag::FAILED | flag::CLOSE | flag::FINISH) {
            return Err(SendError::Closed);
        }
        let room = self.room(below, conn, id);
        if payload.len() > room {
            return Err(SendError::Full);
        }
        if payload.is_empty() {
            return Ok(());
        }
        if conn.staged > 0 {
            let fits = self
                .staging
                .get(conn.staged)
                .is_some_and(|record| payload.len() <= record.most - record.used);
            if fits && !droppable && payload.len() < COPY_BELOW {
                self.write(below, id, &payload);
                return Ok(());
            }
            if !self.seal_staged(below, id) {
                return Err(SendError::Full);
            }
        }
        let blocked = below.is_blocked(id);
        let extra = self.extra(id).ok_or(SendError::Closed)?;
        if extra.shared.len() >= SHARED_FREE + room / BYTES_PER_SHARED {
            return Err(SendError::Full);
        }
        extra.shared_bytes += payload.len();
        extra.shared.push_back((payload, droppable));
        if !blocked
            && let Some(conn) = self.conns.get_mut(id)
            && conn.newly(flag::FANNED)
        {
            self.fanned.push_back(id);
        }
        Ok(())
    }

    /// Takes back the oldest payload that may be dropped and was not sealed.
    pub(super) fn drop_shared(&mut self, id: ConnId) -> Option<usize> {
        let extra = self.conns.get_mut(id)?.extra.as_mut()?;
        let begun = usize::from(extra.shared_sealed > 0);
        let at = extra
            .shared
            .iter()
            .skip(begun)
            .position(|(_, droppable)| *droppable)?;
        let (payload, _) = extra.shared.remove(begun + at)?;
        extra.shared_bytes -= payload.len();
        self.trim(id);
        Some(payload.len())
    }

    /// Seals the payloads of a connection. `false` if the space below did not suffice; then the rest waits.
    pub(super) fn seal_shared<C: Connections>(&mut self, below: &mut C, id: ConnId) -> bool {
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut exhausted = false;
        let done = loop {
            let Some(extra) = self.conns.get_mut(id).and_then(|conn| conn.extra.as_mut()) else {
                break true;
            };
            let Some((first, _)) = extra.shared.front() else {
                break true;
            };
            let sealed = extra.shared_sealed;
            scratch.clear();
            let mut count = 1;
            let payload = first.clone();
            if sealed == 0 && payload.len() < COPY_BELOW {
                count = together(&extra.shared, &mut scratch);
            }
            let bytes = if count > 1 {
                &scratch[..]
            } else {
                &payload[sealed..]
            };
            let Some(mut sealer) = self.sealer(id) else {
                break true;
            };
            // All of it or nothing: what is begun cannot be dropped any more.
            let emitted = sealer.emit(below, id, bytes);
            let all = bytes.len();
            exhausted = matches!(emitted, Emitted::Exhausted);
            if !self.sealed(id, count, all, &emitted) {
                break exhausted || matches!(emitted, Emitted::Closed);
            }
        };
        self.scratch = scratch;
        self.trim(id);
        if exhausted {
            self.exhausted(below, id);
        }
        done
    }

    /// Removes what was sealed of the first `count` payloads. Returns whether to go on.
    fn sealed(&mut self, id: ConnId, count: usize, all: usize, emitted: &Emitted) -> bool {
        let Some(extra) = self.conns.get_mut(id).and_then(|conn| conn.extra.as_mut()) else {
            return false;
        };
        let mut n = match emitted {
            Emitted::All => all,
            Emitted::Part(n) => *n,
            Emitted::Closed | Emitted::Exhausted => {
                extra.shared.clear();
                (extra.shared_bytes, extra.shared_sealed) = (0, 0);
                return false;
            }
        };
        extra.shared_bytes -= n;
        for _ in 0..count {
            let Some((payload, _)) = extra.shared.front() else {
                break;
            };
            let rest = payload.len() - extra.shared_sealed;
            if n < rest {
                extra.shared_sealed += n;
                return false;
            }
            n -= rest;
            extra.shared_sealed = 0;
            extra.shared.pop_front();
        }
        matches!(emitted, Emitted::All)
    }

    /// Seals the payloads of the connections that have some, until the driver is exhausted.
    pub(super) fn flush_shared<C: Connections, D: Driver>(&mut self, below: &mut C, above: &mut D) {
        for visited in 0..self.fanned.len() {
            if visited > 0 && above.is_exhausted() {
                break;
            }
            let Some(id) = self.fanned.pop_front() else {
                break;
            };
            self.round_left = self.round_left.saturating_sub(1);
            let Some(conn) = self.conns.get_mut(id) else {
                continue;
            };
            conn.clear(flag::FANNED);
            let bytes = conn.shared_bytes();
            if bytes == 0 || below.is_blocked(id) {
                // What waits on a blocked connection can be dropped until the network takes bytes again.
                continue;
            }
            let done = self.seal_shared(below, id);
            self.charge(above);
            if !done {
                self.list_stuck(below, id);
            }
        }
        if self.round_left == 0 {
            self.round_left = self.fanned.len();
            self.rounds += 1;
        }
    }
}

/// Copies the small payloads at the front that fit a record. Returns their number; with one, nothing was copied.
fn together(shared: &std::collections::VecDeque<(LocalShared, bool)>, to: &mut Vec<u8>) -> usize {
    let mut bytes = 0;
    let small = shared.iter().take_while(|(payload, _)| {
        bytes += payload.len();
        payload.len() < COPY_BELOW && bytes <= TOGETHER
    });
    let count = small.count();
    if count > 1 {
        for (payload, _) in shared.iter().take(count) {
            to.extend_from_slice(payload);
        }
    }
    count.max(1)
}
