//! Seeds of the target `parse`: frames, written by etherparse and then changed.

use etherparse::{PacketBuilder, PacketBuilderStep, VlanId};

pub(super) use super::super::parse::MAC;
use super::super::parse::{BAD, CORRECT, MANY, VERIFIED, VLAN};
use super::{SPLITS, Seed, seed};

pub(super) const PEER: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub(super) const HERE4: [u8; 4] = [10, 77, 0, 1];
pub(super) const THERE4: [u8; 4] = [10, 77, 0, 2];
pub(super) const HERE6: [u8; 16] = [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
pub(super) const THERE6: [u8; 16] = [0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
const PAYLOAD: &[u8] = b"GET / HTTP/1.1\r\n";
const TCP: u8 = 6;

pub(super) fn v4() -> PacketBuilderStep<etherparse::IpHeaders> {
    PacketBuilder::ethernet2(PEER, MAC).ipv4(THERE4, HERE4, 64)
}

pub(super) fn v6() -> PacketBuilderStep<etherparse::IpHeaders> {
    PacketBuilder::ethernet2(PEER, MAC).ipv6(THERE6, HERE6, 64)
}

pub(super) fn tagged(id: u16) -> PacketBuilderStep<etherparse::IpHeaders> {
    let id = VlanId::try_new(id).expect("12 bits");
    PacketBuilder::ethernet2(PEER, MAC)
        .single_vlan(id)
        .ipv4(THERE4, HERE4, 64)
}

/// A segment with a payload behind these headers.
pub(super) fn segment(headers: PacketBuilderStep<etherparse::IpHeaders>) -> Vec<u8> {
    let mut frame = Vec::new();
    headers
        .tcp(40_000, 9001, 0x1234_5678, 1000)
        .psh()
        .ack(0x9abc_def0)
        .write(&mut frame, PAYLOAD)
        .expect("memory");
    frame
}

/// The frame with other bytes at an offset.
pub(super) fn changed(mut frame: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

/// The IPv6 segment behind these extension headers, whose types come first.
pub(super) fn extended(headers: &[(u8, &[u8])]) -> Vec<u8> {
    let mut frame = segment(v6());
    let next = |n: usize| headers.get(n).map_or(TCP, |header| header.0);
    frame[20] = next(0);
    let mut bytes = Vec::new();
    for (n, (_, body)) in headers.iter().enumerate() {
        bytes.push(next(n + 1));
        bytes.extend_from_slice(body);
    }
    let length = u16::from_be_bytes([frame[18], frame[19]]) + bytes.len() as u16;
    frame[18..20].copy_from_slice(&length.to_be_bytes());
    frame.splice(54..54, bytes);
    frame
}

/// The IPv4 segment behind an IPv4 header with options.
pub(super) fn with_options() -> Vec<u8> {
    let mut frame = segment(v4());
    frame[14] = 0x47;
    frame[17] += 8;
    frame.splice(34..34, [7, 7, 4, 0, 0, 0, 0, 1]);
    frame
}

fn messages() -> [(&'static str, Vec<u8>); 3] {
    let mut echo4 = Vec::new();
    v4().icmpv4_echo_request(1, 2)
        .write(&mut echo4, PAYLOAD)
        .expect("memory");
    let mut echo6 = Vec::new();
    v6().icmpv6_echo_request(1, 2)
        .write(&mut echo6, PAYLOAD)
        .expect("memory");
    // A request for our address.
    let arp = [
        &[0xff; 6][..],
        &PEER,
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
        &PEER,
        &THERE4,
        &[0; 6],
        &HERE4,
    ];
    [("echo", echo4), ("echo-v6", echo6), ("arp", arp.concat())]
}

/// Segments that the parser accepts.
fn accepted() -> Vec<Seed> {
    let one = |name: &str, options: u8, frame: &[u8]| seed(name, &[&[options], SPLITS, frame]);
    let padded = [segment(v4()), vec![0; 9]].concat();
    let skipped = [0, 1, 4, 0, 0, 0, 0];
    vec![
        one("v4", 0, &segment(v4())),
        one("v4-verified", VERIFIED, &segment(v4())),
        one("v4-many-addresses", MANY, &segment(v4())),
        one("v4-options", CORRECT, &with_options()),
        one("v4-padding", 0, &padded),
        one(
            "v4-reserved-flag",
            CORRECT,
            &changed(segment(v4()), 20, &[0xc0]),
        ),
        one("v6", 0, &segment(v6())),
        one("v6-many-addresses", MANY, &segment(v6())),
        one("vlan", VLAN, &segment(tagged(5))),
        one(
            "vlan-with-priority",
            VLAN,
            &changed(segment(tagged(5)), 14, &[0xe0]),
        ),
        one("vlan-priority", 0, &segment(tagged(0))),
        one(
            "v6-extension-headers",
            0,
            &extended(&[(0, &skipped), (43, &skipped), (60, &skipped)]),
        ),
        one(
            "v6-atomic-fragment",
            0,
            &extended(&[(44, &[0, 0, 0, 0, 0, 0, 7])]),
        ),
        one(
            "wrong-tcp-checksum",
            0,
            &changed(segment(v4()), 50, &[0xab, 0xcd]),
        ),
    ]
}

/// Frames that the parser refuses, at least one for each reason.
fn refused() -> Vec<Seed> {
    let one = |name: &str, options: u8, frame: &[u8]| seed(name, &[&[options], SPLITS, frame]);
    let (four, six) = (segment(v4()), segment(v6()));
    let change = |at: usize, bytes: &[u8]| changed(four.clone(), at, bytes);
    let stacked = PacketBuilder::ethernet2(PEER, MAC)
        .double_vlan(VlanId::ZERO, VlanId::ZERO)
        .ipv4(THERE4, HERE4, 64);
    let nine: Vec<(u8, &[u8])> = vec![(60, &[0, 1, 4, 0, 0, 0, 0]); 9];
    let authentication = [
        4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    vec![
        one("other-host", 0, &change(0, &[2, 0, 0, 0, 0, 3])),
        one("broadcast", 0, &change(0, &[0xff; 6])),
        one("source-group", 0, &change(6, &[1])),
        one("vlan-missing", VLAN, &four),
        one("vlan-other", VLAN, &segment(tagged(6))),
        one("vlan-none", 0, &segment(tagged(666))),
        one("vlan-reserved", 0, &segment(tagged(4095))),
        one("stacked-tags", 0, &segment(stacked)),
        one(
            "service-tag",
            0,
            &changed(segment(tagged(5)), 12, &[0x88, 0xa8]),
        ),
        one(
            "service-tag-in-a-vlan",
            VLAN,
            &changed(segment(tagged(5)), 12, &[0x88, 0xa8]),
        ),
        one(
            "source-route",
            CORRECT,
            &changed(with_options(), 34, &[131, 7, 4]),
        ),
        one("other-address", CORRECT, &change(30, &[10, 77, 0, 9])),
        one("other-ether-type", 0, &change(12, &[0x88, 0xe5])),
        one("wrong-header-checksum", 0, &change(24, &[0, 1])),
        one("reserved-flag-not-in-the-checksum", 0, &change(20, &[0xc0])),
        one("bad-checksum", BAD, &four),
        one("martian", CORRECT, &change(26, &[127, 0, 0, 1])),
        one("network-broadcast", CORRECT, &change(26, &[10, 77, 0, 255])),
        one("own-source", CORRECT, &change(26, &HERE4)),
        one("fragment", CORRECT, &change(20, &[0x20, 0])),
        one("port-zero", CORRECT, &change(34, &[0, 0])),
        one("syn-fin", CORRECT, &change(47, &[3])),
        one("short-data-offset", CORRECT, &change(46, &[0x40])),
        one("long-data-offset", CORRECT, &change(46, &[0xf0])),
        one("cut-off", 0, &four[..40]),
        one("short-header-length", CORRECT, &change(14, &[0x44])),
        one("v6-other-address", CORRECT, &changed(six.clone(), 53, &[9])),
        one("v6-group", CORRECT, &changed(six.clone(), 38, &[0xff, 2])),
        one(
            "v6-mapped-source",
            CORRECT,
            &changed(six.clone(), 22, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]),
        ),
        one("v6-no-length", 0, &changed(six, 18, &[0, 0])),
        one("v6-routing", 0, &extended(&[(43, &[0, 2, 1, 0, 0, 0, 0])])),
        one(
            "v6-refused-option",
            0,
            &extended(&[(60, &[0, 0xc2, 4, 0, 0, 0, 0])]),
        ),
        one("v6-nine-extension-headers", 0, &extended(&nine)),
        one(
            "v6-late-hop-by-hop",
            0,
            &extended(&[nine[0], (0, nine[0].1)]),
        ),
        one("v6-fragment", 0, &extended(&[(44, &[0, 0, 1, 0, 0, 0, 7])])),
        one("v6-authentication", 0, &extended(&[(51, &authentication)])),
    ]
}

pub fn seeds() -> Vec<Seed> {
    let messages = messages().map(|(name, frame)| seed(name, &[&[0], SPLITS, &frame]));
    [accepted(), refused(), messages.to_vec()].concat()
}
