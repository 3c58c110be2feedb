//! TLS on any transport (feature `tls`).
//!
//! [`secure`] puts TLS above the transport of every lcore. The certificates are those of a [`ServerTls`], which reads them from files
//! and [watches](Watch) these: a new connection uses the certificate that is valid then.
//!
//! ```no_run
//! use std::sync::Arc;
//! use hioload_ws::tls::{ServerTls, ServerTlsOptions, TlsOptions, secure};
//! use hioload_ws::{Server, ServerOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let certificates = vec!["/etc/letsencrypt/live/example.org".parse()?];
//! let tls = Arc::new(ServerTls::load(ServerTlsOptions::new(certificates))?);
//! let server = Server::bind(ServerOptions::new().listen(":443")?)?;
//! let server = secure(server, TlsOptions::default(), &tls);
//! # Ok(())
//! # }
//! ```
//!
//! A program with configurations of its own implements [`Configs`] and calls [`Server::layered`].

use std::sync::Arc;

use hioload_engine::Server;
use hioload_tls::rustls::pki_types::{CertificateDer, ServerName};
use hioload_tls::rustls::{ClientConfig, Error as RustlsError, ServerConfig};
use hioload_transport::layer::Layered;
use hioload_transport::{Endpoint, Transport};

pub use hioload_certs::{
    CertificateReport, ClientAuth, ClientAuthOptions, ClientTls, ClientTlsOptions, Curve,
    DevCertificate, Error, Identity, PairFiles, Policy, ServerTls, ServerTlsOptions, Suite,
    TicketFile, Tickets, Trust, UnknownName, Version, Watch, dev_folder, server_name,
};
pub use hioload_tls::{Configs, HandshakeThreads, Tls, TlsOptions, TlsStats, rustls};

/// The server with TLS above each of its transports. Everything that is accepted speaks TLS.
pub fn secure<T: Transport + 'static>(
    server: Server<T>,
    options: TlsOptions,
    tls: &Arc<ServerTls>,
) -> Server<Layered<T, Tls>> {
    let tls = Arc::clone(tls);
    server.layered(move |_| Tls::new(options, Box::new(Accepting(Arc::clone(&tls)))))
}

/// As [`secure`], with threads that make the steps of handshakes. The lcores continue to open and seal records.
pub fn secure_with<T: Transport + 'static>(
    server: Server<T>,
    options: TlsOptions,
    tls: &Arc<ServerTls>,
    threads: HandshakeThreads,
) -> Server<Layered<T, Tls>> {
    let tls = Arc::clone(tls);
    server.layered(move |_| {
        Tls::new(options, Box::new(Accepting(Arc::clone(&tls)))).threads(&threads)
    })
}

/// The newest configuration for each accepted connection.
struct Accepting(Arc<ServerTls>);

impl Configs for Accepting {
    fn server(&mut self) -> Option<Arc<ServerConfig>> {
        Some(self.0.config())
    }

    fn client(&mut self, _: &Endpoint) -> Option<(Arc<ClientConfig>, ServerName<'static>)> {
        None
    }

    fn verify_resumed(&mut self, chain: &[CertificateDer<'static>]) -> Result<(), RustlsError> {
        self.0.verify_client(chain)
    }
}
