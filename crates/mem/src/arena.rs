//! One zeroed region of memory.

use std::fmt;
use std::io;
use std::ptr::NonNull;
use std::slice;
use std::str::FromStr;

#[cfg(not(target_os = "linux"))]
#[path = "arena/heap.rs"]
mod sys;
#[cfg(target_os = "linux")]
#[path = "arena/linux.rs"]
mod sys;

/// Bytes of a huge page.
pub(crate) const HUGE: usize = 2 << 20;

/// Bytes of a base page. Where base pages are larger, `give_back` fails and changes nothing.
const PAGE: usize = 4096;

/// The huge pages to ask for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum HugePages {
    /// None. The kernel is also asked not to use them by itself, so that touching one buffer costs one base page.
    #[default]
    Off,
    /// Transparent huge pages, where the kernel has them. Touching one byte may then cost 2 MiB.
    Transparent,
    /// Pages of 2 MiB from the reserved pool (`vm.nr_hugepages`). The whole region is taken from that pool at once. If the
    /// pool is too small, this falls back to `Transparent`.
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
    type Err = UnknownHugePages;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self::Off),
            "transparent" => Ok(Self::Transparent),
            "explicit" => Ok(Self::Explicit),
            _ => Err(UnknownHugePages(text.to_owned())),
        }
    }
}

/// A text that is not the name of a [`HugePages`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnknownHugePages(String);

impl fmt::Display for UnknownHugePages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is none of off, transparent, explicit", self.0)
    }
}

impl std::error::Error for UnknownHugePages {}

/// Asks the system to use huge pages for the aligned 2 MiB pieces of this memory when they are touched. It is meant for large
/// arrays of the allocator that are read at random. It is a hint and changes no contents.
pub fn prefer_huge_pages<T>(start: *const T, items: usize) {
    let start = start.cast::<u8>();
    let bytes = items.saturating_mul(size_of::<T>());
    let skip = start.align_offset(HUGE);
    if let Some(left) = bytes.checked_sub(skip)
        && left >= HUGE
    {
        sys::prefer_huge_pages(start.wrapping_add(skip), left / HUGE * HUGE);
    }
}

/// Arrays of at least this size get huge pages, even if little of them is used.
const LARGE: usize = 8 << 20;

/// An empty vector with capacity for `items`, so that it does not move before it has more. From 8 MiB on it asks for huge
/// pages. Unused capacity costs address space only.
///
/// # Panics
/// If the system has not enough address space.
#[must_use]
pub fn room_for<T>(items: usize) -> Vec<T> {
    let mut vec = Vec::new();
    vec.reserve_exact(items);
    if items.saturating_mul(size_of::<T>()) >= LARGE {
        prefer_huge_pages(vec.as_ptr(), items);
    }
    vec
}

/// The pages of a region.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Backing {
    /// Reserved pages of 2 MiB.
    Huge2M,
    /// Base pages that the kernel may make huge.
    Transparent,
    /// Base pages.
    Base,
    /// The heap, on systems other than Linux.
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

/// Options of [`Arena::new`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ArenaOptions {
    /// Bytes of the region; at least 1.
    pub bytes: usize,
    /// The pages to ask for.
    pub huge_pages: HugePages,
    /// The NUMA node to prefer. The kernel may decline: [`Arena::node`] returns the node that it accepted.
    pub node: Option<u32>,
}

impl ArenaOptions {
    /// `bytes` of base pages, on no particular node.
    #[must_use]
    pub const fn new(bytes: usize) -> Self {
        Self {
            bytes,
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

/// A zeroed region of memory, aligned to at least 4096 bytes, and to 2 MiB if its pages are or may become huge. Untouched
/// pages cost no memory, except with [`Backing::Huge2M`], where the kernel reserves all of them.
pub struct Arena {
    /// First usable byte.
    base: NonNull<u8>,
    /// Usable bytes.
    len: usize,
    /// Describes the memory to return to the system on drop.
    region: sys::Region,
    backing: Backing,
    node: Option<u32>,
}

// SAFETY: an `Arena` is the only owner of its region, and neither a mapping nor a heap block is tied to the thread that made
// it.
unsafe impl Send for Arena {}
// SAFETY: through `&Arena` the region can only be read; `base()` returns a pointer, and a caller that uses it must justify it.
unsafe impl Sync for Arena {}

impl Arena {
    /// Makes a region.
    ///
    /// # Errors
    /// `InvalidInput` if `bytes` is 0 or more than half the address space; the error of the system, such as `OutOfMemory`, if
    /// it has no memory. Missing huge pages and an unknown NUMA node are not errors.
    pub fn new(options: &ArenaOptions) -> io::Result<Self> {
        if options.bytes == 0 || options.bytes > isize::MAX as usize - 2 * HUGE {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("an arena cannot have {} bytes", options.bytes),
            ));
        }
        sys::map(options)
    }

    /// The pages that it has.
    #[must_use]
    pub fn backing(&self) -> Backing {
        self.backing
    }

    /// The NUMA node that it prefers, if one was asked for and the kernel accepted it.
    #[must_use]
    pub fn node(&self) -> Option<u32> {
        self.node
    }

    /// Usable bytes: the number that was asked for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Always `false`: an arena has at least one byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The whole region.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: `base` points to `len` bytes that live as long as `self` and that the system zeroed; `&self` excludes
        // `as_mut_slice`, and users of `base()` must justify their accesses.
        unsafe { slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }

    /// The whole region, mutable.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`, and `&mut self` makes this the only reference.
        unsafe { slice::from_raw_parts_mut(self.base.as_ptr(), self.len) }
    }

    /// The first byte. It is valid for reads and writes of `len()` bytes while the arena lives. A caller that uses it must
    /// ensure that no other access conflicts.
    #[must_use]
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Returns the memory of whole pages within `range` (bytes from the beginning) to the system. Their contents are lost: they
    /// read as zero and cost nothing until they are written again. Returns whether that was done. With reserved huge pages, and
    /// on systems without such a call, nothing changes.
    pub fn give_back(&mut self, range: std::ops::Range<usize>) -> bool {
        // SAFETY: `&mut self` excludes references to the region.
        unsafe { self.give_back_free(range) }
    }

    /// [`give_back`](Self::give_back) for an owner that divides the region.
    ///
    /// # Safety
    /// There must be no reference to bytes of the range, and nobody may rely on its contents.
    pub(crate) unsafe fn give_back_free(&self, range: std::ops::Range<usize>) -> bool {
        if self.backing == Backing::Huge2M {
            return false;
        }
        let start = range.start.next_multiple_of(PAGE);
        let end = range.end.min(self.len) / PAGE * PAGE;
        // SAFETY: the range lies within the region, which `self` owns; the caller guarantees that it is unused.
        start < end && unsafe { sys::give_back(self.base.add(start), end - start) }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn arena(bytes: usize, huge_pages: HugePages) -> Arena {
        Arena::new(&ArenaOptions::new(bytes).huge_pages(huge_pages)).expect("an arena")
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
    fn pages_given_back_read_as_zero_and_the_rest_is_unchanged() {
        let mut arena = arena(8 * PAGE, HugePages::Off);
        arena.as_mut_slice().fill(7);
        let given = arena.give_back(PAGE - 1..3 * PAGE + 1);
        assert_eq!(given, cfg!(target_os = "linux"));
        let zeros = |arena: &Arena| arena.as_slice().iter().filter(|&&byte| byte == 0).count();
        assert_eq!(zeros(&arena), if given { 2 * PAGE } else { 0 });
        assert_eq!(arena.as_slice()[PAGE - 1], 7);
        assert_eq!(arena.as_slice()[3 * PAGE], 7);
        assert!(!arena.give_back(1..PAGE), "not a whole page");
        assert!(!arena.give_back(7 * PAGE..7 * PAGE), "nothing");
        // A range beyond the end is cut.
        arena.give_back(0..usize::MAX);
        arena.as_mut_slice()[0] = 1;
        assert_eq!(arena.as_slice()[0], 1);
    }

    #[test]
    fn impossible_sizes_are_refused() {
        for bytes in [0, usize::MAX, isize::MAX as usize] {
            let error = Arena::new(&ArenaOptions::new(bytes)).expect_err("no arena");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn backing_returns_the_pages_of_the_region() {
        assert_eq!(arena(HUGE, HugePages::Off).backing(), Backing::Base);
        // 1 GiB more than is reserved: falls back to the backing of transparent pages.
        let memory = std::fs::read_to_string("/proc/meminfo").expect("/proc is mounted");
        let free = memory
            .lines()
            .find_map(|line| line.strip_prefix("HugePages_Free:"));
        let free: usize = free
            .and_then(|pages| pages.trim().parse().ok())
            .unwrap_or(0);
        let fallback = arena(free * HUGE + (1 << 30), HugePages::Explicit).backing();
        assert_eq!(fallback, arena(HUGE, HugePages::Transparent).backing());
        assert!(matches!(fallback, Backing::Transparent | Backing::Base));
        // Too small to contain a huge page.
        assert_eq!(
            arena(HUGE - 1, HugePages::Transparent).backing(),
            Backing::Base
        );
    }

    #[test]
    fn an_unknown_node_is_no_error_but_reported() {
        for node in [999, 1024, u32::MAX] {
            let arena = Arena::new(&ArenaOptions::new(4096).node(Some(node)));
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
