//! The properties of a network interface, and the XDP program that is attached to it.

use std::fs;
use std::io;
use std::path::Path;

pub use crate::kernel::ethtool::{Channels, Ethtool, NicRings, Rss};
pub use crate::kernel::netlink::{AttachedProgram, attached_program};

/// Bytes of an Ethernet header with a VLAN tag.
pub(crate) const ETHERNET: usize = 18;
/// Bytes that the kernel reserves before a received packet.
pub(crate) const KERNEL_HEADROOM: usize = 256;
/// The kernel's chunks are at most a page.
pub(crate) const LARGEST_PIECE: usize = 4096;
/// Bytes of a frame's chunk if packets are larger than a page.
const JUMBO_CHUNK: usize = 16384;

/// A network interface.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Nic {
    /// The name.
    pub name: String,
    /// The interface index.
    pub index: u32,
    /// The MAC address.
    pub mac: [u8; 6],
    /// The largest IP packet, in bytes.
    pub mtu: usize,
    /// The driver's name; empty if the driver does not report one.
    pub driver: String,
    /// The NUMA node that the NIC is attached to.
    pub node: Option<u32>,
    /// The number of receive queues.
    pub queues: u32,
    /// Whether the interface is administratively up.
    pub up: bool,
}

impl Nic {
    /// Reads the properties of the interface `name`.
    ///
    /// # Errors
    /// `InvalidInput` if `name` cannot be a name, `ENODEV` if there is no such interface, `Unsupported` if it is not an
    /// Ethernet interface, and the errors of the ioctls.
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

    /// Whether packets never leave the machine: then a sender leaves their checksums unfinished, and nothing can damage them.
    #[must_use]
    pub fn is_virtual_cable(&self) -> bool {
        self.driver == "veth"
    }

    /// Whether the NIC removes VLAN tags from received frames, so that the XDP program does not see them. `false` if the driver does
    /// not report it, and for a veth, which has the feature but does nothing of the kind.
    #[must_use]
    pub fn strips_tags(&self) -> bool {
        let features = Ethtool::new(&self.name).and_then(|ethtool| ethtool.features());
        let strips = |features: Vec<String>| features.iter().any(|name| name == "rx-vlan-hw-parse");
        !self.is_virtual_cable() && features.is_ok_and(strips)
    }

    /// The sizes in bytes of a frame that holds the largest packet, and of the kernel's chunks; `None` if no frame is large
    /// enough.
    #[must_use]
    pub fn chunk_sizes(&self) -> Option<(usize, usize)> {
        let needed = KERNEL_HEADROOM + ETHERNET + self.mtu;
        [2048, LARGEST_PIECE, JUMBO_CHUNK]
            .into_iter()
            .find(|&chunk| needed <= chunk)
            .map(|chunk| (chunk, chunk.min(LARGEST_PIECE)))
    }
}

/// The largest MTU for which there are frames, in bytes.
#[must_use]
pub fn largest_mtu() -> usize {
    JUMBO_CHUNK - KERNEL_HEADROOM - ETHERNET
}

/// The NUMA node of the NIC behind the interface `name`, if the NIC has one.
#[must_use]
pub fn node(name: &str) -> Option<u32> {
    let path = format!("/sys/class/net/{name}/device/numa_node");
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The process that owns the link between the XDP program with the id `program` and its interface: the process id and the
/// command name. The search goes by the program's id, because interfaces of different network namespaces may share an index.
#[must_use]
pub fn program_owner(program: u32) -> Option<(u32, String)> {
    let wanted = format!("prog_id:\t{program}");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.find_map(|pid: u32| {
        let process = Path::new("/proc").join(pid.to_string());
        let mut files = fs::read_dir(process.join("fdinfo")).ok()?.flatten();
        files.find(|file| {
            let info = fs::read_to_string(file.path()).unwrap_or_default();
            let has = |line: &str| info.lines().any(|other| other == line);
            has("link_type:\txdp") && has(&wanted)
        })?;
        let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
        Some((pid, name.trim().to_owned()))
    })
}
