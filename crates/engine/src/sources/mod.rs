//! Connections by where they come from: counts and rates for each source, and lists of networks.
//!
//! A source is a network: an IPv4 address, or an IPv6 /64, /56 or /48, since a site may hold any of these. Both tables are shared by
//! all lcores, without locks, and are touched when a connection is accepted and when it ends, never for a message.

mod buckets;
mod counts;
mod networks;
mod rates;

pub(crate) use counts::Counts;
pub use networks::{Network, NetworkError, Networks};
pub(crate) use rates::Rates;

use std::net::IpAddr;

/// The size of a source's network.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Scope {
    /// One IPv4 address, or an IPv6 /64: what one subscriber holds.
    Host,
    /// An IPv6 /56: what a small site holds.
    Site,
    /// An IPv6 /48: what a large site holds.
    LargeSite,
}

impl Scope {
    /// All of them, from the smallest.
    pub(crate) const ALL: [Self; 3] = [Self::Host, Self::Site, Self::LargeSite];

    /// The network of `ip` of this size, as a key for hashing: the prefix length and the prefix. `None` if IPv4 has no such size.
    pub(crate) fn network(self, ip: IpAddr) -> Option<(u8, u64)> {
        let ip = match (ip.to_canonical(), self) {
            (IpAddr::V4(ip), Self::Host) => return Some((32, u64::from(u32::from(ip)))),
            (IpAddr::V4(_), _) => return None,
            (IpAddr::V6(ip), _) => ip,
        };
        let prefix = match self {
            Self::Host => 64,
            Self::Site => 56,
            Self::LargeSite => 48,
        };
        Some((prefix, (u128::from(ip) >> (128 - prefix)) as u64))
    }
}
