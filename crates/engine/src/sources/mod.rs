//! Connections by where they come from: counts and rates for each source, and lists of networks.
//!
//! A source is an IPv4 address or an IPv6 /64, which is the least that one subscriber holds. Many hold a /56 or a /48 (RFC 6177), so
//! IPv6 connections are counted for these as well, with larger bounds. All tables are shared by all lcores, without locks, and are
//! touched when a connection is accepted and when it ends, never for a message.

mod buckets;
mod counts;
mod networks;
mod rates;

use counts::Counts;
pub use networks::{Network, NetworkError, Networks};
use rates::Rates;

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU64;

use hioload_lcore::Time;

/// The source of a connection: what it keeps to be taken off the counts again.
///
/// It holds the complement of 64 bits: those of an IPv6 /64, or of an IPv4 address behind 32 ones. The latter is in the IPv6 space of
/// multicast, so no client has both.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Source(NonZeroU64);

const IPV4: u64 = 0xffff_ffff << 32;

/// A network as a key for hashing: the prefix length and the prefix.
type Key = (u8, u64);

impl Source {
    pub(crate) fn of(ip: IpAddr) -> Self {
        let bits = match ip.to_canonical() {
            IpAddr::V4(ip) => IPV4 | u64::from(u32::from(ip)),
            IpAddr::V6(ip) => Self::prefix(ip),
        };
        // 255.255.255.255 is no client.
        Self(NonZeroU64::new(!bits).unwrap_or(NonZeroU64::MIN))
    }

    fn prefix(ip: Ipv6Addr) -> u64 {
        (u128::from(ip) >> 64) as u64
    }

    /// The networks that a connection of it counts for, the smallest first: one for IPv4; /64, /56 and /48 for IPv6.
    fn networks(self) -> impl Iterator<Item = Key> {
        let bits = !self.0.get();
        let keys: &[(u8, u32)] = if bits >= IPV4 {
            &[(32, 0)]
        } else {
            &[(64, 0), (56, 8), (48, 16)]
        };
        keys.iter()
            .map(move |(prefix, spare)| (*prefix, bits >> spare))
    }
}

/// Bounds of a source. 0: no bound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SourceBounds {
    /// Open connections.
    pub(crate) connections: u32,
    /// Connections per second.
    pub(crate) rate: u32,
    /// The bounds of an IPv6 /56 and of a /48, as multiples of these.
    pub(crate) factors: [u32; 2],
}

impl SourceBounds {
    /// `bound` at each level.
    fn levels(&self, bound: u32) -> [u32; 3] {
        let [of_56, of_48] = self.factors.map(|factor| bound.saturating_mul(factor));
        [bound, of_56, of_48]
    }
}

/// A bound of a source is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Excess {
    Connections,
    Rate,
}

/// Counts and rates of all sources, by the size of the network.
#[derive(Debug)]
pub(crate) struct Sources {
    counts: [Counts; 3],
    rates: [Rates; 3],
}

impl Sources {
    /// Room for as many sources as there may be connections.
    pub(crate) fn new(connections: usize) -> Self {
        Self {
            counts: [(); 3].map(|()| Counts::new(connections)),
            rates: [(); 3].map(|()| Rates::new(connections)),
        }
    }

    /// Counts one more connection from `ip`, unless a bound is reached: then nothing is counted, but the rates of the smaller
    /// networks have been used.
    pub(crate) fn admit(
        &self,
        ip: IpAddr,
        bounds: &SourceBounds,
        now: Time,
    ) -> Result<Source, Excess> {
        let source = Source::of(ip);
        // The smallest network comes first: a source that exceeds its own rate does not use up that of its neighbours.
        let rates = self.rates.iter().zip(bounds.levels(bounds.rate));
        for ((rates, rate), network) in rates.zip(source.networks()) {
            if rate != 0 && !rates.admit(network, rate, now) {
                return Err(Excess::Rate);
            }
        }
        let counts = self.counts.iter().zip(bounds.levels(bounds.connections));
        for (level, ((counts, most), network)) in counts.zip(source.networks()).enumerate() {
            // Connections are counted without a bound too: it may be set later.
            let most = if most == 0 { u32::MAX } else { most };
            if !counts.add(counts.key(network), most) {
                self.uncount(source, level);
                return Err(Excess::Connections);
            }
        }
        Ok(source)
    }

    /// A connection that was admitted has ended.
    pub(crate) fn release(&self, source: Source) {
        self.uncount(source, self.counts.len());
    }

    /// Takes a connection off the counts of the first `levels` networks.
    fn uncount(&self, source: Source, levels: usize) {
        for (counts, network) in self.counts.iter().zip(source.networks()).take(levels) {
            counts.remove(counts.key(network));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNLIMITED: SourceBounds = SourceBounds {
        connections: 0,
        rate: 0,
        factors: [4, 16],
    };

    fn most(connections: u32) -> SourceBounds {
        SourceBounds {
            connections,
            ..UNLIMITED
        }
    }

    /// The address `host` of the `subnet`-th /64 in the `site`-th /48.
    fn ip(site: u32, subnet: u16, host: u64) -> IpAddr {
        let network = 0x2001_0000_u128 << 96 | u128::from(site) << 80 | u128::from(subnet) << 64;
        Ipv6Addr::from(network | u128::from(host)).into()
    }

    #[test]
    fn networks_of_a_source() {
        let of = |ip: &str| {
            Source::of(ip.parse().unwrap())
                .networks()
                .collect::<Vec<_>>()
        };
        assert_eq!(of("192.0.2.7"), of("::ffff:192.0.2.7"));
        assert_eq!(of("192.0.2.7").len(), 1);
        assert_eq!(
            of("2001:db8:1:203::9"),
            [
                (64, 0x2001_0db8_0001_0203),
                (56, 0x0020_010d_b800_0102),
                (48, 0x2001_0db8_0001)
            ]
        );
        assert_eq!(of("::1").len(), 3);
        assert_ne!(of("0.0.0.1"), of("255.255.255.255"));
        assert_eq!(size_of::<Option<Source>>(), 8);
    }

    #[test]
    fn an_attacker_with_a_48_is_bounded_and_others_are_not_refused() {
        let sources = Sources::new(100_000);
        let bounds = most(4);
        let mut held = Vec::new();
        for subnet in 0..=u16::MAX {
            held.extend(sources.admit(ip(7, subnet, 1), &bounds, Time::ZERO).ok());
        }
        assert_eq!(held.len(), 16 * 4, "one connection from each /64 of a /48");
        // In one /56 it is a quarter of that.
        let mut of_a_56 = 0;
        for subnet in 0..256 {
            of_a_56 += u32::from(sources.admit(ip(8, subnet, 1), &bounds, Time::ZERO).is_ok());
        }
        assert_eq!(of_a_56, 4 * 4);
        assert!(sources.admit(ip(9, 0, 1), &bounds, Time::ZERO).is_ok());
        // What was refused was not counted, and what has ended is no longer.
        for source in held {
            sources.release(source);
        }
        for subnet in 0..16 {
            for host in 0..4 {
                let admitted = sources.admit(ip(7, subnet << 8, host), &bounds, Time::ZERO);
                assert!(admitted.is_ok(), "{subnet} {host}");
            }
        }
        assert!(sources.admit(ip(7, 1, 0), &bounds, Time::ZERO).is_err());
    }

    #[test]
    fn no_source_is_refused_for_others_at_the_configured_size() {
        const SITES: u32 = 200_000;
        let sources = Sources::new(SITES as usize);
        let bounds = most(1);
        for site in 0..SITES {
            let admitted = sources.admit(ip(site, site as u16, 1), &bounds, Time::ZERO);
            assert!(admitted.is_ok(), "site {site}");
        }
        for site in 0..SITES {
            let again = sources.admit(ip(site, site as u16, 2), &bounds, Time::ZERO);
            assert_eq!(again, Err(Excess::Connections), "site {site}");
        }
    }

    #[test]
    fn a_rate_is_bounded_for_larger_networks_and_not_used_by_what_a_smaller_one_refuses() {
        let sources = Sources::new(1000);
        let bounds = SourceBounds {
            rate: 10,
            ..UNLIMITED
        };
        let admitted = |site, subnets: std::ops::Range<u16>, tries| {
            let tries = subnets.flat_map(|subnet| (0..tries).map(move |_| ip(site, subnet, 1)));
            let admitted =
                tries.filter(|ip| sources.admit(*ip, &bounds, Time::from_millis(1)).is_ok());
            admitted.count()
        };
        // One /64 alone; it tries a thousand times.
        assert_eq!(admitted(1, 0..1, 1000), 10);
        // Its neighbours in the /56 have the rest of its bound.
        assert_eq!(admitted(1, 1..100, 10), 30);
        // So have those in the /48.
        assert_eq!(admitted(1, 256..257, 1000), 10);
        let rest = admitted(1, 512..u16::MAX, 1);
        assert!(
            (110..=111).contains(&rest),
            "{rest}: the interval is rounded"
        );
    }

    #[test]
    fn a_factor_of_zero_is_no_bound() {
        let sources = Sources::new(10_000);
        let bounds = SourceBounds {
            connections: 1,
            rate: 1,
            factors: [0, 0],
        };
        for subnet in 0..5_000 {
            assert!(sources.admit(ip(1, subnet, 1), &bounds, Time::ZERO).is_ok());
            assert!(
                sources
                    .admit(ip(1, subnet, 2), &bounds, Time::ZERO)
                    .is_err()
            );
        }
    }
}
