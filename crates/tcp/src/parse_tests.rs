//! Valid frames of another implementation are parsed to the right offsets, and all other frames are dropped.

use etherparse::PacketBuilder;
use etherparse::TcpOptionElement::{Noop, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{Ipv4Packet, Ipv6Address, TcpPacket, TcpRepr};

use super::*;
use crate::cidr::Cidr;

pub(crate) const MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub(crate) const PEER: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const HERE4: [u8; 4] = [10, 77, 0, 2];
pub(crate) const THERE4: [u8; 4] = [10, 77, 0, 1];

fn here6() -> [u8; 16] {
    "fd77::2".parse::<Ipv6Address>().expect("IPv6").octets()
}
fn there6() -> [u8; 16] {
    "fd77::1".parse::<Ipv6Address>().expect("IPv6").octets()
}

pub(crate) fn ours(vlan: Option<u16>) -> Addresses {
    let cidrs: Vec<Cidr> = ["10.77.0.2/24", "fd77::2/64"]
        .iter()
        .map(|cidr| cidr.parse().expect("a CIDR"))
        .collect();
    Addresses::new(MAC, vlan, &cidrs)
}

fn ethernet(vlan: Option<u16>, ethertype: u16) -> Vec<u8> {
    let mut frame = [MAC, PEER].concat();
    if let Some(tag) = vlan {
        frame.extend([0x81, 0x00]);
        frame.extend(tag.to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame
}

/// A TCP segment as etherparse writes it, with `pad` bytes after the IP packet.
pub(crate) fn segment(v6: bool, vlan: Option<u16>, payload: &[u8], pad: usize) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2(PEER, MAC);
    let ip = if v6 {
        ethernet.ipv6(there6(), here6(), 64)
    } else {
        ethernet.ipv4(THERE4, HERE4, 64)
    };
    let mut frame = Vec::new();
    ip.tcp(40_000, 9001, 0x1234_5678, 4321)
        .psh()
        .ack(0xffff_fffe)
        .options(&[Noop, Noop, Timestamp(1, 2)])
        .expect("they fit")
        .write(&mut frame, payload)
        .expect("memory");
    if let Some(tag) = vlan {
        let [high, low] = tag.to_be_bytes();
        frame.splice(12..12, [0x81, 0, high, low]);
    }
    frame.resize(frame.len() + pad, 0xee);
    frame
}

fn tcp_of(parsed: Parsed) -> Segment {
    match parsed {
        Parsed::Tcp(segment) => segment,
        other => panic!("no segment but {other:?}"),
    }
}

fn parse_any(frame: &[u8]) -> Parsed {
    parse(frame, RxChecksum::Unknown, &ours(None))
}

fn dropped(frame: &[u8], reason: Reason) {
    assert_eq!(parse_any(frame), Parsed::Drop(reason));
}

/// Writes the right checksum of the IPv4 header.
fn correct(frame: &mut [u8]) {
    let len = usize::from(frame[14] & 15) * 4;
    checksum::fill_ipv4_header(&mut frame[14..14 + len]);
}

#[test]
fn a_segment_is_found_with_all_its_parts() {
    for (v6, vlan, pad) in [
        (false, None, 0),
        (false, None, 6),
        (false, Some(7), 0),
        (true, None, 0),
        (true, Some(7), 3),
    ] {
        let frame = segment(v6, vlan, b"hello", pad);
        let found = tcp_of(parse(&frame, RxChecksum::Unknown, &ours(vlan)));
        let ip_at = if vlan.is_some() { 18 } else { 14 };
        let tcp_at = ip_at + if v6 { 40 } else { 20 };
        assert_eq!((found.ip_at, found.tcp_at), (ip_at, tcp_at));
        // 10 bytes of timestamps and 2 of padding.
        assert_eq!(found.payload, tcp_at + 32..tcp_at + 37);
        assert_eq!(found.end, found.payload.end);
        assert_eq!(usize::from(found.end), frame.len() - pad);
        assert_eq!((found.seq, found.ack), (0x1234_5678, 0xffff_fffe));
        assert_eq!((found.window, found.sequence_len()), (4321, 5));
        assert_eq!(found.flags & !8, flags::ACK);
        assert_eq!((found.l2.source, found.l2.destination), (PEER, MAC));
        assert_eq!(found.l2.vlan, vlan);
        let remote = if v6 {
            "[fd77::1]:40000"
        } else {
            "10.77.0.1:40000"
        };
        assert_eq!(found.tuple.remote(), remote.parse().expect("an end"));
        assert_eq!(found.tuple.local().port(), 9001);
        assert!(found.checksum_is_good(&frame));
        let mut broken = frame.clone();
        broken[usize::from(found.payload.start)] ^= 1;
        assert!(!found.checksum_is_good(&broken));
    }
}

#[test]
fn every_truncation_is_dropped() {
    for (v6, vlan) in [
        (false, None),
        (false, Some(1)),
        (true, None),
        (true, Some(1)),
    ] {
        let frame = segment(v6, vlan, b"hello", 0);
        for len in 0..frame.len() {
            let parsed = parse(&frame[..len], RxChecksum::Unknown, &ours(vlan));
            assert_eq!(parsed, Parsed::Drop(Reason::Truncated));
        }
    }
}

#[test]
fn a_tag_determines_the_vlan() {
    let plain = segment(false, None, b"", 0);
    let tagged = segment(false, Some(7), b"", 0);
    let with = |frame: &[u8], vlan| parse(frame, RxChecksum::Unknown, &ours(vlan));
    for (frame, vlan) in [(&plain, Some(7)), (&tagged, Some(8))] {
        assert_eq!(with(frame, vlan), Parsed::Drop(Reason::OtherVlan));
    }
    assert_eq!(tcp_of(with(&tagged, Some(7))).l2.vlan, Some(7));
    // A host without a VLAN accepts no tag of a VLAN, with or without a priority.
    for tag in [1, 7, 666, 4094, 0xfff, 0xe007] {
        dropped(&segment(false, Some(tag), b"", 0), Reason::OtherVlan);
        dropped(&segment(true, Some(tag), b"", 0), Reason::OtherVlan);
    }
    // A tag with the number 0 is only a priority. The priority is not part of the number.
    for tag in [0, 0x2000, 0xe000, 0x1000] {
        let priority = segment(false, Some(tag), b"", 0);
        assert_eq!(tcp_of(with(&priority, None)).l2.vlan, None);
        assert_eq!(with(&priority, Some(7)), Parsed::Drop(Reason::OtherVlan));
    }
    let priority = segment(false, Some(0xe007), b"", 0);
    assert_eq!(tcp_of(with(&priority, Some(7))).l2.vlan, Some(7));
    assert_eq!(
        with(&segment(false, Some(0xfff), b"", 0), Some(7)),
        Parsed::Drop(Reason::OtherVlan)
    );

    let mut stacked = ethernet(Some(7), 0x8100);
    stacked.extend([0, 7, 8, 0]);
    stacked.extend(&plain[14..]);
    dropped(&stacked, Reason::StackedTags);
    stacked[12..14].copy_from_slice(&[0x88, 0xa8]);
    dropped(&stacked, Reason::StackedTags);
    // A service tag is not the tag of a VLAN, whichever VLAN the host is in.
    for vlan in [7, 8] {
        assert_eq!(
            with(&stacked, Some(vlan)),
            Parsed::Drop(Reason::StackedTags)
        );
    }
    // Neither is a priority in front of another tag, whichever of the two would be right alone.
    for (outer, inner) in [(0_u8, 0_u8), (0, 7), (7, 0), (7, 7)] {
        for vlan in [None, Some(7)] {
            let mut stacked = ethernet(Some(outer.into()), 0x8100);
            stacked.extend([0, inner, 8, 0]);
            stacked.extend(&plain[14..]);
            assert_eq!(with(&stacked, vlan), Parsed::Drop(Reason::StackedTags));
        }
    }
}

#[test]
fn frames_for_other_hosts_are_dropped() {
    let good = segment(false, None, b"x", 0);
    let with = |at: usize, bytes: &[u8]| {
        let mut frame = good.clone();
        frame[at..at + bytes.len()].copy_from_slice(bytes);
        correct(&mut frame);
        frame
    };
    dropped(&with(0, &[2, 0, 0, 0, 0, 9]), Reason::OtherHost);
    dropped(&with(0, &[0xff; 6]), Reason::Group);
    dropped(&with(0, &[1, 0, 0x5e, 0, 0, 1]), Reason::Group);
    dropped(&with(12, &[0x88, 0xcc]), Reason::OtherEtherType);
    dropped(&with(30, &[10, 77, 0, 3]), Reason::OtherAddress);
    dropped(&with(30, &[10, 77, 0, 255]), Reason::OtherAddress);
    dropped(&with(23, &[17]), Reason::OtherProtocol);
    let mut v6 = segment(true, None, b"x", 0);
    v6[53] ^= 1;
    dropped(&v6, Reason::OtherAddress);
    v6[38..54].copy_from_slice(&Ipv6Address::new(0xff02, 0, 0, 0, 0, 0, 0, 1).octets());
    dropped(&v6, Reason::Group);
    let mut group = segment(true, None, b"x", 0);
    group[0] = 0x33;
    dropped(&group, Reason::Group);
}

#[test]
fn impossible_sources_are_dropped() {
    let mut v4 = segment(false, None, b"x", 0);
    for (source, reason) in [
        ([0, 0, 0, 0], Reason::Martian),
        ([127, 0, 0, 1], Reason::Martian),
        ([224, 0, 0, 1], Reason::Martian),
        ([255; 4], Reason::Martian),
        ([10, 77, 0, 255], Reason::Martian),
        (HERE4, Reason::OwnSource),
    ] {
        v4[26..30].copy_from_slice(&source);
        correct(&mut v4);
        dropped(&v4, reason);
    }
    let mut v6 = segment(true, None, b"x", 0);
    for (source, reason) in [
        ("::", Reason::Martian),
        ("::1", Reason::Martian),
        ("ff02::1", Reason::Martian),
        ("::ffff:10.0.0.1", Reason::Martian),
        ("fd77::2", Reason::OwnSource),
    ] {
        let source: Ipv6Address = source.parse().expect("IPv6");
        v6[22..38].copy_from_slice(&source.octets());
        dropped(&v6, reason);
    }
    let mut group = segment(false, None, b"x", 0);
    group[6] |= 1;
    dropped(&group, Reason::Martian);
}

#[test]
fn inconsistent_headers_are_dropped() {
    let good = segment(false, None, b"x", 0);
    let with = |at: usize, value: u8| {
        let mut frame = good.clone();
        frame[at] = value;
        if usize::from(frame[14] & 15) >= 5 {
            correct(&mut frame);
        }
        frame
    };
    dropped(&with(14, 0x65), Reason::IpHeader);
    dropped(&with(14, 0x44), Reason::IpHeader);
    dropped(&with(17, 19), Reason::IpHeader);
    dropped(&with(17, 39), Reason::Truncated);
    dropped(&with(16, 0xff), Reason::Truncated);
    dropped(&with(20, 0x20), Reason::Fragment);
    dropped(&with(21, 0x01), Reason::Fragment);
    assert!(
        matches!(parse_any(&with(20, 0x40)), Parsed::Tcp(_)),
        "don't fragment"
    );
    dropped(&with(46, 0x40), Reason::TcpHeader);
    dropped(&with(46, 0xf0), Reason::Truncated);
    for bits in [0x03, 0x06, 0x05, 0x07] {
        dropped(&with(47, bits), Reason::TcpHeader);
    }
    let mut port = good.clone();
    port[34..36].fill(0);
    dropped(&port, Reason::TcpHeader);

    let mut wrong = good.clone();
    wrong[22] ^= 0x10;
    dropped(&wrong, Reason::Checksum);
    assert!(matches!(
        parse(&wrong, RxChecksum::Good, &ours(None)),
        Parsed::Tcp(_)
    ));
    let bad = parse(&good, RxChecksum::Bad, &ours(None));
    assert_eq!(bad, Parsed::Drop(Reason::Checksum));
}

#[test]
fn ipv4_options_are_stepped_over() {
    let mut frame = segment(false, None, b"hello", 0);
    frame[14] = 0x47;
    let total = (frame.len() - 14 + 8) as u16;
    frame[16..18].copy_from_slice(&total.to_be_bytes());
    frame.splice(34..34, [1; 8]);
    correct(&mut frame);
    let found = tcp_of(parse_any(&frame));
    assert_eq!((found.ip_at, found.tcp_at), (14, 42));
    assert!(found.checksum_is_good(&frame));
    assert_eq!(&frame[usize::from(found.payload.start)..], b"hello");
}

#[test]
fn source_routes_and_malformed_options_are_dropped() {
    for options in [
        [131, 7, 4, 10, 0, 0, 1, 0],
        [137, 7, 4, 10, 0, 0, 1, 0],
        [7, 9, 4, 0, 0, 0, 0, 0],
        [7, 1, 4, 0, 0, 0, 0, 0],
    ] {
        let mut frame = segment(false, None, b"hello", 0);
        frame[14] = 0x47;
        let total = (frame.len() - 14 + 8) as u16;
        frame[16..18].copy_from_slice(&total.to_be_bytes());
        frame.splice(34..34, options);
        correct(&mut frame);
        dropped(&frame, Reason::IpOptions);
    }
}

/// The IPv6 segment with extension headers before TCP; the first has the type `first`.
fn extended(first: u8, headers: &[u8]) -> Vec<u8> {
    let mut frame = segment(true, None, b"hello", 0);
    let payload = (frame.len() - 54 + headers.len()) as u16;
    frame[18..20].copy_from_slice(&payload.to_be_bytes());
    frame[20] = first;
    frame.splice(54..54, headers.iter().copied());
    frame
}

#[test]
fn ipv6_extension_headers_are_stepped_over_and_removed() {
    let padding = [6, 0, 1, 4, 0, 0, 0, 0];
    let chain = [
        &[60, 0, 1, 4, 0, 0, 0, 0][..],
        &[43, 0, 0x1e, 4, 0, 0, 0, 0],
        &[44, 2, 4, 0, 0, 0, 0, 0],
        &[0; 16],
        &[6, 0, 0, 0, 1, 2, 3, 4],
    ]
    .concat();
    for (first, headers) in [(0, &padding[..]), (60, &padding), (0, &chain)] {
        let mut frame = extended(first, headers);
        let mut found = tcp_of(parse_any(&frame));
        assert_eq!(usize::from(found.tcp_at), 54 + headers.len());
        assert!(found.checksum_is_good(&frame));
        assert_eq!(&frame[usize::from(found.payload.start)..], b"hello");

        let before = found.clone();
        found.strip_extensions(&mut frame);
        let plain = segment(true, None, b"hello", 0);
        assert_eq!(&frame[found.ip()], &plain[14..]);
        assert!(found.checksum_is_good(&frame));
        assert_eq!((found.payload, found.end), (before.payload, before.end));
    }
}

#[test]
fn fragments_and_unsupported_extension_headers_are_dropped() {
    for (first, headers, reason) in [
        (44, &[6, 0, 0, 1, 0, 0, 0, 0][..], Reason::Fragment),
        (44, &[6, 0, 1, 0, 0, 0, 0, 0], Reason::Fragment),
        (43, &[6, 0, 0, 1, 0, 0, 0, 0], Reason::ExtensionHeader),
        (
            60,
            &[0, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0],
            Reason::ExtensionHeader,
        ),
        // An unknown option that demands the packet to be dropped; an option longer than its header.
        (0, &[6, 0, 0x41, 4, 0, 0, 0, 0], Reason::ExtensionHeader),
        (0, &[6, 0, 1, 5, 0, 0, 0, 0], Reason::ExtensionHeader),
        (60, &[6, 255, 1, 4, 0, 0, 0, 0], Reason::Truncated),
        (51, &[6, 4, 0, 0, 0, 0, 0, 0], Reason::OtherProtocol),
        (59, &[], Reason::OtherProtocol),
    ] {
        dropped(&extended(first, headers), reason);
    }
    let nine = [60, 0, 1, 4, 0, 0, 0, 0].repeat(9);
    dropped(&extended(60, &nine), Reason::ExtensionHeader);
}

/// Checks that all offsets lie in the frame, in order, and that smoltcp parses the segment without a panic.
fn check(frame: &[u8], checksums: RxChecksum) {
    match parse(frame, checksums, &ours(None)) {
        Parsed::Tcp(mut found) => {
            assert!(found.ip_at < found.tcp_at && found.tcp_at + 20 <= found.payload.start);
            assert!(found.payload.start <= found.payload.end && found.payload.end == found.end);
            assert!(usize::from(found.end) <= frame.len());
            found.checksum_is_good(frame);
            found.tuple.hash(&[1, 2]);
            let mut frame = frame.to_vec();
            found.strip_extensions(&mut frame);
            assert!(found.ip_at < found.tcp_at);
            let segment = &frame[usize::from(found.tcp_at)..usize::from(found.end)];
            let packet = TcpPacket::new_checked(segment).expect("checked already");
            let (source, destination) = (found.tuple.remote().ip(), found.tuple.local().ip());
            let caps = ChecksumCapabilities::ignored();
            if let Ok(repr) = TcpRepr::parse(&packet, &source.into(), &destination.into(), &caps) {
                let ours = usize::from(found.payload.start)..usize::from(found.payload.end);
                assert_eq!(repr.payload, &frame[ours]);
            }
            if found.tuple.is_v4() {
                let packet = Ipv4Packet::new_checked(&frame[found.ip()]).expect("checked already");
                assert_eq!(packet.payload(), segment);
            }
        }
        Parsed::Ndp(found) | Parsed::Icmp(found) => {
            assert!(found.ip_at < found.at && found.at + 8 <= found.end);
            assert!(usize::from(found.end) <= frame.len());
        }
        Parsed::Arp(_, at) => assert!(usize::from(at) <= frame.len()),
        Parsed::Drop(_) => {}
    }
}

fn checksums() -> impl Strategy<Value = RxChecksum> {
    prop_oneof![Just(RxChecksum::Good), Just(RxChecksum::Unknown)]
}

proptest! {
    #[test]
    fn any_payload_is_found_at_its_offset(
        v6: bool, tag in proptest::option::of(1u16..0xfff), payload in vec(any::<u8>(), 0..1500), pad in 0usize..50,
    ) {
        let frame = segment(v6, tag, &payload, pad);
        let found = tcp_of(parse(&frame, RxChecksum::Unknown, &ours(tag)));
        prop_assert!(found.checksum_is_good(&frame));
        let place = usize::from(found.payload.start)..usize::from(found.payload.end);
        prop_assert_eq!(&frame[place], &payload[..]);
        check(&frame, RxChecksum::Unknown);
    }

    #[test]
    fn noise_never_panics(mut noise in vec(any::<u8>(), 0..200), known in checksums(), kind in 0u8..5) {
        let start = ethernet(None, [0x0800, 0x86dd, 0x0806, 0x8100, 0][usize::from(kind)]);
        if noise.len() > 14 {
            noise[..14].copy_from_slice(&start);
        }
        check(&noise, known);
    }

    #[test]
    fn mutations_never_panic(
        v6: bool,
        extension: bool,
        payload in vec(any::<u8>(), 0..60),
        flips in vec(any::<(prop::sample::Index, u8)>(), 0..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut frame = if extension {
            extended(0, &[60, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0])
        } else {
            segment(v6, None, &payload, 2)
        };
        for (place, value) in flips {
            // The MAC addresses do not change, or the parser would refuse every frame.
            let at = 12 + place.index(frame.len() - 12);
            frame[at] = value;
        }
        check(&frame, RxChecksum::Good);
        frame.truncate(cut.index(frame.len() + 1));
        check(&frame, RxChecksum::Good);
    }

    #[test]
    fn odd_tcp_options_never_panic_in_smoltcp(options in vec(any::<u8>(), 40), words in 0u8..=10) {
        let mut frame = segment(false, None, &[], 0);
        frame.truncate(54);
        frame.extend(&options[..usize::from(words) * 4]);
        let total = (frame.len() - 14) as u16;
        frame[16..18].copy_from_slice(&total.to_be_bytes());
        frame[46] = (5 + words) << 4;
        correct(&mut frame);
        tcp_of(parse_any(&frame));
        check(&frame, RxChecksum::Unknown);
    }
}
