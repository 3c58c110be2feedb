//! An allocator that counts what chosen threads allocate.
//!
//! A binary installs it with `#[global_allocator]`. A thread is counted from the moment it calls [`watch`]: so the lcore
//! under test is, and the client that drives it in the same process is not.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

thread_local! {
    // Constant and without a destructor: reading it allocates nothing, which inside of an allocator it must not.
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

static COUNT: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

/// The system's allocator, with a count in front of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counting;

/// What watched threads have allocated so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Allocations {
    /// Calls that asked for memory: allocations and reallocations.
    pub count: u64,
    /// Bytes they asked for.
    pub bytes: u64,
}

/// Counts the calling thread's allocations from now on.
pub fn watch() {
    WATCHED.set(true);
}

/// Stops counting the calling thread.
pub fn unwatch() {
    WATCHED.set(false);
}

/// What all watched threads have allocated since the process began.
#[must_use]
pub fn so_far() -> Allocations {
    Allocations {
        count: COUNT.load(Ordering::Relaxed),
        bytes: BYTES.load(Ordering::Relaxed),
    }
}

fn count(bytes: usize) {
    // A thread that is being torn down has no thread-locals any more.
    if WATCHED.try_with(Cell::get).unwrap_or(false) {
        COUNT.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

// SAFETY: every call is handed to the system's allocator unchanged; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;

    #[test]
    fn only_watched_threads_count() {
        let before = so_far();
        std::hint::black_box(vec![0u8; 4096]);
        assert_eq!(so_far(), before, "an unwatched thread was counted");
        watch();
        let mut grown = std::hint::black_box(Vec::<u8>::with_capacity(100));
        grown.reserve_exact(1000);
        unwatch();
        drop(grown);
        let after = so_far();
        assert_eq!(after.count - before.count, 2);
        assert_eq!(after.bytes - before.bytes, 1100);
    }
}
