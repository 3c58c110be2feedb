//! The sources of attacks: numbered pairs of address and port that the load does not use.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use crate::segment::{Address, number_of};

/// Addresses, each with the same range of ports.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    addresses: Vec<Address>,
    /// The addresses are consecutive.
    contiguous: bool,
    first_port: u16,
    ports: u32,
}

impl Sources {
    /// `None` if there is no port or no address.
    pub(crate) fn new(addresses: &[IpAddr], ports: &RangeInclusive<u16>) -> Option<Self> {
        let addresses: Vec<Address> = addresses.iter().map(|&ip| number_of(ip)).collect();
        let contiguous = addresses
            .windows(2)
            .all(|pair| pair[1] == pair[0].wrapping_add(1));
        let ports_there = u32::from(*ports.end()).checked_sub(u32::from(*ports.start()))? + 1;
        (!addresses.is_empty()).then_some(Self {
            addresses,
            contiguous,
            first_port: *ports.start(),
            ports: ports_there,
        })
    }

    /// Part `index` of `parts` disjoint parts by ports. `None` if there are fewer ports than parts.
    pub(crate) fn part(&self, index: usize, parts: usize) -> Option<Self> {
        let each = self.ports / u32::try_from(parts).ok()?;
        (each > 0).then(|| Self {
            first_port: self.first_port + (each * index as u32) as u16,
            ports: each,
            ..self.clone()
        })
    }

    /// The first port.
    pub(crate) fn first_port(&self) -> u16 {
        self.first_port
    }

    /// Number of ports of each address.
    pub(crate) fn ports(&self) -> u16 {
        self.ports as u16
    }

    /// Number of sources.
    pub(crate) fn len(&self) -> u64 {
        self.addresses.len() as u64 * u64::from(self.ports)
    }

    /// The source `index`, modulo their number. Consecutive sources differ in their address.
    #[inline]
    pub(crate) fn get(&self, index: u64) -> (Address, u16) {
        let addresses = self.addresses.len() as u64;
        let port = (index / addresses) % u64::from(self.ports);
        (
            self.addresses[(index % addresses) as usize],
            self.first_port + port as u16,
        )
    }

    /// Whether an address is one of the sources, with any port.
    #[inline]
    pub(crate) fn has(&self, address: Address) -> bool {
        self.place(address).is_some()
    }

    #[inline]
    fn place(&self, address: Address) -> Option<usize> {
        if self.contiguous {
            let place = address.checked_sub(self.addresses[0])?;
            usize::try_from(place)
                .ok()
                .filter(|&place| place < self.addresses.len())
        } else {
            self.addresses.iter().position(|&own| own == address)
        }
    }

    /// The number of a source.
    #[inline]
    pub(crate) fn find(&self, address: Address, port: u16) -> Option<u64> {
        let port = port.checked_sub(self.first_port)?;
        if u32::from(port) >= self.ports {
            return None;
        }
        let place = self.place(address)?;
        Some(u64::from(port) * self.addresses.len() as u64 + place as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_found_by_its_number_and_parts_are_disjoint() {
        for addresses in [
            vec!["10.0.0.1", "10.0.0.2", "10.0.0.3"],
            vec!["fd00::9", "fd00::2"],
        ] {
            let addresses: Vec<IpAddr> =
                addresses.iter().map(|ip| ip.parse().expect("ip")).collect();
            let all = Sources::new(&addresses, &(1000..=1009)).expect("some");
            assert_eq!(all.len(), addresses.len() as u64 * 10);
            for index in 0..all.len() {
                let (address, port) = all.get(index);
                assert_eq!(all.find(address, port), Some(index));
            }
            let parts: Vec<_> = (0..3).map(|i| all.part(i, 3).expect("a part")).collect();
            for (i, part) in parts.iter().enumerate() {
                for index in 0..part.len() {
                    let (address, port) = part.get(index);
                    assert!(all.find(address, port).is_some());
                    let holders = parts.iter().filter(|p| p.find(address, port).is_some());
                    assert_eq!(holders.count(), 1, "{i} {index}");
                }
            }
            assert!(all.part(0, 11).is_none());
            assert_eq!(all.find(number_of(addresses[0]), 999), None);
            assert_eq!(all.find(number_of(addresses[0]), 1010), None);
            assert_eq!(all.find(77, 1005), None);
        }
    }
}
