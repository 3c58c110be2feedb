//! Memory that an lcore owns: arenas, pools of fixed-size buffers, and shared payloads.
//!
//! * [`Arena`]: one zeroed region, on Linux a private mapping whose untouched pages cost nothing, on huge pages and
//!   on a NUMA node where that can be had. [`Arena::backing`] and [`Arena::node`] say what was got.
//! * [`Pool`] and [`Buf`]: buffers of one size cut from an arena; get and put are O(1), last in first out, and neither
//!   allocates, locks, nor uses an atomic. A `Buf` is linear: it has one owner and goes back to its pool when dropped.
//! * [`Shared`] and [`LocalShared`]: an encoded message that many connections send. `Shared` crosses lcores; within one
//!   lcore a `LocalShared` is cloned instead, which costs no atomic.
//!
//! * [`frames`]: packet buffers that move between lcores, devices and the kernel by ownership.
//!
//! `unsafe` is in three modules: `arena` (the mapping), `pool` and `frames` (handing out disjoint pieces of it).

#![deny(unsafe_code)]

#[allow(unsafe_code)]
mod arena;
#[allow(unsafe_code)]
pub mod frames;
#[allow(unsafe_code)]
mod pool;
mod shared;

pub use arena::{Arena, ArenaOptions, Backing, HugePages, prefer_huge_pages};
pub use pool::{Buf, Pool, PoolOptions, PoolStats};
pub use shared::{Held, LocalShared, Shared};

/// Alignment of every buffer, in bytes: a cache line.
pub const ALIGN: usize = 64;
