//! The subcommands: serve, connect, load, check, cert, and requests to a running server.

#[cfg(all(feature = "af-xdp", target_os = "linux"))]
mod af_xdp;
pub(crate) mod ask;
pub(crate) mod cert;
pub(crate) mod check;
mod client;
pub(crate) mod connect;
mod control;
#[cfg(all(feature = "dpdk", target_os = "linux"))]
mod dpdk;
mod files;
mod handler;
mod heap;
mod histogram;
#[cfg(unix)]
mod inherit;
mod link;
pub(crate) mod load;
mod log;
mod notify;
mod page;
pub(crate) mod reference;
pub(crate) mod serve;
mod service;
mod signals;
mod target;
mod time;
mod tls;
mod topics;
#[cfg(not(all(feature = "af-xdp", feature = "dpdk", target_os = "linux")))]
mod without;
