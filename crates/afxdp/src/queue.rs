//! One queue as a device.

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

/// Bytes before a frame for what is asked of the kernel: `struct xsk_tx_metadata`.
pub(crate) const METADATA: usize = 24;
/// The fill ring is topped up by at least so many.
const REFILL: u32 = 16;
/// Cache lines that headers and the beginning of what they carry lie in.
const HEADER_LINES: usize = 3;
/// System calls of one burst at most.
const KICKS: usize = 16;
/// Empty looks without sleeping between two looks at the interface.
const LOOKS: u32 = 4096;
/// The longest sleep while the kernel has not taken what it is to send.
const UNSENT: Duration = Duration::from_millis(1);
/// The same while the interface is down.
const UNSENT_DOWN: Duration = Duration::from_millis(100);

/// One queue, owned by one lcore. Made of a [`QueueSeed`](crate::QueueSeed).
pub struct Queue {
    pub(crate) umem: Umem,
    pub(crate) pool: FramePool,
    pub(crate) socket: XskSocket,
    pub(crate) capabilities: Capabilities,
    /// What is said of each received frame.
    pub(crate) mark: RxMark,
    /// Frames the kernel may have for receiving.
    pub(crate) to_receive: u32,
    /// The kernel wants room for its metadata before each frame.
    pub(crate) metadata: bool,
    pub(crate) busy_poll: bool,
    pub(crate) links: LinkEvents,
    pub(crate) wake: Arc<OwnedFd>,
    pub(crate) interface: String,
    pub(crate) number: u32,
    pub(crate) state: State,
    /// Keeps the program on the interface. Declared after the socket: that is closed first.
    pub(crate) _attached: Arc<Attached>,
}

/// What changes while it runs.
#[derive(Default)]
pub(crate) struct State {
    /// The beginning of a packet whose rest is still to come.
    partial: Partial,
    stats: DeviceStats,
    /// Received and too large for a frame.
    oversize: u64,
    /// The interface is down.
    down: bool,
    /// It has been removed.
    gone: bool,
    /// Looks since the last look at the interface.
    looks: u32,
}

#[derive(Default)]
enum Partial {
    #[default]
    None,
    Building(Frame),
    /// It was too large; its rest is thrown away.
    Discarding,
}

/// Where the frames of a queue are. Together they are all of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Census {
    /// All frames.
    pub total: usize,
    /// In the pool.
    pub free: usize,
    /// With the kernel, to receive into, or received and not yet fetched.
    pub receiving: usize,
    /// With the kernel, to be sent.
    pub sending: usize,
    /// With whoever has got them from [`Device::rx_burst`] or [`Device::alloc`].
    pub lent: usize,
}

impl Queue {
    /// Its number on its interface.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Where its frames are.
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

    /// Whether the interface was down when it was last asked to send.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.state.down
    }

    /// Gives the kernel frames to receive into, up to its share.
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

    /// Takes back what has been sent.
    fn reap(&mut self) {
        let pool = &self.pool;
        self.umem.completed(|chunk| pool.put(chunk));
    }

    /// A frame, once all of its packet is there.
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

    /// How many frames from the front of the burst the transmit ring has room for.
    fn fitting(&mut self, burst: &Burst<Frame>) -> usize {
        let mut slots = 0;
        let mut fits = |frame: &Frame| {
            slots += self.umem.pieces(frame.headroom(), frame.len());
            self.umem.tx_room(slots) >= slots
        };
        burst.iter().take_while(|frame| fits(frame)).count()
    }

    /// Makes a frame fit to be sent: its parts, and whether metadata stands before it. `None`: it cannot be sent.
    fn prepare(&self, mut frame: Frame) -> Option<(Parts, bool)> {
        // Less than an Ethernet header is no packet; the kernel would stop at it.
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

    /// Has the kernel send what is in the transmit ring, if it has to be asked.
    fn kick(&mut self) {
        for _ in 0..KICKS {
            let before = self.umem.tx_unread();
            if before == 0 || !self.umem.tx_needs_wakeup() {
                return;
            }
            match self.call() {
                // All is sent, or the driver has been told to.
                Ok(()) => return,
                // A frame was lost: the receiver's ring, or a queue on the way, is full. The others are still to be sent.
                Err(Errno::BUSY) if !self.capabilities.zero_copy => {
                    self.state.stats.tx_dropped += 1;
                }
                Err(_) => {}
            }
            if self.state.down || self.state.gone || self.umem.tx_unread() == before {
                return;
            }
        }
    }

    /// One call to send, which also says whether the interface is up.
    fn call(&mut self) -> Result<(), Errno> {
        self.state.stats.kicks += 1;
        let result = self.socket.kick_tx();
        self.state.down = result == Err(Errno::NETDOWN);
        // The socket has been unbound: there is no interface.
        self.state.gone |= result == Err(Errno::NXIO);
        result
    }

    /// Looks whether the interface is still there.
    fn check_interface(&mut self) -> io::Result<()> {
        if !self.state.gone && self.links.drain() && self.socket.error().is_some() {
            self.state.gone = true;
        }
        if self.state.gone {
            return Err(io::Error::new(
                io::ErrorKind::NotConnected,
                format!("the interface {} has been removed", self.interface),
            ));
        }
        Ok(())
    }

    /// How long it may sleep.
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
            Err(why) => return Err(why.into()),
        }
        let [_, wake, links] = on.map(|fd| !fd.revents().is_empty());
        if wake {
            // It is non-blocking: nothing to read is no harm.
            let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        }
        if links {
            self.check_interface()
        } else {
            Ok(())
        }
    }
}

/// Appends bytes to a frame, if there is room.
fn append(frame: &mut Frame, bytes: &[u8]) -> bool {
    let len = frame.len();
    if bytes.len() > frame.room() - len {
        return false;
    }
    frame.set_len(len + bytes.len());
    frame.bytes_mut()[len..].copy_from_slice(bytes);
    true
}

/// Moves a frame's bytes back in its chunk, to make room for metadata before them. `None`: there is none behind them.
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
                // Another core wrote it; the lines come while the rest of the burst is taken.
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
            // What can go wrong here shows when it is asked to send or to sleep.
            let _ = self.socket.kick_rx();
        }
        count
    }

    fn tx_burst(&mut self, burst: &mut Burst<Frame>) -> usize {
        self.reap();
        if self.state.down && !burst.is_empty() {
            // Only asking tells whether it is up again.
            let _ = self.call();
        }
        if self.state.down || self.state.gone {
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
            // Whoever spins pays no system call for it, but learns in the end that the interface has been removed.
            self.state.looks = (self.state.looks + 1) % LOOKS;
            return if self.state.looks == 0 || self.state.gone {
                self.check_interface()
            } else {
                Ok(())
            };
        }
        if self.state.gone {
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
            // Full is as good as written: it wakes.
            let _ = rustix::io::write(wake.as_fd(), &1_u64.to_ne_bytes());
        })
    }

    fn stats(&self) -> DeviceStats {
        let mut stats = self.state.stats;
        stats.rx_dropped = self.state.oversize + self.umem.strange();
        if let Ok(kernel) = self.socket.statistics() {
            // `rx_dropped` counts packets for which there was no frame; the fill ring's own count is of the same.
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
