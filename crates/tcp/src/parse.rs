//! One pass over a received frame: its kind, whether it is for us, and the offsets of its parts.
//!
//! All lengths are checked here, once: every offset in the result lies within the frame, in order. Only the fields that are
//! used for each segment are copied. A frame that is invalid or not for us is dropped with a [`Reason`]. The fuzz target
//! `parse` compares this file with the crate `etherparse`.

use std::ops::Range;

use hioload_device::RxChecksum;

use crate::addresses::Addresses;
use crate::checksum;
use crate::drops::Reason;
use crate::ether::ethertype;
use crate::extensions;
use crate::ip_options;
use crate::tuple::Tuple;

/// TCP flags, as in the header.
pub(crate) mod flags {
    /// No more data from the sender.
    pub(crate) const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub(crate) const SYN: u8 = 0x02;
    /// Reset the connection.
    pub(crate) const RST: u8 = 0x04;
    /// The acknowledgement number is valid.
    pub(crate) const ACK: u8 = 0x10;
}

/// The fields of the Ethernet header that an answer needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct L2 {
    /// The source MAC address.
    pub source: [u8; 6],
    /// The destination MAC address: ours, or that of a group.
    pub destination: [u8; 6],
    /// The VLAN; `None` if the frame is untagged or has only a priority (VLAN 0).
    pub vlan: Option<u16>,
}

impl L2 {
    /// Whether the destination is a group.
    #[inline]
    pub(crate) fn is_group(&self) -> bool {
        self.destination[0] & 1 != 0
    }
}

/// A TCP segment for us. Offsets are from the start of the frame; `ip_at < tcp_at < payload.start <= payload.end == end`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Segment {
    /// The local end is the destination.
    pub tuple: Tuple,
    /// The Ethernet header.
    pub l2: L2,
    /// The IP header.
    pub ip_at: u16,
    /// The TCP header.
    pub tcp_at: u16,
    /// The payload; it may be empty.
    pub payload: Range<u16>,
    /// The end of the IP packet. The rest of the frame is padding.
    pub end: u16,
    /// See [`flags`]. At most one of `SYN`, `FIN` and `RST` is set.
    pub flags: u8,
    /// The sequence number.
    pub seq: u32,
    /// The acknowledgement number.
    pub ack: u32,
    /// The window, not scaled.
    pub window: u16,
}

impl Segment {
    /// The range of the IP packet in the frame.
    #[inline]
    pub(crate) fn ip(&self) -> Range<usize> {
        usize::from(self.ip_at)..usize::from(self.end)
    }

    /// The number of sequence numbers that it takes: payload, SYN and FIN.
    #[inline]
    pub(crate) fn sequence_len(&self) -> u32 {
        let flag = |bit| u32::from(self.flags & bit != 0);
        u32::from(self.end - self.payload.start) + flag(flags::SYN) + flag(flags::FIN)
    }

    /// Whether the TCP checksum is right; `frame` is the frame it was parsed from.
    #[inline]
    pub(crate) fn checksum_is_good(&self, frame: &[u8]) -> bool {
        let packet = frame.get(self.ip()).unwrap_or_default();
        checksum::is_good(packet, usize::from(self.tcp_at - self.ip_at), checksum::TCP)
    }

    /// Removes the IPv6 extension headers, which smoltcp does not accept: moves the IPv6 header up to the TCP header. Does
    /// nothing if there are none.
    pub(crate) fn strip_extensions(&mut self, frame: &mut [u8]) {
        let (old, tcp) = (usize::from(self.ip_at), usize::from(self.tcp_at));
        if self.tuple.is_v4() || tcp - old == IPV6_HEADER || self.end as usize > frame.len() {
            return;
        }
        let new = tcp - IPV6_HEADER;
        frame.copy_within(old..old + IPV6_HEADER, new);
        let len = self.end - self.tcp_at;
        if let Some(header) = frame.get_mut(new..tcp) {
            header[4..6].copy_from_slice(&len.to_be_bytes());
            header[6] = checksum::TCP;
        }
        self.ip_at = new as u16;
    }
}

/// An ICMP message for us, or a message of neighbour discovery. Offsets are as in [`Segment`]; the message has at least 8
/// bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Message {
    /// The Ethernet header.
    pub l2: L2,
    /// Whether it is ICMPv6.
    pub v6: bool,
    /// The IP header.
    pub ip_at: u16,
    /// The ICMP header.
    pub at: u16,
    /// The end of the IP packet.
    pub end: u16,
    /// Whether the device has verified its checksum.
    pub verified: bool,
}

/// The kind of a frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Parsed {
    /// A TCP segment for us. Its TCP checksum has not been verified.
    Tcp(Segment),
    /// ARP with any content, at this offset.
    Arp(L2, u16),
    /// Neighbour discovery with the hop limit 255. The source may be the unspecified address, or ours.
    Ndp(Message),
    /// Any other ICMP or ICMPv6.
    Icmp(Message),
    /// To be dropped.
    Drop(Reason),
}

/// The length of an IPv6 header.
pub(crate) const IPV6_HEADER: usize = 40;

/// Parses a frame. `checksums` is the state of its checksums by the device; `ours` are the addresses that it may be for.
///
/// The parts of the parser are always inlined. Each would copy its result of a hundred bytes, which is a third of the cost.
#[inline]
pub(crate) fn parse(frame: &[u8], checksums: RxChecksum, ours: &Addresses) -> Parsed {
    match classify(frame, checksums, ours) {
        Ok(parsed) => parsed,
        Err(reason) => Parsed::Drop(reason),
    }
}

#[inline(always)]
fn classify(frame: &[u8], checksums: RxChecksum, ours: &Addresses) -> Result<Parsed, Reason> {
    let header = frame.first_chunk::<14>().ok_or(Reason::Truncated)?;
    // From here on, every offset fits in 16 bits.
    if frame.len() > usize::from(u16::MAX) {
        return Err(Reason::Truncated);
    }
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = *header;
    let mut l2 = L2 {
        source: [s0, s1, s2, s3, s4, s5],
        destination: [d0, d1, d2, d3, d4, d5],
        vlan: None,
    };
    if l2.destination != ours.mac() && !l2.is_group() {
        return Err(Reason::OtherHost);
    }
    if s0 & 1 != 0 {
        return Err(Reason::Martian);
    }
    let mut kind = u16::from_be_bytes([t0, t1]);
    let mut at = 14;
    if kind == ethertype::VLAN {
        let tag = frame[14..].first_chunk::<4>().ok_or(Reason::Truncated)?;
        let id = u16::from_be_bytes([tag[0], tag[1]]) & 0xfff;
        l2.vlan = (id != 0).then_some(id);
        kind = u16::from_be_bytes([tag[2], tag[3]]);
        at = 18;
        if kind == ethertype::VLAN {
            return Err(Reason::StackedTags);
        }
    }
    if !ours.takes_vlan(l2.vlan) || l2.vlan == Some(0xfff) {
        let service_tag = ethertype::QINQ.contains(&kind);
        return Err(if service_tag {
            Reason::StackedTags
        } else {
            Reason::OtherVlan
        });
    }
    match kind {
        ethertype::IPV4 => ipv4(frame, at, l2, checksums, ours),
        ethertype::IPV6 => ipv6(frame, at, l2, checksums, ours),
        ethertype::ARP => Ok(Parsed::Arp(l2, at as u16)),
        other if ethertype::QINQ.contains(&other) => Err(Reason::StackedTags),
        _ => Err(Reason::OtherEtherType),
    }
}

/// An IPv4 packet at `at` (RFC 791). RFC 1122 §3.2.1 lists what to drop. The TTL is ignored, and so are options except source routes.
#[inline(always)]
fn ipv4(
    frame: &[u8],
    at: usize,
    l2: L2,
    checksums: RxChecksum,
    ours: &Addresses,
) -> Result<Parsed, Reason> {
    let packet = frame.get(at..).unwrap_or_default();
    let header = packet.first_chunk::<20>().ok_or(Reason::Truncated)?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header[0] >> 4 != 4 || header_len < 20 || total < header_len {
        return Err(Reason::IpHeader);
    }
    let packet = packet.get(..total).ok_or(Reason::Truncated)?;
    let source = [header[12], header[13], header[14], header[15]];
    let destination = [header[16], header[17], header[18], header[19]];
    if l2.is_group() {
        return Err(Reason::Group);
    }
    if !ours.has_v4(destination) {
        return Err(Reason::OtherAddress);
    }
    if checksums == RxChecksum::Bad
        || checksums == RxChecksum::Unknown && !checksum::ipv4_header_is_good(&packet[..header_len])
    {
        return Err(Reason::Checksum);
    }
    if is_martian_v4(source) || ours.is_broadcast(source) {
        return Err(Reason::Martian);
    }
    if ours.has_v4(source) {
        return Err(Reason::OwnSource);
    }
    if header_len > 20 && !ip_options::may_be_ignored(&packet[20..header_len]) {
        return Err(Reason::IpOptions);
    }
    // "More fragments", or an offset.
    if u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0 {
        return Err(Reason::Fragment);
    }
    let (from, to) = (at + header_len, at + total);
    match header[9] {
        checksum::TCP => tcp(frame, l2, at, from..to, |here, there| {
            Tuple::v4(destination, here, source, there)
        }),
        checksum::ICMP => {
            let message = message(false, l2, at, from..to, checksums)?;
            Ok(Parsed::Icmp(message))
        }
        _ => Err(Reason::OtherProtocol),
    }
}

/// Whether no host may send from this address (RFC 1122 §3.2.1.3, RFC 6890): 0/8, 127/8, 224/4, 240/4.
#[inline]
pub(crate) fn is_martian_v4(source: [u8; 4]) -> bool {
    matches!(source[0], 0 | 127 | 224..)
}

/// Whether no host may send from this address (RFC 4291 §2.5-2.7): multicast, unspecified, loopback, and IPv4-mapped
/// addresses, which must not appear in packets.
#[inline]
pub(crate) fn is_martian_v6(source: [u8; 16]) -> bool {
    let value = u128::from_be_bytes(source);
    source[0] == 0xff || value <= 1 || value >> 32 == 0xffff
}

/// An IPv6 packet at `at` (RFC 8200). Only neighbour discovery has a condition on the hop limit.
#[inline(always)]
fn ipv6(
    frame: &[u8],
    at: usize,
    l2: L2,
    checksums: RxChecksum,
    ours: &Addresses,
) -> Result<Parsed, Reason> {
    let packet = frame.get(at..).unwrap_or_default();
    let header = packet
        .first_chunk::<IPV6_HEADER>()
        .ok_or(Reason::Truncated)?;
    let total = IPV6_HEADER + usize::from(u16::from_be_bytes([header[4], header[5]]));
    if header[0] >> 4 != 6 {
        return Err(Reason::IpHeader);
    }
    let packet = packet.get(..total).ok_or(Reason::Truncated)?;
    let mut source = [0; 16];
    source.copy_from_slice(&header[8..24]);
    let mut destination = [0; 16];
    destination.copy_from_slice(&header[24..]);
    let unicast = !l2.is_group() && ours.has_v6(destination);
    if !unicast && !ours.in_group(destination) && !ours.has_v6(destination) {
        let group = destination[0] == 0xff;
        return Err(if group {
            Reason::Group
        } else {
            Reason::OtherAddress
        });
    }
    if checksums == RxChecksum::Bad {
        return Err(Reason::Checksum);
    }
    let (protocol, skip) = match header[6] {
        last @ (checksum::TCP | checksum::ICMPV6) => (last, IPV6_HEADER),
        first => extensions::walk(packet, first)?,
    };
    let (from, to) = (at + skip, at + total);
    let martian = || {
        if is_martian_v6(source) {
            Err(Reason::Martian)
        } else if ours.has_v6(source) {
            Err(Reason::OwnSource)
        } else {
            Ok(())
        }
    };
    match protocol {
        checksum::TCP if unicast => {
            martian()?;
            tcp(frame, l2, at, from..to, |here, there| {
                Tuple::v6(destination, here, source, there)
            })
        }
        checksum::ICMPV6 => {
            let message = message(true, l2, at, from..to, checksums)?;
            // The responder checks the source of neighbour discovery: a probe for duplicates has none, and a conflict has
            // ours. The hop limit 255 proves that the message comes from this link (RFC 4861 §7.1).
            let kind = frame.get(from).copied().unwrap_or_default();
            if matches!(kind, 133..=137) {
                return if header[7] == 255 {
                    Ok(Parsed::Ndp(message))
                } else {
                    Err(Reason::IpHeader)
                };
            }
            martian()?;
            if !unicast {
                return Err(Reason::Group);
            }
            Ok(Parsed::Icmp(message))
        }
        checksum::TCP => Err(Reason::Group),
        _ => Err(Reason::OtherProtocol),
    }
}

/// The TCP segment in `place` (RFC 9293 §3.1). `tuple` makes the tuple from our port and the peer's.
#[inline(always)]
fn tcp(
    frame: &[u8],
    l2: L2,
    ip_at: usize,
    place: Range<usize>,
    tuple: impl FnOnce(u16, u16) -> Tuple,
) -> Result<Parsed, Reason> {
    let segment = frame.get(place.clone()).ok_or(Reason::Truncated)?;
    let header = segment.first_chunk::<20>().ok_or(Reason::Truncated)?;
    let header_len = usize::from(header[12] >> 4) * 4;
    let there = u16::from_be_bytes([header[0], header[1]]);
    let here = u16::from_be_bytes([header[2], header[3]]);
    let bits = header[13];
    let exclusive = bits & (flags::SYN | flags::FIN | flags::RST);
    if header_len < 20 || here == 0 || there == 0 || exclusive & exclusive.wrapping_sub(1) != 0 {
        return Err(Reason::TcpHeader);
    }
    if header_len > segment.len() {
        return Err(Reason::Truncated);
    }
    let end = place.end as u16;
    Ok(Parsed::Tcp(Segment {
        tuple: tuple(here, there),
        l2,
        ip_at: ip_at as u16,
        tcp_at: place.start as u16,
        payload: (place.start + header_len) as u16..end,
        end,
        flags: bits,
        seq: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
        ack: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
        window: u16::from_be_bytes([header[14], header[15]]),
    }))
}

fn message(
    v6: bool,
    l2: L2,
    ip_at: usize,
    place: Range<usize>,
    checksums: RxChecksum,
) -> Result<Message, Reason> {
    if place.len() < 8 {
        return Err(Reason::Truncated);
    }
    Ok(Message {
        l2,
        v6,
        ip_at: ip_at as u16,
        at: place.start as u16,
        end: place.end as u16,
        verified: checksums == RxChecksum::Good,
    })
}

#[cfg(test)]
#[path = "parse_tests.rs"]
pub(crate) mod tests;
