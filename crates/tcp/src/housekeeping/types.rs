//! What goes into [`Housekeeping`](super::Housekeeping) and what comes out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::Cidr;
use crate::icmp::Unreachable;
use crate::l2::Hop;
use crate::tuple::Tuple;

/// How a station is set up.
#[derive(Clone, Debug)]
pub(crate) struct Settings<'a> {
    /// Its addresses with their networks; the same as in its [`Addresses`].
    pub networks: &'a [Cidr],
    /// The routers.
    pub gateway_v4: Option<Ipv4Addr>,
    pub gateway_v6: Option<Ipv6Addr>,
    /// Questions for its addresses and echoes are answered here, not by the kernel.
    pub answers: bool,
    /// It announces its addresses at start: one lcore of a station does.
    pub announces: bool,
    /// Echoes answered per second.
    pub icmp_rate: u32,
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
    /// Echoes and questions not answered because of the rate limit.
    pub limited: u64,
    /// Messages that are not valid, or that we cannot answer.
    pub invalid: u64,
    /// ICMP messages with a wrong checksum.
    pub bad_checksums: u64,
    /// Times another station claimed an address of ours.
    pub conflicts: u64,
    /// Answers to questions of ours.
    pub learned: u64,
    /// Neighbours that did not answer.
    pub lost: u64,
}

/// What came of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// The frame has become the answer and is to be sent.
    Reply,
    /// The station behind this address is known now.
    Learned(IpAddr),
    /// The path of this flow takes IP packets of at most `mtu` bytes, says who claims to have seen segment `seq`.
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

/// [`Outcome`], and whether the station's other lcores are to see a copy of the frame ([`Housekeeping::overhear`]); never
/// with a reply, so the frame is as it was received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Handled {
    pub outcome: Outcome,
    pub share: bool,
}

/// What [`Housekeeping::poll`] has to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Due {
    /// A frame is to be sent: [`Housekeeping::emit`] writes it.
    Send(Notice),
    /// This neighbour does not answer: what waits for it can be given up.
    Lost(IpAddr),
}

/// A frame of our own accord.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Notice {
    /// Who has the address? To everybody, or to the station that had it last.
    Ask(IpAddr, Option<[u8; 6]>),
    /// We have the address.
    Announce(IpAddr),
}

/// The way to an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// Through this station.
    Known(Hop),
    /// Through this neighbour, which has been asked for: [`Outcome::Learned`] or [`Due::Lost`] will name it.
    Pending(IpAddr),
    /// There is none.
    None,
}
