//! Frames: packet buffers of one arena that pass between lcores, devices and the kernel by ownership.
//!
//! A [`FrameArena`] is cut into chunks of equal size. At any moment exactly one of these owns a chunk: a [`FramePool`] (free), a
//! [`Frame`] (in use on an lcore), or a [`Chunk`] (a token: in a ring between two lcores, or for a chunk that the kernel
//! holds). None of the three can be copied, so the bytes of a chunk have one reader or writer at a time. The `unsafe` code here
//! relies on that.
//!
//! ```text
//! FramePool --alloc--> Frame --into_parts--> Chunk --(ring)--> Chunk --FramePool::frame--> Frame --drop--> FramePool
//! ```

mod pool;

use std::fmt;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Arena, ArenaOptions, Backing, HugePages};

pub use pool::{Frame, FramePool, Parts};

/// Bytes kept free before the data of a fresh frame, for headers and for a device's metadata.
pub const HEADROOM: usize = 256;

/// The smallest and the largest chunk.
const CHUNK_SIZES: std::ops::RangeInclusive<usize> = 1024..=32768;

/// Options of [`FrameArena::new`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct FrameArenaOptions {
    /// The number of chunks; 1 to `u32::MAX`.
    pub chunks: usize,
    /// Bytes of each chunk, headroom included: a power of two, 1024 to 32768. AF_XDP takes 2048 and 4096.
    pub chunk_size: usize,
    /// The pages to ask for.
    pub huge_pages: HugePages,
    /// The NUMA node to prefer.
    pub node: Option<u32>,
}

impl FrameArenaOptions {
    /// `chunks` of `chunk_size` bytes, on base pages and no particular node.
    #[must_use]
    pub const fn new(chunks: usize, chunk_size: usize) -> Self {
        Self {
            chunks,
            chunk_size,
            huge_pages: HugePages::Off,
            node: None,
        }
    }

    /// Asks for these pages.
    #[must_use]
    pub const fn huge_pages(mut self, huge_pages: HugePages) -> Self {
        self.huge_pages = huge_pages;
        self
    }

    /// Prefers this NUMA node.
    #[must_use]
    pub const fn node(mut self, node: Option<u32>) -> Self {
        self.node = node;
        self
    }
}

/// Memory for frames, shared by the pools cut from it.
pub struct FrameArena {
    /// Distinguishes its chunks from those of other arenas.
    id: u32,
    chunk_size: usize,
    chunks: u32,
    /// Chunks that belong to pools.
    given: AtomicU32,
    arena: Arena,
}

static NEXT_ID: AtomicU32 = AtomicU32::new(1);

impl FrameArena {
    /// Makes an arena without touching its memory.
    ///
    /// # Errors
    /// `InvalidInput` if a size is out of range; otherwise the error of [`Arena::new`].
    pub fn new(options: &FrameArenaOptions) -> io::Result<Arc<Self>> {
        let FrameArenaOptions {
            chunks,
            chunk_size,
            huge_pages,
            node,
        } = *options;
        let bytes = chunk_size.checked_mul(chunks).filter(|_| {
            chunk_size.is_power_of_two()
                && CHUNK_SIZES.contains(&chunk_size)
                && u32::try_from(chunks).is_ok()
        });
        let Some(bytes) = bytes else {
            let text = format!("a frame arena cannot have {chunks} chunks of {chunk_size} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        };
        let arena = Arena::new(&ArenaOptions::new(bytes).huge_pages(huge_pages).node(node))?;
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        // Two arenas with one id would make `frame` unsound.
        assert_ne!(id, u32::MAX, "more than u32::MAX frame arenas");
        Ok(Arc::new(Self {
            id,
            chunk_size,
            chunks: chunks as u32,
            given: AtomicU32::new(0),
            arena,
        }))
    }

    /// A pool with the next `chunks` chunks of the arena; `None` if fewer are left. Make it on the thread that uses it.
    #[must_use]
    pub fn pool(self: &Arc<Self>, chunks: usize) -> Option<FramePool> {
        let wanted = u32::try_from(chunks).ok()?;
        let mut first = self.given.load(Ordering::Relaxed);
        loop {
            let end = first
                .checked_add(wanted)
                .filter(|&end| end <= self.chunks)?;
            // Relaxed: the counter alone decides which chunks a pool owns; no other memory depends on its order.
            match self
                .given
                .compare_exchange_weak(first, end, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => break,
                Err(now) => first = now,
            }
        }
        // Any chunk of the arena may be put here. The last one on the stack is the first one of the arena.
        let mut free = Vec::with_capacity(self.chunks as usize);
        free.extend((first..first + wanted).rev());
        Some(FramePool::new(Arc::clone(self), free))
    }

    /// Its first byte, for registering the region with a device. A caller that reads or writes through it must ensure that no
    /// other access conflicts.
    #[must_use]
    pub fn base(&self) -> NonNull<u8> {
        self.arena.base()
    }

    /// All bytes: chunks times chunk size.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.arena.len()
    }

    /// Bytes of a chunk.
    #[must_use]
    pub fn chunk_size(&self) -> usize {
        self.chunk_size
    }

    /// The number of chunks.
    #[must_use]
    pub fn chunks(&self) -> usize {
        self.chunks as usize
    }

    /// The pages that it has.
    #[must_use]
    pub fn backing(&self) -> Backing {
        self.arena.backing()
    }

    /// The NUMA node that it prefers, if one was asked for and the kernel accepted it.
    #[must_use]
    pub fn node(&self) -> Option<u32> {
        self.arena.node()
    }
}

impl fmt::Debug for FrameArena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameArena")
            .field("chunks", &self.chunks)
            .field("chunk_size", &self.chunk_size)
            .field("backing", &self.backing())
            .finish_non_exhaustive()
    }
}

/// The ownership of one chunk between pools. If it is dropped, no pool has its chunk again until the arena is dropped.
#[derive(PartialEq, Eq, Debug)]
#[must_use = "a chunk that is dropped is lost"]
pub struct Chunk {
    arena: u32,
    index: u32,
}

impl Chunk {
    /// Its index: the chunk begins `index * chunk_size` bytes after the arena's beginning.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index as usize
    }

    /// Whether it is a chunk of `arena`.
    #[inline]
    #[must_use]
    pub fn is_of(&self, arena: &FrameArena) -> bool {
        self.arena == arena.id
    }

    /// Turns the token into a number, for a ring that can only hold numbers.
    pub fn into_index(self) -> u32 {
        self.index
    }

    /// Turns a number back into the token.
    ///
    /// # Safety
    /// `index` must come from [`into_index`](Self::into_index) of a chunk of `arena`, and must be turned back only once for each
    /// such call. The kernel or the device that held it meanwhile must no longer use the chunk.
    #[allow(unsafe_code)]
    pub unsafe fn from_index(arena: &FrameArena, index: u32) -> Self {
        debug_assert!(index < arena.chunks);
        Self {
            arena: arena.id,
            index,
        }
    }
}

/// A request to the device to fill in a checksum; [`TxMark::NONE`] is no request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TxMark {
    /// Bytes from the start of the frame to the first summed byte.
    pub start: u16,
    /// Bytes from there to the checksum field. Zero means no request.
    pub offset: u16,
}

impl TxMark {
    /// No request.
    pub const NONE: Self = Self {
        start: 0,
        offset: 0,
    };
}

/// A device's verdict on the checksums of a received frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RxMark {
    /// The device did not check.
    #[default]
    None,
    /// All are right.
    Good,
    /// One is wrong.
    Bad,
}

#[cfg(test)]
mod tests;
