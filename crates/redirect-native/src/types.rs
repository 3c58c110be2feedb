//! The input and the output of a run.

use std::net::{IpAddr, SocketAddr};

/// The longest packet that can be run, in bytes.
pub const LONGEST: usize = 16 << 10;

/// What the program knows of its port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host {
    /// The kernel has the addresses too.
    pub shared: bool,
    /// The VLAN; `None`: frames without a tag, or with a priority tag.
    pub vlan: Option<u16>,
    /// The port's addresses.
    pub addresses: Vec<IpAddr>,
    /// The listened endpoints.
    pub listened: Vec<SocketAddr>,
    /// The queue on which packets arrive has a socket.
    pub has_socket: bool,
}

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// It is dropped.
    Drop,
    /// The kernel's stack gets it.
    Pass,
    /// The socket of its queue gets it.
    Redirect,
}

/// What a packet is counted as: `enum verdict` of the program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Verdict {
    /// TCP for the port.
    Tcp,
    /// ARP for the port.
    Arp,
    /// Neighbour discovery for the port.
    Nd,
    /// ICMP for the port.
    Icmp,
    /// A fragment for the port.
    Fragment,
    /// A packet for others.
    Passed,
    /// A packet that cannot be parsed.
    Malformed,
    /// A packet for the port on a queue without a socket.
    NoSocket,
    /// Neither TCP nor ICMP, for an address that only the port has.
    OtherProtocol,
    /// Several VLAN tags.
    StackedTags,
}

impl Verdict {
    /// All verdicts, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::Tcp,
        Self::Arp,
        Self::Nd,
        Self::Icmp,
        Self::Fragment,
        Self::Passed,
        Self::Malformed,
        Self::NoSocket,
        Self::OtherProtocol,
        Self::StackedTags,
    ];
}
