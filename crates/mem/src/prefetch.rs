//! Prefetches cache lines. A prefetch is a hint: it reads nothing, and its address need not be valid.

/// Prefetches the cache line in which `of` begins.
#[inline]
pub fn line<T>(of: *const T) {
    lines(of.cast(), 1);
}

/// Prefetches all cache lines that contain a part of `of`.
#[inline]
pub fn item<T>(of: *const T) {
    let skew = of.addr() % 64;
    lines(of.cast(), (skew + size_of::<T>()).div_ceil(64));
}

/// Prefetches `n` cache lines, the first one at `start`.
#[inline]
pub fn lines(start: *const u8, n: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        for line in 0..n {
            // SAFETY: a prefetch does not fault, and changes no state except that of the caches.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(line * 64).cast()) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (start, n);
}
