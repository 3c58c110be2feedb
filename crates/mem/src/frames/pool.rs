//! One lcore's pool of frames, and the frames.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::slice;
use std::sync::Arc;

use super::{Chunk, FrameArena, HEADROOM, RxMark, TxMark};

/// The free chunks of one lcore. Clones are handles to the same pool. The chunk returned last is taken first. Contents are not
/// cleared.
#[derive(Clone)]
pub struct FramePool(Rc<Inner>);

struct Inner {
    base: NonNull<u8>,
    /// Room for all chunks of the arena, so that a put never allocates.
    free: RefCell<Vec<u32>>,
    exhausted: Cell<u64>,
    arena: Arc<FrameArena>,
}

impl FramePool {
    /// A pool of `arena` with these free chunks, on a list with capacity for all chunks of the arena.
    pub(super) fn new(arena: Arc<FrameArena>, free: Vec<u32>) -> Self {
        Self(Rc::new(Inner {
            base: arena.base(),
            free: RefCell::new(free),
            exhausted: Cell::new(0),
            arena,
        }))
    }

    /// An empty frame with [`HEADROOM`] bytes before it; `None`, which is counted, if no chunk is free.
    #[inline]
    #[must_use]
    pub fn alloc(&self) -> Option<Frame> {
        match self.0.free.borrow_mut().pop() {
            Some(index) => Some(Frame::new(Rc::clone(&self.0), index, HEADROOM as u16, 0)),
            None => {
                self.0.exhausted.set(self.0.exhausted.get() + 1);
                None
            }
        }
    }

    /// A free chunk as a token.
    #[inline]
    #[must_use]
    pub fn take(&self) -> Option<Chunk> {
        let index = self.0.free.borrow_mut().pop()?;
        Some(Chunk {
            arena: self.0.arena.id,
            index,
        })
    }

    /// Frees a chunk. It may come from another pool of the same arena.
    ///
    /// # Panics
    /// If it is a chunk of another arena.
    #[inline]
    #[allow(clippy::needless_pass_by_value)]
    pub fn put(&self, chunk: Chunk) {
        assert_eq!(chunk.arena, self.0.arena.id, "a chunk of another arena");
        self.0.free.borrow_mut().push(chunk.index);
    }

    /// Makes a chunk a frame of this pool, with `len` bytes of data that begin `start` bytes into the chunk.
    ///
    /// # Panics
    /// If it is a chunk of another arena, or `start + len` exceeds the chunk size.
    #[inline]
    #[allow(clippy::needless_pass_by_value)]
    #[must_use]
    pub fn frame(&self, chunk: Chunk, start: usize, len: usize, mark: RxMark) -> Frame {
        assert_eq!(chunk.arena, self.0.arena.id, "a chunk of another arena");
        assert!(
            start <= self.0.arena.chunk_size && len <= self.0.arena.chunk_size - start,
            "a frame beyond its chunk"
        );
        let mut frame = Frame::new(Rc::clone(&self.0), chunk.index, start as u16, len as u16);
        frame.rx = mark;
        frame
    }

    /// Free chunks.
    #[must_use]
    pub fn available(&self) -> usize {
        self.0.free.borrow().len()
    }

    /// Calls of `alloc` that found no free chunk.
    #[must_use]
    pub fn exhausted(&self) -> u64 {
        self.0.exhausted.get()
    }

    /// The arena of its chunks.
    #[must_use]
    pub fn arena(&self) -> &Arc<FrameArena> {
        &self.0.arena
    }
}

impl fmt::Debug for FramePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FramePool")
            .field("available", &self.available())
            .field("arena", &self.0.arena)
            .finish()
    }
}

/// One packet buffer. It has one owner, and returns to its pool when dropped. A `Frame` has 32 bytes.
pub struct Frame {
    pool: Rc<Inner>,
    /// The chunk's first byte.
    chunk: NonNull<u8>,
    index: u32,
    /// The data: `start + len` is at most the chunk size.
    start: u16,
    len: u16,
    tx: TxMark,
    rx: RxMark,
}

const _: () = assert!(size_of::<Frame>() == 32);

/// The contents of a [`Frame`], for passing its chunk on.
#[derive(Debug)]
pub struct Parts {
    /// The chunk.
    pub chunk: Chunk,
    /// Bytes from the beginning of the chunk to the data.
    pub start: usize,
    /// Bytes of data.
    pub len: usize,
    /// The request to the device.
    pub tx: TxMark,
    /// The device's verdict.
    pub rx: RxMark,
}

impl Frame {
    #[inline]
    fn new(pool: Rc<Inner>, index: u32, start: u16, len: u16) -> Self {
        let offset = index as usize * pool.arena.chunk_size;
        // SAFETY: `index` is that of a chunk of this arena (it comes from the pool's list or from a `Chunk` with the
        // arena's id), so the chunk lies within the arena.
        let chunk = unsafe { pool.base.add(offset) };
        Self {
            pool,
            chunk,
            index,
            start,
            len,
            tx: TxMark::NONE,
            rx: RxMark::None,
        }
    }

    /// The data.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `start + len` is at most the chunk size. The chunk lies in an arena that `pool` keeps alive and that was zeroed
        // when it was made. The chunk has no other owner (see the documentation of `frames`).
        unsafe {
            slice::from_raw_parts(
                self.chunk.as_ptr().add(self.start as usize),
                self.len as usize,
            )
        }
    }

    /// The data, mutable.
    #[inline]
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `&mut self` on the chunk's only owner makes the reference unique.
        unsafe {
            slice::from_raw_parts_mut(
                self.chunk.as_ptr().add(self.start as usize),
                self.len as usize,
            )
        }
    }

    /// Bytes of data.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is no data.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The largest length that `set_len` takes.
    #[inline]
    #[must_use]
    pub fn room(&self) -> usize {
        self.pool.arena.chunk_size - self.start as usize
    }

    /// Bytes free before the data.
    #[inline]
    #[must_use]
    pub fn headroom(&self) -> usize {
        self.start as usize
    }

    /// Moves the end of the data. Bytes that are added have unspecified contents.
    ///
    /// # Panics
    /// If `len` is greater than `room()`.
    #[inline]
    pub fn set_len(&mut self, len: usize) {
        assert!(len <= self.room(), "a frame beyond its chunk");
        self.len = len as u16;
    }

    /// Moves the beginning of the data back.
    ///
    /// # Panics
    /// If `n` is greater than `headroom()`.
    #[inline]
    pub fn grow_front(&mut self, n: usize) {
        assert!(n <= self.headroom(), "a frame before its chunk");
        self.start -= n as u16;
        self.len += n as u16;
    }

    /// Moves the beginning of the data forward.
    ///
    /// # Panics
    /// If `n` is greater than `len()`.
    #[inline]
    pub fn shrink_front(&mut self, n: usize) {
        assert!(n <= self.len(), "more than the frame holds");
        self.start += n as u16;
        self.len -= n as u16;
    }

    /// The device's verdict on its checksums.
    #[inline]
    #[must_use]
    pub fn rx_mark(&self) -> RxMark {
        self.rx
    }

    /// Sets the device's verdict on its checksums.
    #[inline]
    pub fn set_rx_mark(&mut self, mark: RxMark) {
        self.rx = mark;
    }

    /// The request to the device.
    #[inline]
    #[must_use]
    pub fn tx_mark(&self) -> TxMark {
        self.tx
    }

    /// Asks the device for a checksum.
    #[inline]
    pub fn set_tx_mark(&mut self, mark: TxMark) {
        self.tx = mark;
    }

    /// Turns the frame into its parts.
    #[inline]
    #[must_use]
    pub fn into_parts(self) -> Parts {
        let this = ManuallyDrop::new(self);
        let parts = Parts {
            chunk: Chunk {
                arena: this.pool.arena.id,
                index: this.index,
            },
            start: this.start as usize,
            len: this.len as usize,
            tx: this.tx,
            rx: this.rx,
        };
        // SAFETY: `this` is not used again and, as a `ManuallyDrop`, not dropped, so the reference to the pool is moved out once.
        drop(unsafe { ptr::read(&raw const this.pool) });
        parts
    }
}

impl Drop for Frame {
    #[inline]
    fn drop(&mut self) {
        // Never allocates: the list has room for all chunks of the arena.
        self.pool.free.borrow_mut().push(self.index);
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({} bytes in chunk {})", self.len, self.index)
    }
}
