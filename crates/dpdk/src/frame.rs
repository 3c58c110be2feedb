//! A frame that is an mbuf, and each thread's list of dropped frames.
//!
//! A [`MbufFrame`] is one pointer. It owns its mbuf, which has one segment and a reference count of one, and its buffer has no other
//! owner, whether it is the mbuf's own or an external one with a count of its own. `dpdk-shim` checks these counts for every received
//! frame (`is_exclusive` in `shim.c`), and copies a frame that does not fulfil this; a frame from a pool does, because the pool gives
//! out only mbufs that nobody holds. So nothing else reads or writes its data while it lives. The pool outlives the frame: a pool is freed
//! only when all its mbufs have been returned (`pool.rs`). A frame stays on the thread that received or allocated it, which returns
//! it to the pool.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicI64, Ordering};
use std::{fmt, slice};

use hioload_device::{Frame, RxChecksum, TxChecksum};
use hioload_dpdk_sys as sys;
use sys::hl_mbuf;

use crate::errno::Errno;

/// The number of dropped frames at which a thread returns them, if it does not receive a burst before.
const COLLECTED: usize = 128;

/// One packet buffer: an mbuf of one segment, data in place. 8 bytes.
#[repr(transparent)]
pub struct MbufFrame {
    mbuf: NonNull<hl_mbuf>,
    /// Neither `Send` nor `Sync`.
    local: PhantomData<*mut hl_mbuf>,
}

const _: () = assert!(size_of::<MbufFrame>() == size_of::<*mut hl_mbuf>());
const _: () = assert!(size_of::<Option<MbufFrame>>() == size_of::<*mut hl_mbuf>());

impl MbufFrame {
    #[inline]
    fn mbuf(&self) -> &hl_mbuf {
        // SAFETY: the frame owns the mbuf, and the pool of the mbuf outlives the frame.
        unsafe { self.mbuf.as_ref() }
    }

    #[inline]
    fn mbuf_mut(&mut self) -> &mut hl_mbuf {
        // SAFETY: as in `mbuf`; the reference is unique because `&mut self` borrows the only owner.
        unsafe { self.mbuf.as_mut() }
    }

    #[inline]
    fn set_bounds(&mut self, start: usize, len: usize) {
        let mbuf = self.mbuf_mut();
        mbuf.data_off = start as u16;
        mbuf.data_len = len as u16;
        mbuf.pkt_len = len as u32;
    }
}

impl Frame for MbufFrame {
    #[inline]
    fn bytes(&self) -> &[u8] {
        let mbuf = self.mbuf();
        // SAFETY: `data_off + data_len` is at most `buf_len`, which DPDK and `set_bounds` ensure. EAL mapped the buffer, so it is
        // initialised, and it belongs to this mbuf alone.
        unsafe {
            slice::from_raw_parts(
                mbuf.buf_addr.add(mbuf.data_off.into()),
                mbuf.data_len.into(),
            )
        }
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        let mbuf = self.mbuf();
        // SAFETY: as in `bytes`; the reference is unique because `&mut self` borrows the only owner.
        unsafe {
            slice::from_raw_parts_mut(
                mbuf.buf_addr.add(mbuf.data_off.into()),
                mbuf.data_len.into(),
            )
        }
    }

    #[inline]
    fn len(&self) -> usize {
        self.mbuf().data_len.into()
    }

    #[inline]
    fn room(&self) -> usize {
        let mbuf = self.mbuf();
        usize::from(mbuf.buf_len) - usize::from(mbuf.data_off)
    }

    #[inline]
    fn set_len(&mut self, len: usize) {
        assert!(len <= self.room(), "a frame beyond its mbuf");
        self.set_bounds(self.headroom(), len);
    }

    #[inline]
    fn headroom(&self) -> usize {
        self.mbuf().data_off.into()
    }

    #[inline]
    fn grow_front(&mut self, n: usize) {
        assert!(n <= self.headroom(), "a frame before its mbuf");
        self.set_bounds(self.headroom() - n, self.len() + n);
    }

    #[inline]
    fn shrink_front(&mut self, n: usize) {
        assert!(n <= self.len(), "more than the frame holds");
        self.set_bounds(self.headroom() + n, self.len() - n);
    }

    /// A checksum that a sender in this machine left unfinished (virtio) counts as good. A bad checksum of the IPv4 header makes the
    /// frame bad; one that the device did not verify has no effect, because the stack verifies it.
    #[inline]
    fn rx_checksum(&self) -> RxChecksum {
        let flags = self.mbuf().ol_flags;
        let ip = flags & u64::from(sys::HL_RX_IP_MASK);
        let l4 = flags & u64::from(sys::HL_RX_L4_MASK);
        if ip == u64::from(sys::HL_RX_IP_BAD) || l4 == u64::from(sys::HL_RX_L4_BAD) {
            RxChecksum::Bad
        } else if l4 == 0 {
            RxChecksum::Unknown
        } else {
            RxChecksum::Good
        }
    }

    #[inline]
    fn set_rx_checksum(&mut self, what: RxChecksum) {
        let mask = u64::from(sys::HL_RX_IP_MASK | sys::HL_RX_L4_MASK);
        let flags = &mut self.mbuf_mut().ol_flags;
        *flags &= !mask;
        *flags |= match what {
            RxChecksum::Unknown => 0,
            RxChecksum::Good => u64::from(sys::HL_RX_L4_MASK & !sys::HL_RX_L4_BAD),
            RxChecksum::Bad => u64::from(sys::HL_RX_L4_BAD),
        };
    }

    #[inline]
    fn tx_checksum(&self) -> TxChecksum {
        let mbuf = self.mbuf();
        if mbuf.ol_flags & sys::HL_TX_L4_MASK == 0 {
            return TxChecksum::Complete;
        }
        TxChecksum::Fill {
            start: (mbuf.fill >> 16) as u16,
            offset: mbuf.fill as u16,
        }
    }

    /// The shim derives the other fields that the driver needs from the frame when the burst is sent.
    #[inline]
    fn set_tx_checksum(&mut self, what: TxChecksum) {
        /// The offset of the checksum in the UDP header; in the TCP header it is 16.
        const UDP_OFFSET: u16 = 6;
        let mbuf = self.mbuf_mut();
        mbuf.ol_flags &= !sys::HL_TX_L4_MASK;
        if let TxChecksum::Fill { start, offset } = what {
            LOCAL.with(|local| local.to_fill.set(true));
            mbuf.fill = u32::from(start) << 16 | u32::from(offset);
            mbuf.ol_flags |= match offset {
                UDP_OFFSET => sys::HL_TX_UDP,
                _ => sys::HL_TX_TCP,
            };
        }
    }
}

impl Drop for MbufFrame {
    #[inline]
    fn drop(&mut self) {
        LOCAL.with(|local| local.collect(self.mbuf.as_ptr()));
    }
}

impl fmt::Debug for MbufFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MbufFrame({} bytes at {:p})", self.len(), self.mbuf)
    }
}

/// The number of frames that the application holds: received or allocated, and neither sent nor returned. A thread adds its number
/// when it drops a queue, so the total is exact when no queue is in use.
static HELD: AtomicI64 = AtomicI64::new(0);

/// The number of frames of all ports that the application holds; exact when no queue is in use.
pub(crate) fn held() -> usize {
    usize::try_from(HELD.load(Ordering::Relaxed)).unwrap_or(0)
}

/// Counts frames that were received without a [`Queue`](crate::Queue).
pub(crate) fn count_received(frames: u64) {
    HELD.fetch_add(frames as i64, Ordering::Relaxed);
}

/// The state of a thread: the frames that it has dropped since the last burst, and the number of its queues.
struct Local {
    /// The first `collected` are mbufs to be returned.
    frames: [Cell<*mut hl_mbuf>; COLLECTED],
    collected: Cell<usize>,
    /// The number of frames returned and not yet subtracted from `HELD`.
    returned: Cell<u64>,
    queues: Cell<usize>,
    /// Whether any frame has requested a checksum. On a port with that offload nearly all frames do, on others none does.
    to_fill: Cell<bool>,
    /// Whether this crate registered the thread with DPDK.
    registered: Cell<bool>,
}

thread_local! {
    // `Local` has no destructor, because a frame may be dropped at any time, even while the thread ends.
    static LOCAL: Local = const {
        Local {
            frames: [const { Cell::new(ptr::null_mut()) }; COLLECTED],
            collected: Cell::new(0),
            returned: Cell::new(0),
            queues: Cell::new(0),
            to_fill: Cell::new(false),
            registered: Cell::new(false),
        }
    };
}

impl Local {
    #[inline]
    fn collect(&self, mbuf: *mut hl_mbuf) {
        let at = self.collected.get();
        // In bounds, because a full list is flushed.
        self.frames[at].set(mbuf);
        self.collected.set(at + 1);
        if at + 1 == COLLECTED || self.queues.get() == 0 {
            self.flush();
        }
    }

    #[cold]
    fn flush(&self) {
        let count = self.collected.replace(0);
        if count > 0 {
            // SAFETY: a frame that has been dropped owned each of the first `count` mbufs, so each is returned once. The call reads
            // the pointers before it returns.
            unsafe { sys::hl_free_bulk(self.frames.as_ptr().cast_mut().cast(), count as u16) };
            self.returned.set(self.returned.get() + count as u64);
        }
        if self.queues.get() == 0 {
            self.settle();
        }
    }

    /// Subtracts the returned frames from `HELD`.
    fn settle(&self) {
        HELD.fetch_sub(self.returned.replace(0) as i64, Ordering::Relaxed);
    }
}

/// Returns the frames that this thread has dropped to their pools. Called once for each burst.
#[inline]
pub(crate) fn flush() {
    LOCAL.with(|local| {
        if local.collected.get() > 0 {
            local.flush();
        }
    });
}

/// Whether a frame of this thread may request a checksum; if not, sending need not check each frame. Only
/// [`Frame::set_tx_checksum`] makes a frame request one, on the frame's own thread: the shim clears the request of received frames.
#[inline]
pub(crate) fn any_to_fill() -> bool {
    LOCAL.with(|local| local.to_fill.get())
}

/// The number of frames that this thread has dropped and not returned.
pub(crate) fn collected() -> usize {
    LOCAL.with(|local| local.collected.get())
}

/// Adds a queue to this thread. The first one registers the thread with DPDK.
pub(crate) fn add_queue() -> Result<(), Errno> {
    LOCAL.with(|local| {
        if local.queues.get() == 0 {
            // SAFETY: EAL runs, because the caller has a port.
            match unsafe { sys::hl_thread_register() } {
                0 => local.registered.set(true),
                1 => local.registered.set(false),
                code => return Err(Errno::new(code)),
            }
        }
        local.queues.set(local.queues.get() + 1);
        Ok(())
    })
}

/// Removes a queue from this thread. The queue received or allocated `kept` more frames than it sent. The last one unregisters the
/// thread from DPDK.
pub(crate) fn remove_queue(kept: u64) {
    HELD.fetch_add(kept as i64, Ordering::Relaxed);
    LOCAL.with(|local| {
        local.flush();
        local.queues.set(local.queues.get() - 1);
        if local.queues.get() == 0 {
            local.settle();
        }
        if local.queues.get() == 0 && local.registered.replace(false) {
            // SAFETY: `add_queue` registered this thread, and EAL still runs.
            unsafe { sys::hl_thread_unregister() };
        }
    });
}
