//! Where configurations come from, and what a layer changes in them.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;

use hioload_transport::Endpoint;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, KeyLog, ServerConfig};
use zeroize::Zeroize;

/// The protocol of WebSocket handshakes, for ALPN (RFC 7301).
const HTTP_1_1: &[u8] = b"http/1.1";

/// The source of configurations. A layer asks it for each connection, so the current one is used after a reload, and connections that
/// exist keep theirs.
///
/// A configuration is used as it is, with these changes: secrets can be extracted, the layer notes when there is no certificate for a name, the layer sees the traffic secrets before they reach
/// its key log, and ALPN is `http/1.1` if it names no protocol.
pub trait Configs: Send {
    /// The configuration for a connection that was accepted; `None` if such connections do not use TLS.
    fn server(&mut self) -> Option<Arc<ServerConfig>>;
    /// The configuration and the server's name for a connection to `to`; `None` if it does not use TLS.
    fn client(&mut self, to: &Endpoint) -> Option<(Arc<ClientConfig>, ServerName<'static>)>;
    /// Verifies the certificates of a client whose session is resumed, the client's own first. rustls takes them from the ticket and does
    /// not verify them again, and each resumption gives the client a new ticket: without this, a client that has been verified once
    /// would be accepted for ever.
    ///
    /// # Errors
    /// What is wrong with them: the connection ends with an alert. The default refuses every such session, so a configuration that
    /// verifies clients either has no tickets or comes with an implementation of this.
    fn verify_resumed(&mut self, chain: &[CertificateDer<'static>]) -> Result<(), rustls::Error> {
        let _ = chain;
        Err(rustls::Error::General(
            "the certificate of a resumed session is not verified".into(),
        ))
    }
    /// Whether the configuration of a client stores sessions. If it does not, tickets are ignored, and a connection needs no memory for
    /// them.
    fn keeps_sessions(&self) -> bool {
        true
    }
}

/// The same configuration for all accepted connections; connections that are opened do not use TLS.
impl Configs for Arc<ServerConfig> {
    fn server(&mut self) -> Option<Arc<ServerConfig>> {
        Some(Self::clone(self))
    }
    fn client(&mut self, _: &Endpoint) -> Option<(Arc<ClientConfig>, ServerName<'static>)> {
        None
    }
}

/// The same configuration and name for all connections that are opened; accepted ones do not use TLS.
impl Configs for (Arc<ClientConfig>, ServerName<'static>) {
    fn server(&mut self) -> Option<Arc<ServerConfig>> {
        None
    }
    fn client(&mut self, _: &Endpoint) -> Option<(Arc<ClientConfig>, ServerName<'static>)> {
        Some(self.clone())
    }
}

/// The latest configuration of one role, as it came and as it is used.
pub(crate) struct Prepared<C> {
    latest: Option<(Arc<C>, Arc<C>)>,
}

impl<C> Prepared<C> {
    pub(crate) const fn new() -> Self {
        Self { latest: None }
    }

    fn get(&mut self, config: Arc<C>, prepare: impl FnOnce(&C) -> C) -> Arc<C> {
        if let Some((from, ready)) = &self.latest
            && Arc::ptr_eq(from, &config)
        {
            return Arc::clone(ready);
        }
        let ready = Arc::new(prepare(&config));
        self.latest = Some((config, Arc::clone(&ready)));
        ready
    }
}

impl Prepared<ServerConfig> {
    pub(crate) fn server(&mut self, config: Arc<ServerConfig>) -> Arc<ServerConfig> {
        self.get(config, prepare_server)
    }
}

impl Prepared<ClientConfig> {
    pub(crate) fn client(&mut self, config: Arc<ClientConfig>) -> Arc<ClientConfig> {
        self.get(config, prepare_client)
    }
}

/// A copy of `config` with the changes that a layer needs: see [`Configs`].
#[must_use]
pub fn prepare_server(config: &ServerConfig) -> ServerConfig {
    let mut ready = config.clone();
    ready.enable_secret_extraction = true;
    // 0-RTT can be replayed (RFC 8446 §8), and a WebSocket handshake is a request that changes state.
    ready.max_early_data_size = 0;
    ready.key_log = Tee::over(&config.key_log);
    ready.cert_resolver = Arc::new(Noting(Arc::clone(&config.cert_resolver)));
    if ready.alpn_protocols.is_empty() {
        ready.alpn_protocols.push(HTTP_1_1.to_vec());
    }
    ready
}

/// The same for a client.
#[must_use]
pub fn prepare_client(config: &ClientConfig) -> ClientConfig {
    let mut ready = config.clone();
    ready.enable_secret_extraction = true;
    ready.enable_early_data = false;
    ready.key_log = Tee::over(&config.key_log);
    if ready.alpn_protocols.is_empty() {
        ready.alpn_protocols.push(HTTP_1_1.to_vec());
    }
    ready
}

/// The traffic secrets of the handshake that this thread processes.
#[derive(Default)]
pub(crate) struct Secrets {
    pub(crate) client: Vec<u8>,
    pub(crate) server: Vec<u8>,
}

impl Drop for Secrets {
    fn drop(&mut self) {
        self.client.zeroize();
        self.server.zeroize();
    }
}

/// A resolver that notes when there is no certificate for a client: rustls has no error of its own for that.
#[derive(Debug)]
struct Noting(Arc<dyn ResolvesServerCert>);

impl ResolvesServerCert for Noting {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let found = self.0.resolve(hello);
        if found.is_none() {
            UNRESOLVED.set(true);
        }
        found
    }

    fn only_raw_public_keys(&self) -> bool {
        self.0.only_raw_public_keys()
    }
}

/// Whether a client got no certificate on this thread since the last call.
pub(crate) fn take_unresolved() -> bool {
    UNRESOLVED.replace(false)
}

thread_local! {
    static UNRESOLVED: Cell<bool> = const { Cell::new(false) };
    static SECRETS: RefCell<Option<Secrets>> = const { RefCell::new(None) };
}

const CLIENT: &str = "CLIENT_TRAFFIC_SECRET_0";
const SERVER: &str = "SERVER_TRAFFIC_SECRET_0";

/// Takes the secrets that were derived on this thread since the last call.
pub(crate) fn take_secrets() -> Option<Secrets> {
    SECRETS.with_borrow_mut(Option::take)
}

/// A key log that gives the traffic secrets to the layer, and all secrets to the log of the configuration.
struct Tee {
    log: Arc<dyn KeyLog>,
}

impl Tee {
    fn over(log: &Arc<dyn KeyLog>) -> Arc<dyn KeyLog> {
        Arc::new(Self {
            log: Arc::clone(log),
        })
    }
}

impl fmt::Debug for Tee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tee")
    }
}

impl KeyLog for Tee {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        if label == CLIENT || label == SERVER {
            SECRETS.with_borrow_mut(|secrets| {
                let secrets = secrets.get_or_insert_default();
                let to = match label {
                    CLIENT => &mut secrets.client,
                    _ => &mut secrets.server,
                };
                to.zeroize();
                to.extend_from_slice(secret);
            });
        }
        if self.log.will_log(label) {
            self.log.log(label, client_random, secret);
        }
    }

    fn will_log(&self, label: &str) -> bool {
        label == CLIENT || label == SERVER || self.log.will_log(label)
    }
}
