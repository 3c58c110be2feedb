//! Loss detection that is faster than that of smoltcp.
//!
//! smoltcp begins a fast retransmission at the third duplicate acknowledgement without payload, at most once for each hole. Its
//! retransmission timeout is at least a second. Where both sides send, acknowledgements are seldom empty, and a second is long
//! on a network with round trips of microseconds. So this module triggers the retransmission:
//!
//! - SACK blocks (RFC 2018), in segments with and without payload, show a hole: three segments' worth of bytes beyond it, or
//!   three such segments (RFC 6675), or all bytes that are outstanding.
//! - The recovery ends when all bytes are acknowledged that were queued when the hole was found. Until then, a partial
//!   acknowledgement with SACK blocks shows the next hole (RFC 6582), and many duplicate acknowledgements show that the
//!   retransmission was lost.
//! - No SACK block shows the loss of the last segments. So while bytes are outstanding and none of them is acknowledged, the
//!   first segment is sent again as a probe (RFC 8985 §7), after two round trips and a margin, four times with doubled
//!   intervals. Round trips are measured by timestamps (RFC 7323 §4); without timestamps there are no probes.
//!
//! The trigger is three injected duplicate acknowledgements, after two with other windows that end an earlier count. smoltcp then
//! retransmits its first segment and reduces its congestion window.

use std::time::Duration;

use hioload_device::{Device, Frame};
use hioload_lcore::Time;

use crate::flow_flags::FlowFlags;
use crate::parse::Segment;
use crate::stack::{Stack, clock};

/// The approximate payload of a segment. smoltcp does not expose the exact value.
const SEGMENT: u32 = 1400;

/// The number of segments beyond a hole, or of acknowledgements of them, that make it a loss. Reordering is seldom by more.
const THRESHOLD: u32 = 3;

/// A round-trip time that is too long for probes, or unknown.
const FAR: u8 = u8::MAX;

/// The most probes without an acknowledgement.
const PROBES: u8 = 4;

/// The margin beyond two round trips before a probe. A peer may delay the acknowledgement of less than two segments (RFC 9293
/// §3.8.6.3), and a turn takes time.
const SPARE_FEW: Duration = Duration::from_millis(200);
const SPARE_MANY: Duration = Duration::from_millis(20);

/// The state of loss detection of a flow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Losses {
    /// SND.UNA: the highest acknowledgement number of the peer.
    pub acked: u32,
    /// RCV.NXT, as far as it is known: the acknowledgement number that we have sent, and in-order payload since.
    pub expected: u32,
    /// The recovery ends when this sequence number is acknowledged.
    recover: u32,
    /// The peer's window, not scaled.
    window: u16,
    /// Duplicate acknowledgements since.
    repeats: u8,
    /// The smoothed round-trip time in milliseconds, or `FAR`.
    rtt: u8,
    /// Probes since the last new acknowledgement.
    probes: u8,
    recovering: bool,
    /// There was a new acknowledgement since the timer last fired.
    moved: bool,
}

impl Losses {
    pub(crate) const NONE: Self = Self {
        acked: 0,
        expected: 0,
        recover: 0,
        window: 0,
        repeats: 0,
        rtt: FAR,
        probes: 0,
        recovering: false,
        moved: false,
    };

    /// The time without an acknowledgement after which a probe is sent, with `queued` bytes outstanding.
    pub(crate) fn probe_timeout(&self, queued: usize) -> Option<Duration> {
        if self.rtt == FAR || self.probes >= PROBES || queued == 0 {
            return None;
        }
        let few = queued <= 2 * SEGMENT as usize;
        let spare = if few { SPARE_FEW } else { SPARE_MANY };
        let once = Duration::from_millis(2 * u64::from(self.rtt)) + spare;
        Some(once * (1 << self.probes))
    }
}

impl<D: Device> Stack<D> {
    /// Handles the acknowledgement in a segment. `before` and `after` are the numbers of bytes outstanding before and after
    /// it. `expected` is the new RCV.NXT, if it is known.
    #[inline]
    pub(crate) fn on_acknowledgement(
        &mut self,
        slot: u32,
        frame: &D::Frame,
        segment: &Segment,
        (before, after): (usize, usize),
        expected: Option<u32>,
    ) {
        let losses = &mut self.flows.hot_mut(slot).losses;
        losses.window = segment.window;
        if let Some(expected) = expected {
            losses.expected = expected;
        }
        if after < before {
            losses.acked = segment.ack;
            losses.repeats = 0;
            losses.probes = 0;
            losses.moved = true;
            if let Some(echo) = echoed_time(options(frame.bytes(), segment)) {
                let took = clock::millis().wrapping_sub(echo).min(u32::from(FAR));
                losses.rtt = match losses.rtt {
                    FAR => took as u8,
                    // A quarter of the new value is rounded up, so that the smallest change is not lost.
                    old => ((u32::from(old) * 3 + took).div_ceil(4)) as u8,
                };
            }
            if losses.recovering {
                self.on_partial_acknowledgement(slot, frame, segment, after);
            }
        } else if after > 0 && segment.payload.start > segment.tcp_at + 32 {
            // More options than a timestamp.
            self.on_duplicate_acknowledgement(slot, frame, segment, after);
        }
    }

    /// Handles a new acknowledgement during recovery.
    #[cold]
    fn on_partial_acknowledgement(
        &mut self,
        slot: u32,
        frame: &D::Frame,
        segment: &Segment,
        after: usize,
    ) {
        let losses = &mut self.flows.hot_mut(slot).losses;
        if after == 0 || segment.ack.wrapping_sub(losses.recover) as i32 >= 0 {
            losses.recovering = false;
        } else if farthest(options(frame.bytes(), segment), segment.ack).is_some() {
            self.retransmit_first(slot);
        }
    }

    /// Handles an acknowledgement of nothing new, which may have SACK blocks.
    #[cold]
    fn on_duplicate_acknowledgement(
        &mut self,
        slot: u32,
        frame: &D::Frame,
        segment: &Segment,
        after: usize,
    ) {
        let Some(behind) = farthest(options(frame.bytes(), segment), segment.ack) else {
            return;
        };
        let losses = &mut self.flows.hot_mut(slot).losses;
        if segment.ack != losses.acked {
            // A newer segment has overtaken it.
            return;
        }
        losses.repeats = losses.repeats.saturating_add(1);
        let repeats = u32::from(losses.repeats);
        if losses.recovering {
            // More segments than were in flight when the first was retransmitted: that was lost too.
            if repeats > after as u32 / SEGMENT + 2 * THRESHOLD {
                losses.repeats = 0;
                self.retransmit_first(slot);
            }
        } else if repeats >= THRESHOLD || behind > THRESHOLD * SEGMENT || behind as usize >= after {
            losses.recovering = true;
            losses.recover = segment.ack.wrapping_add(after as u32);
            losses.repeats = 0;
            self.retransmit_first(slot);
        }
    }

    /// Handles the timer: sends a probe if nothing was acknowledged in time. Returns the time of the next check.
    pub(crate) fn probe(&mut self, slot: u32) -> Option<Time> {
        if self.flows.hot(slot).is(FlowFlags::ZERO_WINDOW) {
            return None;
        }
        let queued = self.flows.sockets.with(slot, |socket| {
            socket.may_send().then(|| socket.send_queue())
        });
        let queued = queued.flatten()?;
        let losses = &mut self.flows.hot_mut(slot).losses;
        let probe_timeout = losses.probe_timeout(queued)?;
        if std::mem::take(&mut losses.moved) {
            return Some(self.now + probe_timeout);
        }
        losses.probes += 1;
        let next = losses.probe_timeout(queued);
        self.stats.probes += 1;
        self.retransmit_first(slot);
        next.map(|probe_timeout| self.now + probe_timeout)
    }

    /// Makes smoltcp retransmit its first segment.
    fn retransmit_first(&mut self, slot: u32) {
        let losses = self.flows.hot(slot).losses;
        if losses.window == 0 || self.is_in_fast_retransmit(slot) {
            return;
        }
        self.inject_duplicate_acks(slot, losses.expected, losses.acked, losses.window);
        self.check_fast_retransmit(slot);
        self.touch(slot);
    }
}

/// The options of a segment.
#[inline]
fn options<'f>(frame: &'f [u8], segment: &Segment) -> &'f [u8] {
    let start = usize::from(segment.tcp_at) + 20;
    frame
        .get(start..usize::from(segment.payload.start))
        .unwrap_or_default()
}

/// The echo of our clock in the timestamp option, if the option is where systems put it: after two NOPs.
#[inline]
fn echoed_time(options: &[u8]) -> Option<u32> {
    let (kind, rest) = options.split_first_chunk::<8>()?;
    let echo = rest.first_chunk::<4>()?;
    (kind[..4] == [1, 1, 8, 10]).then(|| u32::from_be_bytes(*echo))
}

/// The number of bytes from `ack` to the highest edge of a block in the SACK option (RFC 2018 §3).
fn farthest(mut options: &[u8], ack: u32) -> Option<u32> {
    let mut most = None;
    loop {
        match *options {
            [1, ref rest @ ..] => options = rest,
            [kind, len, ..] if kind != 0 && len >= 2 => {
                let (option, rest) = options.split_at_checked(len.into())?;
                if kind == 5 {
                    for right in option[2..]
                        .chunks_exact(8)
                        .filter_map(|b| b.last_chunk::<4>())
                    {
                        let beyond = u32::from_be_bytes(*right).wrapping_sub(ack);
                        if beyond as i32 > 0 {
                            most = most.max(Some(beyond));
                        }
                    }
                }
                options = rest;
            }
            _ => return most,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_farthest_block_counts_and_an_invalid_option_ends_the_search() {
        let sack = |left: u32, right: u32| [left.to_be_bytes(), right.to_be_bytes()].concat();
        let two = [&[1, 1, 5, 18][..], &sack(3000, 4000), &sack(1500, 2000)].concat();
        assert_eq!(farthest(&two, 1000), Some(3000));
        // A block below `ack` reports a duplicate (RFC 2883).
        assert_eq!(
            farthest(&[&[5, 10][..], &sack(10, 20)].concat(), 1000),
            None
        );
        // Numbers wrap.
        assert_eq!(
            farthest(&[&[5, 10][..], &sack(0, 16)].concat(), u32::MAX - 3),
            Some(20)
        );
        for broken in [&[5][..], &[5, 0], &[5, 40, 1], &[0, 5, 10], &[8, 10, 0]] {
            assert_eq!(farthest(broken, 1000), None);
        }
    }

    #[test]
    fn the_echo_is_read_only_after_two_nops() {
        let option = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 1, 0];
        assert_eq!(echoed_time(&option), Some(256));
        assert_eq!(echoed_time(&option[..11]), None);
        assert_eq!(echoed_time(&[8, 10, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0]), None);
    }

    #[test]
    fn the_probe_timeout_doubles_and_ends() {
        let mut losses = Losses {
            rtt: 5,
            ..Losses::NONE
        };
        assert_eq!(losses.probe_timeout(0), None);
        assert_eq!(losses.probe_timeout(100), Some(Duration::from_millis(210)));
        assert_eq!(
            losses.probe_timeout(100_000),
            Some(Duration::from_millis(30))
        );
        losses.probes = 2;
        assert_eq!(
            losses.probe_timeout(100_000),
            Some(Duration::from_millis(120))
        );
        losses.probes = PROBES;
        assert_eq!(losses.probe_timeout(100_000), None);
        assert_eq!(Losses::NONE.probe_timeout(100), None);
    }
}
