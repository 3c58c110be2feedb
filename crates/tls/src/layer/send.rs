//! Written content: it is collected in an open record and sealed into the send space of the transport below.

use hioload_transport::{ConnId, Connections, SendError};

use super::conn::{Conn, Pending, State, flag};
use super::state::{Tls, owner};
use crate::record::{KeyCache, KeyOwner, MAX_CONTENT, SealError, Session};

/// While a connection has sent fewer bytes than this, its records fit a segment: the peer opens the first one without waiting for
/// others, while the congestion window is small.
const YOUNG: u32 = 64 << 10;
/// Content bytes of such a record: 1,460 less the options of TCP and the overhead.
const YOUNG_RECORD: usize = 1400;
/// What a driver may write before the handshake is complete.
const EARLY: usize = 16 << 10;
/// Space is lent in one piece of at least this many bytes, so that a frame header is never split.
const CONTIGUOUS: usize = 256;
/// A new record has room for at least this many bytes, or for those that are wanted: more than a frame header.
const SHORTEST: usize = 16;
/// Estimates of the time to seal, in nanoseconds: for each record, and for each byte in 1 / 4.
const SEAL_COST: u32 = 300;
/// Of this many bytes below, at least all but one overhead are content, however short the pieces are.
const PIECE: usize = 200;

/// Bytes of content that are sure to fit, sealed, into `room` bytes below.
pub(super) fn content_room(room: usize, overhead: usize) -> usize {
    // A KeyUpdate, and the records that the first and the last piece may cost.
    let room = room.saturating_sub(4 * overhead);
    (room as u128 * PIECE as u128 / (PIECE + overhead) as u128) as usize
}

/// The outcome of sealing.
pub(super) enum Emitted {
    All,
    /// The space below is used up, after this many bytes of content.
    Part(usize),
    /// The connection below takes no more.
    Closed,
    /// The key may not be used any more.
    Exhausted,
}

/// What is needed to seal.
pub(super) struct Sealer<'a> {
    pub(super) session: &'a mut Session,
    pub(super) keys: &'a mut KeyCache,
    pub(super) owner: KeyOwner,
    pub(super) sent: &'a mut u32,
    pub(super) records: &'a mut u64,
    pub(super) updates: &'a mut u64,
    /// Nanoseconds that the driver is charged for later.
    pub(super) owed: &'a mut u32,
    /// Bytes of content in a record, once the connection is not young any more.
    pub(super) record: usize,
}

impl Sealer<'_> {
    fn limit(&self) -> usize {
        if *self.sent < YOUNG {
            YOUNG_RECORD.min(self.record)
        } else {
            self.record
        }
    }

    /// Seals `content` into the send space of connection `id`.
    pub(super) fn emit<C: Connections>(
        &mut self,
        below: &mut C,
        id: ConnId,
        content: &[u8],
    ) -> Emitted {
        let overhead = self.session.overhead();
        let mut at = 0;
        while at < content.len() {
            if self.session.needs_key_update() && !self.update_key(below, id) {
                return Emitted::Part(at);
            }
            let most = self.limit() + overhead;
            let want = (content.len() - at + overhead).min(most);
            let space = match below.send_space(id, want) {
                Ok(space) => space,
                Err(SendError::Closed) => return Emitted::Closed,
                Err(SendError::Full) => return Emitted::Part(at),
            };
            let most = most.min(space.len());
            let sealed =
                self.session
                    .seal(self.keys, self.owner, &content[at..], &mut space[..most]);
            match sealed {
                Ok((taken, written)) => {
                    below.commit(id, written);
                    at += taken;
                    *self.sent = self.sent.saturating_add(taken as u32);
                    *self.records += 1;
                    *self.owed = self.owed.saturating_add(SEAL_COST + written as u32 / 4);
                }
                Err(SealError::Space) => return Emitted::Part(at),
                Err(SealError::Exhausted) => return Emitted::Exhausted,
            }
        }
        Emitted::All
    }

    /// Sends a KeyUpdate. `false` if there is no space for it.
    pub(super) fn update_key<C: Connections>(&mut self, below: &mut C, id: ConnId) -> bool {
        let Ok(space) = below.send_space(id, self.session.key_update_len()) else {
            return false;
        };
        let Ok(n) = self.session.key_update(self.keys, self.owner, space) else {
            return false;
        };
        below.commit(id, n);
        *self.updates += 1;
        true
    }
}

impl Tls {
    /// The parts of the layer that sealing for one connection needs, and the connection's open record.
    pub(super) fn sealer(&mut self, id: ConnId) -> Option<Sealer<'_>> {
        let conn = self.conns.get_mut(id)?;
        let State::Open(session) = &mut conn.state else {
            return None;
        };
        Some(Sealer {
            session,
            keys: &mut self.keys,
            owner: owner(id),
            sent: &mut conn.sent,
            records: &mut self.stats.records_sent,
            updates: &mut self.stats.key_updates_sent,
            owed: &mut self.owed,
            record: self.options.record.clamp(1, MAX_CONTENT),
        })
    }

    /// Seals the open record of a connection. `false` if the space below did not suffice; then the rest stays in the record.
    pub(super) fn seal_staged<C: Connections>(&mut self, below: &mut C, id: ConnId) -> bool {
        let Some(staged) = self.conns.get(id).map(|conn| conn.staged) else {
            return true;
        };
        let mut staging = std::mem::take(&mut self.staging);
        let emitted = match (staging.get_mut(staged), self.sealer(id)) {
            (Some(record), Some(mut sealer)) => {
                let emitted = sealer.emit(below, id, &record.content[..record.used]);
                if let Emitted::Part(at) = emitted {
                    record.content.copy_within(at..record.used, 0);
                    record.used -= at;
                }
                emitted
            }
            _ => Emitted::All,
        };
        let done = !matches!(emitted, Emitted::Part(_));
        if done {
            staging.free(staged);
            if let Some(conn) = self.conns.get_mut(id) {
                conn.staged = 0;
            }
        }
        self.staging = staging;
        if let Emitted::Exhausted = emitted {
            self.exhausted(below, id);
        }
        done
    }

    /// Lends space in the open record of a connection.
    pub(super) fn lend<'a, C: Connections>(
        &'a mut self,
        below: &mut C,
        id: ConnId,
        want: usize,
    ) -> Result<&'a mut [u8], SendError> {
        let staged = self.open_record(below, id, want)?;
        let record = self.staging.get_mut(staged).ok_or(SendError::Full)?;
        Ok(&mut record.content[record.used..record.most])
    }

    fn open_record<C: Connections>(
        &mut self,
        below: &mut C,
        id: ConnId,
        want: usize,
    ) -> Result<u16, SendError> {
        let conn = self.conns.get(id).ok_or(SendError::Closed)?;
        let least = want.clamp(1, CONTIGUOUS);
        if let Some(record) = self.staging.get(conn.staged) {
            if record.most - record.used >= least {
                return Ok(conn.staged);
            }
            if !self.seal_staged(below, id) {
                return Err(SendError::Full);
            }
        } else if conn.shared_bytes() > 0 && !self.seal_shared(below, id) {
            // What was queued first is sent first.
            return Err(SendError::Full);
        }
        let sealer = self.sealer(id).ok_or(SendError::Closed)?;
        let (limit, overhead) = (sealer.limit(), sealer.session.overhead());
        // This reserves the chunk of the queue that the record is sealed into.
        let space = below.send_space(id, want.min(limit).max(1) + overhead)?;
        let most = space.len().saturating_sub(overhead).min(limit);
        if most < want.clamp(1, SHORTEST).min(limit) {
            return Err(SendError::Full);
        }
        let mut tried = 0;
        let staged = loop {
            match self.staging.open(id, most) {
                Some(staged) => break staged,
                None if tried < 64 => {
                    tried += 1;
                    if let Some(other) = self.staging.oldest() {
                        self.seal_staged(below, other);
                    }
                }
                None => return Err(SendError::Full),
            }
        };
        if let Some(conn) = self.conns.get_mut(id) {
            conn.staged = staged;
        }
        Ok(staged)
    }

    #[inline]
    pub(super) fn commit_content(&mut self, id: ConnId, n: usize) {
        let Some(conn) = self.conns.get(id) else {
            return;
        };
        if let Some(record) = self.staging.get_mut(conn.staged) {
            debug_assert!(n <= record.most - record.used);
            record.used = record.most.min(record.used + n);
        }
    }

    /// Bytes of content that are sure to be taken.
    pub(super) fn room<C: Connections>(&self, below: &C, conn: &Conn, id: ConnId) -> usize {
        if conn.is(flag::FAILED | flag::CLOSE | flag::FINISH) {
            return 0;
        }
        match &conn.state {
            State::Plain => below.send_room(id),
            State::Handshake(pending) => (EARLY - pending.early_len).min(below.send_room(id)),
            State::Open(session) => {
                let waiting = self.staging.used(conn.staged) + conn.shared_bytes();
                content_room(below.send_room(id), session.overhead()).saturating_sub(waiting)
            }
        }
    }

    /// Writes all of `bytes`, for which there was room.
    pub(super) fn write<C: Connections>(&mut self, below: &mut C, id: ConnId, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let Ok(space) = self.lend(below, id, bytes.len()) else {
                return;
            };
            let n = space.len().min(bytes.len());
            space[..n].copy_from_slice(&bytes[..n]);
            self.commit_content(id, n);
            bytes = &bytes[n..];
        }
    }

    /// A key of TLS 1.2 has protected as many records as it may: the connection ends, as it would by the peer's close.
    #[cold]
    pub(super) fn exhausted<C: Connections>(&mut self, below: &mut C, id: ConnId) {
        self.end_with(
            below,
            id,
            Some(crate::record::Alert::CloseNotify),
            std::io::ErrorKind::ConnectionAborted,
        );
    }
}

/// Lends space for what a driver writes before the handshake is complete.
pub(super) fn early_space(pending: &mut Pending, want: usize) -> Result<&mut [u8], SendError> {
    let at = pending.early_len;
    let n = want.min(EARLY - at);
    if n == 0 || n < want.min(CONTIGUOUS) {
        return Err(SendError::Full);
    }
    pending.early.resize(at + n, 0);
    Ok(&mut pending.early[at..])
}
