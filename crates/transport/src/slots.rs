//! The connection table: one small slot each, reused, with a generation that makes old ids harmless.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::send_queue::SendQueue;
use crate::{ConnId, Peer};

/// A set of the `flag` constants.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Flags(u32);

pub(crate) mod flag {
    //! What is known and wanted of one connection.

    /// The slot is in use.
    pub(crate) const LIVE: u32 = 1 << 0;
    /// `connect` has not ended.
    pub(crate) const CONNECTING: u32 = 1 << 1;
    /// The stream is gone; the driver has not been told yet.
    pub(crate) const DEAD: u32 = 1 << 2;
    /// A receive may give something.
    pub(crate) const READABLE: u32 = 1 << 3;
    /// The network says that the end of the stream is in sight: a short read does not mean that nothing follows.
    pub(crate) const READ_CLOSED: u32 = 1 << 4;
    /// The network reported an error.
    pub(crate) const ERROR: u32 = 1 << 5;
    /// A receive gave the end of the stream.
    pub(crate) const END: u32 = 1 << 6;
    /// The driver has been told of the end.
    pub(crate) const END_TOLD: u32 = 1 << 7;
    /// The driver asked not to be given bytes.
    pub(crate) const PAUSED: u32 = 1 << 8;
    /// Held bytes are to be presented in the next turn, more arrived or not.
    pub(crate) const LATER: u32 = 1 << 9;
    /// It is in the list of connections to visit.
    pub(crate) const LISTED: u32 = 1 << 10;
    /// It is in the list of connections to flush.
    pub(crate) const DIRTY: u32 = 1 << 11;
    /// The last flush could not send everything.
    pub(crate) const BLOCKED: u32 = 1 << 12;
    /// The network is asked to say when it takes bytes again.
    pub(crate) const WANT_WRITE: u32 = 1 << 13;
    /// End the sending side when the queue is empty.
    pub(crate) const FINISH: u32 = 1 << 14;
    /// The sending side has been ended.
    pub(crate) const FINISHED: u32 = 1 << 15;
    /// Close when the queue is empty; nothing more is presented.
    pub(crate) const CLOSE: u32 = 1 << 16;
    /// The network has taken bytes since the flush that blocked it.
    pub(crate) const MOVED: u32 = 1 << 17;
    /// Established, but the driver has not been told of it.
    pub(crate) const WAITING: u32 = 1 << 18;
    /// It has a send queue.
    pub(crate) const QUEUED: u32 = 1 << 19;
    /// It ends by `abort`.
    pub(crate) const ABORT: u32 = 1 << 20;
}

impl Flags {
    pub(crate) const fn new(bits: u32) -> Self {
        Self(bits)
    }
    /// Whether any of `bits` is set.
    pub(crate) const fn any(self, bits: u32) -> bool {
        self.0 & bits != 0
    }
    pub(crate) fn set(&mut self, bits: u32) {
        self.0 |= bits;
    }
    pub(crate) fn clear(&mut self, bits: u32) {
        self.0 &= !bits;
    }
    /// Sets `bits`; whether any of them was not set before.
    pub(crate) fn newly(&mut self, bits: u32) -> bool {
        let new = self.0 & bits != bits;
        self.set(bits);
        new
    }
}

/// A peer address in 20 bytes. The scope of a link-local IPv6 address is not kept.
#[derive(Clone, Copy)]
struct CompactPeer {
    addr: [u8; 16],
    port: u16,
    ip: bool,
}

impl From<Peer> for CompactPeer {
    fn from(peer: Peer) -> Self {
        match peer {
            Peer::Unix => Self {
                addr: [0; 16],
                port: 0,
                ip: false,
            },
            Peer::Ip(addr) => {
                let bytes = match addr.ip() {
                    IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                    IpAddr::V6(ip) => ip.octets(),
                };
                Self {
                    addr: bytes,
                    port: addr.port(),
                    ip: true,
                }
            }
        }
    }
}

impl From<CompactPeer> for Peer {
    fn from(peer: CompactPeer) -> Self {
        if peer.ip {
            Self::Ip(SocketAddr::new(
                Ipv6Addr::from(peer.addr).to_canonical(),
                peer.port,
            ))
        } else {
            Self::Unix
        }
    }
}

/// Received bytes that the driver left.
#[derive(Default)]
pub(crate) struct Held {
    buf: Vec<u8>,
    start: usize,
}

impl Held {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buf.drain(..self.start);
            self.start = 0;
        }
        self.buf.extend_from_slice(bytes);
    }
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buf[self.start..]
    }
    pub(crate) fn len(&self) -> usize {
        self.buf.len() - self.start
    }
    pub(crate) fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.buf.len());
    }
    pub(crate) fn clear(&mut self) {
        self.buf.clear();
        self.start = 0;
    }
    pub(crate) fn capacity(&self) -> usize {
        self.buf.capacity()
    }
}

/// One connection. What only a busy one needs is boxed and recycled.
pub(crate) struct Slot<S> {
    pub(crate) stream: Option<S>,
    pub(crate) send: Option<Box<SendQueue>>,
    pub(crate) held: Option<Box<Held>>,
    generation: u32,
    pub(crate) flags: Flags,
    peer: CompactPeer,
}

impl<S> Slot<S> {
    pub(crate) fn peer(&self) -> Peer {
        self.peer.into()
    }
    pub(crate) fn set_peer(&mut self, peer: Peer) {
        self.peer = peer.into();
    }
}

/// All connections of a transport. Its memory is reserved at once and touched as slots are first used.
pub(crate) struct Slots<S> {
    slots: Vec<Slot<S>>,
    free: Vec<u32>,
    max: usize,
}

impl<S> Slots<S> {
    pub(crate) fn new(max: usize) -> Self {
        let max = max.min(u32::MAX as usize - 16);
        Self {
            slots: Vec::with_capacity(max),
            free: Vec::with_capacity(max),
            max,
        }
    }

    pub(crate) fn max(&self) -> usize {
        self.max
    }

    pub(crate) fn is_full(&self) -> bool {
        self.free.is_empty() && self.slots.len() == self.max
    }

    /// Takes a slot, the most recently freed one first (its memory is warm).
    pub(crate) fn take(&mut self, stream: Option<S>, peer: Peer, flags: u32) -> Option<ConnId> {
        let flags = Flags::new(flag::LIVE | flags);
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            (slot.stream, slot.flags) = (stream, flags);
            slot.set_peer(peer);
            return Some(ConnId {
                index,
                generation: slot.generation,
            });
        }
        if self.slots.len() == self.max {
            return None;
        }
        let index = u32::try_from(self.slots.len()).ok()?;
        self.slots.push(Slot {
            stream,
            send: None,
            held: None,
            generation: 0,
            flags,
            peer: peer.into(),
        });
        Some(ConnId {
            index,
            generation: 0,
        })
    }

    pub(crate) fn get(&self, id: ConnId) -> Option<&Slot<S>> {
        let slot = self.slots.get(id.index as usize)?;
        (slot.generation == id.generation && slot.flags.any(flag::LIVE)).then_some(slot)
    }

    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut Slot<S>> {
        let slot = self.slots.get_mut(id.index as usize)?;
        (slot.generation == id.generation && slot.flags.any(flag::LIVE)).then_some(slot)
    }

    /// The connection that has slot `index` now.
    pub(crate) fn at_mut(&mut self, index: u32) -> Option<(ConnId, &mut Slot<S>)> {
        let slot = self.slots.get_mut(index as usize)?;
        let id = ConnId {
            index,
            generation: slot.generation,
        };
        slot.flags.any(flag::LIVE).then_some((id, slot))
    }

    /// Frees the slot; `id` is stale from here on.
    pub(crate) fn release(&mut self, id: ConnId) {
        let Some(slot) = self.get_mut(id) else { return };
        slot.flags = Flags::default();
        slot.generation = slot.generation.wrapping_add(1);
        slot.stream = None;
        slot.send = None;
        slot.held = None;
        self.free.push(id.index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_at_most_56_bytes_with_a_stream_of_8() {
        assert!(
            size_of::<Slot<[u32; 2]>>() <= 56,
            "{}",
            size_of::<Slot<[u32; 2]>>()
        );
    }

    #[test]
    fn peers_survive_the_round_trip() {
        for text in [
            "127.0.0.1:80",
            "[::1]:9001",
            "[2001:db8::7]:65535",
            "0.0.0.0:0",
        ] {
            let peer = Peer::Ip(text.parse().unwrap());
            assert_eq!(Peer::from(CompactPeer::from(peer)), peer);
        }
        assert_eq!(Peer::from(CompactPeer::from(Peer::Unix)), Peer::Unix);
        let mapped = Peer::Ip("[::ffff:10.0.0.1]:5".parse().unwrap());
        assert_eq!(
            Peer::from(CompactPeer::from(mapped)),
            Peer::Ip("10.0.0.1:5".parse().unwrap())
        );
    }

    #[test]
    fn an_old_id_is_stale_and_the_table_has_an_end() {
        let mut slots: Slots<u32> = Slots::new(2);
        let first = slots.take(Some(1), Peer::Unix, 0).unwrap();
        let second = slots.take(Some(2), Peer::Unix, 0).unwrap();
        assert!(slots.is_full() && slots.take(Some(3), Peer::Unix, 0).is_none());
        slots.release(first);
        slots.release(first);
        assert!(slots.get(first).is_none() && slots.get(second).is_some());
        let again = slots.take(Some(4), Peer::Unix, 0).unwrap();
        assert_eq!(
            (again.index, again.generation),
            (first.index, first.generation + 1)
        );
        assert!(slots.get(first).is_none() && slots.is_full());
    }

    #[test]
    fn held_bytes_are_contiguous() {
        let mut held = Held::default();
        held.push(b"abcd");
        held.consume(3);
        held.push(b"ef");
        assert_eq!(held.bytes_mut(), b"def");
        assert_eq!(held.len(), 3);
    }
}
