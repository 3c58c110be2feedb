//! Frames in bursts: the seam below TCP.
//!
//! A [`Device`] is one queue of a port: a receive ring and a transmit ring, owned by one lcore. Frames are linear: a
//! [`Frame`] is moved from ring to stack to ring, never cloned, and goes back to its pool when it is dropped. So a frame
//! is at any moment in exactly one place, and a device can account for each.
//!
//! One turn of an lcore is one [`Device::rx_burst`], the work, and one [`Device::tx_burst`]: a device does per burst
//! whatever can be done per burst (ring indices, doorbells, system calls, refills).
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::time::Duration;

use arrayvec::ArrayVec;
use hioload_counters::counters;

mod arena_frame;
pub mod checksum;
pub mod faults;
pub mod memory;
pub mod pcapng;
pub mod tap;

/// Frames received or sent in one call.
pub const BURST: usize = 64;

/// Up to [`BURST`] frames, in order.
pub type Burst<F> = ArrayVec<F, BURST>;

/// What is known of the checksums of a received frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RxChecksum {
    /// Nothing: whoever reads the frame has to verify them.
    #[default]
    Unknown,
    /// Good, or never at risk (the sender is in this machine and left them out): the frame may be taken as it is.
    Good,
    /// The device found one wrong.
    Bad,
}

/// What the device is asked to do with a frame it sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TxChecksum {
    /// Nothing: all checksums are complete.
    #[default]
    Complete,
    /// The field at `start + offset` holds the sum of the pseudo-header, not complemented; the device adds everything from
    /// `start` to the end of the frame (the one's complement sum of RFC 1071) and writes the complement of the sum there. An
    /// IPv4 header checksum is always complete.
    Fill {
        /// Bytes from the start of the frame to the transport header.
        start: u16,
        /// Bytes from there to the field.
        offset: u16,
    },
}

/// One packet buffer: a UMEM chunk, an mbuf. Its bytes are contiguous, with headroom before and tailroom after them.
///
/// Every method is a few instructions; lengths and offsets are bytes.
pub trait Frame: Sized {
    /// The frame's bytes, from the first of the Ethernet header. No frame check sequence.
    fn bytes(&self) -> &[u8];
    /// The same, to write to.
    fn bytes_mut(&mut self) -> &mut [u8];
    /// How many they are.
    fn len(&self) -> usize {
        self.bytes().len()
    }
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The greatest length that [`set_len`](Self::set_len) takes: from the first byte to the end of the buffer.
    fn room(&self) -> usize;
    /// Moves the end. Bytes that are new to the frame have any value.
    ///
    /// # Panics
    /// If `len` is greater than `room()`.
    fn set_len(&mut self, len: usize);
    /// Bytes free before the first one.
    fn headroom(&self) -> usize;
    /// Moves the beginning back by `n` bytes, to put a header before what is there.
    ///
    /// # Panics
    /// If `n` is greater than `headroom()`.
    fn grow_front(&mut self, n: usize);
    /// Moves the beginning forward by `n` bytes, to take a header away.
    ///
    /// # Panics
    /// If `n` is greater than `len()`.
    fn shrink_front(&mut self, n: usize);
    /// What the device said of its checksums when it was received.
    fn rx_checksum(&self) -> RxChecksum;
    /// Says what is known of its checksums: for devices made of software, and for what wraps a device and changes frames.
    fn set_rx_checksum(&mut self, what: RxChecksum);
    /// What the device was asked to do when it is sent.
    fn tx_checksum(&self) -> TxChecksum;
    /// What the device is to do when it is sent. Anything but `Complete` only if
    /// [`Capabilities::tx_checksum`] says it can.
    fn set_tx_checksum(&mut self, what: TxChecksum);
}

/// What a device can do; constant while it is open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// For logs: `af-xdp`, `memory`, ...
    pub name: &'static str,
    /// The largest IP packet, in bytes: a frame has 14 more for Ethernet, and 4 for a VLAN tag.
    pub mtu: usize,
    /// It fills in TCP checksums ([`TxChecksum::Fill`]).
    pub tx_checksum: bool,
    /// It says of received frames whether their checksums are good ([`Frame::rx_checksum`] is not always `Unknown`).
    pub rx_checksum: bool,
    /// Frames reach the stack in the memory they were received in (the kernel or the NIC copies nothing).
    pub zero_copy: bool,
    /// Whether [`Device::wait`] can sleep.
    pub can_block: bool,
    /// The station's address.
    pub mac: [u8; 6],
}

counters! {
    /// Counters of a device; monotonic.
    pub struct DeviceStats: Device, "device_" {
        /// Frames received.
        rx_frames: Counter, Count;
        /// Their bytes.
        rx_bytes: Counter, Bytes;
        /// Frames that were lost before they could be received, as far as the device knows: rings full, no buffers.
        rx_dropped: Counter, Count;
        /// Frames handed over for sending.
        tx_frames: Counter, Count;
        /// Their bytes.
        tx_bytes: Counter, Bytes;
        /// Frames taken for sending and known to be lost.
        tx_dropped: Counter, Count;
        /// Times the transmit ring had no room for all of a burst.
        tx_full: Counter, Count;
        /// System calls made, or doorbells rung.
        kicks: Counter, Count;
    }
}

/// One receive and one transmit queue, with their frames.
pub trait Device {
    /// Its packet buffers.
    type Frame: Frame;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Appends frames that have arrived, at most until `burst` is full; returns how many. Never blocks.
    fn rx_burst(&mut self, burst: &mut Burst<Self::Frame>) -> usize;

    /// Sends frames from the front of `burst`, in order, and takes them out; returns how many. What there was no room for
    /// stays. Never blocks. An empty burst is not useless: it lets the device go on with what it has begun.
    fn tx_burst(&mut self, burst: &mut Burst<Self::Frame>) -> usize;

    /// An empty frame (length 0) with headroom; `None` while all are in use.
    fn alloc(&mut self) -> Option<Self::Frame>;

    /// Sleeps until a frame may have arrived, the waker was used, or `timeout` is over (`None`: for ever). A device that
    /// cannot sleep returns at once.
    ///
    /// # Errors
    /// What the system says when the device is gone.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()>;

    /// Makes the current or the next `wait` return, from any thread.
    fn waker(&self) -> Waker;

    /// Its counters.
    fn stats(&self) -> DeviceStats;
}

/// Wakes a device that sleeps in [`Device::wait`]. A wake before the sleep is not lost.
pub type Waker = std::sync::Arc<dyn Fn() + Send + Sync>;

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = |yes, name: &'static str| if yes { name } else { "" };
        write!(
            f,
            "{} mtu {}{}{}{}",
            self.name,
            self.mtu,
            how(self.zero_copy, " zero-copy"),
            how(self.tx_checksum, " tx-checksum"),
            how(self.rx_checksum, " rx-checksum"),
        )
    }
}
