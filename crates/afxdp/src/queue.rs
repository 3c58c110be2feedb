//! One queue of an interface as a device.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use hioload_device::{BURST, Burst, Capabilities, Device, DeviceStats, Waker};
use hioload_mem::frames::{Frame, FramePool, Parts, RxMark, TxMark};
use hioload_mem::prefetch;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::kernel::netlink::LinkEvents;
use crate::kernel::socket::XskSocket;
use crate::program::Attached;
use crate::umem::{Received, Umem};

/// Bytes of `struct xsk_tx_metadata`, which precedes a frame whose checksum the kernel fills in.
pub(crate) const METADATA: usize = 24;
/// The smallest number of frames by which the fill ring is refilled.
const REFILL: u32 = 16;
/// The number of cache lines with the headers and the first bytes of the payload.
const HEADER_LINES: usize = 3;
/// The largest number of system calls for one burst.
const MAX_KICKS: usize = 16;
/// The number of calls of `wait` without sleep between two checks of the interface.
const CHECK_INTERVAL: u32 = 4096;
/// The longest sleep while the transmit ring is not empty.
const UNSENT: Duration = Duration::from_millis(1);
/// The longest sleep while the transmit ring is not empty and the interface is down.
const UNSENT_DOWN: Duration = Duration::from_millis(100);

/// One queue, owned by one lcore. [`PendingQueue::claim`](crate::PendingQueue::claim) returns it.
pub struct Queue {
    pub(crate) umem: Umem,
    pub(crate) pool: FramePool,
    pub(crate) socket: XskSocket,
    pub(crate) capabilities: Capabilities,
    /// The checksum mark of each received frame.
    pub(crate) mark: RxMark,
    /// The number of frames that the kernel holds for receiving.
    pub(crate) to_receive: u32,
    /// The kernel reserves room for metadata before each frame that is sent.
    pub(crate) metadata: bool,
    pub(crate) busy_poll: bool,
    pub(crate) links: LinkEvents,
    pub(crate) wake: Arc<OwnedFd>,
    pub(crate) interface: String,
    pub(crate) number: u32,
    pub(crate) state: State,
    /// Keeps the program on the interface. Declared after the socket, so that the socket is closed first.
    pub(crate) _attached: Arc<Attached>,
}

/// The part of a queue that changes while it runs.
#[derive(Default)]
pub(crate) struct State {
    /// The received part of a packet that spans several chunks.
    partial: Partial,
    stats: DeviceStats,
    /// Received packets that were too large for a frame.
    oversize: u64,
    /// The interface is down.
    down: bool,
    /// The interface has been removed.
    removed: bool,
    /// Calls of `wait` without sleep since the last check of the interface.
    unchecked: u32,
}

#[derive(Default)]
enum Partial {
    #[default]
    None,
    Building(Frame),
    /// The packet is too large; the rest of it is dropped.
    Discarding,
}

/// The number of frames of a queue in each place. The last four add up to `total`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Census {
    /// All frames of the queue.
    pub total: usize,
    /// In the pool.
    pub free: usize,
    /// In the kernel, to receive into, or received and not yet fetched.
    pub receiving: usize,
    /// In the kernel, to be sent.
    pub sending: usize,
    /// In the application, which got them from [`Device::rx_burst`] or [`Device::alloc`].
    pub lent: usize,
}

impl Queue {
    /// The queue's number on its interface.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The number of frames in each place.
    #[must_use]
    pub fn census(&self) -> Census {
        let (receiving, sending) = self.umem.held();
        let (receiving, sending) = (receiving as usize, sending as usize);
        let total = self.umem.arena().chunks();
        let free = self.pool.available();
        let partial = usize::from(matches!(self.state.partial, Partial::Building(_)));
        Census {
            total,
            free,
            receiving: receiving + partial,
            sending,
            lent: total.saturating_sub(free + receiving + sending + partial),
        }
    }

    /// Whether the interface was down at the last attempt to send.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.state.down
    }

    /// Gives the kernel frames to receive into, until it holds `to_receive`.
    pub(crate) fn refill(&mut self) {
        let wanted = self.to_receive.saturating_sub(self.umem.held().0);
        if wanted < REFILL {
            return;
        }
        if self.pool.available() < wanted as usize {
            self.reap();
        }
        let room = wanted.min(self.umem.fill_room(wanted));
        for _ in 0..room {
            let Some(chunk) = self.pool.take() else { break };
            self.umem.fill(chunk);
        }
        self.umem.publish_fill();
    }

    /// Returns the chunks of sent frames to the pool.
    fn reap(&mut self) {
        let pool = &self.pool;
        self.umem.completed(|chunk| pool.put(chunk));
    }

    /// Adds a part of a packet. Returns the frame when the packet is complete.
    fn assemble(&mut self, received: Received) -> Option<Frame> {
        let Received {
            chunk,
            start,
            len,
            more,
        } = received;
        let frame = self.pool.frame(chunk, start, len, self.mark);
        if !more && matches!(self.state.partial, Partial::None) {
            return Some(frame);
        }
        let whole = match std::mem::take(&mut self.state.partial) {
            Partial::None => Some(frame),
            Partial::Building(mut first) => append(&mut first, frame.bytes()).then_some(first),
            Partial::Discarding => None,
        };
        match (whole, more) {
            (Some(frame), false) => return Some(frame),
            (Some(frame), true) => self.state.partial = Partial::Building(frame),
            (None, true) => self.state.partial = Partial::Discarding,
            (None, false) => self.state.oversize += 1,
        }
        None
    }

    /// The number of frames from the front of the burst for which the transmit ring has room.
    fn fitting(&mut self, burst: &Burst<Frame>) -> usize {
        let mut slots = 0;
        let mut fits = |frame: &Frame| {
            slots += self.umem.pieces(frame.headroom(), frame.len());
            self.umem.tx_room(slots) >= slots
        };
        burst.iter().take_while(|frame| fits(frame)).count()
    }

    /// Prepares a frame for sending. Returns its parts, and whether metadata precedes it; `None` if it cannot be sent.
    fn prepare(&self, mut frame: Frame) -> Option<(Parts, bool)> {
        // The kernel stops at a packet that is shorter than an Ethernet header.
        if frame.len() < 14 {
            return None;
        }
        if !self.metadata {
            return (frame.tx_mark() == TxMark::NONE).then(|| (frame.into_parts(), false));
        }
        if frame.headroom() < METADATA {
            move_back(&mut frame)?;
        }
        let mark = frame.tx_mark();
        if mark == TxMark::NONE {
            return Some((frame.into_parts(), false));
        }
        frame.grow_front(METADATA);
        let metadata = &mut frame.bytes_mut()[..METADATA];
        metadata.fill(0);
        metadata[..8].copy_from_slice(&u64::from(libc::XDP_TXMD_FLAGS_CHECKSUM).to_ne_bytes());
        metadata[8..10].copy_from_slice(&mark.start.to_ne_bytes());
        metadata[10..12].copy_from_slice(&mark.offset.to_ne_bytes());
        frame.shrink_front(METADATA);
        Some((frame.into_parts(), true))
    }

    /// Makes the kernel send the frames in the transmit ring, if it needs a system call for that.
    fn kick(&mut self) {
        for _ in 0..MAX_KICKS {
            let before = self.umem.tx_unread();
            if before == 0 || !self.umem.tx_needs_wakeup() {
                return;
            }
            match self.call() {
                // All frames are sent, or the driver has been notified.
                Ok(()) => return,
                // The kernel dropped one frame, because the receiver's ring or a queue of the stack is full, and stopped there.
                Err(Errno::BUSY) if !self.capabilities.zero_copy => {
                    self.state.stats.tx_dropped += 1;
                }
                Err(_) => {}
            }
            if self.state.down || self.state.removed || self.umem.tx_unread() == before {
                return;
            }
        }
    }

    /// Makes one system call to send. Its result also tells whether the interface is up.
    fn call(&mut self) -> Result<(), Errno> {
        self.state.stats.kicks += 1;
        let result = self.socket.kick_tx();
        self.state.down = result == Err(Errno::NETDOWN);
        // The kernel unbinds the socket when it removes the interface.
        self.state.removed |= result == Err(Errno::NXIO);
        result
    }

    /// Returns an error if the interface has been removed.
    fn check_interface(&mut self) -> io::Result<()> {
        if !self.state.removed && self.links.drain() && self.socket.error().is_some() {
            self.state.removed = true;
        }
        if self.state.removed {
            return Err(io::Error::new(
                io::ErrorKind::NotConnected,
                format!("the interface {} has been removed", self.interface),
            ));
        }
        Ok(())
    }

    /// The time limit of a sleep: shorter than `timeout` while frames wait to be sent.
    fn bounded(&mut self, timeout: Option<Duration>) -> Option<Duration> {
        if self.umem.tx_unread() == 0 {
            return timeout;
        }
        let most = if self.state.down { UNSENT_DOWN } else { UNSENT };
        Some(timeout.map_or(most, |timeout| timeout.min(most)))
    }

    fn sleep(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = self.bounded(timeout).map(|timeout| Timespec {
            tv_sec: timeout.as_secs().min(i32::MAX as u64) as i64,
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let mut on = [
            PollFd::new(&self.socket, PollFlags::IN),
            PollFd::new(&self.wake, PollFlags::IN),
            PollFd::new(&self.links, PollFlags::IN),
        ];
        match poll(&mut on, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let [_, wake, links] = on.map(|fd| !fd.revents().is_empty());
        if wake {
            // The read is non-blocking. An empty counter means that the wake-up has been consumed.
            let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        }
        if links {
            self.check_interface()
        } else {
            Ok(())
        }
    }
}

/// Appends bytes to a frame. Returns `false` if there is no room.
fn append(frame: &mut Frame, bytes: &[u8]) -> bool {
    let len = frame.len();
    if bytes.len() > frame.room() - len {
        return false;
    }
    frame.set_len(len + bytes.len());
    frame.bytes_mut()[len..].copy_from_slice(bytes);
    true
}

/// Moves a frame's bytes towards the end of its chunk, to make room for metadata before them. Returns `None` if the chunk has no
/// room behind them.
fn move_back(frame: &mut Frame) -> Option<()> {
    let (len, by) = (frame.len(), METADATA - frame.headroom());
    if frame.room() < len + by {
        return None;
    }
    frame.set_len(len + by);
    frame.bytes_mut().copy_within(..len, by);
    frame.shrink_front(by);
    Some(())
}

impl Device for Queue {
    type Frame = Frame;

    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }

    fn rx_burst(&mut self, burst: &mut Burst<Frame>) -> usize {
        let before = burst.len();
        let available = self.umem.received(BURST as u32);
        for _ in 0..available {
            if burst.is_full() {
                break;
            }
            let frame = self.umem.receive().and_then(|part| self.assemble(part));
            if let Some(frame) = frame {
                self.state.stats.rx_bytes += frame.len() as u64;
                // Another core wrote the frame. Its lines arrive while the rest of the burst is taken.
                prefetch::lines(frame.bytes().as_ptr(), HEADER_LINES);
                burst.push(frame);
            }
        }
        let count = burst.len() - before;
        self.state.stats.rx_frames += count as u64;
        if available > 0 {
            self.umem.release_rx();
        }
        self.refill();
        if available == 0 && (self.busy_poll || self.umem.fill_needs_wakeup()) {
            self.state.stats.kicks += 1;
            // A failure here also shows in the next call to send or to sleep.
            let _ = self.socket.kick_rx();
        }
        count
    }

    fn tx_burst(&mut self, burst: &mut Burst<Frame>) -> usize {
        self.reap();
        if self.state.down && !burst.is_empty() {
            // Only a call tells whether the interface is up again.
            let _ = self.call();
        }
        if self.state.down || self.state.removed {
            let count = burst.len();
            self.state.stats.tx_dropped += count as u64;
            burst.clear();
            return count;
        }
        let count = self.fitting(burst);
        self.state.stats.tx_full += u64::from(count < burst.len());
        for frame in burst.drain(..count) {
            let Some((parts, metadata)) = self.prepare(frame) else {
                self.state.stats.tx_dropped += 1;
                continue;
            };
            self.state.stats.tx_frames += 1;
            self.state.stats.tx_bytes += parts.len as u64;
            self.umem.transmit(parts, metadata);
        }
        self.umem.publish_tx();
        self.kick();
        count
    }

    fn alloc(&mut self) -> Option<Frame> {
        if self.pool.available() == 0 {
            self.reap();
        }
        self.pool.alloc()
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if timeout == Some(Duration::ZERO) {
            // A caller that spins pays one system call in `CHECK_INTERVAL` turns to learn that the interface has been removed.
            self.state.unchecked = (self.state.unchecked + 1) % CHECK_INTERVAL;
            return if self.state.unchecked == 0 || self.state.removed {
                self.check_interface()
            } else {
                Ok(())
            };
        }
        if self.state.removed {
            return self.check_interface();
        }
        if self.umem.received(1) > 0 {
            return Ok(());
        }
        self.sleep(timeout)
    }

    fn waker(&self) -> Waker {
        let wake = Arc::clone(&self.wake);
        Arc::new(move || {
            // A counter that is full wakes the queue as well.
            let _ = rustix::io::write(wake.as_fd(), &1_u64.to_ne_bytes());
        })
    }

    fn stats(&self) -> DeviceStats {
        let mut stats = self.state.stats;
        stats.rx_dropped = self.state.oversize + self.umem.invalid();
        if let Ok(kernel) = self.socket.statistics() {
            // `rx_dropped` already counts the packets for which the fill ring was empty.
            stats.rx_dropped += kernel.rx_dropped + kernel.rx_ring_full.unwrap_or(0);
            stats.tx_dropped += kernel.tx_invalid_descs;
        }
        stats
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("interface", &self.interface)
            .field("number", &self.number)
            .field("census", &self.census())
            .finish_non_exhaustive()
    }
}
