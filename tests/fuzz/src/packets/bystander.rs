//! A peer with its own correct implementation of TCP: its connection has to work whatever the other peers send.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use super::super::packet::{self, ACK, FIN, PSH, RST, SYN};
use super::{Bench, PORT, own};

/// The address of the bystander. No other frame may contain it.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 99);
/// The endpoint of the bystander.
pub const END: SocketAddr = SocketAddr::V4(SocketAddrV4::new(ADDRESS, 45_678));
const MAC: [u8; 6] = [2, 0, 0, 0, 2, 99];
/// The most transmissions of a segment.
const TRIES: u32 = 30;

pub struct Bystander {
    /// Its next sequence number, and the next one it expects.
    next: u32,
    wanted: u32,
    got: Vec<u8>,
    ended: bool,
}

impl Bystander {
    /// Connects.
    pub fn open(bench: &mut Bench) -> Self {
        let mut this = Self {
            next: 0xffff_ff00,
            wanted: 0,
            got: Vec::new(),
            ended: false,
        };
        this.say(bench, SYN, &[]);
        this.next = this.next.wrapping_add(1);
        bench.turn();
        let answer = bench.bystanders.pop_front().expect("an answer to a SYN");
        let tcp = packet::view(&answer).and_then(|view| view.tcp);
        let tcp = tcp.expect("a segment");
        assert_eq!(tcp.flags & (SYN | ACK | RST), SYN | ACK);
        assert_eq!(tcp.ack, this.next);
        this.wanted = tcp.seq.wrapping_add(1);
        this.say(bench, ACK, &[]);
        bench.turn();
        this
    }

    /// Sends a text, again and again, until the echo arrives.
    pub fn ask(&mut self, bench: &mut Bench, text: &[u8]) {
        self.got.clear();
        let before = self.next;
        for _ in 0..TRIES {
            self.next = before;
            self.say(bench, PSH | ACK, text);
            self.next = before.wrapping_add(text.len() as u32);
            bench.turn();
            self.answer(bench);
            bench.turn();
            if self.got.len() >= text.len() {
                break;
            }
            bench.pass(Duration::from_secs(1), Some(self));
        }
        assert_eq!(self.got, text, "the bystander's echo");
    }

    /// Closes the connection.
    pub fn close(&mut self, bench: &mut Bench) {
        let before = self.next;
        for _ in 0..TRIES {
            self.next = before;
            self.say(bench, FIN | ACK, &[]);
            self.next = before.wrapping_add(1);
            bench.turn();
            self.answer(bench);
            bench.turn();
            if self.ended {
                return;
            }
            bench.pass(Duration::from_secs(1), Some(self));
        }
        panic!("the bystander's connection does not end");
    }

    /// Acknowledges the received segments.
    pub fn answer(&mut self, bench: &mut Bench) {
        while let Some(frame) = bench.bystanders.pop_front() {
            let view = packet::view(&frame).expect("looked at before");
            let Some(tcp) = view.tcp.filter(|tcp| tcp.ports == (PORT, END.port())) else {
                continue;
            };
            assert_eq!(tcp.flags & (RST | SYN), 0, "the bystander is reset");
            let fin = tcp.flags & FIN != 0;
            if tcp.seq == self.wanted {
                let at = packet::ip_at(&frame).expect("a packet") + view.length - tcp.payload;
                self.got.extend(&frame[at..at + tcp.payload]);
                let length = tcp.payload as u32 + u32::from(fin);
                self.wanted = self.wanted.wrapping_add(length);
                self.ended |= fin;
            }
            // Probes and retransmissions are acknowledged too, but not empty acknowledgements.
            if tcp.payload > 0 || fin || tcp.seq != self.wanted {
                self.say(bench, ACK, &[]);
            }
        }
    }

    fn say(&self, bench: &mut Bench, flags: u8, payload: &[u8]) {
        let segment = packet::Segment {
            src: END,
            dst: (own(false), PORT).into(),
            seq: self.next,
            ack: if flags == SYN { 0 } else { self.wanted },
            flags,
            window: 60_000,
            options: if flags == SYN { &[2, 4, 5, 0xb4] } else { &[] },
            payload,
        };
        debug_assert_eq!(IpAddr::V4(ADDRESS), segment.src.ip());
        let frame = packet::ip_frame(bench.link(MAC), &segment.packet());
        bench.put(&frame);
    }
}
