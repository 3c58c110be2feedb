//! Segments of floods: a template is built once for a link, and a packet patches a few words and their part of the checksums.

use etherparse::{
    IpHeaders, Ipv4Extensions, Ipv4Header, Ipv6Extensions, Ipv6Header, PacketBuilder,
    SingleVlanHeader, TcpHeader, VlanHeader, ip_number,
};
use hioload_device::checksum;

use crate::link::Link;
use crate::segment::{Address, TCP, TCP_HEADER, flag, fold};

/// The longest template: Ethernet with a tag, IPv6, TCP with the most options.
pub(crate) const LONGEST: usize = 14 + 4 + 40 + 60;

/// The fields that differ between the segments of a template.
#[derive(Clone, Copy)]
pub(crate) struct Fields {
    pub(crate) source: Address,
    pub(crate) port: u16,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    /// IPv4 identification, and the lower half of the timestamp.
    pub(crate) id: u16,
}

/// A segment without source, numbers and timestamp, and the checksums of the rest.
#[derive(Clone)]
pub(crate) struct Template {
    bytes: [u8; LONGEST],
    pub(crate) len: usize,
    ip: usize,
    tcp: usize,
    v6: bool,
    timestamp: Option<usize>,
    ip_sum: u64,
    tcp_sum: u64,
}

/// The parts of a segment that are the same in all packets of a template.
#[derive(Clone, Copy)]
pub(crate) struct Shape<'a> {
    /// TCP flags, see [`flag`](crate::segment::flag).
    pub(crate) flags: u8,
    pub(crate) window: u16,
    pub(crate) ttl: u8,
    /// A multiple of four bytes. A timestamp option has to begin at an even offset.
    pub(crate) options: &'a [u8],
    /// Bytes of payload.
    pub(crate) payload: usize,
}

impl Template {
    /// Builds the template of a link. The source, the numbers and the timestamp are zero, and so is their part of the sums.
    pub(crate) fn new(link: &Link, shape: Shape<'_>) -> Self {
        let mut bytes = [0; LONGEST];
        let payload = [0xa5; LONGEST];
        let tcp_header = tcp_header(link, &shape);
        let ip_headers = ip_headers(link, shape.ttl);
        let ethernet = PacketBuilder::ethernet2(link.own_mac, link.next_hop_mac);
        let builder = match vlan_header(link) {
            Some(vlan) => ethernet.vlan(vlan).ip(ip_headers),
            None => ethernet.ip(ip_headers),
        };
        let len = builder
            .tcp_header(tcp_header)
            .write_to_slice(&mut bytes, &payload[..shape.payload])
            .expect("a template is shorter than its array");
        let (ip, tcp) = (link.ip_at(), link.tcp_at());
        bytes[tcp + 16..tcp + 18].fill(0);
        if !link.v6 {
            bytes[ip + 10..ip + 12].fill(0);
        }
        let timestamp = shape.options.windows(2).position(|pair| pair == [8, 10]);
        Self {
            ip_sum: checksum::sum(&bytes[ip..tcp]).into(),
            tcp_sum: link.pseudo(0, TCP, len - tcp) + u64::from(checksum::sum(&bytes[tcp..len])),
            timestamp: timestamp.map(|at| tcp + TCP_HEADER + at + 4),
            bytes,
            len,
            ip,
            tcp,
            v6: link.v6,
        }
    }

    /// Writes a segment and returns its length.
    #[inline]
    pub(crate) fn stamp(&self, out: &mut [u8], fields: &Fields) -> usize {
        let out = &mut out[..self.len];
        out.copy_from_slice(&self.bytes[..self.len]);
        let halves = |word: u32| u64::from(word >> 16) + u64::from(word & 0xffff);
        let source = fields.source;
        let source_sum = if self.v6 {
            out[self.ip + 8..self.ip + 24].copy_from_slice(&source.to_be_bytes());
            let part = |shift: u32| halves((source >> shift) as u32);
            part(0) + part(32) + part(64) + part(96)
        } else {
            let sum = halves(source as u32);
            out[self.ip + 12..self.ip + 16].copy_from_slice(&(source as u32).to_be_bytes());
            out[self.ip + 4..self.ip + 6].copy_from_slice(&fields.id.to_be_bytes());
            let header = !fold(self.ip_sum + sum + u64::from(fields.id));
            out[self.ip + 10..self.ip + 12].copy_from_slice(&header.to_be_bytes());
            sum
        };
        let mut sum = self.tcp_sum
            + source_sum
            + u64::from(fields.port)
            + halves(fields.seq)
            + halves(fields.ack);
        let tcp = self.tcp;
        out[tcp..tcp + 2].copy_from_slice(&fields.port.to_be_bytes());
        out[tcp + 4..tcp + 8].copy_from_slice(&fields.seq.to_be_bytes());
        out[tcp + 8..tcp + 12].copy_from_slice(&fields.ack.to_be_bytes());
        if let Some(at) = self.timestamp {
            // At an even offset, so that it is a word of the checksum.
            out[at..at + 2].copy_from_slice(&fields.id.to_be_bytes());
            sum += u64::from(fields.id);
        }
        out[tcp + 16..tcp + 18].copy_from_slice(&(!fold(sum)).to_be_bytes());
        self.len
    }
}

fn tcp_header(link: &Link, shape: &Shape<'_>) -> TcpHeader {
    let has = |bit: u8| shape.flags & bit != 0;
    let mut header = TcpHeader::new(0, link.port, 0, shape.window);
    header.fin = has(flag::FIN);
    header.syn = has(flag::SYN);
    header.rst = has(flag::RST);
    header.psh = has(flag::PSH);
    header.ack = has(flag::ACK);
    header
        .set_options_raw(shape.options)
        .expect("the options of a template fit a header");
    header
}

fn ip_headers(link: &Link, ttl: u8) -> IpHeaders {
    // The builder fills in the length, the protocol and the checksum.
    if link.v6 {
        let header = Ipv6Header {
            next_header: ip_number::TCP,
            hop_limit: ttl,
            destination: link.target.to_be_bytes(),
            ..Ipv6Header::default()
        };
        return IpHeaders::Ipv6(header, Ipv6Extensions::default());
    }
    let header = Ipv4Header {
        protocol: ip_number::TCP,
        time_to_live: ttl,
        dont_fragment: true,
        destination: (link.target as u32).to_be_bytes(),
        ..Ipv4Header::default()
    };
    IpHeaders::Ipv4(header, Ipv4Extensions::default())
}

fn vlan_header(link: &Link) -> Option<VlanHeader> {
    let [high, low] = link.tag?;
    // The bytes after the tag are the EtherType, which the builder fills in.
    Some(VlanHeader::Single(SingleVlanHeader::from_bytes([
        high, low, 0, 0,
    ])))
}

#[cfg(test)]
mod tests {
    use etherparse::NetSlice;

    use super::*;
    use crate::link::tests::links;
    use crate::reading::tcp_packet;
    use crate::rng::Rng;
    use crate::segment::{Parts, Segment};

    const OPTIONS: [u8; 20] = [
        2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 3, 7,
    ];

    /// A segment that was stamped has valid checksums and the fields that were given, as etherparse and this crate's reader see it.
    #[test]
    fn a_stamped_segment_has_its_fields_and_valid_checksums() {
        let mut rng = Rng::new(3);
        for link in links() {
            for (options, flags, payload) in [
                (&OPTIONS[..], flag::SYN, 0),
                (&OPTIONS[..4], flag::SYN, 0),
                (&[], flag::ACK, 16),
                (&[], flag::ACK | flag::FIN, 0),
            ] {
                let shape = Shape {
                    flags,
                    window: 512,
                    ttl: 64,
                    options,
                    payload,
                };
                let template = Template::new(&link, shape);
                for _ in 0..500 {
                    stamped(&link, &template, &shape, &mut rng);
                }
            }
        }
    }

    fn stamped(link: &Link, template: &Template, shape: &Shape<'_>, rng: &mut Rng) {
        let numbers = rng.next();
        let fields = Fields {
            source: if link.v6 {
                u128::from(rng.next()) << 64 | u128::from(rng.next())
            } else {
                u128::from(rng.next() as u32)
            },
            port: rng.next() as u16,
            seq: numbers as u32,
            ack: (numbers >> 32) as u32,
            id: rng.next() as u16,
        };
        let mut out = [0; LONGEST];
        let len = template.stamp(&mut out, &fields);
        let frame = &out[..len];
        let parts = Parts::of(frame).expect("an IP packet");
        assert_eq!((parts.end, parts.protocol), (len, TCP));
        let segment = Segment::of(frame, &parts).expect("a segment");
        assert_eq!((segment.source, segment.from), (fields.source, fields.port));
        assert_eq!((segment.destination, segment.to), (link.target, link.port));
        assert_eq!((segment.seq, segment.ack), (fields.seq, fields.ack));
        assert_eq!((segment.flags, segment.window), (shape.flags, shape.window));
        assert_eq!(segment.payload.len(), shape.payload);

        let (packet, tcp) = tcp_packet(frame);
        match &packet.net {
            Some(NetSlice::Ipv4(ip)) => {
                let ip = ip.header();
                assert_eq!((ip.ttl(), ip.dont_fragment()), (shape.ttl, true));
                assert_eq!(ip.identification(), fields.id);
            }
            Some(NetSlice::Ipv6(ip)) => assert_eq!(ip.header().hop_limit(), shape.ttl),
            other => panic!("no IP in {other:?}"),
        }
        assert_eq!(tcp.options().len(), shape.options.len());
        assert_eq!(packet.vlan().is_some(), link.tag.is_some());
    }
}
