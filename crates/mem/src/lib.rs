//! Memory that an lcore owns: arenas, pools of fixed-size buffers, and shared payloads.
//!
//! * [`Arena`]: one zeroed region. On Linux it is a private mapping whose untouched pages cost nothing, on huge pages and on a
//!   NUMA node where the system has them. [`Arena::backing`] and [`Arena::node`] return the pages and the node that the system provided.
//! * [`Pool`] and [`Buf`]: buffers of one size cut from an arena. Get and put are O(1), last in first out, and neither
//!   allocates, locks, nor uses an atomic. A `Buf` has one owner and returns to its pool when dropped.
//! * [`Shared`] and [`LocalShared`]: an encoded message that many connections send. A `Shared` crosses lcores. A
//!   `LocalShared` is cloned within one lcore, which costs no atomic.
//! * [`frames`]: packet buffers that move between lcores, devices and the kernel by ownership.
//! * [`heap`]: how the C library keeps memory that was freed.
//! * [`prefetch`]: hints to the caches.
//!
//! `unsafe` is in five modules: `arena` (the mapping), `pool` and `frames` (handing out disjoint pieces of it), `heap` (a call of the
//! C library), and `prefetch` (an instruction that Rust has only as an unsafe intrinsic).

#![deny(unsafe_code)]

#[allow(unsafe_code)]
mod arena;
#[allow(unsafe_code)]
pub mod frames;
#[allow(unsafe_code)]
pub mod heap;
#[allow(unsafe_code)]
mod pool;
#[allow(unsafe_code)]
pub mod prefetch;
mod shared;

pub use arena::{
    Arena, ArenaOptions, Backing, HugePages, UnknownHugePages, prefer_huge_pages, room_for,
};
pub use pool::{Buf, Pool, PoolOptions, PoolStats};
pub use shared::{Held, LocalShared, Shared};

/// Alignment of every buffer, in bytes: a cache line.
pub const ALIGN: usize = 64;
