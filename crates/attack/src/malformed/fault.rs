//! The faults of malformed frames.

/// A fault of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// The frame ends at a random offset.
    Truncated,
    /// The IP length field is wrong.
    IpLength,
    /// The IP version or header length is wrong.
    IpVersion,
    /// The IPv4 header checksum is wrong, or the IPv6 hop limit is 0.
    IpChecksum,
    /// The TCP checksum is wrong.
    TcpChecksum,
    /// IPv4 options or IPv6 extension headers, valid and invalid.
    IpOptions,
    /// A fragment: first, middle or last, within or beyond 64 KiB.
    Fragment,
    /// VLAN tags: priority only, 4095, nested, or truncated.
    Vlan,
    /// The source is the target's own address and port.
    Land,
    /// Random flags, including reserved ones.
    Flags,
    /// The data offset is less than the header, or beyond the segment.
    DataOffset,
    /// TCP options with invalid lengths.
    TcpOptions,
    /// Port 0.
    PortZero,
    /// The source is an address that must not be a source.
    Martian,
    /// Another protocol: UDP, ICMP or ICMPv6 with random types and content, or an unknown one.
    Protocol,
    /// ARP with invalid lengths and operations, or another EtherType.
    EtherType,
    /// The source MAC address is a group address, or the destination is broadcast.
    MacAddress,
    /// Random bytes from the IP header on.
    Noise,
    /// Up to eight bits are flipped.
    Bits,
    /// Bytes after the end of the IP packet.
    Padding,
    /// An urgent pointer, and a window of zero.
    Urgent,
}

impl Fault {
    pub(super) const ALL: [Self; 21] = [
        Self::Truncated,
        Self::IpLength,
        Self::IpVersion,
        Self::IpChecksum,
        Self::TcpChecksum,
        Self::IpOptions,
        Self::Fragment,
        Self::Vlan,
        Self::Land,
        Self::Flags,
        Self::DataOffset,
        Self::TcpOptions,
        Self::PortZero,
        Self::Martian,
        Self::Protocol,
        Self::EtherType,
        Self::MacAddress,
        Self::Noise,
        Self::Bits,
        Self::Padding,
        Self::Urgent,
    ];
}
