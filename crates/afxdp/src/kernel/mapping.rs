//! The memory of a ring, which the kernel made and shares: three words and the slots, all of them atomics.

use std::ffi::c_void;
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::net::xdp::XdpRingOffset;

/// A slot of the fill and the completion ring: an address in the UMEM.
pub(crate) type AddressSlot = AtomicU64;

/// A slot of the receive and the transmit ring (`struct xdp_desc`).
#[repr(C)]
pub(crate) struct DescriptorSlot {
    /// An address in the UMEM.
    pub address: AtomicU64,
    /// Bytes.
    pub len: AtomicU32,
    /// `XDP_PKT_CONTD`, `XDP_TX_METADATA`.
    pub options: AtomicU32,
}

const _: () = assert!(size_of::<DescriptorSlot>() == 16);

/// What may be a slot of a ring.
///
/// # Safety
/// All of it must be atomics, and any bytes a value.
pub(crate) unsafe trait Slot {}
// SAFETY: an atomic, of which any eight bytes are a value.
unsafe impl Slot for AddressSlot {}
// SAFETY: three atomics without padding.
unsafe impl Slot for DescriptorSlot {}

/// A ring's memory.
pub(crate) struct Mapping<S> {
    start: NonNull<c_void>,
    len: usize,
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    slots: NonNull<S>,
    mask: u32,
}

// SAFETY: the mapping belongs to the process, not to a thread; what is in it is only reached as atomics.
unsafe impl<S: Send> Send for Mapping<S> {}

impl<S: Slot> Mapping<S> {
    /// Maps a ring of `size` slots, a power of two, that was made on `socket`.
    pub(crate) fn new(
        socket: BorrowedFd<'_>,
        size: u32,
        page_offset: u64,
        at: &XdpRingOffset,
    ) -> io::Result<Self> {
        let flags_at = at.flags.ok_or(io::ErrorKind::Unsupported)?;
        let slots_end = at.desc as usize + size as usize * size_of::<S>();
        let words_end = at.producer.max(at.consumer).max(flags_at) as usize + 4;
        let len = slots_end.max(words_end);
        assert!(size.is_power_of_two());
        // SAFETY: a new mapping at a place the kernel chooses touches nothing that exists. The kernel refuses it unless
        // the ring is as large as `len`. MAP_POPULATE: no page fault later.
        let start = unsafe {
            mmap(
                ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::POPULATE,
                socket,
                page_offset,
            )
        }?;
        let start = NonNull::new(start).ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: all four offsets are within the mapping (`len` was computed from them) and aligned for what is there:
        // they are the kernel's own, of its `struct xdp_ring`.
        unsafe {
            Ok(Self {
                start,
                len,
                producer: start.byte_add(at.producer as usize).cast(),
                consumer: start.byte_add(at.consumer as usize).cast(),
                flags: start.byte_add(flags_at as usize).cast(),
                slots: start.byte_add(at.desc as usize).cast(),
                mask: size - 1,
            })
        }
    }

    /// The producer's count of slots filled.
    #[inline]
    pub(crate) fn producer(&self) -> &AtomicU32 {
        // SAFETY: within the mapping, which lives as long as `self`; an atomic, of which any bytes are a value.
        unsafe { self.producer.as_ref() }
    }

    /// The consumer's count of slots emptied.
    #[inline]
    pub(crate) fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as in `producer`.
        unsafe { self.consumer.as_ref() }
    }

    /// What the kernel asks for (`XDP_RING_NEED_WAKEUP`).
    #[inline]
    pub(crate) fn flags(&self) -> &AtomicU32 {
        // SAFETY: as in `producer`.
        unsafe { self.flags.as_ref() }
    }

    /// The slot of a count.
    #[inline]
    pub(crate) fn slot(&self, count: u32) -> &S {
        // SAFETY: the masked count is less than the number of slots, all of which are in the mapping; the rest as in
        // `producer`, by the contract of `Slot`.
        unsafe { self.slots.add((count & self.mask) as usize).as_ref() }
    }

    /// Slots.
    pub(crate) fn size(&self) -> u32 {
        self.mask + 1
    }
}

impl<S> Drop for Mapping<S> {
    fn drop(&mut self) {
        // SAFETY: the whole mapping, once; no reference into it outlives `self`. Failing is not possible with its own
        // address and length, and nothing could be done.
        let _ = unsafe { munmap(self.start.as_ptr(), self.len) };
    }
}
