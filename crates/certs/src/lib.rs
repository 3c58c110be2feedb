//! Configurations of TLS: everything that a `rustls::ServerConfig` or `rustls::ClientConfig` is made of.
//!
//! [`ServerTls`] makes a configuration from files: certificates that are chosen by the name a client asks for, the rule for certificates of
//! clients, keys of session tickets. It reads all files and checks them before it replaces anything, so a wrong file changes nothing.
//! [`Watch`] does that when a file changes. Whoever starts a handshake asks for [`ServerTls::config`]: a connection keeps the
//! configuration that it began with. [`ClientTls`] is the other side, [`DevCertificate`] a certificate for development, and
//! [`TicketFile`] the keys that several servers share. [`Identity`] is the verified subject of a client's certificate.
//!
//! Keys are erased from memory when they are dropped, and no `Debug` or log line shows one. The exception is the option `key_log`.
//!
//! ```no_run
//! use std::sync::Arc;
//! use hioload_certs::{ServerTls, ServerTlsOptions, Watch};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let certificates = vec!["/etc/letsencrypt/live/example.org".parse()?];
//! let tls = Arc::new(ServerTls::load(ServerTlsOptions::new(certificates))?);
//! let _watch = Watch::start(&tls, true)?;
//! let config: Arc<rustls::ServerConfig> = tls.config();
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod certificate;
mod client;
mod client_auth;
mod dev;
mod error;
mod expiry;
mod files;
mod key_log;
mod names;
mod pair;
mod pem;
mod policy;
mod resolver;
mod server;
mod tickets;
mod watch;

pub use certificate::Identity;
pub use client::{ClientTls, ClientTlsOptions, Sessions, Trust, server_name};
pub use client_auth::{ClientAuth, ClientAuthOptions};
pub use dev::{DEV_DAYS, DevCertificate, dev_folder};
pub use error::Error;
pub use names::Name;
pub use pair::{CertificateReport, PairFiles};
pub use policy::{Curve, Policy, Suite, Version};
pub use resolver::UnknownName;
pub use server::{ServerTls, ServerTlsOptions};
pub use tickets::{DEFAULT_PERIOD, LONGEST_PERIOD, TicketFile, Tickets};
pub use watch::Watch;
