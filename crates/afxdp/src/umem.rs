//! The frames of a queue, and which of them the kernel has.
//!
//! A chunk goes to the kernel by the fill ring (to receive into) or the transmit ring, and comes back by the receive ring or
//! the completion ring. What is given away is a `Chunk`, which cannot be copied, and the kernel gives back what it was given,
//! once: on that the `unsafe` here rests. (A word that the kernel cannot have been given is not believed, but counted.)
//!
//! The kernel's chunks are at most a page. Where packets may be larger than that, a chunk of ours is several of the kernel's:
//! it receives into the first of them, what follows is appended there, and a frame is sent in several pieces.

use std::sync::Arc;

use hioload_mem::frames::{Chunk, FrameArena, Parts};

use crate::kernel::mapping::{AddressSlot, DescriptorSlot};
use crate::ring::{Consumer, Descriptor, Producer};

const MORE: u32 = libc::XDP_PKT_CONTD;
const METADATA: u32 = libc::XDP_TX_METADATA;

/// The four rings.
pub(crate) struct Rings {
    pub fill: Producer<AddressSlot>,
    pub rx: Consumer<DescriptorSlot>,
    pub tx: Producer<DescriptorSlot>,
    pub completion: Consumer<AddressSlot>,
}

/// A queue's frames and rings.
pub(crate) struct Umem {
    arena: Arc<FrameArena>,
    rings: Rings,
    /// Bytes of a chunk of ours and of one of the kernel's.
    chunk: u64,
    piece: u64,
    /// Pieces of each chunk that the kernel is still sending, if a chunk may have several.
    sending: Vec<u8>,
    /// Chunks the kernel has, to receive into and to send.
    receiving: u32,
    transmitting: u32,
    /// Words from the kernel that make no sense.
    strange: u64,
}

/// A packet or a part of one, as it came.
pub(crate) struct Received {
    pub chunk: Chunk,
    /// Bytes into the chunk.
    pub start: usize,
    /// Bytes.
    pub len: usize,
    /// The packet goes on in the next.
    pub more: bool,
}

impl Umem {
    /// `piece`: bytes of the kernel's chunks, a divisor of the arena's.
    pub(crate) fn new(arena: Arc<FrameArena>, rings: Rings, piece: usize) -> Self {
        let several = arena.chunk_size() > piece;
        Self {
            chunk: arena.chunk_size() as u64,
            piece: piece as u64,
            sending: vec![0; if several { arena.chunks() } else { 0 }],
            arena,
            rings,
            receiving: 0,
            transmitting: 0,
            strange: 0,
        }
    }

    pub(crate) fn arena(&self) -> &Arc<FrameArena> {
        &self.arena
    }

    /// Chunks the kernel has: to receive into, and to send.
    pub(crate) fn held(&self) -> (u32, u32) {
        (self.receiving, self.transmitting)
    }

    pub(crate) fn strange(&self) -> u64 {
        self.strange
    }

    /// Slots free in the fill ring.
    #[inline]
    pub(crate) fn fill_room(&mut self, wanted: u32) -> u32 {
        self.rings.fill.free(wanted)
    }

    /// Gives a chunk to receive into. There must be room.
    #[inline]
    #[allow(clippy::needless_pass_by_value)]
    pub(crate) fn fill(&mut self, chunk: Chunk) {
        assert!(chunk.is_of(&self.arena), "a chunk of another arena");
        self.receiving += 1;
        let address = u64::from(chunk.into_index()) * self.chunk;
        self.rings.fill.put(address);
    }

    #[inline]
    pub(crate) fn publish_fill(&self) {
        self.rings.fill.publish();
    }

    /// Whether the kernel waits for a call to receive.
    #[inline]
    pub(crate) fn fill_needs_wakeup(&self) -> bool {
        self.rings.fill.needs_wakeup()
    }

    /// Descriptors to be received, `wanted` at least if there are so many.
    #[inline]
    pub(crate) fn received(&mut self, wanted: u32) -> u32 {
        self.rings.rx.available(wanted)
    }

    /// The next of them. One must be there. `None`: it made no sense.
    #[inline]
    pub(crate) fn receive(&mut self) -> Option<Received> {
        let Descriptor {
            address,
            len,
            options,
        } = self.rings.rx.get();
        let (index, start) = (address / self.chunk, address % self.chunk);
        if index >= self.arena.chunks() as u64 || start + u64::from(len) > self.chunk {
            self.strange += 1;
            return None;
        }
        self.receiving = self.receiving.saturating_sub(1);
        // SAFETY: the index was given away by `fill`, and the kernel gives it back by this ring, once, when it has
        // received into the chunk and is done with it.
        let chunk = unsafe { Chunk::from_index(&self.arena, index as u32) };
        Some(Received {
            chunk,
            start: start as usize,
            len: len as usize,
            more: options & MORE != 0,
        })
    }

    #[inline]
    pub(crate) fn release_rx(&self) {
        self.rings.rx.release();
    }

    /// Slots that a frame takes in the transmit ring.
    #[inline]
    pub(crate) fn pieces(&self, start: usize, len: usize) -> u32 {
        if self.sending.is_empty() {
            return 1;
        }
        let (start, end) = (start as u64, (start + len) as u64);
        (end.div_ceil(self.piece) - start / self.piece) as u32
    }

    /// Slots free in the transmit ring.
    #[inline]
    pub(crate) fn tx_room(&mut self, wanted: u32) -> u32 {
        self.rings.tx.free(wanted)
    }

    /// Sends a frame. There must be room for its `pieces`. `metadata`: it stands before the frame.
    #[inline]
    pub(crate) fn transmit(&mut self, parts: Parts, metadata: bool) {
        assert!(parts.chunk.is_of(&self.arena), "a chunk of another arena");
        debug_assert!(parts.len > 0, "the kernel refuses empty frames");
        self.transmitting += 1;
        let index = parts.chunk.into_index();
        let mut address = u64::from(index) * self.chunk + parts.start as u64;
        if self.sending.is_empty() {
            return self.rings.tx.put(Descriptor {
                address,
                len: parts.len as u32,
                options: if metadata { METADATA } else { 0 },
            });
        }
        let end = address + parts.len as u64;
        while address < end {
            // No piece may cross the end of a chunk of the kernel's.
            let next = ((address / self.piece + 1) * self.piece).min(end);
            self.rings.tx.put(Descriptor {
                address,
                len: (next - address) as u32,
                options: if next < end { MORE } else { 0 },
            });
            self.sending[index as usize] += 1;
            address = next;
        }
    }

    #[inline]
    pub(crate) fn publish_tx(&self) {
        self.rings.tx.publish();
    }

    /// Descriptors that the kernel has not taken out of the transmit ring.
    #[inline]
    pub(crate) fn tx_unread(&mut self) -> u32 {
        self.rings.tx.unread()
    }

    /// Whether the kernel waits for a call to send.
    #[inline]
    pub(crate) fn tx_needs_wakeup(&self) -> bool {
        self.rings.tx.needs_wakeup()
    }

    /// Hands over each chunk that has been sent.
    #[inline]
    pub(crate) fn completed(&mut self, mut each: impl FnMut(Chunk)) {
        let mut count = self.rings.completion.available(u32::MAX);
        if count == 0 {
            return;
        }
        while count > 0 {
            let address: u64 = self.rings.completion.get();
            count -= 1;
            if let Some(chunk) = self.sent(address) {
                each(chunk);
            }
        }
        self.rings.completion.release();
    }

    /// One piece at `address` has been sent: the chunk, if it was the last.
    #[inline]
    fn sent(&mut self, address: u64) -> Option<Chunk> {
        let index = address / self.chunk;
        if index >= self.arena.chunks() as u64 {
            self.strange += 1;
            return None;
        }
        if let Some(pieces) = self.sending.get_mut(index as usize) {
            *pieces = pieces.saturating_sub(1);
            if *pieces > 0 {
                return None;
            }
        }
        self.transmitting = self.transmitting.saturating_sub(1);
        // SAFETY: the index was given away by `transmit`, and the kernel gives it back by this ring when it is done with
        // a piece: once for each, and this was the last.
        Some(unsafe { Chunk::from_index(&self.arena, index as u32) })
    }
}
