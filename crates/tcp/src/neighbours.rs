//! The stations behind IP addresses of our link: peers we connect to, and the router. Bounded, and hard to poison: only an
//! answer to a question of ours makes or changes an entry.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use hioload_lcore::Time;

/// Between questions (RFC 4861 §10: RETRANS_TIMER).
const RETRY: Duration = Duration::from_secs(1);
/// Questions (MAX_MULTICAST_SOLICIT).
const TRIES: u8 = 3;
/// How long an answer is taken as it is (REACHABLE_TIME); after that it is used, and asked for again.
const FRESH: Duration = Duration::from_secs(30);
/// How long an answer that nobody has asked for again can still be used.
const EXPIRED: Duration = Duration::from_secs(600);
/// How long nobody is asked again after there was no answer.
const HOLD: Duration = Duration::from_secs(3);
/// How many entries are looked at for one to give up.
const EVICTION_SCAN: usize = 16;

/// What is known of a neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lookup {
    /// It is there.
    Known([u8; 6]),
    /// It has been asked for; ask again later.
    Pending,
    /// It does not answer.
    Unreachable,
}

/// What there is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Ask for this address: everybody, or the station that had it last.
    Ask(IpAddr, Option<[u8; 6]>),
    /// It does not answer: whoever waits for it need not.
    Lost(IpAddr),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Asked so many times, last at the time.
    Asking(u8, Time),
    /// Answered at the time.
    Answered(Time),
    /// Nobody answered until the time.
    Silent(Time),
}

#[derive(Debug)]
struct Entry {
    ip: IpAddr,
    /// Usable while it is being asked for again, too.
    mac: Option<[u8; 6]>,
    state: State,
    /// Looked up since the hand last passed.
    used: bool,
    /// Another station has claimed the address: everybody is asked, not only the one that had it last.
    doubted: bool,
    /// Changes with the entry's address, so that what is queued for the last one is known.
    generation: u32,
}

/// The table.
#[derive(Debug)]
pub(crate) struct Neighbours {
    index: HashMap<IpAddr, u32>,
    entries: Vec<Entry>,
    capacity: usize,
    hand: usize,
    /// Entries to ask for now.
    urgent: VecDeque<(u32, u32)>,
    /// Entries asked for, with when to ask again; in order, for the time between is always the same.
    waiting: VecDeque<(Time, u32, u32)>,
    evicted: u64,
}

impl Neighbours {
    /// For up to `capacity` of them.
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
    /// Entries that made room for others.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    #[cfg(test)]
    /// How many are known or asked for.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// The station behind `ip`, an address of our link; it is asked for if it has to be.
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

    /// `mac` says that it has `ip`, to us alone; `true` if that had been asked, and is now known.
    pub(crate) fn answered(&mut self, ip: IpAddr, mac: [u8; 6], now: Time) -> bool {
        let Some(entry) = self.find(ip) else {
            return false;
        };
        if !matches!(entry.state, State::Asking(tries, _) if tries > 0) {
            return false;
        }
        entry.mac = Some(mac);
        entry.doubted = false;
        entry.state = State::Answered(now);
        true
    }

    /// `mac` says that it has `ip`, and nobody asked it. Known to be so: the entry is fresh again. Known otherwise: it may be
    /// true (a router's stand-in took over) or a lie, so the question is asked, of everybody.
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
                // At most one round of questions for each answer and second, however often it is said.
                entry.doubted = true;
                self.ask(slot, now);
            }
        }
    }

    /// What is due at `now`; to be called until there is nothing.
    pub(crate) fn step(&mut self, now: Time) -> Option<Step> {
        loop {
            let (slot, generation) = match self.urgent.pop_front() {
                Some(next) => next,
                None => match self.waiting.front() {
                    Some(&(due, slot, generation)) if due <= now => {
                        self.waiting.pop_front();
                        let asked = self.entries.get(slot as usize).map(|entry| entry.state);
                        // Answered, and perhaps asked for again since: another record is for that.
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
            // The station that had it last is asked first, the last time everybody: it may have moved.
            let to = entry.mac.filter(|_| !entry.doubted && tries + 1 < TRIES);
            entry.state = State::Asking(tries + 1, now);
            self.waiting.push_back((now + RETRY, slot, generation));
            return Some(Step::Ask(entry.ip, to));
        }
    }

    /// When [`step`](Self::step) has something to do, at the latest.
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

    /// Begins a round of questions.
    fn ask(&mut self, slot: u32, now: Time) {
        if let Some(entry) = self.entries.get_mut(slot as usize) {
            entry.state = State::Asking(0, now);
            self.urgent.push_back((slot, entry.generation));
        }
        if self.urgent.len() > 2 * self.capacity {
            // Entries given up before their question was asked.
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
            // Has to earn its place: one that is looked up once makes room before one in use.
            used: false,
            doubted: false,
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

    /// The entry to give up: one that was not used since the hand last passed, or is silent; else the one it stops at.
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
