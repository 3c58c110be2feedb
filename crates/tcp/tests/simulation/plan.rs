//! The world of a seed: the network, the stacks, the connections, and the disturbances.
//!
//! Each kind of disturbance is in some seeds and not in others, so that every combination occurs. Seeds without disturbances have
//! stricter checks: every connection has to end in order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hioload_device::faults::Impairment;
use hioload_tcp::{Cidr, StackConfig};

use crate::random::Random;

/// The port that servers listen on.
pub const PORT: u16 = 9001;

/// How one end of a connection reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reads {
    /// It reads all at each event.
    All,
    /// It reads at most this many bytes at this interval.
    Drip(usize, Duration),
    /// It reads all, but pauses at an offset for a time.
    Stall(u64, Duration),
}

/// How one end of a connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ends {
    /// It half-closes when all is sent, and releases when the other side has ended too.
    Finish,
    /// The same, but it waits for `CLOSED` instead of releasing.
    Closed,
    /// It releases when all is sent and the other side has ended.
    Second,
    /// It releases when all is sent, even if the other side has not ended.
    Early,
    /// It resets when this many bytes have been sent and received.
    Abort(u64),
}

/// The script of one end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    pub total: u64,
    pub chunk: usize,
    /// The pause after each chunk.
    pub pause: Duration,
    /// Writes through `send_space` instead of `send`.
    pub lends: bool,
    pub reads: Reads,
    pub ends: Ends,
}

/// The script of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Dialogue {
    pub at: Duration,
    pub client: usize,
    /// Whether it is over IPv6.
    pub six: bool,
    pub up: Script,
    pub down: Script,
    /// The server echoes.
    pub echo: bool,
    /// It begins after everything has been repaired, so it must succeed.
    pub probe: bool,
}

/// A disturbance.
#[derive(Clone, Copy, Debug)]
pub enum Trouble {
    /// The link of a host is down.
    Down(usize, Duration),
    /// A host is stopped.
    Freeze(usize, Duration),
    /// A host is restarted and loses its state.
    Restart(usize),
    /// From now on, packets larger than this do not pass. Their senders get ICMP errors.
    PathMtu(usize),
    /// A forged ICMP error reports that packets are too big, for an existing connection or for none.
    TooBig(usize),
    /// RSS gets another key.
    Rehash,
    /// A SYN flood: SYNs per millisecond, and its duration.
    Flood(u64, Duration),
    /// Noise and repeated old frames, for this duration.
    Garbage(Duration),
}

/// Everything that a seed determines.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    /// Hosts `0..servers` share the server's addresses, one lcore each; the others are clients.
    pub servers: usize,
    pub hosts: Vec<StackConfig>,
    pub mtu: usize,
    pub vlan: Option<u16>,
    pub offload: bool,
    pub chunks: usize,
    pub link: Impairment,
    /// The link after the repair.
    pub healed: Impairment,
    pub dialogues: Vec<Dialogue>,
    pub troubles: Vec<(Duration, Trouble)>,
    /// The server resets or releases some connections as soon as it accepts them.
    pub whims: bool,
    /// The longest duration of a turn in nanoseconds.
    pub turn: u64,
    /// Only the two ends of a connection can end it.
    pub strict: bool,
    /// Frames are lost only because of disturbances.
    pub lossless: bool,
}

/// An address of host `host`.
pub fn address(host: usize, servers: usize, six: bool) -> IpAddr {
    let last = if host < servers { 1 } else { host as u16 + 1 };
    match six {
        false => Ipv4Addr::new(10, 77, 0, last as u8).into(),
        true => Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, last).into(),
    }
}

/// The MAC address of host `host`. The lcores of the server have the same.
pub fn mac(host: usize, servers: usize) -> [u8; 6] {
    let last = if host < servers { 0 } else { host as u8 };
    [2, 0, 0, 0, 1, last]
}

/// The kinds of disturbance that a seed has.
struct Moods {
    lossy: bool,
    corrupt: bool,
    tiny_rings: bool,
    tiny_budgets: bool,
    tiny_pool: bool,
    troubles: bool,
    attacks: bool,
    rude: bool,
    slow: bool,
    few_ports: bool,
}

impl Plan {
    pub fn new(seed: u64) -> Self {
        let random = &mut Random::new(seed);
        let calm = random.chance(30);
        let moods = Moods {
            lossy: !calm && random.chance(50),
            corrupt: !calm && random.chance(30),
            tiny_rings: random.chance(40),
            tiny_budgets: !calm && random.chance(20),
            tiny_pool: !calm && random.chance(15),
            troubles: !calm && random.chance(40),
            attacks: random.chance(30),
            rude: random.chance(40),
            slow: random.chance(40),
            few_ports: random.chance(25),
        };
        let servers = if random.chance(25) { 2 } else { 1 };
        let clients = random.range(1..=2) as usize;
        // IPv6 needs an MTU of at least 1280.
        let six = random.chance(80);
        let mtu = match random.below(4) {
            0 => 1500,
            1 => 9000,
            _ => random.range(if six { 1280..=9000 } else { 576..=1279 }) as usize,
        };
        let vlan = random.chance(25).then(|| random.range(1..=4094) as u16);
        let (healed, link) = links(random, &moods, vlan.is_some());
        let hosts = (0..servers + clients)
            .map(|host| config(random, &moods, host, servers, vlan))
            .collect();
        let dialogues = dialogues(random, &moods, servers, clients, mtu, six || mtu >= 1280);
        let end = dialogues.iter().map(|d: &Dialogue| d.at).max();
        let span = end.unwrap_or_default() + Duration::from_secs(3);
        let troubles = troubles(random, &moods, servers, clients, span);
        let whims = moods.rude && random.chance(30);
        let harmless = |t: &Trouble| matches!(t, Trouble::Rehash | Trouble::Garbage(_));
        let lossless = !moods.lossy && !moods.corrupt && link.bandwidth.is_none();
        Self {
            seed,
            servers,
            hosts,
            mtu,
            vlan,
            offload: random.chance(50),
            chunks: if moods.tiny_pool {
                random.scale(40..=400) as usize
            } else {
                8192
            },
            strict: lossless
                && !moods.tiny_budgets
                && !moods.tiny_pool
                && !whims
                && troubles.iter().all(|(_, trouble)| harmless(trouble)),
            lossless,
            link,
            healed,
            dialogues,
            troubles,
            whims,
            turn: random.scale(100..=50_000),
        }
    }

    /// The destination of a connection.
    pub fn server_address(&self, dialogue: &Dialogue) -> SocketAddr {
        SocketAddr::new(address(0, self.servers, dialogue.six), PORT)
    }
}

/// The link after and before the repair.
fn links(random: &mut Random, moods: &Moods, tagged: bool) -> (Impairment, Impairment) {
    let mut healed = Impairment::default()
        .delay(random.micros(5..=100_000))
        .limit(4096)
        .late_limit(64);
    if random.chance(40) {
        healed.jitter = random.micros(1..=20_000);
    }
    if random.chance(25) {
        // The queue has room for all frames: it delays them, but loses none.
        healed.bandwidth = Some(random.scale(1_000_000..=1_000_000_000));
        healed.queue_bytes = 1 << 30;
    }
    let mut link = healed.clone();
    // Between 0.1 % and 20 %.
    let mut share = |mood: bool, percent: u64| match mood && random.chance(percent) {
        true => random.scale(1..=200) as f64 / 1000.0,
        false => 0.0,
    };
    link.loss = share(moods.lossy, 90);
    link.duplicate = share(true, 30);
    link.reorder = share(true, 40);
    link.corrupt = share(moods.corrupt, 100) / 2.0;
    link.corrupt_from = if tagged { 18 } else { 14 };
    if moods.lossy && random.chance(20) {
        link.queue_bytes = random.scale(3_000..=100_000);
    }
    link.reorder_by = random.range(1..=8) as u32;
    link.reorder_for = random.micros(100..=50_000);
    (healed, link)
}

fn config(
    random: &mut Random,
    moods: &Moods,
    host: usize,
    servers: usize,
    vlan: Option<u16>,
) -> StackConfig {
    let server = host < servers;
    let cidr = |six, prefix| Cidr::new(address(host, servers, six), prefix).expect("an address");
    let listen = |six| SocketAddr::new(address(0, servers, six), PORT);
    let ring = |random: &mut Random| match moods.tiny_rings {
        true => 4096 << random.below(2),
        false => 4096 << random.below(6),
    };
    let mut config = StackConfig::new([cidr(false, 24), cidr(true, 64)]);
    config.mac = Some(mac(host, servers));
    config.vlan = vlan;
    if server {
        config.listen = vec![listen(false), listen(true)];
    }
    config.max_flows = 256;
    config.half_open = 256;
    config.time_wait = 512;
    config.orphans = 256;
    config.rx_ring = ring(random);
    config.tx_ring = ring(random);
    config.ring_memory = if random.chance(20) { 1 << 20 } else { 1 << 30 };
    config.keepalive = random.chance(30).then(|| random.millis(1000..=20_000));
    config.secret = [if server { 7 } else { host as u8 + 8 }; 16];
    if moods.few_ports && !server {
        config.source_ports = 40_000..=40_000 + random.scale(1..=16) as u16;
    }
    if moods.tiny_budgets {
        let mut tiny = |most: u64| random.scale(1..=most) as usize;
        config.max_flows = tiny(32);
        config.half_open = tiny(16);
        config.time_wait = tiny(16);
        config.orphans = tiny(16);
    }
    config
}

fn dialogues(
    random: &mut Random,
    moods: &Moods,
    servers: usize,
    clients: usize,
    mtu: usize,
    six: bool,
) -> Vec<Dialogue> {
    let count = random.scale(1..=40);
    // With a spread of 0 all begin at once.
    let spread = random.pick(&[0, 0, 50, 1000, 5000]);
    // The limit of all bytes moved bounds the time of a seed.
    let most = (1_500_000 / count)
        .clamp(2000, 300_000)
        .min(mtu as u64 * 200);
    let mut list = Vec::new();
    for _ in 0..count {
        let at = Duration::from_micros(random.range(0..=spread * 1000));
        let client = servers + random.below(clients as u64) as usize;
        list.push(dialogue(random, moods, at, client, six, most));
    }
    // At the end each client must be able to connect.
    for host in servers..servers + clients {
        for _ in 0..2 {
            let polite = Moods {
                rude: false,
                slow: false,
                ..*moods
            };
            let mut probe = dialogue(random, &polite, Duration::ZERO, host, six, 20_000);
            probe.probe = true;
            list.push(probe);
        }
    }
    list
}

fn dialogue(
    random: &mut Random,
    moods: &Moods,
    at: Duration,
    client: usize,
    six: bool,
    most: u64,
) -> Dialogue {
    let echo = random.chance(40);
    let mut up = script(random, moods, most);
    let mut down = script(random, moods, most);
    up.total = up.total.max(crate::random::HEADER);
    if echo {
        down.total = up.total - crate::random::HEADER;
    }
    // One side has to end first.
    if up.ends == Ends::Second && down.ends == Ends::Second {
        down.ends = Ends::Finish;
    }
    Dialogue {
        at,
        client,
        six: six && random.chance(50),
        up,
        down,
        echo,
        probe: false,
    }
}

fn script(random: &mut Random, moods: &Moods, most: u64) -> Script {
    let total = match random.below(5) {
        0 => 0,
        _ => random.scale(1..=most),
    };
    let reads = match random.below(if moods.slow { 3 } else { 1 }) {
        0 => Reads::All,
        1 => {
            // The whole takes about ten seconds.
            let every = random.millis(1..=500);
            let times = (10_000 / every.as_millis().max(1)) as u64;
            Reads::Drip((most / times).max(1) as usize, every)
        }
        _ => Reads::Stall(random.below(most), random.millis(100..=60_000)),
    };
    let ends = match random.below(if moods.rude { 9 } else { 6 }) {
        0 | 1 => Ends::Finish,
        2 | 3 => Ends::Closed,
        4 | 5 => Ends::Second,
        6 | 7 => Ends::Early,
        _ => Ends::Abort(random.below(most)),
    };
    let chunk = random.scale(1..=65_536) as usize;
    let chunks = (total / chunk as u64).max(1);
    let pause = match random.chance(30) {
        true => random.micros(1..=(20_000_000 / chunks).clamp(1, 2_000_000)),
        false => Duration::ZERO,
    };
    Script {
        total,
        // This avoids thousands of tiny writes.
        chunk: chunk.max(total as usize / 500),
        pause,
        lends: random.chance(50),
        reads,
        ends,
    }
}

fn troubles(
    random: &mut Random,
    moods: &Moods,
    servers: usize,
    clients: usize,
    span: Duration,
) -> Vec<(Duration, Trouble)> {
    let mut list = Vec::new();
    let hosts = (servers + clients) as u64;
    let at = |random: &mut Random| Duration::from_micros(random.below(span.as_micros() as u64));
    for _ in 0..if moods.troubles {
        random.range(1..=4)
    } else {
        0
    } {
        let host = random.below(hosts) as usize;
        let trouble = match random.below(5) {
            0 => Trouble::Down(host, random.millis(10..=60_000)),
            1 => Trouble::Freeze(host, random.millis(10..=60_000)),
            2 => Trouble::Restart(host),
            3 => Trouble::PathMtu(random.range(1280..=1500) as usize),
            _ => Trouble::TooBig(random.range(68..=1500) as usize),
        };
        list.push((at(random), trouble));
    }
    if moods.attacks {
        if random.chance(50) {
            let trouble = Trouble::Garbage(random.millis(10..=2000));
            list.push((at(random), trouble));
        }
        if moods.troubles || random.chance(20) {
            let trouble = Trouble::Flood(random.range(1..=40), random.millis(10..=1000));
            list.push((at(random), trouble));
        }
    }
    if servers > 1 {
        list.push((at(random), Trouble::Rehash));
    }
    list.sort_by_key(|&(at, _)| at);
    list
}
