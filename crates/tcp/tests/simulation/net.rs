//! The network. Every host has a cable, which is a memory pair with faults, to one switch. The switch is also the router that
//! reports packets that are too big, and the NIC that spreads the flows of a server over its lcores.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use hioload_device::faults::Faults;
use hioload_device::memory::{self, EndOptions, MemoryDevice, PairOptions};
use hioload_device::{Burst, Device, Frame as _, TxChecksum};
use hioload_lcore::Time;
use hioload_mem::frames::Frame;

use crate::packet::{self, ACK, FIN, Link, RST, SYN};
use crate::plan::{self, Plan};
use crate::random::{Random, mix};
use crate::trace;

/// The address of the router.
const ROUTER: [u8; 6] = [2, 0, 0, 0, 1, 0xfe];

/// The number of frames that are remembered, to be sent again.
const SEEN: usize = 64;

/// The switch's end of one cable.
pub struct Port {
    pub device: Faults<MemoryDevice>,
    out: Burst<Frame>,
    down_until: Time,
}

/// The switch.
pub struct Net {
    pub ports: Vec<Port>,
    trace: trace::Shared,
    servers: usize,
    mtu: usize,
    pub path_mtu: usize,
    vlan: Option<u16>,
    offload: bool,
    chunks: usize,
    /// The RSS key.
    pub rss: u64,
    pub seen: VecDeque<Vec<u8>>,
    /// Frames lost without a buffer, room or receiver.
    pub lost: u64,
    seed: u64,
}

impl Net {
    pub fn new(plan: &Plan, trace: trace::Shared) -> Self {
        Self {
            ports: Vec::new(),
            trace,
            servers: plan.servers,
            mtu: plan.mtu,
            path_mtu: plan.mtu,
            vlan: plan.vlan,
            offload: plan.offload,
            chunks: plan.chunks,
            rss: plan.seed,
            seen: VecDeque::new(),
            lost: 0,
            seed: plan.seed,
        }
    }

    /// Replaces the cable of host `host`. Returns the host's end.
    pub fn plug(&mut self, host: usize, plan: &Plan, now: Time) -> MemoryDevice {
        let end = |sends, receives| {
            let mac = plan::mac(host, self.servers);
            EndOptions::new(mac, self.offload && sends, self.offload && receives)
        };
        let (ours, theirs) = memory::pair(
            &PairOptions::default()
                .chunks(self.chunks)
                .ring(4096)
                .mtu(self.mtu)
                .a(end(true, false))
                .b(end(true, true)),
        )
        .expect("memory");
        let ours = ours.open();
        self.seed = mix(self.seed);
        // A frame is damaged on one cable only: two flipped bits may escape the checksum.
        let intact = plan.link.clone().corrupt(0.0);
        let mut device = Faults::new(ours, self.seed, &plan.link, &intact);
        device.set_now(now);
        let port = Port {
            device,
            out: Burst::new(),
            down_until: Time::ZERO,
        };
        match self.ports.get_mut(host) {
            Some(old) => *old = port,
            None => self.ports.push(port),
        }
        theirs.open()
    }

    pub fn cut(&mut self, host: usize, until: Time) {
        self.ports[host].down_until = until;
    }

    /// Forwards all frames. Returns whether there were any.
    pub fn pump(&mut self, now: Time) -> bool {
        let mut busy = false;
        let mut burst = Burst::new();
        for from in 0..self.ports.len() {
            self.ports[from].device.set_now(now);
            while self.ports[from].device.rx_burst(&mut burst) > 0 {
                busy = true;
                for frame in burst.drain(..) {
                    self.forward(from, frame.bytes(), now);
                }
            }
        }
        for port in &mut self.ports {
            let waiting = port.out.len();
            port.device.tx_burst(&mut port.out);
            busy |= port.out.len() < waiting;
        }
        busy
    }

    /// Forwards a frame from host `from` to its destination.
    fn forward(&mut self, from: usize, frame: &[u8], now: Time) {
        self.trace.frame("sends", from, frame);
        if now < self.ports[from].down_until || frame.len() < 14 {
            return;
        }
        if self.seen.len() == SEEN {
            self.seen.pop_front();
        }
        // A damaged frame must not be damaged again: two flipped bits can escape the checksum.
        if packet::is_intact(frame) {
            self.seen.push_back(frame.to_vec());
        }
        let view = packet::view(frame);
        if let Some(view) = view
            && view.length > self.path_mtu
        {
            return self.refuse(from, frame, view.dst, now);
        }
        let to = &frame[..6];
        for host in 0..self.ports.len() {
            let group = to[0] & 1 == 1;
            let same = from < self.servers && host < self.servers;
            let theirs = to == plan::mac(host, self.servers);
            if host != from && !same && (group || theirs) && self.is_queue(host, frame) {
                self.deliver(host, frame, now);
            }
        }
    }

    /// Whether RSS sends a frame to host `host`, which is one lcore.
    pub fn is_queue(&self, host: usize, frame: &[u8]) -> bool {
        if host >= self.servers || self.servers == 1 {
            return true;
        }
        let hash = packet::view(frame).and_then(|view| {
            let tcp = view.tcp?;
            Some(mix(self.rss
                ^ u64::from(tcp.ports.0) << 16
                ^ u64::from(view.src.is_ipv4())))
        });
        hash.unwrap_or(0) as usize % self.servers == host
    }

    /// Reports to the sender of a frame that it is too big.
    fn refuse(&mut self, from: usize, frame: &[u8], dst: IpAddr, now: Time) {
        let Some(at) = packet::ip_at(frame) else {
            return;
        };
        let router: IpAddr = match dst {
            IpAddr::V4(_) => Ipv4Addr::new(10, 77, 0, 254).into(),
            IpAddr::V6(_) => Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0xfe).into(),
        };
        let Some(view) = packet::view(frame) else {
            return;
        };
        let packet = packet::too_big(&frame[at..], router, view.src, self.path_mtu as u16);
        let link = self.link(from);
        self.deliver(from, &packet::ip_frame(link, &packet), now);
    }

    /// Sends a packet from the router to a host.
    pub fn link(&self, to: usize) -> Link {
        Link {
            src: ROUTER,
            dst: plan::mac(to, self.servers),
            vlan: self.vlan,
        }
    }

    /// Puts a frame on a host's cable.
    pub fn deliver(&mut self, host: usize, bytes: &[u8], now: Time) {
        let port = &mut self.ports[host];
        if now < port.down_until {
            return;
        }
        if port.out.is_full() {
            port.device.tx_burst(&mut port.out);
        }
        let room = !port.out.is_full() && bytes.len() <= self.mtu + 18;
        let Some(mut frame) = port.device.alloc().filter(|_| room) else {
            self.trace
                .note("lost for want of a buffer at port", host as u64, 0);
            self.lost += 1;
            return;
        };
        frame.set_len(bytes.len());
        frame.bytes_mut().copy_from_slice(bytes);
        // Between virtual machines, a NIC reports a partial checksum as verified.
        if self.offload
            && let Some((start, offset)) = packet::offload_checksum(frame.bytes_mut())
        {
            frame.set_tx_checksum(TxChecksum::Fill { start, offset });
        }
        self.trace.frame("gets", host, bytes);
        port.out.push(frame);
    }

    /// Repairs all links.
    pub fn heal(&mut self, plan: &Plan) {
        for port in &mut self.ports {
            port.device.set_rx(&plan.healed);
            port.device.set_tx(&plan.healed);
            port.down_until = Time::ZERO;
        }
    }

    /// The time after `now` at which the next frame arrives. An older frame finds no room, because its host does not receive.
    pub fn next_deadline(&self, now: Time) -> Option<Time> {
        let ports = self.ports.iter();
        let deadlines = ports.filter_map(|port| port.device.next_deadline());
        deadlines.filter(|&at| at > now).min()
    }

    /// The free frames at the switch's end of a cable, when nothing is in flight.
    pub fn free(&mut self, host: usize) -> usize {
        let device = self.ports[host].device.get_mut();
        device.settle();
        device.pool().available()
    }

    /// A segment of no flow, from an address that no host has.
    pub fn syn(&mut self, random: &mut Random, now: Time) {
        let six = random.chance(50);
        let noise = random.next();
        let src: IpAddr = match six {
            false => Ipv4Addr::from(0x0a4d_0100 | (noise as u32 & 0x0000_feff)).into(),
            true => Ipv6Addr::from(0xfd77_u128 << 112 | u128::from(noise)).into(),
        };
        let syn = packet::Segment {
            src: (src, (noise >> 40) as u16 | 1).into(),
            dst: (plan::address(0, self.servers, six), plan::PORT).into(),
            seq: random.next() as u32,
            ack: 0,
            flags: packet::SYN,
            window: 65_535,
            options: &[2, 4, 5, 0xb4, 1, 3, 3, 7],
            payload: &[],
        };
        let mut link = self.link(0);
        link.src = [2, 0, 0, 0, 9, noise as u8];
        let frame = packet::ip_frame(link, &syn.packet());
        if let Some(host) = (0..self.servers).find(|&host| self.is_queue(host, &frame)) {
            self.deliver(host, &frame, now);
        }
    }

    /// Sends noise or an old frame to any host.
    pub fn garbage(&mut self, random: &mut Random, now: Time) {
        let old = match self.seen.len() as u64 {
            0 => None,
            n => self.seen.get(random.below(n) as usize).cloned(),
        };
        let mut frame = old.unwrap_or_else(|| vec![0; 60]);
        let owner = |host: &usize| frame[..6] == plan::mac(*host, self.servers);
        let mut host = (0..self.ports.len()).find(owner).unwrap_or(0);
        if random.chance(10) {
            host = random.below(self.ports.len() as u64) as usize;
        }
        if let Some(mangled) = mangle(&mut frame, random) {
            self.trace.note(mangled, host as u64, 0);
        }
        let known = frame.len().min(6);
        frame[..known].copy_from_slice(&plan::mac(host, self.servers)[..known]);
        self.deliver(host, &frame, now);
    }

    /// A forged report that packets of a connection are too big.
    pub fn claim(
        &mut self,
        host: usize,
        ends: Option<(IpAddr, u16, IpAddr, u16)>,
        mtu: u16,
        random: &mut Random,
        now: Time,
    ) {
        let random_port = random.next() as u16 | 1;
        let (src, sport, dst, dport) = ends.unwrap_or((
            plan::address(host, self.servers, false),
            plan::PORT,
            Ipv4Addr::new(10, 77, 0, 77).into(),
            random_port,
        ));
        // It quotes a frame that was seen, or else an invented one.
        let known = self.seen.iter().rev().find_map(|frame| {
            let view = packet::view(frame)?;
            let tcp = view.tcp?;
            (view.src == src && view.dst == dst && tcp.ports == (sport, dport))
                .then(|| frame[packet::ip_at(frame).unwrap_or(14)..].to_vec())
        });
        let made_up = packet::Segment {
            src: (src, sport).into(),
            dst: (dst, dport).into(),
            seq: random.next() as u32,
            ack: 0,
            flags: packet::ACK,
            window: 1000,
            options: &[],
            payload: &[0; 600],
        };
        let quoted = known.unwrap_or_else(|| made_up.packet());
        let message = packet::too_big(&quoted, dst, src, mtu);
        let frame = packet::ip_frame(self.link(host), &message);
        self.deliver(host, &frame, now);
    }
}

/// Changes a frame so that no host may accept it.
fn mangle(frame: &mut Vec<u8>, random: &mut Random) -> Option<&'static str> {
    match random.below(5) {
        0 => {
            let length = random.range(14..=200) as usize;
            frame.resize(length, 0);
            let from = random.range(12..=14) as usize;
            for byte in &mut frame[from..] {
                *byte = random.next() as u8;
            }
            Some("noise for")
        }
        1 => {
            // A sequence number far from all windows.
            let at = packet::tcp_at(frame)?;
            let tcp = packet::view(frame)?.tcp?;
            let mut far = || random.range(0x1000_0000..=0xe000_0000) as u32;
            let (seq, ack) = (tcp.seq.wrapping_add(far()), tcp.ack.wrapping_add(far()));
            frame[at + 4..at + 8].copy_from_slice(&seq.to_be_bytes());
            frame[at + 8..at + 12].copy_from_slice(&ack.to_be_bytes());
            let all = [ACK, RST, RST | ACK, FIN | ACK, SYN];
            // A SYN could complete the handshake of a client.
            let possible = if tcp.ports.1 == plan::PORT { 5 } else { 4 };
            frame[at + 13] = random.pick(&all[..possible]);
            packet::correct(frame);
            Some("a misplaced segment for")
        }
        2 => {
            let at = packet::ip_at(frame)?;
            let at = random.range(at as u64..=frame.len() as u64 - 1) as usize;
            frame[at] ^= 1 << random.below(8);
            Some("a damaged frame for")
        }
        3 => {
            let length = random.range(1..=frame.len() as u64) as usize;
            frame.truncate(length);
            Some("a cut frame for")
        }
        _ => Some("an old frame for"),
    }
}

/// The time between two frames of a flood.
pub fn apart(per_milli: u64) -> Duration {
    Duration::from_nanos(1_000_000 / per_milli.max(1))
}
