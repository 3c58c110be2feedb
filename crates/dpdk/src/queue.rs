//! A queue of a port, as a device.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hioload_device::{Burst, Capabilities, Device, DeviceStats, Waker};

use crate::info::PortStats;
use crate::open::Open;
use crate::pool::Pools;
use crate::raw::{self, hl_queue};
use crate::{Error, MbufFrame, frame};

/// Drivers that copy each received frame.
const DRIVERS_THAT_COPY: [&str; 6] = [
    "net_af_packet",
    "net_af_xdp",
    "net_memif",
    "net_pcap",
    "net_tap",
    "net_vhost",
];

/// The longest sleep in `wait`; the kernel adds its timer slack (50 µs).
const MAX_SLEEP: Duration = Duration::from_micros(50);

/// A queue that no lcore owns yet. The lcore's thread calls [`claim`](Self::claim).
#[derive(Debug)]
#[must_use = "frames that arrive on a queue without an owner are lost"]
pub struct PendingQueue {
    open: Arc<Open>,
    queue: u16,
    pools: Pools,
}

impl PendingQueue {
    pub(crate) fn new(open: Arc<Open>, queue: u16, pools: Pools) -> Self {
        Self { open, queue, pools }
    }

    /// The queue's number on its port.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.queue
    }

    /// Makes the calling thread the owner of the queue, and registers the thread with DPDK, so that it has a cache of frames.
    ///
    /// # Errors
    /// [`Error::Thread`] if DPDK does not register the thread.
    pub fn claim(self) -> Result<Queue, Error> {
        frame::add_queue().map_err(Error::Thread)?;
        Ok(Queue {
            raw: hl_queue {
                port: self.open.info.number,
                queue: self.queue,
                whole: self.pools.frames.raw().as_ptr(),
                ..hl_queue::default()
            },
            fresh: Burst::new(),
            taken: 0,
            claimed: self,
        })
    }
}

/// One receive and one transmit queue of a port, with a pool of mbufs.
///
/// A burst is one call of DPDK in each direction. Empty frames are taken from the pool 64 at a time, and dropped frames are returned
/// together before the next burst is received. So the thread holds up to 64 empty and 128 dropped frames.
#[derive(Debug)]
pub struct Queue {
    /// The queue's identity and its counters, which the shim writes.
    raw: hl_queue,
    /// Empty frames that were taken from the pool in advance.
    fresh: Burst<MbufFrame>,
    /// The number of frames that have been taken from the pool.
    taken: u64,
    claimed: PendingQueue,
}

impl Queue {
    /// The number of frames that were copied into one buffer: they arrived in several segments, or in a buffer with another owner.
    #[must_use]
    pub fn joined(&self) -> u64 {
        self.raw.rx_joined
    }

    /// The number of frames of the queue's pools that the device or the application has. Empty frames that the thread has taken in
    /// advance, and dropped frames, are not counted.
    #[must_use]
    pub fn frames_in_use(&self) -> usize {
        frame::flush();
        self.claimed.pools.in_use() - self.fresh.len()
    }

    /// The number of calls of DPDK that this thread has made, for all its queues, to receive, send, take or return frames. There is
    /// at most one call of each type for a burst, whatever the number of frames.
    #[must_use]
    pub fn calls() -> u64 {
        raw::burst_calls()
    }

    /// The number of whole frames of the queue: the size of its pool.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.claimed.pools.frames.size()
    }

    fn take_fresh(&mut self) {
        raw::alloc(self.claimed.pools.frames.raw(), &mut self.fresh);
        if self.fresh.is_empty() && frame::collected() > 0 {
            frame::flush();
            raw::alloc(self.claimed.pools.frames.raw(), &mut self.fresh);
        }
        self.taken += self.fresh.len() as u64;
    }
}

impl Device for Queue {
    type Frame = MbufFrame;

    fn capabilities(&self) -> Capabilities {
        let open = &self.claimed.open;
        Capabilities {
            name: "dpdk",
            mtu: open.mtu.into(),
            tx_checksum: open.offloads.tx_checksum,
            rx_checksum: open.offloads.rx_checksum,
            zero_copy: !DRIVERS_THAT_COPY.contains(&open.info.driver.as_str()),
            can_block: false,
            mac: match open.info.mac {
                // A device without a MAC address, such as a ring port, has no filter: it gets a locally administered address.
                [0, 0, 0, 0, 0, 0] => {
                    let [high, low] = open.info.number.to_be_bytes();
                    [0x02, 0, 0, 0, high, low]
                }
                mac => mac,
            },
        }
    }

    #[inline]
    fn rx_burst(&mut self, burst: &mut Burst<MbufFrame>) -> usize {
        frame::flush();
        raw::rx_burst(&mut self.raw, burst)
    }

    #[inline]
    fn tx_burst(&mut self, burst: &mut Burst<MbufFrame>) -> usize {
        if burst.is_empty() {
            return 0;
        }
        raw::tx_burst(&mut self.raw, burst, frame::any_to_fill())
    }

    #[inline]
    fn alloc(&mut self) -> Option<MbufFrame> {
        if self.fresh.is_empty() {
            self.take_fresh();
        }
        self.fresh.pop()
    }

    /// Sleeps for at most 50 µs: DPDK polls, so no event ends the sleep, and a ring must not overflow during it.
    ///
    /// # Errors
    /// `NotConnected` when the device has been removed.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if self.claimed.open.is_removed() {
            let text = format!("DPDK port {} has been removed", self.claimed.open.info.name);
            return Err(io::Error::new(io::ErrorKind::NotConnected, text));
        }
        let sleep = timeout.map_or(MAX_SLEEP, |timeout| timeout.min(MAX_SLEEP));
        if !sleep.is_zero() {
            std::thread::sleep(sleep);
        }
        Ok(())
    }

    /// A waker without effect: no sleep is longer than 50 µs.
    fn waker(&self) -> Waker {
        Arc::new(|| ())
    }

    /// The counters of the queue. Those of queue 0 include the frames that the device dropped on all queues.
    fn stats(&self) -> DeviceStats {
        let raw = &self.raw;
        let mut stats = DeviceStats {
            rx_frames: raw.rx_frames,
            rx_bytes: raw.rx_bytes,
            rx_dropped: raw.rx_dropped,
            tx_frames: raw.tx_frames,
            tx_bytes: raw.tx_bytes,
            tx_dropped: raw.tx_dropped,
            tx_full: raw.tx_full,
            kicks: raw.tx_bursts,
        };
        if self.claimed.queue == 0 {
            let port = PortStats::read(self.claimed.open.info.number);
            stats.rx_dropped += port.rx_missed + port.rx_no_buffer;
        }
        stats
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.fresh.clear();
        let raw = &self.raw;
        let (got, sent) = (raw.rx_frames + self.taken, raw.tx_frames + raw.tx_dropped);
        frame::remove_queue(got.wrapping_sub(sent));
    }
}
