//! Private mappings: their pages and their NUMA node.

use std::fs;
use std::io;
use std::ptr::{self, NonNull};

use libc::c_int;

use super::{Arena, ArenaOptions, Backing, HUGE, HugePages};

/// A whole mapping, for `munmap`.
pub(super) struct Region {
    start: NonNull<u8>,
    len: usize,
}

/// Maps a region with the pages asked for, or with the next smaller ones that the system has.
pub(super) fn map(options: &ArenaOptions) -> io::Result<Arena> {
    let explicit = match options.huge_pages {
        HugePages::Explicit => map_explicit(options.bytes),
        HugePages::Off | HugePages::Transparent => None,
    };
    let mut arena = match explicit {
        Some(arena) => arena,
        None => map_base(options)?,
    };
    // Before the first touch: the policy decides where pages are allocated, and moves none.
    arena.node = options
        .node
        .filter(|&node| prefer_node(&arena.region, node));
    Ok(arena)
}

pub(super) fn unmap(region: &Region) {
    // SAFETY: `region` is a whole mapping made by `mmap` below and is unmapped once, when its arena is dropped. All pointers
    // into it belong to borrowers or owners of that arena.
    unsafe { libc::munmap(region.start.as_ptr().cast(), region.len) };
}

/// Asks for huge pages in a range whose length is a multiple of their size.
pub(super) fn prefer_huge_pages(start: *const u8, len: usize) {
    // SAFETY: this advice changes no contents; where nothing is mapped, the call fails.
    unsafe { libc::madvise(start.cast_mut().cast(), len, libc::MADV_HUGEPAGE) };
}

/// Drops the pages.
///
/// # Safety
/// The range must lie within a private anonymous mapping of the caller, and the caller must not rely on its contents.
pub(super) unsafe fn give_back(start: NonNull<u8>, len: usize) -> bool {
    // SAFETY: the caller guarantees it.
    unsafe { libc::madvise(start.as_ptr().cast(), len, libc::MADV_DONTNEED) == 0 }
}

/// Maps reserved huge pages. Without MAP_NORESERVE, unlike `map_base`, the kernel reserves the pages now or fails now.
/// Otherwise the first touch of a missing page would raise SIGBUS.
fn map_explicit(bytes: usize) -> Option<Arena> {
    let region = mmap(
        bytes.next_multiple_of(HUGE),
        libc::MAP_HUGETLB | libc::MAP_HUGE_2MB,
    )
    .ok()?;
    Some(Arena {
        base: region.start,
        len: bytes,
        region,
        backing: Backing::Huge2M,
        node: None,
    })
}

/// Maps base pages, and asks the kernel to make them huge, or not to.
fn map_base(options: &ArenaOptions) -> io::Result<Arena> {
    // A smaller region contains no aligned 2 MiB that could become a huge page.
    let huge = options.huge_pages != HugePages::Off && options.bytes >= HUGE;
    // 2 MiB more of address space, which costs nothing, contain an aligned start.
    let spare = if huge { HUGE } else { 0 };
    let region = mmap(options.bytes + spare, libc::MAP_NORESERVE).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("cannot map {} bytes: {error}", options.bytes),
        )
    })?;
    let skip = if huge {
        region.start.as_ptr().align_offset(HUGE)
    } else {
        0
    };
    // SAFETY: `skip` is less than HUGE, which was added to the length of the mapping, so `base` is within it.
    let base = unsafe { region.start.add(skip) };
    let advice = if huge {
        libc::MADV_HUGEPAGE
    } else {
        libc::MADV_NOHUGEPAGE
    };
    // SAFETY: advice on a mapping of our own, whose contents both kinds leave unchanged. The start of a mapping is
    // page-aligned.
    let advised = unsafe { libc::madvise(region.start.as_ptr().cast(), region.len, advice) } == 0;
    let backing = if huge && advised && transparent_enabled() {
        Backing::Transparent
    } else {
        Backing::Base
    };
    Ok(Arena {
        base,
        len: options.bytes,
        region,
        backing,
        node: None,
    })
}

fn mmap(len: usize, flags: c_int) -> io::Result<Region> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = flags | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new anonymous mapping at an address that the kernel chooses overlaps nothing.
    let start = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
    Ok(Region { start, len })
}

/// Whether transparent huge pages are enabled: `madvise` succeeds even where the administrator has disabled them.
fn transparent_enabled() -> bool {
    fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled")
        .is_ok_and(|modes| !modes.contains("[never]"))
}

/// Sets the preferred node; returns whether the kernel accepted it. It does not if it has no such node or no NUMA, or if a
/// sandbox forbids the call.
fn prefer_node(region: &Region, node: u32) -> bool {
    const MPOL_PREFERRED: usize = 1;
    const BITS: usize = usize::BITS as usize;
    let mut mask = [0_usize; 1024 / BITS];
    let node = node as usize;
    let Some(word) = mask.get_mut(node / BITS) else {
        return false;
    };
    *word = 1 << (node % BITS);
    // SAFETY: the kernel reads at most the given number of bits of `mask`, which outlives the call, and sets the policy of a
    // mapping of our own. Contents do not change.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mbind,
            region.start.as_ptr(),
            region.len,
            MPOL_PREFERRED,
            mask.as_ptr(),
            mask.len() * BITS,
            0_usize,
        )
    };
    result == 0
}
