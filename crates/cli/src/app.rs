//! The subcommands: serve, connect, load, check, and requests to a running server.

mod af_xdp;
pub(crate) mod ask;
pub(crate) mod check;
mod client;
pub(crate) mod connect;
mod control;
mod dpdk;
mod files;
mod handler;
mod histogram;
mod link;
pub(crate) mod load;
mod log;
mod page;
pub(crate) mod reference;
pub(crate) mod serve;
mod signals;
mod target;
mod topics;
