//! The networks of targets and of source addresses.

use std::net::{IpAddr, Ipv6Addr};

use hioload_tcp::Cidr;

/// Source addresses used of a pool, at most. Each has about 64,000 ports.
pub const MAX_ADDRESSES: usize = 256;

/// Whether an address is private, loopback, link-local or for benchmarks.
pub(crate) fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || (a == 198 && b & 0xfe == 18)
        }
        IpAddr::V6(ip) => {
            let benchmark = ip.segments()[..3] == [0x2001, 2, 0];
            let embedded = ip
                .to_ipv4_mapped()
                .is_some_and(|ip| is_local(IpAddr::V4(ip)));
            ip.is_loopback()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
                || benchmark
                || embedded
        }
    }
}

/// The first hosts of a network, for IPv4 without the network and the broadcast address.
pub(crate) fn hosts(pool: Cidr) -> Vec<IpAddr> {
    let prefix = u32::from(pool.prefix());
    match pool.addr() {
        IpAddr::V4(addr) => {
            let size = 1_u64 << (32 - prefix);
            let base = u64::from(u32::from(addr)) & !(size - 1);
            let (first, last) = if size > 2 {
                (1, size - 2)
            } else {
                (0, size - 1)
            };
            let last = last.min(first + MAX_ADDRESSES as u64 - 1);
            (first..=last)
                .map(|n| IpAddr::V4(((base + n) as u32).into()))
                .collect()
        }
        IpAddr::V6(addr) => {
            let host_bits = 128 - prefix;
            let mask = if host_bits == 128 {
                u128::MAX
            } else {
                (1 << host_bits) - 1
            };
            let base = u128::from(addr) & !mask;
            let (first, last) = if mask > 1 { (1, mask) } else { (0, mask) };
            let last = last.min(first + MAX_ADDRESSES as u128 - 1);
            (first..=last)
                .map(|n| IpAddr::V6(Ipv6Addr::from(base + n)))
                .collect()
        }
    }
}
