//! What the command does: serve, or connect.

pub mod connect;
mod files;
mod handler;
mod histogram;
mod log;
mod page;
pub mod serve;
mod signals;
mod target;
mod topics;
