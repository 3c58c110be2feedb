//! Regions on the heap, for systems other than Linux.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::io;
use std::ptr::NonNull;

use super::{Arena, ArenaOptions, Backing};

/// A heap block with its layout, for `dealloc`.
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
    // SAFETY: `start` came from `alloc_zeroed` with this layout and is freed once, when its arena is dropped.
    unsafe { dealloc(region.start.as_ptr(), region.layout) };
}

/// Does nothing: there is no such call.
///
/// # Safety
/// Always safe.
pub(super) unsafe fn give_back(_start: NonNull<u8>, _len: usize) -> bool {
    false
}

/// Does nothing: there is no such call.
pub(super) fn prefer_huge_pages(_start: *const u8, _len: usize) {}
