//! What a host answers besides TCP: ARP ([`arp`]), neighbour discovery ([`ndp`]) and ICMP ([`icmp`]).
//!
//! The responder answers requests for the host's addresses, resolves the addresses of neighbours, answers echo requests,
//! and reports ICMP errors about the host's segments. All its tables are bounded and all its frames are limited in
//! rate. It answers nothing that was sent to a group, except requests for addresses, and it never answers an error.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use hioload_device::{Frame, TxChecksum};
use hioload_lcore::Time;

use crate::addresses::Addresses;
use crate::neighbours::{Lookup, Neighbours, Step};
use crate::next_hop::NextHop;
use crate::parse::Parsed;
use crate::rate::Rate;
use crate::routes::Routes;

mod arp;
mod icmp;
mod ndp;
mod types;

use arp::Arp;
pub(crate) use icmp::Unreachable;
use ndp::Ndp;
pub(crate) use types::{Action, Counters, Due, Handled, Notice, Resolution, Settings};

/// Answers to requests for our addresses, and requests of ours, per second each.
const DISCOVERY_RATE: u32 = 1000;
/// Frames shared with the other lcores, per second.
const SHARE_RATE: u32 = 1000;
/// Announcements of each address at start, and the time between them (RFC 5227 §1.1).
const ANNOUNCEMENTS: u8 = 2;
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);
/// Between two defences of our addresses (RFC 5227 §1.1: DEFEND_INTERVAL).
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

/// The answer that a frame calls for.
enum Answer {
    Arp(Arp),
    Ndp(Ndp),
    Echo,
}

/// What a frame calls for.
enum Inspected {
    Answer(Answer),
    Action(Action),
}

/// The responder of one lcore.
#[derive(Debug)]
pub(crate) struct Responder {
    ours: Addresses,
    routes: Routes,
    neighbours: Neighbours,
    answers: bool,
    /// Limits echo replies.
    icmp: Rate,
    /// Limits answers to requests for our addresses.
    discovery: Rate,
    /// Limits our own requests.
    requests: Rate,
    /// Limits frames shared with the other lcores.
    sharing: Rate,
    /// Announcements to send: when, of which address, how many more. Sorted by time.
    announcements: VecDeque<(Time, IpAddr, u8)>,
    /// The next defence of an address is sent no earlier.
    defend_after: Time,
    conflict: Option<(IpAddr, [u8; 6])>,
    counters: Counters,
}

impl Responder {
    /// A responder for the addresses `ours`, which begins at `now`.
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
            requests: Rate::new(DISCOVERY_RATE),
            sharing: Rate::new(SHARE_RATE),
            defend_after: Time::ZERO,
            conflict: None,
            counters: Counters::default(),
            ours,
        }
    }

    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    /// The address of ours that another host claimed last, and the MAC address of that host.
    pub(crate) fn conflict(&self) -> Option<(IpAddr, [u8; 6])> {
        self.conflict
    }

    #[cfg(test)]
    /// The neighbour table.
    pub(crate) fn neighbours(&self) -> &Neighbours {
        &self.neighbours
    }

    /// Handles a received frame that is ARP, NDP or ICMP; `parsed` is the result of [`parse`](crate::parse::parse) for it.
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
        match self.inspect(parsed, frame.bytes(), now) {
            Inspected::Answer(answer) => {
                let action = self.reply(parsed, &answer, frame, now);
                Handled {
                    action,
                    share: false,
                }
            }
            Inspected::Action(action) => Handled {
                action,
                share: concerns_all(parsed, frame.bytes(), action) && self.sharing.allow(now),
            },
        }
    }

    /// Learns from a frame that another lcore has received and shared. The responder of that lcore has answered it.
    pub(crate) fn handle_shared(&mut self, parsed: &Parsed, bytes: &[u8], now: Time) -> Action {
        match self.inspect(parsed, bytes, now) {
            Inspected::Action(action) => action,
            Inspected::Answer(_) => Action::Nothing,
        }
    }

    /// Resolves the next hop to `ip`. A neighbour that is not known is requested.
    pub(crate) fn resolve(&mut self, ip: IpAddr, now: Time) -> Resolution {
        let Some(neighbour) = self.routes.next_hop(ip) else {
            return Resolution::Unreachable;
        };
        match self.neighbours.lookup(neighbour, now) {
            Lookup::Known(mac) => Resolution::Known(NextHop {
                mac,
                vlan: self.ours.vlan(),
            }),
            Lookup::Pending => Resolution::Pending(neighbour),
            Lookup::Unreachable => Resolution::Unreachable,
        }
    }

    /// The next thing that is due at `now`. The caller repeats the call until it returns `None`.
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
        if self.neighbours.deadline()? > now || !self.requests.allow(now) {
            return None;
        }
        match self.neighbours.step(now)? {
            Step::Ask(ip, to) => Some(Due::Send(Notice::Request(ip, to))),
            Step::Lost(ip) => {
                self.counters.lost += 1;
                Some(Due::Lost(ip))
            }
        }
    }

    /// The time at which [`poll`](Self::poll) next has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        let announce = self.announcements.front().map(|&(due, ..)| due);
        let request = self.neighbours.deadline();
        let request = request.map(|due| due.max(self.requests.next()));
        announce.into_iter().chain(request).min()
    }

    /// Writes the frame of `notice` to the front of `buf` and returns its length. [`MAX_NOTICE`](Self::MAX_NOTICE) bytes are
    /// enough. `None` if we have no address to send it from, or if `buf` is too short.
    pub(crate) fn emit(&mut self, notice: Notice, buf: &mut [u8]) -> Option<usize> {
        let (Notice::Request(ip, _) | Notice::Announce(ip)) = notice;
        match ip {
            IpAddr::V4(ip) => self.emit_arp(notice, ip, buf),
            IpAddr::V6(ip) => self.emit_ndp(notice, ip, buf),
        }
    }

    fn inspect(&mut self, parsed: &Parsed, bytes: &[u8], now: Time) -> Inspected {
        let inspected = match parsed {
            Parsed::Arp(l2, at) => self.inspect_arp(l2, bytes.get(usize::from(*at)..), now),
            Parsed::Ndp(message) => self.inspect_ndp(message, bytes, now),
            Parsed::Icmp(message) => self.inspect_icmp(message, bytes),
            Parsed::Tcp(_) | Parsed::Drop(_) => None,
        };
        inspected.unwrap_or(Inspected::Action(Action::Nothing))
    }

    /// The host `mac` uses `ip`, which is ours. Unless the frame is our own, we defend the address, once in
    /// [`DEFEND_INTERVAL`].
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

    /// Replaces the frame by its answer.
    fn reply<F: Frame>(
        &mut self,
        parsed: &Parsed,
        answer: &Answer,
        frame: &mut F,
        now: Time,
    ) -> Action {
        if !self.answers {
            return Action::Nothing;
        }
        let rate = match answer {
            Answer::Echo => &mut self.icmp,
            Answer::Arp(_) | Answer::Ndp(_) => &mut self.discovery,
        };
        if !rate.allow(now) {
            self.counters.limited += 1;
            return Action::Nothing;
        }
        let own = self.ours.mac();
        let written = match (parsed, answer) {
            (Parsed::Arp(l2, at), Answer::Arp(packet)) => {
                arp::write_reply(frame, l2, *at, packet, own)
            }
            (Parsed::Ndp(message), Answer::Ndp(found)) => {
                ndp::write_reply(frame, message, found, own)
            }
            (Parsed::Icmp(message), Answer::Echo) => icmp::write_reply(frame, message, own),
            _ => None,
        };
        if written.is_none() {
            self.counters.invalid += 1;
            return Action::Nothing;
        }
        match answer {
            Answer::Arp(_) => self.counters.arp_out += 1,
            Answer::Ndp(_) => self.counters.ndp_out += 1,
            Answer::Echo => self.counters.icmp_out += 1,
        }
        Action::Reply
    }
}

/// Whether a frame that gets no answer may concern any lcore: this lcore knows neither which of the others waits for a
/// neighbour nor which of them has the flow of an ICMP error.
fn concerns_all(parsed: &Parsed, bytes: &[u8], action: Action) -> bool {
    match action {
        Action::PathMtu { .. } | Action::Unreachable { .. } | Action::Learned(_) => true,
        Action::Reply => false,
        Action::Nothing => match parsed {
            // Replies and announcements, but not the requests of others.
            Parsed::Arp(_, at) => arp::informs(bytes.get(usize::from(*at)..)),
            Parsed::Ndp(message) => ndp::informs(bytes.get(usize::from(message.at)..)),
            _ => false,
        },
    }
}

/// The frame's bytes, `len` of them; `None` if the frame is too short.
fn resize<F: Frame>(frame: &mut F, len: usize) -> Option<&mut [u8]> {
    if len > frame.room() {
        return None;
    }
    frame.set_len(len);
    frame.set_tx_checksum(TxChecksum::Complete);
    Some(frame.bytes_mut())
}

#[cfg(test)]
mod tests;
