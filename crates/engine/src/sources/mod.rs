//! Connections by where they come from: counts and rates for each source, and lists of networks.
//!
//! A source is an IPv4 address or an IPv6 /64, which is what one subscriber holds. Both tables are shared by all lcores, without
//! locks, and are touched when a connection is accepted and when it ends, never for a message.

mod buckets;
mod counts;
mod networks;
mod rates;

pub(crate) use counts::{Counts, Source};
pub use networks::{Network, NetworkError, Networks};
pub(crate) use rates::Rates;

use std::net::IpAddr;

/// The network that `ip` is counted with, as a key for hashing: the prefix length and the prefix.
pub(crate) fn network(ip: IpAddr) -> (u8, u64) {
    match ip.to_canonical() {
        IpAddr::V4(ip) => (32, u64::from(u32::from(ip))),
        IpAddr::V6(ip) => (64, (u128::from(ip) >> 64) as u64),
    }
}
