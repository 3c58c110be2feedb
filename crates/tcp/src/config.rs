//! What a stack is told at start.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// An address and the length of its network's prefix: `10.77.0.2/24`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Cidr {
    addr: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// `None` if the prefix is longer than the address, or the address is not one that a host can have.
    #[must_use]
    pub fn new(addr: IpAddr, prefix: u8) -> Option<Self> {
        let (longest, host) = match addr {
            // 0/8 and 240/4 are no hosts' either (RFC 6890).
            IpAddr::V4(addr) => (32, !matches!(addr.octets()[0], 0 | 224..)),
            IpAddr::V6(addr) => (128, !addr.is_multicast()),
        };
        let of_link = !addr.is_unspecified() && !addr.is_loopback();
        (prefix <= longest && host && of_link).then_some(Self { addr, prefix })
    }

    /// The address.
    #[must_use]
    pub fn addr(self) -> IpAddr {
        self.addr
    }

    /// Bits of the network's prefix.
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

/// Not an address with a prefix length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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

/// What a [`Stack`](crate::Stack) is and how much it may use. The defaults are for a server without addresses.
#[derive(Clone, Debug)]
pub struct StackConfig {
    /// Its addresses.
    pub addresses: Vec<Cidr>,
    /// The router for IPv4 peers in other networks (client side; a server answers to where a flow came from).
    pub gateway_v4: Option<Ipv4Addr>,
    /// The same for IPv6.
    pub gateway_v6: Option<Ipv6Addr>,
    /// Its MAC address; `None`: the device's.
    pub mac: Option<[u8; 6]>,
    /// The VLAN it is in. `None`: it takes frames with any tag or none, and a flow answers with the tag it was reached by.
    pub vlan: Option<u16>,
    /// ARP, NDP, ICMP echo and connections to ports nobody listens on are answered here. `false`: the addresses are shared
    /// with the kernel, which does that, and only the listened ports are ours.
    pub answers_for_addresses: bool,
    /// Where connections are accepted; an unspecified IP address stands for all own ones of its family.
    pub listen: Vec<SocketAddr>,
    /// Established flows.
    pub max_flows: usize,
    /// Flows whose handshake is not complete; the oldest makes room for a new one.
    pub half_open: usize,
    /// Compact entries of flows in TIME_WAIT; the oldest makes room.
    pub time_wait: usize,
    /// Flows released and still closing; the oldest is reset to make room.
    pub orphans: usize,
    /// Bytes of each flow's receive ring: a power of two, 4 KiB to 1 MiB. Address space, not memory.
    pub rx_ring: usize,
    /// Bytes of each flow's send ring; likewise.
    pub tx_ring: usize,
    /// Resident bytes of rings, as estimated, beyond which empty rings are given back however recently they were used.
    pub ring_memory: usize,
    /// Rings that were empty for so long are given back.
    pub ring_idle: Duration,
    /// Probes are sent to a peer that was silent for so long.
    pub keepalive: Option<Duration>,
    /// A peer that acknowledges nothing for so long, while something is outstanding, is given up.
    pub user_timeout: Duration,
    /// How long a released flow may take to close.
    pub linger: Duration,
    /// RST segments in answer to frames of no flow, per second.
    pub rst_rate: u32,
    /// ICMP messages and answers, per second.
    pub icmp_rate: u32,
    /// Seeds the flow hash and the initial sequence numbers; the same for all lcores of a server, and secret.
    pub secret: [u8; 16],
    /// Ports that `connect` takes from, for each own address.
    pub source_ports: RangeInclusive<u16>,
}

impl Default for StackConfig {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            gateway_v4: None,
            gateway_v6: None,
            mac: None,
            vlan: None,
            answers_for_addresses: true,
            listen: Vec::new(),
            max_flows: 65_536,
            half_open: 4096,
            time_wait: 65_536,
            orphans: 16_384,
            rx_ring: 64 << 10,
            tx_ring: 64 << 10,
            ring_memory: 1 << 30,
            ring_idle: Duration::from_secs(2),
            keepalive: None,
            user_timeout: Duration::from_secs(30),
            linger: Duration::from_secs(10),
            rst_rate: 1000,
            icmp_rate: 1000,
            secret: [0; 16],
            source_ports: 32_768..=60_999,
        }
    }
}

impl StackConfig {
    /// What cannot be, said in a sentence.
    pub(crate) fn check(&self) -> Result<(), StackError> {
        let wrong = |text: String| Err(StackError::Config(text));
        for (name, bytes) in [("receive", self.rx_ring), ("send", self.tx_ring)] {
            if !bytes.is_power_of_two() || !(4 << 10..=1 << 20).contains(&bytes) {
                return wrong(format!(
                    "a {name} ring of {bytes} bytes: a power of two from 4096 to 1048576 is wanted"
                ));
            }
        }
        let slots = self.max_flows as u64 + self.half_open as u64 + self.orphans as u64;
        if self.max_flows == 0 || slots > 1 << 30 {
            return wrong(format!("{slots} flows in all: 1 to {} can be had", 1 << 30));
        }
        if self.source_ports.is_empty() || *self.source_ports.start() == 0 {
            return wrong("source ports begin at 1, and there is at least one".into());
        }
        if let Some(at) = self.listen.iter().find(|at| at.port() == 0) {
            return wrong(format!(
                "{at} is no address to listen on: the port is missing"
            ));
        }
        if self.vlan.is_some_and(|vlan| !(1..=4094).contains(&vlan)) {
            return wrong("VLANs are numbered from 1 to 4094".into());
        }
        if self.user_timeout.is_zero() {
            return wrong("a user timeout of nothing leaves no time for an answer".into());
        }
        Ok(())
    }
}

/// Why there is no stack.
#[derive(Debug)]
pub enum StackError {
    /// The configuration cannot be; the text says what is wrong with it.
    Config(String),
    /// The system has no room for it.
    Memory(io::Error),
}

impl fmt::Display for StackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(text) => f.write_str(text),
            Self::Memory(error) => write!(f, "no memory for the flows: {error}"),
        }
    }
}

impl std::error::Error for StackError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(_) => None,
            Self::Memory(error) => Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cidrs_parse_and_contain_their_network() {
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
