//! A pair of devices in memory: what one end sends, the other receives. For two threads or for one.
//!
//! Frames move: a token of the chunk goes through a ring, no byte is copied. Both ends use one arena, and chunks migrate with
//! the traffic; an end that has received more than it has sent gives the difference back in bursts, through a second ring,
//! which is what a NIC's completion ring is to its driver. So one-way traffic does not starve the sender.
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
//! // Each on the thread that uses it; here it is the same.
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

use crate::{BURST, Capabilities};

mod device;

pub use device::MemoryDevice;

/// What a frame has besides its IP packet: two addresses, a VLAN tag, the type.
const LINK: usize = 18;

/// What [`pair`] is to make.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PairOptions {
    /// Chunks of each end; at least 1.
    pub chunks: usize,
    /// Bytes of a chunk; `None`: the smallest power of two, at least 2048, that has room for the headroom and the largest
    /// frame (2048 for 1500, 16384 for 9000).
    pub chunk_size: Option<usize>,
    /// Frames that may be on their way, in each direction; at least 1.
    pub ring: usize,
    /// The largest IP packet, in bytes. Longer frames are dropped by the sending end, and counted.
    pub mtu: usize,
    /// The pages to ask for.
    pub huge_pages: HugePages,
    /// The NUMA node to prefer.
    pub node: Option<u32>,
    /// The first end.
    pub a: EndOptions,
    /// The second end.
    pub b: EndOptions,
}

/// What one end of a pair offers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EndOptions {
    /// Its address.
    pub mac: [u8; 6],
    /// Whether it fills in checksums. They are really computed only if the other end does not offer `rx_checksum`: else the
    /// frame is delivered as good, with the sum left out, as between two virtual machines.
    pub tx_checksum: bool,
    /// Whether it vouches for frames whose checksum was left to the device. Of all others it knows nothing.
    pub rx_checksum: bool,
}

impl Default for PairOptions {
    /// 4096 chunks each, rings of 1024, an MTU of 1500, no huge pages, no offload.
    fn default() -> Self {
        let end = |last| EndOptions {
            // Locally administered.
            mac: [0x02, 0, 0, 0, 0, last],
            ..EndOptions::default()
        };
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

/// A frame on its way.
struct Token {
    chunk: Chunk,
    start: u16,
    len: u16,
    mark: RxMark,
}

const _: () = assert!(size_of::<Token>() == 16);

/// What the other end sees of an end. Written only by one who sleeps, wakes or leaves, so reading it costs nothing.
#[repr(align(128))]
struct Side {
    bell: Doorbell,
    /// Its waker was used.
    woken: AtomicBool,
    /// It sleeps, or is about to, for want of chunks or of room in its transmit ring.
    hungry: AtomicBool,
    /// It was dropped.
    gone: AtomicBool,
}

impl Side {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            bell: Doorbell::new(),
            woken: AtomicBool::new(false),
            hungry: AtomicBool::new(false),
            gone: AtomicBool::new(false),
        })
    }
}

/// The rings, as one end has them.
struct Lines {
    tx: Producer<Token>,
    rx: Consumer<Token>,
    /// Chunks given back to the other end.
    give: Producer<Chunk>,
    /// Chunks given back by the other end.
    back: Consumer<Chunk>,
    here: Arc<Side>,
    far: Arc<Side>,
}

impl Drop for Lines {
    fn drop(&mut self) {
        // Release, with the acquire in `is_connected`: who sees it also sees all that was sent and given back before.
        self.here.gone.store(true, Ordering::Release);
        self.far.bell.ring();
    }
}

/// One end of a pair, not yet opened: it may go to the thread that is to use it.
pub struct End {
    lines: Lines,
    arena: Arc<FrameArena>,
    chunks: usize,
    capabilities: Capabilities,
    far_rx_checksum: bool,
}

impl End {
    /// Opens it, on the thread that uses it.
    ///
    /// # Panics
    /// Never: the arena was made with room for both ends.
    #[must_use]
    pub fn open(self) -> MemoryDevice {
        let pool = self.arena.pool(self.chunks);
        let pool = pool.expect("the arena has room for both ends");
        let thread = thread::current();
        let wake = Box::new(move || thread.unpark());
        // The first waker: an end is opened once.
        self.lines.here.bell.set_waker(wake);
        MemoryDevice {
            pool,
            lines: self.lines,
            longest: self.capabilities.mtu + LINK,
            capabilities: self.capabilities,
            far_rx_checksum: self.far_rx_checksum,
            stats: crate::DeviceStats::default(),
            surplus: 0,
            batch: (self.chunks / 8).clamp(1, BURST) as isize,
            reserve: self.chunks / 4,
            short: false,
            full: false,
            made_room: false,
            told_gone: false,
        }
    }

    /// What it will be able to do.
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

/// Makes two ends joined by rings, with one arena.
///
/// # Errors
/// `InvalidInput` if a size is zero or out of range or a chunk is too small for the MTU, else what the system says when there
/// is no memory.
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
            "a memory pair cannot have {} chunks of {chunk_size} bytes, rings of {} and an MTU of {}",
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
    // Room for all chunks there are: giving back never fails.
    let (a_give, b_back) = RingBuffer::new(both);
    let (b_give, a_back) = RingBuffer::new(both);
    let (a, b) = (Side::new(), Side::new());
    let a_lines = Lines {
        tx: a_tx,
        rx: a_rx,
        give: a_give,
        back: a_back,
        here: Arc::clone(&a),
        far: Arc::clone(&b),
    };
    let b_lines = Lines {
        tx: b_tx,
        rx: b_rx,
        give: b_give,
        back: b_back,
        here: b,
        far: a,
    };
    let end = |lines, mine: EndOptions, other: EndOptions| End {
        lines,
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
        end(a_lines, options.a, options.b),
        end(b_lines, options.b, options.a),
    ))
}

/// Two ports of `queues` queues each, joined queue by queue: queue `i` of one talks to queue `i` of the other. Each pair has
/// an arena of its own, so a frame is sent on the queue it was received or allocated on.
///
/// # Errors
/// As [`pair`].
pub fn ports(options: &PairOptions, queues: usize) -> io::Result<Vec<(End, End)>> {
    (0..queues).map(|_| pair(options)).collect()
}
