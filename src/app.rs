//! What the command does: serve, or connect.

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
