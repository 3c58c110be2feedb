use proptest::collection::vec;
use proptest::prelude::*;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv4DstUnreachable, Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpProtocol,
    Ipv4Address, Ipv4Packet, Ipv4Repr, Ipv6Address, Ipv6Packet, Ipv6Repr,
};

use super::*;
use crate::parse::L2;

const HERE4: Ipv4Address = Ipv4Address::new(10, 77, 0, 2);
const THERE4: Ipv4Address = Ipv4Address::new(10, 77, 0, 1);
const HERE6: Ipv6Address = Ipv6Address::new(0xfd77, 0, 0, 0, 0, 0, 0, 2);
const THERE6: Ipv6Address = Ipv6Address::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);

fn message(v6: bool, at: usize, end: usize) -> Message {
    Message {
        l2: L2 {
            source: [2; 6],
            destination: [4; 6],
            vlan: None,
        },
        v6,
        ip_at: 14,
        at: at as u16,
        end: end as u16,
        verified: false,
    }
}

/// A frame with this ICMP message, as smoltcp writes it.
pub(crate) fn frame_v4(icmp: &Icmpv4Repr<'_>) -> (Vec<u8>, Message) {
    let caps = ChecksumCapabilities::default();
    let ip = Ipv4Repr {
        src_addr: THERE4,
        dst_addr: HERE4,
        next_header: IpProtocol::Icmp,
        payload_len: icmp.buffer_len(),
        hop_limit: 17,
    };
    let mut frame = vec![0; 34 + icmp.buffer_len()];
    ip.emit(&mut Ipv4Packet::new_unchecked(&mut frame[14..]), &caps);
    icmp.emit(&mut Icmpv4Packet::new_unchecked(&mut frame[34..]), &caps);
    let message = message(false, 34, frame.len());
    (frame, message)
}

pub(crate) fn frame_v6(icmp: &Icmpv6Repr<'_>) -> (Vec<u8>, Message) {
    let ip = Ipv6Repr {
        src_addr: THERE6,
        dst_addr: HERE6,
        next_header: IpProtocol::Icmpv6,
        payload_len: icmp.buffer_len(),
        hop_limit: 17,
    };
    let mut frame = vec![0; 54 + icmp.buffer_len()];
    ip.emit(&mut Ipv6Packet::new_unchecked(&mut frame[14..]));
    let caps = ChecksumCapabilities::default();
    let mut packet = Icmpv6Packet::new_unchecked(&mut frame[54..]);
    icmp.emit(&THERE6, &HERE6, &mut packet, &caps);
    let message = message(true, 54, frame.len());
    (frame, message)
}

proptest! {
    #[test]
    fn echo_replies_have_the_data_of_the_request(ident: u16, seq_no: u16, data in vec(any::<u8>(), 0..1400)) {
        let caps = ChecksumCapabilities::default();
        let (mut frame, message) = frame_v4(&Icmpv4Repr::EchoRequest { ident, seq_no, data: &data });
        prop_assert!(is_echo_request(&frame, &message) && is_good(&frame, &message));
        prop_assert!(echo_reply(&mut frame, &message).is_some());
        let packet = Ipv4Packet::new_checked(&frame[14..]).expect("a packet");
        let header = Ipv4Repr::parse(&packet, &caps).expect("a header");
        prop_assert_eq!((header.src_addr, header.dst_addr, header.hop_limit), (HERE4, THERE4, 64));
        let reply = Icmpv4Packet::new_checked(packet.payload()).expect("a message");
        let reply = Icmpv4Repr::parse(&reply, &caps).expect("a message");
        prop_assert_eq!(reply, Icmpv4Repr::EchoReply { ident, seq_no, data: &data });
        prop_assert!(!is_echo_request(&frame, &message), "a reply is not answered");

        let (mut frame, message) = frame_v6(&Icmpv6Repr::EchoRequest { ident, seq_no, data: &data });
        prop_assert!(is_echo_request(&frame, &message) && is_good(&frame, &message));
        prop_assert!(echo_reply(&mut frame, &message).is_some());
        let packet = Ipv6Packet::new_checked(&frame[14..]).expect("a packet");
        let header = Ipv6Repr::parse(&packet).expect("a header");
        prop_assert_eq!((header.src_addr, header.dst_addr, header.hop_limit), (HERE6, THERE6, 64));
        let reply = Icmpv6Packet::new_checked(packet.payload()).expect("a message");
        let reply = Icmpv6Repr::parse(&HERE6, &THERE6, &reply, &caps).expect("a message");
        prop_assert_eq!(reply, Icmpv6Repr::EchoReply { ident, seq_no, data: &data });
    }

    #[test]
    fn noise_never_panics(
        frame in vec(any::<u8>(), 0..200), at in 14u16..150, end in 0u16..250, v6: bool, kind in 0usize..6,
    ) {
        let message = Message { at, end, ..message(v6, 14, 14) };
        let mut frame = frame;
        if let Some(byte) = frame.get_mut(usize::from(at)) {
            *byte = [1, 2, 3, 4, 8, 128][kind];
        }
        is_good(&frame, &message);
        is_echo_request(&frame, &message);
        error(&frame, &message, |_| true);
        echo_reply(&mut frame, &message);
    }
}

#[test]
fn ipv4_options_of_an_echo_request_become_padding() {
    let (mut frame, _) = frame_v4(&Icmpv4Repr::EchoRequest {
        ident: 1,
        seq_no: 2,
        data: b"data",
    });
    frame[14] = 0x47;
    frame[17] += 8;
    frame.splice(34..34, [7, 7, 4, 0, 0, 0, 0, 0]);
    let message = message(false, 42, frame.len());
    assert!(is_good(&frame, &message));
    echo_reply(&mut frame, &message).expect("an answer");
    assert_eq!(frame[34..42], [1; 8]);
    assert!(checksum::ipv4_header_is_good(&frame[14..42]));
    assert!(is_good(&frame, &message));
}

#[test]
fn an_echo_request_behind_extension_headers_gets_no_reply() {
    let (mut frame, _) = frame_v6(&Icmpv6Repr::EchoRequest {
        ident: 1,
        seq_no: 2,
        data: b"data",
    });
    frame.splice(54..54, [58, 0, 1, 4, 0, 0, 0, 0]);
    assert!(!is_echo_request(&frame, &message(true, 62, frame.len())));
}

/// The first bytes of a segment of ours whose IP packet has `len` bytes.
fn quoted(v6: bool, len: u16) -> Vec<u8> {
    let mut packet = if v6 {
        let mut header = vec![0x60, 0, 0, 0, 0, 0, 6, 64];
        header[4..6].copy_from_slice(&(len - 40).to_be_bytes());
        header.extend(HERE6.octets());
        header.extend(THERE6.octets());
        header
    } else {
        let mut header = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0];
        header[2..4].copy_from_slice(&len.to_be_bytes());
        header.extend(HERE4.octets());
        header.extend(THERE4.octets());
        header
    };
    packet.extend(9001u16.to_be_bytes());
    packet.extend(40_000u16.to_be_bytes());
    packet.extend(0x1234_5678u32.to_be_bytes());
    packet
}

fn read(v6: bool, kind: u8, code: u8, number: u32, quoted: &[u8]) -> Option<IcmpError> {
    let at = if v6 { 54 } else { 34 };
    let mut frame = vec![0; at];
    frame.extend([kind, code, 0, 0]);
    frame.extend(number.to_be_bytes());
    frame.extend(quoted);
    error(&frame, &message(v6, at, frame.len()), |tuple| {
        tuple.local().port() == 9001
    })
}

#[test]
fn path_mtus_are_accepted_within_the_bounds() {
    for v6 in [false, true] {
        let ask = |mtu: u32, len: u16| {
            let (kind, code) = if v6 { (2, 0) } else { (3, 4) };
            let error = read(v6, kind, code, mtu, &quoted(v6, len))?;
            assert_eq!(error.seq, 0x1234_5678);
            assert_eq!(error.tuple.is_v4(), !v6);
            assert_eq!(error.tuple.local().port(), 9001);
            assert_eq!(error.tuple.remote().port(), 40_000);
            Some(error.problem)
        };
        assert_eq!(ask(1400, 1500), Some(Problem::PathMtu(1400)));
        // The packet would have fitted.
        assert_eq!(ask(1500, 1500), None);
        assert_eq!(ask(9000, 1500), None);
        let least = if v6 { 1280 } else { 552 };
        assert_eq!(ask(100, 1500), Some(Problem::PathMtu(least)));
        assert_eq!(ask(100, least), None);
    }
    // Routers that predate RFC 1191 report no MTU.
    let old = |len| read(false, 3, 4, 0, &quoted(false, len)).map(|error| error.problem);
    assert_eq!(old(1500), Some(Problem::PathMtu(1492)));
    assert_eq!(old(1492), Some(Problem::PathMtu(1006)));
    assert_eq!(old(552), None);
}

#[test]
fn each_error_has_its_kind() {
    use Unreachable::{Expired, Host, Port, Prohibited, Protocol};
    for (v6, kind, code, expected) in [
        (false, 3, 0, Some(Host)),
        (false, 3, 1, Some(Host)),
        (false, 3, 2, Some(Protocol)),
        (false, 3, 3, Some(Port)),
        (false, 3, 13, Some(Prohibited)),
        (false, 11, 0, Some(Expired)),
        (false, 11, 1, None),
        (false, 5, 1, None),
        (false, 0, 0, None),
        (true, 1, 0, Some(Host)),
        (true, 1, 1, Some(Prohibited)),
        (true, 1, 4, Some(Port)),
        (true, 3, 0, Some(Expired)),
        (true, 4, 1, Some(Protocol)),
        (true, 4, 0, None),
        (true, 129, 0, None),
    ] {
        let found = read(v6, kind, code, 0, &quoted(v6, 1300)).map(|error| error.problem);
        assert_eq!(
            found,
            expected.map(Problem::Unreachable),
            "{v6} {kind} {code}"
        );
    }
}

#[test]
fn errors_that_quote_no_segment_of_ours_are_ignored() {
    for v6 in [false, true] {
        let (kind, code) = if v6 { (1, 4) } else { (3, 3) };
        let good = quoted(v6, 1300);
        assert!(read(v6, kind, code, 0, &good).is_some());
        for len in 0..good.len() {
            assert_eq!(read(v6, kind, code, 0, &good[..len]), None);
        }
        let protocol_at = if v6 { 6 } else { 9 };
        let port_at = if v6 { 41 } else { 21 };
        for (at, value) in [(0, 0x50), (protocol_at, 17), (port_at, 0)] {
            let mut other = good.clone();
            other[at] = value;
            assert_eq!(read(v6, kind, code, 0, &other), None);
        }
    }
    let mut fragment = quoted(false, 1300);
    fragment[7] = 1;
    assert_eq!(read(false, 3, 3, 0, &fragment), None);
}

#[test]
fn errors_that_smoltcp_writes_are_read() {
    let packet = quoted(false, 1300);
    let (frame, message) = frame_v4(&Icmpv4Repr::DstUnreachable {
        reason: Icmpv4DstUnreachable::PortUnreachable,
        header: Ipv4Repr {
            src_addr: HERE4,
            dst_addr: THERE4,
            next_header: IpProtocol::Tcp,
            payload_len: packet.len() - 20,
            hop_limit: 64,
        },
        data: &packet[20..],
    });
    assert!(is_good(&frame, &message));
    let found = error(&frame, &message, |_| true).expect("an error");
    assert_eq!(found.problem, Problem::Unreachable(Unreachable::Port));
    assert_eq!(
        found.tuple.local(),
        "10.77.0.2:9001".parse().expect("an end")
    );

    let packet = quoted(true, 1400);
    let (frame, message) = frame_v6(&Icmpv6Repr::PktTooBig {
        mtu: 1300,
        header: Ipv6Repr {
            src_addr: HERE6,
            dst_addr: THERE6,
            next_header: IpProtocol::Tcp,
            payload_len: 1360,
            hop_limit: 64,
        },
        data: &packet[40..],
    });
    assert!(is_good(&frame, &message));
    let found = error(&frame, &message, |_| true).expect("an error");
    assert_eq!(found.problem, Problem::PathMtu(1300));
}
