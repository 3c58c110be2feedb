//! Crate ws.

pub mod deflate;
pub mod handshake;
