//! The counters of the XDP program.

/// Packets by the verdict of the XDP program, on all queues and CPUs since the port was opened; monotonic.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct XdpCounters {
    /// TCP for the port, redirected to a queue's socket.
    pub tcp: u64,
    /// ARP for the port's addresses, redirected to a queue's socket.
    pub arp: u64,
    /// Neighbour discovery for the port's addresses, redirected to a queue's socket.
    pub nd: u64,
    /// Other ICMP and ICMPv6 for the port's addresses, redirected to a queue's socket. Where the addresses are shared with the
    /// kernel: only ICMP errors about TCP of the listened ports.
    pub icmp: u64,
    /// Fragments for the port's addresses, redirected to a queue's socket. Where the addresses are shared with the kernel: the
    /// first fragments of segments for listened ports, dropped.
    pub fragments: u64,
    /// Packets for others, passed to the kernel.
    pub passed: u64,
    /// Packets for the port's addresses or for nobody that cannot be parsed. They are dropped; where the addresses are shared with
    /// the kernel, the kernel drops those of them that it cannot parse either.
    pub malformed: u64,
    /// Packets for the port on a queue without a socket, dropped.
    pub no_socket: u64,
    /// Packets for the port's addresses that are neither TCP nor ICMP, dropped. Where the addresses are shared with the kernel, it
    /// gets them, and they are counted as `passed`.
    pub other_protocol: u64,
    /// Frames on the port's link with several VLAN tags, or with a service tag that has no VLAN, dropped.
    pub stacked_tags: u64,
}
