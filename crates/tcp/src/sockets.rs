//! The sockets, by slot, and their rings. All unsafe code of this crate is here.
//!
//! A slot holds at most one socket, in a `SocketStorage` of smoltcp. Each use makes a `SocketSet` of that one storage, which costs
//! nothing. The rings of slot `i` are the `i`-th part of one region that is mapped but not touched.
//!
//! The compiler cannot check three invariants:
//! * A storage is kept as `SocketStorage<'static>`, because its socket borrows rings that live as long as the region. A set
//!   needs the storage with the lifetime of the borrow. Both have the same layout. Closures that work for any lifetime can
//!   neither keep a part of the set nor put anything with a shorter lifetime into it.
//! * The rings of a slot are borrowed only by the socket in that slot, and only made while the slot is empty. The sockets are
//!   dropped before the region.
//! * The memory of empty rings is given back to the system, although a socket holds them. That changes their bytes to zero, outside
//!   of what the compiler sees. It is sound because the same could be written in Rust: [`Sockets::give_back`] borrows all sockets
//!   mutably, so it could set each byte of their rings to zero through the very references that the sockets hold, and no other
//!   reference to a ring exists then, since the slices that are lent ([`Sockets::readable`], [`Sockets::send_space`]) borrow
//!   `Sockets`. The system call has exactly this effect. It is a call of unknown code, which may reach the sockets, so the compiler
//!   keeps no byte of a ring in a register across it. And the bytes of an empty ring mean nothing: smoltcp reads only bytes that
//!   were written after they were freed.

use std::cell::RefCell;
use std::io;
use std::mem;
use std::ops::Range;
use std::slice;

use hioload_mem::{Arena, ArenaOptions};
use smoltcp::iface::{SocketSet, SocketStorage};
use smoltcp::socket::AnySocket;
use smoltcp::socket::tcp::{Socket, SocketBuffer};

/// The sockets of all slots.
pub(crate) struct Sockets {
    /// Dropped first, because the sockets borrow from `region`. It is a cell because smoltcp cannot read a socket through a
    /// shared reference to its storage.
    storages: RefCell<Vec<SocketStorage<'static>>>,
    region: Arena,
    /// Bytes of address space for each ring.
    rx_ring: usize,
    tx_ring: usize,
    /// Bytes of the receive ring that are used.
    rx_used: usize,
}

/// A set of the storage of one slot.
fn set_of<'a>(storages: &'a mut [SocketStorage<'static>], slot: u32) -> Option<SocketSet<'a>> {
    let slot = slot as usize;
    let one: &'a mut [SocketStorage<'static>] = storages.get_mut(slot..slot + 1)?;
    // SAFETY: only a lifetime parameter changes, which does not affect the layout. References that are read as `'a` live longer
    // than `'a`. References that are written must be `'static`: the callers of this function pass the set to closures that work
    // for any `'a`, which can only write references from the set itself or `'static` ones.
    let one: &'a mut [SocketStorage<'a>] = unsafe {
        mem::transmute::<&'a mut [SocketStorage<'static>], &'a mut [SocketStorage<'a>]>(one)
    };
    Some(SocketSet::new(one))
}

impl Sockets {
    /// Reserves `slots` sockets with rings of these sizes. No page is touched.
    pub(crate) fn new(slots: usize, rx_ring: usize, tx_ring: usize) -> io::Result<Self> {
        let bytes = slots.checked_mul(rx_ring + tx_ring);
        let bytes = bytes.ok_or(io::ErrorKind::InvalidInput)?;
        let region = Arena::new(&ArenaOptions::new(bytes))?;
        let mut storages = Vec::new();
        storages
            .try_reserve_exact(slots)
            .map_err(|_| io::ErrorKind::OutOfMemory)?;
        hioload_mem::prefer_huge_pages(storages.as_ptr(), storages.capacity());
        Ok(Self {
            storages: RefCell::new(storages),
            region,
            rx_ring,
            tx_ring,
            // smoltcp treats the window in its SYN, which is never scaled, as a scaled one until the first acknowledgement. With
            // rings of 64 KiB it accepts twice the ring. One byte less makes the scale smaller by one, and the accepted bytes
            // fit.
            rx_used: rx_ring - usize::from(rx_ring >= 1 << 16),
        })
    }

    /// Makes a socket in an empty slot. Slots are first used in ascending order. Returns whether the slot could be used.
    pub(crate) fn open(&mut self, slot: u32, set_up: impl for<'a> FnOnce(&mut Socket<'a>)) -> bool {
        let rings = self.ring_range(slot);
        let storages = self.storages.get_mut();
        if slot as usize == storages.len() && storages.len() < storages.capacity() {
            storages.push(SocketStorage::EMPTY);
        }
        let Some(mut set) = set_of(storages, slot) else {
            return false;
        };
        if set.iter().next().is_some() || rings.end > self.region.len() {
            debug_assert!(false, "slot {slot} is in use");
            return false;
        }
        // SAFETY: the ranges lie within the region (checked above), which is initialised and outlives the sockets (by the order
        // of the fields). There is no other borrow of them: the slot is empty, its rings belong only to its socket, and sockets
        // do not leave this module. `give_back`, `readable` and `send_space` explain their own accesses.
        let (rx, tx): (&'static mut [u8], &'static mut [u8]) = unsafe {
            let start = self.region.base().as_ptr().add(rings.start);
            (
                slice::from_raw_parts_mut(start, self.rx_used),
                slice::from_raw_parts_mut(start.add(self.rx_ring), self.tx_ring),
            )
        };
        let mut socket = Socket::new(SocketBuffer::new(rx), SocketBuffer::new(tx));
        set_up(&mut socket);
        set.add(socket);
        true
    }

    /// Drops the slot's socket, if there is one.
    pub(crate) fn close(&mut self, slot: u32) {
        if let Some(storage) = self.storages.get_mut().get_mut(slot as usize) {
            *storage = SocketStorage::EMPTY;
        }
    }

    /// Lends the slot's socket set.
    #[inline]
    pub(crate) fn with_set<R>(
        &mut self,
        slot: u32,
        f: impl for<'a> FnOnce(&mut SocketSet<'a>) -> R,
    ) -> Option<R> {
        set_of(self.storages.get_mut(), slot).map(|mut set| f(&mut set))
    }

    /// Lends the slot's socket.
    #[inline]
    pub(crate) fn with_mut<R>(
        &mut self,
        slot: u32,
        f: impl for<'a> FnOnce(&mut Socket<'a>) -> R,
    ) -> Option<R> {
        self.with_set(slot, |set| tcp_mut(set).map(f)).flatten()
    }

    /// Lends the slot's socket for reading.
    #[inline]
    pub(crate) fn with<R>(&self, slot: u32, f: impl for<'a> FnOnce(&Socket<'a>) -> R) -> Option<R> {
        let mut storages = self.storages.try_borrow_mut().ok()?;
        let set = set_of(&mut storages, slot)?;
        let socket = set.iter().next()?.1;
        Socket::downcast(socket).map(f)
    }

    /// The received bytes that are contiguous in the ring, from the first on.
    #[inline]
    pub(crate) fn readable(&mut self, slot: u32) -> &mut [u8] {
        let lent = self.with_mut(slot, |socket| {
            socket.recv(|bytes| (0, (bytes.as_mut_ptr(), bytes.len())))
        });
        match lent {
            // SAFETY: the slice is a part of the slot's receive ring. The socket that borrows the ring is reached only through
            // `self`, which is borrowed for as long as the slice.
            Some(Ok((start, len))) => unsafe { slice::from_raw_parts_mut(start, len) },
            _ => &mut [],
        }
    }

    /// The contiguous free space of the send ring for the next bytes.
    #[inline]
    pub(crate) fn send_space(&mut self, slot: u32) -> &mut [u8] {
        let lent = self.with_mut(slot, |socket| {
            socket.send(|bytes| (0, (bytes.as_mut_ptr(), bytes.len())))
        });
        match lent {
            // SAFETY: as in `readable`, of the send ring.
            Some(Ok((start, len))) => unsafe { slice::from_raw_parts_mut(start, len) },
            _ => &mut [],
        }
    }

    /// The place in the slot's send ring where the next byte goes; an empty ring begins at 0. `None` if the socket does not send.
    #[inline]
    pub(crate) fn tx_next(&self, slot: u32) -> Option<usize> {
        let mut storages = self.storages.try_borrow_mut().ok()?;
        let mut set = set_of(&mut storages, slot)?;
        let at = tcp_mut(&mut set)?.send(|bytes| (0, bytes.as_ptr().addr()));
        let ring = self.region.base().as_ptr().addr() + self.ring_range(slot).start + self.rx_ring;
        at.ok()?.checked_sub(ring)
    }

    /// The range of the slot's rings in the region.
    fn ring_range(&self, slot: u32) -> Range<usize> {
        let each = self.rx_ring + self.tx_ring;
        let start = slot as usize * each;
        start..start + each
    }

    /// Gives the memory of the rings of these slots back to the system. The rings must be empty: a socket then reads only bytes
    /// that are written afterwards. A ring that is not empty would lose its bytes, which is wrong but not undefined: they read as
    /// zero. The module explains why this is sound while sockets hold the rings.
    pub(crate) fn give_back(&mut self, slots: Range<u32>) -> bool {
        let start = self.ring_range(slots.start).start;
        let end = self.ring_range(slots.end).start;
        self.region.give_back(start..end)
    }

    /// The pages of all rings that are resident, as the kernel says.
    #[cfg(all(test, target_os = "linux"))]
    pub(crate) fn resident_pages(&self) -> u64 {
        use std::os::unix::fs::FileExt;
        const PAGE: usize = 4096;
        let map = std::fs::File::open("/proc/self/pagemap").expect("pagemap(5)");
        let first = self.region.base().as_ptr().addr() / PAGE;
        let mut entries = vec![0; self.region.len() / PAGE * 8];
        map.read_exact_at(&mut entries, first as u64 * 8)
            .expect("an entry for each page");
        // The highest bit of an entry is that the page is present, and the next one that it is swapped.
        let resident = entries.chunks(8).filter(|entry| entry[7] & 0xc0 != 0);
        resident.count() as u64
    }

    /// Prefetches the socket.
    #[inline]
    pub(crate) fn prefetch(&mut self, slot: u32) {
        let storages = self.storages.get_mut();
        hioload_mem::prefetch::item(storages.as_ptr().wrapping_add(slot as usize));
    }

    /// Prefetches the first cache lines of the send ring: an empty ring is filled from its first byte on.
    #[inline]
    pub(crate) fn prefetch_tx(&self, slot: u32) {
        let tx = self.ring_range(slot).start + self.rx_ring;
        hioload_mem::prefetch::lines(self.region.base().as_ptr().wrapping_add(tx), 2);
    }

    /// Prefetches the cache lines of the receive ring that are written next. The socket has to be in the cache.
    #[inline]
    pub(crate) fn prefetch_rx(&mut self, slot: u32) {
        let at = self.with_mut(slot, |socket| socket.recv(|bytes| (0, bytes.as_ptr())));
        if let Some(Ok(at)) = at {
            hioload_mem::prefetch::lines(at, 2);
        }
    }
}

/// The socket of a set of one.
#[inline]
pub(crate) fn tcp_mut<'s, 'a>(set: &'s mut SocketSet<'a>) -> Option<&'s mut Socket<'a>> {
    let (_, socket) = set.iter_mut().next()?;
    Socket::downcast_mut(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_of_a_syn_fits_into_the_ring_even_if_scaled() {
        for bits in 12..=20 {
            let sockets = Sockets::new(1, 1 << bits, 1 << 12).expect("memory");
            let used = sockets.rx_used;
            // The scale that smoltcp computes.
            let scale = (usize::BITS - used.leading_zeros()).saturating_sub(16);
            assert!(used.min(0xffff) << scale <= used, "{bits}");
        }
    }

    #[test]
    fn a_slot_has_one_socket_and_its_own_rings() {
        let mut sockets = Sockets::new(3, 1 << 16, 1 << 12).expect("memory");
        assert!(sockets.open(0, |_| ()));
        assert!(sockets.open(1, |socket| socket.set_nagle_enabled(false)));
        assert!(!sockets.open(9, |_| ()), "no such slot");
        assert_eq!(
            sockets.with(1, |socket| socket.nagle_enabled()),
            Some(false)
        );
        assert_eq!(sockets.with(0, |socket| socket.nagle_enabled()), Some(true));
        assert_eq!(
            sockets.with(0, |socket| socket.recv_capacity()),
            Some((1 << 16) - 1)
        );
        assert_eq!(
            sockets.with(0, |socket| socket.send_capacity()),
            Some(1 << 12)
        );
        assert!(sockets.readable(0).is_empty());
        assert!(sockets.send_space(0).is_empty(), "not connected");
        sockets.close(0);
        assert_eq!(sockets.with(0, |socket| socket.state()), None);
        assert!(sockets.open(0, |_| ()));
        sockets.give_back(0..2);
    }
}
