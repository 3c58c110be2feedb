//! The memory of a queue's frames (the UMEM), and the frames that the kernel holds.
//!
//! A chunk goes to the kernel through the fill ring (to receive into) or the transmit ring, and comes back through the receive
//! ring or the completion ring. A `Chunk` cannot be copied, and the kernel returns each chunk once: the `unsafe` code here depends
//! on that. A descriptor with an address outside of the arena is counted and ignored.
//!
//! A chunk of the kernel is at most a page. If packets may be larger, a chunk of the arena consists of several chunks of the
//! kernel, called pieces: the kernel receives into the first piece, the parts that follow are appended there, and a frame is sent
//! in several pieces.

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
    /// Bytes of a chunk of the arena, and of a chunk of the kernel.
    chunk: u64,
    piece: u64,
    /// For each chunk, the pieces that the kernel has not sent yet; empty if a chunk is one piece.
    sending: Vec<u8>,
    /// Chunks that the kernel holds, to receive into and to send.
    receiving: u32,
    transmitting: u32,
    /// Descriptors from the kernel with an address outside of the arena.
    invalid: u64,
}

/// A received packet, or a part of one.
pub(crate) struct Received {
    pub chunk: Chunk,
    /// Bytes into the chunk.
    pub start: usize,
    /// Bytes.
    pub len: usize,
    /// The packet continues in the next descriptor.
    pub more: bool,
}

impl Umem {
    /// `piece` is the size of the kernel's chunks in bytes, a divisor of the arena's chunk size.
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
            invalid: 0,
        }
    }

    pub(crate) fn arena(&self) -> &Arc<FrameArena> {
        &self.arena
    }

    /// The numbers of chunks that the kernel holds to receive into, and to send.
    pub(crate) fn held(&self) -> (u32, u32) {
        (self.receiving, self.transmitting)
    }

    pub(crate) fn invalid(&self) -> u64 {
        self.invalid
    }

    /// The number of free slots in the fill ring; see [`Producer::free`].
    #[inline]
    pub(crate) fn fill_room(&mut self, wanted: u32) -> u32 {
        self.rings.fill.free(wanted)
    }

    /// Gives the kernel a chunk to receive into. The fill ring must have room.
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

    /// Whether the kernel needs a system call to receive.
    #[inline]
    pub(crate) fn fill_needs_wakeup(&self) -> bool {
        self.rings.fill.needs_wakeup()
    }

    /// The number of received descriptors; see [`Consumer::available`].
    #[inline]
    pub(crate) fn received(&mut self, wanted: u32) -> u32 {
        self.rings.rx.available(wanted)
    }

    /// Takes the next received descriptor, of which there must be one. Returns `None` if it is invalid.
    #[inline]
    pub(crate) fn receive(&mut self) -> Option<Received> {
        let Descriptor {
            address,
            len,
            options,
        } = self.rings.rx.get();
        let (index, start) = (address / self.chunk, address % self.chunk);
        if index >= self.arena.chunks() as u64 || start + u64::from(len) > self.chunk {
            self.invalid += 1;
            return None;
        }
        self.receiving = self.receiving.saturating_sub(1);
        // SAFETY: `fill` gave the index to the kernel, which returns it through this ring once, after its last access to the
        // chunk.
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

    /// The number of slots that a frame occupies in the transmit ring.
    #[inline]
    pub(crate) fn pieces(&self, start: usize, len: usize) -> u32 {
        if self.sending.is_empty() {
            return 1;
        }
        let (start, end) = (start as u64, (start + len) as u64);
        (end.div_ceil(self.piece) - start / self.piece) as u32
    }

    /// The number of free slots in the transmit ring; see [`Producer::free`].
    #[inline]
    pub(crate) fn tx_room(&mut self, wanted: u32) -> u32 {
        self.rings.tx.free(wanted)
    }

    /// Writes a frame to the transmit ring, which must have room for its `pieces`. `metadata`: metadata precedes the frame.
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
            // A descriptor must not cross the end of a chunk of the kernel.
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

    /// The number of descriptors that the kernel has not taken from the transmit ring.
    #[inline]
    pub(crate) fn tx_unread(&mut self) -> u32 {
        self.rings.tx.unread()
    }

    /// Whether the kernel needs a system call to send.
    #[inline]
    pub(crate) fn tx_needs_wakeup(&self) -> bool {
        self.rings.tx.needs_wakeup_after_publish()
    }

    /// Calls `each` with each chunk that has been sent.
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

    /// Notes that the piece at `address` has been sent. Returns the chunk if that was its last piece.
    #[inline]
    fn sent(&mut self, address: u64) -> Option<Chunk> {
        let index = address / self.chunk;
        if index >= self.arena.chunks() as u64 {
            self.invalid += 1;
            return None;
        }
        if let Some(pieces) = self.sending.get_mut(index as usize) {
            *pieces = pieces.saturating_sub(1);
            if *pieces > 0 {
                return None;
            }
        }
        self.transmitting = self.transmitting.saturating_sub(1);
        // SAFETY: `transmit` gave the index to the kernel, which returns it through this ring once for each piece, after its last
        // access to that piece. This was the last piece.
        Some(unsafe { Chunk::from_index(&self.arena, index as u32) })
    }
}
