//! The device that adds attacks to a load.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hioload_device::{Burst, Capabilities, Device, DeviceStats, Frame, Waker};
use hioload_lcore::{Clock, Time};

use crate::attack::Attack;
use crate::conns::Conns;
use crate::control::{AttackControl, Count, Tally};
use crate::error::PlanError;
use crate::flood::Flood;
use crate::kind::AttackKind;
use crate::link::Link;
use crate::malformed::Malformed;
use crate::neighbour;
use crate::options::AttackOptions;
use crate::pace::Pace;
use crate::script::Script;
use crate::segment::{Live, Parts, Segment, flag};
use crate::sources::Sources;
use crate::tx::TxQueue;

/// Resets sent per turn after the end of an attack.
const ENDINGS: u64 = 256;
/// The longest sleep while an attack runs.
const NAP: Duration = Duration::from_millis(1);
/// A shorter sleep is skipped.
const LEAST_NAP: Duration = Duration::from_micros(50);
/// Bytes of the longest ARP reply or neighbour advertisement.
const NEIGHBOUR: usize = 18 + 40 + 32;

enum Method {
    Flood(Flood),
    Malformed(Malformed),
    Conns(Box<Conns>),
}

/// A running attack.
struct ActiveAttack {
    method: Method,
    pace: Pace,
    sources: Sources,
    tally: Tally,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// No attack has begun, so that no received frame belongs to one.
    Fresh,
    /// The attack was started and waits until the path to the target is known.
    Waiting,
    Running,
    /// The attack was stopped, and its connections are being reset.
    Ending,
    Ended,
}

/// A device that adds attacks to the frames sent through it. See the [crate documentation](crate).
pub struct Attacker<D: Device> {
    device: D,
    control: AttackControl,
    target: SocketAddr,
    attacks: Vec<ActiveAttack>,
    /// All sources of all attacks on all lcores.
    sources: Sources,
    /// The sources are a pool, and not addresses of the load.
    pool: bool,
    /// Number of ports of each attack.
    ports_each: u16,
    first_port: u16,
    link: Option<Link>,
    /// The last segment of the load, from the latest call.
    live: Option<Live>,
    state: State,
    clock: Clock,
    /// Virtual time, if it is used.
    given: Option<Time>,
    now: Time,
    mtu: usize,
    out: Burst<D::Frame>,
}

impl<D: Device> Attacker<D> {
    /// Wraps a device.
    ///
    /// # Errors
    /// If there is no address of the target's family to attack from, or there are not enough ports for all attacks.
    pub fn new(
        device: D,
        options: &AttackOptions,
        control: &AttackControl,
    ) -> Result<Self, PlanError> {
        let (sources, pool, parts) = options.own_sources()?;
        let attacks = options.plan.attacks().iter().zip(parts);
        let attacks: Vec<ActiveAttack> = attacks
            .enumerate()
            .map(|(index, (attack, sources))| ActiveAttack {
                method: method(attack, options, &sources),
                pace: Pace::new(options.share(attack.rate)),
                tally: control.tally(index),
                sources,
            })
            .collect();
        let first = &attacks[0].sources;
        let mtu = device.capabilities().mtu;
        Ok(Self {
            control: control.clone(),
            target: options.target,
            pool,
            ports_each: first.ports(),
            first_port: first.first_port(),
            attacks,
            sources,
            link: None,
            live: None,
            state: State::Fresh,
            clock: Clock::new(),
            given: None,
            now: Time::ZERO,
            mtu,
            out: Burst::new(),
            device,
        })
    }

    /// Sets the time of the following turns, for virtual time. Without it the attacker reads a clock.
    pub fn set_now(&mut self, now: Time) {
        self.given = Some(now);
    }

    /// The wrapped device.
    pub fn get_mut(&mut self) -> &mut D {
        &mut self.device
    }

    /// The wrapped device.
    #[must_use]
    pub fn get_ref(&self) -> &D {
        &self.device
    }

    /// Begins a turn: reads the clock and the control.
    #[inline]
    fn begin(&mut self) {
        let running = self.control.is_running();
        if !running && matches!(self.state, State::Fresh | State::Ended) {
            return;
        }
        self.now = match self.given {
            Some(now) => now,
            None => self.clock.tick(),
        };
        self.state = match (running, self.state) {
            (true, State::Running) => State::Running,
            (true, _) if self.link.is_some() => {
                self.start();
                State::Running
            }
            (true, _) => State::Waiting,
            (false, State::Waiting) => State::Ended,
            (false, State::Running | State::Ending) => State::Ending,
            (false, quiet) => quiet,
        };
    }

    fn start(&mut self) {
        let now = self.now.as_nanos();
        for attack in &mut self.attacks {
            attack.pace.start(now);
            if let Method::Conns(conns) = &mut attack.method {
                conns.start(now);
            }
        }
    }

    /// Learns the path to the target, and a live segment, from the frames that the load is about to send. The last frame of a burst is
    /// the last segment of its connection.
    #[inline]
    fn learn(&mut self, burst: &[D::Frame]) {
        self.live = None;
        let wanted = match self.state {
            State::Fresh | State::Ended => self.link.is_none(),
            _ => true,
        };
        let Some(frame) = burst.last().filter(|_| wanted) else {
            return;
        };
        let bytes = frame.bytes();
        if let Some(link) = Link::of(bytes, self.target) {
            if self.link != Some(link) {
                self.link = Some(link);
                for attack in &mut self.attacks {
                    if let Method::Flood(flood) = &mut attack.method {
                        flood.set_link(&link);
                    }
                }
            }
            let parts = Parts::of(bytes);
            let segment = parts.and_then(|parts| Segment::of(bytes, &parts));
            self.live = segment.map(|segment| segment.live());
        }
    }

    /// Sends the packets of each attack that are due.
    fn send_due(&mut self) {
        let Some(link) = self.link else { return };
        let now = self.now.as_nanos();
        let ending = self.state == State::Ending;
        let (mut done, mut stuck) = (true, false);
        for attack in &mut self.attacks {
            let left = if ending {
                ENDINGS
            } else {
                attack.pace.due(now)
            };
            let mut tx = TxQueue {
                device: &mut self.device,
                out: &mut self.out,
                tally: &mut attack.tally,
                stuck,
                left,
            };
            if ending {
                if let Method::Conns(conns) = &mut attack.method {
                    done &= conns.finish(&mut tx, &link, &attack.sources);
                }
            } else if left > 0 {
                match &mut attack.method {
                    Method::Flood(flood) => {
                        flood.send_due(&mut tx, &attack.sources, self.live.as_ref());
                    }
                    Method::Malformed(malformed) => {
                        malformed.send_due(&mut tx, &link, &attack.sources);
                    }
                    Method::Conns(conns) => {
                        conns.send_due(&mut tx, &link, &attack.sources, (now, self.mtu));
                    }
                }
            }
            tx.flush();
            // A ring that is full for one attack is full for the next.
            stuck = tx.stuck;
            let spent = left - tx.left;
            attack.pace.spend(spent);
            attack.tally.publish();
        }
        if ending && done {
            self.state = State::Ended;
        }
    }

    /// Processes a received frame. Returns whether it belongs to an attack.
    #[inline]
    fn receive(&mut self, frame: &[u8]) -> bool {
        let Some(parts) = Parts::of(frame) else {
            return self.pool && self.neighbour(frame);
        };
        let Some(segment) = Segment::of(frame, &parts) else {
            return self.pool && self.not_tcp(frame, &parts);
        };
        let destination = segment.destination;
        if self.sources.find(destination, segment.to).is_none() {
            return self.pool && self.sources.has(destination);
        }
        let Some(port) = segment.to.checked_sub(self.first_port) else {
            return true;
        };
        if let Some(attack) = self.attacks.get_mut(usize::from(port / self.ports_each)) {
            let tally = &mut attack.tally;
            let flags = segment.flags;
            let count = if flags & flag::RST != 0 {
                Count::Rst
            } else if flags & flag::SYN != 0 {
                Count::SynAck
            } else if segment.payload.is_empty() {
                Count::Ack
            } else {
                Count::Data
            };
            tally.bump(count);
            if let Method::Conns(conns) = &mut attack.method
                && let Some(number) = attack.sources.find(destination, segment.to)
            {
                conns.receive(number, &segment, self.now.as_nanos(), tally);
            }
        }
        true
    }

    /// Processes a received packet that is not TCP. Returns whether it belongs to the pool.
    #[cold]
    fn not_tcp(&mut self, frame: &[u8], parts: &Parts) -> bool {
        let to = parts.addresses(frame).map(|(_, to)| to);
        self.neighbour(frame) || to.is_some_and(|to| self.sources.has(to))
    }

    /// Answers ARP and neighbour solicitation for addresses of the pool. Returns whether the frame was one.
    #[cold]
    fn neighbour(&mut self, frame: &[u8]) -> bool {
        let Some(query) = neighbour::query(frame, &self.sources) else {
            return false;
        };
        let mac = match &self.link {
            Some(link) => link.own_mac,
            None => self.device.capabilities().mac,
        };
        if let Some(mut answer) = self.device.alloc()
            && answer.room() >= NEIGHBOUR
        {
            answer.set_len(NEIGHBOUR);
            if let Some(len) = neighbour::write_reply(&query, frame, mac, answer.bytes_mut()) {
                answer.set_len(len);
                self.out.push(answer);
                self.device.tx_burst(&mut self.out);
                self.out.clear();
            }
        }
        true
    }

    /// The longest time that the device may sleep.
    fn nap(&self, timeout: Option<Duration>) -> Option<Duration> {
        let nap = match self.state {
            State::Ending => Duration::ZERO,
            State::Running => self.attacks.iter().fold(NAP, |nap, attack| {
                nap.min(Duration::from_nanos(attack.pace.until_next()))
            }),
            _ => return timeout,
        };
        let nap = if nap < LEAST_NAP { Duration::ZERO } else { nap };
        Some(timeout.map_or(nap, |timeout| timeout.min(nap)))
    }
}

/// Makes the method of an attack.
fn method(attack: &Attack, options: &AttackOptions, sources: &Sources) -> Method {
    // Each lcore has a seed of its own.
    let seed = attack.seed ^ (options.lcore as u64) << 48;
    match attack.kind {
        AttackKind::SynFlood | AttackKind::AckStorm | AttackKind::RstStorm => {
            Method::Flood(Flood::new(attack.kind, seed, attack.live, sources))
        }
        AttackKind::Malformed => Method::Malformed(Malformed::new(seed)),
        kind => {
            let script = Script::new(kind, options.target, &options.path);
            let connections = options.share(attack.connections.into()) as u32;
            Method::Conns(Box::new(Conns::new(attack, connections, script, sources)))
        }
    }
}

impl<D: Device> Device for Attacker<D> {
    type Frame = D::Frame;

    fn capabilities(&self) -> Capabilities {
        self.device.capabilities()
    }

    #[inline]
    fn rx_burst(&mut self, burst: &mut Burst<D::Frame>) -> usize {
        self.begin();
        let before = burst.len();
        self.device.rx_burst(burst);
        if self.state != State::Fresh {
            let mut at = 0;
            burst.retain(|frame| {
                at += 1;
                at <= before || !self.receive(frame.bytes())
            });
        }
        burst.len() - before
    }

    #[inline]
    fn tx_burst(&mut self, burst: &mut Burst<D::Frame>) -> usize {
        self.learn(burst);
        let taken = self.device.tx_burst(burst);
        // If the load has frames left, they go first in the next turn.
        if burst.is_empty() && matches!(self.state, State::Running | State::Ending) {
            self.send_due();
        }
        taken
    }

    #[inline]
    fn alloc(&mut self) -> Option<D::Frame> {
        self.device.alloc()
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = self.nap(timeout);
        self.device.wait(timeout)
    }

    fn waker(&self) -> Waker {
        self.device.waker()
    }

    fn stats(&self) -> DeviceStats {
        self.device.stats()
    }
}

impl<D: Device + fmt::Debug> fmt::Debug for Attacker<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attacker")
            .field("device", &self.device)
            .field("target", &self.target)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
