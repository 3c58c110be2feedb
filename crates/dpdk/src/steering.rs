//! Flow rules: a device that can hands over only what is the appliance's, and leaves the rest to the kernel.

use std::net::{IpAddr, SocketAddr};

use crate::plan::Plan;
use crate::raw::{self, hl_rule};

/// What is the appliance's: TCP to these, and ARP, ICMP and neighbour discovery.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Steering {
    /// Its own addresses.
    pub addresses: Vec<IpAddr>,
    /// Where it listens; an unspecified address is all of its own.
    pub listen: Vec<SocketAddr>,
    /// Its VLAN.
    pub vlan: Option<u16>,
}

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;
const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

impl Steering {
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
            // Neighbours are asked for by multicast: to any address.
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

    /// Asks the device to hand over nothing but what rules will name; before it is configured. `false` if it cannot: then
    /// everything arrives, which costs cycles and harms nothing.
    pub(crate) fn isolate(port: u16, label: &str) -> bool {
        match raw::flow_isolate(port) {
            Ok(()) => true,
            Err(code) => {
                let why = raw::error_text(code);
                tracing::info!(target: "dpdk", "port {label} is not isolated ({why}): all its frames arrive here");
                false
            }
        }
    }

    /// Adds the rules of an isolated port.
    ///
    /// # Errors
    /// The driver's reason, and the rule: without it the port would be deaf.
    pub(crate) fn add(&self, port: u16, plan: &Plan) -> Result<usize, String> {
        let rules = self.rules();
        for rule in &rules {
            raw::flow_add(port, rule, plan.config.queues, &plan.config)
                .map_err(|why| format!("{why} ({})", describe(rule)))?;
        }
        Ok(rules.len())
    }
}

fn describe(rule: &hl_rule) -> String {
    let kind = match rule.ether_type {
        ARP => return "ARP".into(),
        IPV4 => "IPv4",
        _ => "IPv6",
    };
    format!("{kind} protocol {} port {}", rule.protocol, rule.port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_is_all_own_ones_of_its_family() {
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
    fn without_ipv4_there_is_no_arp() {
        let steering = Steering {
            addresses: vec!["fd00::1".parse().expect("an address")],
            listen: vec!["0.0.0.0:80".parse().expect("an address")],
            vlan: None,
        };
        let kinds: Vec<_> = steering
            .rules()
            .iter()
            .map(|rule| rule.ether_type)
            .collect();
        assert_eq!(kinds, [IPV6, IPV6]);
    }
}
