//! Seeds of the target `redirect`: the rows of the table in docs/af_xdp.md, and their neighbours.

use super::super::redirect::{ADDRESSED, NO_SOCKET, PORT, SHARED, VLAN};
use super::parse::{
    HERE4, HERE6, MAC, PEER, THERE4, THERE6, changed, extended, segment, tagged, v4, v6,
    with_options,
};
use super::{SPLITS, Seed, seed};

const GROUP: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];

/// An IPv4 packet to the port.
fn packet4(protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let total = (20 + payload.len()) as u16;
    let [high, low] = total.to_be_bytes();
    let [f0, f1] = fragment.to_be_bytes();
    let head = [0x45, 0, high, low, 0, 0, f0, f1, 64, protocol, 0, 0];
    [&MAC, &PEER, &[8, 0][..], &head, &THERE4, &HERE4, payload].concat()
}

/// An IPv6 packet to `to`.
fn packet6(to: [u8; 16], next: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = (payload.len() as u16).to_be_bytes();
    let head = [0x60, 0, 0, 0, high, low, next, 255];
    let link = [&MAC[..], &PEER, &[0x86, 0xdd]].concat();
    [&link, &head[..], &THERE6, &to, payload].concat()
}

/// The ports of a segment for a port, and the rest of a fragment.
fn ports(to: u16) -> Vec<u8> {
    let [high, low] = to.to_be_bytes();
    vec![0x9c, 0x40, high, low, 0, 0, 0, 1]
}

/// An ICMP error of this type about a segment from this port.
fn error4(kind: u8, from: u16) -> Vec<u8> {
    let mut quoted = packet4(6, 0x4000, &ports(0))[14..].to_vec();
    quoted[12..16].copy_from_slice(&HERE4);
    quoted[16..20].copy_from_slice(&THERE4);
    quoted[20..22].copy_from_slice(&from.to_be_bytes());
    packet4(1, 0, &[&[kind, 4, 0, 0, 0, 0, 5, 0][..], &quoted].concat())
}

fn error6(kind: u8, from: u16) -> Vec<u8> {
    let mut quoted = packet6(THERE6, 6, &ports(0))[14..].to_vec();
    quoted[8..24].copy_from_slice(&HERE6);
    quoted[40..42].copy_from_slice(&from.to_be_bytes());
    packet6(
        HERE6,
        58,
        &[&[kind, 0, 0, 0, 0, 0, 5, 0][..], &quoted].concat(),
    )
}

fn arp(sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let link = [&[0xff; 6][..], &PEER, &[8, 6]].concat();
    let head = [0, 1, 8, 0, 6, 4, 0, 1];
    [&link, &head[..], &PEER, &sender, &[0; 6], &target].concat()
}

/// A message of neighbour discovery about `target`, to `to`.
fn discovery(kind: u8, to: [u8; 16], target: [u8; 16]) -> Vec<u8> {
    let frame = packet6(
        to,
        58,
        &[&[kind, 0, 0, 0, 0, 0, 0, 0][..], &target].concat(),
    );
    let group = to[0] == 0xff;
    if group {
        changed(frame, 0, &GROUP)
    } else {
        frame
    }
}

/// The frame behind these tags: EtherType and number.
fn behind(tags: &[(u16, u16)], mut frame: Vec<u8>) -> Vec<u8> {
    for (kind, id) in tags.iter().rev() {
        let ([a, b], [c, d]) = (kind.to_be_bytes(), id.to_be_bytes());
        frame.splice(12..12, [a, b, c, d]);
    }
    frame
}

/// Frames that are decided by the link.
fn link() -> Vec<(&'static str, u8, Vec<u8>)> {
    let four = || segment(v4());
    let priority = (0x8100, 0xe000);
    vec![
        ("untagged", 0, four()),
        ("untagged-in-a-vlan", VLAN, four()),
        ("own-vlan", VLAN, segment(tagged(5))),
        ("other-vlan", VLAN, segment(tagged(6))),
        ("vlan-666", 0, segment(tagged(666))),
        ("priority", 0, behind(&[priority], four())),
        ("priority-in-a-vlan", VLAN, behind(&[priority], four())),
        ("priority-twice", 0, behind(&[priority, priority], four())),
        (
            "priority-and-own-vlan",
            VLAN,
            behind(&[priority, (0x8100, 5)], four()),
        ),
        (
            "own-vlan-and-priority",
            VLAN,
            behind(&[(0x8100, 5), priority], four()),
        ),
        (
            "other-vlans",
            0,
            behind(&[(0x8100, 7), (0x8100, 8)], four()),
        ),
        ("service-tag", 0, behind(&[(0x88a8, 5)], four())),
        ("service-priority", 0, behind(&[(0x88a8, 0)], four())),
        (
            "old-stacked-tag",
            0,
            behind(&[priority, (0x9100, 5)], four()),
        ),
        ("cut-tag", 0, behind(&[priority], four())[..16].to_vec()),
        ("no-socket", NO_SOCKET, four()),
        ("lldp", 0, changed(four(), 12, &[0x88, 0xcc])),
        ("cut-ethernet", 0, four()[..13].to_vec()),
    ]
}

/// IPv4 packets.
fn four() -> Vec<(&'static str, u8, Vec<u8>)> {
    let syn = |to| packet4(6, 0x4000, &ports(to));
    vec![
        ("v4-listened", 0, syn(PORT)),
        ("v4-other-port", 0, syn(22)),
        ("v4-other-address", 0, changed(syn(PORT), 33, &[77])),
        ("v4-options", ADDRESSED, with_options()),
        ("v4-no-ports", 0, packet4(6, 0, &[0x9c])),
        ("v4-ports-in-padding", 0, changed(syn(PORT), 16, &[0, 22])),
        ("v4-first-fragment", 0, packet4(6, 0x2000, &ports(PORT))),
        (
            "v4-first-fragment-of-others",
            0,
            packet4(6, 0x2000, &ports(22)),
        ),
        (
            "v4-first-fragment-without-ports",
            0,
            packet4(6, 0x2000, &[1]),
        ),
        ("v4-later-fragment", 0, packet4(6, 3, b"the rest")),
        ("v4-udp", 0, packet4(17, 0, &ports(PORT))),
        ("v4-udp-fragment", 0, packet4(17, 0x2000, &ports(PORT))),
        ("v4-esp", 0, packet4(50, 0, b"secret")),
        ("v4-version", 0, changed(syn(PORT), 14, &[0x65])),
        ("v4-header-length", 0, changed(syn(PORT), 14, &[0x44])),
        ("v4-long-header", 0, changed(syn(PORT), 14, &[0x4f])),
        ("v4-total-length", 0, changed(syn(PORT), 16, &[0, 19])),
        ("v4-cut", 0, syn(PORT)[..30].to_vec()),
        ("v4-echo", 0, packet4(1, 0, &[8, 0, 0, 0, 0, 1, 0, 1])),
        ("v4-error", 0, error4(3, PORT)),
        ("v4-time-exceeded", 0, error4(11, PORT)),
        ("v4-error-of-others", 0, error4(3, 22)),
        ("v4-redirect-message", 0, error4(5, PORT)),
        ("v4-cut-error", 0, changed(error4(3, PORT), 16, &[0, 50])),
        ("v4-short-icmp", 0, packet4(1, 0, &[3])),
        ("arp", 0, arp(THERE4, HERE4)),
        ("arp-of-others", 0, arp(THERE4, [10, 77, 0, 50])),
        ("arp-claim", 0, arp(HERE4, [10, 77, 0, 50])),
        ("arp-cut", 0, arp(THERE4, HERE4)[..41].to_vec()),
        ("arp-other-format", 0, changed(arp(THERE4, HERE4), 15, &[6])),
    ]
}

/// IPv6 packets.
fn six() -> Vec<(&'static str, u8, Vec<u8>)> {
    let skipped = [0, 1, 4, 0, 0, 0, 0];
    let syn = |to| packet6(HERE6, 6, &ports(to));
    let chain = |n: usize| vec![(60, &skipped[..]); n];
    let fragment = |word: u8| [(44, [0, 0, word, 0, 0, 0, 7])];
    let behind = |header: [(u8, [u8; 7]); 1]| extended(&[(header[0].0, &header[0].1[..])]);
    let mut solicited = [0; 16];
    solicited[..2].copy_from_slice(&[0xff, 2]);
    solicited[11..].copy_from_slice(&[1, 0xff, 0, 0, 1]);
    let mut all_nodes = [0; 16];
    (all_nodes[0], all_nodes[1], all_nodes[15]) = (0xff, 2, 1);
    // The chain of a first fragment goes on in the second.
    let mut open = packet6(
        HERE6,
        44,
        &[60, 0, 0, 1, 0, 0, 0, 7, 6, 9, 1, 4, 0, 0, 0, 0],
    );
    open.extend([0; 8]);
    vec![
        ("v6-listened", 0, segment(v6())),
        ("v6-other-port", 0, syn(22)),
        ("v6-other-address", 0, changed(syn(PORT), 53, &[9])),
        (
            "v6-extensions",
            0,
            extended(&[(0, &skipped), (43, &skipped), (60, &skipped)]),
        ),
        ("v6-eight-extensions", 0, extended(&chain(8))),
        ("v6-nine-extensions", 0, extended(&chain(9))),
        (
            "v6-routing-with-segments-left",
            0,
            extended(&[(43, &[0, 2, 1, 0, 0, 0, 0])]),
        ),
        ("v6-atomic-fragment", 0, behind(fragment(0))),
        ("v6-first-fragment", 0, behind(fragment(1))),
        ("v6-later-fragment", 0, behind(fragment(8))),
        ("v6-first-fragment-with-an-open-chain", 0, open),
        ("v6-no-next-header", 0, packet6(HERE6, 59, b"")),
        ("v6-udp", 0, packet6(HERE6, 17, &ports(PORT))),
        ("v6-authentication", 0, packet6(HERE6, 51, &ports(PORT))),
        ("v6-version", 0, changed(syn(PORT), 14, &[0x45])),
        ("v6-no-length", 0, changed(syn(PORT), 18, &[0, 0])),
        ("v6-cut", 0, syn(PORT)[..53].to_vec()),
        (
            "v6-cut-extension",
            0,
            changed(packet6(HERE6, 60, &[6, 9]), 18, &[0, 80]),
        ),
        (
            "v6-echo",
            0,
            packet6(HERE6, 58, &[128, 0, 0, 0, 0, 1, 0, 1]),
        ),
        ("v6-error", 0, error6(2, PORT)),
        ("v6-error-of-others", 0, error6(2, 22)),
        ("v6-cut-icmp", 0, packet6(HERE6, 58, &[128])),
        ("solicitation", 0, discovery(135, solicited, HERE6)),
        (
            "solicitation-of-others",
            0,
            discovery(135, solicited, THERE6),
        ),
        ("solicitation-to-us", 0, discovery(135, HERE6, HERE6)),
        ("advertisement-to-us", 0, discovery(136, HERE6, THERE6)),
        ("claim", 0, discovery(136, all_nodes, HERE6)),
        ("advertisement-to-all", 0, discovery(136, all_nodes, THERE6)),
        ("router-advertisement", 0, discovery(134, all_nodes, HERE6)),
        ("group-tcp", 0, packet6(all_nodes, 6, &ports(PORT))),
    ]
}

/// Each frame in both modes.
pub fn seeds() -> Vec<Seed> {
    let all = [link(), four(), six()].concat();
    let both = all.into_iter().flat_map(|(name, options, frame)| {
        [("own", 0), ("shared", SHARED)].map(|(mode, shared)| {
            let options = [options | shared];
            seed(&format!("{mode}-{name}"), &[&options, SPLITS, &frame])
        })
    });
    both.collect()
}
