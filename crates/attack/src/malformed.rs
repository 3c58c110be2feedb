//! Malformed frames: a valid segment from a random source with one or two faults.
//!
//! Every frame stays with the target: its destination MAC and IP address are restored at the end, no option asks a router for another
//! path, and no frame makes a claim about addresses of other hosts.

mod apply;
mod draft;
mod fault;

use hioload_device::Device;

use self::draft::Draft;
use self::fault::Fault;
use crate::link::Link;
use crate::rng::Rng;
use crate::sources::Sources;
use crate::tx::TxQueue;

/// The longest frame.
const ROOM: usize = 512;

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

    /// Sends the packets that are due.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::tests::links;

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
    fn no_frame_goes_to_another_host() {
        for link in links() {
            for frame in frames(&link, 3, 100_000) {
                assert!(frame.len() >= 14 && frame.len() <= ROOM);
                assert!(frame[..6] == link.next_hop_mac || frame[..6] == [0xff; 6]);
                // The IP header follows any number of tags.
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
