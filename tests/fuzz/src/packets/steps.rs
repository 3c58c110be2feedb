//! The steps of an input.
//!
//! A sender is one of four peers without state: two have IPv4 addresses, two have IPv6 addresses. The sequence numbers of a segment
//! are relative to the last segment of the stack, so an input does not depend on the sequence numbers of the stack.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::super::input::Input;
use super::super::packet::{self, ACK, PSH, SYN};
use super::{BATCH, Bench, PORT, Track, own};

/// The kinds of steps, in the first byte.
pub const RAW: u8 = 0;
pub const SEGMENT: u8 = 1;
pub const ICMP: u8 = 2;
pub const ARP: u8 = 3;
pub const EXTENDED: u8 = 4;
pub const PASS: u8 = 5;
pub const CALL: u8 = 6;
pub const SHAKE: u8 = 7;
pub const CONNECT: u8 = 8;
pub const AGAIN: u8 = 9;
pub const ACCEPTING: u8 = 10;
const KINDS: u8 = 11;

fn mac(who: u8) -> [u8; 6] {
    [2, 0, 0, 0, 2, who & 3]
}

fn address(who: u8) -> IpAddr {
    match who & 1 {
        0 => Ipv4Addr::new(10, 77, 0, 10 + (who & 3)).into(),
        _ => Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 10 + u16::from(who & 3)).into(),
    }
}

/// The two endpoints, from a byte: the peer (2 bits), its port (2 bits), the port of the stack (4 bits).
fn ends(who: u8) -> (SocketAddr, SocketAddr) {
    let from = address(who);
    let to = match who >> 4 {
        n @ 0..8 => PORT + u16::from(n >> 2),
        // The source ports of `connect`.
        n => 50_000 + u16::from(n & 7),
    };
    let port = 40_000 + u16::from(who >> 2 & 3);
    (
        SocketAddr::new(from, port),
        SocketAddr::new(own(from.is_ipv6()), to),
    )
}

impl Bench {
    /// Reads and runs a step. Returns the duration if the step lets time pass.
    pub(super) fn step(&mut self, what: u8, input: &mut Input<'_>) -> Option<Duration> {
        match (what & !BATCH) % KINDS {
            RAW => self.send(input.bytes()),
            SEGMENT => self.segment(input),
            ICMP => self.icmp(input),
            ARP => self.arp(input),
            EXTENDED => self.extended(input),
            PASS => {
                self.turn();
                return Some(Duration::from_millis(input.short().into()));
            }
            CALL => self.call(input),
            SHAKE => self.shake(input.byte()),
            CONNECT => {
                let (to, _) = ends(input.byte());
                if let Ok(id) = self.stack.connect(to) {
                    self.flows.push(id);
                }
            }
            AGAIN => {
                let frame = match input.byte() {
                    0 => self.last_out.clone(),
                    _ => self.last_in.clone(),
                };
                self.finish(frame, input);
            }
            _ => self.stack.set_accepting(input.byte() & 1 == 0),
        }
        None
    }

    /// Changes bytes, corrects the checksums or not, and sends the frame, as the input says.
    fn finish(&mut self, mut frame: Vec<u8>, input: &mut Input<'_>) {
        let how = input.byte();
        for _ in 0..how & 3 {
            let at = usize::from(input.short());
            let change = input.byte();
            let length = frame.len().max(1);
            if let Some(byte) = frame.get_mut(at % length) {
                *byte ^= change;
            }
        }
        if how & 4 != 0 {
            frame.truncate(frame.len().saturating_sub(input.byte().into()));
        }
        if how & 8 == 0 {
            packet::correct(&mut frame);
        }
        self.send(&frame);
    }

    fn track(&self, ends: (SocketAddr, SocketAddr)) -> Track {
        let unknown = Track {
            wanted: 1000,
            next: 0,
        };
        self.tracks.get(&ends).copied().unwrap_or(unknown)
    }

    /// A segment: peer, flags, sequence number and acknowledgement number relative to the expected ones, window, options, payload.
    fn segment(&mut self, input: &mut Input<'_>) {
        let who = input.byte();
        let flags = input.byte();
        let packet = self.made(who, flags, input);
        let frame = packet::ip_frame(self.link(mac(who)), &packet);
        self.finish(frame, input);
    }

    fn made(&self, who: u8, flags: u8, input: &mut Input<'_>) -> Vec<u8> {
        let (src, dst) = ends(who);
        let track = self.track((src, dst));
        // A small distance in steps of one, or a large one in large steps.
        let mut away = || match input.short() {
            near @ 0..0x4000 => u32::from(near),
            far => (u32::from(far) << 17).wrapping_sub(u32::from(far & 0xff)),
        };
        let (seq, ack) = (
            track.wanted.wrapping_add(away()),
            track.next.wrapping_add(away()),
        );
        let window = input.short();
        let mut options = input.bytes().to_vec();
        options.truncate(40);
        options.resize(options.len().next_multiple_of(4), 0);
        let payload = vec![b'f'; usize::from(input.byte()) * 6];
        let segment = packet::Segment {
            src,
            dst,
            seq,
            ack,
            flags,
            window,
            options: &options,
            payload: &payload,
        };
        segment.packet()
    }

    /// ICMP or ICMPv6: peer, type, code, and the rest of the message or a quotation of the last frame of the stack.
    fn icmp(&mut self, input: &mut Input<'_>) {
        let who = input.byte();
        let (kind, code) = (input.byte(), input.byte());
        let protocol = if who & 1 == 0 {
            packet::ICMP
        } else {
            packet::ICMPV6
        };
        let mut body = vec![kind, code, 0, 0];
        body.extend(input.bytes());
        if who & 0x80 != 0 {
            body.resize(8, 0);
            let at = packet::ip_at(&self.last_out).unwrap_or(0);
            let quoted = &self.last_out[at.min(self.last_out.len())..];
            body.extend(&quoted[..quoted.len().min(100)]);
        }
        let to = own(who & 1 == 1);
        let packet = packet::ip(address(who), to, protocol, &body);
        let frame = packet::ip_frame(self.link(mac(who)), &packet);
        self.finish(frame, input);
    }

    /// ARP: peer, operation, and the requested address.
    fn arp(&mut self, input: &mut Input<'_>) {
        let who = input.byte() & !1;
        let IpAddr::V4(from) = address(who) else {
            return;
        };
        let asked = [10, 77, 0, input.byte()];
        let operation = input.byte();
        let own = [
            &[0, 1, 8, 0, 6, 4, 0, operation],
            &mac(who)[..],
            &from.octets(),
        ]
        .concat();
        let packet = [&own[..], &[0; 6], &asked].concat();
        let mut link = self.link(mac(who));
        if operation & 1 == 1 {
            link.dst = packet::BROADCAST;
        }
        let frame = packet::ethernet(link, packet::ARP, &packet);
        self.finish(frame, input);
    }

    /// A segment behind IPv6 extension headers or IPv4 options, or in a fragment.
    fn extended(&mut self, input: &mut Input<'_>) {
        let who = input.byte();
        let kind = input.byte();
        let extension = input.bytes();
        let mut packet = self.made(who, SYN, input);
        if who & 1 == 1 {
            let mut header = vec![packet[6], (extension.len() / 8) as u8];
            header.extend(extension);
            header.resize(8 * (1 + extension.len() / 8), 0);
            packet[6] = kind;
            packet.splice(40..40, header);
            let length = (packet.len() - 40) as u16;
            packet[4..6].copy_from_slice(&length.to_be_bytes());
        } else {
            let mut options = extension.to_vec();
            options.truncate(40);
            options.resize(options.len().next_multiple_of(4), 1);
            packet[0] = 0x45 + (options.len() / 4) as u8;
            packet[6] = kind;
            packet.splice(20..20, options);
            let length = packet.len() as u16;
            packet[2..4].copy_from_slice(&length.to_be_bytes());
        }
        let frame = packet::ip_frame(self.link(mac(who)), &packet);
        self.finish(frame, input);
    }

    /// A call of the application: flow, function, amount.
    fn call(&mut self, input: &mut Input<'_>) {
        let nth = usize::from(input.byte());
        let what = input.byte();
        let amount = usize::from(input.short());
        let Some(&id) = self.flows.get(nth % self.flows.len().max(1)) else {
            return;
        };
        let stack = &mut self.stack;
        match what % 8 {
            0 => stack.consume(id, amount.min(stack.received(id))),
            1 => drop(stack.send(id, &vec![b's'; amount])),
            2 => {
                if let Some(space) = stack.send_space(id, amount) {
                    let n = space.len().min(amount);
                    space[..n].fill(b'l');
                    stack.commit(id, n);
                }
            }
            3 => stack.finish(id),
            4 => stack.release(id),
            5 => stack.abort(id),
            6 => assert!(stack.readable(id).len() == stack.received(id)),
            _ => drop(stack.info(id)),
        }
        if matches!(what % 8, 4 | 5) {
            self.flows.retain(|&flow| flow != id);
            // Calls with a stale id have no effect.
            self.stack.consume(id, 1);
            self.stack.release(id);
        }
    }

    /// A complete handshake, and a few bytes.
    fn shake(&mut self, who: u8) {
        let (src, dst) = ends(who);
        let say = |bench: &mut Self, flags: u8, payload: &[u8]| {
            let track = bench.track((src, dst));
            let segment = packet::Segment {
                src,
                dst,
                seq: track.wanted,
                ack: if flags == SYN { 0 } else { track.next },
                flags,
                window: 20_000,
                options: if flags == SYN {
                    &[2, 4, 2, 0, 1, 3, 3, 2]
                } else {
                    &[]
                },
                payload,
            };
            let frame = packet::ip_frame(bench.link(mac(who)), &segment.packet());
            bench.send(&frame);
            bench.turn();
        };
        say(self, SYN, &[]);
        say(self, ACK, &[]);
        say(self, PSH | ACK, b"shaken");
    }
}
