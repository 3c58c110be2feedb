//! How many frames the responder sends, and shares with the other lcores.
//!
//! Anyone on the link can send requests for our addresses, in any number and in any name. So three kinds of hosts have limits of
//! their own: the configured gateway, the other hosts that we know, and strangers. A flood of strangers does not use up what the
//! others need. A host counts as known only if an answer to its request goes to a MAC address that we have from an exchange with it:
//! then the answer informs the real owner even if the request was forged. Within a kind, each MAC address has a share.

use hioload_lcore::Time;

use crate::rate::Rate;
use crate::source_limit::{self, SourceLimit};
use crate::tuple::Key;

/// Answers to requests for our addresses per second: to the gateway, to other known hosts, and to strangers. Our own requests.
const GATEWAY_RATE: u32 = 250;
const KNOWN_RATE: u32 = 1000;
const STRANGER_RATE: u32 = 1000;
const REQUEST_RATE: u32 = 1000;
/// Frames shared with the other lcores per second, of each kind.
const SHARE_RATE: u32 = 1000;
/// One source gets at most one in so many of the answers.
const DISCOVERY_PARTS: u32 = 8;
const ECHO_PARTS: u32 = 4;

/// What the limits by source are for; it makes them independent of each other.
const KNOWN: u64 = u64::from_be_bytes(*b"knownarp");
const STRANGER: u64 = u64::from_be_bytes(*b"otherarp");
const ECHO: u64 = u64::from_be_bytes(*b"icmpecho");

/// The host that a request comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asker {
    /// The configured gateway, from its MAC address.
    Gateway,
    /// A neighbour with the MAC address that we have for it, or the next hop of an established flow.
    Known,
    /// Any other.
    Stranger,
}

/// What a shared frame tells the other lcores.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum News {
    /// The answer to a request of ours, or something about a neighbour that we know.
    Neighbour,
    /// An ICMP error about a flow.
    Error,
    /// Something about another neighbour.
    Rumour,
}

/// The limits of a responder.
#[derive(Debug)]
pub(super) struct Budgets {
    echo: SourceLimit,
    gateway: Rate,
    known: SourceLimit,
    strangers: SourceLimit,
    /// Our own requests.
    pub(super) requests: Rate,
    sharing: [Rate; 3],
}

impl Budgets {
    /// `echo_rate` is the number of echo replies per second.
    pub(super) fn new(key: &Key, echo_rate: u32) -> Self {
        let discovery = |purpose, rate| SourceLimit::new(key, purpose, rate, DISCOVERY_PARTS);
        Self {
            echo: SourceLimit::new(key, ECHO, echo_rate, ECHO_PARTS),
            gateway: Rate::new(GATEWAY_RATE),
            known: discovery(KNOWN, KNOWN_RATE),
            strangers: discovery(STRANGER, STRANGER_RATE),
            requests: Rate::new(REQUEST_RATE),
            sharing: [const { SHARE_RATE }; 3].map(Rate::new),
        }
    }

    /// Whether an echo request from `source` is answered.
    pub(super) fn allows_echo(&mut self, source: source_limit::Source, now: Time) -> bool {
        self.echo.allow(source, now)
    }

    /// Whether a request for one of our addresses from `mac` is answered.
    pub(super) fn allows_answer(&mut self, asker: Asker, mac: [u8; 6], now: Time) -> bool {
        let source = source_limit::of_mac(mac);
        match asker {
            Asker::Gateway => self.gateway.allow(now),
            Asker::Known => self.known.allow(source, now),
            Asker::Stranger => self.strangers.allow(source, now),
        }
    }

    /// Whether a frame with `news` is shared with the other lcores.
    pub(super) fn allows_sharing(&mut self, news: News, now: Time) -> bool {
        self.sharing[news as usize].allow(now)
    }
}
