//! What a station does besides TCP: it says which addresses it has, asks for those of others, answers echoes, and listens
//! to what routers say of its segments. Everything is bounded and at a limited rate, and nothing is answered to groups
//! (but questions for addresses) or to errors.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use hioload_device::Frame;
use hioload_lcore::Time;

use crate::addresses::Addresses;
use crate::arp::{Arp, Operation};
use crate::icmp::{self, IcmpError, Problem};
use crate::l2::Hop;
use crate::ndp::{Kind, Ndp};
use crate::neighbours::{Lookup, Neighbours, Step};
use crate::parse::{L2, Message, Parsed};
use crate::rate::Rate;
use crate::routes::Routes;
use crate::tuple::Tuple;

mod types;
mod write;

pub(crate) use types::{Counters, Due, Handled, Notice, Outcome, Settings, Way};

/// Answers to questions for our addresses, and questions of ours, per second each.
const DISCOVERY_RATE: u32 = 1000;
/// Frames that other lcores are to see, per second.
const SHARE_RATE: u32 = 1000;
/// Announcements of each address at start, and the time between them (RFC 5227 §1.1).
const ANNOUNCEMENTS: u8 = 2;
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);
/// Between two defences of our addresses (RFC 5227 §1.1: DEFEND_INTERVAL).
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

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

    #[cfg(test)]
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

#[cfg(test)]
#[path = "housekeeping_tests.rs"]
mod tests;
