//! How the C library's allocator keeps memory that was freed.

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
