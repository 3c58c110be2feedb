//! What the program counts.

/// Packets by what the XDP program did with them, on all queues and CPUs since the port was opened; monotonic.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct XdpCounters {
    /// TCP of ours, given to a queue's socket.
    pub tcp: u64,
    /// ARP for our addresses, given to a queue's socket.
    pub arp: u64,
    /// Neighbour discovery for our addresses, given to a queue's socket.
    pub nd: u64,
    /// Other ICMP and ICMPv6 for our addresses (for our flows, where addresses are shared), given to a queue's socket.
    pub icmp: u64,
    /// Fragments for our addresses, given to a queue's socket.
    pub fragments: u64,
    /// Not ours: passed to the kernel.
    pub passed: u64,
    /// Not to be parsed: passed to the kernel.
    pub malformed: u64,
    /// Ours, on a queue without a socket: dropped.
    pub no_socket: u64,
}
