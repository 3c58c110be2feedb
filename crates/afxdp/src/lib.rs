//! AF_XDP: queues of a network interface as [`Device`](hioload_device::Device)s.
//!
//! A [`Port`] is an interface with our XDP program on it; each of its queues has a socket whose frames are in memory that the
//! kernel (or the NIC) and one lcore share. To run a stack on it:
//!
//! ```no_run
//! # #[cfg(target_os = "linux")] mod example {
//! use hioload_afxdp::{Port, PortOptions, XdpObject};
//! use hioload_device::{Burst, Device};
//!
//! # fn serve(object: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
//! // The root package embeds what its build script made of ebpf/redirect.bpf.c.
//! let object = XdpObject::new(object);
//! let options = PortOptions::new(object, "eth1", ["10.77.0.2".parse()?]);
//! // The main thread opens the port: everything that can be missing or forbidden comes to light here.
//! let (port, seeds) = Port::open(&options)?;
//! // Each lcore makes its queue of a seed, on its own thread: the frame pool stays there.
//! let lcores: Vec<_> = seeds
//!     .into_iter()
//!     .map(|seed| {
//!         std::thread::spawn(move || {
//!             let mut queue = seed.open().expect("a queue");
//!             let mut burst = Burst::new();
//!             while queue.wait(None).is_ok() {
//!                 queue.rx_burst(&mut burst);
//!                 burst.clear();
//!             }
//!         })
//!     })
//!     .collect();
//! # for lcore in lcores { let _ = lcore.join(); }
//! // The program stays on the interface until the port and all its queues are gone, or the process is.
//! drop(port);
//! # Ok(()) }}
//! ```
//!
//! A queue's sleep ends by a frame, its waker, its time limit, or with an error once the interface has been removed. That the
//! interface is down is no error: frames to be sent are dropped and counted until it is up again.
#![cfg(target_os = "linux")]
#![deny(unsafe_code)]

mod blame;
mod error;
#[allow(unsafe_code)]
mod kernel;
pub mod nic;
mod options;
mod port;
mod program;
mod queue;
mod ring;
mod stats;
#[allow(unsafe_code)]
mod umem;

pub use blame::holder;
pub use error::{Blame, OpenError};
pub use options::{BindMode, BusyPoll, Ownership, PortOptions, RxChecksum, XdpMode, XdpObject};
pub use port::{Port, QueueSeed};
pub use program::verify;
pub use queue::{Census, Queue};
pub use stats::XdpCounters;
