//! ICMP (RFC 792) and ICMPv6 (RFC 4443): echo replies, and errors that quote a segment of one of our flows.

use std::net::IpAddr;

use hioload_device::Frame;

use super::{Action, Answer, Inspected, Responder, resize};
use crate::checksum::{self, ICMP, ICMPV6};
use crate::ether;
use crate::parse::Message;
use crate::tuple::Tuple;

/// The TTL or hop limit of our packets.
const HOPS: u8 = 64;
/// The least path MTU for IPv4 that is accepted. A forged lower one would slow a sender down (RFC 5927 §7). Linux has the
/// same limit.
const LEAST_MTU_V4: u16 = 552;
/// The least MTU of IPv6 (RFC 8200 §5).
const LEAST_MTU_V6: u16 = 1280;
/// Common MTUs, for routers that report no MTU (RFC 1191 §7.1).
const PLATEAUS: [u16; 8] = [32_000, 17_914, 8166, 4352, 2002, 1492, 1006, LEAST_MTU_V4];

/// Why a packet could not be delivered. These errors are easily forged (RFC 5927), so the stack compares the sequence number,
/// and gives up only flows that are not established.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unreachable {
    /// No route to the network or host.
    Host,
    /// The host does not support TCP.
    Protocol,
    /// The port is closed.
    Port,
    /// Administratively prohibited.
    Prohibited,
    /// The TTL or hop limit was exceeded.
    Expired,
}

/// An error that quotes a segment which we may have sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct IcmpError {
    /// The flow of the quoted segment.
    pub tuple: Tuple,
    /// The sequence number of the segment. A forger has to guess one that is outstanding.
    pub seq: u32,
    /// What happened to the segment.
    pub problem: Problem,
}

/// What happened to a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Problem {
    /// It was too big. The value is the largest IP packet of the path, in bytes. It is smaller than the quoted packet and not
    /// smaller than the least path MTU.
    PathMtu(u16),
    /// It could not be delivered.
    Unreachable(Unreachable),
}

/// Whether the message in `frame` is an echo request that gets an answer. One behind IPv6 extension headers gets none: a reply
/// would have to process those headers.
pub(crate) fn is_echo_request(frame: &[u8], message: &Message) -> bool {
    let kind = if message.v6 { 128 } else { 8 };
    let at = usize::from(message.at);
    let plain = !message.v6 || message.at - message.ip_at == 40;
    plain && frame.get(at..at + 2) == Some(&[kind, 0])
}

/// The protocol number of the message.
pub(crate) fn protocol(message: &Message) -> u8 {
    if message.v6 { ICMPV6 } else { ICMP }
}

/// The IP source of the message.
pub(crate) fn source(frame: &[u8], message: &Message) -> Option<IpAddr> {
    let packet = frame.get(usize::from(message.ip_at)..)?;
    if message.v6 {
        Some(IpAddr::from(*packet.get(8..)?.first_chunk::<16>()?))
    } else {
        Some(IpAddr::from(*packet.get(12..)?.first_chunk::<4>()?))
    }
}

/// Whether the checksum of the message is right, or was verified by the device.
pub(crate) fn is_good(frame: &[u8], message: &Message) -> bool {
    let packet = frame.get(usize::from(message.ip_at)..usize::from(message.end));
    let at = usize::from(message.at - message.ip_at);
    message.verified || checksum::is_good(packet.unwrap_or_default(), at, protocol(message))
}

/// Replaces the IP packet of an echo request ([`is_echo_request`]) by its reply. The caller writes the Ethernet header.
pub(crate) fn echo_reply(frame: &mut [u8], message: &Message) -> Option<()> {
    let at = usize::from(message.at - message.ip_at);
    let packet = frame.get_mut(usize::from(message.ip_at)..usize::from(message.end))?;
    if message.v6 {
        let (source, destination) = packet.get_mut(8..40)?.split_at_mut(16);
        source.swap_with_slice(destination);
        *packet.get_mut(7)? = HOPS;
        *packet.get_mut(at)? = 129;
    } else {
        // The options are for the other direction: a recorded route, or a source route. NOPs take their place.
        packet.get_mut(20..at)?.fill(1);
        let (source, destination) = packet.get_mut(12..20)?.split_at_mut(4);
        source.swap_with_slice(destination);
        *packet.get_mut(8)? = HOPS;
        *packet.get_mut(at)? = 0;
        checksum::fill_ipv4_header(packet.get_mut(..at)?);
    }
    checksum::fill(packet, at, protocol(message));
    Some(())
}

/// The error in the message, if it quotes a TCP segment whose tuple satisfies `is_ours`.
pub(crate) fn error(
    frame: &[u8],
    message: &Message,
    is_ours: impl FnOnce(&Tuple) -> bool,
) -> Option<IcmpError> {
    let bytes = frame.get(usize::from(message.at)..usize::from(message.end))?;
    let (head, quoted) = bytes.split_first_chunk::<8>()?;
    let (tuple, seq, quoted_len) = if message.v6 {
        quoted_v6(quoted)?
    } else {
        quoted_v4(quoted)?
    };
    let [kind, code, ..] = *head;
    let problem = if message.v6 {
        let mtu = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        match (kind, code) {
            (2, _) => path_mtu_v6(mtu, quoted_len)?,
            (1, 0 | 2 | 3) => Problem::Unreachable(Unreachable::Host),
            (1, 1 | 5 | 6) => Problem::Unreachable(Unreachable::Prohibited),
            (1, 4) => Problem::Unreachable(Unreachable::Port),
            (4, 1) => Problem::Unreachable(Unreachable::Protocol),
            (3, 0) => Problem::Unreachable(Unreachable::Expired),
            _ => return None,
        }
    } else {
        match (kind, code) {
            (3, 4) => path_mtu_v4(u16::from_be_bytes([head[6], head[7]]), quoted_len)?,
            (3, 0 | 1 | 5..=8 | 11 | 12) => Problem::Unreachable(Unreachable::Host),
            (3, 9 | 10 | 13) => Problem::Unreachable(Unreachable::Prohibited),
            (3, 2) => Problem::Unreachable(Unreachable::Protocol),
            (3, 3) => Problem::Unreachable(Unreachable::Port),
            (11, 0) => Problem::Unreachable(Unreachable::Expired),
            _ => return None,
        }
    };
    is_ours(&tuple).then_some(IcmpError {
        tuple,
        seq,
        problem,
    })
}

/// The next MTU to try with IPv4; `None` if the error cannot be true.
fn path_mtu_v4(said: u16, quoted_len: u32) -> Option<Problem> {
    let below = |mtu: &u16| u32::from(*mtu) < quoted_len;
    let mtu = if said == 0 {
        PLATEAUS.into_iter().find(below)?
    } else {
        said.max(LEAST_MTU_V4)
    };
    below(&mtu).then_some(Problem::PathMtu(mtu))
}

/// The same with IPv6.
fn path_mtu_v6(said: u32, quoted_len: u32) -> Option<Problem> {
    let mtu = u16::try_from(said).ok()?.max(LEAST_MTU_V6);
    (u32::from(mtu) < quoted_len).then_some(Problem::PathMtu(mtu))
}

/// The flow and the sequence number of the quoted packet, and its length.
fn quoted_v4(quoted: &[u8]) -> Option<(Tuple, u32, u32)> {
    let header = quoted.first_chunk::<20>()?;
    let header_len = usize::from(header[0] & 15) * 4;
    let first = u16::from_be_bytes([header[6], header[7]]) & 0x1fff == 0;
    if header[0] >> 4 != 4 || header_len < 20 || header[9] != checksum::TCP || !first {
        return None;
    }
    let (here, there, seq) = quoted_tcp(quoted.get(header_len..)?)?;
    let local = [header[12], header[13], header[14], header[15]];
    let remote = [header[16], header[17], header[18], header[19]];
    let len = u16::from_be_bytes([header[2], header[3]]);
    Some((Tuple::v4(local, here, remote, there), seq, len.into()))
}

/// The same with IPv6. We send no extension headers, so in our packets TCP follows the IPv6 header.
fn quoted_v6(quoted: &[u8]) -> Option<(Tuple, u32, u32)> {
    let (header, segment) = quoted.split_first_chunk::<40>()?;
    if header[0] >> 4 != 6 || header[6] != checksum::TCP {
        return None;
    }
    let (here, there, seq) = quoted_tcp(segment)?;
    let ip = |at: usize| -> [u8; 16] { std::array::from_fn(|i| header[at + i]) };
    let len = u32::from(u16::from_be_bytes([header[4], header[5]])) + 40;
    Some((Tuple::v6(ip(8), here, ip(24), there), seq, len))
}

/// The ports, source first, and the sequence number.
fn quoted_tcp(segment: &[u8]) -> Option<(u16, u16, u32)> {
    let &[s0, s1, d0, d1, q0, q1, q2, q3] = segment.first_chunk::<8>()?;
    let ports = (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
    Some((ports.0, ports.1, u32::from_be_bytes([q0, q1, q2, q3])))
}

impl Responder {
    pub(super) fn inspect_icmp(&mut self, message: &Message, bytes: &[u8]) -> Option<Inspected> {
        if !is_good(bytes, message) {
            self.counters.bad_checksums += 1;
            return None;
        }
        if is_echo_request(bytes, message) {
            return Some(Inspected::Answer(Answer::Echo));
        }
        let is_ours = |tuple: &Tuple| match tuple.local().ip() {
            IpAddr::V4(ip) => self.ours.has_v4(ip.octets()),
            IpAddr::V6(ip) => self.ours.has_v6(ip.octets()),
        };
        let IcmpError {
            tuple,
            seq,
            problem,
        } = error(bytes, message, is_ours)?;
        Some(Inspected::Action(match problem {
            Problem::PathMtu(mtu) => Action::PathMtu { tuple, mtu, seq },
            Problem::Unreachable(kind) => Action::Unreachable { tuple, kind, seq },
        }))
    }
}

/// Replaces the frame, which has an echo request, by the reply of the host `own`.
pub(super) fn write_reply<F: Frame>(frame: &mut F, message: &Message, own: [u8; 6]) -> Option<()> {
    let bytes = resize(frame, usize::from(message.end))?;
    echo_reply(bytes, message)?;
    ether::turn_around(bytes, &message.l2, own);
    Some(())
}

#[cfg(test)]
#[path = "icmp_tests.rs"]
pub(crate) mod tests;
