//! Servers and clients over user-space TCP.
//!
//! A driver opens a port and returns its [`Queues`]: `af_xdp` those of a network interface, `dpdk` those of a DPDK port. Each
//! queue gets one lcore with its own TCP stack, and [`Queues::server`] makes a [`Server`](hioload_engine::Server) of them. A device
//! that has to stand between a queue and TCP, such as a packet tap, is wrapped around each queue first ([`Queues::wrap`],
//! [`Queues::tapped`]).
//!
//! The crate holds the code that all drivers share: the check that addresses and listeners agree ([`check_addresses`]), the choice of lcores
//! near the port, the secret of the flow hash, and the rings for frames that arrive at the wrong lcore.

#![forbid(unsafe_code)]

mod addresses;
#[cfg(all(feature = "af-xdp", target_os = "linux"))]
pub mod af_xdp;
#[cfg(all(feature = "dpdk", target_os = "linux"))]
pub mod dpdk;
mod error;
mod lcores;
mod queues;
#[cfg(any(feature = "af-xdp", feature = "dpdk"))]
mod setters;

pub use addresses::check_addresses;
pub use error::{Error, ListenError};
pub use hioload_tcp::{Cidr, ParseCidrError, StackConfig};
pub use queues::{OpenQueue, Queues};

/// Numbers as a list: `0,1,4`.
#[cfg(any(feature = "af-xdp", feature = "dpdk"))]
fn listed(numbers: impl IntoIterator<Item = u32>) -> String {
    let numbers = numbers.into_iter().map(|number| number.to_string());
    numbers.collect::<Vec<_>>().join(",")
}
