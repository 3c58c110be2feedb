//! DPDK ports as [devices](hioload_device::Device): EAL, mempools, ports, and queues whose frames *are* mbufs.
//!
//! ```no_run
//! use hioload_device::{Burst, Device};
//! use hioload_dpdk::{Eal, Port, PortOptions};
//!
//! # fn main() -> Result<(), hioload_dpdk::Error> {
//! let eal = Eal::init(&hioload_dpdk::split_arguments("--no-pci --no-huge -m 256 --vdev=net_ring0")?)?;
//! let (port, mut ends) = Port::open(&eal, &PortOptions::default())?;
//! let lcore = std::thread::spawn(move || {
//!     let mut queue = ends.remove(0).claim()?; // on the thread that is going to use it
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
//! The language border is crossed by the burst: one call receives up to 64 frames straight into the caller's array, one sends
//! from it, one takes 64 fresh frames, one gives back all that were dropped since. In between, a frame is read and written
//! through the first cache line of its mbuf, whose layout `dpdk-shim` asserts.
//!
//! Memory goes back in order: frames to their pool, queues to their port, ports to EAL. A pool with frames still in somebody's
//! hands is never freed, and EAL is then not cleaned up, so that no frame dangles; [`Port::close`] says how many there are.
#![deny(unsafe_code)]

mod arguments;
mod eal;
mod error;
#[allow(unsafe_code)]
mod frame;
mod log;
mod plan;
mod pool;
mod port;
mod queue;
#[allow(unsafe_code)]
mod raw;
mod ring;
mod steering;

pub use arguments::split_arguments;
pub use eal::{Eal, version};
pub use error::Error;
pub use frame::MbufFrame;
pub use plan::{Offloads, RSS_KEY};
pub use port::{Closed, LinkState, Port, PortInfo, PortName, PortOptions, PortStats};
pub use queue::{Queue, QueueEnd};
pub use ring::{RingEnd, ring_pair};
pub use steering::Steering;
