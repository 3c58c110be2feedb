//! The memory of a ring, which the kernel allocates and shares: three words and the slots, accessed only as atomics.

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

/// A type that may be a slot of a ring.
///
/// # Safety
/// The type must consist of atomics, and any bytes must be a valid value.
pub(crate) unsafe trait Slot {}
// SAFETY: an atomic, for which any eight bytes are a valid value.
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

// SAFETY: the mapping belongs to the process, not to a thread, and is accessed only as atomics.
unsafe impl<S: Send> Send for Mapping<S> {}

impl<S: Slot> Mapping<S> {
    /// Maps a ring of `size` slots, a power of two, that `socket` has.
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
        // SAFETY: a new mapping at an address that the kernel chooses overlaps no other memory. The kernel refuses it unless the
        // ring is as large as `len`. MAP_POPULATE avoids page faults later.
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
        // SAFETY: all four offsets are within the mapping (`len` was computed from them) and aligned for their types: the kernel
        // reports them for its `struct xdp_ring`.
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
        // SAFETY: the pointer is within the mapping, which lives as long as `self`, and any bytes are a valid atomic.
        unsafe { self.producer.as_ref() }
    }

    /// The consumer's count of slots emptied.
    #[inline]
    pub(crate) fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as in `producer`.
        unsafe { self.consumer.as_ref() }
    }

    /// The kernel's flags (`XDP_RING_NEED_WAKEUP`).
    #[inline]
    pub(crate) fn flags(&self) -> &AtomicU32 {
        // SAFETY: as in `producer`.
        unsafe { self.flags.as_ref() }
    }

    /// The slot for a count.
    #[inline]
    pub(crate) fn slot(&self, count: u32) -> &S {
        // SAFETY: the masked count is less than the number of slots, all of which are in the mapping. The rest is as in
        // `producer`, by the contract of `Slot`.
        unsafe { self.slots.add((count & self.mask) as usize).as_ref() }
    }

    /// The number of slots.
    pub(crate) fn size(&self) -> u32 {
        self.mask + 1
    }
}

impl<S> Drop for Mapping<S> {
    fn drop(&mut self) {
        // SAFETY: the whole mapping is unmapped once, and no reference into it outlives `self`. The call cannot fail with the
        // address and the length of a mapping.
        let _ = unsafe { munmap(self.start.as_ptr(), self.len) };
    }
}
