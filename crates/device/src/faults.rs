//! A fault injector: wraps a device and impairs its frames as a network does.
//!
//! All random decisions depend on one seed, and the time is that of [`Faults::set_now`], so a run in virtual time can be repeated
//! exactly. Each direction has a generator of its own, so the result does not depend on how the two interleave.
//!
//! A frame may be lost, corrupted, duplicated and held back, in this order. Then it passes the queue of a link with a bandwidth, and
//! arrives after a delay. The frames are in the memory of the wrapped device, so a direction holds at most [`Impairment::limit`]
//! plus [`Impairment::late_limit`] frames. They return to the device when the fault injector is dropped.

use std::io;
use std::time::Duration;

use hioload_lcore::Time;

use crate::setters::setters;
use crate::{Burst, Capabilities, Device, DeviceStats, Frame, Waker};

mod line;
mod rng;

use line::Line;

/// The impairment of one direction. By default there is none.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Impairment {
    /// The probability that a frame is lost.
    pub loss: f64,
    /// The probability that a frame arrives twice.
    pub duplicate: f64,
    /// The probability that bits of a frame are flipped.
    pub corrupt: f64,
    /// The number of flipped bits, by default 1. The Internet checksum always detects one flipped bit, but not always two.
    pub corrupt_bits: u32,
    /// The first byte that may be changed, by default 14, because no checksum above the link covers the Ethernet header.
    pub corrupt_from: usize,
    /// The probability that a frame is held back, so that others overtake it.
    pub reorder: f64,
    /// The largest number of frames that overtake a frame that is held back, by default 3.
    pub reorder_by: u32,
    /// The longest time for which a frame is held back, by default 10 ms.
    pub reorder_for: Duration,
    /// The one-way delay.
    pub delay: Duration,
    /// The largest random addition to the delay. Frames are not reordered by it.
    pub jitter: Duration,
    /// The bandwidth in bits per second.
    pub bandwidth: Option<u64>,
    /// The limit in bytes of the queue before a link with a bandwidth, by default 256 KiB. Further frames are lost.
    pub queue_bytes: u64,
    /// The limit of frames in transit, by default 1024. Further frames are lost. Fixed when the device is wrapped.
    pub limit: usize,
    /// The limit of frames that are held back, by default 32. Further frames are not held back. Fixed when the device is wrapped.
    pub late_limit: usize,
}

setters!(Impairment {
    loss: f64,
    duplicate: f64,
    corrupt: f64,
    corrupt_bits: u32,
    corrupt_from: usize,
    reorder: f64,
    reorder_by: u32,
    reorder_for: Duration,
    delay: Duration,
    jitter: Duration,
    bandwidth: Option<u64>,
    queue_bytes: u64,
    limit: usize,
    late_limit: usize,
});

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
    /// Whether frames pass unchanged and without delay.
    #[must_use]
    pub fn is_none(&self) -> bool {
        let chances = [self.loss, self.duplicate, self.corrupt, self.reorder];
        chances.iter().all(|&chance| chance <= 0.0)
            && self.delay.is_zero()
            && self.jitter.is_zero()
            && self.bandwidth.is_none()
    }
}

/// The counters of one direction; monotonic. `entered + duplicated` is the number of frames that left, are held, or are counted in
/// `lost` or `overflowed`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct FaultStats {
    /// Frames that entered while there was an impairment.
    pub entered: u64,
    /// Frames lost.
    pub lost: u64,
    /// Frames duplicated.
    pub duplicated: u64,
    /// Frames not duplicated, because no buffer was free.
    pub not_duplicated: u64,
    /// Frames corrupted.
    pub corrupted: u64,
    /// Frames held back.
    pub reordered: u64,
    /// Frames delayed by the delay or the bandwidth.
    pub delayed: u64,
    /// Frames lost because a queue was full.
    pub overflowed: u64,
}

/// A device with a faulty link.
pub struct Faults<D: Device> {
    // Declared before the device, so that frames return to it before it is dropped.
    rx: Line<D::Frame>,
    tx: Line<D::Frame>,
    /// Frames that are due, and for which the device had no room.
    unsent: Burst<D::Frame>,
    /// Frames between the device and the line.
    arrived: Burst<D::Frame>,
    now: Time,
    device: D,
}

impl<D: Device> Faults<D> {
    /// Wraps a device. `rx` impairs the frames that it receives, `tx` those that it sends.
    #[must_use]
    pub fn new(device: D, seed: u64, rx: &Impairment, tx: &Impairment) -> Self {
        Self {
            rx: Line::new(rx, seed),
            // Any different seed is sufficient.
            tx: Line::new(tx, seed ^ 0x7478_7478_7478_7478),
            unsent: Burst::new(),
            arrived: Burst::new(),
            now: Time::ZERO,
            device,
        }
    }

    /// Sets the time. An earlier time than the present one has no effect.
    pub fn set_now(&mut self, now: Time) {
        self.now = self.now.max(now);
    }

    /// The time when the next frame is due to be received, to be sent (by the next call that moves frames), or to be no longer held
    /// back. It is not later than the present time if a frame is due for which the device or the caller had no room.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        let unsent = (!self.unsent.is_empty()).then_some(self.now);
        let lines = [self.rx.next_deadline(), self.tx.next_deadline()];
        lines.into_iter().flatten().chain(unsent).min()
    }

    /// Sets the impairment of received frames from now on, except the two limits.
    pub fn set_rx(&mut self, impairment: &Impairment) {
        change(&mut self.rx, impairment);
    }

    /// Sets the impairment of sent frames from now on, except the two limits.
    pub fn set_tx(&mut self, impairment: &Impairment) {
        change(&mut self.tx, impairment);
    }

    /// The counters of received frames.
    #[must_use]
    pub fn rx_faults(&self) -> FaultStats {
        self.rx.stats
    }

    /// The counters of sent frames.
    #[must_use]
    pub fn tx_faults(&self) -> FaultStats {
        self.tx.stats
    }

    /// The numbers of frames in transit to the caller, and to the device.
    #[must_use]
    pub fn held(&self) -> (usize, usize) {
        (self.rx.held(), self.tx.held() + self.unsent.len())
    }

    /// The wrapped device.
    pub fn get_mut(&mut self) -> &mut D {
        &mut self.device
    }

    /// The wrapped device.
    #[must_use]
    pub fn get_ref(&self) -> &D {
        &self.device
    }

    /// Sends the frames that are due. Returns `false` if the device has no room.
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

fn change<F: Frame>(line: &mut Line<F>, impairment: &Impairment) {
    line.impairment = Impairment {
        limit: line.impairment.limit,
        late_limit: line.impairment.late_limit,
        ..impairment.clone()
    };
}

/// A copy of a frame, in a buffer of the device.
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
        // Frames for which the caller had no room go first. Until then, others wait in the device.
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
        // Frames taken before go first. While there is no room for them, no other is taken.
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

    /// The counters of the wrapped device, without the frames that were lost here.
    fn stats(&self) -> DeviceStats {
        self.device.stats()
    }
}
