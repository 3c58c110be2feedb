//! Eight bytes at a time in plain Rust. The compiler vectorises the loops for the target.

/// Masks `buf` from the first byte of `key` on. Returns whether the result is all ASCII.
#[cfg_attr(target_arch = "x86_64", allow(dead_code))]
pub(super) fn apply(buf: &mut [u8], key: [u8; 4]) -> bool {
    let wide = widened(key);
    let mut seen = 0;
    let (blocks, tail) = buf.as_chunks_mut::<8>();
    for block in blocks {
        let x = u64::from_ne_bytes(*block) ^ wide;
        seen |= x;
        *block = x.to_ne_bytes();
    }
    let mut seen = seen.to_ne_bytes().into_iter().fold(0, |a, b| a | b);
    for (byte, k) in tail.iter_mut().zip(key.into_iter().cycle()) {
        *byte ^= k;
        seen |= *byte;
    }
    seen < 0x80
}

/// Copies and masks. The slices have the same length.
#[cfg_attr(target_arch = "x86_64", allow(dead_code))]
pub(super) fn copy(dst: &mut [u8], src: &[u8], key: [u8; 4]) {
    let wide = widened(key);
    let (blocks, tail) = dst.as_chunks_mut::<8>();
    let (src_blocks, src_tail) = src.as_chunks::<8>();
    for (block, from) in blocks.iter_mut().zip(src_blocks) {
        *block = (u64::from_ne_bytes(*from) ^ wide).to_ne_bytes();
    }
    for ((byte, from), k) in tail.iter_mut().zip(src_tail).zip(key.into_iter().cycle()) {
        *byte = from ^ k;
    }
}

/// The key twice, in memory order.
fn widened(key: [u8; 4]) -> u64 {
    let [a, b, c, d] = key;
    u64::from_ne_bytes([a, b, c, d, a, b, c, d])
}
