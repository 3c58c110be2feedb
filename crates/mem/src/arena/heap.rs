//! The heap, for systems where nothing better is known.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::io;
use std::ptr::NonNull;

use super::{Arena, ArenaOptions, Backing};

/// A heap block, as `dealloc` wants it.
pub(super) struct Region {
    start: NonNull<u8>,
    layout: Layout,
}

pub(super) fn map(options: &ArenaOptions) -> io::Result<Arena> {
    let layout = Layout::from_size_align(options.bytes, 4096)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    // SAFETY: the layout is not empty: `Arena::new` refuses 0 bytes.
    let start = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::OutOfMemory,
            format!("cannot allocate {} bytes", options.bytes),
        )
    })?;
    let region = Region { start, layout };
    Ok(Arena {
        base: start,
        len: options.bytes,
        region,
        backing: Backing::Heap,
        node: None,
    })
}

pub(super) fn unmap(region: &Region) {
    // SAFETY: `start` came from `alloc_zeroed` with this very layout and is freed once, as its arena is dropped.
    unsafe { dealloc(region.start.as_ptr(), region.layout) };
}

/// Not possible.
///
/// # Safety
/// Nothing is done.
pub(super) unsafe fn give_back(_start: NonNull<u8>, _len: usize) -> bool {
    false
}

/// Not possible.
pub(super) fn prefer_huge_pages(_start: *const u8, _len: usize) {}
