//! The parser of received frames (`crates/tcp/src/parse.rs`) against `etherparse`, an independent implementation.
//!
//! Byte 0 of the input has the options ([`VLAN`] and the following), bytes 1 to 4 are not used, and the rest is an Ethernet
//! frame. The target panics
//!
//! - if our parser accepts a TCP segment that etherparse refuses, or reads a field of it differently;
//! - if our parser refuses a TCP segment that etherparse accepts, unless one of these reasons applies:
//!
//! | [`Reason`] | why |
//! |---|---|
//! | `OtherHost` | the destination MAC address is that of another host |
//! | `OtherVlan` | the frame is in another VLAN than the host, or has the reserved tag 4095 |
//! | `StackedTags` | several tags, or a service tag (802.1ad) |
//! | `OtherEtherType` | MACsec is not supported |
//! | `OtherAddress` | the destination IP address is not ours |
//! | `OtherProtocol` | an authentication header (RFC 4302) is not supported |
//! | `Group` | TCP to a multicast or broadcast address (RFC 9293 §3.9.2.3) |
//! | `Truncated` | the frame is longer than 65,535 bytes, or an IPv6 packet without a length: a jumbogram (RFC 2675) |
//! | `IpOptions` | a source route (RFC 7126), or malformed IPv4 options |
//! | `ExtensionHeader` | more than eight; segments left to route to; an unknown option that demands it (RFC 8200 §4.2) |
//! | `TcpHeader` | port 0, or more than one of SYN, FIN and RST |
//! | `Checksum` | the checksum of the IPv4 header is wrong, or the device reports a wrong checksum |
//! | `Martian` | a source address that no host has |
//! | `OwnSource` | the source address is ours |
//!
//! `Fragment` and `IpHeader` are never the reason: etherparse gives no TCP header for fragments and inconsistent IP headers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;

use etherparse::checksum::Sum16BitWords;
use etherparse::err::{Layer, packet::SliceError};
use etherparse::{
    IpNumber, Ipv4Slice, Ipv6ExtensionSlice, LinkExtSlice, LinkSlice, NetSlice, SlicedPacket,
    TcpSlice, TransportSlice,
};
use hioload_device::RxChecksum;
use hioload_tcp::fuzzing::{Link, Parsed, Parser, Segment};
use hioload_tcp::{Cidr, Reason};

use super::input::Input;
use super::packet;

/// Options: the host is in VLAN 5.
pub const VLAN: u8 = 1;
/// The checksums of the frame are corrected first.
pub const CORRECT: u8 = 2;
/// The device has verified the checksums.
pub const VERIFIED: u8 = 4;
/// The device reports a wrong checksum.
pub const BAD: u8 = 8;
/// The host has several addresses of each family.
pub const MANY: u8 = 16;
/// The frame is sent to the MAC address of the host.
pub const ADDRESSED: u8 = 32;

/// The MAC address of the host.
pub const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The addresses of the host. The first two are always there, the others with [`MANY`].
pub const ADDRESSES: [&str; 6] = [
    "10.77.0.1/24",
    "fd77::1/64",
    "10.77.0.9/24",
    "192.168.1.1/31",
    "fd77::9/64",
    "2001:db8::1/48",
];

/// The number of the tag of the host with [`VLAN`].
pub const OWN_VLAN: u16 = 5;

/// The most extension headers that our parser steps over.
const MAX_EXTENSIONS: usize = 8;

/// The host that a frame may be for.
struct Host {
    vlan: Option<u16>,
    addresses: Vec<Cidr>,
    checksum: RxChecksum,
}

impl Host {
    fn new(options: u8) -> Self {
        let count = if options & MANY != 0 { 6 } else { 2 };
        Self {
            vlan: (options & VLAN != 0).then_some(OWN_VLAN),
            addresses: ADDRESSES[..count]
                .iter()
                .map(|cidr| cidr.parse().expect("an address"))
                .collect(),
            checksum: match (options & VERIFIED != 0, options & BAD != 0) {
                (false, false) => RxChecksum::Unknown,
                (true, false) => RxChecksum::Good,
                (_, true) => RxChecksum::Bad,
            },
        }
    }

    fn has(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|own| own.addr() == ip)
    }

    /// Whether `ip` is the broadcast address of a network of the host.
    fn is_broadcast(&self, ip: Ipv4Addr) -> bool {
        self.addresses.iter().any(|own| match own.addr() {
            IpAddr::V4(addr) if own.prefix() < 31 => {
                u32::from(ip) == u32::from(addr) | (u32::MAX >> own.prefix())
            }
            _ => false,
        })
    }

    /// Whether no host may send from `ip`.
    fn is_martian(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(v4) => {
                let first = v4.octets()[0];
                first == 0 || first == 127 || first >= 224 || self.is_broadcast(v4)
            }
            IpAddr::V6(v6) => {
                v6.is_multicast()
                    || v6.is_unspecified()
                    || v6.is_loopback()
                    || v6.to_ipv4_mapped().is_some()
            }
        }
    }
}

/// Runs one input, and returns the result of our parser.
///
/// # Panics
/// If the two parsers disagree without a reason.
pub fn outcome(data: &[u8]) -> Parsed {
    let mut input = Input::new(data);
    let options = input.byte();
    input.word();
    let mut frame = input.rest().to_vec();
    if options & ADDRESSED != 0 && frame.len() >= 6 {
        frame[..6].copy_from_slice(&MAC);
    }
    if options & CORRECT != 0 {
        packet::correct(&mut frame);
    }
    let host = Host::new(options);
    let parser = Parser::new(MAC, host.vlan, &host.addresses);
    let other = SlicedPacket::from_ethernet(&frame);
    let parsed = parser.parse(&frame, host.checksum);
    match parsed.clone() {
        Parsed::Tcp(segment) => {
            let other = other.unwrap_or_else(|why| panic!("etherparse refuses {segment:?}: {why}"));
            check_segment(&frame, &host, &segment, &other);
            check_stripped(&frame, &host, &parser, &segment);
        }
        Parsed::Arp(link, at) => {
            // ARP of any content is accepted. etherparse refuses ARP that is too short.
            if let Ok(other) = other {
                assert_eq!(link, link_of(&other));
                let arp = match &other.net {
                    Some(NetSlice::Arp(arp)) => arp.slice(),
                    net => panic!("ARP for us, but {net:?} for etherparse"),
                };
                assert_eq!(range(&frame, arp).start, at);
            }
        }
        Parsed::Icmp(link, v6, bytes) => check_message(&frame, link, v6, bytes, other),
        Parsed::Dropped(reason) => {
            if let Ok(other) = other
                && let Some(TransportSlice::Tcp(tcp)) = &other.transport
            {
                let refused = is_documented(reason, &frame, &host, &other, tcp);
                assert!(refused, "{reason:?}, but etherparse accepts {other:?}");
            }
        }
    }
    parsed
}

/// Runs one input.
pub fn run(data: &[u8]) {
    outcome(data);
}

/// The range of `part` in `frame`.
fn range(frame: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr() as usize - frame.as_ptr() as usize;
    start..start + part.len()
}

/// The tags of a frame, outermost first.
fn tags(other: &SlicedPacket<'_>) -> Vec<u16> {
    let tag = |ext: &LinkExtSlice<'_>| match ext {
        LinkExtSlice::Vlan(tag) => Some(tag.vlan_identifier().value()),
        LinkExtSlice::Macsec(_) => None,
    };
    other.link_exts.iter().filter_map(tag).collect()
}

fn link_of(other: &SlicedPacket<'_>) -> Link {
    let Some(LinkSlice::Ethernet2(ethernet)) = &other.link else {
        panic!("no Ethernet header: {other:?}");
    };
    Link {
        source: ethernet.source(),
        destination: ethernet.destination(),
        vlan: tags(other).first().copied().filter(|&id| id != 0),
    }
}

/// The source and the destination of an IP packet.
fn addresses(other: &SlicedPacket<'_>) -> (IpAddr, IpAddr) {
    match &other.net {
        Some(NetSlice::Ipv4(ip)) => {
            let header = ip.header();
            (
                header.source_addr().into(),
                header.destination_addr().into(),
            )
        }
        Some(NetSlice::Ipv6(ip)) => {
            let header = ip.header();
            (
                header.source_addr().into(),
                header.destination_addr().into(),
            )
        }
        net => panic!("no IP packet: {net:?}"),
    }
}

fn flags(tcp: &TcpSlice<'_>) -> u8 {
    let bits = [
        tcp.fin(),
        tcp.syn(),
        tcp.rst(),
        tcp.psh(),
        tcp.ack(),
        tcp.urg(),
        tcp.ece(),
        tcp.cwr(),
    ];
    (0..).zip(bits).map(|(n, bit)| u8::from(bit) << n).sum()
}

/// Whether a field has the checksum `value`. In one's complement 0 and 0xffff are the same number.
fn is_checksum(field: u16, value: u16) -> bool {
    field == value || matches!((field, value), (0, 0xffff) | (0xffff, 0))
}

fn tcp_checksum_is_good(other: &SlicedPacket<'_>, tcp: &TcpSlice<'_>) -> bool {
    let value = match addresses(other) {
        (IpAddr::V4(from), IpAddr::V4(to)) => tcp.calc_checksum_ipv4(from.octets(), to.octets()),
        (IpAddr::V6(from), IpAddr::V6(to)) => tcp.calc_checksum_ipv6(from.octets(), to.octets()),
        _ => unreachable!("both are of one packet"),
    };
    is_checksum(tcp.checksum(), value.expect("it fits in an IP packet"))
}

/// The sum is of the bytes of the header: etherparse's own header type has no field for the reserved flag.
fn ip_checksum_is_good(ip: &Ipv4Slice<'_>) -> bool {
    let header = ip.header().slice();
    Sum16BitWords::new().add_slice(header).ones_complement() == 0
}

/// Checks that our segment has the same fields, and that no reason to refuse it applies.
fn check_segment(frame: &[u8], host: &Host, ours: &Segment, other: &SlicedPacket<'_>) {
    let Some(TransportSlice::Tcp(tcp)) = &other.transport else {
        panic!("{ours:?}, but no TCP for etherparse: {other:?}");
    };
    assert_eq!(ours.link, link_of(other));
    let (source, destination) = addresses(other);
    assert_eq!(ours.remote, SocketAddr::new(source, tcp.source_port()));
    assert_eq!(
        ours.local,
        SocketAddr::new(destination, tcp.destination_port())
    );
    assert_eq!(ours.seq, tcp.sequence_number());
    assert_eq!(ours.ack, tcp.acknowledgment_number());
    assert_eq!(ours.window, tcp.window_size());
    assert_eq!(ours.flags, flags(tcp));
    let whole = range(frame, tcp.slice());
    assert_eq!(ours.tcp_at, whole.start);
    assert_eq!(ours.ip.end, whole.end);
    assert_eq!(ours.payload, range(frame, tcp.payload()));
    let ip_at = match &other.net {
        Some(NetSlice::Ipv4(ip)) => {
            assert!(host.checksum == RxChecksum::Good || ip_checksum_is_good(ip));
            range(frame, ip.header().slice()).start
        }
        Some(NetSlice::Ipv6(ip)) => range(frame, ip.header().slice()).start,
        net => panic!("{ours:?}, but {net:?} for etherparse"),
    };
    assert_eq!(ours.ip.start, ip_at);
    let taken = tcp.payload().len() + usize::from(tcp.syn()) + usize::from(tcp.fin());
    assert_eq!(ours.sequence_len as usize, taken);
    assert_eq!(ours.checksum_is_good, tcp_checksum_is_good(other, tcp));
    for &reason in Reason::ALL {
        let applies = is_documented(reason, frame, host, other, tcp);
        assert!(!applies, "{reason:?} applies to the accepted {ours:?}");
    }
}

/// Checks that the segment without its extension headers is the same, and that TCP follows the IPv6 header.
fn check_stripped(frame: &[u8], host: &Host, parser: &Parser, before: &Segment) {
    let mut frame = frame.to_vec();
    let after = parser.strip_extensions(&mut frame, host.checksum);
    let after = after.expect("it was a segment");
    let moved = before.tcp_at - before.ip.start - (after.tcp_at - after.ip.start);
    let expected = Segment {
        ip: before.ip.start + moved..before.ip.end,
        ..before.clone()
    };
    assert_eq!(after, expected);
    let other = SlicedPacket::from_ip(&frame[after.ip.clone()]).expect("a packet");
    let Some(TransportSlice::Tcp(tcp)) = &other.transport else {
        panic!("no TCP behind the IP header: {other:?}");
    };
    assert_eq!(range(&frame, tcp.payload()), after.payload);
    assert_eq!(tcp_checksum_is_good(&other, tcp), after.checksum_is_good);
    if let Some(NetSlice::Ipv6(ip)) = &other.net {
        assert!(ip.extensions().is_empty());
    }
}

fn check_message(
    frame: &[u8],
    link: Link,
    v6: bool,
    bytes: Range<usize>,
    other: Result<SlicedPacket<'_>, SliceError>,
) {
    let other = match other {
        Ok(other) => other,
        // Our parser does not look into the message.
        Err(SliceError::Len(error))
            if matches!(
                error.layer,
                Layer::Icmpv4
                    | Layer::Icmpv4Timestamp
                    | Layer::Icmpv4TimestampReply
                    | Layer::Icmpv6
            ) =>
        {
            return;
        }
        Err(error) => panic!("ICMP at {bytes:?}, but etherparse refuses it: {error}"),
    };
    assert_eq!(link, link_of(&other));
    let net = other.net.as_ref().and_then(NetSlice::ip_payload_ref);
    let ip = net.expect("an IP packet");
    let number = if v6 {
        IpNumber::IPV6_ICMP
    } else {
        IpNumber::ICMP
    };
    assert_eq!((ip.ip_number, ip.fragmented), (number, false));
    assert_eq!(range(frame, ip.payload), bytes);
}

/// Whether our parser may refuse this TCP segment for this reason.
fn is_documented(
    reason: Reason,
    frame: &[u8],
    host: &Host,
    other: &SlicedPacket<'_>,
    tcp: &TcpSlice<'_>,
) -> bool {
    let link = link_of(other);
    let is_group = link.destination[0] & 1 == 1;
    let (source, destination) = addresses(other);
    match reason {
        Reason::OtherHost => link.destination != MAC && !is_group,
        Reason::OtherVlan => host.vlan != link.vlan || link.vlan == Some(4095),
        Reason::StackedTags => {
            let service_tag = matches!(frame[12..14], [0x88, 0xa8] | [0x91, 0x00]);
            tags(other).len() > 1 || service_tag
        }
        Reason::OtherEtherType => other
            .link_exts
            .iter()
            .any(|ext| matches!(ext, LinkExtSlice::Macsec(_))),
        Reason::OtherAddress => !host.has(destination),
        Reason::OtherProtocol => has_authentication(other),
        Reason::Group => is_group || destination.is_multicast(),
        Reason::Truncated => frame.len() > 65_535 || is_jumbogram(other),
        Reason::IpOptions => has_refused_option(other),
        Reason::ExtensionHeader => has_refused_extension(other),
        Reason::TcpHeader => {
            let exclusive = [tcp.syn(), tcp.fin(), tcp.rst()];
            tcp.source_port() == 0
                || tcp.destination_port() == 0
                || exclusive.into_iter().filter(|&bit| bit).count() > 1
        }
        Reason::Checksum => match (&other.net, host.checksum) {
            (_, RxChecksum::Bad) => true,
            (Some(NetSlice::Ipv4(ip)), RxChecksum::Unknown) => !ip_checksum_is_good(ip),
            _ => false,
        },
        Reason::Martian => link.source[0] & 1 == 1 || host.is_martian(source),
        Reason::OwnSource => host.has(source),
        // Fragments and inconsistent IP headers have no TCP header for etherparse.
        _ => false,
    }
}

fn has_authentication(other: &SlicedPacket<'_>) -> bool {
    match &other.net {
        Some(NetSlice::Ipv4(ip)) => ip.extensions().auth.is_some(),
        Some(NetSlice::Ipv6(ip)) => ip
            .extensions()
            .clone()
            .into_iter()
            .any(|header| matches!(header, Ipv6ExtensionSlice::Authentication(_))),
        _ => false,
    }
}

/// Whether the IPv4 options have a source route, or do not fit their field.
fn has_refused_option(other: &SlicedPacket<'_>) -> bool {
    let Some(NetSlice::Ipv4(ip)) = &other.net else {
        return false;
    };
    let options = ip.header().options();
    let mut at = 0;
    while at < options.len() && options[at] != 0 {
        if options[at] == 1 {
            at += 1;
            continue;
        }
        let Some(&length) = options.get(at + 1) else {
            return true;
        };
        if matches!(options[at], 131 | 137) || length < 2 {
            return true;
        }
        at += usize::from(length);
    }
    at > options.len()
}

/// Whether an IPv6 packet has no length.
fn is_jumbogram(other: &SlicedPacket<'_>) -> bool {
    matches!(&other.net, Some(NetSlice::Ipv6(ip)) if ip.header().payload_length() == 0)
}

fn has_refused_extension(other: &SlicedPacket<'_>) -> bool {
    let Some(NetSlice::Ipv6(ip)) = &other.net else {
        return false;
    };
    let headers: Vec<_> = ip.extensions().clone().into_iter().collect();
    let is_refused = |header: &Ipv6ExtensionSlice<'_>| match header {
        // The second byte is the number of segments left.
        Ipv6ExtensionSlice::Routing(header) => header.payload()[1] != 0,
        Ipv6ExtensionSlice::HopByHop(header) | Ipv6ExtensionSlice::DestinationOptions(header) => {
            !may_be_skipped(header.payload())
        }
        Ipv6ExtensionSlice::Fragment(_) | Ipv6ExtensionSlice::Authentication(_) => false,
    };
    headers.len() > MAX_EXTENSIONS || headers.iter().any(is_refused)
}

/// Whether a host that knows none of these options may go on (RFC 8200 §4.2): no option has a type that demands the packet to
/// be discarded, and all of them fit.
fn may_be_skipped(options: &[u8]) -> bool {
    let mut at = 0;
    while at < options.len() {
        let kind = options[at];
        if kind == 0 {
            at += 1;
            continue;
        }
        let Some(&length) = options.get(at + 1) else {
            return false;
        };
        if kind >= 0x40 {
            return false;
        }
        at += 2 + usize::from(length);
    }
    at == options.len()
}
