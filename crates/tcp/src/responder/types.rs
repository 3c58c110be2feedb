//! The input and the output of a [`Responder`](super::Responder).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::icmp::Unreachable;
use crate::cidr::Cidr;
use crate::next_hop::NextHop;
use crate::tuple::{Key, Tuple};

/// How a host is set up.
#[derive(Clone, Debug)]
pub(crate) struct Settings<'a> {
    /// Its addresses with their networks; the same as in its [`Addresses`](crate::addresses::Addresses).
    pub networks: &'a [Cidr],
    /// The routers.
    pub gateway_v4: Option<Ipv4Addr>,
    pub gateway_v6: Option<Ipv6Addr>,
    /// The responder answers requests for its addresses and echo requests. If `false`, the kernel does.
    pub answers: bool,
    /// It announces its addresses at start. One lcore of a host does.
    pub announces: bool,
    /// Echo requests answered per second.
    pub icmp_rate: u32,
    /// The secret of the limits.
    pub key: &'a Key,
    /// Entries of the neighbour table.
    pub neighbours: usize,
}

/// Counters; monotonic.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counters {
    pub arp_in: u64,
    pub arp_out: u64,
    pub ndp_in: u64,
    pub ndp_out: u64,
    pub icmp_in: u64,
    pub icmp_out: u64,
    /// Echo requests not answered because of the rate limit.
    pub limited: u64,
    /// Requests for our addresses not answered because of the rate limits.
    pub discovery_limited: u64,
    /// Messages that are not valid, or that the responder cannot answer.
    pub invalid: u64,
    /// ICMP messages with a wrong checksum.
    pub bad_checksums: u64,
    /// Times another host claimed an address of ours.
    pub conflicts: u64,
    /// Answers to requests of ours.
    pub learned: u64,
    /// Neighbours that did not answer.
    pub lost: u64,
}

/// What the stack has to do because of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    /// Send the frame: it has become the answer.
    Reply,
    /// Go on with the flows that wait for this neighbour: its MAC address is known now.
    Learned(IpAddr),
    /// Lower the path MTU of this flow to `mtu` bytes, if the ICMP error quotes an outstanding segment `seq`.
    PathMtu { tuple: Tuple, mtu: u16, seq: u32 },
    /// Segment `seq` of this flow could not be delivered.
    Unreachable {
        tuple: Tuple,
        kind: Unreachable,
        seq: u32,
    },
    /// Nothing.
    Nothing,
}

/// [`Action`], and whether the host's other lcores get a copy of the frame
/// ([`Responder::handle_shared`](super::Responder::handle_shared)). A frame that has become a reply is never shared, so a
/// shared frame is as it was received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Handled {
    pub action: Action,
    pub share: bool,
}

/// What [`Responder::poll`](super::Responder::poll) has found due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Due {
    /// Send a frame: [`Responder::emit`](super::Responder::emit) writes it.
    Send(Notice),
    /// Give up the flows that wait for this neighbour: it does not answer.
    Lost(IpAddr),
}

/// A frame that is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Notice {
    /// A request for the MAC address of this neighbour: to all, or to the host that had the address last.
    Request(IpAddr, Option<[u8; 6]>),
    /// An announcement that we have this address.
    Announce(IpAddr),
}

/// The next hop to an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Resolution {
    /// This one.
    Known(NextHop),
    /// This neighbour, whose MAC address has been requested: [`Action::Learned`] or [`Due::Lost`] will name it.
    Pending(IpAddr),
    /// There is no route, or the neighbour does not answer.
    Unreachable,
}
