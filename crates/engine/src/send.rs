//! Frames out: one message, one control frame, or one published message to many.

use std::sync::Arc;

use hioload_mem::{LocalShared, Shared};
use hioload_transport::{ConnId, SendError as Refused, Transport};
use hioload_ws_proto::header::MAX_HEADER;
use hioload_ws_proto::{CloseCode, CloseFrame, Deflation, Kind, OpCode, encode, mask};

use crate::config::SendPolicy;
use crate::core::{Core, SUBSCRIBER_IS_LCORE};
use crate::handler::{ClosedBy, SendError, TopicError};
use crate::mail::Mail;
use crate::session::{Phase, flag};
use crate::topics::is_topic;

/// RSV1 marks a compressed message (RFC 7692 §6).
const COMPRESSED: bool = true;
const PLAIN: bool = false;

impl<E: Send + 'static> Core<E> {
    /// Queues a message on an open connection, under the send policy.
    #[inline]
    pub(crate) fn send_message<T: Transport>(
        &mut self,
        io: &mut T,
        id: ConnId,
        kind: Kind,
        payload: &[u8],
    ) -> Result<(), SendError> {
        match self.session(id) {
            Some(session) if session.phase == Phase::Open => {
                if session.has(flag::DEFLATE) {
                    return self.send_compressed(io, id, kind, payload);
                }
            }
            _ => return Err(SendError::Closed),
        }
        self.send_data(io, id, kind, PLAIN, payload)
    }

    #[cold]
    fn send_compressed<T: Transport>(
        &mut self,
        io: &mut T,
        id: ConnId,
        kind: Kind,
        payload: &[u8],
    ) -> Result<(), SendError> {
        // A compressed message that the policy then drops would leave a gap in the window of a compressor that spans
        // messages, so room is made before.
        self.make_room(io, id, payload.len())?;
        let deflation = self.sessions[id.index as usize].extra().deflate.take();
        // The compressor's output is lent; the rest of the core is needed to send it.
        let (Some(mut compressor), Some(mut deflation)) = (self.compressor.take(), deflation)
        else {
            return self.send_data(io, id, kind, PLAIN, payload);
        };
        let result = match compressor.compress(&mut deflation, payload) {
            Some(small) => self.send_data(io, id, kind, COMPRESSED, small),
            None => self.send_data(io, id, kind, PLAIN, payload),
        };
        if result.is_err() {
            // The peer will not see it: nothing later may refer to it.
            forget(&mut deflation);
        }
        self.compressor = Some(compressor);
        // The connection may have begun to close, but it is still there.
        self.sessions[id.index as usize].extra().deflate = Some(deflation);
        result
    }

    #[inline]
    fn send_data<T: Transport>(
        &mut self,
        io: &mut T,
        id: ConnId,
        kind: Kind,
        rsv1: bool,
        payload: &[u8],
    ) -> Result<(), SendError> {
        if io.queued(id) >= self.config.limits.send_queue {
            self.make_room(io, id, payload.len())?;
        }
        if self.config.limits.send_policy == SendPolicy::DropOldest && io.is_blocked(id) {
            self.send_droppable(io, id, kind, rsv1, payload)?;
        } else {
            self.write_frame(io, id, kind.into(), rsv1, payload)
                .or_else(|e| self.no_room(io, id, e))?;
        }
        self.counters.messages_out.bump();
        Ok(())
    }

    /// Writes one frame into the connection's send space, whole or not at all.
    #[inline]
    fn write_frame<T: Transport>(
        &mut self,
        io: &mut T,
        id: ConnId,
        opcode: OpCode,
        rsv1: bool,
        payload: &[u8],
    ) -> Result<(), Refused> {
        let client = self.sessions[id.index as usize].has(flag::CLIENT);
        let key = client.then(|| self.mask_key());
        let mut header = [0; MAX_HEADER];
        let head = encode::header(&mut header, true, rsv1, opcode, key, payload.len());
        let total = head + payload.len();

        let space = io.send_space(id, total)?;
        if let Some(space) = space.get_mut(..total) {
            let (to_head, to_payload) = space.split_at_mut(head);
            to_head.copy_from_slice(&header[..head]);
            match key {
                None => to_payload.copy_from_slice(payload),
                Some(key) => mask::copy(to_payload, payload, key, 0),
            }
            io.commit(id, total);
            return Ok(());
        }
        self.write_long(io, id, &header[..head], key, payload)
    }

    /// A frame that does not fit one piece of send space.
    #[cold]
    fn write_long<T: Transport>(
        &mut self,
        io: &mut T,
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

    /// A frame as an allocation of its own, which the drop-oldest policy can take back whole.
    #[cold]
    fn send_droppable<T: Transport>(
        &mut self,
        io: &mut T,
        id: ConnId,
        kind: Kind,
        rsv1: bool,
        payload: &[u8],
    ) -> Result<(), SendError> {
        let key = self.sessions[id.index as usize]
            .has(flag::CLIENT)
            .then(|| self.mask_key());
        let mut frame = Vec::new();
        encode::fragment_into(&mut frame, true, rsv1, kind.into(), payload, key);
        io.send_shared(id, Shared::from(frame).local(), true)
            .or_else(|e| self.no_room(io, id, e))
    }

    /// The send queue is full: applies the policy. `Ok` if there is room for another message now.
    #[cold]
    fn make_room<T: Transport>(
        &mut self,
        io: &mut T,
        id: ConnId,
        len: usize,
    ) -> Result<(), SendError> {
        let limit = self.config.limits.send_queue;
        if io.queued(id) < limit {
            return Ok(());
        }
        self.counters.send_queue_full.bump();
        if self.config.limits.send_policy == SendPolicy::DropOldest {
            let target = limit.saturating_sub(len).max(1);
            while io.queued(id) >= target && io.drop_oldest(id).is_some() {
                self.counters.dropped_oldest.bump();
            }
            if io.queued(id) < limit {
                return Ok(());
            }
        }
        self.refuse(io, id)
    }

    /// The transport itself had no room (its buffer pool is used up, or what is left is not for a connection that is
    /// blocked): the policy again.
    #[cold]
    fn no_room<T: Transport>(
        &mut self,
        io: &mut T,
        id: ConnId,
        error: Refused,
    ) -> Result<(), SendError> {
        match error {
            Refused::Closed => Err(SendError::Closed),
            Refused::Full => {
                self.counters.send_queue_full.bump();
                self.refuse(io, id)
            }
        }
    }

    fn refuse<T: Transport>(&mut self, io: &mut T, id: ConnId) -> Result<(), SendError> {
        match self.config.limits.send_policy {
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
    pub(crate) fn send_control<T: Transport>(
        &mut self,
        io: &mut T,
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
    pub(crate) fn begin_close<T: Transport>(
        &mut self,
        io: &mut T,
        id: ConnId,
        code: CloseCode,
        reason: &str,
        by: ClosedBy,
    ) {
        match self.session(id).map(|s| s.phase) {
            Some(Phase::Open) => {
                self.blame(id.index, by);
                let said = Some(code).filter(|code| code.is_valid_on_wire());
                let first = self.sessions[id.index as usize].closing.start(said);
                debug_assert!(first, "an open connection has sent no Close");
                self.send_close(io, id, code, reason);
                // The peer's Close can only be seen if we read.
                io.resume(id);
                self.sessions[id.index as usize].flags &= !(flag::PAUSED | flag::THROTTLED);
                self.enter(id.index, Phase::Closing);
            }
            Some(Phase::Request | Phase::Connecting | Phase::Reply) => {
                self.blame(id.index, by);
                self.abort_transport(io, id);
            }
            _ => {}
        }
    }

    /// The Close frame itself. If even that finds no room the connection is reset when the close time is over.
    pub(crate) fn send_close<T: Transport>(
        &mut self,
        io: &mut T,
        id: ConnId,
        code: CloseCode,
        reason: &str,
    ) {
        let mut payload = [0; 125];
        // "1005 is a reserved value and MUST NOT be set as a status code in a Close control frame" (RFC 6455 §7.4.1): an empty
        // Close says the same.
        let len = if code.is_valid_on_wire() {
            CloseFrame { code, reason }.write(&mut payload)
        } else {
            0
        };
        let _ = self.send_control(io, id, OpCode::Close, &payload[..len]);
    }

    /// Sends a message to all subscribers of `topic`, here and on the other lcores.
    pub(crate) fn publish<T: Transport>(
        &mut self,
        io: &mut T,
        topic: &str,
        kind: Kind,
        payload: &[u8],
    ) -> Result<usize, TopicError> {
        if !is_topic(topic) {
            return Err(TopicError::Invalid);
        }
        self.counters.published.bump();
        let mut targets = std::mem::take(&mut self.targets);
        targets.clear();
        self.topics
            .matches(topic, |subscriber| targets.push(subscriber));
        let mut reached = 0;
        if !targets.is_empty() {
            let frame = encode_shared(kind, payload);
            self.pass_on(&targets, topic, kind, &frame);
            reached = self.deliver(io, &targets, kind, &Encoded::new(frame, payload.len()));
        }
        self.targets = targets;
        Ok(reached)
    }

    /// Delivers a message that another lcore published.
    pub(crate) fn publish_here<T: Transport>(
        &mut self,
        io: &mut T,
        topic: &str,
        kind: Kind,
        frame: Shared,
    ) {
        let mut targets = std::mem::take(&mut self.targets);
        targets.clear();
        self.topics.matches(topic, |subscriber| {
            if subscriber & SUBSCRIBER_IS_LCORE == 0 {
                targets.push(subscriber);
            }
        });
        let payload_len = frame.len() - server_header_len(&frame);
        self.deliver(io, &targets, kind, &Encoded::new(frame, payload_len));
        self.targets = targets;
    }

    /// One letter to each lcore among `targets`.
    fn pass_on(&mut self, targets: &[u32], topic: &str, kind: Kind, frame: &Shared) {
        let mut name: Option<Arc<str>> = None;
        for other in 0..self.lcores {
            if other == self.lcore || !targets.contains(&(u32::from(other) | SUBSCRIBER_IS_LCORE)) {
                continue;
            }
            let topic = Arc::clone(name.get_or_insert_with(|| topic.into()));
            let mail = Mail::Publish {
                topic,
                kind,
                frame: frame.clone(),
            };
            if self.mailbox.send(usize::from(other), mail).is_err() {
                self.counters.mail_dropped.bump();
            }
        }
    }

    /// Queues an encoded message to each connection among `targets`, once.
    fn deliver<T: Transport>(
        &mut self,
        io: &mut T,
        targets: &[u32],
        kind: Kind,
        message: &Encoded,
    ) -> usize {
        self.epoch = self.epoch.wrapping_add(1);
        let mut compressed: [Option<Option<LocalShared>>; 16] = Default::default();
        let mut reached = 0;
        for &index in targets {
            if index & SUBSCRIBER_IS_LCORE != 0 {
                continue;
            }
            let session = &mut self.sessions[index as usize];
            if session.epoch == self.epoch || session.phase != Phase::Open {
                continue;
            }
            session.epoch = self.epoch;
            let id = ConnId {
                index,
                generation: session.generation,
            };
            let sent = if session.has(flag::CLIENT) {
                self.send_message(io, id, kind, message.payload())
            } else if session.has(flag::DEFLATE) {
                let frame = self.compressed_for(index, kind, message, &mut compressed);
                self.send_encoded(io, id, frame)
            } else {
                self.send_encoded(io, id, message.frame.clone())
            };
            reached += usize::from(sent.is_ok());
        }
        self.counters.delivered.add(reached as u64);
        reached
    }

    fn send_encoded<T: Transport>(
        &mut self,
        io: &mut T,
        id: ConnId,
        frame: LocalShared,
    ) -> Result<(), SendError> {
        if io.queued(id) >= self.config.limits.send_queue {
            self.make_room(io, id, frame.len())?;
        }
        let droppable = self.config.limits.send_policy == SendPolicy::DropOldest;
        io.send_shared(id, frame, droppable)
            .or_else(|e| self.no_room(io, id, e))?;
        self.counters.messages_out.bump();
        Ok(())
    }

    /// The message compressed by itself for the window of this connection, made once for each window size. A compressor
    /// that spans messages does not know of it and starts afresh.
    fn compressed_for(
        &mut self,
        index: u32,
        kind: Kind,
        message: &Encoded,
        cache: &mut [Option<Option<LocalShared>>; 16],
    ) -> LocalShared {
        let extra = self.sessions[index as usize].extra.as_mut();
        let Some((extra, compressor)) = extra.zip(self.compressor.as_mut()) else {
            return message.frame.clone();
        };
        let window_bits = extra.window_bits;
        let slot = &mut cache[usize::from(window_bits & 15)];
        if slot.is_none() {
            let small =
                compressor.compress(&mut Deflation::Shared { window_bits }, message.payload());
            *slot = Some(small.map(|small| {
                let mut frame = Vec::with_capacity(MAX_HEADER + small.len());
                encode::fragment_into(&mut frame, true, COMPRESSED, kind.into(), small, None);
                Shared::from(frame).local()
            }));
        }
        if let (Some(Some(_)), Some(deflation)) = (&slot, &mut extra.deflate) {
            forget(deflation);
        }
        slot.clone()
            .flatten()
            .unwrap_or_else(|| message.frame.clone())
    }
}

/// Makes a compressor that spans messages start afresh.
fn forget(deflation: &mut Deflation) {
    if let Deflation::Own { deflater, .. } = deflation {
        deflater.reset();
    }
}

/// A server's frame, and where its payload begins.
struct Encoded {
    frame: LocalShared,
    header: usize,
}

impl Encoded {
    fn new(frame: Shared, payload_len: usize) -> Self {
        let header = frame.len() - payload_len;
        Self {
            frame: frame.local(),
            header,
        }
    }
    fn payload(&self) -> &[u8] {
        &self.frame[self.header..]
    }
}

fn encode_shared(kind: Kind, payload: &[u8]) -> Shared {
    let mut header = [0; MAX_HEADER];
    let len = encode::header(&mut header, true, PLAIN, kind.into(), None, payload.len());
    Shared::from_slices(&[&header[..len], payload])
}

/// The header length of a frame that [`encode_shared`] made: unmasked, so told by its second byte.
fn server_header_len(frame: &[u8]) -> usize {
    match frame[1] {
        127 => 10,
        126 => 4,
        _ => 2,
    }
}
