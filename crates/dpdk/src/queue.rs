//! A queue of a port, as a device.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hioload_device::{Burst, Capabilities, Device, DeviceStats, Waker};

use crate::pool::Pools;
use crate::port::Open;
use crate::raw::{self, hl_queue};
use crate::{Error, MbufFrame, frame};

/// Drivers that copy each frame on its way in.
const COPYING: [&str; 6] = [
    "net_af_packet",
    "net_af_xdp",
    "net_memif",
    "net_pcap",
    "net_tap",
    "net_vhost",
];

/// How long a wait is at most; the kernel adds its timer slack (50 µs).
const NAP: Duration = Duration::from_micros(50);

/// A queue on its way to its lcore.
#[derive(Debug)]
#[must_use = "a queue that nobody empties loses what the device puts there"]
pub struct QueueEnd {
    open: Arc<Open>,
    queue: u16,
    pools: Pools,
}

impl QueueEnd {
    pub(crate) fn new(open: Arc<Open>, queue: u16, pools: Pools) -> Self {
        Self { open, queue, pools }
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.queue
    }

    /// Makes it the calling thread's, which is made known to DPDK so that its frames have a cache of their own.
    ///
    /// # Errors
    /// If DPDK does not take the thread.
    pub fn claim(self) -> Result<Queue, Error> {
        frame::queue_comes().map_err(|code| Error::Thread(raw::error_text(code)))?;
        Ok(Queue {
            raw: hl_queue {
                port: self.open.info.number,
                queue: self.queue,
                whole: self.pools.frames.raw().as_ptr(),
                ..hl_queue::default()
            },
            fresh: Burst::new(),
            taken: 0,
            end: self,
        })
    }
}

/// One receive and one transmit queue of a port, with a pool of mbufs.
///
/// A burst is one call of DPDK each way; fresh frames are taken 64 at a time, and frames that were dropped are given back
/// together before the next burst is received. So up to 64 fresh frames and 128 dropped ones are with the thread.
#[derive(Debug)]
pub struct Queue {
    /// Which it is, and its counters: the shim writes them.
    raw: hl_queue,
    /// Empty frames, taken in advance.
    fresh: Burst<MbufFrame>,
    /// Those taken so.
    taken: u64,
    end: QueueEnd,
}

impl Queue {
    /// Frames that came in several segments and were copied into one.
    #[must_use]
    pub fn joined(&self) -> u64 {
        self.raw.rx_joined
    }

    /// Frames of its pool that are in use: with the device, or in somebody's hands. Those the thread holds in advance, or has
    /// not given back yet, are not.
    #[must_use]
    pub fn frames_in_use(&self) -> usize {
        frame::flush();
        self.end.pools.in_use() - self.fresh.len()
    }

    /// Calls into DPDK that this thread has made to receive, send, take or give back frames: one or none of each for a burst,
    /// whatever the number of frames. Of all its queues together.
    #[must_use]
    pub fn calls() -> u64 {
        raw::burst_calls()
    }

    /// Whole frames it has: the size of its pool.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.end.pools.frames.size()
    }

    fn take_fresh(&mut self) {
        raw::alloc(self.end.pools.frames.raw(), &mut self.fresh);
        if self.fresh.is_empty() && frame::collected() > 0 {
            frame::flush();
            raw::alloc(self.end.pools.frames.raw(), &mut self.fresh);
        }
        self.taken += self.fresh.len() as u64;
    }
}

impl Device for Queue {
    type Frame = MbufFrame;

    fn capabilities(&self) -> Capabilities {
        let open = &self.end.open;
        Capabilities {
            name: "dpdk",
            mtu: open.mtu.into(),
            tx_checksum: open.offloads.tx_checksum,
            rx_checksum: open.offloads.rx_checksum,
            zero_copy: !COPYING.contains(&open.info.driver.as_str()),
            can_block: false,
            mac: match open.info.mac {
                // A device without an address, as rings are, filters none: it gets a locally administered one.
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

    /// DPDK polls, and nothing wakes it: whoever may sleep naps, so briefly that no ring overflows meanwhile.
    ///
    /// # Errors
    /// `NotConnected` when the device has been taken away.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if self.end.open.is_removed() {
            let text = format!("DPDK port {} has been taken away", self.end.open.info.name);
            return Err(io::Error::new(io::ErrorKind::NotConnected, text));
        }
        let nap = timeout.map_or(NAP, |timeout| timeout.min(NAP));
        if !nap.is_zero() {
            std::thread::sleep(nap);
        }
        Ok(())
    }

    /// Does nothing: the device never sleeps for long.
    fn waker(&self) -> Waker {
        Arc::new(|| ())
    }

    /// What the device lost as a whole is in the first queue's.
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
        if self.end.queue == 0 {
            let port = self.end.open.stats();
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
        frame::queue_goes(got.wrapping_sub(sent));
    }
}

/// Takes what a started port has received, of all its queues, and drops it; whoever calls closes the port next. What keeps
/// coming is left to the driver.
pub(crate) fn drain(port: u16, queues: u16) {
    /// Bursts at most: more than any ring holds.
    const MOST: usize = 1024;
    let mut burst = Burst::new();
    for queue in 0..queues {
        let mut queue = hl_queue {
            port,
            queue,
            ..hl_queue::default()
        };
        for _ in 0..MOST {
            if raw::rx_burst(&mut queue, &mut burst) == 0 {
                break;
            }
            burst.clear();
        }
        frame::also_came(queue.rx_frames);
    }
    frame::flush();
}
