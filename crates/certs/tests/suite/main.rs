//! Configurations from files, in handshakes of rustls with itself, in memory.
#![allow(clippy::unwrap_used, missing_docs)]

mod client_auth;
mod names;
mod pki;
mod policy;
mod reload;
mod secrets;
mod tickets;
mod wire;
