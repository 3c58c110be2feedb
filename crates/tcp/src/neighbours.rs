//! The MAC addresses of neighbours: peers that we connect to on our link, and the router. The table is bounded, and hard to
//! poison: only an answer to a request of ours sets or changes a MAC address.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use hioload_lcore::Time;

/// The time between requests (RFC 4861 §10: RETRANS_TIMER).
const RETRY: Duration = Duration::from_secs(1);
/// The number of requests (MAX_MULTICAST_SOLICIT).
const TRIES: u8 = 3;
/// The time for which an answer is fresh (REACHABLE_TIME). An older one is still used, and requested again.
const FRESH: Duration = Duration::from_secs(30);
/// The time after which an answer is no longer used.
const EXPIRED: Duration = Duration::from_secs(600);
/// The time without requests after a neighbour has not answered.
const HOLD: Duration = Duration::from_secs(3);
/// The most entries that are examined to find one to evict.
const EVICTION_SCAN: usize = 16;

/// The state of a neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lookup {
    /// Its MAC address.
    Known([u8; 6]),
    /// It has been requested.
    Pending,
    /// It does not answer.
    Unreachable,
}

/// What is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Send a request for this address: to all, or to the host that had it last.
    Ask(IpAddr, Option<[u8; 6]>),
    /// The neighbour does not answer.
    Lost(IpAddr),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// The number of requests sent, and the time of the last.
    Asking(u8, Time),
    /// The time of the answer.
    Answered(Time),
    /// There was no answer. No request is sent before this time.
    Silent(Time),
}

#[derive(Debug)]
struct Entry {
    ip: IpAddr,
    /// It is used while it is requested again, too.
    mac: Option<[u8; 6]>,
    state: State,
    /// Looked up since the clock hand last passed.
    used: bool,
    /// Another host has claimed the address: the request goes to all, not only to the host that had it last.
    contested: bool,
    /// Incremented when the entry gets another address, so that records queued for the old one are recognised.
    generation: u32,
}

/// The table.
#[derive(Debug)]
pub(crate) struct Neighbours {
    index: HashMap<IpAddr, u32>,
    entries: Vec<Entry>,
    capacity: usize,
    hand: usize,
    /// Entries to request now.
    urgent: VecDeque<(u32, u32)>,
    /// Entries that were requested, with the time of the next request. The interval is constant, so they are sorted by time.
    waiting: VecDeque<(Time, u32, u32)>,
    evicted: u64,
}

impl Neighbours {
    /// A table of up to `capacity` entries.
    pub(crate) fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self {
            index: HashMap::with_capacity(capacity),
            entries: Vec::with_capacity(capacity),
            capacity,
            hand: 0,
            urgent: VecDeque::new(),
            waiting: VecDeque::new(),
            evicted: 0,
        }
    }

    #[cfg(test)]
    /// The number of entries evicted.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    #[cfg(test)]
    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// The state of the neighbour `ip`, an address of our link. It is requested if it is unknown or not fresh.
    pub(crate) fn lookup(&mut self, ip: IpAddr, now: Time) -> Lookup {
        let Some(&slot) = self.index.get(&ip) else {
            self.insert(ip, now);
            return Lookup::Pending;
        };
        let Some(entry) = self.entries.get_mut(slot as usize) else {
            return Lookup::Unreachable;
        };
        entry.used = true;
        match (entry.state, entry.mac) {
            (State::Answered(at), Some(mac)) => {
                let age = now.saturating_sub(at);
                if age > FRESH {
                    if age > EXPIRED {
                        entry.mac = None;
                    }
                    self.ask(slot, now);
                }
                if age > EXPIRED {
                    return Lookup::Pending;
                }
                Lookup::Known(mac)
            }
            (State::Asking(..), Some(mac)) => Lookup::Known(mac),
            (State::Asking(..), None) => Lookup::Pending,
            (State::Silent(until), _) if now < until => Lookup::Unreachable,
            (State::Silent(_) | State::Answered(_), _) => {
                self.ask(slot, now);
                Lookup::Pending
            }
        }
    }

    /// Whether `ip` is a neighbour whose MAC address is known to be `mac`.
    pub(crate) fn is_known(&self, ip: IpAddr, mac: [u8; 6]) -> bool {
        let entry = self
            .index
            .get(&ip)
            .and_then(|&slot| self.entries.get(slot as usize));
        entry.is_some_and(|entry| entry.mac == Some(mac))
    }

    /// Whether `ip` is in the table.
    pub(crate) fn has(&self, ip: IpAddr) -> bool {
        self.index.contains_key(&ip)
    }

    /// The host `mac` has answered, to us alone, that it has `ip`. Returns whether that was requested; then it is known now.
    pub(crate) fn answered(&mut self, ip: IpAddr, mac: [u8; 6], now: Time) -> bool {
        let Some(entry) = self.find(ip) else {
            return false;
        };
        if !matches!(entry.state, State::Asking(tries, _) if tries > 0) {
            return false;
        }
        entry.mac = Some(mac);
        entry.contested = false;
        entry.state = State::Answered(now);
        true
    }

    /// The host `mac` has said that it has `ip`, without a request. If the entry agrees, it is fresh again. If it does not, the
    /// claim may be true (a standby router has taken over) or forged, so the address is requested from all.
    pub(crate) fn heard(&mut self, ip: IpAddr, mac: [u8; 6], now: Time) {
        let Some(&slot) = self.index.get(&ip) else {
            return;
        };
        let Some(entry) = self.entries.get_mut(slot as usize) else {
            return;
        };
        if let State::Answered(at) = entry.state {
            if entry.mac == Some(mac) {
                entry.state = State::Answered(now);
            } else if now.saturating_sub(at) >= RETRY {
                // At most one round of requests for each answer and second, however often the claim is repeated.
                entry.contested = true;
                self.ask(slot, now);
            }
        }
    }

    /// The next action that is due at `now`. The caller repeats the call until it returns `None`.
    pub(crate) fn step(&mut self, now: Time) -> Option<Step> {
        loop {
            let (slot, generation) = match self.urgent.pop_front() {
                Some(next) => next,
                None => match self.waiting.front() {
                    Some(&(due, slot, generation)) if due <= now => {
                        self.waiting.pop_front();
                        let asked = self.entries.get(slot as usize).map(|entry| entry.state);
                        // It has answered. If it was requested again since, there is another record.
                        if !matches!(asked, Some(State::Asking(_, at)) if at + RETRY == due) {
                            continue;
                        }
                        (slot, generation)
                    }
                    _ => return None,
                },
            };
            let Some(entry) = self.entries.get_mut(slot as usize) else {
                continue;
            };
            let State::Asking(tries, _) = entry.state else {
                continue;
            };
            if entry.generation != generation {
                continue;
            }
            if tries == TRIES {
                entry.mac = None;
                entry.state = State::Silent(now + HOLD);
                return Some(Step::Lost(entry.ip));
            }
            // The last request goes to all: the address may have moved to another host.
            let to = entry.mac.filter(|_| !entry.contested && tries + 1 < TRIES);
            entry.state = State::Asking(tries + 1, now);
            self.waiting.push_back((now + RETRY, slot, generation));
            return Some(Step::Ask(entry.ip, to));
        }
    }

    /// The time at which [`step`](Self::step) next has something to do.
    pub(crate) fn deadline(&self) -> Option<Time> {
        if !self.urgent.is_empty() {
            return Some(Time::ZERO);
        }
        self.waiting.front().map(|&(due, ..)| due)
    }

    fn find(&mut self, ip: IpAddr) -> Option<&mut Entry> {
        let slot = *self.index.get(&ip)?;
        self.entries.get_mut(slot as usize)
    }

    /// Begins a round of requests.
    fn ask(&mut self, slot: u32, now: Time) {
        if let Some(entry) = self.entries.get_mut(slot as usize) {
            entry.state = State::Asking(0, now);
            self.urgent.push_back((slot, entry.generation));
        }
        if self.urgent.len() > 2 * self.capacity {
            // Records of entries that were evicted before their first request.
            let entries = &self.entries;
            self.urgent.retain(|&(slot, generation)| {
                let entry = entries.get(slot as usize);
                entry.is_some_and(|entry| entry.generation == generation)
            });
        }
    }

    fn insert(&mut self, ip: IpAddr, now: Time) {
        let new = |generation| Entry {
            ip,
            mac: None,
            state: State::Asking(0, now),
            // An entry that is looked up only once is evicted before one in use.
            used: false,
            contested: false,
            generation,
        };
        let slot = if self.entries.len() < self.capacity {
            self.entries.push(new(0));
            self.entries.len() - 1
        } else {
            let slot = self.victim();
            if let Some(entry) = self.entries.get_mut(slot) {
                self.index.remove(&entry.ip);
                *entry = new(entry.generation.wrapping_add(1));
            }
            self.evicted += 1;
            slot
        };
        self.index.insert(ip, slot as u32);
        self.ask(slot as u32, now);
    }

    /// The entry to evict: one that is silent or was not used since the hand last passed, or else the last one examined.
    fn victim(&mut self) -> usize {
        for _ in 0..EVICTION_SCAN.min(self.capacity) {
            self.hand = (self.hand + 1) % self.capacity;
            let Some(entry) = self.entries.get_mut(self.hand) else {
                continue;
            };
            if !std::mem::take(&mut entry.used) || matches!(entry.state, State::Silent(_)) {
                break;
            }
        }
        self.hand
    }
}

#[cfg(test)]
#[path = "neighbours_tests.rs"]
mod tests;
