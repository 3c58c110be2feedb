//! One zeroed region of memory, and how it came to be.

use std::fmt;
use std::io;
use std::ptr::NonNull;
use std::slice;
use std::str::FromStr;

/// Bytes of the huge pages asked for.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
pub(crate) const HUGE: usize = 2 << 20;

/// The huge pages to ask for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum HugePages {
    /// None. The kernel is told not to use them on its own either, so that touching one buffer costs one base page.
    #[default]
    Off,
    /// Transparent ones, where the kernel finds them. Touching one byte may then cost 2 MiB.
    Transparent,
    /// Pages of 2 MiB from the reserved pool (`vm.nr_hugepages`). The whole region is taken from that pool at once;
    /// if the pool is too small, this falls back to `Transparent`.
    Explicit,
}

impl fmt::Display for HugePages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Transparent => "transparent",
            Self::Explicit => "explicit",
        })
    }
}

impl FromStr for HugePages {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self::Off),
            "transparent" => Ok(Self::Transparent),
            "explicit" => Ok(Self::Explicit),
            _ => Err(format!("'{text}' is none of off, transparent, explicit")),
        }
    }
}

/// The pages a region got.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Backing {
    /// Reserved pages of 2 MiB.
    Huge2M,
    /// Base pages that the kernel may make huge.
    Transparent,
    /// Base pages.
    Base,
    /// The heap: not Linux.
    Heap,
}

impl fmt::Display for Backing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Huge2M => "2 MiB pages",
            Self::Transparent => "transparent huge pages",
            Self::Base => "base pages",
            Self::Heap => "heap",
        })
    }
}

/// What [`Arena::new`] is to make.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ArenaOptions {
    /// Bytes; at least 1.
    pub bytes: usize,
    /// The pages to ask for.
    pub huge_pages: HugePages,
    /// The NUMA node to prefer. A wish: [`Arena::node`] says whether the kernel took it.
    pub node: Option<u32>,
}

/// A zeroed region of memory, aligned to 4096 bytes at least (2 MiB if the pages are or may be huge). Its untouched pages cost
/// no memory, except with [`Backing::Huge2M`], where the kernel sets all of them aside.
pub struct Arena {
    /// First usable byte.
    base: NonNull<u8>,
    /// Usable bytes.
    len: usize,
    /// What to give back to the system in the end, and how.
    region: sys::Region,
    backing: Backing,
    node: Option<u32>,
}

// SAFETY: an `Arena` is the only owner of its region, and neither mapping nor heap block is tied to the thread that made it.
unsafe impl Send for Arena {}
// SAFETY: through `&Arena` the region can only be read; `base()` gives a pointer whose use is the caller's to justify.
unsafe impl Sync for Arena {}

impl Arena {
    /// Makes a region.
    ///
    /// # Errors
    /// `InvalidInput` if `bytes` is 0 or more than half the address space; `OutOfMemory` and the like if the system has
    /// no room. Missing huge pages and an unknown NUMA node are not errors.
    pub fn new(options: &ArenaOptions) -> io::Result<Self> {
        if options.bytes == 0 || options.bytes > isize::MAX as usize - 2 * HUGE {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("an arena cannot have {} bytes", options.bytes),
            ));
        }
        sys::map(options)
    }

    /// The pages it got.
    #[must_use]
    pub fn backing(&self) -> Backing {
        self.backing
    }

    /// The NUMA node it prefers, if one was asked for and the kernel agreed.
    #[must_use]
    pub fn node(&self) -> Option<u32> {
        self.node
    }

    /// Usable bytes: what was asked for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never: an arena has at least one byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The whole region.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: `base` points to `len` bytes that live as long as `self`, all initialised (the system zeroed them); `&self`
        // keeps `as_mut_slice` out, and users of `base()` answer for themselves.
        unsafe { slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }

    /// The whole region, to write to.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`, and `&mut self` makes this the only reference.
        unsafe { slice::from_raw_parts_mut(self.base.as_ptr(), self.len) }
    }

    /// The first byte. Good for `len()` bytes, reading and writing, while the arena lives.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        sys::unmap(&self.region);
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena")
            .field("len", &self.len)
            .field("backing", &self.backing)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

#[cfg(target_os = "linux")]
mod sys {
    use std::fs;
    use std::io;
    use std::ptr::{self, NonNull};

    use libc::c_int;

    use super::{Arena, ArenaOptions, Backing, HUGE, HugePages};

    /// A mapping, as `munmap` wants it.
    pub(super) struct Region {
        start: NonNull<u8>,
        len: usize,
    }

    /// Goes down the ladder from what was asked for to base pages.
    pub(super) fn map(options: &ArenaOptions) -> io::Result<Arena> {
        let explicit = match options.huge_pages {
            HugePages::Explicit => map_explicit(options.bytes),
            HugePages::Off | HugePages::Transparent => None,
        };
        let mut arena = match explicit {
            Some(arena) => arena,
            None => map_base(options)?,
        };
        // Before the first touch: the policy decides where pages are born and moves none.
        arena.node = options
            .node
            .filter(|&node| prefer_node(&arena.region, node));
        Ok(arena)
    }

    pub(super) fn unmap(region: &Region) {
        // SAFETY: `region` is a whole mapping made by `mmap` below and is unmapped once: its arena is being dropped, and
        // whoever had pointers into it borrowed or owned that arena.
        unsafe { libc::munmap(region.start.as_ptr().cast(), region.len) };
    }

    /// Reserved huge pages. Without MAP_NORESERVE, unlike below: it makes the kernel set the pages aside now or fail now,
    /// where otherwise the first touch of a page that is not there would be a SIGBUS.
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

    /// Base pages, which the kernel is asked to make huge, or not to.
    fn map_base(options: &ArenaOptions) -> io::Result<Arena> {
        // A smaller region has no aligned 2 MiB in it that could become a huge page.
        let huge = options.huge_pages != HugePages::Off && options.bytes >= HUGE;
        // Address space is free: with 2 MiB more there is an aligned start in it.
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
        // SAFETY: `skip` is less than HUGE, which was added to the length of the mapping, so this stays inside of it.
        let base = unsafe { region.start.add(skip) };
        let advice = if huge {
            libc::MADV_HUGEPAGE
        } else {
            libc::MADV_NOHUGEPAGE
        };
        // SAFETY: advice on a mapping of our own; both kinds leave its contents alone. Page-aligned: `skip` is a multiple of
        // the page size, as both the mapping and HUGE are.
        let advised =
            unsafe { libc::madvise(region.start.as_ptr().cast(), region.len, advice) } == 0;
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
        // SAFETY: a new anonymous mapping at a place the kernel chooses touches nothing that exists.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Region { start, len })
    }

    /// `madvise` succeeds even where the administrator has switched transparent huge pages off.
    fn transparent_enabled() -> bool {
        fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled")
            .is_ok_and(|modes| !modes.contains("[never]"))
    }

    /// Whether the kernel agreed. It does not if it has no such node, has no NUMA, or a sandbox forbids the call.
    fn prefer_node(region: &Region, node: u32) -> bool {
        const MPOL_PREFERRED: usize = 1;
        const BITS: usize = usize::BITS as usize;
        let mut mask = [0_usize; 1024 / BITS];
        let node = node as usize;
        let Some(word) = mask.get_mut(node / BITS) else {
            return false;
        };
        *word = 1 << (node % BITS);
        // SAFETY: the kernel reads `mask`, which outlives the call, no further than the number of bits given (it drops one
        // from that number), and sets the policy of a mapping of our own; contents do not change.
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
}

#[cfg(not(target_os = "linux"))]
mod sys {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arena(bytes: usize, huge_pages: HugePages) -> Arena {
        Arena::new(&ArenaOptions {
            bytes,
            huge_pages,
            node: None,
        })
        .expect("an arena")
    }

    #[test]
    fn is_zeroed_and_writable_to_its_last_byte() {
        for huge_pages in [HugePages::Off, HugePages::Transparent, HugePages::Explicit] {
            let mut arena = arena(3 * HUGE + 5, huge_pages);
            assert_eq!(arena.len(), 3 * HUGE + 5);
            assert!(!arena.is_empty());
            assert!(arena.as_slice().iter().all(|&byte| byte == 0));
            let last = arena.len() - 1;
            arena.as_mut_slice()[0] = 1;
            arena.as_mut_slice()[last] = 2;
            assert_eq!((arena.as_slice()[0], arena.as_slice()[last]), (1, 2));
        }
    }

    #[test]
    fn is_page_aligned_and_huge_aligned_where_it_may_be_huge() {
        assert_eq!(arena(1, HugePages::Off).base().align_offset(4096), 0);
        let huge = arena(HUGE, HugePages::Explicit);
        if matches!(huge.backing(), Backing::Huge2M | Backing::Transparent) {
            assert_eq!(huge.base().align_offset(HUGE), 0);
        }
    }

    #[test]
    fn refuses_sizes_that_cannot_be() {
        for bytes in [0, usize::MAX, isize::MAX as usize] {
            let error = Arena::new(&ArenaOptions {
                bytes,
                ..ArenaOptions::default()
            })
            .expect_err("no arena");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn says_which_pages_it_got() {
        assert_eq!(arena(HUGE, HugePages::Off).backing(), Backing::Base);
        // 1 TiB, more than any machine reserves: the ladder leads to what transparent pages would have got.
        let fallback = arena(1 << 40, HugePages::Explicit).backing();
        assert_eq!(fallback, arena(HUGE, HugePages::Transparent).backing());
        assert!(matches!(fallback, Backing::Transparent | Backing::Base));
        // Too small to contain a huge page.
        assert_eq!(
            arena(HUGE - 1, HugePages::Transparent).backing(),
            Backing::Base
        );
    }

    #[test]
    fn an_impossible_node_is_no_error_but_reported() {
        for node in [999, 1024, u32::MAX] {
            let arena = Arena::new(&ArenaOptions {
                bytes: 4096,
                node: Some(node),
                ..ArenaOptions::default()
            });
            assert_eq!(arena.expect("an arena").node(), None);
        }
    }

    #[test]
    fn huge_pages_have_names_that_parse_back() {
        for choice in [HugePages::Off, HugePages::Transparent, HugePages::Explicit] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        assert!("2M".parse::<HugePages>().is_err());
    }

    #[test]
    fn can_move_to_another_thread() {
        let mut arena = arena(4096, HugePages::Off);
        arena.as_mut_slice()[7] = 9;
        let seen = std::thread::spawn(move || arena.as_slice()[7]).join();
        assert_eq!(seen.ok(), Some(9));
    }
}
