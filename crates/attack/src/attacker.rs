//! The device with attacks in it.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use hioload_device::{Burst, Capabilities, Device, DeviceStats, Frame, Waker};
use hioload_lcore::{Clock, Time};

use crate::conn::Conns;
use crate::control::{AttackControl, Count, Tally};
use crate::flood::Flood;
use crate::malformed::Malformed;
use crate::neighbour;
use crate::pace::Pace;
use crate::plan::{Attack, AttackKind, AttackPlan, PlanError, plan_error};
use crate::script::Script;
use crate::sources::Sources;
use crate::tx::TxQueue;
use crate::wire::{Link, Live, Parts, Segment, flag};

/// Frames sent per turn to end what an attack has left open.
const ENDINGS: u64 = 256;
/// The longest sleep while an attack has connections.
const NAP: Duration = Duration::from_millis(1);
/// A shorter one is none.
const LEAST_NAP: Duration = Duration::from_micros(50);
/// The load's own addresses that attacks come from at most.
const OWN_ADDRESSES: usize = 16;
/// Bytes of the longest answer for an address.
const NEIGHBOUR: usize = 18 + 40 + 32;

/// What an [`Attacker`] is to do.
#[derive(Clone, Debug)]
pub struct AttackOptions {
    /// Which attacks.
    pub plan: AttackPlan,
    /// Who is attacked: nobody else ever is. See [`AttackPlan::check_target`].
    pub target: SocketAddr,
    /// What is asked for in requests: the path of the load's URL.
    pub path: String,
    /// The load's own addresses, `StackConfig::addresses`; the first 16 of the target's family are used if the plan has no pool.
    pub own: Vec<IpAddr>,
    /// Ports of `own` that the load does not use: they have to be outside of `StackConfig::source_ports`, and answers to them are
    /// taken out of what the load receives. With a pool all ports from 1024 on are used.
    pub ports: RangeInclusive<u16>,
    /// Which lcore of the load this is; each takes an equal part of rates, connections and ports.
    pub lcore: usize,
    /// How many there are. Answers to an attack have to come by the queue it was sent on: those that come by another one are
    /// dropped there.
    pub lcores: usize,
}

impl AttackOptions {
    /// For one lcore, the path `/`, and a load that leaves the ports below 32768 alone (as `StackConfig`'s default does).
    #[must_use]
    pub fn new(
        plan: AttackPlan,
        target: SocketAddr,
        own: impl IntoIterator<Item = IpAddr>,
    ) -> Self {
        Self {
            plan,
            target,
            path: "/".into(),
            own: own.into_iter().collect(),
            ports: 1024..=32_767,
            lcore: 0,
            lcores: 1,
        }
    }

    /// Whether an [`Attacker`] can be made of it.
    ///
    /// # Errors
    /// As [`Attacker::new`].
    pub fn check(&self) -> Result<(), PlanError> {
        self.own_sources().map(|_| ())
    }

    /// All sources and whether they are a pool's, and those of each attack on this lcore.
    fn own_sources(&self) -> Result<(Sources, bool, Vec<Sources>), PlanError> {
        let (all, pool) = self.sources()?;
        let attacks = self.plan.attacks().len();
        let own = all.part(self.lcore, self.lcores.max(1));
        let parts = own.and_then(|own| (0..attacks).map(|i| own.part(i, attacks)).collect());
        match parts {
            Some(parts) => Ok((all, pool, parts)),
            None => {
                plan_error("there are fewer ports to attack from than attacks: see --attack-source")
            }
        }
    }

    /// All sources, and whether they are those of a pool.
    fn sources(&self) -> Result<(Sources, bool), PlanError> {
        let pool = self.plan.addresses();
        let (addresses, ports) = if pool.is_empty() {
            let v6 = self.target.is_ipv6();
            let alike = self.own.iter().filter(|ip| ip.is_ipv6() == v6);
            let alike: Vec<IpAddr> = alike.take(OWN_ADDRESSES).copied().collect();
            (alike, self.ports.clone())
        } else {
            (pool.clone(), 1024..=u16::MAX)
        };
        match Sources::new(&addresses, &ports) {
            Some(sources) => Ok((sources, !pool.is_empty())),
            None => plan_error(format!(
                "there is no address to attack {} from: see --attack-source",
                self.target
            )),
        }
    }

    /// This lcore's part of `whole`, which is at least 1.
    fn share(&self, whole: u64) -> u64 {
        let (lcore, lcores) = (self.lcore as u64, self.lcores.max(1) as u64);
        (whole / lcores + u64::from(lcore < whole % lcores)).max(1)
    }
}

enum Method {
    Flood(Flood),
    Malformed(Malformed),
    Conns(Box<Conns>),
}

/// An attack under way.
struct ActiveAttack {
    method: Method,
    pace: Pace,
    sources: Sources,
    tally: Tally,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Not begun yet: nothing that arrives can belong to it.
    Fresh,
    /// It was told to begin, and does as soon as the way is known.
    Waiting,
    Running,
    /// Ended; its connections are being reset.
    Ending,
    Ended,
}

/// A device with attacks beside what is sent over it.
pub struct Attacker<D: Device> {
    device: D,
    control: AttackControl,
    target: SocketAddr,
    attacks: Vec<ActiveAttack>,
    /// All sources of all attacks on all lcores.
    sources: Sources,
    /// They are not the load's.
    pool: bool,
    /// Ports of each attack.
    ports_each: u16,
    first_port: u16,
    link: Option<Link>,
    /// What the load has sent last, in the call before.
    live: Option<Live>,
    state: State,
    clock: Clock,
    /// Time from outside, if there is one.
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

    /// Gives it the time of the turns to come, instead of the clock's: for virtual time.
    pub fn set_now(&mut self, now: Time) {
        self.given = Some(now);
    }

    /// The device.
    pub fn get_mut(&mut self) -> &mut D {
        &mut self.device
    }

    /// The device.
    #[must_use]
    pub fn get_ref(&self) -> &D {
        &self.device
    }

    /// A turn begins: looks at the clock and at the control.
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

    /// Learns from what the load is about to send. The last frame of a burst is the last of its connection that was sent.
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

    /// Sends what is due of each attack.
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
                        flood.send_due(&mut tx, &attack.sources, self.live.as_ref())
                    }
                    Method::Malformed(malformed) => {
                        malformed.send_due(&mut tx, &link, &attack.sources)
                    }
                    Method::Conns(conns) => {
                        conns.send_due(&mut tx, &link, &attack.sources, (now, self.mtu));
                    }
                }
            }
            tx.flush();
            // What one attack finds full is full for the next.
            stuck = tx.stuck;
            let spent = left - tx.left;
            attack.pace.spend(spent);
            attack.tally.publish();
        }
        if ending && done {
            self.state = State::Ended;
        }
    }

    /// Whether a received frame is an answer to an attack; if so it is counted.
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

    /// The same of what is no TCP. Whatever comes to a pool is nobody's.
    #[cold]
    fn not_tcp(&mut self, frame: &[u8], parts: &Parts) -> bool {
        let to = parts.addresses(frame).map(|(_, to)| to);
        self.neighbour(frame) || to.is_some_and(|to| self.sources.has(to))
    }

    /// Answers a question for an address of the pool. Whether it was one.
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

    /// How long the device may sleep.
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

/// What an attack is carried out by.
fn method(attack: &Attack, options: &AttackOptions, sources: &Sources) -> Method {
    // Another one on each lcore.
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
        // What the load could not send goes first the next time.
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
