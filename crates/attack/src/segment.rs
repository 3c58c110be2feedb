//! Received and sent frames, as far as an attack reads them.

use std::net::IpAddr;

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

/// Bytes of a TCP header without options.
pub(crate) const TCP_HEADER: usize = 20;

/// An IPv4 or IPv6 address as a number.
pub(crate) type Address = u128;

pub(crate) fn number_of(ip: IpAddr) -> Address {
    match ip {
        IpAddr::V4(ip) => u32::from(ip).into(),
        IpAddr::V6(ip) => ip.into(),
    }
}

/// Folds a one's complement sum (RFC 1071).
pub(crate) fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// A segment that the load has sent to the target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Live {
    pub source: Address,
    pub port: u16,
    /// The sequence number after its last byte.
    pub next: u32,
    pub ack: u32,
    /// The segment neither begins nor ends a connection.
    pub settled: bool,
}

/// The offsets in a frame with an IP packet without extension headers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    pub tagged: bool,
    pub v6: bool,
    pub protocol: u8,
    pub ip: usize,
    pub transport: usize,
    /// Offset of the end of the packet.
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

    /// Source and destination address.
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

/// A TCP segment, received or sent by the load.
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

    /// The live segment of the load's connection.
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
