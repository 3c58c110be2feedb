//! What is known of an interface before anything is done to it.

use std::fs;
use std::io;

pub use crate::kernel::ethtool::{Channels, Ethtool, NicRings, Rss};
pub use crate::kernel::netlink::{AttachedProgram, attached_program};

/// Bytes of an Ethernet header with a VLAN tag.
pub(crate) const ETHERNET: usize = 18;
/// Bytes the kernel keeps free before a received packet.
pub(crate) const KERNEL_HEADROOM: usize = 256;
/// The kernel's chunks are at most a page.
pub(crate) const LARGEST_PIECE: usize = 4096;
/// Bytes of a frame's chunk where packets are larger than a page.
const JUMBO_CHUNK: usize = 16384;

/// An interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Nic {
    /// Its name.
    pub name: String,
    /// Its number.
    pub index: u32,
    /// The station's address.
    pub mac: [u8; 6],
    /// The largest IP packet.
    pub mtu: usize,
    /// The driver's name; empty if it does not say.
    pub driver: String,
    /// The NUMA node it is attached to.
    pub node: Option<u32>,
    /// Queues that receive.
    pub queues: u32,
    /// Whether it is up.
    pub up: bool,
}

impl Nic {
    /// Looks at an interface.
    ///
    /// # Errors
    /// `ENODEV` if there is none of this name, `Unsupported` if it is no Ethernet; what the system says.
    pub fn find(name: &str) -> io::Result<Self> {
        let ethtool = Ethtool::new(name)?;
        let queues = match ethtool.channels() {
            Ok(channels) => channels.rx.0,
            Err(_) => 1,
        };
        Ok(Self {
            name: name.to_owned(),
            index: ethtool.index()?,
            mac: ethtool.mac()?,
            mtu: ethtool.mtu()?,
            driver: ethtool.driver().unwrap_or_default(),
            node: node(name),
            queues: queues.max(1),
            up: ethtool.is_up()?.0,
        })
    }

    /// Whether packets never leave the machine, so that a sender leaves their checksums unfinished and nothing can
    /// damage them.
    #[must_use]
    pub fn is_virtual_cable(&self) -> bool {
        self.driver == "veth"
    }

    /// Bytes of the frames that its packets fit into, and of the kernel's chunks; `None` if it has packets too large for
    /// any.
    #[must_use]
    pub fn chunk_sizes(&self) -> Option<(usize, usize)> {
        let needed = KERNEL_HEADROOM + ETHERNET + self.mtu;
        [2048, LARGEST_PIECE, JUMBO_CHUNK]
            .into_iter()
            .find(|&chunk| needed <= chunk)
            .map(|chunk| (chunk, chunk.min(LARGEST_PIECE)))
    }
}

/// The largest MTU that frames can hold.
#[must_use]
pub fn largest_mtu() -> usize {
    JUMBO_CHUNK - KERNEL_HEADROOM - ETHERNET
}

/// The NUMA node of a NIC that has one.
#[must_use]
pub fn node(name: &str) -> Option<u32> {
    let path = format!("/sys/class/net/{name}/device/numa_node");
    fs::read_to_string(path).ok()?.trim().parse().ok()
}
