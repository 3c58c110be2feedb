//! The options of a port.

use std::fmt;
use std::time::Duration;

use crate::ring::RingEnd;
use crate::steering::Steering;

/// The name of a port.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PortName {
    /// A number, as EAL assigns it.
    Number(u16),
    /// A PCI address, or the name of a virtual device.
    Name(String),
    /// One of two ports that are joined by rings.
    Ring(RingEnd),
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(name) => f.write_str(name),
            Self::Ring(end) => write!(f, "{}", end.port()),
        }
    }
}

/// The options of [`Port::open`](crate::Port::open). [`new`](Self::new) sets the defaults; the fields are public, to be changed
/// afterwards.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PortOptions {
    /// The port.
    pub port: PortName,
    /// The number of queues, one for each lcore.
    pub queues: u16,
    /// The largest IP packet in bytes; `None`: as the device is configured.
    pub mtu: Option<u16>,
    /// The number of receive descriptors of each queue; the device may adjust it.
    pub rx_descriptors: u16,
    /// The number of transmit descriptors of each queue; the device may adjust it.
    pub tx_descriptors: u16,
    /// The number of frames of each queue; `None`: enough for the descriptors and the caches, and 1024 more.
    pub frames: Option<u32>,
    /// The size of a receive buffer in bytes, if a frame may arrive in several buffers; `None`: a buffer holds a whole frame.
    pub segment: Option<u16>,
    /// Whether the device computes and verifies checksums, if it offers that.
    pub checksums: bool,
    /// Whether the port receives frames to any MAC address.
    pub promiscuous: bool,
    /// A MAC address for which the port receives frames, in addition to its own. A device that cannot add an address is made
    /// promiscuous.
    pub mac: Option<[u8; 6]>,
    /// The flows that the port receives, if the device can leave the others to the kernel; `None`: all flows.
    pub steering: Option<Steering>,
    /// The longest time to wait for the link. After that the port is opened without a link.
    pub link_wait: Duration,
}

impl PortOptions {
    /// One queue of `port`, with 1024 descriptors in each direction, checksum offload, and 5 s to wait for the link.
    #[must_use]
    pub fn new(port: PortName) -> Self {
        Self {
            port,
            queues: 1,
            mtu: None,
            rx_descriptors: 1024,
            tx_descriptors: 1024,
            frames: None,
            segment: None,
            checksums: true,
            promiscuous: false,
            mac: None,
            steering: None,
            link_wait: Duration::from_secs(5),
        }
    }
}

impl Default for PortOptions {
    /// [`new`](Self::new) for port 0.
    fn default() -> Self {
        Self::new(PortName::Number(0))
    }
}
