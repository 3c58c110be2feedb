//! An address with the length of its network's prefix.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An address and the length of its network's prefix: `10.77.0.2/24`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Cidr {
    addr: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// `None` if the prefix is longer than the address, or if no host can have the address.
    #[must_use]
    pub fn new(addr: IpAddr, prefix: u8) -> Option<Self> {
        let (longest, host) = match addr {
            // No host has an address in 0/8 or 240/4 (RFC 6890).
            IpAddr::V4(addr) => (32, !matches!(addr.octets()[0], 0 | 224..)),
            IpAddr::V6(addr) => (128, !addr.is_multicast()),
        };
        let not_special = !addr.is_unspecified() && !addr.is_loopback();
        (prefix <= longest && host && not_special).then_some(Self { addr, prefix })
    }

    /// The address.
    #[must_use]
    pub fn addr(self) -> IpAddr {
        self.addr
    }

    /// The length of the network's prefix in bits.
    #[must_use]
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether `addr` is in the same network.
    #[must_use]
    pub fn contains(self, addr: IpAddr) -> bool {
        match (self.addr, addr) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differing = u32::from(own) ^ u32::from(other);
                differing.leading_zeros() >= u32::from(self.prefix)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differing = u128::from(own) ^ u128::from(other);
                differing.leading_zeros() >= u32::from(self.prefix)
            }
            _ => false,
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix)
    }
}

/// The text is not a host's address with a prefix length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ParseCidrError;

impl fmt::Display for ParseCidrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a host's address with a prefix length, such as 10.77.0.2/24 or fd77::2/64")
    }
}
impl std::error::Error for ParseCidrError {}

impl FromStr for Cidr {
    type Err = ParseCidrError;

    fn from_str(text: &str) -> Result<Self, ParseCidrError> {
        let (addr, prefix) = text.split_once('/').ok_or(ParseCidrError)?;
        let addr = addr.parse().map_err(|_| ParseCidrError)?;
        let prefix = prefix.parse().map_err(|_| ParseCidrError)?;
        Self::new(addr, prefix).ok_or(ParseCidrError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cidr_contains_the_addresses_of_its_network() {
        let four: Cidr = "10.77.0.2/24".parse().expect("a cidr");
        assert!(four.contains("10.77.0.200".parse().expect("an address")));
        assert!(!four.contains("10.77.1.2".parse().expect("an address")));
        assert!(!four.contains("fd77::1".parse().expect("an address")));
        let six: Cidr = "fd77::2/64".parse().expect("a cidr");
        assert!(six.contains("fd77::ffff:1".parse().expect("an address")));
        assert!(!six.contains("fd78::1".parse().expect("an address")));
        assert_eq!(six.to_string(), "fd77::2/64");
        for bad in [
            "10.0.0.1",
            "10.0.0.1/33",
            "0.1.2.3/8",
            "127.0.0.1/8",
            "::1/128",
            "224.0.0.1/4",
            "240.0.0.1/4",
            "::/0",
            "x/1",
        ] {
            assert_eq!(bad.parse::<Cidr>(), Err(ParseCidrError), "{bad}");
        }
    }
}
