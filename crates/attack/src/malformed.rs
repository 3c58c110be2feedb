//! Frames that are wrong: a good segment from a random source, and one or two things done to it.
//!
//! Whatever is done, the frame stays with the target: its station and its IP address are put back at the end, no option asks a router
//! for another variant, and nothing is claimed about addresses of others.

use hioload_device::{Device, checksum};

use crate::rng::Rng;
use crate::sources::Sources;
use crate::tx::TxQueue;
use crate::wire::{Header, ICMPV6, Link, TCP, flag, fold};

/// Longer than any frame that is made here.
const ROOM: usize = 512;
const ICMP: u8 = 1;
const UDP: u8 = 17;

/// What can be done to a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    /// It ends anywhere.
    Truncated,
    /// IP's length is another one.
    IpLength,
    /// IP's version or header length is another one.
    IpVersion,
    /// The header checksum is wrong, or, over IPv6, the hop limit is 0.
    IpChecksum,
    /// TCP's checksum is wrong.
    TcpChecksum,
    /// IPv4 options, or IPv6 extension headers, as they may and may not be.
    IpOptions,
    /// A fragment: first, middle or last, of this size or beyond 64 KiB.
    Fragment,
    /// Tags: a priority alone, 4095, one within another, one cut short.
    Vlan,
    /// The target's own address and port as the source.
    Land,
    /// Any flags, those that are reserved included.
    Flags,
    /// The data offset is less than the header, or leads beyond the segment.
    DataOffset,
    /// Options of TCP with lengths that cannot be.
    TcpOptions,
    /// Port 0.
    PortZero,
    /// A source nobody may send from.
    Martian,
    /// Another protocol: UDP, ICMP or ICMPv6 with any type and noise in it, or one that there is not.
    Protocol,
    /// ARP with lengths and operations that cannot be, or any other type of frame.
    EtherType,
    /// The source is a group of stations, or the frame goes to all.
    MacAddress,
    /// Noise from IP on.
    Noise,
    /// Up to eight bits are others.
    Bits,
    /// More bytes than IP says.
    Padding,
    /// An urgent pointer, and a window of zero.
    Urgent,
}

impl Fault {
    const ALL: [Self; 21] = [
        Self::Truncated,
        Self::IpLength,
        Self::IpVersion,
        Self::IpChecksum,
        Self::TcpChecksum,
        Self::IpOptions,
        Self::Fragment,
        Self::Vlan,
        Self::Land,
        Self::Flags,
        Self::DataOffset,
        Self::TcpOptions,
        Self::PortZero,
        Self::Martian,
        Self::Protocol,
        Self::EtherType,
        Self::MacAddress,
        Self::Noise,
        Self::Bits,
        Self::Padding,
        Self::Urgent,
    ];
}

/// Malformed frames on one lcore.
pub(crate) struct Malformed {
    rng: Rng,
}

impl Malformed {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
        }
    }

    /// Sends what is due.
    pub(crate) fn send_due<D: Device>(
        &mut self,
        tx: &mut TxQueue<'_, D>,
        link: &Link,
        sources: &Sources,
    ) {
        while tx.is_open() {
            let fault = Fault::ALL[self.rng.below(Fault::ALL.len() as u64) as usize];
            tx.send(ROOM, |out| self.write(out, link, sources, fault));
        }
    }

    fn write(&mut self, out: &mut [u8], link: &Link, sources: &Sources, fault: Fault) -> usize {
        let mut draft = Draft::new(out, link, sources, &mut self.rng);
        draft.apply(fault, &mut self.rng);
        if self.rng.chance(20) {
            let other = Fault::ALL[self.rng.below(Fault::ALL.len() as u64) as usize];
            draft.apply(other, &mut self.rng);
        }
        draft.keep_to_target(fault);
        draft.len
    }
}

/// A frame in the making.
struct Draft<'a> {
    out: &'a mut [u8],
    len: usize,
    link: &'a Link,
    ip: usize,
    tcp: usize,
}

impl<'a> Draft<'a> {
    /// A good segment.
    fn new(out: &'a mut [u8], link: &'a Link, sources: &Sources, rng: &mut Rng) -> Self {
        let from = sources.get(rng.below(sources.len()));
        let numbers = rng.next();
        let flags = [
            flag::SYN,
            flag::ACK,
            flag::ACK | flag::PSH,
            flag::RST,
            flag::FIN | flag::ACK,
            flag::SYN | flag::ACK,
        ];
        let header = Header {
            flags: flags[rng.below(flags.len() as u64) as usize],
            seq: numbers as u32,
            ack: (numbers >> 32) as u32,
            window: rng.next() as u16,
            options: &[2, 4, 5, 0xb4, 1, 3, 3, 7],
        };
        let payload = rng.below(64) as usize;
        let len = link.segment(out, from, &header, payload, |bytes| rng.fill(bytes));
        Self {
            out,
            len,
            link,
            ip: link.ip_at(),
            tcp: link.tcp_at(),
        }
    }

    fn v6(&self) -> bool {
        self.link.v6
    }

    fn byte(&mut self, at: usize, value: u8) {
        if at < self.len {
            self.out[at] = value;
        }
    }

    fn word(&mut self, at: usize, value: u16) {
        let [high, low] = value.to_be_bytes();
        self.byte(at, high);
        self.byte(at + 1, low);
    }

    /// Completes IPv4's header checksum over `len` bytes.
    fn fill_ip(&mut self, len: usize) {
        let end = (self.ip + len).min(self.len);
        if !self.v6() && end >= self.ip + 20 {
            self.word(self.ip + 10, 0);
            let sum = !checksum::sum(&self.out[self.ip..end]);
            self.word(self.ip + 10, sum);
        }
    }

    /// Completes the checksum of a transport header at `tcp`, as far as there is one.
    fn fill_transport(&mut self, protocol: u8, field: usize) {
        let at = self.tcp + field;
        if at + 2 > self.len {
            return;
        }
        self.word(at, 0);
        let source = if self.v6() {
            let bytes = self.out[self.ip + 8..].first_chunk().copied();
            u128::from_be_bytes(bytes.unwrap_or_default())
        } else {
            let bytes = self.out[self.ip + 12..].first_chunk().copied();
            u32::from_be_bytes(bytes.unwrap_or_default()).into()
        };
        let bytes = &self.out[self.tcp..self.len];
        let mut sum = u64::from(checksum::sum(bytes));
        if protocol != ICMP {
            sum += self.link.pseudo(source, protocol, bytes.len());
        }
        self.word(at, !fold(sum));
    }

    /// Makes room for `n` bytes at `at`, as far as they fit.
    fn insert(&mut self, at: usize, n: usize) -> bool {
        if at > self.len || self.len + n > self.out.len() {
            return false;
        }
        self.out.copy_within(at..self.len, at + n);
        self.len += n;
        true
    }

    fn apply(&mut self, fault: Fault, rng: &mut Rng) {
        let (ip, tcp) = (self.ip, self.tcp);
        let dice = rng.next();
        match fault {
            Fault::Truncated => {
                let least = 14.min(self.len);
                self.len = least + rng.below((self.len - least).max(1) as u64) as usize;
            }
            Fault::IpLength => {
                let at = if self.v6() { ip + 4 } else { ip + 2 };
                let lengths = [0, 1, 19, 20, 39, 40, 41, 0xffff, dice as u16];
                self.word(at, lengths[rng.below(9) as usize]);
                self.fill_ip(20);
            }
            Fault::IpVersion => {
                self.byte(ip, dice as u8);
                self.fill_ip(20);
            }
            Fault::IpChecksum if self.v6() => self.byte(ip + 7, 0),
            Fault::IpChecksum => self.word(ip + 10, dice as u16),
            Fault::TcpChecksum => self.word(tcp + 16, dice as u16),
            Fault::IpOptions if self.v6() => self.extensions(rng),
            Fault::IpOptions => self.options(rng),
            Fault::Fragment => self.fragment(rng),
            Fault::Vlan => self.tags(rng),
            Fault::Land => {
                let link = self.link;
                if self.v6() {
                    self.put(ip + 8, &link.target.to_be_bytes());
                } else {
                    self.put(ip + 12, &(link.target as u32).to_be_bytes());
                }
                self.word(tcp, link.port);
                self.byte(tcp + 13, flag::SYN);
                self.fill_ip(20);
                self.fill_transport(TCP, 16);
            }
            Fault::Flags => {
                self.byte(tcp + 13, dice as u8);
                self.byte(tcp + 12, 7 << 4 | (dice >> 8) as u8 & 0x0f);
                self.fill_transport(TCP, 16);
            }
            Fault::DataOffset => {
                self.byte(tcp + 12, (rng.below(16) as u8) << 4);
                self.fill_transport(TCP, 16);
            }
            Fault::TcpOptions => {
                for at in tcp + 20..tcp + 28 {
                    let bytes = [0, 1, 2, 3, 4, 5, 8, 10, 255, rng.next() as u8];
                    self.byte(at, bytes[rng.below(10) as usize]);
                }
                self.fill_transport(TCP, 16);
            }
            Fault::PortZero => {
                self.word(tcp, 0);
                if dice & 1 == 0 {
                    self.word(tcp + 2, 0);
                }
                self.fill_transport(TCP, 16);
            }
            Fault::Martian => self.martian(rng),
            Fault::Protocol => self.protocol(rng),
            Fault::EtherType => self.ether_type(rng),
            Fault::MacAddress => {
                if dice & 1 == 0 {
                    self.byte(6, 0xff);
                } else {
                    self.put(0, &[0xff; 6]);
                }
            }
            Fault::Noise => {
                let end = self.len;
                if ip < end {
                    rng.fill(&mut self.out[ip..end]);
                    // Not only what is refused at the first byte.
                    if dice & 1 == 0 {
                        self.byte(ip, if self.v6() { 0x60 } else { 0x45 });
                        self.fill_ip(20);
                    }
                }
            }
            Fault::Bits => {
                for _ in 0..=dice & 7 {
                    let at = ip + rng.below((self.len.max(ip + 1) - ip) as u64) as usize;
                    if at < self.len {
                        self.out[at] ^= 1 << rng.below(8);
                    }
                }
            }
            Fault::Padding => {
                let end = (self.len + 1 + rng.below(60) as usize).min(self.out.len());
                rng.fill(&mut self.out[self.len..end]);
                self.len = end;
            }
            Fault::Urgent => {
                self.byte(tcp + 13, 0x38);
                self.word(tcp + 14, 0);
                self.word(tcp + 18, dice as u16);
                self.fill_transport(TCP, 16);
            }
        }
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        for (i, &byte) in bytes.iter().enumerate() {
            self.byte(at + i, byte);
        }
    }

    /// Options of IPv4: noise, with lengths of any kind, but none of those that name a variant (LSRR, SSRR).
    fn options(&mut self, rng: &mut Rng) {
        let words = 1 + rng.below(10) as usize;
        let at = self.ip + 20;
        if !self.insert(at, words * 4) {
            return;
        }
        rng.fill(&mut self.out[at..at + words * 4]);
        for byte in &mut self.out[at..at + words * 4] {
            if matches!(*byte, 131 | 137) {
                *byte = 1;
            }
        }
        self.byte(self.ip, 0x45 + words as u8);
        let len = (self.len - self.ip) as u16;
        self.word(self.ip + 2, len);
        self.fill_ip(20 + words * 4);
    }

    /// Extension headers: up to twelve, in any order, with lengths that may lead beyond the packet. A routing header names no
    /// one but the target.
    fn extensions(&mut self, rng: &mut Rng) {
        let (at, count) = (self.ip + 40, 1 + rng.below(12) as usize);
        if !self.insert(at, count * 8) {
            return;
        }
        let kinds = [0, 43, 44, 60, 60, 51, 135, 59];
        let mut next = self.out[self.ip + 6];
        for i in (0..count).rev() {
            let header = at + i * 8;
            let kind = kinds[rng.below(8) as usize];
            let len = if rng.chance(10) { rng.next() as u8 } else { 0 };
            let content = rng.next().to_be_bytes();
            let noise = rng.chance(30);
            let padding = [1, 4, 0, 0, 0, 0];
            let body = if noise {
                // No segments left, so that no router is asked for another variant.
                [
                    content[0], 0, content[2], content[3], content[4], content[5],
                ]
            } else if kind == 43 {
                [0; 6]
            } else {
                padding
            };
            self.put(header, &[next, len]);
            self.put(header + 2, &body);
            next = kind;
        }
        self.byte(self.ip + 6, next);
        let len = (self.len - self.ip - 40) as u16;
        self.word(self.ip + 4, len);
    }

    fn fragment(&mut self, rng: &mut Rng) {
        let offsets = [0, 1, 2, 100, 0x1fff, rng.next() as u16 & 0x1fff];
        let offset = offsets[rng.below(6) as usize];
        let more = rng.next() & 1 == 0 || offset == 0;
        if self.v6() {
            let at = self.ip + 40;
            if self.insert(at, 8) {
                let next = self.out[self.ip + 6];
                self.put(at, &[next, 0, 0, 0, 0, 0, 0, 7]);
                self.word(at + 2, offset << 3 | u16::from(more));
                self.byte(self.ip + 6, 44);
                let len = (self.len - self.ip - 40) as u16;
                self.word(self.ip + 4, len);
            }
        } else {
            self.word(self.ip + 6, offset | u16::from(more) << 13);
            self.fill_ip(20);
        }
    }

    fn tags(&mut self, rng: &mut Rng) {
        let variant = rng.below(5);
        match variant {
            // Cut short.
            0 => {
                self.word(12, 0x8100);
                self.len = self.len.min(14 + rng.below(4) as usize);
            }
            _ if self.insert(12, 4) => {
                let (ether_type, id) = match variant {
                    1 => (0x8100, 0x0fff),
                    2 => (0x88a8, 0),
                    _ => (0x8100, 0),
                };
                self.word(12, ether_type);
                self.word(14, id | (rng.next() as u16 & 0xf000));
                if variant == 4 && self.insert(12, 4) {
                    self.word(12, 0x8100);
                    self.word(14, 0);
                    self.move_on(4);
                }
                self.move_on(4);
            }
            _ => {}
        }
    }

    /// IP and TCP begin `n` bytes later.
    fn move_on(&mut self, n: usize) {
        self.ip += n;
        self.tcp += n;
    }

    fn martian(&mut self, rng: &mut Rng) {
        let (ip, pick) = (self.ip, rng.below(5));
        if self.v6() {
            let source: u128 = match pick {
                0 => 0,
                1 => 1,
                2 => 0xff02 << 112 | 1,
                3 => 0xffff_0102_0304,
                _ => 0xff0e << 112 | u128::from(rng.next()),
            };
            self.put(ip + 8, &source.to_be_bytes());
        } else {
            let source = [
                [127, 0, 0, 1],
                [0; 4],
                [255; 4],
                [224, 0, 0, 1],
                [240, 1, 2, 3],
            ];
            self.put(ip + 12, &source[pick as usize]);
            self.fill_ip(20);
        }
        self.fill_transport(TCP, 16);
    }

    fn protocol(&mut self, rng: &mut Rng) {
        let at = if self.v6() { self.ip + 6 } else { self.ip + 9 };
        let icmp = if self.v6() { ICMPV6 } else { ICMP };
        let protocol = match rng.below(6) {
            0 => UDP,
            1 => rng.next() as u8,
            _ => icmp,
        };
        self.byte(at, protocol);
        self.fill_ip(20);
        if protocol != icmp {
            return;
        }
        // Errors quote a packet: noise, or what begins as one. No redirects and no routers' or neighbours' news: those would be
        // believed by a kernel.
        let kinds: &[u8] = if self.v6() {
            &[1, 2, 3, 4, 100, 128, 129, 200]
        } else {
            &[0, 3, 3, 8, 11, 12, 13, 17, 200]
        };
        let kind = kinds[rng.below(kinds.len() as u64) as usize];
        self.byte(self.tcp, kind);
        self.byte(self.tcp + 1, rng.below(16) as u8);
        if rng.next() & 1 == 0 {
            self.byte(self.tcp + 8, if self.v6() { 0x60 } else { 0x45 });
        }
        if rng.chance(80) {
            self.fill_transport(icmp, 2);
        }
    }

    fn ether_type(&mut self, rng: &mut Rng) {
        let at = self.ip - 2;
        match rng.below(3) {
            0 => {
                self.word(at, 0x0806);
                // Asks for nobody, with wrong lengths or an operation that there is not.
                let zero = [0; 28];
                self.put(self.ip, &zero);
                self.put(self.ip, &[0, 1, 8, 0]);
                self.byte(self.ip + 4, rng.next() as u8);
                self.byte(self.ip + 5, rng.next() as u8);
                self.word(self.ip + 6, 3 + rng.next() as u16 % 100);
            }
            1 => self.word(at, rng.below(1500) as u16),
            _ => self.word(at, 0x0900 | rng.next() as u16 & 0xff),
        }
    }

    /// Puts back what says where it goes.
    fn keep_to_target(&mut self, fault: Fault) {
        let link = self.link;
        if fault != Fault::MacAddress {
            self.put(0, &link.next_hop_mac);
        }
        let ether_type = self.out.get(self.ip - 2..self.ip);
        match ether_type {
            Some([0x08, 0x00]) => {
                self.put(self.ip + 16, &(link.target as u32).to_be_bytes());
            }
            Some([0x86, 0xdd]) => self.put(self.ip + 24, &link.target.to_be_bytes()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links() -> [Link; 3] {
        let link = Link {
            next_hop_mac: [2, 0, 0, 0, 0, 1],
            own_mac: [2, 0, 0, 0, 0, 2],
            tag: None,
            v6: false,
            target: 0x0a4d_0002,
            port: 9001,
        };
        let six = Link {
            v6: true,
            target: 0xfd77_u128 << 112 | 2,
            ..link
        };
        [
            link,
            six,
            Link {
                tag: Some([0x20, 77]),
                ..link
            },
        ]
    }

    fn frames(link: &Link, seed: u64, n: usize) -> Vec<Vec<u8>> {
        let own = if link.v6 { "fd77::1" } else { "10.77.0.1" };
        let sources = Sources::new(&[own.parse().expect("ip")], &(1024..=2047)).expect("some");
        let mut malformed = Malformed::new(seed);
        let mut out = vec![0; ROOM];
        let write = |i: usize| {
            let fault = Fault::ALL[i % Fault::ALL.len()];
            let len = malformed.write(&mut out, link, &sources, fault);
            out[..len].to_vec()
        };
        (0..n).map(write).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_frames() {
        for link in links() {
            let first = frames(&link, 7, 2000);
            assert!(first == frames(&link, 7, 2000));
            assert!(first != frames(&link, 8, 2000));
            let mut different = first.clone();
            different.sort();
            different.dedup();
            assert!(different.len() > 1900);
        }
    }

    #[test]
    fn no_frame_goes_to_anybody_else() {
        for link in links() {
            for frame in frames(&link, 3, 100_000) {
                assert!(frame.len() >= 14 && frame.len() <= ROOM);
                assert!(frame[..6] == link.next_hop_mac || frame[..6] == [0xff; 6]);
                // Wherever IP is, behind however many tags.
                let mut at = 12;
                while frame.len() >= at + 4
                    && (frame[at..at + 2] == [0x81, 0] || frame[at..at + 2] == [0x88, 0xa8])
                {
                    at += 4;
                }
                let to = match frame.get(at..at + 2) {
                    Some([8, 0]) => frame.get(at + 18..at + 22),
                    Some([0x86, 0xdd]) => frame.get(at + 26..at + 42),
                    _ => None,
                };
                let Some(to) = to else { continue };
                let all = link.target.to_be_bytes();
                assert_eq!(to, &all[16 - to.len()..], "{frame:02x?}");
            }
        }
    }
}
