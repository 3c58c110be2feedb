//! A packet tap: wraps a device and records its frames to a pcapng file, because tcpdump does not see traffic that bypasses the
//! kernel.
//!
//! A [`TapSwitch`] turns the taps of any number of queues on and off while they run, from any thread. A tap that is off costs one
//! relaxed load for each burst. A tap that is on reads the clock once for each burst and copies the frames into a ring of its own. A
//! thread of the switch writes them to the file. The data path never waits for that thread: a frame for which the ring has no room
//! is missing from the capture, and is counted in the file's interface statistics.
//!
//! A frame is recorded as it is passed to the device. A checksum that the device fills in is not in the recorded frame.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use hioload_lcore::{Clock, Time};
use rtrb::{Consumer, Producer, RingBuffer};

use crate::pcapng::Direction;
use crate::{BURST, Burst, Capabilities, Device, DeviceStats, Frame, Waker};

mod options;
mod switch;
mod writer;

pub use options::{TapOptions, TapReport};
pub use switch::TapSwitch;

/// The default size of a tap's ring in bytes. Pages that are never written use no memory.
pub const RING: usize = 4 << 20;

/// The largest number of bytes captured of a frame, whatever the snap length: the size of the largest chunk.
const MAX_CAPTURED: usize = 32768;

/// The state that the taps and the writer's thread share.
struct Core {
    /// 0: off. Otherwise the number of the capture in the upper half, and the snap length in the lower half.
    state: AtomicU64,
}

/// The writer's side of one queue: its records and its counters.
struct Source {
    name: String,
    records: Consumer<u8>,
    counts: Arc<Counts>,
}

/// The counters of a tap. Only the tap writes them, so that it needs no read-modify-write.
#[derive(Default)]
struct Counts {
    /// The last capture for which the tap recorded.
    capture: AtomicU32,
    /// Frames of that capture for which the ring had no room.
    dropped: AtomicU64,
}

impl Counts {
    fn set(&self, capture: u32, dropped: u64) {
        // Relaxed, then release: a reader that sees the capture's number sees a count of that capture, not of an earlier one.
        self.dropped.store(dropped, Ordering::Relaxed);
        self.capture.store(capture, Ordering::Release);
    }

    fn dropped_in(&self, capture: u32) -> u64 {
        if self.capture.load(Ordering::Acquire) == capture {
            self.dropped.load(Ordering::Relaxed)
        } else {
            0
        }
    }
}

/// The header of a frame's record in the ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Header {
    /// The time of the tap's clock.
    time: Time,
    /// The number of the capture.
    capture: u32,
    /// The number of bytes that follow.
    kept: u32,
    /// The frame's length on the wire, in bytes.
    length: u32,
    direction: Direction,
}

impl Header {
    const LEN: usize = 24;

    fn write(self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[..8].copy_from_slice(&self.time.as_nanos().to_le_bytes());
        out[8..12].copy_from_slice(&self.capture.to_le_bytes());
        out[12..16].copy_from_slice(&self.kept.to_le_bytes());
        out[16..20].copy_from_slice(&self.length.to_le_bytes());
        out[20] = u8::from(self.direction == Direction::Outbound);
        out
    }

    fn read(bytes: &[u8; Self::LEN]) -> Self {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let direction = match bytes[20] {
            0 => Direction::Inbound,
            _ => Direction::Outbound,
        };
        Self {
            time: Time::from_nanos(u64::from(word(4)) << 32 | u64::from(word(0))),
            capture: word(8),
            kept: word(12),
            length: word(16),
            direction,
        }
    }
}

/// A device whose frames can be recorded.
pub struct Tap<D> {
    device: D,
    core: Arc<Core>,
    records: Producer<u8>,
    counts: Arc<Counts>,
    /// The last capture for which the tap recorded, and the number of frames that are missing from it.
    capture: u32,
    dropped: u64,
    clock: Clock,
    /// The time that the caller has set, instead of the clock's.
    given: Option<Time>,
    /// The records of one burst. The capacity never changes.
    staged: Vec<u8>,
    /// The end of each record in `staged`.
    ends: Burst<usize>,
}

impl<D: Device> Tap<D> {
    /// Wraps a device, with a ring of the default size. `name` is the name of the interface in the file (`eth0-queue1`).
    #[must_use]
    pub fn new(device: D, switch: &TapSwitch, name: &str) -> Self {
        Self::with_ring(device, switch, name, RING)
    }

    /// The same with a ring of `bytes` bytes, which must hold the records of about 5 ms, the interval at which the writer empties it.
    #[must_use]
    pub fn with_ring(device: D, switch: &TapSwitch, name: &str, bytes: usize) -> Self {
        let (producer, records) = RingBuffer::new(bytes.max(1));
        let counts = Arc::new(Counts::default());
        let core = switch.register(Source {
            name: name.to_owned(),
            records,
            counts: Arc::clone(&counts),
        });
        let largest = MAX_CAPTURED.min(device.capabilities().mtu + 18);
        Self {
            device,
            core,
            records: producer,
            counts,
            capture: 0,
            dropped: 0,
            clock: Clock::new(),
            given: None,
            // The memory is not touched before a capture.
            staged: Vec::with_capacity(BURST * (Header::LEN + largest)),
            ends: Burst::new(),
        }
    }

    /// Sets the time of the frames that follow, instead of the clock's. For virtual time.
    pub fn set_now(&mut self, now: Time) {
        self.given = Some(now);
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

    /// Copies the records of frames to the beginning of `staged`.
    #[cold]
    fn stage(&mut self, state: u64, direction: Direction, frames: &[D::Frame]) {
        let time = match self.given {
            Some(now) => now,
            None => self.clock.tick(),
        };
        let (snaplen, capture) = (state as u32 as usize, (state >> 32) as u32);
        if self.capture != capture {
            (self.capture, self.dropped) = (capture, 0);
        }
        self.staged.clear();
        self.ends.clear();
        for frame in frames {
            let bytes = frame.bytes();
            // The capacity is sufficient for every frame that the device receives or sends.
            let room = self.staged.capacity() - self.staged.len();
            let kept = bytes
                .len()
                .min(snaplen)
                .min(room.saturating_sub(Header::LEN));
            if room < Header::LEN {
                break;
            }
            let header = Header {
                time,
                capture,
                kept: kept as u32,
                length: bytes.len() as u32,
                direction,
            };
            self.staged.extend_from_slice(&header.write());
            self.staged.extend_from_slice(&bytes[..kept]);
            self.ends.push(self.staged.len());
        }
    }

    /// Passes the first `frames` staged records to the writer, as many as the ring has room for.
    #[cold]
    fn record(&mut self, frames: usize) {
        let room = self.records.slots();
        let staged = &self.ends[..frames.min(self.ends.len())];
        let fitting = staged.iter().take_while(|&&end| end <= room).count();
        let mut dropped = frames - fitting;
        if fitting > 0 {
            // The writer sees all these bytes at once, so it never sees a part of a record.
            let bytes = &self.staged[..self.ends[fitting - 1]];
            if self.records.push_entire_slice(bytes).is_err() {
                dropped = frames;
            }
        }
        self.dropped += dropped as u64;
        self.counts.set(self.capture, self.dropped);
    }
}

impl<D: Device> Device for Tap<D> {
    type Frame = D::Frame;

    fn capabilities(&self) -> Capabilities {
        self.device.capabilities()
    }

    #[inline]
    fn rx_burst(&mut self, burst: &mut Burst<D::Frame>) -> usize {
        let before = burst.len();
        let taken = self.device.rx_burst(burst);
        // Relaxed: the state publishes no other memory, and a tap may see a change some bursts later.
        let state = self.core.state.load(Ordering::Relaxed);
        if state != 0 && taken > 0 {
            self.stage(state, Direction::Inbound, &burst[before..]);
            self.record(taken);
        }
        taken
    }

    #[inline]
    fn tx_burst(&mut self, burst: &mut Burst<D::Frame>) -> usize {
        let state = self.core.state.load(Ordering::Relaxed);
        if state == 0 || burst.is_empty() {
            return self.device.tx_burst(burst);
        }
        // The frames are copied before they are sent, because the device owns them afterwards. Only those that it takes are recorded.
        self.stage(state, Direction::Outbound, burst);
        let taken = self.device.tx_burst(burst);
        if taken > 0 {
            self.record(taken);
        }
        taken
    }

    #[inline]
    fn alloc(&mut self) -> Option<D::Frame> {
        self.device.alloc()
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.device.wait(timeout)
    }

    fn waker(&self) -> Waker {
        self.device.waker()
    }

    fn stats(&self) -> DeviceStats {
        self.device.stats()
    }
}

impl<D: fmt::Debug> fmt::Debug for Tap<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap")
            .field("device", &self.device)
            .field("capture", &self.capture)
            .field("dropped", &self.dropped)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_written() {
        for direction in [Direction::Inbound, Direction::Outbound] {
            let header = Header {
                time: Time::from_nanos(0x0102_0304_0506_0708),
                capture: 9,
                kept: 10,
                length: 0x0b0c_0d0e,
                direction,
            };
            assert_eq!(Header::read(&header.write()), header);
        }
    }
}
