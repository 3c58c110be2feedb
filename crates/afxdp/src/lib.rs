//! AF_XDP: queues of a network interface as [`Device`](hioload_device::Device)s.
//!
//! A [`Port`] is an interface with an XDP program on it. Each queue of the port has a socket, whose frames are in memory that one
//! lcore shares with the kernel or the NIC. To run a stack on a port:
//!
//! ```no_run
//! # #[cfg(target_os = "linux")] mod example {
//! use hioload_afxdp::{Port, PortOptions, XdpObject};
//! use hioload_device::{Burst, Device};
//!
//! # fn serve(object: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
//! // The root package embeds the object that its build script compiles from ebpf/redirect.bpf.c.
//! let object = XdpObject::new(object);
//! let options = PortOptions::new(object, "eth1", ["10.77.0.2".parse()?]);
//! // The main thread opens the port: a missing privilege or feature is an error of this call.
//! let (port, queues) = Port::open(&options)?;
//! // Each lcore claims its queue on its own thread: the frame pool stays there.
//! let lcores: Vec<_> = queues
//!     .into_iter()
//!     .map(|pending| {
//!         std::thread::spawn(move || {
//!             let mut queue = pending.claim().expect("a queue");
//!             let mut burst = Burst::new();
//!             while queue.wait(None).is_ok() {
//!                 queue.rx_burst(&mut burst);
//!                 burst.clear();
//!             }
//!         })
//!     })
//!     .collect();
//! # for lcore in lcores { let _ = lcore.join(); }
//! // The program stays on the interface until the port and all its queues are dropped, or the process ends.
//! drop(port);
//! # Ok(()) }}
//! ```
//!
//! The sleep of a queue ends with a frame, its waker, its time limit, or, once the interface has been removed, with an error. An
//! interface that is down is not an error: the queue drops and counts the frames to be sent until the interface is up again.
#![cfg(target_os = "linux")]
#![deny(unsafe_code)]

mod diagnose;
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

pub use error::OpenError;
pub use hioload_device::Party;
pub use options::{
    BindMode, BusyPoll, Ownership, PortOptions, RxChecksum, UnknownChoice, XdpMode, XdpObject,
};
pub use port::{PendingQueue, Port};
pub use program::verify;
pub use queue::{Census, Queue};
pub use stats::XdpCounters;
