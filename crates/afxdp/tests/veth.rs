//! A queue over a veth pair, with a packet socket or the kernel's stack at the other end. Needs root.
#![cfg(target_os = "linux")]

mod common;

use common::packet::{
    ETHERTYPE_ARP, ETHERTYPE4, ETHERTYPE6, PEER_MAC, advertisement, arp_request, ethernet,
    icmp_checksum_is_good, ipv4, ipv6, pseudo_sum, solicitation, tcp, tcp_checksum_is_good, udp,
};
use common::{
    KERNEL4, KERNEL6, Net, PEER4, PEER6, PORT4, PORT6, open, options, receive, send, silent,
};
use hioload_afxdp::{Ownership, RxChecksum as ChecksumOption, XdpCounters, XdpMode};
use hioload_device::{Burst, Device, Frame, RxChecksum, TxChecksum};

const MODES: [XdpMode; 2] = [XdpMode::Native, XdpMode::Skb];

/// One packet of each type that the port receives, with the name of its counter.
fn for_port(mac: [u8; 6], vlan: Option<u16>) -> Vec<(Vec<u8>, &'static str)> {
    let v4 = |protocol, fragment, payload: &[u8]| {
        ethernet(
            mac,
            vlan,
            ETHERTYPE4,
            &ipv4(PEER4, PORT4, protocol, fragment, payload),
        )
    };
    let v6 =
        |next, payload: &[u8]| ethernet(mac, vlan, ETHERTYPE6, &ipv6(PEER6, PORT6, next, payload));
    // Hop-by-hop options, then destination options, then TCP.
    let mut extended = vec![60, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0];
    extended.extend(tcp(1, 2, b""));
    // Eight extension headers, as many as the stack steps over.
    let mut eight = [60, 0, 1, 4, 0, 0, 0, 0].repeat(7);
    eight.extend([6, 0, 1, 4, 0, 0, 0, 0]);
    eight.extend(tcp(1, 2, b""));
    // A fragment header with offset 0 and the flag for more fragments.
    let fragment6 = [6, 0, 0, 1, 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8];
    // The fragment header of an atomic fragment (RFC 6946).
    let mut atomic = vec![6, 0, 0, 0, 0, 0, 0, 9];
    atomic.extend(tcp(1, 2, b""));
    vec![
        (v4(6, 0x4000, &tcp(40000, 9001, b"hello")), "tcp"),
        (v4(1, 0, &[8, 0, 0, 0, 0, 1, 0, 1]), "icmp"),
        (v4(6, 0x2000, &tcp(40000, 9001, b"first")), "fragments"),
        (v4(6, 3, b"a later fragment"), "fragments"),
        (
            ethernet([0xff; 6], vlan, ETHERTYPE_ARP, &arp_request(PEER4, PORT4)),
            "arp",
        ),
        (v6(6, &tcp(40000, 9001, b"hello")), "tcp"),
        (v6(0, &extended), "tcp"),
        (v6(60, &eight), "tcp"),
        (v6(44, &fragment6), "fragments"),
        (v6(44, &atomic), "tcp"),
        (v6(58, &[128, 0, 0, 0, 0, 1, 0, 1]), "icmp"),
        (v6(58, &[136, 0, 0, 0, 0, 0, 0, 0]), "nd"),
        (
            ethernet(
                [0x33, 0x33, 0xff, 0, 0, 2],
                vlan,
                ETHERTYPE6,
                &solicitation(PEER6, PORT6),
            ),
            "nd",
        ),
        // Claims of another host on the port's addresses.
        (
            ethernet([0xff; 6], vlan, ETHERTYPE_ARP, &arp_request(PORT4, PEER4)),
            "arp",
        ),
        (
            ethernet(
                [0x33, 0x33, 0, 0, 0, 1],
                vlan,
                ETHERTYPE6,
                &advertisement(PEER6, PORT6),
            ),
            "nd",
        ),
    ]
}

/// Packets for the port that it does not receive, and that the kernel must not get, with the names of their counters.
fn dropped(mac: [u8; 6], vlan: Option<u16>) -> Vec<(Vec<u8>, &'static str)> {
    let nine = [60, 0, 1, 4, 0, 0, 0, 0].repeat(9);
    let syn = ipv4(PEER4, PORT4, 6, 0, &tcp(1, 2, b""));
    let tagged = ethernet(mac, Some(vlan.unwrap_or(0)), ETHERTYPE4, &syn);
    let stacked = [&tagged[..12], &[0x81, 0, 0, 0], &tagged[12..]].concat();
    let mut service = ethernet(mac, Some(0), ETHERTYPE4, &syn);
    service[12..14].copy_from_slice(&[0x88, 0xa8]);
    let v4 = |protocol, payload: &[u8]| {
        ethernet(
            mac,
            vlan,
            ETHERTYPE4,
            &ipv4(PEER4, PORT4, protocol, 0, payload),
        )
    };
    let v6 =
        |next, payload: &[u8]| ethernet(mac, vlan, ETHERTYPE6, &ipv6(PEER6, PORT6, next, payload));
    vec![
        (v4(17, &udp(1, 2, b"")), "other_protocol"),
        (v4(50, b"encrypted"), "other_protocol"),
        (v6(17, &udp(1, 2, b"")), "other_protocol"),
        (v6(59, b""), "other_protocol"),
        (v6(60, &nine), "malformed"),
        (stacked, "stacked_tags"),
        (service, "stacked_tags"),
    ]
}

/// Packets that the port does not receive, some of which differ from a received one in one field.
fn for_others(mac: [u8; 6], vlan: Option<u16>) -> Vec<Vec<u8>> {
    vec![
        ethernet(
            mac,
            vlan,
            ETHERTYPE4,
            &ipv4(PEER4, "10.77.0.3", 6, 0, &tcp(1, 2, b"")),
        ),
        ethernet([0xff; 6], vlan, ETHERTYPE_ARP, &arp_request(PEER4, KERNEL4)),
        ethernet(
            [0x33, 0x33, 0xff, 0, 0, 2],
            vlan,
            ETHERTYPE6,
            &solicitation(PEER6, "fd78::2"),
        ),
        ethernet(
            mac,
            vlan,
            ETHERTYPE6,
            &ipv6(PEER6, "fd77::3", 6, &tcp(1, 2, b"")),
        ),
        ethernet([0xff; 6], vlan, ETHERTYPE_ARP, &arp_request(PEER4, PEER4)),
        ethernet(
            [0x33, 0x33, 0, 0, 0, 1],
            vlan,
            ETHERTYPE6,
            &advertisement(PEER6, PEER6),
        ),
        ethernet(mac, vlan, 0x88cc, &[0; 50]),
    ]
}

fn malformed(mac: [u8; 6]) -> Vec<Vec<u8>> {
    let mut short = ipv4(PEER4, PORT4, 6, 0, &tcp(1, 2, b""));
    short[3] = 19; // a total length that is less than the header
    let mut header = ipv4(PEER4, PORT4, 6, 0, b"");
    header[0] = 0x4f; // a header length beyond the end of the packet
    vec![
        ethernet(mac, None, ETHERTYPE4, &short),
        ethernet(mac, None, ETHERTYPE4, &header),
        ethernet(mac, None, ETHERTYPE6, &ipv6(PEER6, PORT6, 6, b"")[..39]),
        ethernet(mac, None, ETHERTYPE6, &ipv6(PEER6, PORT6, 0, &[6])),
        ethernet(mac, None, ETHERTYPE_ARP, &arp_request(PEER4, PORT4)[..27]),
    ]
}

/// The IPv4 frame with a record-route option.
fn with_options(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[14] = 0x47;
    frame[17] += 8;
    frame.splice(34..34, [7, 7, 4, 0, 0, 0, 0, 1]);
    frame
}

fn count(counters: &XdpCounters, name: &str) -> u64 {
    match name {
        "tcp" => counters.tcp,
        "icmp" => counters.icmp,
        "fragments" => counters.fragments,
        "arp" => counters.arp,
        "nd" => counters.nd,
        "other_protocol" => counters.other_protocol,
        "stacked_tags" => counters.stacked_tags,
        "malformed" => counters.malformed,
        _ => panic!("{name}"),
    }
}

#[test]
fn a_port_receives_only_the_packets_for_its_addresses() {
    for mode in MODES {
        for (queues, vlan) in [(1, None), (2, None), (1, Some(7)), (2, Some(7))] {
            let Some(net) = Net::new(queues, 1500) else {
                return;
            };
            let mut asked = options();
            (asked.mode, asked.vlan) = (mode, vlan);
            let (port, mut open) = open(&asked);
            assert_eq!((port.mode(), open.len()), (mode, queues as usize));
            let (raw, mac) = (net.raw(), net.mac());
            let before = port.counters().expect("counters");
            let for_port = for_port(mac, vlan);
            for (frame, _) in &for_port {
                raw.send(frame);
            }
            let mut sent: Vec<_> = for_port.iter().map(|(frame, _)| frame.clone()).collect();
            let mut got = receive(&mut open, for_port.len());
            sent.sort();
            got.sort();
            assert_eq!(got, sent, "{mode} {queues} {vlan:?}");
            let counters = port.counters().expect("counters");
            for name in ["tcp", "icmp", "fragments", "arp", "nd"] {
                let wanted = for_port
                    .iter()
                    .filter(|(_, counter)| *counter == name)
                    .count();
                assert_eq!(count(&counters, name), wanted as u64, "{mode} {name}");
            }
            let others = for_others(mac, vlan);
            let mut strange = vec![for_port[0].0.clone()];
            // The same packet with another tag, and without a tag if the port has one.
            strange[0] = ethernet(
                mac,
                Some(8),
                ETHERTYPE4,
                &ipv4(PEER4, PORT4, 6, 0, &tcp(1, 2, b"")),
            );
            if vlan.is_some() {
                strange.push(ethernet(
                    mac,
                    None,
                    ETHERTYPE4,
                    &ipv4(PEER4, PORT4, 6, 0, &tcp(1, 2, b"")),
                ));
            }
            for frame in others.iter().chain(&strange) {
                raw.send(frame);
            }
            assert!(silent(&mut open), "{mode} {queues} {vlan:?}");
            let counters = port.counters().expect("counters");
            let passed = (counters.passed - before.passed) as usize;
            assert!(passed >= others.len() + strange.len(), "{counters:?}");
            assert_eq!(counters.no_socket, 0);
            let mut dropped = dropped(mac, vlan);
            if vlan.is_none() {
                dropped.extend(malformed(mac).into_iter().map(|frame| (frame, "malformed")));
            }
            dropped.iter().for_each(|(frame, _)| raw.send(frame));
            assert!(silent(&mut open));
            let counters = port.counters().expect("counters");
            for name in ["other_protocol", "stacked_tags", "malformed"] {
                let wanted = dropped.iter().filter(|(_, counter)| *counter == name);
                assert_eq!(count(&counters, name), wanted.count() as u64, "{name}");
            }
            // A priority tag is not the tag of a VLAN.
            let priority = ethernet(
                mac,
                Some(0),
                ETHERTYPE4,
                &ipv4(PEER4, PORT4, 6, 0, &tcp(1, 2, b"")),
            );
            raw.send(&priority);
            if vlan.is_none() {
                assert_eq!(receive(&mut open, 1), [priority]);
            } else {
                assert!(silent(&mut open));
            }
        }
    }
}

#[test]
fn a_port_with_shared_addresses_receives_only_listened_ports() {
    for mode in MODES {
        let Some(net) = Net::new(1, 1500) else { return };
        let mut asked = options();
        asked.mode = mode;
        asked.ownership = Ownership::Shared;
        asked.addresses = vec![
            KERNEL4.parse().expect("IPv4"),
            KERNEL6.parse().expect("IPv6"),
        ];
        asked.listen = vec![
            "0.0.0.0:9001".parse().expect("IPv4"),
            format!("[{KERNEL6}]:9002").parse().expect("IPv6"),
        ];
        let (port, mut queues) = open(&asked);
        let (raw, mac) = (net.raw(), net.mac());
        let v4 = |protocol, fragment, payload: &[u8]| {
            ethernet(
                mac,
                None,
                ETHERTYPE4,
                &ipv4(PEER4, KERNEL4, protocol, fragment, payload),
            )
        };
        let v6 = |next, payload: &[u8]| {
            ethernet(mac, None, ETHERTYPE6, &ipv6(PEER6, KERNEL6, next, payload))
        };
        let about4 = |port| {
            let mut error = vec![3, 4, 0, 0, 0, 0, 5, 0];
            error.extend(ipv4(KERNEL4, PEER4, 6, 0, &tcp(port, 40000, b"")));
            error
        };
        let about6 = |port| {
            let mut error = vec![2, 0, 0, 0, 0, 0, 5, 0];
            error.extend(ipv6(KERNEL6, PEER6, 6, &tcp(port, 40000, b"")));
            error
        };
        let for_port = [
            v4(6, 0, &tcp(40000, 9001, b"")),
            v6(6, &tcp(40000, 9002, b"")),
            v4(1, 0, &about4(9001)),
            v6(58, &about6(9002)),
            // IPv4 options, a bad data offset, and a chain of extension headers with segments left to route to.
            with_options(&v4(6, 0, &tcp(40000, 9001, b""))),
            v4(6, 0, &tcp(40000, 9001, b"")[..12]),
            v6(
                43,
                &[&[6, 0, 2, 1, 0, 0, 0, 0][..], &tcp(40000, 9002, b"")].concat(),
            ),
        ];
        // The kernel would answer these with a reset.
        let stacked = {
            let plain = v4(6, 0, &tcp(40000, 9001, b""));
            let tags = [0x81, 0, 0, 0, 0x81, 0, 0, 0];
            [&plain[..12], &tags, &plain[12..]].concat()
        };
        let dropped = [
            v4(6, 0x2000, &tcp(40000, 9001, b"")),
            v6(
                44,
                &[&[6, 0, 0, 1, 0, 0, 0, 9][..], &tcp(40000, 9002, b"")].concat(),
            ),
            v6(60, &[60, 0, 1, 4, 0, 0, 0, 0].repeat(9)),
            stacked,
        ];
        let others = [
            v4(6, 0, &tcp(40000, 22, b"")),
            v6(6, &tcp(40000, 9001, b"")),
            v4(1, 0, &about4(22)),
            v6(58, &about6(22)),
            v4(1, 0, &[8, 0, 0, 0, 0, 1, 0, 1]),
            v4(6, 0x2000, &tcp(40000, 22, b"")),
            v4(6, 3, b"a later fragment"),
            v4(17, 0, &udp(40000, 9001, b"")),
            ethernet([0xff; 6], None, ETHERTYPE_ARP, &arp_request(PEER4, KERNEL4)),
            ethernet(
                [0x33, 0x33, 0xff, 0, 0, 1],
                None,
                ETHERTYPE6,
                &solicitation(PEER6, KERNEL6),
            ),
        ];
        for_port.iter().for_each(|frame| raw.send(frame));
        assert_eq!(receive(&mut queues, for_port.len()), for_port, "{mode}");
        let before = port.counters().expect("counters").passed;
        others.iter().for_each(|frame| raw.send(frame));
        assert!(silent(&mut queues), "{mode}");
        let counters = port.counters().expect("counters");
        assert!(
            counters.passed >= before + others.len() as u64,
            "{counters:?}"
        );
        assert_eq!(
            (counters.tcp, counters.icmp, counters.arp + counters.nd),
            (5, 2, 0)
        );
        dropped.iter().for_each(|frame| raw.send(frame));
        assert!(silent(&mut queues), "{mode}");
        let counters = port.counters().expect("counters");
        assert_eq!(
            (
                counters.fragments,
                counters.malformed,
                counters.stacked_tags
            ),
            (2, 1, 1)
        );
    }
}

#[test]
fn frames_are_sent_unchanged() {
    for mode in MODES {
        let Some(net) = Net::new(2, 1500) else { return };
        let mut asked = options();
        asked.mode = mode;
        let (_port, mut queues) = open(&asked);
        let raw = net.raw();
        for (n, queue) in queues.iter_mut().enumerate() {
            let mut burst = Burst::new();
            let mut sent = Vec::new();
            while !burst.is_full() {
                // Lengths from a header alone to a full frame with a tag.
                let len = 14 + sent.len() * (1504 / 63);
                let bytes: Vec<u8> = (0..len).map(|i| (i * 7 + sent.len() + n) as u8).collect();
                let mut whole = ethernet(PEER_MAC, None, 0x88b5, &bytes[14..]);
                whole[5] = sent.len() as u8;
                let mut frame = queue.alloc().expect("a frame");
                // Some frames begin at the chunk's first byte, where there is no room for the kernel's metadata.
                frame.set_len(whole.len());
                if sent.len() % 3 == 0 {
                    let all = frame.headroom();
                    frame.grow_front(all);
                    frame.set_len(whole.len());
                }
                frame.bytes_mut().copy_from_slice(&whole);
                burst.push(frame);
                sent.push(whole);
            }
            assert_eq!(queue.tx_burst(&mut burst), 64);
            for wanted in &sent {
                let got = raw
                    .receive(|frame| frame[12..14] == [0x88, 0xb5])
                    .expect("a frame");
                assert_eq!(&got, wanted, "{mode}");
            }
            let stats = queue.stats();
            let bytes: usize = sent.iter().map(Vec::len).sum();
            assert_eq!((stats.tx_frames, stats.tx_bytes), (64, bytes as u64));
            assert_eq!((stats.tx_dropped, stats.tx_full), (0, 0));
            assert!(stats.kicks <= 3, "one system call for a burst: {stats:?}");
        }
    }
}

#[test]
fn frames_shorter_than_an_ethernet_header_are_dropped_and_counted() {
    let Some(_net) = Net::new(1, 1500) else {
        return;
    };
    let (_port, mut queues) = open(&options());
    send(&mut queues[0], &[]);
    send(&mut queues[0], &[1; 13]);
    let stats = queues[0].stats();
    assert_eq!((stats.tx_frames, stats.tx_dropped), (0, 2));
    let census = queues[0].census();
    assert_eq!((census.lent, census.sending), (0, 0));
}

#[test]
fn jumbo_frames_are_received_and_sent_whole() {
    for mode in MODES {
        for mtu in [3700, 9000] {
            let Some(net) = Net::new(1, mtu) else { return };
            let mut asked = options();
            asked.mode = mode;
            let (_port, mut queues) = open(&asked);
            assert_eq!(queues[0].capabilities().mtu, mtu);
            let (raw, mac) = (net.raw(), net.mac());
            let total = queues[0].census();
            let sizes = [1, 1000, 3000, 3500, mtu - 41, mtu - 40].map(|size| size.min(mtu - 40));
            // There are more rounds than frames, so that a leak of frames fails the test.
            for round in 0..total.total / sizes.len() + 2 {
                for &size in &sizes {
                    let data: Vec<u8> = (0..size).map(|i| (i / 3 + round) as u8).collect();
                    let frame = ethernet(
                        mac,
                        None,
                        ETHERTYPE4,
                        &ipv4(PEER4, PORT4, 6, 0, &tcp(1, 2, &data)),
                    );
                    raw.send(&frame);
                    let got = receive(&mut queues, 1);
                    assert!(
                        got == [frame.clone()],
                        "{mode} {mtu} {size}: {:?}",
                        queues[0].stats()
                    );
                    let mut back = frame;
                    back[..6].copy_from_slice(&PEER_MAC);
                    back[6..12].copy_from_slice(&mac);
                    send(&mut queues[0], &back);
                    let got = raw
                        .receive(|frame| frame[..12] == back[..12])
                        .expect("a frame");
                    assert!(got == back, "{mode} {mtu} {size}: {} bytes", got.len());
                }
            }
            let mut none = Burst::new();
            queues[0].tx_burst(&mut none);
            let census = queues[0].census();
            assert_eq!((census.lent, census.sending), (0, 0), "{census:?}");
            assert_eq!(queues[0].stats().rx_dropped, 0);
        }
    }
}

#[test]
fn packets_in_several_kernel_pages_are_received_whole() {
    for mode in MODES {
        for (mtu, data) in [(1500, 1400), (3400, 3300), (9000, 8900)] {
            let Some(net) = Net::new(2, mtu) else { return };
            let mut asked = options();
            asked.mode = mode;
            let (_port, mut queues) = open(&asked);
            let [a, b, c, d, e, f] = net.mac();
            let mac = format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
            let pings = net.at_peer(move || {
                common::ip(&format!("neigh replace {PORT4} lladdr {mac} dev vb"));
                // Nothing replies, so ping ends with an error.
                let arguments = format!("-M do -c 3 -i 0.01 -W 1 -s {data} -p a5 {PORT4}");
                let words = arguments.split_whitespace();
                std::process::Command::new("ping").args(words).output()
            });
            pings.expect("ping runs");
            let got = receive(&mut queues, 3);
            assert_eq!(got.len(), 3, "{mode} {mtu}");
            for frame in &got {
                assert_eq!(frame.len(), 14 + 20 + 8 + data);
                // The payload begins with the time that ping writes.
                assert!(frame[14 + 20 + 8 + 16..].iter().all(|&byte| byte == 0xa5));
                assert!(icmp_checksum_is_good(&frame[34..]));
            }
        }
    }
}

#[test]
fn the_kernel_fills_in_checksums() {
    for mode in MODES {
        let Some(net) = Net::new(1, 1500) else { return };
        let mut asked = options();
        asked.mode = mode;
        let (_port, mut queues) = open(&asked);
        assert!(queues[0].capabilities().tx_checksum, "this kernel can");
        let raw = net.raw();
        for (v6, from, to) in [(false, PORT4, PEER4), (true, PORT6, PEER6)] {
            let data = b"an odd number of bytes.";
            let mut segment = tcp(9001, 40000, data);
            let start = pseudo_sum(from, to, 6, segment.len());
            segment[16..18].copy_from_slice(&start.to_be_bytes());
            let (at, packet) = if v6 {
                (
                    54,
                    ethernet(PEER_MAC, None, ETHERTYPE6, &ipv6(from, to, 6, &segment)),
                )
            } else {
                (
                    34,
                    ethernet(PEER_MAC, None, ETHERTYPE4, &ipv4(from, to, 6, 0, &segment)),
                )
            };
            let mut frame = queues[0].alloc().expect("a frame");
            frame.set_len(packet.len());
            frame.bytes_mut().copy_from_slice(&packet);
            frame.set_tx_checksum(TxChecksum::Fill {
                start: at,
                offset: 16,
            });
            let mut burst = Burst::new();
            burst.push(frame);
            assert_eq!(queues[0].tx_burst(&mut burst), 1);
            let at = usize::from(at);
            let got = raw
                .receive(|frame| {
                    frame.len() == packet.len() && frame[at..at + 2] == packet[at..at + 2]
                })
                .expect("a frame");
            assert!(tcp_checksum_is_good(&got, from, to), "{mode} {v6}");
            let rest = [&got[..at + 16], &got[at + 18..]].concat();
            assert_eq!(rest, [&packet[..at + 16], &packet[at + 18..]].concat());
        }
        assert_eq!(queues[0].stats().tx_dropped, 0);
        let mut asked = asked.clone();
        asked.tx_checksum = false;
        drop((queues, _port));
        let (_port, queues) = open(&asked);
        assert!(!queues[0].capabilities().tx_checksum);
    }
}

#[test]
fn received_checksums_are_marked_good_on_a_veth_or_when_trusted() {
    for (asked_for, wanted) in [
        (ChecksumOption::Auto, RxChecksum::Good),
        (ChecksumOption::Trust, RxChecksum::Good),
        (ChecksumOption::Verify, RxChecksum::Unknown),
    ] {
        let Some(net) = Net::new(1, 1500) else { return };
        let mut asked = options();
        asked.rx_checksum = asked_for;
        let (_port, mut queues) = open(&asked);
        net.raw().send(&for_port(net.mac(), None)[0].0);
        let mut burst = Burst::new();
        common::eventually("a frame", || queues[0].rx_burst(&mut burst) > 0);
        assert_eq!(burst[0].rx_checksum(), wanted);
        assert_eq!(
            queues[0].capabilities().rx_checksum,
            wanted == RxChecksum::Good
        );
    }
}

#[test]
fn the_census_accounts_for_every_frame() {
    let Some(net) = Net::new(1, 1500) else { return };
    let mut asked = options();
    asked.frames = Some(512);
    let (_port, mut queues) = open(&asked);
    let queue = &mut queues[0];
    let sum = |c: hioload_afxdp::Census| c.free + c.receiving + c.sending + c.lent;
    let census = queue.census();
    assert_eq!((census.total, census.receiving, census.lent), (512, 256, 0));
    // All frames that are not for receiving can be allocated, and no more.
    let mut held: Vec<_> = std::iter::from_fn(|| queue.alloc()).collect();
    assert_eq!(
        (held.len(), queue.census().lent, sum(queue.census())),
        (256, 256, 512)
    );
    // The queue receives until the kernel has no frame left; the packets lost after that are counted.
    let (raw, frame) = (net.raw(), for_port(net.mac(), None)[0].0.clone());
    let mut burst = Burst::new();
    let mut kept = Vec::new();
    for _ in 0..300 {
        raw.send(&frame);
        queue.rx_burst(&mut burst);
        kept.extend(burst.drain(..));
    }
    common::eventually("the rest", || {
        queue.rx_burst(&mut burst);
        kept.extend(burst.drain(..));
        kept.len() == 256
    });
    assert_eq!((queue.census().receiving, queue.census().lent), (0, 512));
    assert_eq!(queue.stats().rx_dropped, 44);
    held.clear();
    kept.clear();
    queue.rx_burst(&mut burst);
    assert_eq!((queue.census().receiving, sum(queue.census())), (256, 512));
    raw.send(&frame);
    assert_eq!(receive(std::slice::from_mut(queue), 1), [frame]);
}
