//! Sending to one connection: messages, control frames, and the send policy.

use hioload_mem::Shared;
use hioload_transport::{ConnId, Connections, SendError as Refused};
use hioload_ws_proto::header::MAX_HEADER;
use hioload_ws_proto::{CloseCode, CloseFrame, Compressor, Deflation, Kind, OpCode, encode, mask};

use crate::config::SendPolicy;
use crate::core::Core;
use crate::counters::LcoreCounters;
use crate::handler::{ClosedBy, SendError};
use crate::session::{Phase, SessionFlags};
use crate::work::{Work, cost};

/// RSV1 marks a compressed message (RFC 7692 §6).
pub(crate) const COMPRESSED: bool = true;
pub(crate) const PLAIN: bool = false;

impl<E: Send + 'static> Core<E> {
    /// Queues a message on an open connection, under the send policy.
    #[inline]
    pub(crate) fn send_message<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        kind: Kind,
        payload: &[u8],
    ) -> Result<(), SendError> {
        let policy = self.tunables.limits.send_policy;
        self.send_under(io, id, policy, kind, payload)
    }

    /// Queues a message on an open connection, under `policy`. A connection may have a compressor that spans messages, so that
    /// only the send policy may be to drop old ones.
    #[inline]
    pub(crate) fn send_under<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        policy: SendPolicy,
        kind: Kind,
        payload: &[u8],
    ) -> Result<(), SendError> {
        // RFC 6455 §5.6: "The "Payload data" is text data encoded as UTF-8."
        debug_assert!(
            kind == Kind::Binary || std::str::from_utf8(payload).is_ok(),
            "a text message has to be UTF-8"
        );
        match self.session(id) {
            Some(session) if session.phase == Phase::Open => {
                if session.has(SessionFlags::DEFLATE) {
                    return self.send_compressed(io, id, policy, kind, payload);
                }
            }
            // RFC 6455 §4.1: "the client MUST wait for a response from the server before sending any further data."
            // §5.5.1: "The application MUST NOT send any more data frames after sending a Close frame."
            _ => return Err(SendError::Closed),
        }
        self.send_data(io, id, policy, (kind, PLAIN), payload)
    }

    #[cold]
    fn send_compressed<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        policy: SendPolicy,
        kind: Kind,
        payload: &[u8],
    ) -> Result<(), SendError> {
        // A compressed message that the policy then drops would leave a gap in the window of a compressor that spans
        // messages, so room is made before.
        self.make_room(io, id, policy, payload.len())?;
        let deflation = self.take_deflation(id);
        // The compressor's output is lent; the rest of the core is needed to send it.
        let (Some(mut compressor), Some(mut deflation)) = (self.compressor.take(), deflation)
        else {
            return self.send_data(io, id, policy, (kind, PLAIN), payload);
        };
        charge_compressing(&mut self.work, &self.counters, &compressor, payload.len());
        let result = match compressor.compress(&mut deflation, payload) {
            Some(small) => self.send_data(io, id, policy, (kind, COMPRESSED), small),
            None => self.send_data(io, id, policy, (kind, PLAIN), payload),
        };
        if result.is_err() {
            // The peer does not receive the message, so no later one may refer to it.
            forget(&mut deflation);
        }
        self.compressor = Some(compressor);
        // The connection may have begun to close, but it is still there.
        self.sessions[id.index as usize].extra().deflate = Some(deflation);
        result
    }

    #[inline]
    fn send_data<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        policy: SendPolicy,
        (kind, rsv1): (Kind, bool),
        payload: &[u8],
    ) -> Result<(), SendError> {
        self.work.add(cost::SEND + cost::of_bytes(payload.len()));
        if io.queued(id) >= self.tunables.limits.send_queue {
            self.make_room(io, id, policy, payload.len())?;
        }
        let apart = policy == SendPolicy::DropOldest
            && io.is_blocked(id)
            && self.published.bytes() <= self.tunables.limits.published_memory;
        if apart {
            self.send_droppable(io, id, kind, rsv1, payload)?;
        } else {
            self.write_frame(io, id, kind.into(), rsv1, payload)
                .or_else(|e| self.no_room(io, id, policy, e))?;
        }
        self.counters.messages_out.bump();
        Ok(())
    }

    /// Queues a message as `frames` frames, under the send policy: all of them or none.
    pub(crate) fn send_in_frames<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        kind: Kind,
        payload: &[u8],
        frames: usize,
    ) -> Result<(), SendError> {
        if frames <= 1 || payload.len() <= 1 {
            return self.send_message(io, id, kind, payload);
        }
        let deflation = match self.session(id) {
            Some(session) if session.phase == Phase::Open => {
                let compresses = session.has(SessionFlags::DEFLATE);
                compresses.then(|| self.take_deflation(id)).flatten()
            }
            _ => return Err(SendError::Closed),
        };
        let policy = self.tunables.limits.send_policy;
        if io.queued(id) >= self.tunables.limits.send_queue
            && let Err(error) = self.make_room(io, id, policy, payload.len())
        {
            self.put_back(id, deflation);
            return Err(error);
        }
        // The compressor is the lcore's: it is taken only for a connection that compresses.
        let Some(mut deflation) = deflation else {
            return self.write_fragments(io, id, (kind, PLAIN), payload, frames);
        };
        let Some(mut compressor) = self.compressor.take() else {
            self.put_back(id, Some(deflation));
            return self.write_fragments(io, id, (kind, PLAIN), payload, frames);
        };
        charge_compressing(&mut self.work, &self.counters, &compressor, payload.len());
        let result = match compressor.compress(&mut deflation, payload) {
            Some(small) => self.write_fragments(io, id, (kind, COMPRESSED), small, frames),
            None => self.write_fragments(io, id, (kind, PLAIN), payload, frames),
        };
        if result.is_err() {
            forget(&mut deflation);
        }
        self.compressor = Some(compressor);
        self.put_back(id, Some(deflation));
        result
    }

    /// Takes the compression state of a connection. Under drop-oldest, which may be newer than the connection, a message must
    /// not refer to an earlier one, which may be dropped. A sender may always use no context takeover (RFC 7692 §7.1.1).
    fn take_deflation(&mut self, id: ConnId) -> Option<Deflation> {
        let drops = self.tunables.limits.send_policy == SendPolicy::DropOldest;
        let extra = self.sessions[id.index as usize].extra();
        match extra.deflate.take() {
            Some(Deflation::Own { .. }) if drops => Some(Deflation::Shared {
                window_bits: extra.window_bits,
            }),
            deflation => deflation,
        }
    }

    fn put_back(&mut self, id: ConnId, deflation: Option<Deflation>) {
        if deflation.is_some() {
            self.sessions[id.index as usize].extra().deflate = deflation;
        }
    }

    // RFC 6455 §5.4: "A fragmented message consists of a single frame with the FIN bit clear and an opcode other than 0,
    // followed by zero or more frames with the FIN bit clear and the opcode set to 0, and terminated by a single frame
    // with the FIN bit set and an opcode of 0." RFC 7692 §6.1: RSV1 is set on the first frame alone.
    fn write_fragments<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        (kind, rsv1): (Kind, bool),
        payload: &[u8],
        frames: usize,
    ) -> Result<(), SendError> {
        let frames = frames.clamp(1, payload.len().max(1));
        let policy = self.tunables.limits.send_policy;
        // There is room for every frame, because the check included every header.
        if io.send_room(id) < payload.len() + frames * MAX_HEADER {
            return self.no_room(io, id, policy, Refused::Full);
        }
        let mut from = 0;
        for frame in 0..frames {
            let to = payload.len() * (frame + 1) / frames;
            let (opcode, rsv1) = match frame {
                0 => (kind.into(), rsv1),
                _ => (OpCode::Continuation, PLAIN),
            };
            let last = frame + 1 == frames;
            self.write_part(io, id, (opcode, last, rsv1), &payload[from..to])
                .or_else(|e| self.no_room(io, id, policy, e))?;
            from = to;
        }
        self.counters.messages_out.bump();
        Ok(())
    }

    /// Queues a Ping on an open connection.
    pub(crate) fn send_ping<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        payload: &[u8],
    ) -> Result<(), SendError> {
        match self.session(id).map(|s| s.phase) {
            Some(Phase::Open) => self.send_control(io, id, OpCode::Ping, payload),
            _ => Err(SendError::Closed),
        }
    }

    /// Writes one frame that is a whole message, whole or not at all.
    #[inline]
    fn write_frame<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        opcode: OpCode,
        rsv1: bool,
        payload: &[u8],
    ) -> Result<(), Refused> {
        self.write_part(io, id, (opcode, true, rsv1), payload)
    }

    /// Writes one frame into the connection's send space, whole or not at all.
    #[inline]
    fn write_part<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        (opcode, fin, rsv1): (OpCode, bool, bool),
        payload: &[u8],
    ) -> Result<(), Refused> {
        // RFC 6455 §5.1: "a client MUST mask all frames that it sends to the server". "A server MUST NOT mask any
        // frames that it sends to the client." §5.3: "When preparing a masked frame, the client MUST pick a fresh
        // masking key from the set of allowed 32-bit values."
        let client = self.sessions[id.index as usize].has(SessionFlags::CLIENT);
        let key = client.then(|| self.mask_key());
        if fin
            && !rsv1
            && let Some((word, head)) = encode::header_word(opcode, key, payload.len())
        {
            let total = head + payload.len();
            let space = io.send_space(id, total)?;
            // The eight bytes of the word go in with one store; those behind the header are then the payload's.
            if space.len() >= total
                && let Some(first) = space.first_chunk_mut()
            {
                *first = word;
                put(&mut space[head..total], payload, key);
                io.commit(id, total);
                return Ok(());
            }
        }
        self.write_any(io, id, (opcode, fin, rsv1), key, payload)
    }

    /// [`write_part`](Self::write_part) for payloads that are long or in parts, or if the send space is small.
    fn write_any<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        (opcode, fin, rsv1): (OpCode, bool, bool),
        key: Option<[u8; 4]>,
        payload: &[u8],
    ) -> Result<(), Refused> {
        let mut header = [0; MAX_HEADER];
        let head = encode::header(&mut header, fin, rsv1, opcode, key, payload.len());
        let total = head + payload.len();

        let space = io.send_space(id, total)?;
        if let Some(space) = space.get_mut(..total) {
            let (to_head, to_payload) = space.split_at_mut(head);
            to_head.copy_from_slice(&header[..head]);
            put(to_payload, payload, key);
            io.commit(id, total);
            return Ok(());
        }
        self.write_long(io, id, &header[..head], key, payload)
    }

    /// A frame that does not fit one piece of send space.
    #[cold]
    pub(crate) fn write_long<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        header: &[u8],
        key: Option<[u8; 4]>,
        payload: &[u8],
    ) -> Result<(), Refused> {
        if io.send_room(id) < header.len() + payload.len() {
            return Err(Refused::Full);
        }
        let mut put = |mut bytes: &[u8], key: Option<[u8; 4]>| {
            let mut offset = 0;
            while !bytes.is_empty() {
                let space = io.send_space(id, bytes.len())?;
                let n = space.len().min(bytes.len());
                match key {
                    None => space[..n].copy_from_slice(&bytes[..n]),
                    Some(key) => mask::copy(&mut space[..n], &bytes[..n], key, offset),
                }
                io.commit(id, n);
                offset += n;
                bytes = &bytes[n..];
            }
            Ok(())
        };
        put(header, None)?;
        put(payload, key)
    }

    /// A frame in its own allocation, which the drop-oldest policy can drop as a whole.
    #[cold]
    fn send_droppable<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        kind: Kind,
        rsv1: bool,
        payload: &[u8],
    ) -> Result<(), SendError> {
        let key = self.sessions[id.index as usize]
            .has(SessionFlags::CLIENT)
            .then(|| self.mask_key());
        let mut frame = Vec::new();
        encode::fragment_into(&mut frame, true, rsv1, kind.into(), payload, key);
        io.send_shared(id, Shared::from(frame).local_in(&self.published), true)
            .or_else(|e| self.no_room(io, id, SendPolicy::DropOldest, e))
    }

    /// The send queue is full: applies the policy. `Ok` if there is room for another message now.
    #[cold]
    pub(crate) fn make_room<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        policy: SendPolicy,
        len: usize,
    ) -> Result<(), SendError> {
        let limit = self.tunables.limits.send_queue;
        if io.queued(id) < limit {
            return Ok(());
        }
        self.counters.send_queue_full.bump();
        // Published messages that may be dropped give way to every other: what others publish closes no connection.
        let drops = [policy, self.tunables.limits.publish_policy];
        if drops.contains(&SendPolicy::DropOldest) {
            let target = limit.saturating_sub(len).max(1);
            while io.queued(id) >= target && io.drop_oldest(id).is_some() {
                self.counters.dropped_oldest.bump();
            }
            if io.queued(id) < limit {
                return Ok(());
            }
        }
        self.refuse(io, id, policy)
    }

    /// The transport had no room: its buffer pool is empty, or the remaining buffers are not for a blocked connection. Applies
    /// the policy.
    #[cold]
    pub(crate) fn no_room<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        policy: SendPolicy,
        error: Refused,
    ) -> Result<(), SendError> {
        match error {
            Refused::Closed => Err(SendError::Closed),
            Refused::Full => {
                self.counters.send_queue_full.bump();
                self.refuse(io, id, policy)
            }
        }
    }

    fn refuse<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        policy: SendPolicy,
    ) -> Result<(), SendError> {
        match policy {
            SendPolicy::DropNew | SendPolicy::DropOldest => self.counters.dropped_new.bump(),
            SendPolicy::Close => {
                self.counters.closed_slow.bump();
                self.begin_close(
                    io,
                    id,
                    CloseCode::TRY_AGAIN_LATER,
                    "send queue is full",
                    ClosedBy::Engine,
                );
            }
        }
        Err(SendError::Full)
    }

    /// Queues a control frame, past the bound of the send queue: answers to pings and Close frames are few and small, since
    /// a connection whose queue is full is not read.
    pub(crate) fn send_control<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        opcode: OpCode,
        payload: &[u8],
    ) -> Result<(), SendError> {
        let payload = &payload[..payload.len().min(125)];
        self.write_frame(io, id, opcode, PLAIN, payload)
            .map_err(|e| match e {
                Refused::Closed => SendError::Closed,
                Refused::Full => SendError::Full,
            })
    }

    /// Sends Close and awaits the peer's (RFC 6455 §7.1.2). Nothing happens unless the connection is open.
    // §7.1.2: "an endpoint MUST send a Close control frame, as described in Section 5.5.1, whose status code is set to
    // /code/ and whose close reason is set to /reason/."
    pub(crate) fn begin_close<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        code: CloseCode,
        reason: &str,
        by: ClosedBy,
    ) {
        match self.session(id).map(|s| s.phase) {
            Some(Phase::Open) => {
                self.set_closed_by(id.index, by);
                let said = Some(code).filter(|code| code.is_valid_on_wire());
                let first = self.sessions[id.index as usize].closing.start(said);
                debug_assert!(first, "an open connection has sent no Close");
                self.send_close(io, id, code, reason);
                // The peer's Close can only be seen if we read.
                io.resume(id);
                self.sessions[id.index as usize]
                    .clear(SessionFlags::PAUSED | SessionFlags::THROTTLED);
                self.enter(id.index, Phase::Closing);
            }
            Some(Phase::Request | Phase::Connecting | Phase::Reply) => {
                self.set_closed_by(id.index, by);
                self.abort_transport(io, id);
            }
            _ => {}
        }
    }

    /// Writes the Close frame. Without room for it, the connection is reset after `close_timeout`.
    pub(crate) fn send_close<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        code: CloseCode,
        reason: &str,
    ) {
        let mut payload = [0; 125];
        // RFC 6455 §7.4.1: "1005 is a reserved value and MUST NOT be set as a status code in a Close control frame by
        // an endpoint.": an empty Close has the same meaning. 1006 and 1015 must not be sent either.
        let len = if code.is_valid_on_wire() {
            CloseFrame { code, reason }.write(&mut payload)
        } else {
            0
        };
        let _ = self.send_control(io, id, OpCode::Close, &payload[..len]);
    }
}

/// Copies a payload to where it is sent from, masked if there is a key.
#[inline]
fn put(to: &mut [u8], payload: &[u8], key: Option<[u8; 4]>) {
    match key {
        None => to.copy_from_slice(payload),
        Some(key) => mask::copy(to, payload, key, 0),
    }
}

/// Counts the work of compressing a message, or that it is too long to be compressed.
pub(crate) fn charge_compressing(
    work: &mut Work,
    counters: &LcoreCounters,
    compressor: &Compressor,
    len: usize,
) {
    if compressor.is_too_long(len) {
        counters.deflate_skipped.bump();
    } else {
        work.add(cost::of_compressing(len));
    }
}

/// Clears the context of a compressor that spans messages.
pub(crate) fn forget(deflation: &mut Deflation) {
    if let Deflation::Own { deflater, .. } = deflation {
        deflater.reset();
    }
}
