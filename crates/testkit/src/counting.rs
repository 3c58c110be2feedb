//! An allocator that counts, so that a test can prove that a path does not allocate.
//!
//! A test binary installs it with
//!
//! ```text
//! #[global_allocator]
//! static ALLOCATOR: hioload_testkit::counting::Counting = hioload_testkit::counting::Counting;
//! ```
//!
//! Counts are per thread: other threads of the test runner do not disturb them.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
    static HELD: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator with two counters for each thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counting;

fn count(calls: u64, bytes: isize) {
    // Fails only while the thread ends.
    let _ = CALLS.try_with(|n| n.set(n.get() + calls));
    let _ = HELD.try_with(|n| n.set(n.get() + bytes));
}

// SAFETY: every call is passed to `System` unchanged, which keeps the contract. The counters are const-initialised
// thread-locals without destructors, so using them never allocates.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as isize);
        // SAFETY: `System` requires the same of the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(0, -(layout.size() as isize));
        // SAFETY: `System` allocated `ptr`, since this allocator only passes calls on.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size as isize - layout.size() as isize);
        // SAFETY: as in `dealloc`.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

/// The number of allocations and reallocations of this thread so far.
#[must_use]
pub fn allocations() -> u64 {
    CALLS.with(Cell::get)
}

/// The bytes that this thread has allocated and not freed. Negative if it frees memory that other threads allocated.
#[must_use]
pub fn held() -> isize {
    HELD.with(Cell::get)
}
