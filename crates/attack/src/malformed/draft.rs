//! A frame that faults are applied to.

use hioload_device::checksum;

use super::fault::Fault;
use crate::link::{Header, Link};
use crate::rng::Rng;
use crate::segment::{flag, fold};
use crate::sources::Sources;

pub(super) const ICMP: u8 = 1;

/// A frame that faults are applied to. It begins as a valid segment.
pub(super) struct Draft<'a> {
    pub(super) out: &'a mut [u8],
    pub(super) len: usize,
    pub(super) link: &'a Link,
    pub(super) ip: usize,
    pub(super) tcp: usize,
}

impl<'a> Draft<'a> {
    /// Writes a valid segment.
    pub(super) fn new(out: &'a mut [u8], link: &'a Link, sources: &Sources, rng: &mut Rng) -> Self {
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

    pub(super) fn v6(&self) -> bool {
        self.link.v6
    }

    pub(super) fn byte(&mut self, at: usize, value: u8) {
        if at < self.len {
            self.out[at] = value;
        }
    }

    pub(super) fn word(&mut self, at: usize, value: u16) {
        let [high, low] = value.to_be_bytes();
        self.byte(at, high);
        self.byte(at + 1, low);
    }

    /// Writes the IPv4 header checksum over `len` bytes.
    pub(super) fn fill_ip(&mut self, len: usize) {
        let end = (self.ip + len).min(self.len);
        if !self.v6() && end >= self.ip + 20 {
            self.word(self.ip + 10, 0);
            let sum = !checksum::sum(&self.out[self.ip..end]);
            self.word(self.ip + 10, sum);
        }
    }

    /// Writes the checksum of the transport header, if the frame is long enough.
    pub(super) fn fill_transport(&mut self, protocol: u8, field: usize) {
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

    /// Inserts `n` bytes at `at`. Returns whether they fit.
    pub(super) fn insert(&mut self, at: usize, n: usize) -> bool {
        if at > self.len || self.len + n > self.out.len() {
            return false;
        }
        self.out.copy_within(at..self.len, at + n);
        self.len += n;
        true
    }

    pub(super) fn put(&mut self, at: usize, bytes: &[u8]) {
        for (i, &byte) in bytes.iter().enumerate() {
            self.byte(at + i, byte);
        }
    }

    /// Restores the destination addresses.
    pub(super) fn keep_to_target(&mut self, fault: Fault) {
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
