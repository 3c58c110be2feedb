//! Masking (RFC 6455 §5.3): XOR with a four-byte key, in place or while copying, as wide as the processor can.
//!
//! "Octet i of the transformed data [...] is the XOR of octet i of the original data [...] with octet at index i
//! modulo 4 of the masking key". Masking and unmasking are the same. On x86-64 there are AVX-512, AVX2 and SSE2 forms,
//! chosen once by the features of the processor. Other targets use the portable form, which the compiler vectorises. All
//! forms take any alignment, any length and any position in the payload, and access nothing outside of their slices.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

/// Masks or unmasks `buf`, whose first byte is byte `offset` of the payload (only `offset` modulo 4 matters).
#[inline]
pub fn apply(buf: &mut [u8], key: [u8; 4], offset: usize) {
    apply_ascii(buf, key, offset);
}

/// [`apply`], which also returns whether the result is all ASCII, and so valid UTF-8.
#[inline]
pub fn apply_ascii(buf: &mut [u8], key: [u8; 4], offset: usize) -> bool {
    let key = rotated(key, offset);
    #[cfg(target_arch = "x86_64")]
    return x86::apply(buf, key);
    #[cfg(not(target_arch = "x86_64"))]
    portable::apply(buf, key)
}

/// Copies `src` to `dst` and masks it in the same pass; `offset` as for [`apply`].
///
/// # Panics
/// If the slices differ in length.
#[inline]
pub fn copy(dst: &mut [u8], src: &[u8], key: [u8; 4], offset: usize) {
    assert_eq!(
        dst.len(),
        src.len(),
        "mask::copy between slices of different length"
    );
    let key = rotated(key, offset);
    #[cfg(target_arch = "x86_64")]
    x86::copy(dst, src, key);
    #[cfg(not(target_arch = "x86_64"))]
    portable::copy(dst, src, key);
}

/// The key rotated for byte `offset` of the payload.
#[inline]
fn rotated(key: [u8; 4], offset: usize) -> [u8; 4] {
    u32::from_le_bytes(key)
        .rotate_right(8 * (offset as u32 % 4))
        .to_le_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A function that masks in place, and one that copies.
    type Apply = fn(&mut [u8], [u8; 4]) -> bool;
    type Copy = fn(&mut [u8], &[u8], [u8; 4]);

    /// Every form that this processor can run, so that the tests cover also those that are not chosen.
    fn forms() -> Vec<(&'static str, Apply, Copy)> {
        let forms: Vec<(_, Apply, Copy)> = vec![
            ("portable", portable::apply, portable::copy),
            (
                "chosen",
                |b, k| apply_ascii(b, k, 0),
                |d, s, k| copy(d, s, k, 0),
            ),
        ];
        #[cfg(target_arch = "x86_64")]
        let forms = [forms, x86::forms()].concat();
        forms
    }

    /// The definition, octet by octet.
    fn by_definition(bytes: &[u8], key: [u8; 4], offset: usize) -> Vec<u8> {
        bytes
            .iter()
            .enumerate()
            .map(|(i, b)| b ^ key[(offset + i) % 4])
            .collect()
    }

    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
    }

    const KEY: [u8; 4] = [0x12, 0xf4, 0x56, 0x9a];

    /// Lengths around every block size, in heap buffers of exactly that size, so that sanitizers detect an access beyond.
    #[test]
    fn every_length_in_buffers_of_exactly_that_size() {
        for (name, apply, copy) in forms() {
            for len in (0..=300).chain([1000, 1023, 1024, 1025, 4096, 5000]) {
                let plain = bytes(len).into_boxed_slice();
                let masked = by_definition(&plain, KEY, 0);
                let mut buf = plain.clone();
                assert_eq!(apply(&mut buf, KEY), masked.is_ascii(), "{name} {len}");
                assert_eq!(*buf, *masked, "{name} {len}");
                let mut dst = vec![0; len].into_boxed_slice();
                copy(&mut dst, &plain, KEY);
                assert_eq!(*dst, *masked, "{name} {len}");
            }
        }
    }

    #[test]
    fn every_alignment_and_no_byte_outside() {
        for (name, apply, copy) in forms() {
            for start in 0..65 {
                for len in (0..40).chain([63, 64, 65, 127, 128, 129, 191, 192, 193, 257, 300]) {
                    let whole = bytes(start + len + 70);
                    let mut expected = whole.clone();
                    let masked = by_definition(&whole[start..start + len], KEY, 0);
                    expected[start..start + len].copy_from_slice(&masked);
                    let mut buf = whole.clone();
                    apply(&mut buf[start..start + len], KEY);
                    assert_eq!(buf, expected, "{name} {start} {len}");
                    let mut dst = whole.clone();
                    copy(
                        &mut dst[start..start + len],
                        &whole[start..start + len],
                        KEY,
                    );
                    assert_eq!(dst, expected, "{name} {start} {len}");
                }
            }
        }
    }

    /// A byte above ASCII is found at every position, and none is found where there is none.
    #[test]
    fn bytes_above_ascii_are_found() {
        for (name, apply, _) in forms() {
            for len in (1..=300).chain([600, 1024]) {
                let mut text = by_definition(&vec![b'x'; len], KEY, 0);
                assert!(apply(&mut text, KEY), "{name} {len}");
                for at in 0..len {
                    let mut text = vec![b'x'; len];
                    text[at] = 0x80;
                    let mut text = by_definition(&text, KEY, 0);
                    assert!(!apply(&mut text, KEY), "{name} {len} {at}");
                }
            }
        }
    }

    proptest! {
        /// "octet at index i modulo 4": a payload unmasked in pieces is the payload unmasked at once.
        #[test]
        fn pieces_make_the_whole(plain: Vec<u8>, key: [u8; 4], offset: usize, cut: prop::sample::Index) {
            let cut = if plain.is_empty() { 0 } else { cut.index(plain.len()) };
            let offset = offset / 2;
            let masked = by_definition(&plain, key, offset % 4);
            let mut buf = plain.clone();
            apply(&mut buf[..cut], key, offset);
            apply(&mut buf[cut..], key, offset + cut);
            prop_assert_eq!(&buf, &masked);
            let mut dst = vec![0; plain.len()];
            copy(&mut dst[..cut], &plain[..cut], key, offset);
            copy(&mut dst[cut..], &plain[cut..], key, offset + cut);
            prop_assert_eq!(&dst, &masked);
            apply(&mut buf, key, offset);
            prop_assert_eq!(buf, plain);
        }
    }
}
