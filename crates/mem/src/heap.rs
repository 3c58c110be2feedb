//! How the C library's allocator keeps memory that was freed, and when it returns it.

/// Makes the C library return large blocks to the system as soon as they are freed, for the whole process. Call it once, before other
/// threads exist. It has an effect with glibc only.
///
/// By default glibc raises the size of the blocks that it maps by themselves to that of the largest one that was freed (mallopt(3),
/// `M_MMAP_THRESHOLD`). In a server, one burst of large messages then moves all large buffers into the heaps of its threads, which
/// become fragmented and never shrink.
pub fn return_large_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const LARGE: libc::c_int = 256 << 10;
        const SPARE: libc::c_int = 1 << 20;
        // SAFETY: `mallopt` takes two numbers, and no other thread allocates yet. A number that it refuses changes nothing.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
            libc::mallopt(libc::M_TRIM_THRESHOLD, SPARE);
        }
    }
}

/// Returns the free pages of all heaps of the C library to the system. It has an effect with glibc only.
///
/// glibc itself returns the end of a heap and never a page in its middle (malloc_trim(3)), so memory that many short-lived objects have
/// used stays resident below one that lives longer. The call takes milliseconds for each 10 MB. A thread that allocates meanwhile may
/// have to wait for it, and one that does not allocate does not notice it.
pub fn release_free_pages() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `malloc_trim` takes a number. It changes no memory that is in use, and locks each heap.
    unsafe {
        libc::malloc_trim(0);
    }
}
