//! Asking for cache lines before they are needed. A hint: what it is given is not read, nor need it exist.

/// The line that `of` begins in.
#[inline]
pub fn line<T>(of: *const T) {
    lines(of.cast(), 1);
}

/// All lines that `of` has a part in.
#[inline]
pub fn item<T>(of: *const T) {
    let skew = of.addr() % 64;
    lines(of.cast(), (skew + size_of::<T>()).div_ceil(64));
}

/// `n` lines from `start` on.
#[inline]
pub fn lines(start: *const u8, n: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        for line in 0..n {
            // SAFETY: a prefetch does not fault and changes no state but that of the caches.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(line * 64).cast()) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (start, n);
}
