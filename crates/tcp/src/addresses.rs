//! The addresses of the host: MAC address, VLAN, IP addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::cidr::Cidr;

/// The destinations of frames for us. It is read for each frame, and never changes.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    mac: [u8; 6],
    vlan: Option<u16>,
    /// Sorted.
    v4: Box<[u32]>,
    /// Sorted.
    v6: Box<[u128]>,
    /// The broadcast addresses of the networks we are in; sorted.
    broadcasts: Box<[u32]>,
}

/// Whether the sorted `list`, which usually has one entry, has `item`.
#[inline]
fn has<T: Ord>(list: &[T], item: &T) -> bool {
    match list {
        [only] => only == item,
        many => many.binary_search(item).is_ok(),
    }
}

fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Box<[T]> {
    let mut items: Vec<T> = items.collect();
    items.sort_unstable();
    items.dedup();
    items.into_boxed_slice()
}

impl Addresses {
    /// The host `mac` with `addresses`, in the VLAN `vlan`. If that is `None`, the host's frames have no tag.
    pub(crate) fn new(mac: [u8; 6], vlan: Option<u16>, addresses: &[Cidr]) -> Self {
        let v4 = || {
            addresses.iter().filter_map(|cidr| match cidr.addr() {
                IpAddr::V4(v4) => Some((u32::from(v4), cidr.prefix())),
                IpAddr::V6(_) => None,
            })
        };
        let v6 = addresses.iter().filter_map(|cidr| match cidr.addr() {
            IpAddr::V6(v6) => Some(u128::from(v6)),
            IpAddr::V4(_) => None,
        });
        // Networks of one or two hosts have no broadcast address (RFC 3021).
        let broadcast = |(v4, prefix): (u32, u8)| {
            (prefix < 31).then(|| v4 | u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0))
        };
        Self {
            mac,
            vlan,
            v4: sorted(v4().map(|(v4, _)| v4)),
            v6: sorted(v6),
            broadcasts: sorted(v4().filter_map(broadcast)),
        }
    }

    /// The MAC address.
    #[inline]
    pub(crate) fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// The VLAN; `None` if the host's frames have no tag.
    #[inline]
    pub(crate) fn vlan(&self) -> Option<u16> {
        self.vlan
    }

    /// Whether a frame with this VLAN (`None`: untagged, or VLAN 0, which is a priority without a VLAN) is for us. All devices
    /// rely on this decision: a device that removes a tag puts it back before the frame is parsed.
    #[inline]
    pub(crate) fn takes_vlan(&self, vlan: Option<u16>) -> bool {
        self.vlan == vlan
    }

    /// Whether this IPv4 address is ours.
    #[inline]
    pub(crate) fn has_v4(&self, address: [u8; 4]) -> bool {
        has(&self.v4, &u32::from_be_bytes(address))
    }

    /// Whether this IPv6 address is ours.
    #[inline]
    pub(crate) fn has_v6(&self, address: [u8; 16]) -> bool {
        has(&self.v6, &u128::from_be_bytes(address))
    }

    /// Whether this is the broadcast address of a network we are in.
    #[inline]
    pub(crate) fn is_broadcast(&self, address: [u8; 4]) -> bool {
        has(&self.broadcasts, &u32::from_be_bytes(address))
    }

    /// Whether this is the solicited-node group of an address of ours (RFC 4291 §2.7.1), or the group of all nodes.
    pub(crate) fn in_group(&self, address: [u8; 16]) -> bool {
        let address = u128::from_be_bytes(address);
        const SOLICITED: u128 = 0xff02_0000_0000_0000_0000_0001_ff00_0000;
        address == u128::from(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1))
            || address & !0xff_ffff == SOLICITED
                && self.v6.iter().any(|v6| (v6 ^ address) & 0xff_ffff == 0)
    }

    /// All our addresses.
    pub(crate) fn iter(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let v4 = self.v4.iter().map(|&v4| Ipv4Addr::from(v4).into());
        v4.chain(self.v6.iter().map(|&v6| Ipv6Addr::from(v6).into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> Addresses {
        let cidrs: Vec<Cidr> = list.iter().map(|c| c.parse().expect("a CIDR")).collect();
        Addresses::new([2, 0, 0, 0, 0, 1], None, &cidrs)
    }

    #[test]
    fn only_the_own_addresses_are_found() {
        for list in [
            &["10.0.0.2/24", "fd00::1:2/64"][..],
            &[
                "10.0.0.9/24",
                "10.0.0.2/24",
                "192.168.1.1/16",
                "fd00::1:2/64",
                "fd00::7/64",
            ],
        ] {
            let ours = addresses(list);
            let v6 = |text: &str| text.parse::<Ipv6Addr>().expect("IPv6").octets();
            assert!(ours.has_v4([10, 0, 0, 2]));
            assert!(!ours.has_v4([10, 0, 0, 3]));
            assert!(ours.has_v6(v6("fd00::1:2")));
            assert!(!ours.has_v6(v6("fd00::1:3")));
            assert!(ours.is_broadcast([10, 0, 0, 255]));
            assert!(!ours.is_broadcast([10, 0, 0, 2]));
            assert!(ours.in_group(v6("ff02::1")));
            assert!(ours.in_group(v6("ff02::1:ff01:2")));
            assert!(!ours.in_group(v6("ff02::1:ff01:3")));
            assert!(!ours.in_group(v6("ff02::2")));
            assert!(!ours.in_group(v6("fd00::1:2")));
            assert_eq!(ours.iter().count(), list.len());
        }
        assert!(!addresses(&[]).has_v4([0, 0, 0, 0]));
    }

    #[test]
    fn a_host_is_in_one_vlan_or_in_none() {
        let none = addresses(&[]);
        assert!(none.takes_vlan(None) && !none.takes_vlan(Some(7)) && !none.takes_vlan(Some(666)));
        let one = Addresses::new([2, 0, 0, 0, 0, 1], Some(7), &[]);
        assert!(one.takes_vlan(Some(7)));
        assert!(!one.takes_vlan(None) && !one.takes_vlan(Some(8)));
    }
}
