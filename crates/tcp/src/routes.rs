//! The routes: the neighbour that a packet is sent to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::cidr::Cidr;

/// Our networks, and the routers to all other networks.
#[derive(Clone, Debug)]
pub(crate) struct Routes {
    networks: Box<[Cidr]>,
    gateway_v4: Option<Ipv4Addr>,
    gateway_v6: Option<Ipv6Addr>,
}

/// `fe80::/10`.
fn is_link_local(ip: Ipv6Addr) -> bool {
    ip.segments()[0] & 0xffc0 == 0xfe80
}

impl Routes {
    /// The routes of a host with these addresses and routers.
    pub(crate) fn new(
        networks: &[Cidr],
        gateway_v4: Option<Ipv4Addr>,
        gateway_v6: Option<Ipv6Addr>,
    ) -> Self {
        Self {
            networks: networks.into(),
            gateway_v4,
            gateway_v6,
        }
    }

    /// The neighbour that packets to `ip` are sent to: `ip` itself or the router. `None` if there is no route, or no other host
    /// has the address: multicast, broadcast, our own.
    pub(crate) fn next_hop(&self, ip: IpAddr) -> Option<IpAddr> {
        let nobody = match ip {
            IpAddr::V4(v4) => crate::parse::is_martian_v4(v4.octets()),
            IpAddr::V6(v6) => crate::parse::is_martian_v6(v6.octets()),
        };
        if nobody || self.networks.iter().any(|own| own.addr() == ip) {
            return None;
        }
        let on_link = self.networks.iter().any(|own| own.contains(ip));
        match ip {
            IpAddr::V4(v4) if on_link => (!self.is_broadcast(v4)).then_some(ip),
            IpAddr::V4(_) => self.gateway_v4.map(IpAddr::V4),
            IpAddr::V6(v6) if on_link || is_link_local(v6) => Some(ip),
            IpAddr::V6(_) => self.gateway_v6.map(IpAddr::V6),
        }
    }

    /// Whether `ip` is one of our routers.
    pub(crate) fn is_gateway(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(v4) => self.gateway_v4 == Some(v4),
            IpAddr::V6(v6) => self.gateway_v6 == Some(v6),
        }
    }

    /// Our routers.
    pub(crate) fn gateways(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let v4 = self.gateway_v4.map(IpAddr::V4);
        v4.into_iter().chain(self.gateway_v6.map(IpAddr::V6))
    }

    /// The source address for packets to `ip`: one in the same network if we have one.
    pub(crate) fn source_for(&self, ip: IpAddr) -> Option<IpAddr> {
        let same_family = |own: &&Cidr| own.addr().is_ipv4() == ip.is_ipv4();
        let near = self.networks.iter().find(|own| own.contains(ip));
        let any = || self.networks.iter().find(same_family);
        near.or_else(any).map(|own| own.addr())
    }

    fn is_broadcast(&self, ip: Ipv4Addr) -> bool {
        self.networks.iter().any(|own| match own.addr() {
            IpAddr::V4(addr) if own.prefix() < 31 => {
                let host = u32::MAX.checked_shr(own.prefix().into()).unwrap_or(0);
                u32::from(ip) == u32::from(addr) | host
            }
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn routes(gateways: bool) -> Routes {
        let networks =
            ["10.77.0.2/24", "192.168.0.1/32", "fd77::2/64"].map(|c| c.parse().expect("a CIDR"));
        Routes::new(
            &networks,
            gateways.then_some(Ipv4Addr::new(10, 77, 0, 254)),
            gateways.then_some("fe80::1".parse().expect("IPv6")),
        )
    }

    #[test]
    fn the_next_hop_is_a_neighbour_or_the_router() {
        let (with, without) = (routes(true), routes(false));
        for near in ["10.77.0.1", "fd77::1", "fe80::7"] {
            assert_eq!(with.next_hop(ip(near)), Some(ip(near)));
            assert_eq!(without.next_hop(ip(near)), Some(ip(near)));
        }
        assert_eq!(with.next_hop(ip("8.8.8.8")), Some(ip("10.77.0.254")));
        assert_eq!(with.next_hop(ip("192.168.0.2")), Some(ip("10.77.0.254")));
        assert_eq!(with.next_hop(ip("2001:db8::1")), Some(ip("fe80::1")));
        assert_eq!(without.next_hop(ip("8.8.8.8")), None);
        assert_eq!(without.next_hop(ip("2001:db8::1")), None);
        for nobody in [
            "10.77.0.2",
            "10.77.0.255",
            "255.255.255.255",
            "224.0.0.1",
            "127.0.0.1",
            "0.0.0.0",
            "fd77::2",
            "ff02::1",
            "::",
            "::1",
            "192.168.0.1",
        ] {
            assert_eq!(with.next_hop(ip(nobody)), None, "{nobody}");
        }
    }

    #[test]
    fn the_source_is_in_the_same_network_if_possible() {
        let routes = routes(true);
        assert_eq!(routes.source_for(ip("10.77.0.9")), Some(ip("10.77.0.2")));
        assert_eq!(routes.source_for(ip("8.8.8.8")), Some(ip("10.77.0.2")));
        assert_eq!(routes.source_for(ip("fe80::1")), Some(ip("fd77::2")));
        assert_eq!(Routes::new(&[], None, None).source_for(ip("8.8.8.8")), None);
    }
}
