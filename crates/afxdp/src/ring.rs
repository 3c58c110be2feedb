//! Single-producer, single-consumer rings that are shared with the kernel.
//!
//! A ring has two free-running counts; their difference is the number of filled slots. The owner of a count publishes it with a
//! release store after it has written (producer) or read (consumer) the slots, and reads the other count with an acquire load
//! before it reads or overwrites slots. The kernel's halves of these pairs are the `smp_store_release` and `smp_load_acquire` of
//! `net/xdp/xsk_queue.h`. The accesses to slots need no ordering of their own.
//!
//! **Need-wakeup.** The kernel sets a flag of a ring when it stops to look at it, and continues after a system call. Its order is: set
//! the flag, read the producer's count, stop if there is nothing. The owner's order is: publish the count, read the flag, call if it
//! is set. Each side stores first and then loads what the other stores, so each needs a full fence between the two. Otherwise both
//! loads may be satisfied before the stores are visible, also on x86: then the owner misses the flag, the kernel misses the slots,
//! and they wait. liburing has this fence for the same protocol (`io_uring_smp_mb` in `sq_ring_needs_enter`), libxdp does not.
//! - The transmit ring has the fence, once for each burst with frames ([`Producer::needs_wakeup_after_publish`]).
//! - The fill ring has none ([`Producer::needs_wakeup`]): the flag is read again in each empty poll, so a stale value delays the call
//!   by one poll; and before the owner sleeps, poll(2) itself starts a driver that has stopped (`xsk_poll`).
//!
//! Not all drivers have the fence on their side. What is lost then is found at the latest when the owner looks at the ring the next
//! time, since it never sleeps longer than a millisecond while the transmit ring is not empty (`queue.rs`).

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::fence;

use crate::kernel::mapping::{AddressSlot, DescriptorSlot, Mapping, Slot};

const NEED_WAKEUP: u32 = libc::XDP_RING_NEED_WAKEUP;

/// A packet, or a part of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Descriptor {
    /// An address in the UMEM.
    pub address: u64,
    /// Bytes.
    pub len: u32,
    /// `XDP_PKT_CONTD`, `XDP_TX_METADATA`.
    pub options: u32,
}

/// Stores a value in a slot.
pub(crate) trait Store<V> {
    fn put(&self, value: V);
    fn get(&self) -> V;
}

impl Store<u64> for AddressSlot {
    #[inline]
    fn put(&self, value: u64) {
        self.store(value, Relaxed);
    }
    #[inline]
    fn get(&self) -> u64 {
        self.load(Relaxed)
    }
}

impl Store<Descriptor> for DescriptorSlot {
    #[inline]
    fn put(&self, value: Descriptor) {
        self.address.store(value.address, Relaxed);
        self.len.store(value.len, Relaxed);
        self.options.store(value.options, Relaxed);
    }
    #[inline]
    fn get(&self) -> Descriptor {
        Descriptor {
            address: self.address.load(Relaxed),
            len: self.len.load(Relaxed),
            options: self.options.load(Relaxed),
        }
    }
}

/// A ring that this process fills: FILL or TX.
pub(crate) struct Producer<S> {
    mapping: Mapping<S>,
    /// The count of slots written, whether published or not.
    written: u32,
    /// The kernel's count at the last load.
    emptied: u32,
}

impl<S: Slot> Producer<S> {
    pub(crate) fn new(mapping: Mapping<S>) -> Self {
        Self {
            mapping,
            written: 0,
            emptied: 0,
        }
    }

    /// The number of free slots; exact if it is less than `wanted`. Loads the kernel's count only if fewer than `wanted` are known
    /// to be free.
    #[inline]
    pub(crate) fn free(&mut self, wanted: u32) -> u32 {
        let free = self.mapping.size() - self.written.wrapping_sub(self.emptied);
        if free >= wanted {
            return free;
        }
        self.mapping.size() - self.unread()
    }

    /// The number of slots that the kernel has not emptied.
    #[inline]
    pub(crate) fn unread(&mut self) -> u32 {
        // Pairs with the kernel's release store of the consumer's count: the kernel has read the slots that are overwritten next.
        self.emptied = self.mapping.consumer().load(Acquire);
        self.written.wrapping_sub(self.emptied)
    }

    /// Writes the next slot. A slot must be free.
    #[inline]
    pub(crate) fn put<V>(&mut self, value: V)
    where
        S: Store<V>,
    {
        debug_assert!(self.written.wrapping_sub(self.emptied) < self.mapping.size());
        self.mapping.slot(self.written).put(value);
        self.written = self.written.wrapping_add(1);
    }

    /// Publishes the written slots to the kernel.
    #[inline]
    pub(crate) fn publish(&self) {
        // Pairs with the kernel's acquire load of the producer's count: the kernel sees the slots, and the frames that they name.
        self.mapping.producer().store(self.written, Release);
    }

    /// Whether the kernel needs a system call to continue. The value may be stale; see the module.
    #[inline]
    pub(crate) fn needs_wakeup(&self) -> bool {
        self.mapping.flags().load(Relaxed) & NEED_WAKEUP != 0
    }

    /// Whether the kernel needs a system call to see the slots published before.
    #[inline]
    pub(crate) fn needs_wakeup_after_publish(&self) -> bool {
        fence(SeqCst);
        self.needs_wakeup()
    }
}

/// A ring that the kernel fills: RX or COMPLETION.
pub(crate) struct Consumer<S> {
    mapping: Mapping<S>,
    /// The count of slots read, whether released or not.
    read: u32,
    /// The kernel's count at the last load.
    filled: u32,
}

impl<S: Slot> Consumer<S> {
    pub(crate) fn new(mapping: Mapping<S>) -> Self {
        Self {
            mapping,
            read: 0,
            filled: 0,
        }
    }

    /// The number of filled slots; exact if it is less than `wanted`. Loads the kernel's count only if fewer than `wanted` are known
    /// to be filled.
    #[inline]
    pub(crate) fn available(&mut self, wanted: u32) -> u32 {
        if self.filled.wrapping_sub(self.read) < wanted {
            // Pairs with the kernel's release store of the producer's count: its writes to the slots and the frames are visible.
            self.filled = self.mapping.producer().load(Acquire);
        }
        self.filled.wrapping_sub(self.read)
    }

    /// Reads the next slot. A slot must be filled.
    #[inline]
    pub(crate) fn get<V>(&mut self) -> V
    where
        S: Store<V>,
    {
        debug_assert!(self.read != self.filled);
        let value = self.mapping.slot(self.read).get();
        self.read = self.read.wrapping_add(1);
        value
    }

    /// Returns the slots that were read to the kernel.
    #[inline]
    pub(crate) fn release(&self) {
        // Pairs with the kernel's acquire load of the consumer's count: the slots have been read before the kernel overwrites them.
        self.mapping.consumer().store(self.read, Release);
    }
}
