//! What the command does: serve, connect, load, check, or ask a server that runs.

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
pub(crate) mod load;
mod log;
mod page;
pub(crate) mod reference;
pub(crate) mod serve;
mod signals;
mod target;
mod topics;
