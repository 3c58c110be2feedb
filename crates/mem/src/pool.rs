//! Buffers of one size, cut from one arena.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::rc::Rc;
use std::slice;

use crate::{ALIGN, Arena, ArenaOptions, Backing, HugePages};

/// Options of [`Pool::new`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PoolOptions {
    /// The number of buffers; 1 to `u32::MAX`.
    pub buffers: usize,
    /// Bytes of each buffer; at least 1. Buffers are [`ALIGN`]-aligned, so a multiple of that wastes nothing.
    pub buffer_size: usize,
    /// The pages to ask for.
    pub huge_pages: HugePages,
    /// The NUMA node to prefer.
    pub node: Option<u32>,
}

impl PoolOptions {
    /// `buffers` of `buffer_size` bytes, on base pages and no particular node.
    #[must_use]
    pub const fn new(buffers: usize, buffer_size: usize) -> Self {
        Self {
            buffers,
            buffer_size,
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

/// Counters of a pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct PoolStats {
    /// Calls of [`Pool::get`] that found no free buffer.
    pub exhausted: u64,
    /// The largest number of buffers in use at once.
    pub high_water: usize,
}

/// A pool of equal buffers, for one thread. Clones are handles to the same pool.
///
/// `get` returns the buffer that was returned last, since it is most likely in cache. A buffer that was never used is taken
/// only when there is no other, so the pool touches no more memory than the largest number of buffers in use at once needs.
/// The free list is outside the buffers, and is touched only as far. [`Pool::trim`] returns the memory of a peak to the system.
///
/// Buffers are **not cleared** between uses: the bytes of the last owner are still there. They are never uninitialised, since
/// fresh and trimmed ones are zero, and a buffer never leaves its lcore. But a caller that sends from a buffer must send only bytes
/// that it wrote.
#[derive(Clone)]
pub struct Pool(Rc<Inner>);

struct Inner {
    /// First byte of buffer 0, in `arena`.
    base: NonNull<u8>,
    /// Bytes from one buffer to the next.
    stride: usize,
    buffer_size: usize,
    capacity: usize,
    free: RefCell<Free>,
    /// Declared last, so that the memory is freed after everything that points to it.
    arena: Arena,
}

/// The free buffers: those of `returned` and those of `fresh..capacity`, which are disjoint.
struct Free {
    /// A stack. It has the pool's capacity from the start, so that a put never allocates. Unused places are never written.
    returned: Vec<u32>,
    /// Buffers from this index on were never taken.
    fresh: u32,
    /// The least length that `returned` has had since the last [`Pool::trim`]: the buffers below were free all the time.
    unused: usize,
    /// The memory of the first buffers of `returned`, up to this number or `unused`, was returned to the system.
    trimmed: usize,
    stats: PoolStats,
}

/// Free buffers whose memory [`Pool::trim`] leaves alone, for the next small peak.
const KEPT: usize = 64;

impl Pool {
    /// Makes a pool. No buffer is touched.
    ///
    /// # Errors
    /// `InvalidInput` if a size is 0 or too large; otherwise the error of [`Arena::new`].
    pub fn new(options: &PoolOptions) -> io::Result<Self> {
        let invalid = || {
            let PoolOptions {
                buffers,
                buffer_size,
                ..
            } = options;
            let text = format!("a pool cannot have {buffers} buffers of {buffer_size} bytes");
            io::Error::new(io::ErrorKind::InvalidInput, text)
        };
        if options.buffers == 0 || options.buffer_size == 0 || options.buffers > u32::MAX as usize {
            return Err(invalid());
        }
        let stride = options
            .buffer_size
            .checked_next_multiple_of(ALIGN)
            .ok_or_else(invalid)?;
        let bytes = stride.checked_mul(options.buffers).ok_or_else(invalid)?;

        let arena = ArenaOptions::new(bytes)
            .huge_pages(options.huge_pages)
            .node(options.node);
        let arena = Arena::new(&arena)?;
        Ok(Self(Rc::new(Inner {
            base: arena.base(),
            stride,
            buffer_size: options.buffer_size,
            capacity: options.buffers,
            free: RefCell::new(Free {
                returned: Vec::with_capacity(options.buffers),
                fresh: 0,
                unused: 0,
                trimmed: 0,
                stats: PoolStats::default(),
            }),
            arena,
        })))
    }

    /// Takes a buffer; `None`, which is counted, if all are in use.
    #[must_use]
    pub fn get(&self) -> Option<Buf> {
        let mut free = self.0.free.borrow_mut();
        let index = if let Some(index) = free.returned.pop() {
            free.unused = free.unused.min(free.returned.len());
            index
        } else if (free.fresh as usize) < self.0.capacity {
            free.fresh += 1;
            // The stack is empty: every buffer that was ever taken is in use.
            free.stats.high_water = free.fresh as usize;
            free.fresh - 1
        } else {
            free.stats.exhausted += 1;
            return None;
        };
        Some(Buf {
            pool: Rc::clone(&self.0),
            index,
        })
    }

    /// Returns to the system the memory of at most `most` buffers that were free since the last call, but not that of the last few
    /// dozen. Each costs a system call. Returns the number of buffers.
    ///
    /// Only base pages are returned: parts of a huge page would not become free.
    pub fn trim(&self, most: usize) -> usize {
        if self.0.arena.backing() != Backing::Base {
            return 0;
        }
        let mut free = self.0.free.borrow_mut();
        let from = free.trimmed.min(free.unused);
        let until = free
            .unused
            .saturating_sub(KEPT)
            .clamp(from, from.saturating_add(most));
        for &index in &free.returned[from..until] {
            self.0.give_back(index);
        }
        free.trimmed = until;
        free.unused = free.returned.len();
        until - from
    }

    /// Whether there is nothing that a [`trim`](Self::trim) could return, now or after the next one.
    #[must_use]
    pub fn is_trimmed(&self) -> bool {
        let free = self.0.free.borrow();
        let trimmed = free.trimmed.min(free.unused);
        self.0.arena.backing() != Backing::Base || free.returned.len() <= trimmed + KEPT
    }

    /// The number of free buffers.
    #[must_use]
    pub fn available(&self) -> usize {
        let free = self.0.free.borrow();
        self.0.capacity - free.fresh as usize + free.returned.len()
    }

    /// The number of all buffers.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.0.capacity
    }

    /// Bytes of each buffer: the number that was asked for.
    #[must_use]
    pub fn buffer_size(&self) -> usize {
        self.0.buffer_size
    }

    /// Its counters.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        self.0.free.borrow().stats
    }

    /// The pages that it has.
    #[must_use]
    pub fn backing(&self) -> Backing {
        self.0.arena.backing()
    }

    /// The NUMA node that it prefers, if one was asked for and the kernel accepted it.
    #[must_use]
    pub fn node(&self) -> Option<u32> {
        self.0.arena.node()
    }
}

impl Inner {
    /// Returns the memory of a free buffer to the system. It reads as zero, and costs nothing until it is written again.
    fn give_back(&self, index: u32) {
        let start = index as usize * self.stride;
        // SAFETY: the buffer is free, so no `Buf` has this index and there is no reference to its bytes.
        unsafe { self.arena.give_back_free(start..start + self.buffer_size) };
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("available", &self.available())
            .field("capacity", &self.capacity())
            .field("buffer_size", &self.buffer_size())
            .field("backing", &self.backing())
            .finish()
    }
}

/// One buffer of a [`Pool`]. It has one owner, derefs to all its bytes, and returns to the pool when dropped. It keeps the
/// pool's memory alive, so it may outlive the last `Pool` handle. A `Buf` has 16 bytes.
pub struct Buf {
    pool: Rc<Inner>,
    /// Less than the pool's capacity; neither free nor in another `Buf`.
    index: u32,
}

impl Buf {
    fn start(&self) -> NonNull<u8> {
        // SAFETY: `index < capacity`, and the arena has `stride * capacity` bytes from `base`.
        unsafe { self.pool.base.add(self.index as usize * self.pool.stride) }
    }
}

impl Deref for Buf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `start` is valid for `stride >= buffer_size` bytes, which are initialised since the arena was zeroed, and
        // which live as long as `self.pool`. No other `Buf` has this index, so writers need `&mut self`.
        unsafe { slice::from_raw_parts(self.start().as_ptr(), self.pool.buffer_size) }
    }
}

impl DerefMut for Buf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; `&mut self` on the only `Buf` with this index makes the reference unique.
        unsafe { slice::from_raw_parts_mut(self.start().as_ptr(), self.pool.buffer_size) }
    }
}

impl Drop for Buf {
    fn drop(&mut self) {
        // Never allocates: the stack has a place for each buffer.
        self.pool.free.borrow_mut().returned.push(self.index);
    }
}

impl fmt::Debug for Buf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buf({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pool(buffers: usize, buffer_size: usize) -> Pool {
        Pool::new(&PoolOptions::new(buffers, buffer_size)).expect("a pool")
    }

    #[test]
    fn a_buffer_handle_is_small() {
        assert_eq!(size_of::<Buf>(), 16);
        assert_eq!(size_of::<Option<Buf>>(), 16);
    }

    #[test]
    fn get_returns_each_buffer_and_then_none() {
        let pool = pool(3, 100);
        let held: Vec<_> = (0..3).map_while(|_| pool.get()).collect();
        assert_eq!((held.len(), pool.available(), pool.capacity()), (3, 0, 3));
        assert!(pool.get().is_none());
        assert!(pool.get().is_none());
        assert_eq!(
            pool.stats(),
            PoolStats {
                exhausted: 2,
                high_water: 3
            }
        );
        drop(held);
        assert_eq!(pool.available(), 3);
        assert!(pool.get().is_some());
        assert_eq!(
            pool.stats(),
            PoolStats {
                exhausted: 2,
                high_water: 3
            }
        );
    }

    #[test]
    fn get_returns_the_buffer_returned_last() {
        let pool = pool(4, 64);
        let a = pool.get().expect("a buffer");
        let b = pool.get().expect("a buffer");
        let (at_a, at_b) = (a.as_ptr(), b.as_ptr());
        drop(a);
        drop(b);
        let first = pool.get().expect("a buffer");
        let second = pool.get().expect("a buffer");
        assert_eq!((first.as_ptr(), second.as_ptr()), (at_b, at_a));
        assert_eq!(pool.stats().high_water, 2);
    }

    /// Takes `count` buffers, writes to each, and returns them.
    fn peak(pool: &Pool, count: usize) {
        let mut held: Vec<_> = (0..count).map_while(|_| pool.get()).collect();
        assert_eq!(held.len(), count);
        held.iter_mut().for_each(|buf| buf.fill(1));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_of_a_peak_is_returned_when_it_was_free_from_one_trim_to_the_next() {
        let pool = pool(300, 8192);
        assert!(pool.is_trimmed());
        peak(&pool, 200);
        assert_eq!(pool.trim(usize::MAX), 0, "they were in use");
        assert!(!pool.is_trimmed());
        peak(&pool, 40);
        assert_eq!(pool.trim(100), 200 - 40 - KEPT, "the last ones were in use");
        assert_eq!(pool.trim(10), 10);
        assert_eq!(pool.trim(usize::MAX), 30);
        assert_eq!(pool.trim(usize::MAX), 0);
        assert!(pool.is_trimmed());
        // All are usable, and a buffer is either as its last owner left it or zero.
        let mut held: Vec<_> = (0..300).map_while(|_| pool.get()).collect();
        let zero = held
            .iter()
            .filter(|buf| buf.iter().all(|&byte| byte == 0))
            .count();
        assert_eq!((held.len(), zero), (300, 300 - KEPT));
        held.iter_mut().for_each(|buf| buf.fill(2));
        drop(held);
        assert_eq!(pool.trim(usize::MAX), 0, "they were in use");
        assert_eq!(pool.trim(usize::MAX), 300 - KEPT);
    }

    #[test]
    fn buffers_of_less_than_a_page_keep_their_contents() {
        let pool = pool(200, 64);
        peak(&pool, 200);
        pool.trim(usize::MAX);
        pool.trim(usize::MAX);
        let held: Vec<_> = (0..200).map_while(|_| pool.get()).collect();
        assert!(held.iter().all(|buf| buf.iter().all(|&byte| byte == 1)));
    }

    #[test]
    fn buffers_are_aligned_and_have_the_size_asked_for() {
        for size in [1, 63, 64, 65, 1500, 16384] {
            let pool = pool(5, size);
            let held: Vec<_> = (0..5).map_while(|_| pool.get()).collect();
            assert_eq!(held.len(), 5);
            for buf in &held {
                assert_eq!(buf.as_ptr().align_offset(ALIGN), 0);
                assert_eq!(buf.len(), size);
            }
        }
    }

    #[test]
    fn a_buffer_outlives_the_last_handle() {
        let pool = pool(2, 4096);
        let mut buf = pool.get().expect("a buffer");
        let other = pool.get().expect("a buffer");
        drop(pool);
        drop(other);
        buf.fill(7);
        assert!(buf.iter().all(|&byte| byte == 7));
    }

    #[test]
    fn fresh_buffers_are_zero_and_used_ones_are_not_cleared() {
        let pool = pool(1, 8);
        let mut buf = pool.get().expect("a buffer");
        assert_eq!(&*buf, [0; 8]);
        buf[3] = 5;
        drop(buf);
        assert_eq!(pool.get().expect("a buffer")[3], 5);
    }

    #[test]
    fn impossible_sizes_are_refused() {
        let too_many = u32::MAX as usize + 1;
        for (buffers, buffer_size) in [
            (0, 1),
            (1, 0),
            (too_many, 1),
            (1, usize::MAX),
            (1 << 30, 1 << 60),
        ] {
            let result = Pool::new(&PoolOptions::new(buffers, buffer_size));
            assert_eq!(
                result.expect_err("no pool").kind(),
                io::ErrorKind::InvalidInput
            );
        }
    }

    proptest! {
        /// The model is a list of free positions. Each buffer taken is free, is the one returned last if any was returned, and
        /// keeps the bytes of its owner until it is returned.
        #[test]
        fn behaves_as_a_stack_of_distinct_buffers(
            capacity in 1_usize..12,
            size in 1_usize..200,
            steps in prop::collection::vec((any::<bool>(), any::<usize>()), 0..200),
        ) {
            let pool = pool(capacity, size);
            let mut held: Vec<(Buf, u8)> = Vec::new();
            let mut returned: Vec<*const u8> = Vec::new();
            let mut seen: Vec<*const u8> = Vec::new();
            let mut exhausted = 0;
            for (step, (get, pick)) in steps.into_iter().enumerate() {
                if get {
                    match pool.get() {
                        Some(mut buf) => {
                            if let Some(expected) = returned.pop() {
                                prop_assert_eq!(buf.as_ptr(), expected);
                            } else {
                                prop_assert!(!seen.contains(&buf.as_ptr()));
                                seen.push(buf.as_ptr());
                            }
                            buf.fill(step as u8);
                            held.push((buf, step as u8));
                        }
                        None => {
                            exhausted += 1;
                            prop_assert_eq!(held.len(), capacity);
                        }
                    }
                } else if !held.is_empty() {
                    let (buf, mark) = held.swap_remove(pick % held.len());
                    prop_assert!(buf.iter().all(|&byte| byte == mark));
                    returned.push(buf.as_ptr());
                }
                prop_assert_eq!(pool.available(), capacity - held.len());
            }
            prop_assert_eq!(pool.stats(), PoolStats { exhausted, high_water: seen.len() });
            for (buf, mark) in &held {
                prop_assert!(buf.iter().all(|byte| byte == mark));
            }
        }
    }
}
