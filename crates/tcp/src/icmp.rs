//! ICMP (RFC 792) and ICMPv6 (RFC 4443): echoes answered, and what errors say of our flows.

use crate::checksum::{self, ICMP, ICMPV6};
use crate::parse::Message;
use crate::tuple::Tuple;

/// TTL or hop limit of what we send.
const HOPS: u8 = 64;
/// The least path MTU for IPv4 that is believed: lower ones are as good as never true, and make senders slow
/// (RFC 5927 §7; Linux has the same).
const LEAST_MTU_V4: u16 = 552;
/// The least MTU of IPv6 (RFC 8200 §5).
const LEAST_MTU_V6: u16 = 1280;
/// Usual MTUs, for routers that say only that a packet was too big (RFC 1191 §7.1).
const PLATEAUS: [u16; 8] = [32_000, 17_914, 8166, 4352, 2002, 1492, 1006, LEAST_MTU_V4];

/// Why a packet did not arrive. None of them ends a flow by itself: they are easily forged (RFC 5927), so the stack compares
/// the sequence number and gives up only flows that are not established.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unreachable {
    /// No route to the network or host.
    Host,
    /// Nobody speaks TCP there.
    Protocol,
    /// Nobody listens there.
    Port,
    /// Forbidden.
    Prohibited,
    /// It took too many hops.
    Expired,
}

/// What an error says of a segment that we are supposed to have sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct IcmpError {
    /// Of which flow.
    pub tuple: Tuple,
    /// The segment's sequence number: a forger has to guess one that is outstanding.
    pub seq: u32,
    /// What happened to it.
    pub what: Problem,
}

/// What happened to a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Problem {
    /// It was too big: IP packets on this path may have so many bytes. Less than the quoted packet had, and not less than
    /// is believable.
    PathMtu(u16),
    /// It could not be delivered.
    Unreachable(Unreachable),
}

/// Whether the message, which is in `frame`, is an echo request that gets an answer. One behind IPv6 extension headers does
/// not: they would have to be understood to be answered.
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

/// Whether the checksum of the message is good, or vouched for.
pub(crate) fn is_good(frame: &[u8], message: &Message) -> bool {
    let packet = frame.get(usize::from(message.ip_at)..usize::from(message.end));
    let at = usize::from(message.at - message.ip_at);
    message.verified || checksum::is_good(packet.unwrap_or_default(), at, protocol(message))
}

/// Makes the IP packet of an echo request ([`is_echo_request`]) that of its answer; the Ethernet header is the caller's.
pub(crate) fn echo_reply(frame: &mut [u8], message: &Message) -> Option<()> {
    let at = usize::from(message.at - message.ip_at);
    let packet = frame.get_mut(usize::from(message.ip_at)..usize::from(message.end))?;
    if message.v6 {
        let (source, destination) = packet.get_mut(8..40)?.split_at_mut(16);
        source.swap_with_slice(destination);
        *packet.get_mut(7)? = HOPS;
        *packet.get_mut(at)? = 129;
    } else {
        // Options come from the other direction: a recorded route, or one to follow. Nothing takes their place.
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

/// What the message says of a TCP segment from `is_ours`, if it is an error that says something of one.
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
    let what = if message.v6 {
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
    is_ours(&tuple).then_some(IcmpError { tuple, seq, what })
}

/// The next MTU to try with IPv4; `None` if that is not believable.
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

/// The flow and sequence number of the quoted packet, and how long the packet was.
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

/// We send no extension headers, so TCP follows at once in anything of ours.
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

#[cfg(test)]
#[path = "icmp_tests.rs"]
pub(crate) mod tests;
