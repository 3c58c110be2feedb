//! Memory between two pages without access.

use std::io;
use std::ptr::{self, NonNull};

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

use crate::types::LONGEST;

/// A page, or more where pages are larger: a multiple of all usual sizes.
const GUARD: usize = 64 << 10;

/// [`LONGEST`] bytes, rounded up to pages, with a guard before and behind them.
pub(crate) struct Guarded {
    start: NonNull<u8>,
    usable: usize,
}

impl Guarded {
    pub(crate) fn new() -> io::Result<Self> {
        let usable = LONGEST.next_multiple_of(GUARD);
        let len = usable + 2 * GUARD;
        // SAFETY: a new mapping at an address that the kernel chooses overlaps no other memory.
        let start =
            unsafe { mmap_anonymous(ptr::null_mut(), len, ProtFlags::empty(), MapFlags::PRIVATE) }?;
        let start = NonNull::new(start.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        let all = Self { start, usable };
        // SAFETY: the range lies within the mapping.
        unsafe {
            let inner = start.add(GUARD).as_ptr().cast();
            mprotect(inner, usable, MprotectFlags::READ | MprotectFlags::WRITE)?;
        }
        Ok(all)
    }

    /// Copies `bytes` to the end of the memory, or to its start.
    pub(crate) fn place(&mut self, bytes: &[u8], at_end: bool) -> &[u8] {
        assert!(bytes.len() <= LONGEST, "a packet of {} bytes", bytes.len());
        let skip = if at_end { self.usable - bytes.len() } else { 0 };
        // SAFETY: the place lies within the accessible part, which `self` owns, and the bytes are initialised by the copy.
        unsafe {
            let to = self.start.add(GUARD + skip);
            ptr::copy_nonoverlapping(bytes.as_ptr(), to.as_ptr(), bytes.len());
            std::slice::from_raw_parts(to.as_ptr(), bytes.len())
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the whole mapping is unmapped once, and no reference into it outlives `self`.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.usable + 2 * GUARD) };
    }
}
