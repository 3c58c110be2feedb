//! The Internet checksum (RFC 1071), for devices that fill in checksums ([`TxChecksum::Fill`]) in software.

use crate::{Frame, TxChecksum};

/// The one's complement sum of `bytes` as big-endian words, not complemented; an odd last byte is the high half of a word.
#[must_use]
pub fn sum(bytes: &[u8]) -> u16 {
    let mut total = 0_u64;
    let mut carries = 0_u64;
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        // The sum is the same in either byte order, but for the order of the result's bytes (RFC 1071, section 2 B).
        let word = u64::from_ne_bytes(word.try_into().unwrap_or_default());
        let (next, carry) = total.overflowing_add(word);
        total = next;
        carries += u64::from(carry);
    }
    let mut last = [0; 8];
    let rest = words.remainder();
    last[..rest.len()].copy_from_slice(rest);
    let (next, carry) = total.overflowing_add(u64::from_ne_bytes(last));
    total = next;
    carries += u64::from(carry);

    let mut folded = (total & 0xffff_ffff) + (total >> 32) + carries;
    while folded > 0xffff {
        folded = (folded & 0xffff) + (folded >> 16);
    }
    u16::from_be(folded as u16)
}

/// Carries out [`TxChecksum::Fill`]: adds all bytes from `start` to the end, including the value of the field, and writes the
/// complement to `start + offset`. A complement of zero is written as 0xffff, which is equivalent for TCP and required for UDP (RFC
/// 768). Returns `false`, and changes nothing, if the field is not within the frame.
#[must_use]
pub fn fill(bytes: &mut [u8], start: u16, offset: u16) -> bool {
    let (start, field) = (start as usize, start as usize + offset as usize);
    if field + 2 > bytes.len() {
        return false;
    }
    let value = match !sum(&bytes[start..]) {
        0 => 0xffff,
        value => value,
    };
    bytes[field..field + 2].copy_from_slice(&value.to_be_bytes());
    true
}

/// Completes a frame's checksum if that is requested. Returns `false` if the field is not within the frame.
#[must_use]
pub fn complete<F: Frame>(frame: &mut F) -> bool {
    match frame.tx_checksum() {
        TxChecksum::Complete => true,
        TxChecksum::Fill { start, offset } => {
            let done = fill(frame.bytes_mut(), start, offset);
            if done {
                frame.set_tx_checksum(TxChecksum::Complete);
            }
            done
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The algorithm of RFC 1071, section 4.1.
    fn plain(bytes: &[u8]) -> u16 {
        let mut total = 0_u32;
        for word in bytes.chunks(2) {
            total += u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0));
            total = (total & 0xffff) + (total >> 16);
        }
        total as u16
    }

    #[test]
    fn the_example_of_the_rfc() {
        // RFC 1071, section 3.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(sum(&bytes), 0xddf2);
    }

    #[test]
    fn a_field_beyond_the_frame_is_refused_and_nothing_is_written() {
        let mut bytes = [7; 40];
        for (start, offset) in [(39, 0), (20, 19), (40, 2), (u16::MAX, u16::MAX)] {
            assert!(!fill(&mut bytes, start, offset));
        }
        assert_eq!(bytes, [7; 40]);
        assert!(fill(&mut bytes, 20, 18));
    }

    #[test]
    fn a_sum_of_zero_is_written_as_all_ones() {
        let mut bytes = [0xff, 0xff, 0, 0];
        assert!(fill(&mut bytes, 0, 2));
        assert_eq!(bytes, [0xff; 4]);
    }

    proptest! {
        #[test]
        fn agrees_with_the_plain_definition(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            // Zero has two forms.
            let norm = |n: u16| if n == 0xffff { 0 } else { n };
            prop_assert_eq!(norm(sum(&bytes)), norm(plain(&bytes)));
        }

        #[test]
        fn a_filled_checksum_verifies(
            mut bytes in proptest::collection::vec(any::<u8>(), 24..200),
            start in 0_usize..20,
            pseudo in any::<u16>(),
        ) {
            bytes[start + 2..start + 4].copy_from_slice(&pseudo.to_be_bytes());
            prop_assert!(fill(&mut bytes, start as u16, 2));
            // The receiver adds the sum of the pseudo-header.
            let total = u32::from(sum(&bytes[start..])) + u32::from(pseudo);
            let total = (total & 0xffff) + (total >> 16);
            prop_assert!(total == 0xffff || total == 0);
        }
    }
}
