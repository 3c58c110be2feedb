//! A published message: encoded once, and shared by its subscribers.

use std::sync::Arc;

use hioload_mem::{Held, LocalShared, Shared};
use hioload_transport::{ConnId, Connections};
use hioload_ws_proto::header::MAX_HEADER;
use hioload_ws_proto::{Deflation, Kind, encode};

use crate::commands::Command;
use crate::config::SendPolicy;
use crate::core::Core;
use crate::handler::{SendError, TopicError};
use crate::send::{COMPRESSED, PLAIN, charge_compressing, forget};
use crate::session::{Phase, SessionFlags};
use crate::topics::{LcoreSet, is_topic};
use crate::work::cost;

impl<E: Send + 'static> Core<E> {
    /// Sends a message to all subscribers of `topic`, here and on the other lcores.
    pub(crate) fn publish<C: Connections>(
        &mut self,
        io: &mut C,
        topic: &str,
        kind: Kind,
        payload: &[u8],
    ) -> Result<usize, TopicError> {
        if !is_topic(topic) {
            return Err(TopicError::Invalid);
        }
        // No subscriber could ever hold it, also if it is compressed for some of them.
        if server_header(payload.len()) + payload.len() > self.tunables.limits.send_queue {
            self.counters.publishes_refused.bump();
            return Err(TopicError::TooLarge);
        }
        self.counters.published.bump();
        let mut targets = std::mem::take(&mut self.targets);
        targets.clear();
        self.match_topic(topic, &mut targets);
        let interest = self.interest.as_ref();
        let others = interest.map_or(LcoreSet::default(), |interest| interest.others(topic));
        let mut reached = 0;
        if !targets.is_empty() || !others.is_empty() {
            let frame = encode_shared(kind, payload);
            self.pass_on(others, topic, kind, &frame);
            reached = self.deliver(
                io,
                &targets,
                kind,
                &Encoded::new(frame, payload.len(), &self.published),
            );
        }
        self.targets = targets;
        Ok(reached)
    }

    /// Delivers a message that another lcore published.
    pub(crate) fn publish_here<C: Connections>(
        &mut self,
        io: &mut C,
        topic: &str,
        kind: Kind,
        frame: Shared,
    ) {
        let mut targets = std::mem::take(&mut self.targets);
        targets.clear();
        self.match_topic(topic, &mut targets);
        let payload_len = frame.len() - server_header_len(&frame);
        self.deliver(
            io,
            &targets,
            kind,
            &Encoded::new(frame, payload_len, &self.published),
        );
        self.targets = targets;
    }

    /// Appends the subscribers of `topic` to `targets`.
    fn match_topic(&mut self, topic: &str, targets: &mut Vec<u32>) {
        let nodes = self.topics.matches(topic, targets);
        self.work.add(nodes as u64 * cost::NODE);
    }

    /// Sends the message to each of `lcores`, where there may be subscribers.
    fn pass_on(&mut self, lcores: LcoreSet, topic: &str, kind: Kind, frame: &Shared) {
        if lcores.is_empty() {
            return;
        }
        let name: Arc<str> = topic.into();
        for lcore in lcores.iter() {
            let command = Command::Publish {
                topic: Arc::clone(&name),
                kind,
                frame: frame.clone(),
            };
            if self.mailbox.send(lcore, command).is_err() {
                self.counters.commands_dropped.bump();
            }
        }
    }

    /// Queues an encoded message to each connection among `targets`, once.
    fn deliver<C: Connections>(
        &mut self,
        io: &mut C,
        targets: &[u32],
        kind: Kind,
        message: &Encoded,
    ) -> usize {
        self.epoch = self.epoch.wrapping_add(1);
        self.work
            .add(targets.len() as u64 * cost::SEND + cost::of_bytes(message.frame.len()));
        if !targets.is_empty() {
            self.unsent.add(message.frame.len());
        }
        let mut compressed: [Option<Option<LocalShared>>; 16] = Default::default();
        let mut reached = 0;
        for &index in targets {
            let session = &mut self.sessions[index as usize];
            if session.epoch == self.epoch || session.phase != Phase::Open {
                continue;
            }
            session.epoch = self.epoch;
            let id = ConnId {
                index,
                generation: session.generation,
            };
            let sent = if session.has(SessionFlags::CLIENT) {
                // Its compressor may span messages, of which none may then be dropped once it is compressed.
                let policy = match self.tunables.limits.publish_policy {
                    SendPolicy::DropOldest => SendPolicy::DropNew,
                    policy => policy,
                };
                self.send_under(io, id, policy, kind, message.payload())
            } else if session.has(SessionFlags::DEFLATE) {
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

    fn send_encoded<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        frame: LocalShared,
    ) -> Result<(), SendError> {
        let policy = self.tunables.limits.publish_policy;
        if io.queued(id) >= self.tunables.limits.send_queue {
            self.make_room(io, id, policy, frame.len())?;
        }
        let queued = if self.published.bytes() <= self.tunables.limits.published_memory {
            // A subscriber that is not behind gets small messages in one piece of memory.
            let droppable = policy == SendPolicy::DropOldest && io.is_blocked(id);
            io.send_shared(id, frame, droppable)
        } else {
            self.counters.published_copied.bump();
            self.write_long(io, id, &frame, None, &[])
        };
        queued.or_else(|e| self.no_room(io, id, policy, e))?;
        self.counters.messages_out.bump();
        Ok(())
    }

    /// The message compressed without context for the window of this connection, made once for each window size. A
    /// compressor with context has not seen this message, so its next message starts without context.
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
            charge_compressing(
                &mut self.work,
                &self.counters,
                compressor,
                message.payload().len(),
            );
            let small =
                compressor.compress(&mut Deflation::Shared { window_bits }, message.payload());
            *slot = Some(small.map(|small| {
                let mut frame = Vec::with_capacity(MAX_HEADER + small.len());
                encode::fragment_into(&mut frame, true, COMPRESSED, kind.into(), small, None);
                Shared::from(frame).local_in(&self.published)
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

/// A server's frame, and where its payload begins.
struct Encoded {
    frame: LocalShared,
    header: usize,
}

impl Encoded {
    fn new(frame: Shared, payload_len: usize, held: &Held) -> Self {
        let header = frame.len() - payload_len;
        Self {
            frame: frame.local_in(held),
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

/// The header length of a server's frame with a payload of `len` bytes.
fn server_header(len: usize) -> usize {
    match len {
        0..126 => 2,
        126..65536 => 4,
        _ => 10,
    }
}

/// The header length of a frame that [`encode_shared`] made: it is unmasked, so its second byte gives the length.
fn server_header_len(frame: &[u8]) -> usize {
    match frame[1] {
        127 => 10,
        126 => 4,
        _ => 2,
    }
}
