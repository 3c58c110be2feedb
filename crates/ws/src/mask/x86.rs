//! SSE2, AVX2 and AVX-512 forms for x86-64.
//!
//! All have one structure: they load the last block first, process the blocks before it in order, and store the last block
//! last. It may overlap the block before, but it was computed from the original bytes. So there is no byte-by-byte tail and
//! no masked store, and masking in place is the case `src == dst`.
#![allow(unsafe_code)]

use std::arch::x86_64::*;
use std::sync::atomic::{AtomicU8, Ordering};

/// The level of the processor, from 1; 0 means not detected yet.
const SSE2: u8 = 1;
const AVX2: u8 = 2;
const AVX512: u8 = 3;

/// All threads write the same value, so relaxed ordering is enough.
static LEVEL: AtomicU8 = AtomicU8::new(0);

#[inline]
fn level() -> u8 {
    match LEVEL.load(Ordering::Relaxed) {
        0 => detect(),
        level => level,
    }
}

#[cold]
fn detect() -> u8 {
    let level = if has_avx512() {
        AVX512
    } else if is_x86_feature_detected!("avx2") {
        AVX2
    } else {
        SSE2
    };
    LEVEL.store(level, Ordering::Relaxed);
    level
}

fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
}

/// Masks `buf` from the first byte of `key` on. Returns whether the result is all ASCII.
#[inline]
pub(super) fn apply(buf: &mut [u8], key: [u8; 4]) -> bool {
    let (ptr, len, key) = (buf.as_mut_ptr(), buf.len(), u32::from_ne_bytes(key));
    // SAFETY: `buf` is `len` bytes that can be read and written, and source and target are the same. The wider forms
    // are called only at the level that `detect` found.
    unsafe { chosen(ptr, ptr, len, key) }
}

/// Copies and masks. The slices have the same length.
#[inline]
pub(super) fn copy(dst: &mut [u8], src: &[u8], key: [u8; 4]) {
    let len = src.len().min(dst.len());
    // SAFETY: both slices have `len` bytes, `src` to be read and `dst` to be written; they do not overlap, since
    // `dst` is borrowed mutably. The wider forms are called only at the level that `detect` found.
    unsafe { chosen(src.as_ptr(), dst.as_mut_ptr(), len, u32::from_ne_bytes(key)) };
}

/// The best form for this processor and length.
///
/// # Safety
/// `src` can be read and `dst` written for `len` bytes; they are the same, or do not overlap.
#[inline]
unsafe fn chosen(src: *const u8, dst: *mut u8, len: usize, key: u32) -> bool {
    // SAFETY: the caller guarantees the slices; `level` is that of the processor.
    unsafe {
        if len <= 32 {
            return short(src, dst, len, key);
        }
        match level() {
            AVX512 => avx512(src, dst, len, key),
            AVX2 => avx2(src, dst, len, key),
            _ => sse2(src, dst, len, key),
        }
    }
}

/// The key rotated for byte `at`.
#[inline]
const fn turned(key: u32, at: usize) -> u32 {
    key.rotate_right(8 * (at as u32 % 4))
}

/// At most 32 bytes: two loads of half the size or more, which overlap in the middle.
///
/// # Safety
/// `src` can be read and `dst` written for `len` bytes; they are the same, or do not overlap.
#[inline]
unsafe fn short(src: *const u8, dst: *mut u8, len: usize, key: u32) -> bool {
    debug_assert!(len <= 32);
    // SAFETY: in each branch `size <= len`, so a block of `size` bytes lies inside both at 0 and at `len - size`. All
    // loads come before all stores. Unaligned forms throughout; SSE2 is part of x86-64.
    unsafe {
        if len >= 16 {
            let last = len - 16;
            let a = _mm_xor_si128(_mm_loadu_si128(src.cast()), _mm_set1_epi32(key as i32));
            let turned = _mm_set1_epi32(turned(key, last) as i32);
            let b = _mm_xor_si128(_mm_loadu_si128(src.add(last).cast()), turned);
            _mm_storeu_si128(dst.cast(), a);
            _mm_storeu_si128(dst.add(last).cast(), b);
            return _mm_movemask_epi8(_mm_or_si128(a, b)) == 0;
        }
        if len >= 8 {
            let last = len - 8;
            let wide = |key: u32| u64::from(key) << 32 | u64::from(key);
            let a = src.cast::<u64>().read_unaligned() ^ wide(key);
            let b = src.add(last).cast::<u64>().read_unaligned() ^ wide(turned(key, last));
            dst.cast::<u64>().write_unaligned(a);
            dst.add(last).cast::<u64>().write_unaligned(b);
            return (a | b) & 0x8080_8080_8080_8080 == 0;
        }
        if len >= 4 {
            let last = len - 4;
            let a = src.cast::<u32>().read_unaligned() ^ key;
            let b = src.add(last).cast::<u32>().read_unaligned() ^ turned(key, last);
            dst.cast::<u32>().write_unaligned(a);
            dst.add(last).cast::<u32>().write_unaligned(b);
            return (a | b) & 0x8080_8080 == 0;
        }
        let mut seen = 0;
        for (at, k) in key.to_ne_bytes().into_iter().enumerate().take(len) {
            let x = src.add(at).read() ^ k;
            dst.add(at).write(x);
            seen |= x;
        }
        seen < 0x80
    }
}

/// # Safety
/// `src` can be read and `dst` written for `len` bytes, at least 16; they are the same, or do not overlap.
unsafe fn sse2(src: *const u8, dst: *mut u8, len: usize, key: u32) -> bool {
    debug_assert!(len >= 16);
    // SAFETY: every block begins at 0 or later and at `len - 16` at the latest, so lies inside. SSE2 is part of x86-64.
    unsafe {
        let last = len - 16;
        let tail_key = _mm_set1_epi32(turned(key, last) as i32);
        let tail = _mm_xor_si128(_mm_loadu_si128(src.add(last).cast()), tail_key);
        let key = _mm_set1_epi32(key as i32);
        let mut seen = tail;
        let mut at = 0;
        while at < last {
            let x = _mm_xor_si128(_mm_loadu_si128(src.add(at).cast()), key);
            seen = _mm_or_si128(seen, x);
            _mm_storeu_si128(dst.add(at).cast(), x);
            at += 16;
        }
        _mm_storeu_si128(dst.add(last).cast(), tail);
        _mm_movemask_epi8(seen) == 0
    }
}

/// # Safety
/// The processor has AVX2. `src` can be read and `dst` written for `len` bytes, at least 32; they are the same, or do
/// not overlap.
#[target_feature(enable = "avx2")]
unsafe fn avx2(src: *const u8, dst: *mut u8, len: usize, key: u32) -> bool {
    debug_assert!(len >= 32);
    // SAFETY: every block begins at 0 or later and at `len - 32` at the latest, so lies inside.
    unsafe {
        let last = len - 32;
        let tail_key = _mm256_set1_epi32(turned(key, last) as i32);
        let tail = _mm256_xor_si256(_mm256_loadu_si256(src.add(last).cast()), tail_key);
        let key = _mm256_set1_epi32(key as i32);
        let mut seen = tail;
        let mut at = 0;
        while at < last {
            let x = _mm256_xor_si256(_mm256_loadu_si256(src.add(at).cast()), key);
            seen = _mm256_or_si256(seen, x);
            _mm256_storeu_si256(dst.add(at).cast(), x);
            at += 32;
        }
        _mm256_storeu_si256(dst.add(last).cast(), tail);
        _mm256_movemask_epi8(seen) == 0
    }
}

/// # Safety
/// The processor has AVX-512 F and BW. `src` can be read and `dst` written for `len` bytes, at least 32; they are the
/// same, or do not overlap.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn avx512(src: *const u8, dst: *mut u8, len: usize, key: u32) -> bool {
    debug_assert!(len >= 32);
    // SAFETY: below 64 bytes the blocks are of 32 and begin at 0 and at `len - 32`; otherwise they are of 64 and begin
    // at 0 or later and at `len - 64` at the latest. So all lie inside.
    unsafe {
        if len < 64 {
            let last = len - 32;
            let tail_key = _mm256_set1_epi32(turned(key, last) as i32);
            let a = _mm256_loadu_si256(src.cast());
            let b = _mm256_loadu_si256(src.add(last).cast());
            let a = _mm256_xor_si256(a, _mm256_set1_epi32(key as i32));
            let b = _mm256_xor_si256(b, tail_key);
            _mm256_storeu_si256(dst.cast(), a);
            _mm256_storeu_si256(dst.add(last).cast(), b);
            return _mm256_movemask_epi8(_mm256_or_si256(a, b)) == 0;
        }
        let last = len - 64;
        let tail_key = _mm512_set1_epi32(turned(key, last) as i32);
        let tail = _mm512_xor_si512(_mm512_loadu_si512(src.add(last).cast()), tail_key);
        let key = _mm512_set1_epi32(key as i32);
        let mut seen = tail;
        let mut at = 0;
        while at < last {
            let x = _mm512_xor_si512(_mm512_loadu_si512(src.add(at).cast()), key);
            seen = _mm512_or_si512(seen, x);
            _mm512_storeu_si512(dst.add(at).cast(), x);
            at += 64;
        }
        _mm512_storeu_si512(dst.add(last).cast(), tail);
        _mm512_movepi8_mask(seen) == 0
    }
}

/// A form to mask in place and one to copy, by name.
#[cfg(test)]
type Form = (
    &'static str,
    fn(&mut [u8], [u8; 4]) -> bool,
    fn(&mut [u8], &[u8], [u8; 4]),
);

/// Every form that this processor can run, each taking any length.
#[cfg(test)]
pub(super) fn forms() -> Vec<Form> {
    /// Makes safe functions of one form; `$least` is the shortest length it takes itself.
    macro_rules! form {
        ($name:literal, $form:ident, $least:literal) => {{
            fn apply(buf: &mut [u8], key: [u8; 4]) -> bool {
                let (ptr, len, key) = (buf.as_mut_ptr(), buf.len(), u32::from_ne_bytes(key));
                // SAFETY: one slice, read and written; the form is listed only if the processor has it.
                unsafe {
                    if len < $least { short(ptr, ptr, len, key) } else { $form(ptr, ptr, len, key) }
                }
            }
            fn copy(dst: &mut [u8], src: &[u8], key: [u8; 4]) {
                assert_eq!(dst.len(), src.len());
                let (from, to, len) = (src.as_ptr(), dst.as_mut_ptr(), src.len());
                let key = u32::from_ne_bytes(key);
                // SAFETY: two slices of the same length; the form is listed only if the processor has it.
                unsafe {
                    if len < $least { short(from, to, len, key) } else { $form(from, to, len, key) }
                };
            }
            ($name, apply as fn(&mut [u8], [u8; 4]) -> bool, copy as fn(&mut [u8], &[u8], [u8; 4]))
        }};
    }
    let mut forms = vec![form!("sse2", sse2, 16)];
    if is_x86_feature_detected!("avx2") {
        forms.push(form!("avx2", avx2, 32));
    }
    if has_avx512() {
        forms.push(form!("avx512", avx512, 32));
    }
    forms
}
