//! The Internet checksum (RFC 1071): of IPv4 headers, and of TCP and ICMP over both families.
//!
//! A one's complement sum does not depend on byte order (RFC 1071 §2 (B)), so words are summed in the machine's order and
//! swapped once at the end. It does not depend on the width of the words either, so they are summed eight bytes at a time.

/// TCP in the protocol field of IPv4 and the next header field of IPv6.
pub(crate) const TCP: u8 = 6;
/// ICMP for IPv4.
pub(crate) const ICMP: u8 = 1;
/// ICMP for IPv6.
pub(crate) const ICMPV6: u8 = 58;

/// An unfinished sum of 16-bit words in the machine's order, in 64 bits, without the carries folded in. Each addition adds
/// less than 2^34, so no frame can overflow it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum(u64);

impl Sum {
    /// Adds a word in host order.
    #[inline]
    pub(crate) fn word(self, word: u16) -> Self {
        Self(self.0 + u64::from(word.to_be()))
    }

    /// Adds `bytes`. A last odd byte is the high half of a word, so only the last part of a packet may be odd.
    #[inline]
    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        Self(self.0 + sum(bytes))
    }

    /// The sum folded to 16 bits, in host order, not complemented. [`TxChecksum::Fill`](hioload_device::TxChecksum::Fill) needs
    /// this value in the field. It is `0xffff` for a complete packet with a right checksum.
    #[inline]
    pub(crate) fn fold(self) -> u16 {
        let sum = fold_to_33(self.0);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        (((sum & 0xffff) + (sum >> 16)) as u16).to_be()
    }

    /// The value for the checksum field of a packet with this sum, in which the field is zero.
    #[inline]
    pub(crate) fn checksum(self) -> u16 {
        !self.fold()
    }
}

/// The same sum in at most 33 bits.
#[inline]
fn fold_to_33(sum: u64) -> u64 {
    (sum & 0xffff_ffff) + (sum >> 32)
}

/// From this number of bytes on, vectors are faster.
const LONG: usize = 256;

/// The sum of `bytes`, in at most 34 bits.
#[inline]
fn sum(bytes: &[u8]) -> u64 {
    if bytes.len() < LONG {
        return sum_short(bytes);
    }
    sum_long(bytes)
}

/// Eight bytes at a time, with the carries of all additions in the high half.
#[inline]
fn sum_short(bytes: &[u8]) -> u64 {
    let mut total: u128 = 0;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        total += u128::from(u64::from_ne_bytes(*word));
    }
    // The rest is summed by halves. A copy of unknown length would be a call.
    let (four, rest) = rest.as_chunks::<4>();
    if let [four] = four {
        total += u128::from(u32::from_ne_bytes(*four));
    }
    let (two, rest) = rest.as_chunks::<2>();
    if let [two] = two {
        total += u128::from(u16::from_ne_bytes(*two));
    }
    if let [last] = rest {
        // A last odd byte is followed by a zero (RFC 1071 §1).
        total += u128::from(u16::from_ne_bytes([*last, 0]));
    }
    fold_to_33(total as u64) + (total >> 64) as u64
}

/// Four bytes at a time, in a loop that the compiler vectorises. The 64-bit lanes have room for 16 GiB.
#[inline(never)]
fn sum_long(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let words = words
        .iter()
        .map(|word| u64::from(u32::from_ne_bytes(*word)));
    fold_to_33(words.sum::<u64>() + sum_short(rest))
}

/// The sum of the pseudo-header (RFC 9293 §3.1, RFC 8200 §8.1) of the IP packet that begins with `ip`, for `len` bytes
/// of `protocol`. Zero if it is not an IP packet. The destination is the one in the IP header: the parser drops packets with
/// segments left in a routing header.
#[inline]
pub(crate) fn pseudo_header(ip: &[u8], protocol: u8, len: usize) -> Sum {
    // The two addresses are adjacent, so they are summed as one.
    let addresses = match ip.first().map(|first| first >> 4) {
        Some(4) => ip.get(12..20),
        Some(6) => ip.get(8..40),
        _ => None,
    };
    let len = len as u64;
    Sum::default()
        .bytes(addresses.unwrap_or_default())
        .word((len >> 16) as u16)
        .word(len as u16)
        .word(u16::from(protocol))
}

/// Whether the checksum of the segment or message at `at` is right; `packet` is exactly the IP packet.
#[inline]
pub(crate) fn is_good(packet: &[u8], at: usize, protocol: u8) -> bool {
    let Some(segment) = packet.get(at..) else {
        return false;
    };
    start_of(packet, protocol, segment.len())
        .bytes(segment)
        .fold()
        == 0xffff
}

/// Writes the checksum of the segment or message at `at`; `packet` is as for [`is_good`]. Does nothing if it is too short for
/// the field.
#[inline]
pub(crate) fn fill(packet: &mut [u8], at: usize, protocol: u8) {
    if write(packet, at, protocol, 0) {
        let segment = packet.get(at..).unwrap_or_default();
        let sum = start_of(packet, protocol, segment.len()).bytes(segment);
        write(packet, at, protocol, sum.checksum());
    }
}

/// Writes the sum of the pseudo-header, from which a device computes the checksum.
#[inline]
pub(crate) fn fill_partial(packet: &mut [u8], at: usize, protocol: u8) {
    let sum = start_of(packet, protocol, packet.len().saturating_sub(at));
    write(packet, at, protocol, sum.fold());
}

/// The offset of the checksum in a header.
#[inline]
pub(crate) const fn offset(protocol: u8) -> usize {
    if protocol == TCP { 16 } else { 2 }
}

/// The sum before the bytes of the segment: ICMP for IPv4 has no pseudo-header.
#[inline]
fn start_of(packet: &[u8], protocol: u8, len: usize) -> Sum {
    if protocol == ICMP {
        Sum::default()
    } else {
        pseudo_header(packet, protocol, len)
    }
}

#[inline]
fn write(packet: &mut [u8], at: usize, protocol: u8, value: u16) -> bool {
    let field = packet
        .get_mut(at + offset(protocol)..)
        .and_then(|rest| rest.first_chunk_mut());
    match field {
        Some(field) => {
            *field = value.to_be_bytes();
            true
        }
        None => false,
    }
}

/// Whether the header checksum of an IPv4 packet is good; `header` is the header with its options.
#[inline]
pub(crate) fn ipv4_header_is_good(header: &[u8]) -> bool {
    Sum::default().bytes(header).fold() == 0xffff
}

/// Writes the header checksum of an IPv4 packet; `header` as for [`ipv4_header_is_good`].
#[inline]
pub(crate) fn fill_ipv4_header(header: &mut [u8]) {
    if let Some(field) = header.get_mut(10..12) {
        field.fill(0);
    }
    let checksum = Sum::default().bytes(header).checksum();
    if let Some(field) = header.get_mut(10..12) {
        field.copy_from_slice(&checksum.to_be_bytes());
    }
}

#[cfg(test)]
/// The checksum after the 16-bit word `old` became `new` (RFC 1624, equation 3).
#[inline]
pub(crate) fn updated(checksum: u16, old: u16, new: u16) -> u16 {
    Sum::default()
        .word(!checksum)
        .word(!old)
        .word(new)
        .checksum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use smoltcp::wire::{IpAddress, IpProtocol, Ipv4Address, Ipv6Address, TcpPacket};

    /// As RFC 1071 §4.1 writes it.
    fn naive(bytes: &[u8]) -> u16 {
        let mut sum = 0u64;
        for pair in bytes.chunks(2) {
            sum += u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
        }
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    #[test]
    fn the_example_of_the_rfc() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::default().bytes(&bytes).fold(), 0xddf2);
        assert_eq!(Sum::default().bytes(&bytes).checksum(), 0x220d);
    }

    #[test]
    fn carries_are_never_lost() {
        for len in (0..200).chain([255, 256, 257, 320, 1460, 9000, 65_535]) {
            let bytes = vec![0xff; len];
            assert_eq!(
                Sum::default().bytes(&bytes).fold(),
                naive(&bytes),
                "{len} bytes"
            );
            let sum = Sum::default().bytes(&bytes).bytes(&bytes).bytes(&bytes);
            if len % 2 == 0 {
                assert_eq!(sum.fold(), naive(&bytes.repeat(3)), "3 x {len} bytes");
            }
        }
    }

    /// An IP packet with a TCP header's worth of segment or more, its checksum field zero.
    fn packet(v6: bool, addresses: &[u8], segment: &[u8]) -> (Vec<u8>, usize) {
        let (at, place) = if v6 { (40, 8..40) } else { (20, 12..20) };
        let mut packet = vec![0; at];
        packet[0] = if v6 { 0x60 } else { 0x45 };
        packet[place.clone()].copy_from_slice(&addresses[..place.len()]);
        packet.extend_from_slice(segment);
        (packet, at)
    }

    fn ends(packet: &[u8]) -> (IpAddress, IpAddress) {
        if packet[0] >> 4 == 4 {
            let end = |at| {
                let bytes: [u8; 4] = packet[at..at + 4].try_into().expect("4 bytes");
                IpAddress::Ipv4(Ipv4Address::from(bytes))
            };
            (end(12), end(16))
        } else {
            let end = |at| {
                let bytes: [u8; 16] = packet[at..at + 16].try_into().expect("16 bytes");
                IpAddress::Ipv6(Ipv6Address::from(bytes))
            };
            (end(8), end(24))
        }
    }

    proptest! {
        #[test]
        fn sums_are_those_of_the_rfc(bytes in vec(any::<u8>(), 0..2000), skip in 0usize..16) {
            let bytes = &bytes[skip.min(bytes.len())..];
            prop_assert_eq!(Sum::default().bytes(bytes).fold(), naive(bytes));
            prop_assert_eq!(
                Sum::default().bytes(bytes).fold(),
                smoltcp::wire::checksum::data(bytes)
            );
        }

        #[test]
        fn a_sum_may_be_taken_in_parts(bytes in vec(any::<u8>(), 0..700), at in 0usize..350) {
            let (one, two) = bytes.split_at((2 * at).min(bytes.len() & !1));
            prop_assert_eq!(Sum::default().bytes(one).bytes(two).fold(), naive(&bytes));
        }

        #[test]
        fn tcp_is_filled_and_verified_as_by_others(
            v6: bool,
            addresses: [u8; 32],
            segment in vec(any::<u8>(), 20..1600),
            flip in any::<(prop::sample::Index, u8)>(),
        ) {
            let (mut packet, at) = packet(v6, &addresses, &segment);
            fill(&mut packet, at, TCP);
            prop_assert!(is_good(&packet, at, TCP));
            let (source, destination) = ends(&packet);
            let theirs = TcpPacket::new_unchecked(&packet[at..]);
            prop_assert!(theirs.verify_checksum(&source, &destination));

            // What a device does that completes it.
            let complete = packet.clone();
            fill_partial(&mut packet, at, TCP);
            let partial = TcpPacket::new_unchecked(&packet[at..]);
            prop_assert!(partial.verify_partial_checksum(&source, &destination));
            let checksum = Sum::default().bytes(&packet[at..]).checksum();
            packet[at + 16..at + 18].copy_from_slice(&checksum.to_be_bytes());
            prop_assert_eq!(&packet, &complete);

            // One wrong bit is always seen.
            let byte = at + flip.0.index(packet.len() - at);
            packet[byte] ^= 1 << (flip.1 % 8);
            prop_assert!(!is_good(&packet, at, TCP));
        }

        #[test]
        fn pseudo_headers_are_as_others_have_them(v6: bool, addresses: [u8; 32], len in 0usize..65_536) {
            let (packet, _) = packet(v6, &addresses, &[]);
            let (source, destination) = ends(&packet);
            let theirs =
                smoltcp::wire::checksum::pseudo_header(&source, &destination, IpProtocol::Tcp, len as u32);
            prop_assert_eq!(pseudo_header(&packet, TCP, len).fold(), theirs);
        }

        #[test]
        fn an_update_is_a_new_sum(mut header: [u8; 20], at in 0usize..9, new: u16) {
            fill_ipv4_header(&mut header);
            prop_assert!(ipv4_header_is_good(&header));
            let at = if at < 5 { 2 * at } else { 2 * at + 2 };
            let old = u16::from_be_bytes([header[at], header[at + 1]]);
            let before = u16::from_be_bytes([header[10], header[11]]);
            header[at..at + 2].copy_from_slice(&new.to_be_bytes());
            header[10..12].copy_from_slice(&updated(before, old, new).to_be_bytes());
            prop_assert!(ipv4_header_is_good(&header));
        }

        #[test]
        fn nothing_panics_on_odd_packets(mut packet in vec(any::<u8>(), 0..100), at in 0usize..120, protocol: u8) {
            is_good(&packet, at, protocol);
            fill(&mut packet, at, protocol);
            fill_partial(&mut packet, at, protocol);
            ipv4_header_is_good(&packet);
            fill_ipv4_header(&mut packet);
        }
    }
}
