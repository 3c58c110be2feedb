//! The settings that transports with a TCP of our own share (`af-xdp`, `dpdk`), with their defaults, and whether they go
//! together.

use std::net::{IpAddr, SocketAddr};

use hioload_ws::Endpoint;
use hioload_ws::tcp::StackConfig;

use super::plan::{bytes, set, span, within};
use super::sections::{BypassArgs, TcpArgs};
use super::values::TransportKind;

/// What is set up on a port, whatever drives it.
#[derive(Debug)]
#[cfg_attr(not(bypass), allow(dead_code))]
pub(crate) struct BypassPlan {
    /// Its queues; `None`: all of them.
    pub queues: Option<Vec<u32>>,
    /// Gateways, as given.
    pub gateways: Vec<IpAddr>,
    /// Addresses besides the stack's that the port takes packets for: somebody beneath the stack answers for them.
    pub also: Vec<IpAddr>,
    /// The stack of each lcore, but for what it listens on and its secret.
    pub stack: StackConfig,
}

impl BypassPlan {
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
            also: Vec::new(),
            stack,
        }
    }

    /// Checks that what `transport` needs is there, and that it goes together.
    ///
    /// # Errors
    /// What is wrong, in one line.
    pub(crate) fn check(
        &self,
        transport: TransportKind,
        listen: &[Endpoint],
    ) -> Result<(), String> {
        if self.stack.addresses.is_empty() {
            return Err(format!(
                "--transport {transport} needs an --ip with its prefix length, such as 10.77.0.2/24"
            ));
        }
        for endpoint in listen {
            self.check_listen(transport, endpoint)?;
        }
        let v4 = self.gateways.iter().filter(|gateway| gateway.is_ipv4());
        if v4.count() > 1 || self.gateways.iter().filter(|g| g.is_ipv6()).count() > 1 {
            return Err("--gateway: one for IPv4 and one for IPv6 are possible".to_owned());
        }
        for gateway in &self.gateways {
            if !self
                .stack
                .addresses
                .iter()
                .any(|own| own.contains(*gateway))
            {
                return Err(format!(
                    "--gateway {gateway} is in none of the networks of --ip"
                ));
            }
        }
        Ok(())
    }

    fn check_listen(&self, transport: TransportKind, endpoint: &Endpoint) -> Result<(), String> {
        let addr = match endpoint {
            Endpoint::Tcp(addr) => addr,
            Endpoint::Unix(_) => {
                return Err(format!(
                    "--listen {endpoint}: {transport} has no Unix sockets; use --transport sockets for them"
                ));
            }
        };
        if addr.port() == 0 {
            return Err(format!(
                "--listen {addr}: {transport} needs a port to be named"
            ));
        }
        let own = |ip: IpAddr| {
            let same =
                |own: IpAddr| own == ip || ip.is_unspecified() && own.is_ipv4() == ip.is_ipv4();
            self.stack.addresses.iter().any(|cidr| same(cidr.addr()))
        };
        if own(addr.ip()) {
            return Ok(());
        }
        let owned = self
            .stack
            .addresses
            .iter()
            .map(|cidr| cidr.addr().to_string());
        let owned = owned.collect::<Vec<_>>().join(", ");
        Err(format!(
            "--listen {addr}: with {transport} we listen on our own addresses, which --ip says are {owned}"
        ))
    }
}

/// What is listened on, as addresses.
#[cfg_attr(not(bypass), allow(dead_code))]
pub(crate) fn tcp_addresses(listen: &[Endpoint]) -> Vec<SocketAddr> {
    let addresses = listen.iter().filter_map(|endpoint| match endpoint {
        Endpoint::Tcp(addr) => Some(*addr),
        Endpoint::Unix(_) => None,
    });
    addresses.collect()
}

#[cfg(test)]
mod tests {
    use crate::config::file;
    use crate::config::plan::Plan;

    /// `link` begins with the keys of `[bypass]`.
    fn check(listen: &str, link: &str) -> Result<(), String> {
        let text = format!(
            "[server]\ntransport = \"af-xdp\"\nlisten = {listen}\n[bypass]\n{link}\n[af_xdp]\ninterface = \"eth1\"\n"
        );
        Plan::new(file::parse(&text).expect("well formed")).check()
    }

    const LINK: &str = "ip = [\"10.77.0.2/24\", \"fd77::2/64\"]\n";

    #[test]
    fn what_goes_together_is_taken() {
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
    fn what_does_not_is_told_in_one_line() {
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
        let said = Plan::new(file::parse(nowhere).expect("well formed")).check();
        assert!(said.is_err_and(|why| why.contains("--interface")));
    }

    #[test]
    fn the_settings_reach_the_stack() {
        let text = format!(
            "[bypass]\n{LINK}mac = \"02:00:00:00:00:07\"\nvlan = 7\n[af_xdp]\nshare_address = true\n\
             [tcp]\nhalf_open = 5\nrx_ring = \"8KiB\"\nkeepalive = \"3s\"\nrst_rate = 9\n"
        );
        let plan = Plan::new(file::parse(&text).expect("well formed"));
        let stack = &plan.bypass.stack;
        assert_eq!(stack.addresses.len(), 2);
        assert_eq!((stack.mac, stack.vlan), (Some([2, 0, 0, 0, 0, 7]), Some(7)));
        assert!(!stack.answers_for_addresses);
        assert_eq!(
            (stack.half_open, stack.rx_ring, stack.rst_rate),
            (5, 8192, 9)
        );
        assert_eq!(stack.keepalive, Some(std::time::Duration::from_secs(3)));
    }
}
