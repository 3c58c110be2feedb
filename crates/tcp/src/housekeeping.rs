//! What a station does besides TCP: it says which addresses it has, asks for those of others, answers echoes, and listens
//! to what routers say of its segments. Everything is bounded and at a limited rate, and nothing is answered to groups
//! (but questions for addresses) or to errors.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use hioload_device::{Frame, TxChecksum};
use hioload_lcore::Time;

use crate::addresses::Addresses;
use crate::arp::{self, Arp, Operation};
use crate::config::Cidr;
use crate::ether::{self, ethertype};
use crate::icmp::{self, IcmpError, Problem, Unreachable};
use crate::l2::Hop;
use crate::ndp::{self, Kind, Ndp};
use crate::neighbours::{Lookup, Neighbours, Step};
use crate::parse::{L2, Message, Parsed};
use crate::rate::Rate;
use crate::routes::Routes;
use crate::tuple::Tuple;

/// Answers to questions for our addresses, and questions of ours, per second each.
const DISCOVERY_RATE: u32 = 1000;
/// Frames that other lcores are to see, per second.
const SHARE_RATE: u32 = 1000;
/// Announcements of each address at start, and the time between them (RFC 5227 §1.1).
const ANNOUNCEMENTS: u8 = 2;
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);
/// Between two defences of our addresses (RFC 5227 §1.1: DEFEND_INTERVAL).
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

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

/// An answer that a frame calls for.
enum Answer {
    Arp(Arp),
    Ndp(Ndp),
    Echo,
}

enum Found {
    Answer(Answer),
    Outcome(Outcome),
}

/// The longest frame that [`Housekeeping::emit`] writes.
pub(crate) const MAX_NOTICE: usize = ether::MAX_HEADER + ndp::LEN;

/// One lcore's part in it.
#[derive(Debug)]
pub(crate) struct Housekeeping {
    ours: Addresses,
    routes: Routes,
    neighbours: Neighbours,
    answers: bool,
    icmp: Rate,
    discovery: Rate,
    asking: Rate,
    sharing: Rate,
    /// When to announce which address, and how often; in order of time.
    announcements: VecDeque<(Time, IpAddr, u8)>,
    defend_after: Time,
    conflict: Option<(IpAddr, [u8; 6])>,
    counters: Counters,
}

impl Housekeeping {
    /// For the station `ours`, beginning at `now`.
    pub(crate) fn new(ours: Addresses, settings: &Settings<'_>, now: Time) -> Self {
        let announced = ours
            .iter()
            .filter(|_| settings.answers && settings.announces);
        Self {
            announcements: announced.map(|ip| (now, ip, ANNOUNCEMENTS)).collect(),
            routes: Routes::new(settings.networks, settings.gateway_v4, settings.gateway_v6),
            neighbours: Neighbours::new(settings.neighbours),
            answers: settings.answers,
            icmp: Rate::new(settings.icmp_rate),
            discovery: Rate::new(DISCOVERY_RATE),
            asking: Rate::new(DISCOVERY_RATE),
            sharing: Rate::new(SHARE_RATE),
            defend_after: Time::ZERO,
            conflict: None,
            counters: Counters::default(),
            ours,
        }
    }

    /// Its counters.
    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    /// The last station that claimed an address of ours, and which.
    pub(crate) fn conflict(&self) -> Option<(IpAddr, [u8; 6])> {
        self.conflict
    }

    /// The neighbour table.
    pub(crate) fn neighbours(&self) -> &Neighbours {
        &self.neighbours
    }

    /// Handles a received frame that is ARP, NDP or ICMP; `parsed` is what [`parse`](crate::parse::parse) made of it.
    pub(crate) fn handle<F: Frame>(
        &mut self,
        parsed: &Parsed,
        frame: &mut F,
        now: Time,
    ) -> Handled {
        match parsed {
            Parsed::Arp(..) => self.counters.arp_in += 1,
            Parsed::Ndp(_) => self.counters.ndp_in += 1,
            Parsed::Icmp(_) => self.counters.icmp_in += 1,
            Parsed::Tcp(_) | Parsed::Drop(_) => {}
        }
        match self.look(parsed, frame.bytes(), now) {
            Found::Answer(answer) => {
                let outcome = self.reply(parsed, &answer, frame, now);
                Handled {
                    outcome,
                    share: false,
                }
            }
            Found::Outcome(outcome) => Handled {
                outcome,
                share: self.concerns_all(parsed, frame.bytes(), outcome) && self.sharing.allow(now),
            },
        }
    }

    /// Learns what there is to be learned from a frame that another lcore has received and shared. Nothing is answered.
    pub(crate) fn overhear(&mut self, parsed: &Parsed, bytes: &[u8], now: Time) -> Outcome {
        match self.look(parsed, bytes, now) {
            Found::Outcome(outcome) => outcome,
            Found::Answer(_) => Outcome::Nothing,
        }
    }

    /// The way to `ip`; if the neighbour is not known, it is asked for.
    pub(crate) fn way(&mut self, ip: IpAddr, now: Time) -> Way {
        let Some(neighbour) = self.routes.next_hop(ip) else {
            return Way::None;
        };
        match self.neighbours.lookup(neighbour, now) {
            Lookup::Known(mac) => Way::Known(Hop {
                mac,
                vlan: self.ours.vlan(),
            }),
            Lookup::Pending => Way::Pending(neighbour),
            Lookup::Unreachable => Way::None,
        }
    }

    /// What is due at `now`; to be called until there is nothing.
    pub(crate) fn poll(&mut self, now: Time) -> Option<Due> {
        match self.announcements.front() {
            Some(&(due, ip, times)) if due <= now => {
                self.announcements.pop_front();
                if times > 1 {
                    let again = (now + ANNOUNCE_INTERVAL, ip, times - 1);
                    self.announcements.push_back(again);
                }
                return Some(Due::Send(Notice::Announce(ip)));
            }
            _ => {}
        }
        if self.neighbours.deadline()? > now || !self.asking.allow(now) {
            return None;
        }
        match self.neighbours.step(now)? {
            Step::Ask(ip, to) => Some(Due::Send(Notice::Ask(ip, to))),
            Step::Lost(ip) => {
                self.counters.lost += 1;
                Some(Due::Lost(ip))
            }
        }
    }

    /// When [`poll`](Self::poll) has something to do, at the latest.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        let announce = self.announcements.front().map(|&(due, ..)| due);
        let ask = self.neighbours.deadline();
        let ask = ask.map(|due| due.max(self.asking.next()));
        announce.into_iter().chain(ask).min()
    }

    /// Writes the frame of `notice` to the front of `buf` ([`MAX_NOTICE`] bytes are enough) and gives its length; `None` if
    /// we have no address to send it from, or `buf` no room.
    pub(crate) fn emit(&mut self, notice: Notice, buf: &mut [u8]) -> Option<usize> {
        let own = self.ours.mac();
        let (ip, to) = match notice {
            Notice::Ask(ip, to) => (ip, to),
            Notice::Announce(ip) => (ip, None),
        };
        match ip {
            IpAddr::V4(ip) => {
                let to = to.unwrap_or(ether::BROADCAST);
                let at = ether::write_header(buf, to, own, self.ours.vlan(), ethertype::ARP)?;
                let packet = match notice {
                    Notice::Announce(_) => Arp::announcement(own, ip.octets()),
                    Notice::Ask(..) => match self.routes.source_for(ip.into())? {
                        IpAddr::V4(source) => Arp::request(own, source.octets(), ip.octets()),
                        IpAddr::V6(_) => return None,
                    },
                };
                packet.emit(buf.get_mut(at..)?)?;
                self.counters.arp_out += 1;
                Some(at + arp::LEN)
            }
            IpAddr::V6(ip) => {
                let target = ip.octets();
                let group = match notice {
                    Notice::Announce(_) => ndp::ALL_NODES,
                    Notice::Ask(..) => ndp::solicited_node(target),
                };
                let mac = to.unwrap_or(ndp::group_mac(group));
                let at = ether::write_header(buf, mac, own, self.ours.vlan(), ethertype::IPV6)?;
                let packet = buf.get_mut(at..)?;
                match notice {
                    Notice::Announce(_) => ndp::emit_advertisement(packet, target, None, own)?,
                    Notice::Ask(..) => {
                        let IpAddr::V6(source) = self.routes.source_for(ip.into())? else {
                            return None;
                        };
                        let unicast = to.is_some();
                        ndp::emit_solicitation(packet, source.octets(), target, unicast, own)?;
                    }
                }
                self.counters.ndp_out += 1;
                Some(at + ndp::LEN)
            }
        }
    }

    fn look(&mut self, parsed: &Parsed, bytes: &[u8], now: Time) -> Found {
        let found = match parsed {
            Parsed::Arp(l2, at) => self.arp(l2, bytes.get(usize::from(*at)..), now),
            Parsed::Ndp(message) => self.ndp(message, bytes, now),
            Parsed::Icmp(message) => self.icmp(message, bytes),
            Parsed::Tcp(_) | Parsed::Drop(_) => None,
        };
        found.unwrap_or(Found::Outcome(Outcome::Nothing))
    }

    fn arp(&mut self, l2: &L2, bytes: Option<&[u8]>, now: Time) -> Option<Found> {
        let Some(packet) = Arp::parse(bytes.unwrap_or_default()) else {
            self.counters.invalid += 1;
            return None;
        };
        let sender = IpAddr::from(packet.sender);
        if self.ours.has_v4(packet.sender) {
            self.claimed(sender, packet.sender_mac, now);
            return None;
        }
        let to_us = self.ours.has_v4(packet.target);
        if !crate::parse::is_martian_v4(packet.sender) && l2.vlan == self.ours.vlan() {
            let answer = packet.operation == Operation::Reply && to_us && !l2.is_group();
            if answer && self.neighbours.answered(sender, packet.sender_mac, now) {
                self.counters.learned += 1;
                return Some(Found::Outcome(Outcome::Learned(sender)));
            }
            self.neighbours.heard(sender, packet.sender_mac, now);
        }
        let asked = packet.operation == Operation::Request && to_us;
        asked.then_some(Found::Answer(Answer::Arp(packet)))
    }

    fn ndp(&mut self, message: &Message, bytes: &[u8], now: Time) -> Option<Found> {
        if !icmp::is_good(bytes, message) {
            self.counters.bad_checksums += 1;
            return None;
        }
        let packet = bytes.get(usize::from(message.ip_at)..usize::from(message.end))?;
        let at = usize::from(message.at - message.ip_at);
        let Some(found) = Ndp::parse(packet, at) else {
            // Routers' messages are valid, and of no interest.
            let routers = matches!(packet.get(at), Some(133 | 134 | 137));
            self.counters.invalid += u64::from(!routers);
            return None;
        };
        let mac = found.mac.unwrap_or(message.l2.source);
        let same_link = message.l2.vlan == self.ours.vlan();
        match found.kind {
            Kind::Solicitation => {
                if self.ours.has_v6(found.source) {
                    self.claimed(found.source.into(), mac, now);
                    return None;
                }
                if same_link && found.mac.is_some() {
                    self.neighbours.heard(found.source.into(), mac, now);
                }
                let asked = self.ours.has_v6(found.target);
                asked.then_some(Found::Answer(Answer::Ndp(found)))
            }
            Kind::Advertisement { solicited } => {
                let target = IpAddr::from(found.target);
                if self.ours.has_v6(found.target) {
                    self.claimed(target, mac, now);
                    return None;
                }
                let answer = solicited && same_link && !message.l2.is_group();
                if answer && self.neighbours.answered(target, mac, now) {
                    self.counters.learned += 1;
                    return Some(Found::Outcome(Outcome::Learned(target)));
                }
                if same_link {
                    self.neighbours.heard(target, mac, now);
                }
                None
            }
        }
    }

    fn icmp(&mut self, message: &Message, bytes: &[u8]) -> Option<Found> {
        if !icmp::is_good(bytes, message) {
            self.counters.bad_checksums += 1;
            return None;
        }
        if icmp::is_echo_request(bytes, message) {
            return Some(Found::Answer(Answer::Echo));
        }
        let is_ours = |tuple: &Tuple| match tuple.local().ip() {
            IpAddr::V4(ip) => self.ours.has_v4(ip.octets()),
            IpAddr::V6(ip) => self.ours.has_v6(ip.octets()),
        };
        let IcmpError { tuple, seq, what } = icmp::error(bytes, message, is_ours)?;
        Some(Found::Outcome(match what {
            Problem::PathMtu(mtu) => Outcome::PathMtu { tuple, mtu, seq },
            Problem::Unreachable(kind) => Outcome::Unreachable { tuple, kind, seq },
        }))
    }

    /// `mac` speaks as if it had `ip`, which is ours. If it is not ourselves, we say once that we have it.
    fn claimed(&mut self, ip: IpAddr, mac: [u8; 6], now: Time) {
        if mac == self.ours.mac() {
            return;
        }
        self.counters.conflicts += 1;
        self.conflict = Some((ip, mac));
        if self.answers && now >= self.defend_after {
            self.defend_after = now + DEFEND_INTERVAL;
            self.announcements.push_front((now, ip, 1));
        }
    }

    /// Makes the frame the answer.
    fn reply<F: Frame>(
        &mut self,
        parsed: &Parsed,
        answer: &Answer,
        frame: &mut F,
        now: Time,
    ) -> Outcome {
        if !self.answers {
            return Outcome::Nothing;
        }
        let rate = match answer {
            Answer::Echo => &mut self.icmp,
            Answer::Arp(_) | Answer::Ndp(_) => &mut self.discovery,
        };
        if !rate.allow(now) {
            self.counters.limited += 1;
            return Outcome::Nothing;
        }
        if self.write_reply(parsed, answer, frame).is_none() {
            self.counters.invalid += 1;
            return Outcome::Nothing;
        }
        match answer {
            Answer::Arp(_) => self.counters.arp_out += 1,
            Answer::Ndp(_) => self.counters.ndp_out += 1,
            Answer::Echo => self.counters.icmp_out += 1,
        }
        Outcome::Reply
    }

    fn write_reply<F: Frame>(&self, parsed: &Parsed, answer: &Answer, frame: &mut F) -> Option<()> {
        let own = self.ours.mac();
        match (parsed, answer) {
            (Parsed::Arp(l2, at), Answer::Arp(packet)) => {
                let at = usize::from(*at);
                let bytes = resize(frame, at + arp::LEN)?;
                packet.reply(own).emit(bytes.get_mut(at..)?)?;
                ether::turn_around(bytes, l2, own);
            }
            (Parsed::Ndp(message), Answer::Ndp(found)) => {
                let at = usize::from(message.ip_at);
                let bytes = resize(frame, at + ndp::LEN)?;
                let to = (found.source != ndp::UNSPECIFIED).then_some(found.source);
                ndp::emit_advertisement(bytes.get_mut(at..)?, found.target, to, own)?;
                let mut l2 = message.l2;
                if to.is_none() {
                    l2.source = ndp::group_mac(ndp::ALL_NODES);
                }
                ether::turn_around(bytes, &l2, own);
            }
            (Parsed::Icmp(message), Answer::Echo) => {
                let bytes = resize(frame, usize::from(message.end))?;
                icmp::echo_reply(bytes, message)?;
                ether::turn_around(bytes, &message.l2, own);
            }
            _ => return None,
        }
        Some(())
    }

    /// Whether a frame without an answer may matter to any lcore: who asked for a neighbour and who has the flow of an
    /// error is not known here.
    fn concerns_all(&self, parsed: &Parsed, bytes: &[u8], outcome: Outcome) -> bool {
        match outcome {
            Outcome::PathMtu { .. } | Outcome::Unreachable { .. } | Outcome::Learned(_) => true,
            Outcome::Reply => false,
            Outcome::Nothing => match parsed {
                // Answers and announcements, not others' questions.
                Parsed::Arp(_, at) => {
                    let packet = bytes.get(usize::from(*at)..).and_then(Arp::parse);
                    packet.is_some_and(|packet| {
                        packet.operation == Operation::Reply || packet.sender == packet.target
                    })
                }
                Parsed::Ndp(message) => bytes.get(usize::from(message.at)) == Some(&136),
                _ => false,
            },
        }
    }
}

/// The frame's bytes, `len` of them; `None` if it has no room.
fn resize<F: Frame>(frame: &mut F, len: usize) -> Option<&mut [u8]> {
    if len > frame.room() {
        return None;
    }
    frame.set_len(len);
    frame.set_tx_checksum(TxChecksum::Complete);
    Some(frame.bytes_mut())
}

#[cfg(test)]
#[path = "housekeeping_tests.rs"]
mod tests;
