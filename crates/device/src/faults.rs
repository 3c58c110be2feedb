//! A fault injector: wraps any device and does to its frames what networks do.
//!
//! All that is random comes from one seed, and time is what [`Faults::set_now`] was told, so a run in virtual time repeats
//! itself exactly. Each direction has its own generator: how the two interleave changes nothing.
//!
//! A frame that enters may be lost, damaged, doubled and held back, in this order; then it goes through the queue of a link
//! with a bandwidth, and arrives after a delay. Frames are held in memory of the device below, so a line holds at most
//! [`Impairment::limit`] plus [`Impairment::late_limit`] of them; they go back to it when this is dropped.

use std::io;
use std::time::Duration;

use hioload_lcore::Time;

use crate::{Burst, Capabilities, Device, DeviceStats, Frame, Waker};

mod line;
mod rng;

use line::Line;

/// What happens to the frames of one direction. The default: nothing.
#[derive(Clone, PartialEq, Debug)]
pub struct Impairment {
    /// Probability that a frame is lost.
    pub loss: f64,
    /// Probability that it arrives twice.
    pub duplicate: f64,
    /// Probability that bits of it are flipped.
    pub corrupt: f64,
    /// How many: 1. One flipped bit never escapes the Internet checksum; two may.
    pub corrupt_bits: u32,
    /// The first byte that may be hit: 14, as nothing above the link guards the Ethernet header.
    pub corrupt_from: usize,
    /// Probability that it is held back, to be overtaken by others.
    pub reorder: f64,
    /// By how many at most: 3.
    pub reorder_by: u32,
    /// For how long at most, if none comes: 10 ms.
    pub reorder_for: Duration,
    /// How long the way is.
    pub delay: Duration,
    /// Up to this is added, at random. The order of frames stays.
    pub jitter: Duration,
    /// Bits per second.
    pub bandwidth: Option<u64>,
    /// Bytes that may wait for the link if it has a bandwidth; beyond, frames are lost: 256 KiB.
    pub queue_bytes: u64,
    /// Frames that may be on their way at once; beyond, they are lost: 1024. Fixed when the device is made.
    pub limit: usize,
    /// Frames that may be held back at once; beyond, none is: 32. Fixed when the device is made.
    pub late_limit: usize,
}

impl Default for Impairment {
    fn default() -> Self {
        Self {
            loss: 0.0,
            duplicate: 0.0,
            corrupt: 0.0,
            corrupt_bits: 1,
            corrupt_from: 14,
            reorder: 0.0,
            reorder_by: 3,
            reorder_for: Duration::from_millis(10),
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            bandwidth: None,
            queue_bytes: 256 << 10,
            limit: 1024,
            late_limit: 32,
        }
    }
}

impl Impairment {
    /// Whether frames pass as they are, at once.
    #[must_use]
    pub fn is_none(&self) -> bool {
        let chances = [self.loss, self.duplicate, self.corrupt, self.reorder];
        chances.iter().all(|&chance| chance <= 0.0)
            && self.delay.is_zero()
            && self.jitter.is_zero()
            && self.bandwidth.is_none()
    }
}

/// What happened in one direction; monotonic. `entered + duplicated` is what came out, was `lost` or `overflowed`, or is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FaultStats {
    /// Frames that went in, while there was anything to do to them.
    pub entered: u64,
    /// Lost.
    pub lost: u64,
    /// Doubled.
    pub duplicated: u64,
    /// Not doubled, for want of a buffer.
    pub not_duplicated: u64,
    /// Damaged.
    pub corrupted: u64,
    /// Held back.
    pub reordered: u64,
    /// Left later than they came, for delay or bandwidth.
    pub delayed: u64,
    /// Lost because a queue was full.
    pub overflowed: u64,
}

/// A device with a faulty link.
pub struct Faults<D: Device> {
    // Before the device: frames go back before it is closed.
    rx: Line<D::Frame>,
    tx: Line<D::Frame>,
    /// Due, but the device had no room for it.
    unsent: Burst<D::Frame>,
    /// On its way from the device into the line.
    arrived: Burst<D::Frame>,
    now: Time,
    device: D,
}

impl<D: Device> Faults<D> {
    /// Wraps a device. `rx` happens to what it receives, `tx` to what it sends.
    #[must_use]
    pub fn new(device: D, seed: u64, rx: &Impairment, tx: &Impairment) -> Self {
        Self {
            rx: Line::new(rx, seed),
            // Any other seed would do.
            tx: Line::new(tx, seed ^ 0x7478_7478_7478_7478),
            unsent: Burst::new(),
            arrived: Burst::new(),
            now: Time::ZERO,
            device,
        }
    }

    /// Says what time it is. It never goes back.
    pub fn set_now(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    /// When a frame is due: to be received, to be sent (by the next call of anything that moves frames), or to be no longer
    /// held back. Not later than the time last set if a frame is due that the device or the caller had no room for.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        let unsent = (!self.unsent.is_empty()).then_some(self.now);
        let lines = [self.rx.next_deadline(), self.tx.next_deadline()];
        lines.into_iter().flatten().chain(unsent).min()
    }

    /// Changes what happens to received frames from now on, save the two limits.
    pub fn set_rx(&mut self, what: &Impairment) {
        change(&mut self.rx, what);
    }

    /// Changes what happens to sent frames from now on, save the two limits.
    pub fn set_tx(&mut self, what: &Impairment) {
        change(&mut self.tx, what);
    }

    /// What happened to received frames.
    #[must_use]
    pub fn rx_faults(&self) -> FaultStats {
        self.rx.stats
    }

    /// What happened to sent frames.
    #[must_use]
    pub fn tx_faults(&self) -> FaultStats {
        self.tx.stats
    }

    /// Frames on their way: to the caller, and to the device.
    #[must_use]
    pub fn held(&self) -> (usize, usize) {
        (self.rx.held(), self.tx.held() + self.unsent.len())
    }

    /// The device.
    pub fn get_mut(&mut self) -> &mut D {
        &mut self.device
    }

    /// The device.
    #[must_use]
    pub fn get_ref(&self) -> &D {
        &self.device
    }

    /// Sends what is due; `false` if the device has no room.
    fn flush(&mut self) -> bool {
        loop {
            while !self.unsent.is_full()
                && let Some(frame) = self.tx.pop(self.now)
            {
                self.unsent.push(frame);
            }
            if self.unsent.is_empty() {
                return true;
            }
            self.device.tx_burst(&mut self.unsent);
            if !self.unsent.is_empty() {
                return false;
            }
        }
    }
}

fn change<F: Frame>(line: &mut Line<F>, what: &Impairment) {
    line.what = Impairment {
        limit: line.what.limit,
        late_limit: line.what.late_limit,
        ..what.clone()
    };
}

/// A second frame like this one, in a buffer of the device.
fn copy<D: Device>(device: &mut D, frame: &D::Frame) -> Option<D::Frame> {
    let mut twin = device.alloc()?;
    if frame.len() > twin.room() {
        return None;
    }
    twin.set_len(frame.len());
    twin.bytes_mut().copy_from_slice(frame.bytes());
    twin.set_rx_checksum(frame.rx_checksum());
    twin.set_tx_checksum(frame.tx_checksum());
    Some(twin)
}

impl<D: Device> Device for Faults<D> {
    type Frame = D::Frame;

    fn capabilities(&self) -> Capabilities {
        self.device.capabilities()
    }

    fn rx_burst(&mut self, burst: &mut Burst<D::Frame>) -> usize {
        self.flush();
        if self.rx.is_transparent() {
            return self.device.rx_burst(burst);
        }
        // What the caller had no room for goes first; meanwhile the rest waits in the device.
        if !self.rx.is_due(self.now) {
            self.device.rx_burst(&mut self.arrived);
        }
        for frame in self.arrived.drain(..) {
            let device = &mut self.device;
            self.rx.push(frame, self.now, |frame| copy(device, frame));
        }
        let before = burst.len();
        while !burst.is_full()
            && let Some(frame) = self.rx.pop(self.now)
        {
            burst.push(frame);
        }
        burst.len() - before
    }

    fn tx_burst(&mut self, burst: &mut Burst<D::Frame>) -> usize {
        // What was taken before goes first; while there is no room for that, nothing more is taken.
        if !self.flush() {
            return 0;
        }
        if self.tx.is_transparent() {
            return self.device.tx_burst(burst);
        }
        let taken = burst.len();
        for frame in burst.drain(..) {
            let device = &mut self.device;
            self.tx.push(frame, self.now, |frame| copy(device, frame));
        }
        self.flush();
        taken
    }

    fn alloc(&mut self) -> Option<D::Frame> {
        self.device.alloc()
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.flush();
        let due = self.next_deadline();
        let due = due.map(|due| due.saturating_sub(self.now));
        let timeout = timeout.into_iter().chain(due).min();
        self.device.wait(timeout)
    }

    fn waker(&self) -> Waker {
        self.device.waker()
    }

    /// Those of the device below, so without what was lost here.
    fn stats(&self) -> DeviceStats {
        self.device.stats()
    }
}
