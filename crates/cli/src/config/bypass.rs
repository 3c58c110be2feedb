//! The settings that transports with user-space TCP share (`af-xdp`, `dpdk`): their defaults, and whether they agree.

use std::net::IpAddr;

use hioload_bypass::Error;
use hioload_tcp::StackConfig;
use hioload_ws::Listen;

use super::apply::{bytes, set, span, within};
use super::sections::{AfXdpArgs, BypassArgs, TcpArgs};
use super::values::TransportKind;
use crate::Failure;

/// Settings of a port that do not depend on its driver.
#[derive(Debug)]
pub(crate) struct BypassSettings {
    /// The queues; `None`: all.
    // Only af-xdp and dpdk have queues.
    #[cfg_attr(not(any(feature = "af-xdp", feature = "dpdk")), allow(dead_code))]
    pub queues: Option<Vec<u32>>,
    /// The gateways as given.
    pub gateways: Vec<IpAddr>,
    /// Addresses besides the stack's whose packets the port receives, for a device between a queue and TCP.
    pub more_addresses: Vec<IpAddr>,
    /// The stack of each lcore, without its listeners and its secret.
    pub stack: StackConfig,
}

impl BypassSettings {
    /// Fills in the defaults.
    pub(crate) fn new(link: BypassArgs, tcp: &TcpArgs) -> Self {
        let gateways = link.gateway.into_iter().flatten();
        let gateways: Vec<IpAddr> = gateways.filter_map(|gateway| gateway.0).collect();
        let addresses = link.ip.into_iter().flatten();
        let mut stack = StackConfig::new(addresses.filter_map(|ip| ip.0));
        stack.gateway_v4 = gateways.iter().find_map(|gateway| match gateway {
            IpAddr::V4(addr) => Some(*addr),
            IpAddr::V6(_) => None,
        });
        stack.gateway_v6 = gateways.iter().find_map(|gateway| match gateway {
            IpAddr::V4(_) => None,
            IpAddr::V6(addr) => Some(*addr),
        });
        stack.mac = link.mac.and_then(|mac| mac.0);
        stack.vlan = link.vlan.and_then(|vlan| vlan.0);
        set! {
            stack.half_open => within(tcp.half_open);
            stack.time_wait => within(tcp.time_wait);
            stack.orphans => within(tcp.orphans);
            stack.linger => span(within(tcp.linger));
            stack.rx_ring => tcp.rx_ring.map(|ring| ring.0);
            stack.tx_ring => tcp.tx_ring.map(|ring| ring.0);
            stack.ring_memory => bytes(tcp.ring_memory);
            stack.ring_idle => span(within(tcp.ring_idle));
            stack.user_timeout => span(within(tcp.user_timeout));
            stack.rst_rate => tcp.rst_rate;
            stack.icmp_rate => tcp.icmp_rate;
        }
        stack.keepalive = span(tcp.keepalive).filter(|every| !every.is_zero());
        Self {
            queues: link.queues.and_then(|queues| queues.0),
            gateways,
            more_addresses: Vec::new(),
            stack,
        }
    }
}

/// Checks that the settings of `transport` are complete and agree with each other and with the listeners.
///
/// # Errors
/// Code 2, and the flag to change.
pub(crate) fn check(
    transport: TransportKind,
    bypass: &BypassSettings,
    af_xdp: &AfXdpArgs,
    listen: &[Listen],
) -> Result<(), Failure> {
    let interface = af_xdp.interface.as_ref();
    match transport {
        TransportKind::Sockets => return Ok(()),
        TransportKind::AfXdp if interface.is_none_or(|interface| interface.0.is_none()) => {
            return Err(Failure::usage(
                "--transport af-xdp needs an --interface, whose queues it takes",
            ));
        }
        TransportKind::Dpdk if af_xdp.share_address == Some(true) => {
            return Err(Failure::usage(
                "--share-address: the kernel has no addresses on a DPDK port; use --transport af-xdp to share them",
            ));
        }
        TransportKind::AfXdp | TransportKind::Dpdk => (),
    }
    let v4 = bypass.gateways.iter().filter(|gateway| gateway.is_ipv4());
    let v6 = bypass.gateways.iter().filter(|gateway| gateway.is_ipv6());
    if v4.count() > 1 || v6.count() > 1 {
        return Err(Failure::usage(
            "--gateway: there can be one for IPv4 and one for IPv6",
        ));
    }
    hioload_bypass::check_addresses(&bypass.stack, listen)
        .map(drop)
        .map_err(failure)
}

/// An error of the library, with the flag that it concerns.
pub(crate) fn failure(why: Error) -> Failure {
    let flag = match &why {
        Error::NoAddress => "--ip",
        Error::Listen(..) => "--listen",
        Error::Gateway(_) => "--gateway",
        Error::SharedAddress => "--share-address",
        Error::UncoveredQueues { .. } => "--queues",
        Error::LcoreCount { .. } => "--lcores, --queues",
        Error::Start(_) => return Failure::usage(why),
        #[cfg(all(feature = "af-xdp", target_os = "linux"))]
        Error::AfXdp(_) => return Failure::usage(why),
        #[cfg(all(feature = "dpdk", target_os = "linux"))]
        Error::Dpdk(_) => return Failure::usage(why),
        _ => return Failure::run(why),
    };
    Failure::usage(why).in_context(flag)
}

#[cfg(test)]
mod tests {
    use crate::config::file;
    use crate::config::serve::ServeConfig;

    /// `link` begins with the keys of `[bypass]`.
    fn check(listen: &str, link: &str) -> Result<(), String> {
        let text = format!(
            "[server]\ntransport = \"af-xdp\"\nlisten = {listen}\n[bypass]\n{link}\n[af_xdp]\ninterface = \"eth1\"\n"
        );
        let config = ServeConfig::new(file::parse(&text).expect("well formed"));
        config.check().map_err(|why| why.to_string())
    }

    const LINK: &str = "ip = [\"10.77.0.2/24\", \"fd77::2/64\"]\n";

    #[test]
    fn settings_that_agree_are_accepted() {
        for listen in [
            "\"10.77.0.2:9001\"",
            "[\"10.77.0.2:9001\", \"[fd77::2]:80\"]",
            "\"0.0.0.0:9001\"",
            "\"[::]:9001\"",
        ] {
            assert_eq!(check(listen, LINK), Ok(()), "{listen}");
        }
        let routed = format!("{LINK}gateway = [\"10.77.0.1\", \"fd77::1\"]");
        assert_eq!(check("\"10.77.0.2:9001\"", &routed), Ok(()));
    }

    #[test]
    fn settings_that_do_not_agree_are_reported_with_their_flag() {
        let ours = "\"10.77.0.2:9001\"";
        for (listen, link, part) in [
            (ours, "", "--ip"),
            ("\"unix:/x\"", LINK, "no Unix sockets"),
            ("\"10.77.0.3:9001\"", LINK, "10.77.0.2, fd77::2"),
            ("\"10.77.0.2:0\"", LINK, "port"),
            ("\"[::]:9001\"", "ip = \"10.77.0.2/24\"", "10.77.0.2"),
            (ours, &format!("{LINK}gateway = \"10.78.0.1\""), "--gateway"),
            (
                ours,
                &format!("{LINK}gateway = [\"10.77.0.1\", \"10.77.0.9\"]"),
                "one for IPv4",
            ),
        ] {
            let said = check(listen, link).expect_err(link);
            assert!(said.contains(part) && !said.contains('\n'), "{said}");
        }
        let nowhere = "[server]\ntransport = \"af-xdp\"\n";
        let config = ServeConfig::new(file::parse(nowhere).expect("well formed"));
        let failure = config.check().expect_err("no interface");
        assert!(failure.to_string().contains("--interface"), "{failure}");
    }

    #[test]
    fn the_settings_reach_the_stack() {
        let text = format!(
            "[bypass]\n{LINK}mac = \"02:00:00:00:00:07\"\nvlan = 7\n\
             [tcp]\nhalf_open = 5\nrx_ring = \"8KiB\"\nkeepalive = \"3s\"\nrst_rate = 9\n"
        );
        let config = ServeConfig::new(file::parse(&text).expect("well formed"));
        let stack = &config.bypass.stack;
        assert_eq!(stack.addresses.len(), 2);
        assert_eq!((stack.mac, stack.vlan), (Some([2, 0, 0, 0, 0, 7]), Some(7)));
        assert_eq!(
            (stack.half_open, stack.rx_ring, stack.rst_rate),
            (5, 8192, 9)
        );
        assert_eq!(stack.keepalive, Some(std::time::Duration::from_secs(3)));
    }
}
