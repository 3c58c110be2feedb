//! Flow rules: a device that supports them delivers only the flows of the port, and leaves the others to the kernel.

use std::net::{IpAddr, SocketAddr};

use crate::raw::{self, hl_rule};

/// The flows of a port: TCP to the listened endpoints, and ARP, ICMP and neighbour discovery for the addresses.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Steering {
    /// The port's addresses.
    pub addresses: Vec<IpAddr>,
    /// The listened endpoints. An unspecified address stands for all `addresses` of its family, port 0 for every TCP port.
    pub listen: Vec<SocketAddr>,
    /// The 802.1Q identifier of the port's frames.
    pub vlan: Option<u16>,
}

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;
const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

impl Steering {
    /// The flows for `addresses` and `listen`, in the VLAN `vlan` if there is one.
    #[must_use]
    pub fn new(addresses: Vec<IpAddr>, listen: Vec<SocketAddr>, vlan: Option<u16>) -> Self {
        Self {
            addresses,
            listen,
            vlan,
        }
    }

    /// The rules, most specific first.
    pub(crate) fn rules(&self) -> Vec<hl_rule> {
        let mut rules = Vec::new();
        for listen in &self.listen {
            let all = listen.ip().is_unspecified();
            let same = |ip: &IpAddr| ip.is_ipv4() == listen.is_ipv4();
            let own = self.addresses.iter().copied().filter(|ip| all && same(ip));
            let given = Some(listen.ip()).filter(|_| !all);
            rules.extend(own.chain(given).map(|ip| self.rule(ip, TCP, listen.port())));
        }
        for &ip in &self.addresses {
            rules.push(self.rule(ip, if ip.is_ipv4() { ICMP } else { ICMPV6 }, 0));
        }
        if self.addresses.iter().any(IpAddr::is_ipv4) {
            rules.push(hl_rule {
                ether_type: ARP,
                vlan: self.vlan.unwrap_or(0),
                ..Default::default()
            });
        }
        if self.addresses.iter().any(IpAddr::is_ipv6) {
            // Neighbour solicitations are sent to multicast addresses, so the rule has no address.
            rules.push(hl_rule {
                ether_type: IPV6,
                vlan: self.vlan.unwrap_or(0),
                protocol: ICMPV6,
                ..Default::default()
            });
        }
        rules
    }

    fn rule(&self, to: IpAddr, protocol: u8, port: u16) -> hl_rule {
        let mut address = [0; 16];
        let (ether_type, prefix) = match to {
            IpAddr::V4(ip) => {
                address[..4].copy_from_slice(&ip.octets());
                (IPV4, 32)
            }
            IpAddr::V6(ip) => {
                address = ip.octets();
                (IPV6, 128)
            }
        };
        hl_rule {
            ether_type,
            vlan: self.vlan.unwrap_or(0),
            address,
            prefix,
            protocol,
            port,
        }
    }
}

/// Restricts a device, before it is configured, to the flows for which rules are added. Returns `false` if the device does not
/// support that; then all frames arrive, and the stack ignores those for others.
pub(crate) fn isolate(port: u16, label: &str) -> bool {
    match raw::flow_isolate(port) {
        Ok(()) => true,
        Err(errno) => {
            tracing::info!(
                target: "dpdk",
                "port {label} cannot be isolated ({errno}): all its frames arrive"
            );
            false
        }
    }
}

/// A rule, for error texts.
pub(crate) fn describe(rule: &hl_rule) -> String {
    let network = match rule.ether_type {
        ARP => return "ARP".into(),
        IPV4 => "IPv4",
        _ => "IPv6",
    };
    format!("{network} protocol {} port {}", rule.protocol, rule.port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_stands_for_all_addresses_of_its_family() {
        let steering = Steering {
            addresses: vec![
                "10.1.0.1".parse().expect("an address"),
                "fd00::1".parse().expect("an address"),
                "10.1.0.2".parse().expect("an address"),
            ],
            listen: vec![
                "0.0.0.0:80".parse().expect("an address"),
                "[fd00::1]:443".parse().expect("an address"),
            ],
            vlan: Some(7),
        };
        let rules = steering.rules();
        let tcp: Vec<_> = rules
            .iter()
            .filter(|rule| rule.protocol == TCP)
            .map(|rule| (rule.ether_type, rule.port, rule.address[0], rule.prefix))
            .collect();
        assert_eq!(
            tcp,
            [
                (IPV4, 80, 10, 32),
                (IPV4, 80, 10, 32),
                (IPV6, 443, 0xfd, 128)
            ]
        );
        assert!(rules.iter().all(|rule| rule.vlan == 7));
        assert_eq!(
            rules.iter().filter(|rule| rule.ether_type == ARP).count(),
            1
        );
        let icmp = rules
            .iter()
            .filter(|rule| matches!(rule.protocol, ICMP | ICMPV6));
        assert_eq!(icmp.count(), 4);
    }

    #[test]
    fn without_an_ipv4_address_there_is_no_rule_for_arp() {
        let steering = Steering {
            addresses: vec!["fd00::1".parse().expect("an address")],
            listen: vec!["0.0.0.0:80".parse().expect("an address")],
            vlan: None,
        };
        let types: Vec<_> = steering
            .rules()
            .iter()
            .map(|rule| rule.ether_type)
            .collect();
        assert_eq!(types, [IPV6, IPV6]);
    }
}
