//! Applies faults to a frame.

use super::draft::{Draft, ICMP};
use super::fault::Fault;
use crate::rng::Rng;
use crate::segment::{ICMPV6, TCP, flag};

const UDP: u8 = 17;

impl Draft<'_> {
    pub(super) fn apply(&mut self, fault: Fault, rng: &mut Rng) {
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
                    // Half of these frames pass the check of the first byte.
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

    /// Inserts IPv4 options: random bytes with any lengths, but no source route (LSRR, SSRR).
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

    /// Inserts up to twelve IPv6 extension headers, in any order, with lengths that may lead beyond the packet. A routing header has no
    /// segments left.
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
                // Segments Left is 0, so that no router forwards the packet elsewhere.
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
            // Truncated.
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

    /// Moves the offsets of IP and TCP by `n` bytes.
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
        // ICMP errors quote random bytes, or the start of a packet. Redirects and router or neighbour advertisements are excluded: a
        // kernel would accept them.
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
                // ARP for no address, with wrong lengths or an unknown operation.
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
}
