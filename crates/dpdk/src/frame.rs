//! A frame that is an mbuf, and the thread's list of frames to give back.
//!
//! A [`MbufFrame`] is one pointer. It owns its mbuf: one segment, reference count one (`dpdk-shim` makes every received frame
//! so), hence nobody else reads or writes its data while it lives. Its pool outlives it: a pool is freed only when none of its
//! mbufs is out (`pool.rs`). It stays on the thread that received or made it, which is the one that gives it back.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicI64, Ordering};
use std::{fmt, slice};

use hioload_device::{Frame, RxChecksum, TxChecksum};
use hioload_dpdk_sys as sys;
use sys::hl_mbuf;

/// Frames a thread collects before it gives them back, if no burst comes first.
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
        // SAFETY: the frame owns the mbuf, which is alive as long as its pool is, which outlives the frame.
        unsafe { self.mbuf.as_ref() }
    }

    #[inline]
    fn mbuf_mut(&mut self) -> &mut hl_mbuf {
        // SAFETY: as in `mbuf`, and `&mut self` on the only owner makes the reference unique.
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
        // SAFETY: `data_off + data_len` is at most `buf_len` (DPDK keeps it so, and so does `set_bounds`); the buffer is
        // memory that EAL mapped, hence initialised, and is this mbuf's alone.
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
        // SAFETY: as in `bytes`, and `&mut self` on the only owner makes the reference unique.
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

    /// A checksum that was left out because the sender is in this machine (virtio) is as good as a good one. A bad IPv4 header
    /// is bad; one that the device did not look at is not held against the rest.
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

    /// What the driver is to know beyond this, the shim reads from the frame when the burst is sent.
    #[inline]
    fn set_tx_checksum(&mut self, what: TxChecksum) {
        /// Where UDP has its checksum; TCP has it at 16.
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
        LOCAL.with(|local| local.give_back(self.mbuf.as_ptr()));
    }
}

impl fmt::Debug for MbufFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MbufFrame({} bytes at {:p})", self.len(), self.mbuf)
    }
}

/// Frames that queues have got and not sent, less those given back: what is in somebody's hands. Threads add theirs when they
/// end, so it is exact when no queue is in use.
static IN_HAND: AtomicI64 = AtomicI64::new(0);

/// Frames in somebody's hands, of all ports; to be asked when no queue is in use.
pub(crate) fn in_hand() -> usize {
    usize::try_from(IN_HAND.load(Ordering::Relaxed)).unwrap_or(0)
}

/// These have come by no queue of this thread.
pub(crate) fn also_came(frames: u64) {
    IN_HAND.fetch_add(frames as i64, Ordering::Relaxed);
}

/// What a thread has of DPDK: the frames it has dropped since the last burst, and how many queues.
struct Local {
    /// The first `collected` are mbufs to be given back.
    frames: [Cell<*mut hl_mbuf>; COLLECTED],
    collected: Cell<usize>,
    /// Given back since the thread had its first queue.
    given_back: Cell<u64>,
    queues: Cell<usize>,
    /// Whether a frame was ever asked to have a checksum filled in: on a port that does so nearly all are, on others none is.
    to_fill: Cell<bool>,
    /// Whether it was us who made the thread known to DPDK.
    registered: Cell<bool>,
}

thread_local! {
    // Without a destructor: a frame may be dropped at any time, even while the thread ends.
    static LOCAL: Local = const {
        Local {
            frames: [const { Cell::new(ptr::null_mut()) }; COLLECTED],
            collected: Cell::new(0),
            given_back: Cell::new(0),
            queues: Cell::new(0),
            to_fill: Cell::new(false),
            registered: Cell::new(false),
        }
    };
}

impl Local {
    #[inline]
    fn give_back(&self, mbuf: *mut hl_mbuf) {
        let at = self.collected.get();
        // In bounds: the list is emptied when it is full.
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
            // SAFETY: each of the first `count` was owned by a frame that has been dropped, so it is given back once; the
            // pointers are read before the call returns.
            unsafe { sys::hl_free_bulk(self.frames.as_ptr().cast_mut().cast(), count as u16) };
            self.given_back.set(self.given_back.get() + count as u64);
        }
        if self.queues.get() == 0 {
            self.settle();
        }
    }

    /// Tells everybody what was given back.
    fn settle(&self) {
        IN_HAND.fetch_sub(self.given_back.replace(0) as i64, Ordering::Relaxed);
    }
}

/// Gives back what was dropped on this thread: called once per burst.
#[inline]
pub(crate) fn flush() {
    LOCAL.with(|local| {
        if local.collected.get() > 0 {
            local.flush();
        }
    });
}

/// Whether a frame of this thread may want a checksum: while none was asked to, nobody need look. Frames have it from
/// [`Frame::set_tx_checksum`] alone, on this thread, which they never leave: the shim gives none that wants one.
#[inline]
pub(crate) fn any_to_fill() -> bool {
    LOCAL.with(|local| local.to_fill.get())
}

/// Frames dropped on this thread and not yet given back.
pub(crate) fn collected() -> usize {
    LOCAL.with(|local| local.collected.get())
}

/// A queue belongs to this thread from now on. The first makes the thread known to DPDK.
///
/// # Errors
/// A negative errno.
pub(crate) fn queue_comes() -> Result<(), i32> {
    LOCAL.with(|local| {
        if local.queues.get() == 0 {
            // SAFETY: EAL runs: whoever calls has a port.
            match unsafe { sys::hl_thread_register() } {
                0 => local.registered.set(true),
                1 => local.registered.set(false),
                error => return Err(error),
            }
        }
        local.queues.set(local.queues.get() + 1);
        Ok(())
    })
}

/// A queue of this thread is gone, that got so many frames and did not send them. With the last, DPDK forgets the thread.
pub(crate) fn queue_goes(kept: u64) {
    IN_HAND.fetch_add(kept as i64, Ordering::Relaxed);
    LOCAL.with(|local| {
        local.flush();
        local.queues.set(local.queues.get() - 1);
        if local.queues.get() == 0 {
            local.settle();
        }
        if local.queues.get() == 0 && local.registered.replace(false) {
            // SAFETY: it was registered by `queue_comes`, on this thread, and EAL still runs.
            unsafe { sys::hl_thread_unregister() };
        }
    });
}
