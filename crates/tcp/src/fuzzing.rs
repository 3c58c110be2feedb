//! The frame parser, for the fuzz target `parse`, which compares it with another implementation. Not part of the API.

use std::net::SocketAddr;
use std::ops::Range;

use hioload_device::RxChecksum;

use crate::addresses::Addresses;
use crate::parse::{self, L2};
use crate::{Cidr, Reason};

/// The parser of one host.
#[derive(Debug)]
pub struct Parser(Addresses);

/// The Ethernet header of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// The source MAC address.
    pub source: [u8; 6],
    /// The destination MAC address.
    pub destination: [u8; 6],
    /// The VLAN, unless untagged or 0.
    pub vlan: Option<u16>,
}

/// A TCP segment. Ranges and offsets are bytes of the frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Segment {
    /// The Ethernet header.
    pub link: Link,
    /// The destination.
    pub local: SocketAddr,
    /// The source.
    pub remote: SocketAddr,
    /// The IP packet.
    pub ip: Range<usize>,
    /// The TCP header.
    pub tcp_at: usize,
    /// The payload.
    pub payload: Range<usize>,
    /// The flags, as in the header.
    pub flags: u8,
    /// The sequence number.
    pub seq: u32,
    /// The acknowledgement number.
    pub ack: u32,
    /// The window, not scaled.
    pub window: u16,
    /// The sequence numbers that the segment takes.
    pub sequence_len: u32,
    /// Whether the TCP checksum is right.
    pub checksum_is_good: bool,
}

/// The result of the parser.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Parsed {
    /// A TCP segment for the host.
    Tcp(Segment),
    /// ARP with any content, at this offset.
    Arp(Link, usize),
    /// An ICMP or ICMPv6 message: whether it is ICMPv6, and its bytes.
    Icmp(Link, bool, Range<usize>),
    /// The frame is dropped.
    Dropped(Reason),
}

fn link(l2: &L2) -> Link {
    Link {
        source: l2.source,
        destination: l2.destination,
        vlan: l2.vlan,
    }
}

fn segment(found: &parse::Segment, frame: &[u8]) -> Segment {
    Segment {
        link: link(&found.l2),
        local: found.tuple.local(),
        remote: found.tuple.remote(),
        ip: found.ip(),
        tcp_at: found.tcp_at.into(),
        payload: found.payload.start.into()..found.payload.end.into(),
        flags: found.flags,
        seq: found.seq,
        ack: found.ack,
        window: found.window,
        sequence_len: found.sequence_len(),
        checksum_is_good: found.checksum_is_good(frame),
    }
}

impl Parser {
    /// The parser of the host with these addresses; `vlan` as in [`StackConfig`](crate::StackConfig).
    #[must_use]
    pub fn new(mac: [u8; 6], vlan: Option<u16>, addresses: &[Cidr]) -> Self {
        Self(Addresses::new(mac, vlan, addresses))
    }

    /// Parses a frame; `checksum` is the state of its checksums by the device.
    #[must_use]
    pub fn parse(&self, frame: &[u8], checksum: RxChecksum) -> Parsed {
        match parse::parse(frame, checksum, &self.0) {
            parse::Parsed::Tcp(found) => Parsed::Tcp(segment(&found, frame)),
            parse::Parsed::Arp(l2, at) => Parsed::Arp(link(&l2), at.into()),
            parse::Parsed::Ndp(message) | parse::Parsed::Icmp(message) => {
                let range = message.at.into()..message.end.into();
                Parsed::Icmp(link(&message.l2), message.v6, range)
            }
            parse::Parsed::Drop(reason) => Parsed::Dropped(reason),
        }
    }

    /// Removes the IPv6 extension headers of a TCP segment from its frame, and returns the segment as it is afterwards.
    /// `None` if the frame is not a TCP segment.
    #[must_use]
    pub fn strip_extensions(&self, frame: &mut [u8], checksum: RxChecksum) -> Option<Segment> {
        let parse::Parsed::Tcp(mut found) = parse::parse(frame, checksum, &self.0) else {
            return None;
        };
        found.strip_extensions(frame);
        Some(segment(&found, frame))
    }
}
