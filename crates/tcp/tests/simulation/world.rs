//! One world: hosts, network and time.

use std::time::Duration;

use hioload_lcore::Time;
use hioload_tcp::{Handoff, Stack};

use crate::host::Host;
use crate::ledger::{Fate, Ledger};
use crate::net::{self, Net};
use crate::plan::{Plan, Trouble};
use crate::trace;

/// A connection without progress for this time, and without a disturbance, has stalled: the longest pause of a script and the
/// longest retransmission timeout together are shorter.
const PATIENCE: Duration = Duration::from_secs(150);

/// The latest end of a run.
const END: Duration = Duration::from_secs(6000);

/// The time after the last connection in which TIME_WAIT, orphans, neighbours and rings expire.
const REST: Duration = Duration::from_secs(400);

/// The time from the start of the last connection to the repair.
const CHAOS: Duration = Duration::from_secs(60);

/// The most turns without work at one point in time.
const SPIN: u32 = 1000;

pub struct World {
    ledger: Ledger,
    net: Net,
    hosts: Vec<Host>,
    frozen: Vec<Time>,
    /// SYN floods: their end, their interval, and the time of the next SYN.
    flood: Option<(Time, Duration, Time)>,
    garbage: Option<(Time, Time)>,
    troubles: Vec<(Time, Trouble)>,
}

/// Runs a seed to its end. Returns the hash of its history.
///
/// # Panics
/// If a check fails.
pub fn run(plan: Plan, trace: &trace::Shared) -> u64 {
    let mut world = World::new(plan, trace);
    world.live();
    world.rest();
    world.check_end();
    trace.hash()
}

impl World {
    fn new(plan: Plan, trace: &trace::Shared) -> Self {
        let net = Net::new(&plan, trace.clone());
        let mut troubles: Vec<_> = plan
            .troubles
            .iter()
            .map(|&(at, trouble)| (Time::ZERO + at, trouble))
            .collect();
        troubles.reverse();
        let count = plan.hosts.len();
        let mut world = Self {
            ledger: Ledger::new(plan, trace.clone()),
            net,
            hosts: Vec::new(),
            frozen: vec![Time::ZERO; count],
            flood: None,
            garbage: None,
            troubles,
        };
        let servers = world.ledger.plan.servers;
        world.start(0, servers);
        for host in servers..count {
            world.start(host, 1);
        }
        world
    }

    /// Starts `count` lcores of one host, the first of which is host `first`.
    fn start(&mut self, first: usize, count: usize) {
        let plan = &self.ledger.plan;
        let frame_size = plan.mtu + 18;
        let mut handoffs: Vec<_> = match count {
            1 => vec![None],
            _ => Handoff::mesh(count, frame_size)
                .into_iter()
                .map(Some)
                .collect(),
        };
        for (index, handoff) in (first..).zip(handoffs.drain(..)) {
            let device = self.net.plug(index, plan, self.ledger.now);
            let config = plan.hosts[index].clone();
            let stack = Stack::new(device, config, handoff, self.ledger.now).expect("a stack");
            let host = Host::new(index, index < plan.servers, stack);
            match self.hosts.get_mut(index) {
                Some(old) => *old = host,
                None => self.hosts.push(host),
            }
        }
        if self.ledger.healed.is_some() {
            self.net.heal(&self.ledger.plan);
        }
    }

    /// Runs from the first connection to the end of the last.
    fn live(&mut self) {
        let mut idle = 0;
        loop {
            let now = self.ledger.now;
            self.ledger.trace.at(now);
            self.trouble();
            self.begin();
            let busy = self.turn();
            self.heal();
            if self.ledger.healed.is_some() {
                if self.is_over() {
                    break;
                }
                for host in &mut self.hosts {
                    host.impatient(PATIENCE, &mut self.ledger);
                }
            }
            assert!(now < Time::ZERO + END, "no end in sight: {:?}", self.open());
            idle = if busy { 0 } else { idle + 1 };
            self.advance(busy, &mut idle);
        }
    }

    /// Runs until everything has expired.
    fn rest(&mut self) {
        let until = self.ledger.now + REST;
        self.ledger
            .trace
            .say("all connections have ended".to_owned());
        let mut idle = 0;
        while self.ledger.now < until {
            self.ledger.trace.at(self.ledger.now);
            let busy = self.turn();
            idle = if busy { 0 } else { idle + 1 };
            self.advance(busy, &mut idle);
        }
    }

    /// Runs a turn of every host and of the network, in any order.
    fn turn(&mut self) -> bool {
        let now = self.ledger.now;
        let first = self.ledger.random.below(self.hosts.len() as u64) as usize;
        let mut busy = self.net.pump(now);
        for index in 0..self.hosts.len() {
            let index = (first + index) % self.hosts.len();
            if self.frozen[index] <= now {
                busy |= self.hosts[index].turn(&mut self.ledger);
            }
        }
        busy | self.net.pump(now)
    }

    /// Advances the time: a little if there is work, or else to the next deadline.
    fn advance(&mut self, busy: bool, idle: &mut u32) {
        let now = self.ledger.now;
        let step = Duration::from_nanos(1 + self.ledger.random.below(self.ledger.plan.turn));
        if busy {
            self.ledger.now = now + step;
            return;
        }
        let next = self
            .next_deadline()
            .unwrap_or(now + Duration::from_secs(60));
        if next > now {
            *idle = 0;
            self.ledger.now = next;
        } else {
            assert!(
                *idle < SPIN,
                "a deadline in the past, and nothing to do: {next:?} at {now:?}"
            );
            self.ledger.now = now + step;
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        let now = self.ledger.now;
        let awake = |&(index, _): &(usize, &Host)| self.frozen[index] <= now;
        let hosts = self.hosts.iter().enumerate().filter(awake);
        let hosts = hosts.filter_map(|(_, host)| host.next_deadline()).min();
        let frozen = self.frozen.iter().copied().filter(|&at| at > now).min();
        let due = self
            .ledger
            .connections
            .iter()
            .filter(|c| c.client == Fate::None && self.frozen[c.dialogue.client] <= now);
        let due = due.map(|c| c.due).filter(|&due| due < Time::MAX).min();
        let trouble = self.troubles.last().map(|&(at, _)| at);
        let flood = self.flood.map(|(_, _, next)| next);
        let garbage = self.garbage.map(|(_, next)| next);
        let patience = self.ledger.healed.and_then(|_| self.patience());
        [
            hosts,
            frozen,
            due,
            trouble,
            flood,
            garbage,
            patience,
            self.net.next_deadline(now),
            self.healing(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The check for stalled connections has a deadline, too.
    fn patience(&self) -> Option<Time> {
        let busy = self.hosts.iter().any(|host| !host.is_idle());
        busy.then(|| self.ledger.now + Duration::from_secs(10))
    }

    /// Opens the connections that are due.
    fn begin(&mut self) {
        let now = self.ledger.now;
        for number in 0..self.ledger.connections.len() {
            let connection = &self.ledger.connections[number];
            let host = connection.dialogue.client;
            if connection.client != Fate::None || connection.due > now || self.frozen[host] > now {
                continue;
            }
            if let Err(error) = self.hosts[host].connect(number, &mut self.ledger) {
                self.ledger
                    .trace
                    .say(format!("connection {number} has to wait: {error}"));
                let patience =
                    now.saturating_sub(Time::ZERO + self.ledger.connections[number].dialogue.at);
                assert!(
                    patience < END / 2,
                    "connection {number} never gets a port: {error}"
                );
                self.ledger.connections[number].due = now + Duration::from_millis(700);
            }
        }
    }

    /// Begins the disturbances that are due.
    fn trouble(&mut self) {
        let now = self.ledger.now;
        while let Some((_, trouble)) = self.troubles.pop_if(|(at, _)| *at <= now) {
            self.ledger.trace.say(format!("{trouble:?}"));
            self.make(trouble);
        }
        if let Some((until, apart, next)) = &mut self.flood {
            while *next <= now {
                self.net.syn(&mut self.ledger.random, now);
                *next += *apart;
            }
            if *until <= now {
                self.flood = None;
            }
        }
        if let Some((until, next)) = &mut self.garbage {
            while *next <= now {
                self.net.garbage(&mut self.ledger.random, now);
                *next += self.ledger.random.micros(10..=10_000);
            }
            if *until <= now {
                self.garbage = None;
            }
        }
    }

    fn make(&mut self, trouble: Trouble) {
        let now = self.ledger.now;
        match trouble {
            Trouble::Down(host, time) => {
                self.ledger.excuses.outage = true;
                self.net.cut(host, now + time);
            }
            Trouble::Freeze(host, time) => {
                self.ledger.excuses.outage = true;
                self.frozen[host] = now + time;
            }
            Trouble::Restart(host) => self.restart(host),
            Trouble::PathMtu(mtu) => {
                // Frames in flight are lost.
                self.ledger.excuses.loss = true;
                self.net.path_mtu = mtu;
            }
            Trouble::TooBig(mtu) => {
                let host = self.ledger.random.below(self.hosts.len() as u64) as usize;
                let nth = self.ledger.random.next();
                let ends = self.hosts[host].ends_of(nth);
                let ends = ends.map(|(l, p)| (l.ip(), l.port(), p.ip(), p.port()));
                self.net
                    .claim(host, ends, mtu as u16, &mut self.ledger.random, now);
            }
            Trouble::Rehash => self.net.rss = self.ledger.random.next(),
            Trouble::Flood(per_milli, time) => {
                self.ledger.excuses.flood = true;
                self.flood = Some((now + time, net::apart(per_milli), now));
            }
            Trouble::Garbage(time) => self.garbage = Some((now + time, now)),
        }
    }

    /// Restarts a host, or all lcores of the server.
    fn restart(&mut self, host: usize) {
        self.ledger.excuses.restart = true;
        let servers = self.ledger.plan.servers;
        let (first, count) = if host < servers {
            (0, servers)
        } else {
            (host, 1)
        };
        for host in &mut self.hosts[first..first + count] {
            host.forget(&mut self.ledger);
        }
        self.start(first, count);
    }

    /// The time of the repair, if that is known.
    fn healing(&self) -> Option<Time> {
        if self.ledger.healed.is_some() {
            return None;
        }
        let ordinary = || {
            let all = self.ledger.connections.iter();
            all.filter(|connection| !connection.dialogue.probe)
        };
        let quiet = self.troubles.is_empty() && self.flood.is_none() && self.garbage.is_none();
        let over = ordinary().all(|connection| connection.is_over());
        let frozen = self.frozen.iter().copied().max().unwrap_or(Time::ZERO);
        let begun = ordinary().map(|c| Time::ZERO + c.dialogue.at).max();
        let last = begun.unwrap_or(Time::ZERO).max(frozen);
        match (quiet, over) {
            (true, true) => Some(frozen),
            (true, false) => Some(last + CHAOS),
            (false, _) => None,
        }
    }

    /// Repairs the world when it is time, and begins the probes.
    fn heal(&mut self) {
        let now = self.ledger.now;
        if self.healing().is_none_or(|at| at > now) {
            return;
        }
        self.ledger.trace.say("everything is repaired".to_owned());
        self.ledger.healed = Some(now);
        self.net.heal(&self.ledger.plan);
        for connection in &mut self.ledger.connections {
            if connection.dialogue.probe {
                // By then wrong neighbours have expired, and no limit is exceeded any more.
                let later = self.ledger.random.millis(0..=2000);
                connection.due = now + PROBE_AFTER + later;
            }
        }
    }

    fn is_over(&self) -> bool {
        self.ledger
            .connections
            .iter()
            .all(|connection| connection.is_over())
            && self.hosts.iter().all(Host::is_idle)
    }

    /// The connections that have not ended.
    fn open(&self) -> Vec<usize> {
        let connections = self.ledger.connections.iter().enumerate();
        connections
            .filter(|(_, c)| !c.is_over())
            .map(|(number, _)| number)
            .collect()
    }

    fn check_end(&mut self) {
        for number in 0..self.ledger.connections.len() {
            if self.ledger.must_succeed(number) {
                let connection = &self.ledger.connections[number];
                let fine = |fate| matches!(fate, Fate::Released(_, true) | Fate::Closed(None));
                assert!(
                    fine(connection.client) && fine(connection.server),
                    "connection {number} had to succeed: {connection:?}"
                );
            }
        }
        for host in &mut self.hosts {
            host.check_end();
            let index = host.index;
            let device = host.stack.device();
            device.settle();
            let free = device.pool().available();
            let ours = self.net.free(index);
            device.settle();
            let free = free.max(device.pool().available());
            let chunks = 2 * self.ledger.plan.chunks;
            assert_eq!(free + ours, chunks, "host {index}: frames lost");
        }
    }
}
const PROBE_AFTER: Duration = Duration::from_secs(90);
