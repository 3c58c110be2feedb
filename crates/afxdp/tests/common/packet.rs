//! Builds packets and checks their checksums with etherparse.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::checksum::Sum16BitWords;
use etherparse::{
    ArpEthIpv4Packet, ArpOperation, ArpPacket, EtherType, Ethernet2Header, Icmpv4Header,
    Icmpv6Header, Icmpv6Type, IpNumber, Ipv4Header, Ipv6Header, SingleVlanHeader, SlicedPacket,
    TcpHeader, TransportSlice, UdpHeader, VlanId,
};

pub const ETHERTYPE4: u16 = EtherType::IPV4.0;
pub const ETHERTYPE6: u16 = EtherType::IPV6.0;
pub const ETHERTYPE_ARP: u16 = EtherType::ARP.0;
pub const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

pub fn ethernet(to: [u8; 6], vlan: Option<u16>, protocol: u16, payload: &[u8]) -> Vec<u8> {
    let ether_type = match vlan {
        Some(_) => EtherType::VLAN_TAGGED_FRAME,
        None => EtherType(protocol),
    };
    let header = Ethernet2Header {
        source: PEER_MAC,
        destination: to,
        ether_type,
    };
    let mut frame = header.to_bytes().to_vec();
    if let Some(vlan) = vlan {
        let tag = SingleVlanHeader {
            vlan_id: VlanId::try_new(vlan).expect("12 bits"),
            ether_type: EtherType(protocol),
            ..SingleVlanHeader::default()
        };
        frame.extend(tag.to_bytes());
    }
    frame.extend(payload);
    frame
}

/// `fragment` is the word with the fragmentation flags and the fragment offset (RFC 791, section 3.1).
pub fn ipv4(from: &str, to: &str, protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let (from, to): (Ipv4Addr, Ipv4Addr) = (from.parse().expect("IPv4"), to.parse().expect("IPv4"));
    let (len, protocol) = (payload.len() as u16, IpNumber(protocol));
    let header = Ipv4Header::new(len, 64, protocol, from.octets(), to.octets());
    let mut header = header.expect("a packet of at most 64 KiB");
    header.dont_fragment = fragment & 0x4000 != 0;
    header.more_fragments = fragment & 0x2000 != 0;
    header.fragment_offset = (fragment & 0x1fff).try_into().expect("13 bits");
    header.header_checksum = header.calc_header_checksum();
    let mut packet = header.to_bytes().to_vec();
    packet.extend(payload);
    packet
}

/// `next` is the protocol of the payload's first header.
pub fn ipv6(from: &str, to: &str, next: u8, payload: &[u8]) -> Vec<u8> {
    let (from, to): (Ipv6Addr, Ipv6Addr) = (from.parse().expect("IPv6"), to.parse().expect("IPv6"));
    let header = Ipv6Header {
        payload_length: payload.len() as u16,
        next_header: IpNumber(next),
        hop_limit: 64,
        source: from.octets(),
        destination: to.octets(),
        ..Ipv6Header::default()
    };
    let mut packet = header.to_bytes().to_vec();
    packet.extend(payload);
    packet
}

/// A SYN segment whose checksum field is zero.
pub fn tcp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let mut header = TcpHeader::new(from, to, 1, 0xffff);
    header.syn = true;
    let mut segment = header.to_bytes().to_vec();
    segment.extend(payload);
    segment
}

/// A datagram whose checksum field is zero.
pub fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let header = UdpHeader {
        source_port: from,
        destination_port: to,
        length: 8 + payload.len() as u16,
        checksum: 0,
    };
    let mut datagram = header.to_bytes().to_vec();
    datagram.extend(payload);
    datagram
}

pub fn arp_request(from: &str, for_address: &str) -> Vec<u8> {
    let (from, wanted): (Ipv4Addr, Ipv4Addr) = (
        from.parse().expect("IPv4"),
        for_address.parse().expect("IPv4"),
    );
    let request = ArpEthIpv4Packet {
        operation: ArpOperation::REQUEST,
        sender_mac: PEER_MAC,
        sender_ipv4: from.octets(),
        target_mac: [0; 6],
        target_ipv4: wanted.octets(),
    };
    ArpPacket::from(request).to_bytes().to_vec()
}

/// A neighbour solicitation, sent to the solicited-node group of the address (RFC 4861, section 4.3).
pub fn solicitation(from: &str, for_address: &str) -> Vec<u8> {
    let (source, wanted): (Ipv6Addr, Ipv6Addr) = (
        from.parse().expect("IPv6"),
        for_address.parse().expect("IPv6"),
    );
    let [.., a, b, c] = wanted.octets();
    let group = format!("ff02::1:ff{a:02x}:{b:02x}{c:02x}");
    let to: Ipv6Addr = group.parse().expect("IPv6");
    let kind = Icmpv6Type::NeighborSolicitation;
    let header = Icmpv6Header::with_checksum(kind, source.octets(), to.octets(), &wanted.octets());
    let mut body = header.expect("short").to_bytes().to_vec();
    body.extend(wanted.octets());
    ipv6(from, &group, IpNumber::IPV6_ICMP.0, &body)
}

/// A neighbour advertisement that nobody has asked for, sent to all nodes (RFC 4861, section 4.4).
pub fn advertisement(from: &str, of_address: &str) -> Vec<u8> {
    let said: Ipv6Addr = of_address.parse().expect("IPv6");
    let mut body = vec![136, 0, 0, 0, 0x20, 0, 0, 0];
    body.extend(said.octets());
    ipv6(from, "ff02::1", IpNumber::IPV6_ICMP.0, &body)
}

/// The sum of the pseudo-header, not complemented, which a sender writes to the checksum field for a device.
pub fn pseudo_sum(from: &str, to: &str, protocol: u8, len: usize) -> u16 {
    let mut sum = Sum16BitWords::new();
    for address in [from, to] {
        sum = match address.parse().expect("an address") {
            IpAddr::V4(v4) => sum.add_4bytes(v4.octets()),
            IpAddr::V6(v6) => sum.add_16bytes(v6.octets()),
        };
    }
    let sum = sum.add_2bytes([0, protocol]);
    let sum = sum.add_2bytes((len as u16).to_be_bytes());
    !sum.ones_complement().to_be()
}

/// Whether the checksum of a TCP frame is right.
pub fn tcp_checksum_is_good(frame: &[u8], from: &str, to: &str) -> bool {
    let packet = SlicedPacket::from_ethernet(frame).expect("a packet");
    let Some(TransportSlice::Tcp(segment)) = packet.transport else {
        panic!("no TCP: {packet:?}");
    };
    let (from, to) = (from.parse().expect("IP"), to.parse().expect("IP"));
    let computed = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            segment.calc_checksum_ipv4(from.octets(), to.octets())
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            segment.calc_checksum_ipv6(from.octets(), to.octets())
        }
        _ => panic!("two families"),
    };
    computed.expect("short") == segment.checksum()
}

/// Whether the checksum of an ICMP message (without the IP header) is right.
pub fn icmp_checksum_is_good(message: &[u8]) -> bool {
    let (header, payload) = Icmpv4Header::from_slice(message).expect("ICMP");
    let computed = Icmpv4Header::with_checksum(header.icmp_type, payload);
    computed.checksum == header.checksum
}
