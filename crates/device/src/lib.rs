//! Bursts of frames: the interface between TCP and the devices below it.
//!
//! A [`Device`] is one queue of a port: a receive ring and a transmit ring, owned by one lcore. A [`Frame`] is moved from ring to
//! stack to ring, never cloned, and returns to its pool when it is dropped. So a frame is in exactly one place at any time, and a
//! device can account for each frame.
//!
//! In one turn, an lcore makes one call of [`Device::rx_burst`], does its work, and makes one call of [`Device::tx_burst`]. A device
//! updates ring indices, rings doorbells, makes system calls and refills rings once for a burst.
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
mod party;
pub mod pcapng;
mod setters;
pub mod tap;

pub use party::Party;

/// The largest number of frames received or sent in one call.
pub const BURST: usize = 64;

/// Up to [`BURST`] frames, in order.
pub type Burst<F> = ArrayVec<F, BURST>;

/// The state of the checksums of a received frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RxChecksum {
    /// The checksums are not verified: the receiver must verify them.
    #[default]
    Unknown,
    /// The checksums are good, or the frame never left this machine and its sender left them unfinished. The receiver need not
    /// verify them.
    Good,
    /// The device found a wrong checksum.
    Bad,
}

/// The request for the checksum of a frame to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TxChecksum {
    /// No request: all checksums are complete.
    #[default]
    Complete,
    /// The field at `start + offset` holds the sum of the pseudo-header, not complemented; the device adds everything from
    /// `start` to the end of the frame (the one's complement sum of RFC 1071) and writes the complement of the sum there. An
    /// IPv4 header checksum is always complete.
    Fill {
        /// The offset of the transport header in the frame.
        start: u16,
        /// The offset of the checksum field in the transport header.
        offset: u16,
    },
}

/// One packet buffer: a UMEM chunk, an mbuf. Its bytes are contiguous, with headroom before and tailroom after them.
///
/// Every method is a few instructions. Lengths and offsets are in bytes.
pub trait Frame: Sized {
    /// The frame's bytes, from the Ethernet header on, without the frame check sequence.
    fn bytes(&self) -> &[u8];
    /// The frame's bytes, for writing.
    fn bytes_mut(&mut self) -> &mut [u8];
    /// The number of bytes.
    fn len(&self) -> usize {
        self.bytes().len()
    }
    /// Whether the frame has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The greatest length that [`set_len`](Self::set_len) takes: from the first byte to the end of the buffer.
    fn room(&self) -> usize;
    /// Moves the end. Bytes that are added to the frame have arbitrary values.
    ///
    /// # Panics
    /// If `len` is greater than `room()`.
    fn set_len(&mut self, len: usize);
    /// The number of free bytes before the first one.
    fn headroom(&self) -> usize;
    /// Moves the beginning back by `n` bytes, to prepend a header.
    ///
    /// # Panics
    /// If `n` is greater than `headroom()`.
    fn grow_front(&mut self, n: usize);
    /// Moves the beginning forward by `n` bytes, to remove a header.
    ///
    /// # Panics
    /// If `n` is greater than `len()`.
    fn shrink_front(&mut self, n: usize);
    /// The state of the checksums, as the device reported it when it received the frame.
    fn rx_checksum(&self) -> RxChecksum;
    /// Sets the state of the checksums. For devices in software, and for wrappers of devices that change frames.
    fn set_rx_checksum(&mut self, state: RxChecksum);
    /// The request for the checksum.
    fn tx_checksum(&self) -> TxChecksum;
    /// Sets the request for the checksum. [`TxChecksum::Fill`] requires [`Capabilities::tx_checksum`].
    fn set_tx_checksum(&mut self, request: TxChecksum);
}

/// The capabilities of a device; constant while it is open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// The name of the device type, for logs: `af-xdp`, `memory`, ...
    pub name: &'static str,
    /// The largest IP packet, in bytes: a frame has 14 more for Ethernet, and 4 for a VLAN tag.
    pub mtu: usize,
    /// The device fills in TCP checksums ([`TxChecksum::Fill`]).
    pub tx_checksum: bool,
    /// The device reports the state of the checksums of received frames ([`Frame::rx_checksum`] is not always `Unknown`).
    pub rx_checksum: bool,
    /// The device receives frames into the memory in which the stack reads them, without a copy by the kernel or the driver.
    pub zero_copy: bool,
    /// Whether [`Device::wait`] can sleep.
    pub can_block: bool,
    /// The MAC address.
    pub mac: [u8; 6],
}

counters! {
    /// Counters of a device; monotonic.
    pub struct DeviceStats: Device, "device_" {
        /// Frames received.
        rx_frames: Counter, Count;
        /// Bytes received.
        rx_bytes: Counter, Bytes;
        /// Frames dropped before they were received, as far as the device knows: a ring was full, or no buffer was free.
        rx_dropped: Counter, Count;
        /// Frames taken for sending.
        tx_frames: Counter, Count;
        /// Bytes of the frames taken for sending.
        tx_bytes: Counter, Bytes;
        /// Frames that were to be sent and are known to be lost.
        tx_dropped: Counter, Count;
        /// Bursts for which the transmit ring did not have enough room.
        tx_full: Counter, Count;
        /// System calls made, or doorbells rung.
        kicks: Counter, Count;
    }
}

/// One receive and one transmit queue, with their frames.
pub trait Device {
    /// The packet buffers.
    type Frame: Frame;

    /// The capabilities.
    fn capabilities(&self) -> Capabilities;

    /// Appends frames that have arrived, at most until `burst` is full. Returns their number. Never blocks.
    fn rx_burst(&mut self, burst: &mut Burst<Self::Frame>) -> usize;

    /// Sends frames from the front of `burst`, in order, and removes them. Returns their number. Frames for which there is no room
    /// stay in `burst`. Never blocks. A call with an empty burst lets the device continue to send earlier frames.
    fn tx_burst(&mut self, burst: &mut Burst<Self::Frame>) -> usize;

    /// Allocates an empty frame (length 0) with headroom. Returns `None` while all frames are in use.
    fn alloc(&mut self) -> Option<Self::Frame>;

    /// Sleeps until a frame may have arrived, the waker is used, or `timeout` has passed (`None`: no time limit). A device that
    /// cannot sleep returns at once.
    ///
    /// # Errors
    /// The device has been removed. Every later call fails as well.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()>;

    /// A function that makes the current or the next `wait` return, from any thread.
    fn waker(&self) -> Waker;

    /// The counters.
    fn stats(&self) -> DeviceStats;
}

/// Wakes a device that sleeps in [`Device::wait`]. A wake-up before the sleep is not lost.
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
