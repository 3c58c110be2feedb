//! Floods of complete segments, stamped from templates.

use hioload_device::Device;

use crate::kind::AttackKind;
use crate::link::Link;
use crate::rng::Rng;
use crate::segment::{Live, flag};
use crate::sources::Sources;
use crate::template::{Fields, Shape, Template};
use crate::tx::TxQueue;

/// Options of a Linux SYN: MSS, SACK permitted, timestamps, NOP, window scale 7.
const LINUX: [u8; 20] = [
    2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 3, 7,
];

/// Options of a Windows SYN: MSS, NOP, window scale 8, two NOPs, SACK permitted.
const WINDOWS: [u8; 12] = [2, 4, 5, 0xb4, 1, 3, 3, 8, 1, 1, 4, 2];

/// Options of a macOS SYN: MSS, NOP, window scale 6, two NOPs, timestamps, SACK permitted, end.
const MACOS: [u8; 24] = [
    2, 4, 5, 0xb4, 1, 3, 3, 6, 1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 4, 2, 0, 0,
];

/// Payload of the acknowledgements that have a payload.
const PAYLOAD: usize = 16;
/// Distance in the sequence space that is outside of any window.
const FAR: u32 = 1 << 30;

/// A step that visits all of `len` indices, with neighbours far apart: near the golden section of `len` and coprime to it.
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
    /// Percentage of the packets that go to the load's own connections.
    live: u8,
    rng: Rng,
    /// The index of the last source of a SYN, and the step to the next.
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

    /// Builds the templates for the path to the target.
    pub(crate) fn set_link(&mut self, link: &Link) {
        self.templates.clear();
        let push = flag::ACK | flag::PSH;
        let mut add = |flags, window, ttl, options, payload| {
            let shape = Shape {
                flags,
                window,
                ttl,
                options,
                payload,
            };
            self.templates.push(Template::new(link, shape));
        };
        match self.kind {
            AttackKind::SynFlood => {
                add(flag::SYN, 64_240, 64, &LINUX[..], 0);
                add(flag::SYN, 64_240, 128, &WINDOWS, 0);
                add(flag::SYN, 65_535, 64, &MACOS, 0);
            }
            AttackKind::AckStorm => {
                add(flag::ACK, 512, 64, &[][..], 0);
                add(push, 512, 64, &[], PAYLOAD);
                // If it were accepted, it would also close the window.
                add(flag::ACK | flag::FIN, 0, 64, &[], 0);
            }
            _ => {
                add(flag::RST, 0, 64, &[][..], 0);
                add(flag::RST | flag::ACK, 0, 64, &[], 0);
                add(flag::SYN, 64_240, 64, &LINUX, 0);
            }
        }
    }

    /// Sends the packets that are due.
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

    /// The fields of a segment for no connection.
    #[inline]
    fn unrelated(&mut self, sources: &Sources, which: usize, id: u16) -> (usize, Fields) {
        let index = if self.kind == AttackKind::SynFlood {
            // A source is repeated only after all others.
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
        // A storm of resets sends SYNs only to live connections: others would be a SYN flood.
        let which = if self.kind == AttackKind::RstStorm {
            which & 1
        } else {
            which
        };
        (which, fields)
    }

    /// The fields of a segment for a live connection of the load that the receiver has to refuse. `live` is the last segment sent on it,
    /// so that the next byte expected lies at or before `live.next`.
    fn at_live(&mut self, live: &Live, which: usize) -> Fields {
        let numbers = self.rng.next();
        let ahead = 1 + (numbers as u32 & 0x7fff);
        let inside = numbers >> 62 & 1 == 0;
        let (seq, ack) = match self.kind {
            // In the window, with an acknowledgement far ahead or far behind. The receiver discards the segment with its payload
            // (RFC 5961 §5).
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
            // In the window but not at the next byte, or outside of the window (RFC 5961 §3.2).
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
    #[test]
    fn a_walk_visits_all_indices() {
        for len in 1..300 {
            let (mut at, mut seen) = (0, vec![false; len]);
            for _ in 0..len {
                at = (at + stride(len as u64) as usize) % len;
                seen[at] = true;
            }
            assert!(seen.into_iter().all(|seen| seen), "{len}");
        }
    }
}
