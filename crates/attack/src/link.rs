//! The path to the target, and segments written for it.

use std::net::SocketAddr;

use hioload_device::checksum;

use crate::segment::{Address, Parts, TCP, TCP_HEADER, fold, number_of};

/// Bytes before a TCP header at most: Ethernet, a VLAN tag, IPv6.
pub(crate) const MOST_BEFORE_TCP: usize = 14 + 4 + 40;

/// The path to the target, learned from a frame that the load sends to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Link {
    /// MAC address of the next hop: the target, or a router.
    pub next_hop_mac: [u8; 6],
    /// MAC address of the load.
    pub own_mac: [u8; 6],
    /// Priority and identifier of the VLAN tag, if the load's frames have one.
    pub tag: Option<[u8; 2]>,
    pub v6: bool,
    pub target: Address,
    pub port: u16,
}

/// The header of a segment, without its source.
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
    /// Reads the path from a frame of the load to the target.
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

    /// Offset of the IP header.
    pub(crate) fn ip_at(&self) -> usize {
        if self.tag.is_some() { 18 } else { 14 }
    }

    /// Offset of the TCP header.
    pub(crate) fn tcp_at(&self) -> usize {
        self.ip_at() + if self.v6 { 40 } else { 20 }
    }

    /// The largest payload of a segment without options in a packet of `mtu` bytes.
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

    /// Writes the headers up to IP for `len` bytes after them, with the IPv4 checksum. Returns the offset after them.
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
            // The DF bit is set.
            ip[..12].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0]);
            ip[2..4].copy_from_slice(&((20 + len) as u16).to_be_bytes());
            ip[12..16].copy_from_slice(&(source as u32).to_be_bytes());
            ip[16..20].copy_from_slice(&(self.target as u32).to_be_bytes());
            let sum = !checksum::sum(ip);
            ip[10..12].copy_from_slice(&sum.to_be_bytes());
            at + 20
        }
    }

    /// The sum of the pseudo-header for a segment of `len` bytes, not folded.
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

    /// Writes a complete segment with valid checksums into `out`. `payload` writes its `len` bytes of payload. Returns the length of
    /// the frame.
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

#[cfg(test)]
pub(crate) mod tests {
    use etherparse::{IpNumber, NetSlice};

    use super::*;
    use crate::reading::tcp_packet;
    use crate::rng::Rng;
    use crate::segment::flag;

    /// Links over IPv4 and IPv6, without and with a tag.
    pub(crate) fn links() -> [Link; 4] {
        let four = Link {
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
            ..four
        };
        let tag = Some([0x20, 77]);
        [four, six, Link { tag, ..four }, Link { tag, ..six }]
    }

    /// The writer lays out bytes itself, because connections use it for each segment. etherparse is the second opinion.
    #[test]
    fn a_written_segment_is_what_etherparse_reads() {
        let mut rng = Rng::new(11);
        for link in links() {
            for payload in [0, 1, 2, 63, 1000] {
                let numbers = rng.next();
                let header = Header {
                    flags: flag::ACK | flag::PSH,
                    seq: numbers as u32,
                    ack: (numbers >> 32) as u32,
                    window: 4096,
                    options: if payload == 2 { &[2, 4, 5, 0xb4] } else { &[] },
                };
                let source = if link.v6 {
                    link.target + 9
                } else {
                    0x0a4d_0001
                };
                let mut out = [0; 2000];
                let len = link.segment(&mut out, (source, 4000), &header, payload, |bytes| {
                    rng.fill(bytes);
                });
                let (packet, tcp) = tcp_packet(&out[..len]);
                match &packet.net {
                    Some(NetSlice::Ipv4(ip)) => {
                        let ip = ip.header();
                        assert_eq!(ip.protocol(), IpNumber::TCP);
                        assert_eq!(ip.destination(), (link.target as u32).to_be_bytes());
                        assert_eq!(ip.source(), (source as u32).to_be_bytes());
                    }
                    Some(NetSlice::Ipv6(ip)) => {
                        assert_eq!(ip.header().destination(), link.target.to_be_bytes());
                        assert_eq!(ip.header().source(), source.to_be_bytes());
                    }
                    other => panic!("no IP in {other:?}"),
                }
                assert_eq!((tcp.source_port(), tcp.destination_port()), (4000, 9001));
                assert_eq!(
                    (tcp.sequence_number(), tcp.acknowledgment_number()),
                    (header.seq, header.ack)
                );
                assert_eq!((tcp.ack(), tcp.psh(), tcp.syn()), (true, true, false));
                assert_eq!(tcp.options(), header.options);
                assert_eq!(tcp.payload().len(), payload);
                let target = if link.v6 {
                    SocketAddr::new(std::net::Ipv6Addr::from(link.target).into(), 9001)
                } else {
                    SocketAddr::new(std::net::Ipv4Addr::from(link.target as u32).into(), 9001)
                };
                assert_eq!(Link::of(&out[..len], target), Some(link));
            }
        }
    }
}
