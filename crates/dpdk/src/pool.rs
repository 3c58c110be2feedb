//! Mempools and rings, and the order in which they are freed.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use hioload_dpdk_sys as sys;

use crate::eal::{self, Eal};
use crate::errno::Errno;
use crate::raw;

/// The number in the name of the next pool: the names are unique in the process.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// The dimensions of a pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PoolSize {
    /// The number of frames; one less than a power of two uses the memory best.
    pub(crate) frames: u32,
    /// The number of frames in the cache of each thread.
    pub(crate) cache: u32,
    /// Bytes of each frame, headroom included.
    pub(crate) room: u16,
}

/// A mempool. [`PortMemory`] frees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pool(NonNull<sys::rte_mempool>);

#[allow(unsafe_code)]
// SAFETY: a mempool may be used from any thread; DPDK synchronises the accesses.
unsafe impl Send for Pool {}

#[allow(unsafe_code)]
// SAFETY: as above.
unsafe impl Sync for Pool {}

/// The pools of a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pools {
    /// Buffers that hold a whole frame: for allocation, and for frames that arrive in several segments.
    pub(crate) frames: Pool,
    /// Buffers to receive into; the same pool, unless the port receives in segments.
    pub(crate) receive: Pool,
}

impl Pools {
    /// The number of frames that are not in their pools.
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

/// A ring between two ports. [`PortMemory`] frees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ring(NonNull<sys::rte_ring>);

#[allow(unsafe_code)]
// SAFETY: this crate only passes a ring to the ports that use it, and frees it after they are closed.
unsafe impl Send for Ring {}

#[allow(unsafe_code)]
// SAFETY: as above.
unsafe impl Sync for Ring {}

impl Ring {
    pub(crate) fn raw(self) -> NonNull<sys::rte_ring> {
        self.0
    }
}

/// The memory of a port, or of two ports that are joined by rings and hold frames of each other. It is freed as a whole, after the
/// ports are closed.
#[derive(Debug)]
pub(crate) struct PortMemory {
    pools: Vec<Pool>,
    rings: Vec<Ring>,
    /// The ring ports that are not closed yet.
    ring_ports: Vec<u16>,
    /// Keeps EAL running.
    _eal: Eal,
}

impl PortMemory {
    pub(crate) fn new(eal: &Eal) -> Self {
        Self {
            pools: Vec::new(),
            rings: Vec::new(),
            ring_ports: Vec::new(),
            _eal: eal.clone(),
        }
    }

    /// Creates a pool on the NUMA node `socket`, or on any node if that one has no memory.
    pub(crate) fn pool(&mut self, size: PoolSize, socket: i32) -> Result<Pool, Errno> {
        let PoolSize {
            frames,
            cache,
            room,
        } = size;
        let name = format!("hioload_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let created = match raw::pool_create(&name, frames, cache, room, socket) {
            Err(_) if socket >= 0 => {
                tracing::warn!(
                    target: "dpdk",
                    "no memory for frames on NUMA node {socket}; trying the others"
                );
                raw::pool_create(&name, frames, cache, room, -1)
            }
            created => created,
        };
        let pool = created.map(Pool)?;
        self.pools.push(pool);
        Ok(pool)
    }

    pub(crate) fn ring(&mut self, name: &str, slots: u32) -> Result<Ring, Errno> {
        let ring = raw::ring_create(name, slots).map(Ring)?;
        self.rings.push(ring);
        Ok(ring)
    }

    /// Notes a ring port that must be closed before the rings are freed.
    pub(crate) fn close_later(&mut self, port: u16) {
        self.ring_ports.push(port);
    }

    /// Notes that a port has been closed.
    pub(crate) fn port_closed(&mut self, port: u16) {
        self.ring_ports.retain(|&other| other != port);
    }

    /// The number of frames that are not in their pools: the driver, a ring or the application has them.
    pub(crate) fn in_use(&self) -> usize {
        self.pools.iter().map(|pool| pool.in_use()).sum()
    }

    /// The number of all frames of the pools.
    pub(crate) fn size(&self) -> usize {
        self.pools.iter().map(|pool| pool.size()).sum()
    }

    /// Frees everything except the pools with frames in use. Returns the number of those frames.
    pub(crate) fn free(&mut self) -> usize {
        crate::frame::flush();
        for port in self.ring_ports.drain(..) {
            // The port was never opened, so closing it cannot fail.
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
                    eal::forbid_cleanup();
                    lost += count;
                }
            }
        }
        if lost > 0 {
            tracing::warn!(
                target: "dpdk",
                "{lost} frames are still in use after their port was closed: their memory is not freed"
            );
        }
        lost
    }
}

impl Drop for PortMemory {
    fn drop(&mut self) {
        self.free();
    }
}
