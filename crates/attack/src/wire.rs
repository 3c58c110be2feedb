//! Segments by hand: written from few words, and read as far as an answer is of interest.

use std::net::{IpAddr, SocketAddr};

use hioload_device::checksum;

/// TCP flags.
pub(crate) mod flag {
    pub(crate) const FIN: u8 = 0x01;
    pub(crate) const SYN: u8 = 0x02;
    pub(crate) const RST: u8 = 0x04;
    pub(crate) const PSH: u8 = 0x08;
    pub(crate) const ACK: u8 = 0x10;
}

pub(crate) const TCP: u8 = 6;
pub(crate) const ICMPV6: u8 = 58;
/// Of a TCP header without options.
pub(crate) const TCP_HEADER: usize = 20;
/// The most there is before a TCP header: Ethernet, a tag, IPv6.
pub(crate) const MOST_BEFORE_TCP: usize = 14 + 4 + 40;

/// An address of the target's family, as a number.
pub(crate) type Address = u128;

pub(crate) fn number_of(ip: IpAddr) -> Address {
    match ip {
        IpAddr::V4(ip) => u32::from(ip).into(),
        IpAddr::V6(ip) => ip.into(),
    }
}

/// How the target is reached; learned from what the load sends to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Link {
    /// The station that the load sends to: the target, or a router.
    pub next_hop_mac: [u8; 6],
    /// The load's own.
    pub own_mac: [u8; 6],
    /// Identifier and priority, if the load's frames have a tag.
    pub tag: Option<[u8; 2]>,
    pub v6: bool,
    pub target: Address,
    pub port: u16,
}

/// A segment that the load has sent to the target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Live {
    pub source: Address,
    pub port: u16,
    /// The number after its last byte.
    pub next: u32,
    pub ack: u32,
    /// It does not begin or end a connection.
    pub settled: bool,
}

/// What a segment says besides where from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Header<'a> {
    pub flags: u8,
    pub seq: u32,
    pub ack: u32,
    pub window: u16,
    /// A multiple of four bytes.
    pub options: &'a [u8],
}

impl Link {
    /// From a frame that the load sends to the target.
    pub(crate) fn of(frame: &[u8], target: SocketAddr) -> Option<Self> {
        let parts = Parts::of(frame)?;
        let v6 = target.is_ipv6();
        let (_, destination) = parts.addresses(frame)?;
        let tcp = frame.get(parts.transport..)?.first_chunk::<TCP_HEADER>()?;
        let ours = parts.v6 == v6
            && parts.protocol == TCP
            && destination == number_of(target.ip())
            && u16::from_be_bytes([tcp[2], tcp[3]]) == target.port();
        ours.then_some(Self {
            next_hop_mac: *frame.first_chunk()?,
            own_mac: *frame.get(6..)?.first_chunk()?,
            tag: parts
                .tagged
                .then(|| frame.get(14..)?.first_chunk().copied())
                .flatten(),
            v6,
            target: destination,
            port: target.port(),
        })
    }

    /// Where IP begins.
    pub(crate) fn ip_at(&self) -> usize {
        if self.tag.is_some() { 18 } else { 14 }
    }

    /// Where TCP begins.
    pub(crate) fn tcp_at(&self) -> usize {
        self.ip_at() + if self.v6 { 40 } else { 20 }
    }

    /// The most payload of a segment without options in a packet of `mtu` bytes.
    pub(crate) fn room(&self, mtu: usize) -> usize {
        mtu.saturating_sub(if self.v6 { 60 } else { 40 })
    }

    /// Writes the Ethernet header.
    pub(crate) fn ethernet(&self, out: &mut [u8], ether_type: u16) {
        out[..6].copy_from_slice(&self.next_hop_mac);
        out[6..12].copy_from_slice(&self.own_mac);
        let mut at = 12;
        if let Some(tag) = self.tag {
            out[12..14].copy_from_slice(&[0x81, 0x00]);
            out[14..16].copy_from_slice(&tag);
            at = 16;
        }
        out[at..at + 2].copy_from_slice(&ether_type.to_be_bytes());
    }

    /// Writes a packet's headers up to IP, for `len` bytes behind them; IPv4's checksum is complete. Gives where these begin.
    pub(crate) fn headers(
        &self,
        out: &mut [u8],
        source: Address,
        protocol: u8,
        len: usize,
    ) -> usize {
        let at = self.ip_at();
        self.ethernet(out, if self.v6 { 0x86dd } else { 0x0800 });
        if self.v6 {
            let ip = &mut out[at..at + 40];
            ip[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, 0, protocol, 64]);
            ip[4..6].copy_from_slice(&(len as u16).to_be_bytes());
            ip[8..24].copy_from_slice(&source.to_be_bytes());
            ip[24..40].copy_from_slice(&self.target.to_be_bytes());
            at + 40
        } else {
            let ip = &mut out[at..at + 20];
            // Do not fragment.
            ip[..12].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0]);
            ip[2..4].copy_from_slice(&((20 + len) as u16).to_be_bytes());
            ip[12..16].copy_from_slice(&(source as u32).to_be_bytes());
            ip[16..20].copy_from_slice(&(self.target as u32).to_be_bytes());
            let sum = !checksum::sum(ip);
            ip[10..12].copy_from_slice(&sum.to_be_bytes());
            at + 20
        }
    }

    /// The sum of the pseudo-header of a segment of `len` bytes, not folded.
    pub(crate) fn pseudo(&self, source: Address, protocol: u8, len: usize) -> u64 {
        let words = |mut address: Address| {
            let mut sum = 0;
            while address > 0 {
                sum += (address & 0xffff) as u64;
                address >>= 16;
            }
            sum
        };
        words(source) + words(self.target) + u64::from(protocol) + len as u64
    }

    /// Writes a whole segment with good checksums into `out`, its payload by `payload`, which is `len` bytes long; gives the length
    /// of the frame.
    ///
    /// # Panics
    /// If `out` is too short.
    pub(crate) fn segment(
        &self,
        out: &mut [u8],
        (source, port): (Address, u16),
        header: &Header<'_>,
        len: usize,
        payload: impl FnOnce(&mut [u8]),
    ) -> usize {
        let data = TCP_HEADER + header.options.len();
        let tcp_len = data + len;
        let at = self.headers(out, source, TCP, tcp_len);
        let tcp = &mut out[at..at + tcp_len];
        tcp[0..2].copy_from_slice(&port.to_be_bytes());
        tcp[2..4].copy_from_slice(&self.port.to_be_bytes());
        tcp[4..8].copy_from_slice(&header.seq.to_be_bytes());
        tcp[8..12].copy_from_slice(&header.ack.to_be_bytes());
        tcp[12] = (data as u8 / 4) << 4;
        tcp[13] = header.flags;
        tcp[14..16].copy_from_slice(&header.window.to_be_bytes());
        tcp[16..20].fill(0);
        tcp[20..data].copy_from_slice(header.options);
        payload(&mut tcp[data..]);
        let sum = self.pseudo(source, TCP, tcp_len) + u64::from(checksum::sum(tcp));
        tcp[16..18].copy_from_slice(&(!fold(sum)).to_be_bytes());
        at + tcp_len
    }
}

/// One's complement addition (RFC 1071).
pub(crate) fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Where things are in a frame with an IP packet that has no extension headers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    pub tagged: bool,
    pub v6: bool,
    pub protocol: u8,
    pub ip: usize,
    pub transport: usize,
    /// The end of the packet.
    pub end: usize,
}

impl Parts {
    #[inline]
    pub(crate) fn of(frame: &[u8]) -> Option<Self> {
        let kind = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
        let (tagged, ether_type, ip) = match kind(12)? {
            0x8100 => (true, kind(16)?, 18),
            other => (false, other, 14),
        };
        match ether_type {
            0x0800 => {
                let header = frame.get(ip..)?.first_chunk::<20>()?;
                let transport = ip + usize::from(header[0] & 15) * 4;
                let end = ip + usize::from(u16::from_be_bytes([header[2], header[3]]));
                let sound = header[0] >> 4 == 4 && transport >= ip + 20 && end >= transport;
                (sound && end <= frame.len()).then_some(Self {
                    tagged,
                    v6: false,
                    protocol: header[9],
                    ip,
                    transport,
                    end,
                })
            }
            0x86dd => {
                let header = frame.get(ip..)?.first_chunk::<40>()?;
                let end = ip + 40 + usize::from(u16::from_be_bytes([header[4], header[5]]));
                (end <= frame.len()).then_some(Self {
                    tagged,
                    v6: true,
                    protocol: header[6],
                    ip,
                    transport: ip + 40,
                    end,
                })
            }
            _ => None,
        }
    }

    /// Source and destination.
    #[inline]
    pub(crate) fn addresses(&self, frame: &[u8]) -> Option<(Address, Address)> {
        if self.v6 {
            let both = frame.get(self.ip + 8..)?.first_chunk::<32>()?;
            let (source, destination) = both.split_at(16);
            Some((
                u128::from_be_bytes(source.try_into().ok()?),
                u128::from_be_bytes(destination.try_into().ok()?),
            ))
        } else {
            let both = frame.get(self.ip + 12..)?.first_chunk::<8>()?;
            let word = |at: usize| {
                u32::from_be_bytes([both[at], both[at + 1], both[at + 2], both[at + 3]])
            };
            Some((word(0).into(), word(4).into()))
        }
    }
}

/// A segment that was received, or that the load sends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment<'a> {
    pub source: Address,
    pub destination: Address,
    pub from: u16,
    pub to: u16,
    pub flags: u8,
    pub seq: u32,
    pub ack: u32,
    pub window: u16,
    pub payload: &'a [u8],
}

impl<'a> Segment<'a> {
    #[inline]
    pub(crate) fn of(frame: &'a [u8], parts: &Parts) -> Option<Self> {
        if parts.protocol != TCP {
            return None;
        }
        let (source, destination) = parts.addresses(frame)?;
        let tcp = frame.get(parts.transport..parts.end)?;
        let header = tcp.first_chunk::<TCP_HEADER>()?;
        let word = |at: usize| {
            u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        Some(Self {
            source,
            destination,
            from: u16::from_be_bytes([header[0], header[1]]),
            to: u16::from_be_bytes([header[2], header[3]]),
            flags: header[13],
            seq: word(4),
            ack: word(8),
            window: u16::from_be_bytes([header[14], header[15]]),
            payload: tcp.get(usize::from(header[12] >> 4) * 4..)?,
        })
    }

    /// The load's connection that it belongs to.
    pub(crate) fn live(&self) -> Live {
        Live {
            source: self.source,
            port: self.from,
            next: self.seq.wrapping_add(self.payload.len() as u32),
            ack: self.ack,
            settled: self.flags & (flag::SYN | flag::FIN | flag::RST) == 0,
        }
    }
}
