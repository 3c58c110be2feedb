//! Writes and reads packets. This code shares nothing with the stack under test, and accepts invalid packets.

use std::net::{IpAddr, SocketAddr};

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const PSH: u8 = 8;
pub const ACK: u8 = 16;

pub const ARP: u16 = 0x0806;
pub const IPV4: u16 = 0x0800;
pub const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;

pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const ICMPV6: u8 = 58;

pub const BROADCAST: [u8; 6] = [0xff; 6];

/// The MAC addresses and the tag of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    pub src: [u8; 6],
    pub dst: [u8; 6],
    pub vlan: Option<u16>,
}

/// An Ethernet frame.
pub fn ethernet(link: Link, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [link.dst, link.src].concat();
    if let Some(tag) = link.vlan {
        frame.extend(VLAN.to_be_bytes());
        frame.extend(tag.to_be_bytes());
    }
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A frame with an IP packet.
pub fn ip_frame(link: Link, packet: &[u8]) -> Vec<u8> {
    let six = packet.first().is_some_and(|first| first >> 4 == 6);
    ethernet(link, if six { IPV6 } else { IPV4 }, packet)
}

/// The sum of the 16-bit words of `bytes`, not folded.
fn sum(bytes: &[u8]) -> u64 {
    let word = |pair: &[u8]| u64::from(pair[0]) << 8 | pair.get(1).map_or(0, |&b| u64::from(b));
    bytes.chunks(2).map(word).sum()
}

/// RFC 1071.
fn checksum(mut sum: u64) -> [u8; 2] {
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!sum as u16).to_be_bytes()
}

/// The offset of the checksum in the transport header.
fn checksum_at(protocol: u8) -> Option<usize> {
    match protocol {
        TCP => Some(16),
        ICMP | ICMPV6 => Some(2),
        _ => None,
    }
}

/// An IP packet with right checksums.
pub fn ip(src: IpAddr, dst: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let length = (20 + payload.len()) as u16;
            let mut header = vec![0x45, 0];
            header.extend(length.to_be_bytes());
            // Don't fragment; TTL 64.
            header.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
            header.extend(src.octets());
            header.extend(dst.octets());
            header
        }
        (src, dst) => {
            let six = |ip| match ip {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => v6,
            };
            let mut header = vec![0x60, 0, 0, 0];
            header.extend((payload.len() as u16).to_be_bytes());
            // NDP needs the hop limit 255.
            header.extend([protocol, if protocol == ICMPV6 { 255 } else { 64 }]);
            header.extend(six(src).octets());
            header.extend(six(dst).octets());
            header
        }
    };
    packet.extend(payload);
    correct_ip(&mut packet);
    packet
}

/// Writes the right checksums of an IP packet, as far as its headers can be parsed.
pub fn correct_ip(packet: &mut [u8]) {
    let Some((at, protocol)) = transport(packet) else {
        return;
    };
    let addresses = if packet[0] >> 4 == 4 {
        packet[10..12].fill(0);
        let header = checksum(sum(&packet[..at]));
        packet[10..12].copy_from_slice(&header);
        12..20
    } else {
        8..40
    };
    let end = end_of(packet).clamp(at, packet.len());
    let Some(field) = checksum_at(protocol).map(|field| at + field) else {
        return;
    };
    if field + 2 > end {
        return;
    }
    packet[field..field + 2].fill(0);
    let pseudo = match protocol {
        ICMP => 0,
        _ => sum(&packet[addresses]) + (end - at) as u64 + u64::from(protocol),
    };
    let value = checksum(pseudo + sum(&packet[at..end]));
    packet[field..field + 2].copy_from_slice(&value);
}

/// The length of an IP packet by its header.
fn end_of(packet: &[u8]) -> usize {
    let length = |at: usize| usize::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
    match packet[0] >> 4 {
        4 => length(2),
        _ => 40 + length(4),
    }
}

/// The offset of the transport header, and the protocol. Extension headers are stepped over.
fn transport(packet: &[u8]) -> Option<(usize, u8)> {
    match packet.first()? >> 4 {
        4 => {
            let at = usize::from(packet[0] & 15) * 4;
            (at >= 20 && at <= packet.len()).then(|| (at, packet[9]))
        }
        6 if packet.len() >= 40 => {
            let (mut at, mut protocol) = (40, packet[6]);
            while matches!(protocol, 0 | 43 | 60) && at + 8 <= packet.len() {
                protocol = packet[at];
                at += 8 * (1 + usize::from(packet[at + 1]));
            }
            (at <= packet.len()).then_some((at, protocol))
        }
        _ => None,
    }
}

/// The offset of the IP packet in a frame.
pub fn ip_at(frame: &[u8]) -> Option<usize> {
    let word = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
    let at = if word(12)? == VLAN { 16 } else { 12 };
    matches!(word(at)?, IPV4 | IPV6).then_some(at + 2)
}

/// Writes the right checksums of a frame.
pub fn correct(frame: &mut [u8]) {
    if let Some(at) = ip_at(frame)
        && frame.len() >= at + 20
    {
        correct_ip(&mut frame[at..]);
    }
}

/// The offset of the TCP header in a frame, if it is complete.
pub fn tcp_at(frame: &[u8]) -> Option<usize> {
    let at = ip_at(frame)?;
    let (tcp, protocol) = transport(&frame[at..])?;
    (protocol == TCP && frame.len() >= at + tcp + 20).then_some(at + tcp)
}

/// Replaces the checksum of a TCP segment, if it is right, by the sum of the pseudo-header, which a device completes. Returns the
/// offsets that the device needs: that of the TCP header, and that of the field in it.
pub fn offload_checksum(frame: &mut [u8]) -> Option<(u16, u16)> {
    let (ip, tcp) = (ip_at(frame)?, tcp_at(frame)?);
    let end = ip + end_of(&frame[ip..]);
    if end != frame.len() {
        return None;
    }
    let addresses = match frame[ip] >> 4 {
        4 => ip + 12..ip + 20,
        _ => ip + 8..ip + 40,
    };
    let pseudo = sum(&frame[addresses]) + (end - tcp) as u64 + u64::from(TCP);
    if checksum(pseudo + sum(&frame[tcp..])) != [0, 0] {
        return None;
    }
    let partial = checksum(pseudo).map(|byte| !byte);
    frame[tcp + 16..tcp + 18].copy_from_slice(&partial);
    Some((tcp as u16, 16))
}

/// Whether the checksums of a frame are right, as far as its headers can be parsed.
pub fn is_intact(frame: &[u8]) -> bool {
    let mut corrected = frame.to_vec();
    correct(&mut corrected);
    corrected == frame
}

/// A TCP segment.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    pub src: SocketAddr,
    pub dst: SocketAddr,
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub window: u16,
    /// A multiple of four bytes.
    pub options: &'a [u8],
    pub payload: &'a [u8],
}

impl Segment<'_> {
    /// As an IP packet.
    pub fn packet(&self) -> Vec<u8> {
        let mut tcp = Vec::with_capacity(60 + self.payload.len());
        tcp.extend(self.src.port().to_be_bytes());
        tcp.extend(self.dst.port().to_be_bytes());
        tcp.extend(self.seq.to_be_bytes());
        tcp.extend(self.ack.to_be_bytes());
        tcp.push(((20 + self.options.len()) / 4) as u8 * 16);
        tcp.push(self.flags);
        tcp.extend(self.window.to_be_bytes());
        tcp.extend([0; 4]);
        tcp.extend(self.options);
        tcp.extend(self.payload);
        ip(self.src.ip(), self.dst.ip(), TCP, &tcp)
    }
}

/// The ICMP error of a router for `packet`: "fragmentation needed", or "packet too big" of ICMPv6.
pub fn too_big(packet: &[u8], router: IpAddr, to: IpAddr, mtu: u16) -> Vec<u8> {
    let [high, low] = mtu.to_be_bytes();
    let quoted = &packet[..packet.len().min(if router.is_ipv4() { 28 } else { 500 })];
    let header: [u8; 8] = match router {
        IpAddr::V4(_) => [3, 4, 0, 0, 0, 0, high, low],
        IpAddr::V6(_) => [2, 0, 0, 0, 0, 0, high, low],
    };
    let protocol = if router.is_ipv4() { ICMP } else { ICMPV6 };
    ip(router, to, protocol, &[&header, quoted].concat())
}

/// The fields of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct View {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub protocol: u8,
    /// The length of the IP packet by its header.
    pub length: usize,
    pub tcp: Option<TcpView>,
}

/// The fields of a TCP segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpView {
    pub ports: (u16, u16),
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub window: u16,
    pub payload: usize,
}

/// The fields of a frame; `None` if there is no IP packet in it, or not enough of one.
pub fn view(frame: &[u8]) -> Option<View> {
    let packet = &frame[ip_at(frame)?..];
    if packet.len() < 20 {
        return None;
    }
    let (at, protocol) = transport(packet)?;
    let four = |at: usize| <[u8; 4]>::try_from(&packet[at..at + 4]).ok();
    let six = |at: usize| <[u8; 16]>::try_from(&packet[at..at + 16]).ok();
    let (src, dst) = match packet[0] >> 4 {
        4 => (four(12)?.into(), four(16)?.into()),
        _ => (six(8)?.into(), six(24)?.into()),
    };
    let length = end_of(packet);
    let header = packet.get(at..at + 20).filter(|_| protocol == TCP);
    let tcp = header.map(|header| {
        let short = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let word = |at: usize| u32::from(short(at)) << 16 | u32::from(short(at + 2));
        TcpView {
            ports: (short(0), short(2)),
            seq: word(4),
            ack: word(8),
            flags: header[13],
            window: short(14),
            payload: length.saturating_sub(at + usize::from(header[12] >> 4) * 4),
        }
    });
    Some(View {
        src,
        dst,
        protocol,
        length,
        tcp,
    })
}
