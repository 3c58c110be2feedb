//! One direction of a faulty link, sans-IO: frames and the time are the input, frames are the output.

use std::collections::VecDeque;
use std::time::Duration;

use hioload_lcore::Time;

use super::rng::Rng;
use super::{FaultStats, Impairment};
use crate::{Frame, RxChecksum, checksum};

/// A frame that is held back.
struct Late<F> {
    frame: F,
    /// The number of frames that have not overtaken it yet.
    behind: u32,
    /// The time when it is released in any case.
    due: Time,
}

pub(super) struct Line<F> {
    pub(super) impairment: Impairment,
    pub(super) stats: FaultStats,
    rng: Rng,
    /// The frames in transit, in the order in which they leave, with the time when they do.
    transit: VecDeque<(Time, F)>,
    late: Vec<Late<F>>,
    /// The time when the link has sent all frames in its queue.
    free_at: Time,
    /// The time when the last frame leaves. No later frame leaves before it.
    last_exit: Time,
}

impl<F: Frame> Line<F> {
    pub(super) fn new(impairment: &Impairment, seed: u64) -> Self {
        Self {
            impairment: impairment.clone(),
            stats: FaultStats::default(),
            rng: Rng::new(seed),
            transit: VecDeque::with_capacity(impairment.limit),
            late: Vec::with_capacity(impairment.late_limit),
            free_at: Time::ZERO,
            last_exit: Time::ZERO,
        }
    }

    /// Whether frames may bypass the line.
    pub(super) fn is_transparent(&self) -> bool {
        self.transit.is_empty() && self.late.is_empty() && self.impairment.is_none()
    }

    /// The number of frames in the line.
    pub(super) fn held(&self) -> usize {
        self.transit.len() + self.late.len()
    }

    /// Whether a frame is due.
    pub(super) fn is_due(&self, now: Time) -> bool {
        self.transit.front().is_some_and(|&(exit, _)| exit <= now)
    }

    /// Whether there is room for another frame.
    fn has_room(&self) -> bool {
        self.transit.len() < self.impairment.limit
    }

    /// The time when the next frame is due to leave, or to be no longer held back.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        let leaves = self.transit.front().map(|&(exit, _)| exit);
        let late = self.late.iter().map(|late| late.due).min();
        leaves.into_iter().chain(late).min()
    }

    /// Takes the next frame that is due.
    pub(super) fn pop(&mut self, now: Time) -> Option<F> {
        self.release_late(now);
        match self.transit.front() {
            Some(&(exit, _)) if exit <= now => self.transit.pop_front().map(|(_, frame)| frame),
            _ => None,
        }
    }

    /// Takes a frame in. `copy` duplicates it if a buffer is free.
    pub(super) fn push(&mut self, frame: F, now: Time, copy: impl FnOnce(&F) -> Option<F>) {
        self.release_late(now);
        self.stats.entered += 1;
        if self.rng.chance(self.impairment.loss) {
            self.stats.lost += 1;
            return;
        }
        let mut frame = frame;
        if self.rng.chance(self.impairment.corrupt) {
            self.corrupt(&mut frame);
        }
        let twin = if self.rng.chance(self.impairment.duplicate) {
            let twin = copy(&frame);
            match twin {
                Some(_) => self.stats.duplicated += 1,
                None => self.stats.not_duplicated += 1,
            }
            twin
        } else {
            None
        };
        let room = self.late.len() < self.impairment.late_limit;
        if room && self.rng.chance(self.impairment.reorder) {
            let most = u64::from(self.impairment.reorder_by.max(1));
            self.stats.reordered += 1;
            self.late.push(Late {
                frame,
                behind: 1 + self.rng.below(most) as u32,
                due: now + self.impairment.reorder_for,
            });
        } else {
            self.pass(frame, now);
        }
        if let Some(twin) = twin {
            self.pass(twin, now);
        }
    }

    /// Forwards a frame, which overtakes the frames that are held back.
    fn pass(&mut self, frame: F, now: Time) {
        self.enqueue(frame, now);
        for late in &mut self.late {
            late.behind = late.behind.saturating_sub(1);
        }
        while let Some(at) = self.late.iter().position(|late| late.behind == 0) {
            let late = self.late.remove(at);
            self.enqueue(late.frame, now);
        }
    }

    /// Releases the frames whose time has come, in the order of those times.
    fn release_late(&mut self, now: Time) {
        while let Some((at, due)) = self
            .late
            .iter()
            .map(|late| late.due)
            .enumerate()
            .filter(|&(_, due)| due <= now)
            .min_by_key(|&(_, due)| due)
        {
            let late = self.late.remove(at);
            self.enqueue(late.frame, due);
        }
    }

    /// Passes a frame through the queue, the link and the delay.
    fn enqueue(&mut self, frame: F, now: Time) {
        if !self.has_room() {
            self.stats.overflowed += 1;
            return;
        }
        let mut sent = now;
        if let Some(rate) = self.impairment.bandwidth {
            let waiting = self.free_at.saturating_sub(now);
            if bytes_in(waiting, rate) + frame.len() as u64 > self.impairment.queue_bytes {
                self.stats.overflowed += 1;
                return;
            }
            sent = self.free_at.max(now) + time_for(frame.len(), rate);
            self.free_at = sent;
        }
        let jitter = u64::try_from(self.impairment.jitter.as_nanos()).unwrap_or(u64::MAX);
        let delay = self.impairment.delay + Duration::from_nanos(self.rng.below(jitter));
        let exit = (sent + delay).max(self.last_exit);
        self.stats.delayed += u64::from(exit > now);
        self.last_exit = exit;
        self.transit.push_back((exit, frame));
    }

    /// Flips bits. A checksum that is requested of the device is computed first: a frame leaves its sender complete, and is corrupted
    /// in transit.
    fn corrupt(&mut self, frame: &mut F) {
        let from = self.impairment.corrupt_from;
        if frame.len() <= from {
            return;
        }
        // A request that cannot be fulfilled stays, and the device rejects it.
        let _ = checksum::complete(frame);
        let bits = (frame.len() - from) as u64 * 8;
        for _ in 0..self.impairment.corrupt_bits {
            let bit = self.rng.below(bits) as usize;
            frame.bytes_mut()[from + bit / 8] ^= 1 << (bit % 8);
        }
        // The frame was marked before it was corrupted.
        frame.set_rx_checksum(RxChecksum::Unknown);
        self.stats.corrupted += 1;
    }
}

/// The time that a link takes to send a frame.
fn time_for(bytes: usize, bits_per_second: u64) -> Duration {
    let nanos = bytes as u128 * 8 * 1_000_000_000 / u128::from(bits_per_second.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// The number of bytes that a link sends in a time.
fn bytes_in(time: Duration, bits_per_second: u64) -> u64 {
    let bytes = time.as_nanos() * u128::from(bits_per_second) / 8_000_000_000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
