//! Losses found sooner than smoltcp would.
//!
//! smoltcp begins a fast retransmission at the third acknowledgement in a row that is empty and repeats the last one, once
//! for each hole at best; its retransmission timer runs for a second at least. Where both sides send, acknowledgements are
//! seldom empty, and a second is long on a network of microseconds. So its cue is given from here:
//!
//! - A hole is known by what the peer has received behind it, as its SACK blocks say (RFC 2018), in segments with payload as
//!   in those without: three segments' worth of bytes, or three such segments, as RFC 6675 has it, or all that there is.
//! - Until all is acknowledged that was queued when the hole was found, an acknowledgement of a part of it that comes with
//!   SACK blocks tells of the next hole (RFC 6582), and many that acknowledge nothing, of one that was lost again.
//! - If nothing more comes behind a hole nobody tells. So while bytes are outstanding and none of them is acknowledged, the first
//!   segment is sent again as a probe (RFC 8985 §7), after two round trips and some time, four times at longer and longer
//!   intervals. Round trips are measured by the timestamps that come back (RFC 7323 §4); without those there are no probes.
//!
//! The cue is three empty acknowledgements, made up here, after two with other windows that end a count begun before. smoltcp
//! then sends its first segment again, and shrinks its congestion window.

use std::time::Duration;

use hioload_device::{Device, Frame};
use hioload_lcore::Time;

use crate::flow_flags::FlowFlags;
use crate::parse::Segment;
use crate::stack::{Stack, clock};

/// About the payload of a segment. smoltcp does not tell the true one.
const SEGMENT: u32 = 1400;

/// Segments behind a hole, or words of them, that make it a loss: reordering is seldom by more.
const THRESHOLD: u32 = 3;

/// A round trip that is too long for probes, or not known, in milliseconds.
const FAR: u8 = u8::MAX;

/// Probes in a row.
const PROBES: u8 = 4;

/// What a probe waits beyond two round trips: for acknowledgements that the peer delays, which it may with less than two
/// segments (RFC 9293 §3.8.6.3), and for what turns take.
const SPARE_FEW: Duration = Duration::from_millis(200);
const SPARE_MANY: Duration = Duration::from_millis(20);

/// What is kept of a flow for its losses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Losses {
    /// The peer's last acknowledgement of something new.
    pub acked: u32,
    /// What we have acknowledged.
    pub expected: u32,
    /// While recovering: the loss is over when this is acknowledged.
    recover: u32,
    /// The peer's window, not scaled.
    window: u16,
    /// Acknowledgements of nothing new since.
    repeats: u8,
    /// Milliseconds of a round trip, smoothed; `FAR`.
    rtt: u8,
    /// Probes sent since something was acknowledged.
    probes: u8,
    recovering: bool,
    /// Something was acknowledged since the timer last fired.
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

    /// How long to wait for an acknowledgement before a probe, with so many bytes outstanding.
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
    /// What a segment says of bytes sent: `before` were outstanding, `after` still are; `expected` is the peer's next byte.
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
                    // A quarter of what is new, rounded up, so that the smallest change is not lost.
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

    /// Something was acknowledged of what was outstanding when a hole was found.
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

    /// Nothing new was acknowledged, but perhaps received.
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
            // Overtaken on the way.
            return;
        }
        losses.repeats = losses.repeats.saturating_add(1);
        let repeats = u32::from(losses.repeats);
        if losses.recovering {
            // So many segments cannot have been on their way when the first was sent again.
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

    /// The timer has fired: the first segment is sent again, if nothing was acknowledged for too long. When to look again.
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

    /// Makes smoltcp send its first segment again.
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

/// The time of ours that comes back in a timestamp option, where systems put it: after two NOPs.
#[inline]
fn echoed_time(options: &[u8]) -> Option<u32> {
    let (kind, rest) = options.split_first_chunk::<8>()?;
    let echo = rest.first_chunk::<4>()?;
    (kind[..4] == [1, 1, 8, 10]).then(|| u32::from_be_bytes(*echo))
}

/// How far beyond `ack` the peer has received something, by the SACK option (RFC 2018 §3): bytes.
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
    fn the_farthest_block_counts_and_broken_options_end_the_search() {
        let sack = |left: u32, right: u32| [left.to_be_bytes(), right.to_be_bytes()].concat();
        let two = [&[1, 1, 5, 18][..], &sack(3000, 4000), &sack(1500, 2000)].concat();
        assert_eq!(farthest(&two, 1000), Some(3000));
        // What is acknowledged already is no news (RFC 2883 reports duplicates so).
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
    fn times_come_back_where_systems_put_them() {
        let option = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 1, 0];
        assert_eq!(echoed_time(&option), Some(256));
        assert_eq!(echoed_time(&option[..11]), None);
        assert_eq!(echoed_time(&[8, 10, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0]), None);
    }

    #[test]
    fn patience_doubles_and_ends() {
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
