//! Rings of one producer and one consumer, one of which is the kernel.
//!
//! A ring's two counts run on and on; their difference is what is in it. Whoever owns a count publishes it with a release
//! store after it has written (producer) or read (consumer) the slots, and reads the other's with an acquire load before it
//! reads or overwrites them. The kernel's halves of these pairs are the `smp_store_release` and `smp_load_acquire` of
//! `net/xdp/xsk_queue.h`. The slots need no order of their own.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::kernel::mapping::{AddressSlot, DescriptorSlot, Mapping, Slot};

const NEED_WAKEUP: u32 = libc::XDP_RING_NEED_WAKEUP;

/// One packet, or a part of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Descriptor {
    /// An address in the UMEM.
    pub address: u64,
    /// Bytes.
    pub len: u32,
    /// `XDP_PKT_CONTD`, `XDP_TX_METADATA`.
    pub options: u32,
}

/// How a value lies in a slot.
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

/// A ring we fill: FILL and TX.
pub(crate) struct Producer<S> {
    mapping: Mapping<S>,
    /// Slots written, published or not.
    written: u32,
    /// The kernel's count when last looked at.
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

    /// Free slots, `wanted` at least if there are so many. Looks at the kernel's count only if it must.
    #[inline]
    pub(crate) fn free(&mut self, wanted: u32) -> u32 {
        let free = self.mapping.size() - self.written.wrapping_sub(self.emptied);
        if free >= wanted {
            return free;
        }
        self.mapping.size() - self.unread()
    }

    /// Slots the kernel has not emptied.
    #[inline]
    pub(crate) fn unread(&mut self) -> u32 {
        // Pairs with the kernel's release store of the consumer's count: it has read the slots that we overwrite.
        self.emptied = self.mapping.consumer().load(Acquire);
        self.written.wrapping_sub(self.emptied)
    }

    /// Writes the next slot. There must be a free one.
    #[inline]
    pub(crate) fn put<V>(&mut self, value: V)
    where
        S: Store<V>,
    {
        debug_assert!(self.written.wrapping_sub(self.emptied) < self.mapping.size());
        self.mapping.slot(self.written).put(value);
        self.written = self.written.wrapping_add(1);
    }

    /// Lets the kernel see what was written.
    #[inline]
    pub(crate) fn publish(&self) {
        // Pairs with the kernel's acquire load of the producer's count: it sees the slots, and the frames they name.
        self.mapping.producer().store(self.written, Release);
    }

    /// Whether the kernel wants a system call to go on.
    #[inline]
    pub(crate) fn needs_wakeup(&self) -> bool {
        // Only advice; the slots were published before, and the kernel looks at them again after it has set the flag.
        self.mapping.flags().load(Relaxed) & NEED_WAKEUP != 0
    }
}

/// A ring the kernel fills: RX and COMPLETION.
pub(crate) struct Consumer<S> {
    mapping: Mapping<S>,
    /// Slots read, given back or not.
    read: u32,
    /// The kernel's count when last looked at.
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

    /// Slots to be read, `wanted` at least if there are so many. Looks at the kernel's count only if it must.
    #[inline]
    pub(crate) fn available(&mut self, wanted: u32) -> u32 {
        if self.filled.wrapping_sub(self.read) < wanted {
            // Pairs with the kernel's release store of the producer's count: we see the slots it wrote, and the frames.
            self.filled = self.mapping.producer().load(Acquire);
        }
        self.filled.wrapping_sub(self.read)
    }

    /// Reads the next slot. One must be available.
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

    /// Gives the slots read back to the kernel.
    #[inline]
    pub(crate) fn release(&self) {
        // Pairs with the kernel's acquire load of the consumer's count: we are done with the slots it overwrites.
        self.mapping.consumer().store(self.read, Release);
    }
}
