//! What is to be done: which attacks, at what rates, from where, and whom not to.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use hioload_tcp::Cidr;

/// Source addresses that are used at most of a pool: each has some ten thousand ports.
pub const MAX_ADDRESSES: usize = 256;
/// Connections of one attack at most.
const MAX_CONNECTIONS: u32 = 65_536;
/// Packets per second at most: more than any device takes.
const MAX_RATE: u64 = 1_000_000_000;

/// The attacks there are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AttackKind {
    /// SYNs from ever new addresses and ports, never followed up.
    SynFlood,
    /// Acknowledgements: of no connection, and of the load's own with wrong numbers (RFC 5961 §5).
    AckStorm,
    /// Resets and SYNs: of no connection, and of the load's own with wrong sequence numbers (RFC 5961 §3 and §4).
    RstStorm,
    /// Frames that are wrong in any layer up to TCP.
    Malformed,
    /// Connections whose handshakes and messages come one byte in a segment.
    TinySegments,
    /// Connections whose segments come out of order, overlap, and contradict each other.
    Overlap,
    /// Connections that ask for much and keep their window closed.
    ZeroWindow,
    /// Connections that ask for much and read a few bytes at a time.
    SlowReader,
    /// Handshakes of TCP and HTTP that never end.
    SlowHandshake,
    /// Requests and WebSocket frames that break RFC 6455.
    BadFrames,
}

impl AttackKind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::SynFlood,
        Self::AckStorm,
        Self::RstStorm,
        Self::Malformed,
        Self::TinySegments,
        Self::Overlap,
        Self::ZeroWindow,
        Self::SlowReader,
        Self::SlowHandshake,
        Self::BadFrames,
    ];

    /// As on the command line and in the names of counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SynFlood => "syn-flood",
            Self::AckStorm => "ack-storm",
            Self::RstStorm => "rst-storm",
            Self::Malformed => "malformed",
            Self::TinySegments => "tiny-segments",
            Self::Overlap => "overlap",
            Self::ZeroWindow => "zero-window",
            Self::SlowReader => "slow-reader",
            Self::SlowHandshake => "slow-handshake",
            Self::BadFrames => "bad-frames",
        }
    }

    /// One line of what it does.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::SynFlood => "SYNs from ever new sources, never followed up",
            Self::AckStorm => {
                "acknowledgements of no connection, and of the load's own with wrong numbers"
            }
            Self::RstStorm => {
                "resets and SYNs of no connection, and of the load's own with wrong numbers"
            }
            Self::Malformed => "frames that are wrong in any layer up to TCP",
            Self::TinySegments => "handshakes and messages that come one byte in a segment",
            Self::Overlap => "segments out of order, overlapping, and contradicting each other",
            Self::ZeroWindow => "clients that ask for much and keep their window closed",
            Self::SlowReader => "clients that ask for much and read a few bytes at a time",
            Self::SlowHandshake => "handshakes of TCP and HTTP that never end",
            Self::BadFrames => "requests and frames that break RFC 6455",
        }
    }

    /// Whether it has connections, and not only packets.
    #[must_use]
    pub const fn connects(self) -> bool {
        !matches!(
            self,
            Self::SynFlood | Self::AckStorm | Self::RstStorm | Self::Malformed
        )
    }

    /// Whether part of it goes to the load's own connections.
    const fn targets_load(self) -> bool {
        matches!(self, Self::AckStorm | Self::RstStorm)
    }

    /// Whether it waits on purpose.
    const fn has_interval(self) -> bool {
        matches!(self, Self::SlowReader | Self::SlowHandshake)
    }

    /// The parameters it takes, for messages.
    fn parameters(self) -> &'static str {
        match (self.connects(), self.targets_load(), self.has_interval()) {
            (true, _, true) => "rate, seed, connections and interval",
            (true, ..) => "rate, seed and connections",
            (_, true, _) => "rate, seed and live",
            _ => "rate and seed",
        }
    }
}

impl fmt::Display for AttackKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why something is no plan of attacks: one line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlanError(String);

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PlanError {}

pub(crate) fn plan_error<T>(text: impl Into<String>) -> Result<T, PlanError> {
    Err(PlanError(text.into()))
}

/// One attack: `syn-flood,rate=100k`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attack {
    /// Which.
    pub kind: AttackKind,
    /// Packets per second, 1 to 10^9. With connections it is the most they send together; what they send as a rule depends on the
    /// server's answers.
    pub rate: u64,
    /// What its random numbers are drawn from: the same seed gives the same packets.
    pub seed: u64,
    /// Connections it has at once, 1 to 65536; 0 for those that have none.
    pub connections: u32,
    /// Part of the packets that goes to the load's own connections, in percent; 0 for those that cannot.
    pub live: u8,
    /// Between two bytes, or two reads; zero for those that do not wait.
    pub interval: Duration,
}

impl Attack {
    /// With its defaults.
    #[must_use]
    pub fn new(kind: AttackKind) -> Self {
        let (rate, connections) = match kind {
            AttackKind::SynFlood | AttackKind::AckStorm | AttackKind::RstStorm => (100_000, 0),
            AttackKind::Malformed => (50_000, 0),
            AttackKind::TinySegments | AttackKind::Overlap => (20_000, 16),
            AttackKind::ZeroWindow | AttackKind::SlowReader => (10_000, 64),
            AttackKind::SlowHandshake => (10_000, 256),
            AttackKind::BadFrames => (5_000, 16),
        };
        Self {
            kind,
            rate,
            seed: 1,
            connections,
            live: if kind.targets_load() { 50 } else { 0 },
            interval: if kind.has_interval() {
                Duration::from_secs(1)
            } else {
                Duration::ZERO
            },
        }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), PlanError> {
        let kind = self.kind;
        let refuse = |what: &str| {
            plan_error(format!(
                "attack {kind}: {key}={value}: {key} has to be {what}"
            ))
        };
        match key {
            "rate" => match number(value) {
                Some(rate @ 1..=MAX_RATE) => self.rate = rate,
                _ => return refuse("packets per second, 1 to 1000M, such as 250000, 100k or 1M"),
            },
            "seed" => match value.parse() {
                Ok(seed) => self.seed = seed,
                Err(_) => return refuse("a whole number"),
            },
            "connections" if kind.connects() => match number(value) {
                Some(n) if (1..=u64::from(MAX_CONNECTIONS)).contains(&n) => {
                    self.connections = n as u32;
                }
                _ => return refuse("1 to 65536"),
            },
            "live" if kind.targets_load() => match value.strip_suffix('%').unwrap_or(value).parse()
            {
                Ok(percent @ 0..=100) => self.live = percent,
                _ => return refuse("0 to 100, percent"),
            },
            "interval" if kind.has_interval() => match time(value) {
                Some(time) if !time.is_zero() => self.interval = time,
                _ => return refuse("a time, such as 100ms or 1s"),
            },
            _ => {
                let takes = kind.parameters();
                return plan_error(format!("attack {kind} has no '{key}': it takes {takes}"));
            }
        }
        Ok(())
    }
}

/// `250000`, `100k`, `2M`.
fn number(text: &str) -> Option<u64> {
    let (digits, factor) = match text.chars().last()? {
        'k' | 'K' => (&text[..text.len() - 1], 1_000),
        'm' | 'M' => (&text[..text.len() - 1], 1_000_000),
        _ => (text, 1),
    };
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits
        .parse::<u64>()
        .ok()
        .filter(|_| plain)?
        .checked_mul(factor)
}

/// `100ms`, `1s`.
fn time(text: &str) -> Option<Duration> {
    let (digits, micros) = if let Some(digits) = text.strip_suffix("us") {
        (digits, 1)
    } else if let Some(digits) = text.strip_suffix("ms") {
        (digits, 1_000)
    } else {
        (text.strip_suffix('s')?, 1_000_000)
    };
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse::<u64>().ok().filter(|_| plain)?;
    Some(Duration::from_micros(number.checked_mul(micros)?))
}

fn time_text(time: Duration) -> String {
    match time.as_micros() {
        micros if micros % 1_000_000 == 0 => format!("{}s", micros / 1_000_000),
        micros if micros % 1_000 == 0 => format!("{}ms", micros / 1_000),
        micros => format!("{micros}us"),
    }
}

fn number_text(number: u64) -> String {
    match number {
        n if n % 1_000_000 == 0 => format!("{}M", n / 1_000_000),
        n if n % 1_000 == 0 => format!("{}k", n / 1_000),
        n => n.to_string(),
    }
}

impl FromStr for Attack {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let mut words = text.split(',').map(str::trim);
        let name = words.next().unwrap_or_default();
        let Some(kind) = AttackKind::ALL.into_iter().find(|kind| kind.name() == name) else {
            let names = AttackKind::ALL.map(AttackKind::name).join(", ");
            return plan_error(format!("there is no attack '{name}': there are {names}"));
        };
        let mut attack = Self::new(kind);
        let mut seen = Vec::new();
        for word in words {
            let Some((key, value)) = word.split_once('=') else {
                return plan_error(format!(
                    "attack {kind}: '{word}' is not KEY=VALUE: it takes {}",
                    kind.parameters()
                ));
            };
            if seen.contains(&key) {
                return plan_error(format!("attack {kind} has '{key}' twice"));
            }
            seen.push(key);
            attack.set(key, value)?;
        }
        Ok(attack)
    }
}

/// As it is read; what has its default is left out, but for the rate.
impl fmt::Display for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usual = Self::new(self.kind);
        write!(f, "{},rate={}", self.kind, number_text(self.rate))?;
        if self.connections != usual.connections {
            write!(f, ",connections={}", self.connections)?;
        }
        if self.live != usual.live {
            write!(f, ",live={}", self.live)?;
        }
        if self.interval != usual.interval {
            write!(f, ",interval={}", time_text(self.interval))?;
        }
        if self.seed != usual.seed {
            write!(f, ",seed={}", self.seed)?;
        }
        Ok(())
    }
}

/// Attacks at once, each of another kind, and where they come from.
///
/// ```
/// use hioload_attack::AttackPlan;
///
/// let plan: AttackPlan = "syn-flood,rate=100k+malformed".parse()?;
/// assert_eq!(plan.to_string(), "syn-flood,rate=100k+malformed,rate=50k");
/// # Ok::<(), hioload_attack::PlanError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AttackPlan {
    attacks: Vec<Attack>,
    pool: Option<Cidr>,
}

impl AttackPlan {
    /// Of these attacks, from the load's own addresses.
    ///
    /// # Errors
    /// If there is none, or one kind twice.
    pub fn new(attacks: impl IntoIterator<Item = Attack>) -> Result<Self, PlanError> {
        let attacks: Vec<Attack> = attacks.into_iter().collect();
        if attacks.is_empty() {
            return plan_error("there is no attack in it");
        }
        for (i, attack) in attacks.iter().enumerate() {
            if attacks[..i].iter().any(|other| other.kind == attack.kind) {
                return plan_error(format!("attack {} is there twice", attack.kind));
            }
        }
        Ok(Self {
            attacks,
            pool: None,
        })
    }

    /// The attacks.
    #[must_use]
    pub fn attacks(&self) -> &[Attack] {
        &self.attacks
    }

    /// The same from addresses of this network: of the first [`MAX_ADDRESSES`] hosts in it (`--attack-source`). Without it an
    /// attack comes from the load's own addresses, by ports the load does not use.
    #[must_use]
    pub fn with_source(mut self, pool: Cidr) -> Self {
        self.pool = Some(pool);
        self
    }

    /// The addresses of the pool: what a port has to take frames for besides the load's own addresses. For AF_XDP they belong
    /// in `PortOptions::addresses`, or the answers go to the kernel. They are answered for (ARP, neighbour discovery) by
    /// the [`Attacker`](crate::Attacker). None without a pool.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.pool.map(hosts).unwrap_or_default()
    }

    /// Whether `target` may be attacked: addresses of private networks (RFC 1918, RFC 4193), of this machine, of this link, and those
    /// for benchmarks (RFC 2544, RFC 5180) may; others only if whoever asks has said that they are his.
    ///
    /// # Errors
    /// If it may not, or a pool is there and is of the other family or has the target's own address.
    pub fn check_target(&self, target: SocketAddr, owned: bool) -> Result<(), PlanError> {
        let ip = target.ip();
        if !owned && !is_local(ip) {
            return plan_error(format!(
                "{ip} is no private, link-local or loopback address: an attack on it needs --i-own-the-target, from who does"
            ));
        }
        let Some(pool) = self.pool else {
            return Ok(());
        };
        if pool.addr().is_ipv4() != ip.is_ipv4() {
            return plan_error(format!(
                "--attack-source {pool} is not of the target's family ({ip})"
            ));
        }
        if hosts(pool).contains(&ip) {
            return plan_error(format!(
                "--attack-source {pool} has the target's own address {ip}"
            ));
        }
        Ok(())
    }
}

/// Where no stranger can be.
fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || (a == 198 && b & 0xfe == 18)
        }
        IpAddr::V6(ip) => {
            let benchmark = ip.segments()[..3] == [0x2001, 2, 0];
            let embedded = ip
                .to_ipv4_mapped()
                .is_some_and(|ip| is_local(IpAddr::V4(ip)));
            ip.is_loopback()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
                || benchmark
                || embedded
        }
    }
}

/// The first hosts of a network. Of IPv4 without the addresses of the network itself and the broadcast.
fn hosts(pool: Cidr) -> Vec<IpAddr> {
    let prefix = u32::from(pool.prefix());
    match pool.addr() {
        IpAddr::V4(addr) => {
            let size = 1_u64 << (32 - prefix);
            let base = u64::from(u32::from(addr)) & !(size - 1);
            let (first, last) = if size > 2 {
                (1, size - 2)
            } else {
                (0, size - 1)
            };
            let last = last.min(first + MAX_ADDRESSES as u64 - 1);
            (first..=last)
                .map(|n| IpAddr::V4(((base + n) as u32).into()))
                .collect()
        }
        IpAddr::V6(addr) => {
            let host_bits = 128 - prefix;
            let mask = if host_bits == 128 {
                u128::MAX
            } else {
                (1 << host_bits) - 1
            };
            let base = u128::from(addr) & !mask;
            let (first, last) = if mask > 1 { (1, mask) } else { (0, mask) };
            let last = last.min(first + MAX_ADDRESSES as u128 - 1);
            (first..=last)
                .map(|n| IpAddr::V6(Ipv6Addr::from(base + n)))
                .collect()
        }
    }
}

impl FromStr for AttackPlan {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let attacks: Result<Vec<Attack>, _> = text
            .split('+')
            .map(|part| part.trim().parse::<Attack>())
            .collect();
        Self::new(attacks?)
    }
}

impl fmt::Display for AttackPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, attack) in self.attacks.iter().enumerate() {
            let joint = if i == 0 { "" } else { "+" };
            write!(f, "{joint}{attack}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let Err(error) = text.parse::<AttackPlan>() else {
            panic!("{text} was taken");
        };
        error.to_string()
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        for kind in AttackKind::ALL {
            let plan: AttackPlan = kind.name().parse().expect("a name alone");
            assert_eq!(plan.attacks(), [Attack::new(kind)]);
            assert_eq!(plan.to_string().parse::<AttackPlan>(), Ok(plan));
        }
        for text in [
            "syn-flood,rate=1M,seed=7+malformed,rate=1",
            "rst-storm,rate=1500,live=100+slow-reader,rate=1k,connections=7,interval=250ms",
            "slow-handshake,rate=10k,interval=3us",
        ] {
            let plan: AttackPlan = text.parse().expect("a plan");
            assert_eq!(plan.to_string().parse::<AttackPlan>(), Ok(plan));
        }
        let plan: AttackPlan = "rst-storm,live=100%,rate=2M".parse().expect("a plan");
        assert_eq!(
            (plan.attacks()[0].live, plan.attacks()[0].rate),
            (100, 2_000_000)
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, says) in [
            ("", "there is no attack ''"),
            (
                "teardrop",
                "there is no attack 'teardrop': there are syn-flood,",
            ),
            ("syn-flood,rate=0", "rate has to be packets per second"),
            ("syn-flood,rate=+5", "rate has to be packets per second"),
            (
                "syn-flood,rate=18446744073709551615k",
                "rate=18446744073709551615k",
            ),
            ("syn-flood,rate=1,rate=2", "has 'rate' twice"),
            ("syn-flood,fast", "'fast' is not KEY=VALUE"),
            (
                "syn-flood,connections=5",
                "has no 'connections': it takes rate and seed",
            ),
            (
                "overlap,live=5",
                "has no 'live': it takes rate, seed and connections",
            ),
            ("ack-storm,live=101", "live has to be 0 to 100"),
            ("slow-reader,interval=0s", "interval has to be a time"),
            ("slow-reader,connections=65537", "1 to 65536"),
            ("syn-flood+syn-flood", "attack syn-flood is there twice"),
        ] {
            let said = refused(text);
            assert!(said.contains(says), "{text}: {said}");
            assert!(!said.contains('\n'));
        }
    }

    #[test]
    fn strangers_are_attacked_by_their_owners_alone() {
        let plan: AttackPlan = "syn-flood".parse().expect("a plan");
        let may = |ip: &str, owned| {
            let target = SocketAddr::new(ip.parse().expect("an address"), 80);
            plan.check_target(target, owned).is_ok()
        };
        for ip in [
            "10.77.0.2",
            "172.31.0.1",
            "192.168.1.1",
            "127.0.0.1",
            "169.254.1.1",
            "198.19.255.255",
            "fd77::2",
            "fe80::1",
            "::1",
            "2001:2::5",
            "::ffff:10.0.0.1",
        ] {
            assert!(may(ip, false), "{ip}");
        }
        for ip in [
            "8.8.8.8",
            "172.32.0.1",
            "198.20.0.1",
            "2001:db8::1",
            "2001:2:1::1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
        ] {
            assert!(!may(ip, false) && may(ip, true), "{ip}");
        }
    }

    #[test]
    fn a_pool_has_few_addresses_and_not_the_targets() {
        let pool = |text: &str| -> AttackPlan {
            let plan: AttackPlan = "syn-flood".parse().expect("a plan");
            plan.with_source(text.parse().expect("a network"))
        };
        let all = pool("10.66.3.4/16").addresses();
        assert_eq!(all.len(), MAX_ADDRESSES);
        assert_eq!(all[0].to_string(), "10.66.0.1");
        assert_eq!(all[255].to_string(), "10.66.1.0");
        assert_eq!(
            pool("10.66.0.7/32").addresses(),
            ["10.66.0.7".parse::<IpAddr>().expect("one")]
        );
        assert_eq!(pool("10.66.0.8/29").addresses().len(), 6);
        assert_eq!(pool("10.66.0.8/31").addresses().len(), 2);
        let six = pool("fd66::/64").addresses();
        assert_eq!(
            (six.len(), six[0].to_string()),
            (MAX_ADDRESSES, "fd66::1".into())
        );
        assert_eq!(pool("fd66::/0").addresses().len(), MAX_ADDRESSES);

        let target = "10.66.0.2:80".parse().expect("an address");
        for (source, says) in [("10.66.0.0/24", "own address"), ("fd66::/64", "family")] {
            let error = pool(source)
                .check_target(target, true)
                .expect_err("it may not");
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
