//! The configuration of a stack, and why a stack cannot be made.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::Cidr;

/// The sizes of a ring.
const RING: RangeInclusive<usize> = 4 << 10..=1 << 20;
/// The least memory for rings. With much less, flows that send and receive at once could wait for each other. The unit tests reach the
/// bound with few flows.
const RING_MEMORY: usize = if cfg!(test) { 64 << 10 } else { 1 << 20 };
/// The slots of a stack.
const SLOTS: RangeInclusive<u64> = 1..=1 << 30;
/// The numbers of VLANs (IEEE 802.1Q).
const VLANS: RangeInclusive<u16> = 1..=4094;

/// The addresses and the limits of a [`Stack`](crate::Stack).
///
/// [`StackConfig::new`] takes the addresses. All other fields have defaults, and can be assigned:
///
/// ```
/// # use hioload_tcp::StackConfig;
/// let mut config = StackConfig::new(["10.77.0.2/24".parse()?]);
/// config.listen.push(([10, 77, 0, 2], 9001).into());
/// config.max_flows = 1024;
/// # Ok::<_, hioload_tcp::ParseCidrError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StackConfig {
    /// The IP addresses of the host, with their networks.
    pub addresses: Vec<Cidr>,
    /// The router for connections to IPv4 peers in other networks. An accepted connection needs none: its answers go to the
    /// MAC address that its frames come from.
    pub gateway_v4: Option<Ipv4Addr>,
    /// The router for IPv6.
    pub gateway_v6: Option<Ipv6Addr>,
    /// The MAC address of the host; `None`: the device's.
    pub mac: Option<[u8; 6]>,
    /// The VLAN of the host: it receives and sends frames with exactly this tag. `None`: it receives frames without a tag and
    /// frames with a priority tag (VLAN 0, IEEE 802.1Q §9.6), and its segments have no tag. A frame of another VLAN, or with
    /// several tags, is dropped and counted in both cases ([`Reason`](crate::Reason)).
    pub vlan: Option<u16>,
    /// The stack answers ARP, NDP, ICMP echo requests, and connections to closed ports. If `false`, the kernel has the same
    /// addresses and does that, and only the listened ports are ours.
    pub answers_for_addresses: bool,
    /// The endpoints where connections are accepted. The unspecified IP address stands for all addresses of its family.
    pub listen: Vec<SocketAddr>,
    /// The most established flows.
    pub max_flows: usize,
    /// The most flows whose handshake is not complete. A new one evicts the oldest.
    pub half_open: usize,
    /// The most entries in TIME_WAIT. A new one evicts the oldest.
    pub time_wait: usize,
    /// The most flows that are released and still closing. A new one resets the oldest.
    pub orphans: usize,
    /// Bytes of each flow's receive ring: a power of two, 4 KiB to 1 MiB. It uses address space; only touched pages use memory.
    pub rx_ring: usize,
    /// Bytes of each flow's send ring; as above.
    pub tx_ring: usize,
    /// Resident bytes of all rings, at most; at least 1 MiB. A send ring grows only while half of this is free, or 64 times the ring; a
    /// receive ring only while a quarter is free, or as much. (The factor is less where this is below 8 MiB.) When three quarters are
    /// used, empty rings are reclaimed however recently they were used, and payload out of order is dropped. When nearly all is used,
    /// received payload is dropped, and when all is used, bytes to be sent wait with the user.
    pub ring_memory: usize,
    /// The time after which an empty ring is reclaimed.
    pub ring_idle: Duration,
    /// The time without a segment from the peer after which it is probed; `None`: never.
    pub keepalive: Option<Duration>,
    /// A flow with outstanding bytes fails after this time without an acknowledgement.
    pub user_timeout: Duration,
    /// A released flow that has not closed after this time is reset.
    pub linger: Duration,
    /// The most RST segments per second in answer to segments of no flow, and challenge ACKs of RSTs and SYNs (RFC 5961 §3.2, §4.2).
    /// One host gets at most an eighth. The number that a tenth of a second allows is drawn between half of its part and all of it,
    /// so that it tells nobody which answers others got.
    pub rst_rate: u32,
    /// The most ICMP echo replies per second. One host gets at most a quarter; the rest is as for `rst_rate`.
    pub icmp_rate: u32,
    /// The key of the flow hash and of the initial sequence numbers. It must be secret, and the same for all lcores of a
    /// server.
    pub secret: [u8; 16],
    /// The source ports of connections that we open, for each address.
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
    /// The defaults with these addresses.
    #[must_use]
    pub fn new(addresses: impl IntoIterator<Item = Cidr>) -> Self {
        Self {
            addresses: addresses.into_iter().collect(),
            ..Self::default()
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        for (ring, bytes) in [("receive", self.rx_ring), ("send", self.tx_ring)] {
            if !bytes.is_power_of_two() || !RING.contains(&bytes) {
                return Err(ConfigError::Ring { ring, bytes });
            }
        }
        if self.ring_memory < RING_MEMORY {
            return Err(ConfigError::RingMemory(self.ring_memory));
        }
        let slots = self.max_flows as u64 + self.half_open as u64 + self.orphans as u64;
        if self.max_flows == 0 || !SLOTS.contains(&slots) {
            return Err(ConfigError::Flows(slots));
        }
        if self.source_ports.is_empty() || *self.source_ports.start() == 0 {
            return Err(ConfigError::SourcePorts(self.source_ports.clone()));
        }
        if let Some(&at) = self.listen.iter().find(|at| at.port() == 0) {
            return Err(ConfigError::Listen(at));
        }
        if let Some(vlan) = self.vlan.filter(|vlan| !VLANS.contains(vlan)) {
            return Err(ConfigError::Vlan(vlan));
        }
        if self.user_timeout.is_zero() {
            return Err(ConfigError::UserTimeout);
        }
        Ok(())
    }
}

/// A setting that a stack cannot be made with.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// The size of a ring is not a power of two, or out of range.
    Ring {
        /// `receive` or `send`.
        ring: &'static str,
        /// The size.
        bytes: usize,
    },
    /// The memory for all rings is too small.
    RingMemory(usize),
    /// `max_flows` is 0, or the sum of `max_flows`, `half_open` and `orphans` is out of range.
    Flows(u64),
    /// The range of source ports is empty, or begins at 0.
    SourcePorts(RangeInclusive<u16>),
    /// The port to listen on is 0.
    Listen(SocketAddr),
    /// The VLAN is out of range.
    Vlan(u16),
    /// The user timeout is 0.
    UserTimeout,
    /// The MTU of the device is out of range.
    Mtu {
        /// The MTU.
        mtu: usize,
        /// The smallest and the largest MTU of a device.
        range: (usize, usize),
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ring { ring, bytes } => write!(
                f,
                "the {ring} ring has {bytes} bytes: it must have a power of two from {} to {}",
                RING.start(),
                RING.end()
            ),
            Self::RingMemory(bytes) => write!(
                f,
                "the memory for rings is {bytes} bytes: it must be at least {RING_MEMORY}"
            ),
            Self::Flows(slots) => write!(
                f,
                "the stack has {slots} slots for flows: it must have {} to {}, and max_flows at least 1",
                SLOTS.start(),
                SLOTS.end()
            ),
            Self::SourcePorts(ports) => write!(
                f,
                "the source ports are {} to {}: the range must begin at 1 or higher and not be empty",
                ports.start(),
                ports.end()
            ),
            Self::Listen(at) => write!(f, "cannot listen on {at}: the port must not be 0"),
            Self::Vlan(vlan) => write!(
                f,
                "the VLAN is {vlan}: it must be {} to {}",
                VLANS.start(),
                VLANS.end()
            ),
            Self::UserTimeout => f.write_str("the user timeout is 0: it must be longer"),
            Self::Mtu {
                mtu,
                range: (least, most),
            } => write!(f, "the device's MTU is {mtu}: it must be {least} to {most}"),
        }
    }
}

impl Error for ConfigError {}

/// Why a stack cannot be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum StackError {
    /// The configuration is not valid.
    Config(ConfigError),
    /// The memory for the flows cannot be allocated.
    Memory(io::Error),
}

impl fmt::Display for StackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => write!(f, "cannot make a TCP stack: {error}"),
            Self::Memory(error) => write!(f, "cannot allocate the memory for the flows: {error}"),
        }
    }
}

impl Error for StackError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            Self::Memory(error) => Some(error),
        }
    }
}

impl From<ConfigError> for StackError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Setting = fn(&mut StackConfig);

    #[test]
    fn each_wrong_setting_is_refused_with_its_value() {
        let wrong: [(Setting, &str); 9] = [
            (|c| c.rx_ring = 5000, "receive ring has 5000 bytes"),
            (|c| c.tx_ring = 2 << 20, "send ring has 2097152 bytes"),
            (|c| c.ring_memory = 4096, "memory for rings is 4096"),
            (|c| c.max_flows = 0, "max_flows at least 1"),
            (|c| c.half_open = 1 << 30, "slots for flows"),
            (|c| c.source_ports = 0..=7, "source ports are 0 to 7"),
            (|c| c.listen.push(([0; 4], 0).into()), "listen on 0.0.0.0:0"),
            (|c| c.vlan = Some(4095), "VLAN is 4095"),
            (|c| c.user_timeout = Duration::ZERO, "user timeout is 0"),
        ];
        assert_eq!(StackConfig::default().check(), Ok(()));
        for (set, text) in wrong {
            let mut config = StackConfig::default();
            set(&mut config);
            let error = config.check().expect_err(text);
            assert!(error.to_string().contains(text), "{error}");
            let error = StackError::from(error);
            assert!(error.source().is_some() && error.to_string().contains(text));
        }
    }
}
