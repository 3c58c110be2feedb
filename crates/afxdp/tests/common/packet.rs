//! Packets, byte by byte.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub const ETHERTYPE4: u16 = 0x0800;
pub const ETHERTYPE6: u16 = 0x86dd;
const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

pub fn ethernet(to: [u8; 6], vlan: Option<u16>, protocol: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = to.to_vec();
    frame.extend(PEER_MAC);
    if let Some(vlan) = vlan {
        frame.extend(0x8100_u16.to_be_bytes());
        frame.extend(vlan.to_be_bytes());
    }
    frame.extend(protocol.to_be_bytes());
    frame.extend(payload);
    frame
}

pub fn ipv4(from: &str, to: &str, protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let (from, to): (Ipv4Addr, Ipv4Addr) = (from.parse().expect("IPv4"), to.parse().expect("IPv4"));
    let mut packet = vec![0x45, 0];
    packet.extend((20 + payload.len() as u16).to_be_bytes());
    packet.extend([0, 1]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    let sum = !sum(0, &packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(payload);
    packet
}

/// `next` is the protocol of the payload's first header.
pub fn ipv6(from: &str, to: &str, next: u8, payload: &[u8]) -> Vec<u8> {
    let (from, to): (Ipv6Addr, Ipv6Addr) = (from.parse().expect("IPv6"), to.parse().expect("IPv6"));
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next, 64]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(payload);
    packet
}

/// A segment with an empty checksum.
pub fn tcp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let mut segment = from.to_be_bytes().to_vec();
    segment.extend(to.to_be_bytes());
    segment.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(payload);
    segment
}

/// A datagram with an empty checksum.
pub fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let mut datagram = from.to_be_bytes().to_vec();
    datagram.extend(to.to_be_bytes());
    datagram.extend((8 + payload.len() as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    datagram
}

pub fn arp_request(from: &str, for_address: &str) -> Vec<u8> {
    let (from, wanted): (Ipv4Addr, Ipv4Addr) = (
        from.parse().expect("IPv4"),
        for_address.parse().expect("IPv4"),
    );
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, 1];
    packet.extend(PEER_MAC);
    packet.extend(from.octets());
    packet.extend([0; 6]);
    packet.extend(wanted.octets());
    packet
}

/// A neighbour solicitation, to the group of the address it asks for.
pub fn solicitation(from: &str, for_address: &str) -> Vec<u8> {
    let wanted: Ipv6Addr = for_address.parse().expect("IPv6");
    let [.., a, b, c] = wanted.octets();
    let group = format!("ff02::1:ff{a:02x}:{b:02x}{c:02x}");
    let mut body = vec![135, 0, 0, 0, 0, 0, 0, 0];
    body.extend(wanted.octets());
    ipv6(from, &group, 58, &body)
}

/// One's complement sum, RFC 1071, from `start`.
pub fn sum(start: u32, bytes: &[u8]) -> u16 {
    let mut sum = start;
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([pair[0], low]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The sum of the pseudo-header.
pub fn pseudo(from: &str, to: &str, protocol: u8, len: usize) -> u16 {
    let mut bytes = Vec::new();
    for address in [from, to] {
        match address.parse().expect("an address") {
            IpAddr::V4(v4) => bytes.extend(v4.octets()),
            IpAddr::V6(v6) => bytes.extend(v6.octets()),
        }
    }
    bytes.extend([0, protocol]);
    bytes.extend((len as u16).to_be_bytes());
    sum(0, &bytes)
}
