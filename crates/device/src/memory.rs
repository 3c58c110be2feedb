//! A pair of devices in memory: each end receives the frames that the other end sends. The ends may be on one thread or on two.
//!
//! Frames are moved: a token of the chunk goes through a ring, and no byte is copied. Both ends use one arena, and chunks migrate
//! with the traffic. An end that has received more chunks than it has sent returns the difference in bursts, through a second ring
//! that works like the completion ring of a NIC. So one-way traffic does not starve the sender.
//!
//! ```text
//!   A: pool --tx_burst--> frames ---> rx_burst --> pool :B       (and the same from B to A)
//!      pool <--rx_burst-- chunks <--- rx_burst <-- pool
//! ```
//!
//! ```
//! use hioload_device::{Burst, Device, memory};
//!
//! let (a, b) = memory::pair(&memory::PairOptions::default())?;
//! // Each end is opened on the thread that uses it, which is the same thread here.
//! let (mut a, mut b) = (a.open(), b.open());
//! let mut burst = Burst::new();
//! if let Some(mut frame) = a.alloc() {
//!     frame.set_len(60);
//!     burst.push(frame);
//! }
//! assert_eq!(a.tx_burst(&mut burst), 1);
//! assert_eq!(b.rx_burst(&mut burst), 1);
//! assert_eq!(burst[0].len(), 60);
//! # Ok::<(), std::io::Error>(())
//! ```

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use hioload_lcore::doorbell::Doorbell;
use hioload_mem::HugePages;
use hioload_mem::frames::{Chunk, FrameArena, FrameArenaOptions, HEADROOM, RxMark};
use rtrb::{Consumer, Producer, RingBuffer};

use crate::setters::setters;
use crate::{BURST, Capabilities};

mod device;

pub use device::MemoryDevice;

/// Bytes of the link header: two MAC addresses, a VLAN tag and the EtherType.
const LINK: usize = 18;

/// The options of [`pair`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PairOptions {
    /// The number of chunks of each end, at least 1.
    pub chunks: usize,
    /// Bytes of a chunk; `None`: the smallest power of two, at least 2048, that has room for the headroom and the largest frame
    /// (2048 for an MTU of 1500, 16384 for 9000).
    pub chunk_size: Option<usize>,
    /// The number of slots of the ring in each direction, at least 1.
    pub ring: usize,
    /// The largest IP packet, in bytes. The sending end drops and counts longer frames.
    pub mtu: usize,
    /// The pages of the memory.
    pub huge_pages: HugePages,
    /// The preferred NUMA node.
    pub node: Option<u32>,
    /// The first end.
    pub a: EndOptions,
    /// The second end.
    pub b: EndOptions,
}

setters!(PairOptions {
    chunks: usize,
    chunk_size: Option<usize>,
    ring: usize,
    mtu: usize,
    huge_pages: HugePages,
    node: Option<u32>,
    a: EndOptions,
    b: EndOptions,
});

/// The capabilities of one end of a pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct EndOptions {
    /// The MAC address.
    pub mac: [u8; 6],
    /// Whether the end fills in checksums. It computes them only if the other end does not offer `rx_checksum`. Otherwise the frame
    /// is delivered as good, with its checksum unfinished, as between two virtual machines.
    pub tx_checksum: bool,
    /// Whether the end marks frames as good whose checksum was requested of the device. All other frames are marked as unknown.
    pub rx_checksum: bool,
}

impl EndOptions {
    /// An end with this MAC address and these offloads.
    #[must_use]
    pub fn new(mac: [u8; 6], tx_checksum: bool, rx_checksum: bool) -> Self {
        Self {
            mac,
            tx_checksum,
            rx_checksum,
        }
    }
}

impl Default for PairOptions {
    /// 4096 chunks for each end, rings of 1024 slots, an MTU of 1500, no huge pages, no offload.
    fn default() -> Self {
        // Locally administered addresses.
        let end = |last| EndOptions::new([0x02, 0, 0, 0, 0, last], false, false);
        Self {
            chunks: 4096,
            chunk_size: None,
            ring: 1024,
            mtu: 1500,
            huge_pages: HugePages::Off,
            node: None,
            a: end(0x0a),
            b: end(0x0b),
        }
    }
}

/// A frame in a ring.
struct Token {
    chunk: Chunk,
    start: u16,
    len: u16,
    mark: RxMark,
}

const _: () = assert!(size_of::<Token>() == 16);

/// The state of an end that the other end reads. It is written only when an end sleeps, wakes up or is dropped, so its cache line
/// stays shared.
#[repr(align(128))]
struct Side {
    bell: Doorbell,
    /// The waker was used.
    woken: AtomicBool,
    /// The end sleeps, or is about to, until it has chunks or room in its transmit ring. Only this end writes it.
    starved: AtomicBool,
    /// The end was dropped.
    gone: AtomicBool,
}

impl Side {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            bell: Doorbell::new(),
            woken: AtomicBool::new(false),
            starved: AtomicBool::new(false),
            gone: AtomicBool::new(false),
        })
    }
}

/// The rings of one end.
struct Rings {
    tx: Producer<Token>,
    rx: Consumer<Token>,
    /// Chunks returned to the other end.
    returns: Producer<Chunk>,
    /// Chunks returned by the other end.
    returned: Consumer<Chunk>,
    own: Arc<Side>,
    far: Arc<Side>,
}

impl Drop for Rings {
    fn drop(&mut self) {
        // Release, pairs with the acquire in `is_connected`: an end that sees the flag sees everything sent and returned before.
        self.own.gone.store(true, Ordering::Release);
        self.far.bell.ring();
    }
}

/// One end of a pair that is not open yet. It may be sent to the thread that uses it.
pub struct End {
    rings: Rings,
    arena: Arc<FrameArena>,
    chunks: usize,
    capabilities: Capabilities,
    far_rx_checksum: bool,
}

impl End {
    /// Opens the end, on the thread that uses it.
    ///
    /// # Panics
    /// Never: the arena was made with room for both ends.
    #[must_use]
    pub fn open(self) -> MemoryDevice {
        let pool = self.arena.pool(self.chunks);
        let pool = pool.expect("the arena has room for both ends");
        let thread = thread::current();
        let wake = Box::new(move || thread.unpark());
        // An end is opened once, so this is the first waker.
        self.rings.own.bell.set_waker(wake);
        MemoryDevice {
            pool,
            rings: self.rings,
            longest: self.capabilities.mtu + LINK,
            capabilities: self.capabilities,
            far_rx_checksum: self.far_rx_checksum,
            stats: crate::DeviceStats::default(),
            surplus: 0,
            batch: (self.chunks / 8).clamp(1, BURST) as isize,
            reserve: self.chunks / 4,
            alloc_failed: false,
            full: false,
            freed: false,
            gone_reported: false,
        }
    }

    /// The capabilities that the device will have.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("End")
            .field("capabilities", &self.capabilities)
            .finish_non_exhaustive()
    }
}

/// Creates two ends that are joined by rings and share an arena.
///
/// # Errors
/// `InvalidInput` if a size is zero or out of range, or a chunk is too small for the MTU; the errors of allocating memory.
pub fn pair(options: &PairOptions) -> io::Result<(End, End)> {
    let largest = HEADROOM.saturating_add(options.mtu).saturating_add(LINK);
    let fitting = || largest.checked_next_power_of_two();
    let chunk_size = options
        .chunk_size
        .or_else(fitting)
        .map_or(0, |n| n.max(2048));
    let both = options.chunks.saturating_mul(2);
    if options.chunks == 0 || options.ring == 0 || options.mtu == 0 || chunk_size < largest {
        let text = format!(
            "a memory pair cannot have {} chunks of {chunk_size} bytes, rings of {} slots and an MTU of {}",
            options.chunks, options.ring, options.mtu
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let arena = FrameArena::new(
        &FrameArenaOptions::new(both, chunk_size)
            .huge_pages(options.huge_pages)
            .node(options.node),
    )?;

    let (a_tx, b_rx) = RingBuffer::new(options.ring);
    let (b_tx, a_rx) = RingBuffer::new(options.ring);
    // These rings have room for all chunks, so that returning one never fails.
    let (a_returns, b_returned) = RingBuffer::new(both);
    let (b_returns, a_returned) = RingBuffer::new(both);
    let (a, b) = (Side::new(), Side::new());
    let a_rings = Rings {
        tx: a_tx,
        rx: a_rx,
        returns: a_returns,
        returned: a_returned,
        own: Arc::clone(&a),
        far: Arc::clone(&b),
    };
    let b_rings = Rings {
        tx: b_tx,
        rx: b_rx,
        returns: b_returns,
        returned: b_returned,
        own: b,
        far: a,
    };
    let end = |rings, mine: EndOptions, other: EndOptions| End {
        rings,
        arena: Arc::clone(&arena),
        chunks: options.chunks,
        capabilities: Capabilities {
            name: "memory",
            mtu: options.mtu,
            tx_checksum: mine.tx_checksum,
            rx_checksum: mine.rx_checksum,
            zero_copy: true,
            can_block: true,
            mac: mine.mac,
        },
        far_rx_checksum: other.rx_checksum,
    };
    Ok((
        end(a_rings, options.a, options.b),
        end(b_rings, options.b, options.a),
    ))
}

/// Creates two ports of `queues` queues each: queue `i` of one is joined with queue `i` of the other. Each pair of queues has an
/// arena of its own, so a frame must be sent on the queue on which it was received or allocated.
///
/// # Errors
/// Those of [`pair`].
pub fn ports(options: &PairOptions, queues: usize) -> io::Result<Vec<(End, End)>> {
    (0..queues).map(|_| pair(options)).collect()
}
