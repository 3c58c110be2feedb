//! What the command does: serve, connect, or check.

pub(crate) mod check;
pub(crate) mod connect;
mod files;
mod handler;
mod histogram;
mod log;
mod page;
pub(crate) mod serve;
mod signals;
mod target;
mod topics;
