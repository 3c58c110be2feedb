//! Mempools, and who outlives whom.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use hioload_dpdk_sys as sys;

use crate::{Eal, raw};

/// Whether a pool had to be left behind because frames of it were in use: then EAL must not be cleaned up.
static LOST: AtomicBool = AtomicBool::new(false);

pub(crate) fn any_lost() -> bool {
    LOST.load(Ordering::Acquire)
}

/// Names of pools are the process's: they get a number each.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// What a pool is to have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PoolSize {
    /// Frames, one less than a power of two for best use of memory.
    pub(crate) frames: u32,
    /// Frames that each thread keeps for itself.
    pub(crate) cache: u32,
    /// Bytes of each, headroom included.
    pub(crate) room: u16,
}

/// One mempool. Not freed by being dropped: see [`Estate`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pool(NonNull<sys::rte_mempool>);

#[allow(unsafe_code)]
// SAFETY: a mempool may be used from any thread; DPDK synchronises it.
unsafe impl Send for Pool {}

#[allow(unsafe_code)]
// SAFETY: as above.
unsafe impl Sync for Pool {}

/// The pools of a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pools {
    /// Buffers that hold a whole frame: fresh ones, and those made of several segments.
    pub(crate) frames: Pool,
    /// Buffers to receive into; the same, unless the port is to receive in segments.
    pub(crate) receive: Pool,
}

impl Pools {
    /// Frames that are not in their pools.
    pub(crate) fn in_use(self) -> usize {
        let segments = if self.receive.0 == self.frames.0 {
            0
        } else {
            self.receive.in_use()
        };
        self.frames.in_use() + segments
    }
}

impl Pool {
    pub(crate) fn raw(self) -> NonNull<sys::rte_mempool> {
        self.0
    }

    pub(crate) fn in_use(self) -> usize {
        raw::pool_in_use(self.0)
    }

    pub(crate) fn size(self) -> usize {
        raw::pool_size(self.0)
    }
}

/// A ring between two ports. Not freed by being dropped either.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ring(NonNull<sys::rte_ring>);

#[allow(unsafe_code)]
// SAFETY: here it is only made a part of ports and freed when those are gone.
unsafe impl Send for Ring {}

#[allow(unsafe_code)]
// SAFETY: as above.
unsafe impl Sync for Ring {}

impl Ring {
    pub(crate) fn raw(self) -> NonNull<sys::rte_ring> {
        self.0
    }
}

/// The memory of a port, or of two that are joined by rings and so have each other's frames: freed together, after the ports.
#[derive(Debug)]
pub(crate) struct Estate {
    pools: Vec<Pool>,
    rings: Vec<Ring>,
    /// Ports made of the rings and not closed yet.
    ring_ports: Vec<u16>,
    /// Outlived by EAL.
    _eal: Eal,
}

impl Estate {
    pub(crate) fn new(eal: &Eal) -> Self {
        Self {
            pools: Vec::new(),
            rings: Vec::new(),
            ring_ports: Vec::new(),
            _eal: eal.clone(),
        }
    }

    /// Makes a pool on the NUMA node `socket`, or where there is memory if that one has none.
    ///
    /// # Errors
    /// Why there is none, as text.
    pub(crate) fn pool(&mut self, size: PoolSize, socket: i32) -> Result<Pool, String> {
        let PoolSize {
            frames,
            cache,
            room,
        } = size;
        let name = format!("hioload_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let made = match raw::pool_create(&name, frames, cache, room, socket) {
            Err(_) if socket >= 0 => {
                tracing::warn!(target: "dpdk", "no memory for frames on NUMA node {socket}; trying the others");
                raw::pool_create(&name, frames, cache, room, -1)
            }
            made => made,
        };
        let pool = made.map(Pool).map_err(raw::error_text)?;
        self.pools.push(pool);
        Ok(pool)
    }

    pub(crate) fn ring(&mut self, name: &str, slots: u32) -> Result<Ring, String> {
        let ring = raw::ring_create(name, slots)
            .map(Ring)
            .map_err(raw::error_text)?;
        self.rings.push(ring);
        Ok(ring)
    }

    /// It has to close this port of rings, unless somebody else does.
    pub(crate) fn owes_close(&mut self, port: u16) {
        self.ring_ports.push(port);
    }

    /// Somebody else closes this port.
    pub(crate) fn closed(&mut self, port: u16) {
        self.ring_ports.retain(|&other| other != port);
    }

    /// Frames of its pools that are not in them: with the driver, in a ring, or in somebody's hands.
    pub(crate) fn in_use(&self) -> usize {
        self.pools.iter().map(|pool| pool.in_use()).sum()
    }

    /// Frames of its pools, wherever they are.
    pub(crate) fn size(&self) -> usize {
        self.pools.iter().map(|pool| pool.size()).sum()
    }

    /// Frees everything; returns how many frames were still in use, whose pools stay.
    pub(crate) fn settle(&mut self) -> usize {
        crate::frame::flush();
        for port in self.ring_ports.drain(..) {
            // Never opened: nothing can be wrong with it.
            let _ = raw::port_close(port, false);
        }
        for ring in self.rings.drain(..) {
            raw::ring_free(ring.0);
        }
        let mut lost = 0;
        for pool in self.pools.drain(..) {
            match pool.in_use() {
                0 => raw::pool_free(pool.raw()),
                count => {
                    LOST.store(true, Ordering::Release);
                    lost += count;
                }
            }
        }
        if lost > 0 {
            tracing::warn!(target: "dpdk", "{lost} frames are still in use after their port: their memory stays");
        }
        lost
    }
}

impl Drop for Estate {
    fn drop(&mut self) {
        self.settle();
    }
}
