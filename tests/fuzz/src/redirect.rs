//! The XDP program (`ebpf/redirect.bpf.c`), run on this machine, against the table of docs/af_xdp.md and the parser of the stack.
//!
//! Byte 0 of the input has the options ([`SHARED`] and the following), bytes 1 to 4 are not used, and the rest is an Ethernet frame.
//! The target panics
//!
//! - if the program does not do what [`expected`] says, which is that table as a second implementation;
//! - if the stack would take the frame and the program does not redirect it;
//! - if the kernel gets a segment for a listened endpoint, whichever tags, options and extension headers stand before it, or
//!   anything that is sent to an address which it does not have. What the kernel would find is decided by `etherparse`.
//!
//! A read outside of the frame ends the process, and so does undefined behaviour.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use etherparse::{EtherType, NetSlice, SlicedPacket, TransportSlice};
use hioload_device::RxChecksum;
use hioload_redirect_native::{Action, Host, LONGEST, Verdict, run as run_program};
use hioload_tcp::Cidr;
use hioload_tcp::fuzzing::{Parsed, Parser};

use super::input::Input;
use super::packet;

/// Options: the kernel has the addresses too.
pub const SHARED: u8 = 1;
/// The port is in VLAN 5.
pub const VLAN: u8 = 2;
/// The queue has no socket.
pub const NO_SOCKET: u8 = 4;
/// The checksums of the frame are corrected first.
pub const CORRECT: u8 = 8;
/// The frame is sent to the MAC address of the port.
pub const ADDRESSED: u8 = 16;

/// The MAC address of the port.
pub const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The addresses of the port.
pub const ADDRESSES: [&str; 3] = ["10.77.0.1/24", "fd77::1/64", "10.77.0.9/24"];
/// The listened port: on the first two addresses.
pub const PORT: u16 = 9001;
/// The number of the tag of the port with [`VLAN`].
pub const OWN_VLAN: u16 = 5;

/// The most extension headers that the program steps over.
const MAX_EXTENSIONS: usize = 8;

fn host(options: u8) -> Host {
    let addresses: Vec<IpAddr> = cidrs().into_iter().map(Cidr::addr).collect();
    Host {
        shared: options & SHARED != 0,
        vlan: (options & VLAN != 0).then_some(OWN_VLAN),
        listened: addresses[..2].iter().map(|&ip| (ip, PORT).into()).collect(),
        addresses,
        has_socket: options & NO_SOCKET == 0,
    }
}

fn cidrs() -> Vec<Cidr> {
    let parse = |cidr: &&str| cidr.parse().expect("an address");
    ADDRESSES.iter().map(parse).collect()
}

/// Runs one input, and returns what the program does.
///
/// # Panics
/// If it does something else than the table says.
pub fn outcome(data: &[u8]) -> (Action, Verdict) {
    let mut input = Input::new(data);
    let options = input.byte();
    input.word();
    let rest = input.rest();
    let mut frame = rest[..rest.len().min(LONGEST)].to_vec();
    if options & ADDRESSED != 0 && frame.len() >= 6 {
        frame[..6].copy_from_slice(&MAC);
    }
    if options & CORRECT != 0 {
        packet::correct(&mut frame);
    }
    let host = host(options);
    let done = run_program(&host, &frame);
    let table = Table {
        host: &host,
        frame: &frame,
    };
    assert_eq!(done, table.expected(), "{host:?}");
    check_stack(&host, &frame, done.0);
    check_kernel(&host, &frame, done.0);
    done
}

/// Runs one input.
pub fn run(data: &[u8]) {
    outcome(data);
}

/// The frame is redirected if the stack takes it.
fn check_stack(host: &Host, frame: &[u8], action: Action) {
    let parser = Parser::new(MAC, host.vlan, &cidrs());
    let wanted = match parser.parse(frame, RxChecksum::Unknown) {
        Parsed::Tcp(segment) => !host.shared || host.listened.contains(&segment.local),
        // Neighbour discovery to a group may be about another host.
        Parsed::Icmp(_, true, range) if (133..=137).contains(&frame[range.start]) => return,
        // The kernel answers pings to shared addresses, and the parser does not look into errors.
        Parsed::Icmp(..) if !host.shared => true,
        Parsed::Icmp(..) | Parsed::Arp(..) | Parsed::Dropped(_) => return,
    };
    let taken = match action {
        Action::Redirect => true,
        Action::Drop => !host.has_socket,
        Action::Pass => false,
    };
    assert_eq!(taken, wanted, "the stack takes it: {wanted}");
}

/// The kernel does not get what it must not have.
fn check_kernel(host: &Host, frame: &[u8], action: Action) {
    let Some((kind, at)) = untagged(host.vlan, frame) else {
        return;
    };
    if at > 18 || frame[12..14] == [0x88, 0xa8] {
        assert_eq!(action, Action::Drop, "several tags, or a service tag");
        return;
    }
    if kind != 0x0800 && kind != 0x86dd {
        return;
    }
    let Ok(packet) = SlicedPacket::from_ether_type(EtherType(kind), &frame[at..]) else {
        return;
    };
    let (destination, fragment): (IpAddr, bool) = match &packet.net {
        Some(NetSlice::Ipv4(ip)) => (
            ip.header().destination_addr().into(),
            ip.payload().fragmented,
        ),
        // To the kernel such a packet is empty, to etherparse it is a jumbogram (RFC 2675).
        Some(NetSlice::Ipv6(ip)) if ip.header().payload_length() == 0 => return,
        Some(NetSlice::Ipv6(ip)) => (
            ip.header().destination_addr().into(),
            ip.payload().fragmented,
        ),
        _ => return,
    };
    if !host.addresses.contains(&destination) {
        assert!(
            action == Action::Pass || destination.is_multicast(),
            "to {destination}"
        );
        return;
    }
    if !host.shared {
        assert_ne!(action, Action::Pass, "it is sent to {destination}");
    }
    // The program does not decrypt: a segment behind an authentication header is the kernel's.
    if let Some(TransportSlice::Tcp(segment)) = &packet.transport
        && !fragment
        && !is_authenticated(&packet)
    {
        let local = SocketAddr::new(destination, segment.destination_port());
        let listened = host.listened.contains(&local);
        assert!(action != Action::Pass || !listened, "a segment for {local}");
    }
}

fn is_authenticated(packet: &SlicedPacket<'_>) -> bool {
    use etherparse::Ipv6ExtensionSlice::Authentication;
    match &packet.net {
        Some(NetSlice::Ipv4(ip)) => ip.extensions().auth.is_some(),
        Some(NetSlice::Ipv6(ip)) => {
            let mut headers = ip.extensions().clone().into_iter();
            headers.any(|header| matches!(header, Authentication(_)))
        }
        _ => false,
    }
}

const TAGS: [&[u8]; 2] = [&[0x81, 0], &[0x88, 0xa8]];

/// The EtherType and the offset of what the kernel finds on the link of the port: it removes priority tags, however many there are.
fn untagged(vlan: Option<u16>, frame: &[u8]) -> Option<(u16, usize)> {
    let mut missing = vlan;
    let mut at = 12;
    loop {
        let kind = frame.get(at..at + 2)?;
        if !TAGS.contains(&kind) {
            let kind = u16::from_be_bytes([kind[0], kind[1]]);
            return missing.is_none().then_some((kind, at + 2));
        }
        let tag = frame.get(at + 2..at + 4)?;
        let id = u16::from_be_bytes([tag[0], tag[1]]) & 0xfff;
        if id != 0 {
            if missing != Some(id) || kind != TAGS[0] {
                return None;
            }
            missing = None;
        }
        at += 4;
    }
}

/// The table of docs/af_xdp.md.
struct Table<'a> {
    host: &'a Host,
    frame: &'a [u8],
}

const PASS: (Action, Verdict) = (Action::Pass, Verdict::Passed);

impl Table<'_> {
    fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.frame.get(at..)?.first_chunk().copied()
    }

    fn short(&self, at: usize) -> Option<u16> {
        self.bytes(at).map(u16::from_be_bytes)
    }

    fn redirect(&self, verdict: Verdict) -> (Action, Verdict) {
        if self.host.has_socket {
            (Action::Redirect, verdict)
        } else {
            (Action::Drop, Verdict::NoSocket)
        }
    }

    fn malformed(&self) -> (Action, Verdict) {
        let action = if self.host.shared {
            Action::Pass
        } else {
            Action::Drop
        };
        (action, Verdict::Malformed)
    }

    fn has(&self, ip: impl Into<IpAddr>) -> bool {
        self.host.addresses.contains(&ip.into())
    }

    /// What the table says about the frame.
    fn expected(&self) -> (Action, Verdict) {
        let found = self.link();
        match found {
            None => self.malformed(),
            Some(Err(done)) => done,
            Some(Ok((0x0800, at))) => self.v4(at).unwrap_or_else(|| self.malformed()),
            Some(Ok((0x86dd, at))) => self.v6(at),
            Some(Ok((0x0806, _))) if self.host.shared => PASS,
            Some(Ok((0x0806, at))) => self.arp(at).unwrap_or_else(|| self.malformed()),
            Some(Ok(_)) => PASS,
        }
    }

    /// The EtherType behind a tag that the port accepts, and the offset behind it.
    fn link(&self) -> Option<Result<(u16, usize), (Action, Verdict)>> {
        let kind = self.short(12)?;
        if kind != 0x8100 && kind != 0x88a8 {
            return Some(if self.host.vlan.is_none() {
                Ok((kind, 14))
            } else {
                Err(PASS)
            });
        }
        let id = self.short(14)? & 0xfff;
        let inner = self.short(16)?;
        let ours = kind == 0x8100 && self.host.vlan == Some(id);
        Some(if id != 0 && !ours {
            Err(PASS)
        } else if kind == 0x88a8 || [0x8100, 0x88a8, 0x9100].contains(&inner) {
            Err((Action::Drop, Verdict::StackedTags))
        } else if ours || self.host.vlan.is_none() {
            Ok((inner, 18))
        } else {
            Err(PASS)
        })
    }

    fn arp(&self, at: usize) -> Option<(Action, Verdict)> {
        let packet = self.bytes::<28>(at)?;
        if packet[..6] != [0, 1, 8, 0, 6, 4] {
            return Some(PASS);
        }
        let ip = |at: usize| Ipv4Addr::from(*packet[at..].first_chunk().expect("28 bytes"));
        let ours = self.has(ip(14)) || self.has(ip(24));
        Some(if ours {
            self.redirect(Verdict::Arp)
        } else {
            PASS
        })
    }

    /// A segment to a shared address, `left` bytes of whose packet begin at `at`.
    fn shared_tcp(&self, to: IpAddr, at: usize, left: usize, first: bool) -> (Action, Verdict) {
        match self.short(at + 2) {
            Some(port) if left >= 4 => match self.host.listened.contains(&(to, port).into()) {
                false => PASS,
                true if first => (Action::Drop, Verdict::Fragment),
                true => self.redirect(Verdict::Tcp),
            },
            _ if first => (Action::Drop, Verdict::Malformed),
            _ => self.malformed(),
        }
    }

    fn v4(&self, at: usize) -> Option<(Action, Verdict)> {
        let header = self.bytes::<20>(at)?;
        let to = Ipv4Addr::new(header[16], header[17], header[18], header[19]);
        if !self.has(to) {
            return Some(PASS);
        }
        let len = usize::from(header[0] & 15) * 4;
        let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if header[0] >> 4 != 4 || len < 20 || total < len || self.frame.len() < at + len {
            return None;
        }
        let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff;
        let (next, left) = (at + len, total - len);
        Some(match (self.host.shared, header[9]) {
            (false, _) if fragment != 0 => self.redirect(Verdict::Fragment),
            (false, 6) => self.redirect(Verdict::Tcp),
            (false, 1) => self.redirect(Verdict::Icmp),
            (false, _) => (Action::Drop, Verdict::OtherProtocol),
            (true, _) if fragment & 0x1fff != 0 => PASS,
            (true, 6) => self.shared_tcp(to.into(), next, left, fragment != 0),
            (true, 1) if fragment == 0 && self.quotes_v4(next, left) == Some(true) => {
                self.redirect(Verdict::Icmp)
            }
            (true, _) => PASS,
        })
    }

    /// Whether an ICMP error of `left` bytes quotes a segment from a listened endpoint.
    fn quotes_v4(&self, at: usize, left: usize) -> Option<bool> {
        let message = self.bytes::<28>(at)?;
        let header = usize::from(message[8] & 15) * 4;
        let right = matches!(message[0], 3 | 11 | 12)
            && message[8] >> 4 == 4
            && header >= 20
            && message[17] == 6
            && u16::from_be_bytes([message[14], message[15]]) & 0x1fff == 0
            && left >= 8 + header + 4;
        self.bytes::<4>(at + 8 + header)?;
        let port = self.short(at + 8 + header)?;
        let from = Ipv4Addr::new(message[20], message[21], message[22], message[23]);
        Some(right && self.host.listened.contains(&(from, port).into()))
    }

    fn v6(&self, at: usize) -> (Action, Verdict) {
        let Some(header) = self.bytes::<40>(at) else {
            return self.malformed();
        };
        let to = Ipv6Addr::from(*header[24..].first_chunk::<16>().expect("40 bytes"));
        let segments = to.segments();
        let discovery = segments[..6] == [0xff02, 0, 0, 0, 0, 1] && segments[6] >> 8 == 0xff
            || segments == [0xff02, 0, 0, 0, 0, 0, 0, 1];
        let own = self.has(to);
        if !own && (self.host.shared || !discovery) {
            return PASS;
        }
        let broken = |first: bool| match (own, first) {
            (false, _) => PASS,
            (true, true) => (Action::Drop, Verdict::Malformed),
            (true, false) => self.malformed(),
        };
        if header[0] >> 4 != 6 {
            return broken(false);
        }
        let mut left = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let (mut next, mut at, mut first) = (header[6], at + 40, false);
        for _ in 0..=MAX_EXTENSIONS {
            match next {
                58 if first => return PASS,
                58 => return self.icmp6(at, left, own),
                6 if !own => return PASS,
                6 if !self.host.shared => return self.redirect(Verdict::Tcp),
                6 => return self.shared_tcp(to.into(), at, left, first),
                0 | 43 | 44 | 60 => {}
                _ if own && !self.host.shared => return (Action::Drop, Verdict::OtherProtocol),
                _ => return PASS,
            }
            let Some(head) = self.bytes::<8>(at).filter(|_| left >= 8) else {
                return broken(first);
            };
            let mut size = (usize::from(head[1]) + 1) * 8;
            if next == 44 {
                size = 8;
                match u16::from_be_bytes([head[2], head[3]]) {
                    word if word & 0xfff9 == 0 => {}
                    _ if !self.host.shared && own => return self.redirect(Verdict::Fragment),
                    _ if !self.host.shared => return PASS,
                    word if word & 0xfff8 != 0 => return PASS,
                    _ => first = true,
                }
            }
            if left < size {
                return broken(first);
            }
            (next, left, at) = (head[0], left - size, at + size);
        }
        if own {
            (Action::Drop, Verdict::Malformed)
        } else {
            PASS
        }
    }

    fn icmp6(&self, at: usize, left: usize, own: bool) -> (Action, Verdict) {
        let quoted = |at: usize| {
            let message = self.bytes::<52>(at).filter(|_| left >= 52)?;
            let from = Ipv6Addr::from(*message[16..].first_chunk::<16>()?);
            let port = u16::from_be_bytes([message[48], message[49]]);
            let right = (1..=4).contains(&message[0]) && message[8] >> 4 == 6 && message[14] == 6;
            Some(right && self.host.listened.contains(&(from, port).into()))
        };
        if self.host.shared {
            let ours = quoted(at) == Some(true);
            return if ours {
                self.redirect(Verdict::Icmp)
            } else {
                PASS
            };
        }
        let Some(head) = self.bytes::<8>(at) else {
            return if own { self.malformed() } else { PASS };
        };
        let discovery = matches!(head[0], 135 | 136);
        let target = self.bytes::<16>(at + 8).map(Ipv6Addr::from);
        match (own, discovery) {
            (true, true) => self.redirect(Verdict::Nd),
            (true, false) => self.redirect(Verdict::Icmp),
            (false, true) if target.is_some_and(|target| self.has(target)) => {
                self.redirect(Verdict::Nd)
            }
            (false, _) => PASS,
        }
    }
}
