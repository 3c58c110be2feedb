//! DPDK ports as [devices](hioload_device::Device): EAL, mempools, ports, and queues whose frames *are* mbufs.
//!
//! ```no_run
//! use hioload_device::{Burst, Device};
//! use hioload_dpdk::{Eal, Port, PortOptions};
//!
//! # fn main() -> Result<(), hioload_dpdk::Error> {
//! let eal = Eal::init(&hioload_dpdk::split_arguments("--no-pci --no-huge -m 256 --vdev=net_ring0")?)?;
//! let (port, mut queues) = Port::open(&eal, &PortOptions::default())?;
//! let lcore = std::thread::spawn(move || {
//!     let mut queue = queues.remove(0).claim()?; // on the thread that uses the queue
//!     let mut burst = Burst::new();
//!     queue.rx_burst(&mut burst);
//!     queue.tx_burst(&mut burst);
//!     Ok::<_, hioload_dpdk::Error>(())
//! });
//! lcore.join().expect("no panic")?;
//! port.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! Rust calls C once for a burst: one call receives up to 64 frames into the caller's array, one sends from it, one takes 64 empty
//! frames, and one returns all frames that were dropped since. Between these calls, a frame is read and written through the first
//! cache line of its mbuf, whose layout `dpdk-shim` asserts.
//!
//! Frames are returned before their pool is freed, queues are dropped before their port is closed, and ports before EAL is cleaned
//! up. A pool with frames that the application still holds is not freed, and then EAL is not cleaned up, so that no frame dangles;
//! [`Port::close`] returns the number of such frames.
#![deny(unsafe_code)]

mod arguments;
mod eal;
#[allow(unsafe_code)]
mod errno;
mod error;
#[allow(unsafe_code)]
mod frame;
mod info;
mod log;
mod open;
mod options;
mod pool;
mod port;
mod queue;
#[allow(unsafe_code)]
mod raw;
mod registry;
mod ring;
mod setup;
mod steering;

pub use arguments::split_arguments;
pub use eal::{Eal, version};
pub use errno::Errno;
pub use error::Error;
pub use frame::MbufFrame;
pub use hioload_device::Party;
pub use info::{LinkState, PortInfo, PortStats};
pub use options::{PortName, PortOptions};
pub use port::{Closed, Port};
pub use queue::{PendingQueue, Queue};
pub use ring::{RingEnd, ring_pair};
pub use setup::{Offloads, RSS_KEY};
pub use steering::Steering;
