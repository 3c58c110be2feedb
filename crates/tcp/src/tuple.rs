//! The two ends of a flow, and keyed hashes of them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A 128-bit key, as two little-endian words.
pub(crate) type Key = [u64; 2];

/// The key in `secret`.
pub(crate) fn key(secret: &[u8; 16]) -> Key {
    let value = u128::from_le_bytes(*secret);
    [value as u64, (value >> 64) as u64]
}

/// The first twelve bytes of an IPv4 address written as an IPv6 one (RFC 4291 §2.5.5.2).
const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// Both ends of a flow: addresses and ports, in 36 bytes. IPv4 addresses are kept as IPv4-mapped IPv6 addresses. The parser
/// drops packets with such addresses, so equal bytes are equal flows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tuple {
    local: [u8; 16],
    remote: [u8; 16],
    local_port: u16,
    remote_port: u16,
}

impl Tuple {
    /// A flow over IPv4. The addresses are as in the header.
    #[inline]
    pub(crate) fn v4(local: [u8; 4], local_port: u16, remote: [u8; 4], remote_port: u16) -> Self {
        Self {
            local: mapped(local),
            remote: mapped(remote),
            local_port,
            remote_port,
        }
    }

    /// A flow over IPv6.
    #[inline]
    pub(crate) fn v6(local: [u8; 16], local_port: u16, remote: [u8; 16], remote_port: u16) -> Self {
        Self {
            local,
            remote,
            local_port,
            remote_port,
        }
    }

    /// A flow with these ends; `None` if one is IPv4 and the other IPv6.
    pub(crate) fn new(local: SocketAddr, remote: SocketAddr) -> Option<Self> {
        let (here, there) = (local.port(), remote.port());
        match (local.ip(), remote.ip()) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => {
                Some(Self::v4(local.octets(), here, remote.octets(), there))
            }
            (IpAddr::V6(local), IpAddr::V6(remote)) => {
                Some(Self::v6(local.octets(), here, remote.octets(), there))
            }
            _ => None,
        }
    }

    /// Whether the flow is over IPv4.
    #[inline]
    pub(crate) fn is_v4(&self) -> bool {
        self.local[..12] == MAPPED
    }

    /// The local end.
    pub(crate) fn local(&self) -> SocketAddr {
        SocketAddr::new(address(self.local), self.local_port)
    }

    /// The remote end.
    pub(crate) fn remote(&self) -> SocketAddr {
        SocketAddr::new(address(self.remote), self.remote_port)
    }

    #[cfg(test)]
    /// Our port.
    #[inline]
    pub(crate) fn local_port(&self) -> u16 {
        self.local_port
    }

    #[cfg(test)]
    /// The peer's port.
    #[inline]
    pub(crate) fn remote_port(&self) -> u16 {
        self.remote_port
    }

    #[cfg(test)]
    /// The same flow, seen from the other end.
    #[inline]
    pub(crate) fn reversed(&self) -> Self {
        Self {
            local: self.remote,
            remote: self.local,
            local_port: self.remote_port,
            remote_port: self.local_port,
        }
    }

    /// SipHash-1-3 of both ends in a fixed order: the hash is the same for both directions of a flow, and cannot be predicted
    /// without the key. All 32 bits are uniform. The owner of a flow is taken from the low bits, and its bucket from the high
    /// bits.
    #[inline]
    pub(crate) fn hash(&self, key: &Key) -> u32 {
        if self.is_v4() {
            let end = |address: &[u8; 16], port: u16| {
                let [.., a, b, c, d] = *address;
                u64::from(u32::from_be_bytes([a, b, c, d])) << 16 | u64::from(port)
            };
            let here = end(&self.local, self.local_port);
            let there = end(&self.remote, self.remote_port);
            let (low, high) = (here.min(there), here.max(there));
            // Two ends of 48 bits. The high byte of the last word differs between the families.
            sip::<1, 3>(key, &[low], high | 4 << 56) as u32
        } else {
            let here = (u128::from_be_bytes(self.local), self.local_port);
            let there = (u128::from_be_bytes(self.remote), self.remote_port);
            let (low, high) = if here <= there {
                (here, there)
            } else {
                (there, here)
            };
            let ports = u64::from(low.1) << 16 | u64::from(high.1);
            let words = [
                low.0 as u64,
                (low.0 >> 64) as u64,
                high.0 as u64,
                (high.0 >> 64) as u64,
            ];
            sip::<1, 3>(key, &words, ports | 6 << 56) as u32
        }
    }

    /// SipHash-2-4 of the local and the remote end: the function `F` of initial sequence numbers (RFC 6528 §3).
    pub(crate) fn keyed_hash64(&self, key: &Key) -> u64 {
        let mut bytes = [0; 36];
        bytes[..16].copy_from_slice(&self.local);
        bytes[16..32].copy_from_slice(&self.remote);
        bytes[32..34].copy_from_slice(&self.local_port.to_be_bytes());
        bytes[34..].copy_from_slice(&self.remote_port.to_be_bytes());
        keyed_hash64(key, &bytes)
    }
}

impl fmt::Debug for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} <- {}", self.local(), self.remote())
    }
}

/// The address is built as one number in registers. Built in memory, the load would stall on the narrower stores before it.
#[inline]
fn mapped(address: [u8; 4]) -> [u8; 16] {
    (0xffff << 32 | u128::from(u32::from_be_bytes(address))).to_be_bytes()
}

fn address(bytes: [u8; 16]) -> IpAddr {
    let v6 = Ipv6Addr::from(bytes);
    if bytes[..12] == MAPPED {
        let [.., a, b, c, d] = bytes;
        return IpAddr::V4(Ipv4Addr::new(a, b, c, d));
    }
    IpAddr::V6(v6)
}

/// SipHash-2-4 (Aumasson and Bernstein, 2012) of `bytes`.
pub(crate) fn keyed_hash64(key: &Key, bytes: &[u8]) -> u64 {
    let mut state = Sip::new(key);
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        state.word::<2>(u64::from_le_bytes(word));
    }
    let mut last = [0; 8];
    last[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    last[7] = bytes.len() as u8;
    state.word::<2>(u64::from_le_bytes(last));
    state.finish::<4>()
}

/// A key that is independent of `key` and of those for other purposes.
pub(crate) fn derived(key: &Key, purpose: u64) -> Key {
    [0, 1].map(|half| keyed_words(key, &[purpose, half]))
}

/// SipHash-2-4 of up to 255 words: a pseudo-random function. The results for different numbers of words are independent.
pub(crate) fn keyed_words(key: &Key, words: &[u64]) -> u64 {
    sip::<2, 4>(key, words, (words.len() as u64) << 56)
}

/// SipHash-`C`-`D` of whole words and a last one, whose high byte differs for inputs of different length.
#[inline]
fn sip<const C: usize, const D: usize>(key: &Key, words: &[u64], last: u64) -> u64 {
    let mut state = Sip::new(key);
    for &word in words {
        state.word::<C>(word);
    }
    state.word::<C>(last);
    state.finish::<D>()
}

struct Sip([u64; 4]);

impl Sip {
    #[inline]
    fn new(key: &Key) -> Self {
        Self([
            key[0] ^ 0x736f_6d65_7073_6575,
            key[1] ^ 0x646f_7261_6e64_6f6d,
            key[0] ^ 0x6c79_6765_6e65_7261,
            key[1] ^ 0x7465_6462_7974_6573,
        ])
    }

    #[inline]
    fn round(&mut self) {
        let v = &mut self.0;
        v[0] = v[0].wrapping_add(v[1]);
        v[2] = v[2].wrapping_add(v[3]);
        v[1] = v[1].rotate_left(13) ^ v[0];
        v[3] = v[3].rotate_left(16) ^ v[2];
        v[0] = v[0].rotate_left(32).wrapping_add(v[3]);
        v[2] = v[2].wrapping_add(v[1]);
        v[1] = v[1].rotate_left(17) ^ v[2];
        v[3] = v[3].rotate_left(21) ^ v[0];
        v[2] = v[2].rotate_left(32);
    }

    #[inline]
    fn word<const C: usize>(&mut self, word: u64) {
        self.0[3] ^= word;
        for _ in 0..C {
            self.round();
        }
        self.0[0] ^= word;
    }

    #[inline]
    fn finish<const D: usize>(mut self) -> u64 {
        self.0[2] ^= 0xff;
        for _ in 0..D {
            self.round();
        }
        self.0[0] ^ self.0[1] ^ self.0[2] ^ self.0[3]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: Key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];

    #[test]
    fn keyed_hash_is_siphash_2_4() {
        // The first vectors of the reference implementation: key 00..0f, input 00, 00 01, ...
        let secret: [u8; 16] = std::array::from_fn(|i| i as u8);
        assert_eq!(key(&secret), KEY);
        let input: Vec<u8> = (0..64).collect();
        assert_eq!(keyed_hash64(&KEY, &[]), 0x726f_db47_dd0e_0e31);
        assert_eq!(keyed_hash64(&KEY, &input[..1]), 0x74f8_39c5_93dc_67fd);
        assert_eq!(keyed_hash64(&KEY, &input[..8]), 0x93f5_f579_9a93_2462);
        assert_eq!(keyed_hash64(&KEY, &input[..15]), 0xa129_ca61_49be_45e5);
    }

    #[test]
    fn a_tuple_has_36_bytes_and_returns_its_ends() {
        assert_eq!(size_of::<Tuple>(), 36);
        let ends = |a: &str, b: &str| (a.parse().expect("an end"), b.parse().expect("an end"));
        for (local, remote) in [
            ends("10.77.0.2:9001", "10.77.0.1:40000"),
            ends("[fd77::2]:9001", "[2001:db8::1]:1"),
        ] {
            let tuple = Tuple::new(local, remote).expect("one family");
            assert_eq!((tuple.local(), tuple.remote()), (local, remote));
            assert_eq!(tuple.is_v4(), local.is_ipv4());
            assert_eq!(tuple.reversed().local(), remote);
            assert_eq!(tuple.reversed().reversed(), tuple);
        }
        let (v4, v6) = ends("10.77.0.2:9001", "[fd77::2]:9001");
        assert_eq!(Tuple::new(v4, v6), None);
    }

    #[test]
    fn initial_sequence_numbers_depend_on_direction_and_key() {
        let tuple = Tuple::v4([10, 0, 0, 1], 80, [10, 0, 0, 2], 5000);
        assert_ne!(
            tuple.keyed_hash64(&KEY),
            tuple.reversed().keyed_hash64(&KEY)
        );
        assert_ne!(tuple.keyed_hash64(&KEY), tuple.keyed_hash64(&[1, 2]));
    }

    fn any_tuple() -> impl Strategy<Value = Tuple> {
        prop_oneof![
            any::<([u8; 4], u16, [u8; 4], u16)>().prop_map(|(a, p, b, q)| Tuple::v4(a, p, b, q)),
            any::<([u8; 16], u16, [u8; 16], u16)>().prop_map(|(a, p, b, q)| Tuple::v6(a, p, b, q)),
        ]
    }

    proptest! {
        #[test]
        fn both_directions_have_one_hash(tuple in any_tuple(), key: Key) {
            prop_assert_eq!(tuple.hash(&key), tuple.reversed().hash(&key));
        }

        #[test]
        fn the_hash_depends_on_each_part_and_on_the_key(tuple in any_tuple(), other in any_tuple()) {
            if tuple != other && tuple != other.reversed() {
                // A chance of 2^-32 for each case.
                prop_assert_ne!(tuple.hash(&KEY), other.hash(&KEY));
            }
            prop_assert_ne!(tuple.hash(&KEY), tuple.hash(&[KEY[0] ^ 1, KEY[1]]));
        }
    }

    /// Counts of `hashes` in `buckets`, and the chi-squared statistic of them, by degrees of freedom: near 1 if uniform.
    fn chi_squared(buckets: usize, place: impl Iterator<Item = usize>) -> f64 {
        let mut counts = vec![0u64; buckets];
        let mut total = 0u64;
        for at in place {
            counts[at] += 1;
            total += 1;
        }
        let expected = total as f64 / buckets as f64;
        let square = |count: u64| (count as f64 - expected).powi(2) / expected;
        counts.into_iter().map(square).sum::<f64>() / (buckets - 1) as f64
    }

    #[test]
    fn the_hashes_of_real_tuples_are_uniform_in_all_bits() {
        // One listener, and clients with consecutive ports: input that is not random at all.
        let v4: Vec<Tuple> = (0..200_000u32)
            .map(|i| {
                let client = [10, 77, (i >> 24) as u8, 1 + (i / 50_000) as u8];
                Tuple::v4([10, 77, 0, 2], 9001, client, (10_000 + i % 50_000) as u16)
            })
            .collect();
        let v6: Vec<Tuple> = v4
            .iter()
            .map(|t| {
                let wide = |end: SocketAddr| match end.ip() {
                    IpAddr::V4(v4) => v4.to_ipv6_compatible().octets(),
                    IpAddr::V6(v6) => v6.octets(),
                };
                Tuple::v6(
                    wide(t.local()),
                    t.local_port(),
                    wide(t.remote()),
                    t.remote_port(),
                )
            })
            .collect();
        for tuples in [v4, v6] {
            for key in [KEY, [0, 0], [1, 0]] {
                for shift in [0, 10, 22] {
                    let place = tuples
                        .iter()
                        .map(|t| (t.hash(&key) >> shift) as usize % 1024);
                    let chi = chi_squared(1024, place);
                    // 1023 degrees of freedom: the standard deviation is 0.044.
                    assert!((0.75..1.25).contains(&chi), "chi squared {chi}");
                }
            }
        }
    }
}
