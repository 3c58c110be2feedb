//! The settings of `--transport af-xdp`, with their defaults, and whether they go together.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hioload_ws::Endpoint;
use hioload_ws::tcp::StackConfig;

use super::plan::{bytes, set, span, within};
use super::sections::{AfXdpArgs, TcpArgs};
use super::values::{RxChecksum, XdpMode, ZeroCopy};

/// What is set up on the interface.
#[derive(Debug)]
#[cfg_attr(not(all(feature = "af-xdp", target_os = "linux")), allow(dead_code))]
pub(crate) struct AfXdp {
    /// Which interface.
    pub interface: Option<String>,
    /// Its queues; `None`: all of them.
    pub queues: Option<Vec<u32>>,
    /// Where the program runs.
    pub xdp_mode: XdpMode,
    /// Who writes packets into our memory.
    pub zero_copy: ZeroCopy,
    /// How long one call may poll.
    pub busy_poll: Option<Duration>,
    /// Whether checksums are verified.
    pub rx_checksum: RxChecksum,
    /// Gateways, as given.
    pub gateways: Vec<IpAddr>,
    /// The stack of each lcore, but for what it listens on and its secret.
    pub stack: StackConfig,
}

impl AfXdp {
    /// For a client: TCP with its defaults.
    pub(crate) fn of_client(link: AfXdpArgs) -> Self {
        Self::new(link, &TcpArgs::default())
    }

    /// Fills in the defaults.
    pub(super) fn new(link: AfXdpArgs, tcp: &TcpArgs) -> Self {
        let gateways = link.gateway.into_iter().flatten();
        let gateways: Vec<IpAddr> = gateways.filter_map(|gateway| gateway.0).collect();
        let addresses = link.ip.into_iter().flatten();
        let mut stack = StackConfig {
            addresses: addresses.filter_map(|ip| ip.0).collect(),
            gateway_v4: gateways.iter().find_map(|gateway| match gateway {
                IpAddr::V4(addr) => Some(*addr),
                IpAddr::V6(_) => None,
            }),
            gateway_v6: gateways.iter().find_map(|gateway| match gateway {
                IpAddr::V4(_) => None,
                IpAddr::V6(addr) => Some(*addr),
            }),
            mac: link.mac.and_then(|mac| mac.0),
            vlan: link.vlan.and_then(|vlan| vlan.0),
            answers_for_addresses: !link.share_address.unwrap_or(false),
            ..StackConfig::default()
        };
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
            interface: link.interface.and_then(|interface| interface.0),
            queues: link.queues.and_then(|queues| queues.0),
            xdp_mode: link.xdp_mode.unwrap_or(XdpMode::Auto),
            zero_copy: link.zero_copy.unwrap_or(ZeroCopy::Auto),
            busy_poll: link.busy_poll.and_then(|poll| poll.0),
            rx_checksum: link.rx_checksum.unwrap_or(RxChecksum::Auto),
            gateways,
            stack,
        }
    }

    /// Checks that what is needed is there, and that it goes together.
    ///
    /// # Errors
    /// What is wrong, in one line.
    pub(crate) fn check(&self, listen: &[Endpoint]) -> Result<(), String> {
        if self.interface.is_none() {
            return Err(
                "--transport af-xdp needs an --interface, whose queues it takes".to_owned(),
            );
        }
        if self.stack.addresses.is_empty() {
            return Err(
                "--transport af-xdp needs an --ip with its prefix length, such as 10.77.0.2/24"
                    .to_owned(),
            );
        }
        for endpoint in listen {
            self.check_listen(endpoint)?;
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

    fn check_listen(&self, endpoint: &Endpoint) -> Result<(), String> {
        let addr = match endpoint {
            Endpoint::Tcp(addr) => addr,
            Endpoint::Unix(_) => {
                return Err(format!(
                    "--listen {endpoint}: af-xdp has no Unix sockets; use --transport sockets for them"
                ));
            }
        };
        if addr.port() == 0 {
            return Err(format!("--listen {addr}: af-xdp needs a port to be named"));
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
            "--listen {addr}: with af-xdp we listen on our own addresses, which --ip says are {owned}"
        ))
    }

    /// What is listened on, as addresses.
    #[cfg_attr(not(all(feature = "af-xdp", target_os = "linux")), allow(dead_code))]
    pub(crate) fn listen(listen: &[Endpoint]) -> Vec<SocketAddr> {
        let addresses = listen.iter().filter_map(|endpoint| match endpoint {
            Endpoint::Tcp(addr) => Some(*addr),
            Endpoint::Unix(_) => None,
        });
        addresses.collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::config::file;
    use crate::config::plan::Plan;

    fn check(listen: &str, link: &str) -> Result<(), String> {
        let text =
            format!("[server]\ntransport = \"af-xdp\"\nlisten = {listen}\n[af_xdp]\n{link}\n");
        Plan::new(file::parse(&text).expect("well formed")).check()
    }

    const LINK: &str = "interface = \"eth1\"\nip = [\"10.77.0.2/24\", \"fd77::2/64\"]\n";

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
        let routed = format!("{LINK}gateway = [\"10.77.0.1\", \"fd77::1\"]\nshare_address = true");
        assert_eq!(check("\"10.77.0.2:9001\"", &routed), Ok(()));
    }

    #[test]
    fn what_does_not_is_told_in_one_line() {
        let ours = "\"10.77.0.2:9001\"";
        for (listen, link, part) in [
            (ours, "ip = \"10.77.0.2/24\"", "--interface"),
            (ours, "interface = \"eth1\"", "--ip"),
            ("\"unix:/x\"", LINK, "no Unix sockets"),
            ("\"10.77.0.3:9001\"", LINK, "10.77.0.2, fd77::2"),
            ("\"10.77.0.2:0\"", LINK, "port"),
            (
                "\"[::]:9001\"",
                "interface = \"eth1\"\nip = \"10.77.0.2/24\"",
                "10.77.0.2",
            ),
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
    }

    #[test]
    fn the_settings_reach_the_stack() {
        let text = format!(
            "[af_xdp]\n{LINK}mac = \"02:00:00:00:00:07\"\nvlan = 7\nshare_address = true\n\
             [tcp]\nhalf_open = 5\nrx_ring = \"8KiB\"\nkeepalive = \"3s\"\nrst_rate = 9\n"
        );
        let plan = Plan::new(file::parse(&text).expect("well formed"));
        let stack = &plan.af_xdp.stack;
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
