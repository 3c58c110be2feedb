//! TLS as a layer between a transport and its driver.
//!
//! The handshake is that of rustls, the records are opened and sealed here: a received record is decrypted in the memory that it
//! arrived in, and content is sealed straight into the send space of the transport below.
//!
//! [`Tls`] is a [`Layer`](hioload_transport::layer::Layer): put it above any transport with
//! [`Layered`](hioload_transport::layer::Layered). It asks its [`Configs`] for a configuration of rustls at each connection.
#![forbid(unsafe_code)]

mod configs;
mod counters;
mod handshake;
mod layer;
pub mod record;

pub use configs::{Configs, prepare_client, prepare_server};
pub use counters::TlsStats;
pub use handshake::{Established, Handshake, Step};
pub use layer::{HandshakeSteps, HandshakeThreads, Tls, TlsOptions};
pub use rustls;
