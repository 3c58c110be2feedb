//! One attack with its parameters, and its text form.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::error::{PlanError, plan_error};
use crate::kind::AttackKind;
use crate::shape::Shape;

/// Connections of one attack, at most.
const MAX_CONNECTIONS: u32 = 65_536;
/// Packets or messages per second, at most; no device takes more.
const MAX_RATE: u64 = 1_000_000_000;
/// The largest message of an attack.
const MAX_SIZE: u64 = 1 << 30;

/// One attack, such as `syn-flood,rate=100k`. Made by [`Attack::new`] and changed field by field, or parsed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Attack {
    /// The kind of attack.
    pub kind: AttackKind,
    /// Packets per second, or messages per second for an attack with messages: 1 to 10^9. For an attack with connections this is
    /// a limit: the actual rate depends on the server's answers.
    pub rate: u64,
    /// Seed of the random numbers: the same seed gives the same packets.
    pub seed: u64,
    /// Connections at once, 1 to 65536; 0 for an attack without connections.
    pub connections: u32,
    /// Percentage of the packets that go to the load's own connections; 0 for an attack that cannot target them.
    pub live: u8,
    /// Time between two bytes, or two reads, of a slow client; zero for other attacks.
    pub interval: Duration,
    /// Bytes of a message, inflated (`deflate`), unfinished, or requested (`trickle`): 1 to 2^30; 0 for other attacks.
    pub size: u64,
    /// Bytes that each peer of `trickle` reads per second; 0 for other attacks.
    pub read: u64,
    /// The patterns of `topics`.
    pub shape: Shape,
}

impl Attack {
    /// An attack with its defaults.
    #[must_use]
    pub fn new(kind: AttackKind) -> Self {
        let (rate, connections) = match kind {
            AttackKind::SynFlood | AttackKind::AckStorm | AttackKind::RstStorm => (100_000, 0),
            AttackKind::Malformed => (50_000, 0),
            AttackKind::TinySegments | AttackKind::Overlap => (20_000, 16),
            AttackKind::ZeroWindow | AttackKind::SlowReader => (10_000, 64),
            AttackKind::SlowHandshake => (10_000, 256),
            AttackKind::BadFrames => (5_000, 16),
            AttackKind::Topics => (2_000, 64),
            AttackKind::Deflate => (500, 4),
            AttackKind::Churn => (20_000, 11),
            AttackKind::Subscriptions => (20_000, 64),
            AttackKind::Unfinished => (1_000, 64),
            AttackKind::Trickle => (1_000, 16),
        };
        let (size, interval) = match kind {
            AttackKind::SlowReader | AttackKind::SlowHandshake => (0, 1),
            AttackKind::Deflate => (1 << 20, 0),
            AttackKind::Unfinished => ((1 << 20) - 1024, 5),
            AttackKind::Trickle => (1 << 20, 0),
            _ => (0, 0),
        };
        Self {
            kind,
            rate,
            seed: 1,
            connections,
            live: if kind.targets_load() { 50 } else { 0 },
            interval: Duration::from_secs(interval),
            size,
            read: if kind == AttackKind::Trickle { 200 } else { 0 },
            shape: Shape::All,
        }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), PlanError> {
        let kind = self.kind;
        let refuse = |what: &str| {
            plan_error(format!(
                "attack {kind}: {key}={value}: {key} must be {what}"
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
            "size" if kind.has_size() => match bytes(value) {
                Some(size @ 1..=MAX_SIZE) => self.size = size,
                _ => return refuse("bytes, 1 to 1GiB, such as 65536, 64KiB or 16MiB"),
            },
            "read" if kind == AttackKind::Trickle => match number(value) {
                Some(read @ 1..=MAX_RATE) => self.read = read,
                _ => return refuse("bytes per second, at least 1"),
            },
            "shape" if kind == AttackKind::Topics => match Shape::named(value) {
                Some(shape) => self.shape = shape,
                None => return refuse(Shape::NAMES),
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

/// `65536`, `64KiB`, `16MiB`.
fn bytes(text: &str) -> Option<u64> {
    let (digits, factor) = if let Some(digits) = text.strip_suffix("KiB") {
        (digits, 1 << 10)
    } else if let Some(digits) = text.strip_suffix("MiB") {
        (digits, 1 << 20)
    } else if let Some(digits) = text.strip_suffix("GiB") {
        (digits, 1 << 30)
    } else {
        (text, 1)
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
        let Some(kind) = AttackKind::all().find(|kind| kind.name() == name) else {
            let names: Vec<_> = AttackKind::all().map(AttackKind::name).collect();
            let names = names.join(", ");
            return plan_error(format!(
                "there is no attack '{name}': expected one of {names}"
            ));
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

/// The form that is parsed. Parameters with their default are omitted, except the rate.
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
        if self.size != usual.size {
            write!(f, ",size={}", self.size)?;
        }
        if self.read != usual.read {
            write!(f, ",read={}", self.read)?;
        }
        if self.shape != usual.shape {
            write!(f, ",shape={}", self.shape)?;
        }
        if self.seed != usual.seed {
            write!(f, ",seed={}", self.seed)?;
        }
        Ok(())
    }
}
