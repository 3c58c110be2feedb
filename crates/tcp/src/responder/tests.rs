//! A host and the frames of its neighbours, as smoltcp writes them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hioload_device::RxChecksum;
use hioload_mem::frames::{Frame as ArenaFrame, FrameArena, FrameArenaOptions, FramePool};
use proptest::prelude::*;
use smoltcp::wire::{Icmpv4Repr, Icmpv6Repr};

use super::icmp::tests::{frame_v4, frame_v6};
use super::ndp::NdpKind;
use super::*;
use crate::ether::{self, ethertype};
use crate::parse::tests::{MAC, PEER, segment};
use crate::parse::{Message, parse};
use crate::tuple::Tuple;

#[path = "budget_tests.rs"]
mod budgets;

const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 9];
const HERE4: [u8; 4] = [10, 77, 0, 2];
const THERE4: [u8; 4] = [10, 77, 0, 1];
const ROUTER4: [u8; 4] = [10, 77, 0, 254];

fn v6(text: &str) -> [u8; 16] {
    text.parse::<Ipv6Addr>().expect("IPv6").octets()
}

fn ms(millis: u64) -> Time {
    Time::from_millis(millis)
}

struct Host {
    pool: FramePool,
    ours: Addresses,
    responder: Responder,
    /// Frames come from the next hop of an established flow.
    proven: bool,
}

impl Host {
    fn with(vlan: Option<u16>, answers: bool) -> Self {
        Self::behind(vlan, answers, None)
    }

    fn behind(vlan: Option<u16>, answers: bool, gateway_v4: Option<Ipv4Addr>) -> Self {
        let networks = ["10.77.0.2/24", "fd77::2/64"].map(|cidr| cidr.parse().expect("a CIDR"));
        let ours = Addresses::new(MAC, vlan, &networks);
        let settings = Settings {
            networks: &networks,
            gateway_v4,
            gateway_v6: None,
            answers,
            announces: true,
            icmp_rate: 100,
            key: &[1, 2],
            neighbours: 16,
        };
        let responder = Responder::new(ours.clone(), &settings, ms(0));
        let arena = FrameArena::new(&FrameArenaOptions::new(4, 2048)).expect("an arena");
        Self {
            pool: arena.pool(4).expect("a pool"),
            ours,
            responder,
            proven: false,
        }
    }

    fn new() -> Self {
        Self::with(None, true)
    }

    fn behind_router() -> Self {
        Self::behind(None, true, Some(ROUTER4.into()))
    }

    /// The number of requests that are answered.
    fn answered(&mut self, requests: impl IntoIterator<Item = Vec<u8>>, now: Time) -> usize {
        let answered = |frame: &Vec<u8>| self.action(frame, now) == Action::Reply;
        requests.into_iter().filter(answered).count()
    }

    fn frame(&self, bytes: &[u8]) -> ArenaFrame {
        let mut frame = self.pool.alloc().expect("a frame");
        frame.set_len(bytes.len());
        frame.bytes_mut().copy_from_slice(bytes);
        frame
    }

    /// The result of a frame, and its bytes afterwards.
    fn receive(&mut self, bytes: &[u8], now: Time) -> (Handled, Vec<u8>) {
        let mut frame = self.frame(bytes);
        let parsed = parse(bytes, RxChecksum::Unknown, &self.ours);
        let handled = self.responder.handle(&parsed, &mut frame, self.proven, now);
        (handled, frame.bytes().to_vec())
    }

    fn reply(&mut self, bytes: &[u8], now: Time) -> Vec<u8> {
        let (handled, reply) = self.receive(bytes, now);
        assert_eq!(
            handled,
            Handled {
                action: Action::Reply,
                share: false
            }
        );
        reply
    }

    fn action(&mut self, bytes: &[u8], now: Time) -> Action {
        self.receive(bytes, now).0.action
    }

    /// The frames due at `now`.
    fn due(&mut self, now: Time) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while let Some(due) = self.responder.poll(now) {
            if let Due::Send(notice) = due {
                let mut buf = [0; Responder::MAX_NOTICE];
                let len = self.responder.emit(notice, &mut buf).expect("a frame");
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

/// An ICMP message in a complete frame.
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
fn arp_requests_for_our_addresses_are_answered() {
    for vlan in [None, Some(7)] {
        let mut host = Host::with(vlan, true);
        for (to, sender) in [
            (ether::BROADCAST, THERE4),
            (MAC, THERE4),
            (ether::BROADCAST, [0; 4]),
        ] {
            let request = Arp::request(PEER, sender, HERE4);
            let reply = host.reply(&arp_frame(to, vlan, request), ms(0));
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
        assert_eq!(host.action(&other, ms(0)), Action::Nothing);
        assert_eq!(host.responder.counters().arp_out, 3);
    }
}

#[test]
fn solicitations_of_our_addresses_are_answered() {
    let mut host = Host::new();
    let reply = host.reply(&solicitation("fd77::2"), ms(0));
    assert_eq!((&reply[..6], &reply[6..12]), (&PEER[..], &MAC[..]));
    let said = Ndp::parse(&reply[14..], 40).expect("an advertisement");
    assert_eq!(said.kind, NdpKind::Advertisement { solicited: true });
    assert_eq!(
        (said.source, said.target, said.mac),
        (v6("fd77::2"), v6("fd77::2"), Some(MAC))
    );
    assert_eq!(reply[38..54], v6("fd77::1"));

    // A node probes our address: all nodes get the answer, which is longer than the probe.
    let mut probe = solicitation("fd77::2");
    probe.truncate(14 + 64);
    probe[14 + 5] = 24;
    probe[22..38].fill(0);
    crate::checksum::fill(&mut probe[14..], 40, crate::checksum::ICMPV6);
    let reply = host.reply(&probe, ms(0));
    assert_eq!(reply[..6], [0x33, 0x33, 0, 0, 0, 1]);
    let said = Ndp::parse(&reply[14..], 40).expect("an advertisement");
    assert_eq!(said.kind, NdpKind::Advertisement { solicited: false });
    assert_eq!(reply[38..54], ndp::ALL_NODES);

    // From another link; with a wrong checksum; of another address with the same group.
    let mut far = solicitation("fd77::2");
    far[21] = 254;
    assert_eq!(host.action(&far, ms(0)), Action::Nothing);
    let mut wrong = solicitation("fd77::2");
    wrong[85] ^= 1;
    assert_eq!(host.action(&wrong, ms(0)), Action::Nothing);
    assert_eq!(host.responder.counters().bad_checksums, 1);
    assert_eq!(
        host.action(&solicitation("fd77::1:0:2"), ms(0)),
        Action::Nothing
    );
}

#[test]
fn echo_requests_are_answered_within_the_rate() {
    let mut host = Host::new();
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
        let reply = host.reply(&padded, ms(0));
        assert_eq!(reply.len(), len);
        assert_eq!((&reply[..6], &reply[6..12]), (&PEER[..], &MAC[..]));
        let broadcast = on_ethernet(echo, [0xff; 6]);
        assert_eq!(host.action(&broadcast, ms(0)), Action::Nothing);
    }
    let echo = frame_v4(&Icmpv4Repr::EchoRequest {
        ident: 1,
        seq_no: 2,
        data,
    });
    let echo = on_ethernet(echo, MAC);
    // One source gets at most a quarter of the rate, and at least half of that.
    let replies = (0..50).filter(|_| host.action(&echo, ms(0)) == Action::Reply);
    let replies = replies.count() as u64;
    assert!((12..=24).contains(&replies), "{replies}");
    let counters = host.responder.counters();
    let limited = (counters.icmp_out, counters.limited);
    assert_eq!(limited, (replies + 2, 50 - replies));
    assert_eq!(counters.discovery_limited, 0);
    assert_eq!(host.action(&echo, ms(1000)), Action::Reply);
}

#[test]
fn requests_for_an_address_shared_with_the_kernel_get_no_answer() {
    let mut host = Host::with(None, false);
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
        let (handled, after) = host.receive(&frame, ms(0));
        assert_eq!(handled.action, Action::Nothing);
        assert_eq!(after, frame);
    }
    assert_eq!(host.due(ms(0)), Vec::<Vec<u8>>::new());
}

#[test]
fn addresses_are_announced_at_start_and_defended() {
    let mut host = Host::new();
    for now in [ms(0), ms(2000)] {
        let frames = host.due(now);
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
        assert_eq!(host.due(now).len(), 0);
    }
    assert_eq!(host.responder.next_deadline(), None);

    // Some switches send our own frames back to us.
    let echo = arp_frame(ether::BROADCAST, None, Arp::announcement(MAC, HERE4));
    assert_eq!(host.action(&echo, ms(3000)), Action::Nothing);
    assert_eq!(host.responder.counters().conflicts, 0);

    let claim = arp_frame(ether::BROADCAST, None, Arp::announcement(OTHER, HERE4));
    for _ in 0..5 {
        assert_eq!(host.action(&claim, ms(3000)), Action::Nothing);
    }
    let claim = ndp_frame([0x33, 0x33, 0, 0, 0, 1], |buf| {
        ndp::emit_advertisement(buf, v6("fd77::2"), None, OTHER).expect("room");
    });
    assert_eq!(host.action(&claim, ms(3000)), Action::Nothing);
    assert_eq!(host.responder.counters().conflicts, 6);
    assert_eq!(
        host.responder.conflict(),
        Some((Ipv6Addr::from(v6("fd77::2")).into(), OTHER))
    );
    assert_eq!(host.due(ms(3000)).len(), 2, "each address is defended once");
}

#[test]
fn a_neighbour_is_requested_and_learned() {
    let mut host = Host::new();
    host.due(ms(0));
    let (four, six): (IpAddr, IpAddr) = (THERE4.into(), v6("fd77::1").into());
    assert_eq!(
        host.responder.resolve(four, ms(10)),
        Resolution::Pending(four)
    );
    assert_eq!(
        host.responder.resolve(six, ms(10)),
        Resolution::Pending(six)
    );
    assert!(
        host.responder
            .next_deadline()
            .is_some_and(|due| due <= ms(10))
    );
    let frames = host.due(ms(10));
    let request = Arp::parse(&frames[0][14..]).expect("ARP");
    assert_eq!(request, Arp::request(MAC, HERE4, THERE4));
    let request = Ndp::parse(&frames[1][14..], 40).expect("NDP");
    assert_eq!(
        (request.kind, request.target),
        (NdpKind::Solicitation, v6("fd77::1"))
    );
    assert_eq!(frames[1][..6], [0x33, 0x33, 0xff, 0, 0, 1]);

    // A broadcast reply does not answer our request.
    let reply = Arp::request(MAC, HERE4, THERE4).reply(PEER);
    assert_eq!(
        host.action(&arp_frame([0xff; 6], None, reply), ms(11)),
        Action::Nothing
    );
    // From another VLAN than that of our requests.
    assert_eq!(
        host.action(&arp_frame(MAC, Some(5), reply), ms(11)),
        Action::Nothing
    );
    let (handled, frame) = host.receive(&arp_frame(MAC, None, reply), ms(11));
    assert_eq!(
        handled,
        Handled {
            action: Action::Learned(four),
            share: true
        }
    );
    assert_eq!(
        host.responder.resolve(four, ms(11)),
        Resolution::Known(NextHop {
            mac: PEER,
            vlan: None
        })
    );

    // A lcore learns from a copy only if it has requested the same address.
    let mut second = Host::new();
    let parsed = parse(&frame, RxChecksum::Unknown, &second.ours);
    assert_eq!(
        second.responder.handle_shared(&parsed, &frame, ms(11)),
        Action::Nothing
    );
    second.responder.resolve(four, ms(11));
    second.due(ms(11));
    assert_eq!(
        second.responder.handle_shared(&parsed, &frame, ms(12)),
        Action::Learned(four)
    );

    let reply = ndp_frame(MAC, |buf| {
        ndp::emit_advertisement(buf, v6("fd77::1"), Some(v6("fd77::2")), PEER).expect("room");
    });
    let (handled, _) = host.receive(&reply, ms(11));
    assert_eq!(
        handled,
        Handled {
            action: Action::Learned(six),
            share: true
        }
    );

    // The next hop to another network is the router, which does not answer.
    let far: IpAddr = [8, 8, 8, 8].into();
    let router: IpAddr = ROUTER4.into();
    assert_eq!(host.responder.resolve(far, ms(20)), Resolution::Unreachable);
    let mut host = Host::behind_router();
    assert_eq!(
        host.responder.resolve(far, ms(20)),
        Resolution::Pending(router)
    );
    let lost = (0..6).find(|second| {
        let now = ms(20 + second * 1000);
        let due: Vec<_> = std::iter::from_fn(|| host.responder.poll(now)).collect();
        due.contains(&Due::Lost(router))
    });
    assert_eq!(lost, Some(3), "three requests, a second apart");
    assert_eq!(
        host.responder.resolve(far, ms(3020)),
        Resolution::Unreachable
    );
    assert_eq!(
        host.responder.resolve(v6("2001:db8::1").into(), ms(0)),
        Resolution::Unreachable
    );
    assert_eq!(
        host.responder.resolve(HERE4.into(), ms(0)),
        Resolution::Unreachable
    );
}

#[test]
fn requests_for_neighbours_are_limited() {
    let mut host = Host::new();
    host.due(ms(0));
    let mut requested = 0;
    for n in 0..2000u32 {
        host.responder
            .resolve([10, 77, 0, 3 + (n % 200) as u8].into(), ms(1));
        requested += host.due(ms(1)).len();
    }
    assert_eq!(requested, 100);
    let deadline = host.responder.next_deadline().expect("more to ask");
    assert!(deadline > ms(1), "nothing is due before the rate allows it");
    assert_eq!(host.due(deadline).len(), 1);
}

#[test]
fn icmp_errors_name_the_flow_and_are_shared_with_all_lcores() {
    let mut host = Host::new();
    // A router quotes a segment that we have sent: the opposite direction of `segment`.
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
    let (handled, after) = host.receive(&frame, ms(0));
    let expected = Action::PathMtu {
        tuple,
        mtu: 1280,
        seq: 0x1234_5678,
    };
    assert_eq!(
        handled,
        Handled {
            action: expected,
            share: true
        }
    );
    assert_eq!(after, frame);
    let parsed = parse(&frame, RxChecksum::Unknown, &host.ours);
    assert_eq!(
        host.responder.handle_shared(&parsed, &frame, ms(0)),
        expected
    );

    let port = frame.len() - 28 - 8;
    frame[port..port + 8].copy_from_slice(&[3, 3, 0, 0, 0, 0, 0, 0]);
    crate::checksum::fill(&mut frame[14..], 20, crate::checksum::ICMP);
    let kind = Unreachable::Port;
    assert_eq!(
        host.action(&frame, ms(0)),
        Action::Unreachable {
            tuple,
            kind,
            seq: 0x1234_5678
        }
    );
    // The quoted segment has another source address.
    frame[port + 8 + 15] ^= 1;
    crate::checksum::fill(&mut frame[14..], 20, crate::checksum::ICMP);
    assert_eq!(host.action(&frame, ms(0)), Action::Nothing);
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
    fn any_frames_in_any_order_are_handled_without_a_panic(
        frames in proptest::collection::vec(
            (0usize..8, proptest::collection::vec(any::<(prop::sample::Index, u8)>(), 0..4), any::<prop::sample::Index>(), any::<bool>(), any::<bool>()),
            0..30,
        ),
    ) {
        let seeds = seeds();
        let mut host = Host::new();
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
            let mut frame = host.frame(&bytes);
            let parsed = parse(&bytes, known, &host.ours);
            host.responder.handle_shared(&parsed, &bytes, now);
            let handled = host.responder.handle(&parsed, &mut frame, vouched, now);
            prop_assert!(handled.action != Action::Reply || frame.bytes()[6..12] == MAC);
            prop_assert!(handled.action == Action::Reply || frame.bytes() == bytes);
            host.responder.resolve([10, 77, 0, n as u8].into(), now);
            host.responder.resolve(v6("fd77::1").into(), now);
            for sent in host.due(now) {
                prop_assert!(sent.len() <= Responder::MAX_NOTICE);
            }
        }
        prop_assert!(host.responder.neighbours().len() <= 16);
    }
}
