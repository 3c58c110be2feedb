//! The properties of a port, its link and its counters.

use hioload_dpdk_sys as sys;

use crate::raw;

/// The properties of a port, whether it is open or not.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PortInfo {
    /// The number.
    pub number: u16,
    /// The name: a PCI address, or the name of a virtual device.
    pub name: String,
    /// The driver: `net_ixgbe`, `net_virtio`, ...
    pub driver: String,
    /// The MAC address.
    pub mac: [u8; 6],
    /// The NUMA node that the device is attached to, if any.
    pub node: Option<u32>,
    /// The largest number of queues.
    pub max_queues: u16,
    /// The largest IP packet in bytes: as configured, and the limit of the device.
    pub mtu: (u16, u16),
    /// The device offers to verify TCP checksums.
    pub rx_checksum: bool,
    /// The device offers to fill in TCP checksums.
    pub tx_checksum: bool,
    /// The device offers to cut segments larger than the MTU.
    pub tso: bool,
    /// The device offers to spread TCP flows over queues.
    pub rss: bool,
    /// The index of the kernel's network interface that a virtual device uses.
    pub interface: Option<u32>,
}

impl PortInfo {
    pub(crate) fn new(number: u16, info: &raw::hl_port_info) -> Self {
        Self {
            number,
            name: raw::array_text(&info.name),
            driver: raw::array_text(&info.driver),
            mac: info.mac,
            node: u32::try_from(info.socket).ok(),
            max_queues: info.max_rx_queues.min(info.max_tx_queues),
            mtu: (info.mtu, info.max_mtu),
            rx_checksum: info.rx_offloads & u64::from(sys::HL_RX_OFFLOAD_TCP) != 0,
            tx_checksum: info.tx_offloads & u64::from(sys::HL_TX_OFFLOAD_TCP) != 0,
            tso: info.tx_offloads & u64::from(sys::HL_TX_OFFLOAD_TSO) != 0,
            rss: info.rss_types & u64::from(sys::HL_RSS_IPV4_TCP | sys::HL_RSS_IPV6_TCP) != 0,
            interface: Some(info.interface).filter(|&interface| interface != 0),
        }
    }
}

/// The state of a link, as the device reports it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LinkState {
    /// Whether there is a link.
    pub up: bool,
    /// The speed in Mbit/s, if known.
    pub speed: Option<u32>,
}

/// The counters of a port, summed over its queues; a counter that the driver does not have is 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct PortStats {
    /// Frames received.
    pub rx_frames: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames sent.
    pub tx_frames: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames dropped because no descriptor was free.
    pub rx_missed: u64,
    /// Frames dropped because no buffer was free.
    pub rx_no_buffer: u64,
    /// Frames received with an error.
    pub rx_errors: u64,
    /// Frames not sent because of an error.
    pub tx_errors: u64,
}

impl PortStats {
    /// The counters of the port `number` now.
    pub(crate) fn read(number: u16) -> Self {
        let stats = raw::port_stats(number).unwrap_or_default();
        Self {
            rx_frames: stats.rx_frames,
            rx_bytes: stats.rx_bytes,
            tx_frames: stats.tx_frames,
            tx_bytes: stats.tx_bytes,
            rx_missed: stats.rx_missed,
            rx_no_buffer: stats.rx_no_buffer,
            rx_errors: stats.rx_errors,
            tx_errors: stats.tx_errors,
        }
    }
}

impl LinkState {
    /// The link of the port `number` now; `None` if the driver does not report it.
    pub(crate) fn read(number: u16) -> Option<Self> {
        let link = raw::port_link(number).ok()?;
        // 0 means no link, and the greatest number an unknown speed.
        let speed = Some(link.speed).filter(|&speed| speed != 0 && speed != u32::MAX);
        Some(Self {
            up: link.up != 0,
            speed,
        })
    }
}
