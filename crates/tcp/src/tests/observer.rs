//! What an attacker learns that does not see the traffic of others: nothing from limits that all share, and nothing from counters.

use hioload_device::Burst;

use super::forged::{forge, forge_as, syn};
use super::*;
use crate::parse::flags;
use crate::raw_segment::RawSegment;
use crate::tuple::Tuple;

/// A server on a pair of devices, and the other end of the pair, which any host may use.
struct Wire {
    server: Stack<MemoryDevice>,
    far: MemoryDevice,
    now: Time,
}

impl Wire {
    fn new() -> Self {
        let (one, other) = pair(&PairOptions::default().chunks(1024).ring(256)).expect("a pair");
        Self {
            server: Stack::new(one.open(), server(), None, Time::ZERO).expect("a stack"),
            far: other.open(),
            now: Time::from_millis(1000),
        }
    }

    /// The IPv4 packets that the server sends within some turns after these packets.
    fn answers(&mut self, packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut burst = Burst::new();
        for packet in packets {
            let mut frame = self.far.alloc().expect("a frame");
            frame.set_len(14 + packet.len());
            let bytes = frame.bytes_mut();
            bytes[..14].copy_from_slice(&[2, 0, 0, 0, 0, 0xa, 2, 0, 0, 0, 0, 0xb, 8, 0]);
            bytes[14..].copy_from_slice(packet);
            burst.push(frame);
        }
        self.far.tx_burst(&mut burst);
        for _ in 0..4 {
            self.now += Duration::from_micros(50);
            self.server.receive(self.now);
            while self.server.next().is_some() {}
            self.server.transmit();
        }
        self.far.rx_burst(&mut burst);
        let packets = burst.drain(..).map(|frame| frame.bytes().to_vec());
        packets
            .filter(|frame| frame[12..14] == [8, 0])
            .map(|frame| frame[14..].to_vec())
            .collect()
    }
}

/// The packet of a segment from `from`.
fn packet(from: &str, bare: RawSegment) -> Vec<u8> {
    let flow = Tuple::new(addr(from), addr("10.77.0.2:80")).expect("a flow");
    let mut packet = vec![0; bare.len(&flow)];
    bare.write(&flow, &mut packet);
    crate::checksum::fill_ipv4_header(&mut packet[..20]);
    crate::checksum::fill(&mut packet, 20, crate::checksum::TCP);
    packet
}

fn ack(seq: u32) -> RawSegment {
    RawSegment {
        flags: flags::ACK,
        ack: 7,
        ..syn(seq)
    }
}

/// An echo request with this identification.
fn echo_request(id: [u8; 2]) -> Vec<u8> {
    let mut packet = packet("10.77.0.1:1", syn(0));
    packet.truncate(28);
    packet[2..4].copy_from_slice(&28_u16.to_be_bytes());
    packet[4..6].copy_from_slice(&id);
    packet[9] = 1;
    packet[20..28].copy_from_slice(&[8, 0, 0, 0, 0, 1, 0, 1]);
    crate::checksum::fill_ipv4_header(&mut packet[..20]);
    crate::checksum::fill(&mut packet, 20, crate::checksum::ICMP);
    packet
}

#[test]
fn no_packet_has_an_identification_that_counts() {
    let mut wire = Wire::new();
    let mut seen = Vec::new();
    for n in 0..10 {
        let from = format!("10.77.0.1:{}", 4000 + n);
        seen.extend(wire.answers(&[packet(&from, syn(n)), packet("10.77.0.1:9", ack(n))]));
    }
    assert!(seen.len() >= 15, "{} answers", seen.len());
    for packet in &seen {
        // An atomic datagram: the field has no meaning (RFC 6864 §4.1).
        assert_eq!((&packet[4..6], packet[6] & 0x40), (&[0, 0][..], 0x40));
    }
    for id in [[0, 0], [0x12, 0x34], [0xff, 0xff]] {
        let replies = wire.answers(&[echo_request(id)]);
        assert_eq!(replies.len(), 1);
        assert_eq!(replies[0][4..6], id, "it is the sender's own");
    }
}

#[test]
fn probes_in_the_name_of_another_host_do_not_change_the_answers_to_our_own() {
    // The tuple is in use, or it is not: then each of the 100 probes asks for a reset.
    let own_answers = |in_use: bool, kind: u8| {
        let mut world = World::new();
        let (here, _) = world.connect("10.77.0.2:80");
        let used = world.a.stack.local(here).expect("local");
        let probed = if in_use { used } else { addr("10.77.0.1:999") };
        let flow = Tuple::new(probed, addr("10.77.0.2:80")).expect("a flow");
        for n in 0..100_u32 {
            let probe = RawSegment {
                flags: kind,
                ack: n.wrapping_mul(0x0123_4567),
                ..syn(n.wrapping_mul(0x7654_3210))
            };
            forge_as(&mut world, &flow, probe);
            if n % 10 == 0 {
                world.turn();
            }
        }
        world.turns(2);
        let before = world.b.stack.stats().rst_sent;
        for n in 0..100_u32 {
            forge(&mut world, &format!("10.77.0.9:{}", 2000 + n), ack(n));
            if n % 10 == 0 {
                world.turn();
            }
        }
        world.turns(2);
        world.b.stack.stats().rst_sent - before
    };
    for kind in [flags::ACK, flags::RST, flags::RST | flags::ACK] {
        let (in_use, free) = (own_answers(true, kind), own_answers(false, kind));
        assert_eq!(in_use, free, "flags {kind:#x}");
        assert!((6..=12).contains(&free), "{free}");
    }
}

#[test]
fn a_forger_hardly_reduces_the_answers_to_all_others() {
    let answered = |probes: u32| {
        let mut world = World::new();
        for n in 0..probes {
            forge(&mut world, &format!("10.77.0.1:{}", 2000 + n), ack(n));
            if n % 10 == 0 {
                world.turn();
            }
        }
        world.turns(20);
        let before = world.b.stack.stats().rst_sent;
        for n in 0..20_u32 {
            forge(
                &mut world,
                &format!("10.77.{}.9:{}", 1 + n, 2000 + n),
                ack(n),
            );
            world.turn();
        }
        world.turns(2);
        world.b.stack.stats().rst_sent - before
    };
    assert_eq!((answered(0), answered(200)), (20, 20));
}
