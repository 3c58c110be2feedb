//! What a host answers besides TCP: ARP ([`arp`]), neighbour discovery ([`ndp`]) and ICMP ([`icmp`]).
//!
//! The responder answers requests for the host's addresses, resolves the addresses of neighbours, answers echo requests,
//! and reports ICMP errors about the host's segments. All its tables are bounded and all its frames are limited in
//! rate. It answers nothing that was sent to a group, except requests for addresses, and it never answers an error.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use hioload_device::{Frame, TxChecksum};
use hioload_lcore::Time;

use crate::addresses::Addresses;
use crate::neighbours::{Lookup, Neighbours, Step};
use crate::next_hop::NextHop;
use crate::parse::Parsed;
use crate::routes::Routes;
use crate::source_limit;

mod arp;
mod budgets;
mod icmp;
mod ndp;
mod types;

use arp::Arp;
use budgets::{Asker, Budgets, News};
pub(crate) use icmp::Unreachable;
use ndp::Ndp;
pub(crate) use types::{Action, Counters, Due, Handled, Notice, Resolution, Settings};

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
    /// The host with this MAC address uses an address of ours.
    Claim(IpAddr, [u8; 6]),
}

/// The responder of one lcore.
#[derive(Debug)]
pub(crate) struct Responder {
    ours: Addresses,
    routes: Routes,
    neighbours: Neighbours,
    answers: bool,
    budgets: Budgets,
    /// Announcements to send: when, of which address, how many more. Sorted by time.
    announcements: VecDeque<(Time, IpAddr, u8)>,
    /// The addresses of ours that were claimed, and the time before which no claim is reported and answered again.
    claims: HashMap<IpAddr, Time>,
    conflict: Option<(IpAddr, [u8; 6])>,
    counters: Counters,
}

impl Responder {
    /// A responder for the addresses `ours`, which begins at `now`.
    pub(crate) fn new(ours: Addresses, settings: &Settings<'_>, now: Time) -> Self {
        let announced = ours
            .iter()
            .filter(|_| settings.answers && settings.announces);
        let routes = Routes::new(settings.networks, settings.gateway_v4, settings.gateway_v6);
        let mut neighbours = Neighbours::new(settings.neighbours);
        if settings.answers {
            // The MAC address of a request shows whether the gateway sent it.
            for gateway in routes.gateways() {
                neighbours.lookup(gateway, now);
            }
        }
        Self {
            announcements: announced.map(|ip| (now, ip, ANNOUNCEMENTS)).collect(),
            routes,
            neighbours,
            answers: settings.answers,
            budgets: Budgets::new(settings.key, settings.icmp_rate),
            claims: HashMap::new(),
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

    /// Handles a received frame that is ARP, NDP or ICMP; `parsed` is the result of [`parse`](crate::parse::parse) for it. `proven`:
    /// the MAC address that it comes from is the next hop of an established flow.
    pub(crate) fn handle<F: Frame>(
        &mut self,
        parsed: &Parsed,
        frame: &mut F,
        proven: bool,
        now: Time,
    ) -> Handled {
        match parsed {
            Parsed::Arp(..) => self.counters.arp_in += 1,
            Parsed::Ndp(_) => self.counters.ndp_in += 1,
            Parsed::Icmp(_) => self.counters.icmp_in += 1,
            Parsed::Tcp(_) | Parsed::Drop(_) => {}
        }
        let alone = |action| Handled {
            action,
            share: false,
        };
        match self.inspect(parsed, frame.bytes(), now) {
            Inspected::Answer(answer) => {
                if !self.answers || !self.may_answer(parsed, frame.bytes(), &answer, proven, now) {
                    return alone(Action::Nothing);
                }
                alone(self.reply(parsed, &answer, frame))
            }
            Inspected::Claim(ip, mac) => {
                self.claimed(ip, mac, now);
                alone(Action::Nothing)
            }
            Inspected::Action(action) => {
                let news = self.news(parsed, frame.bytes(), action);
                Handled {
                    action,
                    share: news.is_some_and(|news| self.budgets.allows_sharing(news, now)),
                }
            }
        }
    }

    /// Learns from a frame that another lcore has received and shared. The responder of that lcore has done everything else.
    pub(crate) fn handle_shared(&mut self, parsed: &Parsed, bytes: &[u8], now: Time) -> Action {
        match self.inspect(parsed, bytes, now) {
            Inspected::Action(action) => action,
            Inspected::Answer(_) | Inspected::Claim(..) => Action::Nothing,
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

    /// The next action that is due at `now`. The caller repeats the call until it returns `None`.
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
        if self.neighbours.deadline()? > now || !self.budgets.requests.allow(now) {
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
        let request = request.map(|due| due.max(self.budgets.requests.next()));
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

    /// The host `mac` uses `ip`, which is ours. Unless the frame is our own, this is reported, and we defend the address, once in
    /// [`DEFEND_INTERVAL`] for each address: two hosts that both answered each claim would go on for ever (RFC 5227 §2.4 (c)). For
    /// IPv6, RFC 4862 §5.4.4 leaves the reaction open; it is the same.
    #[cold]
    fn claimed(&mut self, ip: IpAddr, mac: [u8; 6], now: Time) {
        if mac == self.ours.mac() {
            return;
        }
        self.counters.conflicts += 1;
        self.conflict = Some((ip, mac));
        if self.claims.get(&ip).is_some_and(|&until| now < until) {
            return;
        }
        self.claims.insert(ip, now + DEFEND_INTERVAL);
        let [a, b, c, d, e, f] = mac;
        tracing::warn!(
            address = %ip,
            mac = %format_args!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"),
            "another host claims an address of this server",
        );
        if self.answers {
            self.announcements.push_front((now, ip, 1));
        }
    }

    /// Whether the limits permit an answer. If not, that is counted.
    fn may_answer(
        &mut self,
        parsed: &Parsed,
        bytes: &[u8],
        answer: &Answer,
        proven: bool,
        now: Time,
    ) -> bool {
        let (sender, l2) = match (answer, parsed) {
            (Answer::Arp(packet), Parsed::Arp(l2, _)) => (packet.sender.into(), l2),
            (Answer::Ndp(found), Parsed::Ndp(message)) => (found.source.into(), &message.l2),
            (Answer::Echo, Parsed::Icmp(message)) => {
                let source = icmp::source(bytes, message).map_or(0, source_limit::of_ip);
                let may = self.budgets.allows_echo(source, now);
                self.counters.limited += u64::from(!may);
                return may;
            }
            _ => return false,
        };
        let asker = self.asker(sender, l2.source, proven);
        let may = self.budgets.allows_answer(asker, l2.source, now);
        self.counters.discovery_limited += u64::from(!may);
        may
    }

    /// The kind of the host `mac`, which asks in the name of `sender`.
    fn asker(&self, sender: IpAddr, mac: [u8; 6], proven: bool) -> Asker {
        let known = self.neighbours.is_known(sender, mac);
        if known && self.routes.is_gateway(sender) {
            Asker::Gateway
        } else if known || proven {
            Asker::Known
        } else {
            Asker::Stranger
        }
    }

    /// A request of the gateway has come. If its MAC address is not known, it is requested.
    fn note_gateway(&mut self, sender: IpAddr, now: Time) {
        if self.answers && self.routes.is_gateway(sender) {
            self.neighbours.lookup(sender, now);
        }
    }

    /// What a frame that gets no answer tells the other lcores: this lcore knows neither which of them waits for a neighbour nor
    /// which of them has the flow of an ICMP error. The requests of others tell nothing.
    fn news(&self, parsed: &Parsed, bytes: &[u8], action: Action) -> Option<News> {
        let about = match action {
            Action::PathMtu { .. } | Action::Unreachable { .. } => return Some(News::Error),
            Action::Learned(_) => return Some(News::Neighbour),
            Action::Reply => return None,
            Action::Nothing => match parsed {
                Parsed::Arp(_, at) => arp::informs(bytes.get(usize::from(*at)..))?,
                Parsed::Ndp(message) => ndp::informs(bytes.get(usize::from(message.at)..))?,
                _ => return None,
            },
        };
        Some(if self.neighbours.has(about) {
            News::Neighbour
        } else {
            News::Rumour
        })
    }

    /// Replaces the frame by its answer.
    fn reply<F: Frame>(&mut self, parsed: &Parsed, answer: &Answer, frame: &mut F) -> Action {
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
