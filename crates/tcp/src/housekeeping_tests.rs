//! A station and the frames of its neighbours, as smoltcp writes them.

use std::net::{Ipv4Addr, Ipv6Addr};

use hioload_device::RxChecksum;
use hioload_mem::HugePages;
use hioload_mem::frames::{Frame as ArenaFrame, FrameArena, FrameArenaOptions, FramePool};
use proptest::prelude::*;
use smoltcp::wire::{Icmpv4Repr, Icmpv6Repr};

use super::*;
use crate::arp;
use crate::ether::{self, ethertype};
use crate::icmp::Unreachable;
use crate::icmp::tests::{frame_v4, frame_v6};
use crate::ndp;
use crate::parse::parse;
use crate::parse::tests::{MAC, PEER, segment};

const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 9];
const HERE4: [u8; 4] = [10, 77, 0, 2];
const THERE4: [u8; 4] = [10, 77, 0, 1];

fn v6(text: &str) -> [u8; 16] {
    text.parse::<Ipv6Addr>().expect("IPv6").octets()
}

fn ms(millis: u64) -> Time {
    Time::from_millis(millis)
}

struct Station {
    pool: FramePool,
    ours: Addresses,
    keeper: Housekeeping,
}

impl Station {
    fn with(vlan: Option<u16>, answers: bool) -> Self {
        let networks = ["10.77.0.2/24", "fd77::2/64"].map(|cidr| cidr.parse().expect("a CIDR"));
        let ours = Addresses::new(MAC, vlan, &networks);
        let settings = Settings {
            networks: &networks,
            gateway_v4: Some(Ipv4Addr::new(10, 77, 0, 254)),
            gateway_v6: None,
            answers,
            announces: true,
            icmp_rate: 100,
            neighbours: 16,
        };
        let keeper = Housekeeping::new(ours.clone(), &settings, ms(0));
        let options = FrameArenaOptions {
            chunks: 4,
            chunk_size: 2048,
            huge_pages: HugePages::Off,
            node: None,
        };
        let arena = FrameArena::new(&options).expect("an arena");
        Self {
            pool: arena.pool(4).expect("a pool"),
            ours,
            keeper,
        }
    }

    fn new() -> Self {
        Self::with(None, true)
    }

    fn frame(&self, bytes: &[u8]) -> ArenaFrame {
        let mut frame = self.pool.alloc().expect("a frame");
        frame.set_len(bytes.len());
        frame.bytes_mut().copy_from_slice(bytes);
        frame
    }

    /// What comes of a frame, and its bytes afterwards.
    fn receive(&mut self, bytes: &[u8], now: Time) -> (Handled, Vec<u8>) {
        let mut frame = self.frame(bytes);
        let parsed = parse(bytes, RxChecksum::Unknown, &self.ours);
        let handled = self.keeper.handle(&parsed, &mut frame, now);
        (handled, frame.bytes().to_vec())
    }

    fn reply(&mut self, bytes: &[u8], now: Time) -> Vec<u8> {
        let (handled, reply) = self.receive(bytes, now);
        assert_eq!(
            handled,
            Handled {
                outcome: Outcome::Reply,
                share: false
            }
        );
        reply
    }

    fn outcome(&mut self, bytes: &[u8], now: Time) -> Outcome {
        self.receive(bytes, now).0.outcome
    }

    /// The frames due at `now`.
    fn due(&mut self, now: Time) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while let Some(due) = self.keeper.poll(now) {
            if let Due::Send(notice) = due {
                let mut buf = [0; Housekeeping::MAX_NOTICE];
                let len = self.keeper.emit(notice, &mut buf).expect("a frame");
                frames.push(buf[..len].to_vec());
            }
        }
        frames
    }
}

fn arp_frame(to: [u8; 6], vlan: Option<u16>, packet: Arp) -> Vec<u8> {
    let mut frame = vec![0; 60];
    let at = ether::write_header(&mut frame, to, packet.sender_mac, vlan, ethertype::ARP);
    packet.emit(&mut frame[at.expect("room")..]).expect("room");
    frame
}

fn ndp_frame(to: [u8; 6], write: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut frame = vec![0; 14 + ndp::LEN];
    ether::write_header(&mut frame, to, PEER, None, ethertype::IPV6).expect("room");
    write(&mut frame[14..]);
    frame
}

fn solicitation(target: &str) -> Vec<u8> {
    let target = v6(target);
    ndp_frame(ndp::group_mac(ndp::solicited_node(target)), |buf| {
        ndp::emit_solicitation(buf, v6("fd77::1"), target, false, PEER).expect("room");
    })
}

/// A message of ICMP in a whole frame.
fn on_ethernet((mut frame, message): (Vec<u8>, Message), to: [u8; 6]) -> Vec<u8> {
    let kind = if message.v6 {
        ethertype::IPV6
    } else {
        ethertype::IPV4
    };
    ether::write_header(&mut frame, to, PEER, None, kind).expect("room");
    frame
}

#[test]
fn who_asks_for_our_addresses_is_answered() {
    for vlan in [None, Some(7)] {
        let mut station = Station::with(vlan, true);
        for (to, sender) in [
            (ether::BROADCAST, THERE4),
            (MAC, THERE4),
            (ether::BROADCAST, [0; 4]),
        ] {
            let request = Arp::request(PEER, sender, HERE4);
            let reply = station.reply(&arp_frame(to, vlan, request), ms(0));
            let at = if vlan.is_some() { 18 } else { 14 };
            assert_eq!(reply.len(), at + arp::LEN);
            assert_eq!((&reply[..6], &reply[6..12]), (&PEER[..], &MAC[..]));
            assert_eq!(Arp::parse(&reply[at..]), Some(request.reply(MAC)));
        }
        let other = arp_frame(
            ether::BROADCAST,
            vlan,
            Arp::request(PEER, THERE4, [10, 77, 0, 3]),
        );
        assert_eq!(station.outcome(&other, ms(0)), Outcome::Nothing);
        assert_eq!(station.keeper.counters().arp_out, 3);
    }
}

#[test]
fn who_asks_by_ndp_is_answered() {
    let mut station = Station::new();
    let reply = station.reply(&solicitation("fd77::2"), ms(0));
    assert_eq!((&reply[..6], &reply[6..12]), (&PEER[..], &MAC[..]));
    let said = Ndp::parse(&reply[14..], 40).expect("an advertisement");
    assert_eq!(said.kind, Kind::Advertisement { solicited: true });
    assert_eq!(
        (said.source, said.target, said.mac),
        (v6("fd77::2"), v6("fd77::2"), Some(MAC))
    );
    assert_eq!(reply[38..54], v6("fd77::1"));

    // A node that wants our address: everybody is told, and the frame has to grow for it.
    let mut probe = solicitation("fd77::2");
    probe.truncate(14 + 64);
    probe[14 + 5] = 24;
    probe[22..38].fill(0);
    crate::checksum::fill(&mut probe[14..], 40, crate::checksum::ICMPV6);
    let reply = station.reply(&probe, ms(0));
    assert_eq!(reply[..6], [0x33, 0x33, 0, 0, 0, 1]);
    let said = Ndp::parse(&reply[14..], 40).expect("an advertisement");
    assert_eq!(said.kind, Kind::Advertisement { solicited: false });
    assert_eq!(reply[38..54], ndp::ALL_NODES);

    // Not from this link; with a wrong checksum; for somebody else whose group is ours.
    let mut far = solicitation("fd77::2");
    far[21] = 254;
    assert_eq!(station.outcome(&far, ms(0)), Outcome::Nothing);
    let mut wrong = solicitation("fd77::2");
    wrong[85] ^= 1;
    assert_eq!(station.outcome(&wrong, ms(0)), Outcome::Nothing);
    assert_eq!(station.keeper.counters().bad_checksums, 1);
    assert_eq!(
        station.outcome(&solicitation("fd77::1:0:2"), ms(0)),
        Outcome::Nothing
    );
}

#[test]
fn pings_are_answered_within_the_rate() {
    let mut station = Station::new();
    let data = b"some data";
    let v4 = frame_v4(&Icmpv4Repr::EchoRequest {
        ident: 1,
        seq_no: 2,
        data,
    });
    let v6 = frame_v6(&Icmpv6Repr::EchoRequest {
        ident: 1,
        seq_no: 2,
        data,
    });
    for echo in [v4, v6] {
        let mut padded = on_ethernet(echo.clone(), MAC);
        let len = padded.len();
        padded.resize(len + 5, 0);
        let reply = station.reply(&padded, ms(0));
        assert_eq!(reply.len(), len);
        assert_eq!((&reply[..6], &reply[6..12]), (&PEER[..], &MAC[..]));
        let broadcast = on_ethernet(echo, [0xff; 6]);
        assert_eq!(station.outcome(&broadcast, ms(0)), Outcome::Nothing);
    }
    let echo = frame_v4(&Icmpv4Repr::EchoRequest {
        ident: 1,
        seq_no: 2,
        data,
    });
    let echo = on_ethernet(echo, MAC);
    let replies = (0..50).filter(|_| station.outcome(&echo, ms(0)) == Outcome::Reply);
    assert_eq!(replies.count(), 8);
    let counters = station.keeper.counters();
    assert_eq!((counters.icmp_out, counters.limited), (10, 42));
    assert_eq!(station.outcome(&echo, ms(1000)), Outcome::Reply);
}

#[test]
fn a_shared_address_is_the_kernels_to_answer_for() {
    let mut station = Station::with(None, false);
    let echo = frame_v4(&Icmpv4Repr::EchoRequest {
        ident: 1,
        seq_no: 2,
        data: b"",
    });
    for frame in [
        arp_frame(ether::BROADCAST, None, Arp::request(PEER, THERE4, HERE4)),
        solicitation("fd77::2"),
        on_ethernet(echo, MAC),
    ] {
        let (handled, after) = station.receive(&frame, ms(0));
        assert_eq!(handled.outcome, Outcome::Nothing);
        assert_eq!(after, frame);
    }
    assert_eq!(station.due(ms(0)), Vec::<Vec<u8>>::new());
}

#[test]
fn addresses_are_announced_at_start_and_defended() {
    let mut station = Station::new();
    for now in [ms(0), ms(2000)] {
        let frames = station.due(now);
        assert_eq!(frames.len(), 2);
        let announced = Arp::parse(&frames[0][14..]).expect("ARP");
        assert_eq!(announced, Arp::announcement(MAC, HERE4));
        assert_eq!(frames[0][..6], ether::BROADCAST);
        let announced = Ndp::parse(&frames[1][14..], 40).expect("NDP");
        assert_eq!(
            (announced.target, announced.mac),
            (v6("fd77::2"), Some(MAC))
        );
        assert_eq!(frames[1][..6], [0x33, 0x33, 0, 0, 0, 1]);
        assert_eq!(station.due(now).len(), 0);
    }
    assert_eq!(station.keeper.next_deadline(), None);

    // Our own frames come back, as they do on some switches.
    let echo = arp_frame(ether::BROADCAST, None, Arp::announcement(MAC, HERE4));
    assert_eq!(station.outcome(&echo, ms(3000)), Outcome::Nothing);
    assert_eq!(station.keeper.counters().conflicts, 0);

    let claim = arp_frame(ether::BROADCAST, None, Arp::announcement(OTHER, HERE4));
    for _ in 0..5 {
        assert_eq!(station.outcome(&claim, ms(3000)), Outcome::Nothing);
    }
    let claim = ndp_frame([0x33, 0x33, 0, 0, 0, 1], |buf| {
        ndp::emit_advertisement(buf, v6("fd77::2"), None, OTHER).expect("room");
    });
    assert_eq!(station.outcome(&claim, ms(3000)), Outcome::Nothing);
    assert_eq!(station.keeper.counters().conflicts, 6);
    assert_eq!(
        station.keeper.conflict(),
        Some((Ipv6Addr::from(v6("fd77::2")).into(), OTHER))
    );
    assert_eq!(station.due(ms(3000)).len(), 1, "defended once");
}

#[test]
fn a_neighbour_is_asked_for_and_learned() {
    let mut station = Station::new();
    station.due(ms(0));
    let (four, six): (IpAddr, IpAddr) = (THERE4.into(), v6("fd77::1").into());
    assert_eq!(station.keeper.way(four, ms(10)), Way::Pending(four));
    assert_eq!(station.keeper.way(six, ms(10)), Way::Pending(six));
    assert!(
        station
            .keeper
            .next_deadline()
            .is_some_and(|due| due <= ms(10))
    );
    let frames = station.due(ms(10));
    let asked = Arp::parse(&frames[0][14..]).expect("ARP");
    assert_eq!(asked, Arp::request(MAC, HERE4, THERE4));
    let asked = Ndp::parse(&frames[1][14..], 40).expect("NDP");
    assert_eq!(
        (asked.kind, asked.target),
        (Kind::Solicitation, v6("fd77::1"))
    );
    assert_eq!(frames[1][..6], [0x33, 0x33, 0xff, 0, 0, 1]);

    // To all: not an answer to us.
    let reply = Arp::request(MAC, HERE4, THERE4).reply(PEER);
    assert_eq!(
        station.outcome(&arp_frame([0xff; 6], None, reply), ms(11)),
        Outcome::Nothing
    );
    // From another VLAN than our own requests go to.
    assert_eq!(
        station.outcome(&arp_frame(MAC, Some(5), reply), ms(11)),
        Outcome::Nothing
    );
    let (handled, frame) = station.receive(&arp_frame(MAC, None, reply), ms(11));
    assert_eq!(
        handled,
        Handled {
            outcome: Outcome::Learned(four),
            share: true
        }
    );
    assert_eq!(
        station.keeper.way(four, ms(11)),
        Way::Known(Hop {
            mac: PEER,
            vlan: None
        })
    );

    // Another lcore that asked the same learns it from a copy; one that did not, does not.
    let mut second = Station::new();
    let parsed = parse(&frame, RxChecksum::Unknown, &second.ours);
    assert_eq!(
        second.keeper.overhear(&parsed, &frame, ms(11)),
        Outcome::Nothing
    );
    second.keeper.way(four, ms(11));
    second.due(ms(11));
    assert_eq!(
        second.keeper.overhear(&parsed, &frame, ms(12)),
        Outcome::Learned(four)
    );

    let reply = ndp_frame(MAC, |buf| {
        ndp::emit_advertisement(buf, v6("fd77::1"), Some(v6("fd77::2")), PEER).expect("room");
    });
    let (handled, _) = station.receive(&reply, ms(11));
    assert_eq!(
        handled,
        Handled {
            outcome: Outcome::Learned(six),
            share: true
        }
    );

    // Far away is through the router, and the router does not answer.
    let far: IpAddr = [8, 8, 8, 8].into();
    let router: IpAddr = [10, 77, 0, 254].into();
    assert_eq!(station.keeper.way(far, ms(20)), Way::Pending(router));
    for second in 0..3 {
        assert!(station.keeper.poll(ms(2020 + second * 1000)).is_some());
        station.due(ms(2020 + second * 1000));
    }
    assert_eq!(station.keeper.poll(ms(6000)), Some(Due::Lost(router)));
    assert_eq!(station.keeper.way(far, ms(6000)), Way::None);
    assert_eq!(
        station.keeper.way(v6("2001:db8::1").into(), ms(0)),
        Way::None
    );
    assert_eq!(station.keeper.way(HERE4.into(), ms(0)), Way::None);
}

#[test]
fn questions_for_neighbours_are_limited() {
    let mut station = Station::new();
    station.due(ms(0));
    let mut asked = 0;
    for n in 0..2000u32 {
        station
            .keeper
            .way([10, 77, 0, 3 + (n % 200) as u8].into(), ms(1));
        asked += station.due(ms(1)).len();
    }
    assert_eq!(asked, 100);
    let deadline = station.keeper.next_deadline().expect("more to ask");
    assert!(
        deadline > ms(1),
        "nothing to be done before the rate allows it"
    );
    assert_eq!(station.due(deadline).len(), 1);
}

#[test]
fn errors_name_the_flow_and_are_for_all_lcores() {
    let mut station = Station::new();
    // What a router quotes: a segment of ours, so of the other direction than the one received.
    let mut quoted = segment(false, None, &[0; 1400], 0)[14..42].to_vec();
    quoted[12..16].copy_from_slice(&HERE4);
    quoted[16..20].copy_from_slice(&THERE4);
    quoted[20..24].copy_from_slice(&[0x23, 0x29, 0x9c, 0x40]);
    let mut frame = vec![0; 34];
    frame[14..34].copy_from_slice(&quoted[..20]);
    frame[14 + 9] = 1;
    frame[26..30].copy_from_slice(&[192, 0, 2, 1]);
    frame[30..34].copy_from_slice(&HERE4);
    frame.extend([3, 4, 0, 0, 0, 0, 0x05, 0x00]);
    frame.extend(&quoted);
    let total = (frame.len() - 14) as u16;
    frame[16..18].copy_from_slice(&total.to_be_bytes());
    crate::checksum::fill_ipv4_header(&mut frame[14..34]);
    crate::checksum::fill(&mut frame[14..], 20, crate::checksum::ICMP);
    ether::write_header(&mut frame, MAC, PEER, None, ethertype::IPV4).expect("room");

    let ends = (
        "10.77.0.2:9001".parse().expect("an end"),
        "10.77.0.1:40000".parse().expect("an end"),
    );
    let tuple = Tuple::new(ends.0, ends.1).expect("one family");
    let (handled, after) = station.receive(&frame, ms(0));
    let expected = Outcome::PathMtu {
        tuple,
        mtu: 1280,
        seq: 0x1234_5678,
    };
    assert_eq!(
        handled,
        Handled {
            outcome: expected,
            share: true
        }
    );
    assert_eq!(after, frame);
    let parsed = parse(&frame, RxChecksum::Unknown, &station.ours);
    assert_eq!(station.keeper.overhear(&parsed, &frame, ms(0)), expected);

    let port = frame.len() - 28 - 8;
    frame[port..port + 8].copy_from_slice(&[3, 3, 0, 0, 0, 0, 0, 0]);
    crate::checksum::fill(&mut frame[14..], 20, crate::checksum::ICMP);
    let kind = Unreachable::Port;
    assert_eq!(
        station.outcome(&frame, ms(0)),
        Outcome::Unreachable {
            tuple,
            kind,
            seq: 0x1234_5678
        }
    );
    // Not about an address of ours.
    frame[port + 8 + 15] ^= 1;
    crate::checksum::fill(&mut frame[14..], 20, crate::checksum::ICMP);
    assert_eq!(station.outcome(&frame, ms(0)), Outcome::Nothing);
}

fn seeds() -> Vec<Vec<u8>> {
    let data = b"some data";
    vec![
        arp_frame(MAC, None, Arp::request(PEER, THERE4, HERE4)),
        arp_frame(MAC, None, Arp::request(MAC, HERE4, THERE4).reply(PEER)),
        solicitation("fd77::2"),
        ndp_frame(MAC, |buf| {
            ndp::emit_advertisement(buf, v6("fd77::1"), Some(v6("fd77::2")), PEER).expect("room");
        }),
        on_ethernet(
            frame_v4(&Icmpv4Repr::EchoRequest {
                ident: 1,
                seq_no: 2,
                data,
            }),
            MAC,
        ),
        on_ethernet(
            frame_v6(&Icmpv6Repr::EchoRequest {
                ident: 1,
                seq_no: 2,
                data,
            }),
            MAC,
        ),
        segment(false, None, data, 0),
        segment(true, Some(7), data, 0),
    ]
}

proptest! {
    #[test]
    fn any_frames_in_any_order_are_survived(
        frames in proptest::collection::vec(
            (0usize..8, proptest::collection::vec(any::<(prop::sample::Index, u8)>(), 0..4), any::<prop::sample::Index>(), any::<bool>(), any::<bool>()),
            0..30,
        ),
    ) {
        let seeds = seeds();
        let mut station = Station::new();
        for (n, (seed, flips, cut, cuts, vouched)) in frames.into_iter().enumerate() {
            let now = ms(n as u64 * 300);
            let mut bytes = seeds[seed].clone();
            for (place, value) in flips {
                let at = place.index(bytes.len());
                bytes[at] = value;
            }
            if cuts {
                bytes.truncate(cut.index(bytes.len() + 1));
            }
            let known = if vouched { RxChecksum::Good } else { RxChecksum::Unknown };
            let mut frame = station.frame(&bytes);
            let parsed = parse(&bytes, known, &station.ours);
            station.keeper.overhear(&parsed, &bytes, now);
            let handled = station.keeper.handle(&parsed, &mut frame, now);
            prop_assert!(handled.outcome != Outcome::Reply || frame.bytes()[6..12] == MAC);
            prop_assert!(handled.outcome == Outcome::Reply || frame.bytes() == bytes);
            station.keeper.way([10, 77, 0, n as u8].into(), now);
            station.keeper.way(v6("fd77::1").into(), now);
            for sent in station.due(now) {
                prop_assert!(sent.len() <= Housekeeping::MAX_NOTICE);
            }
        }
        prop_assert!(station.keeper.neighbours().len() <= 16);
    }
}
