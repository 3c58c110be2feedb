//! Lists of networks: who may connect, who may not, which proxies are trusted.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A network: an address with a prefix length.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Network {
    first: IpAddr,
    prefix: u8,
}

/// A text that is not a network.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum NetworkError {
    /// The part before the slash is not an IP address.
    Address,
    /// The prefix length is not a number that the address family has.
    Prefix,
    /// The address has bits beyond its prefix.
    HostBits,
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => {
                "expected an IP address, or a network such as 10.0.0.0/8 or 2001:db8::/32"
            }
            Self::Prefix => "the prefix length must be 0 to 32 for IPv4, 0 to 128 for IPv6",
            Self::HostBits => "the address has bits set beyond its prefix length",
        })
    }
}
impl std::error::Error for NetworkError {}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let first: IpAddr = address.parse().map_err(|_| NetworkError::Address)?;
        let longest = if first.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| NetworkError::Prefix)?
            }
            Some(_) => return Err(NetworkError::Prefix),
        };
        if prefix > longest {
            return Err(NetworkError::Prefix);
        }
        let network = Self { first, prefix };
        if network.range().0 != bits(first) {
            return Err(NetworkError::HostBits);
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

impl Network {
    /// The first and the last address, as numbers of the IPv6 space.
    fn range(&self) -> (u128, u128) {
        let mapped = if self.first.is_ipv4() { 96 } else { 0 };
        let hosts = u128::MAX
            .checked_shr(u32::from(self.prefix) + mapped)
            .unwrap_or(0);
        let first = bits(self.first) & !hosts;
        (first, first | hosts)
    }
}

/// An address as a number; IPv4 as IPv4-mapped IPv6.
fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().into(),
        IpAddr::V6(ip) => ip.into(),
    }
}

/// A set of networks. A lookup costs O(log n).
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Networks {
    /// Disjoint ranges in rising order.
    ranges: Vec<(u128, u128)>,
}

impl Networks {
    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether `ip` is in one of the networks. An IPv4-mapped IPv6 address is the IPv4 address.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = bits(ip.to_canonical());
        let at = self.ranges.partition_point(|(first, _)| *first <= ip);
        at > 0 && ip <= self.ranges[at - 1].1
    }
}

impl FromIterator<Network> for Networks {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        let mut all: Vec<_> = networks.into_iter().map(|n| n.range()).collect();
        all.sort_unstable();
        let mut ranges: Vec<(u128, u128)> = Vec::with_capacity(all.len());
        for (first, last) in all {
            match ranges.last_mut() {
                Some(before) if first <= before.1 => before.1 = before.1.max(last),
                _ => ranges.push((first, last)),
            }
        }
        Self { ranges }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(networks: &[&str]) -> Networks {
        networks
            .iter()
            .map(|n| n.parse::<Network>().unwrap())
            .collect()
    }

    #[test]
    fn addresses_are_found_in_their_networks() {
        let set = set(&[
            "10.0.0.0/8",
            "10.1.0.0/16",
            "192.0.2.7",
            "2001:db8::/32",
            "::1",
        ]);
        for inside in [
            "10.0.0.0",
            "10.255.255.255",
            "192.0.2.7",
            "::ffff:10.1.2.3",
            "2001:db8:ffff::",
            "::1",
        ] {
            assert!(set.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in [
            "9.255.255.255",
            "11.0.0.0",
            "192.0.2.6",
            "192.0.2.8",
            "2001:db9::",
            "::2",
            "::",
        ] {
            assert!(!set.contains(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn the_whole_address_space_of_a_family_is_a_network() {
        assert!(set(&["0.0.0.0/0"]).contains([255; 4].into()));
        assert!(!set(&["0.0.0.0/0"]).contains("2001:db8::1".parse().unwrap()));
        assert!(set(&["::/0"]).contains([1, 2, 3, 4].into()));
        assert!(!Networks::default().contains([1, 2, 3, 4].into()));
    }

    #[test]
    fn texts_that_are_no_networks_are_refused_with_the_reason() {
        for (text, why) in [
            ("", NetworkError::Address),
            ("10.0.0", NetworkError::Address),
            ("10.0.0.0/", NetworkError::Prefix),
            ("10.0.0.0/33", NetworkError::Prefix),
            ("10.0.0.0/+8", NetworkError::Prefix),
            ("10.0.0.1/8", NetworkError::HostBits),
            ("2001:db8::/129", NetworkError::Prefix),
        ] {
            assert_eq!(text.parse::<Network>(), Err(why), "{text}");
        }
        let network: Network = "2001:db8::/32".parse().unwrap();
        assert_eq!(network.to_string(), "2001:db8::/32");
    }
}
