//! The client's side.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, IpAddr, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, NamedGroup, RootCertStore, SignatureScheme};

use crate::Error;
use crate::client_auth::roots;
use crate::files::Files;
use crate::key_log::KeyLogFile;
use crate::pair::{self, PairFiles};
use crate::policy::Policy;

/// How a client judges the server's certificate.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Trust {
    /// By the authorities of the system.
    #[default]
    System,
    /// By those in a file, and no others.
    File(PathBuf),
    /// Not at all: anybody can be the server. It is logged at each start.
    Anything,
}

/// What a client's TLS is made of.
#[derive(Clone, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct ClientTlsOptions {
    /// How it judges the server's certificate.
    pub trust: Trust,
    /// Versions, suites and key exchanges.
    pub policy: Policy,
    /// The certificate that it shows if a server asks.
    pub certificate: Option<PairFiles>,
    /// Sessions that it keeps for resumption. 0: every handshake is a full one.
    pub sessions: usize,
    /// A file for the secrets of all connections, for debugging.
    pub key_log: Option<PathBuf>,
}

impl ClientTlsOptions {
    /// Options with the system's authorities, and no resumption.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how it judges the server's certificate.
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// Sets versions, suites and key exchanges.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets the certificate that it shows if a server asks.
    pub fn certificate(mut self, certificate: Option<PairFiles>) -> Self {
        self.certificate = certificate;
        self
    }

    /// Sets the number of sessions that it keeps for resumption.
    pub fn sessions(mut self, sessions: usize) -> Self {
        self.sessions = sessions;
        self
    }

    /// Sets the file for the secrets of all connections.
    pub fn key_log(mut self, key_log: Option<PathBuf>) -> Self {
        self.key_log = key_log;
        self
    }
}

/// The TLS of a client.
#[derive(Clone, Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    sessions: Option<Arc<Sessions>>,
    warnings: Vec<String>,
}

impl ClientTls {
    /// Reads and checks all files.
    ///
    /// # Errors
    /// The file or option at fault, and why.
    pub fn load(options: &ClientTlsOptions) -> Result<Self, Error> {
        let mut files = Files::default();
        let allowed = options.policy.allowed()?;
        let provider = allowed.provider;
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&allowed.versions)
            .map_err(|why| Error::new(why.to_string()))?;
        let builder = match &options.trust {
            Trust::System => builder.with_root_certificates(system_roots(&mut files)?),
            Trust::File(path) => {
                let content = files.read(path)?;
                builder.with_root_certificates(roots(path, &content)?)
            }
            Trust::Anything => {
                tracing::warn!(
                    "the server's certificate is not verified: anybody on the path can read and change the messages"
                );
                let verifier = Arc::new(AcceptAny(provider));
                builder
                    .dangerous()
                    .with_custom_certificate_verifier(verifier)
            }
        };
        let mut config = match &options.certificate {
            None => builder.with_no_client_auth(),
            Some(certificate) => {
                let pair = pair::load(certificate, &mut files)?;
                let key = SingleCertAndKey::from(CertifiedKey::clone(&pair.key));
                builder.with_client_cert_resolver(Arc::new(key))
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.enable_secret_extraction = true;
        config.enable_early_data = false;
        let sessions = (options.sessions > 0).then(|| Arc::new(Sessions::new(options.sessions)));
        config.resumption = match &sessions {
            Some(sessions) => Resumption::store(Arc::clone(sessions) as _),
            None => Resumption::disabled(),
        };
        if let Some(path) = &options.key_log {
            config.key_log = Arc::new(KeyLogFile::open(path)?);
        }
        Ok(Self {
            config: Arc::new(config),
            sessions,
            warnings: files.warnings().to_vec(),
        })
    }

    /// The configuration for a new connection, as [`ServerTls::config`](crate::ServerTls::config) describes it.
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// The sessions for resumption, if it keeps any.
    pub fn sessions(&self) -> Option<&Arc<Sessions>> {
        self.sessions.as_ref()
    }

    /// What is allowed and probably a mistake.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// The name of a server as TLS needs it: a host name, or an IP address with or without brackets. A client sends no SNI for an address.
///
/// # Errors
/// It is neither.
pub fn server_name(host: &str) -> Result<ServerName<'static>, Error> {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let bare = bare.unwrap_or(host);
    if let Ok(address) = IpAddr::try_from(bare) {
        return Ok(ServerName::IpAddress(address));
    }
    let host = bare.strip_suffix('.').unwrap_or(bare).to_owned();
    let wrong = format!("{host:?} is neither a host name nor an address");
    ServerName::try_from(host).map_err(|_| Error::new(wrong))
}

fn system_roots(files: &mut Files) -> Result<RootCertStore, Error> {
    let found = rustls_native_certs::load_native_certs();
    for why in &found.errors {
        files.warn(format!("the system's authorities: {why}"));
    }
    let mut roots = RootCertStore::empty();
    // Some systems keep certificates that no client accepts any more.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err(Error::new(
            "the system has no certificate authorities (apt-get install ca-certificates), and no other file of them is given",
        ));
    }
    Ok(roots)
}

/// Accepts any certificate. The signature of the handshake is still verified, so a broken server is noticed.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The largest number of servers whose sessions are kept.
const MOST_SERVERS: usize = 64;

/// Sessions that a client can resume. All lcores share them: a lock is taken once for each handshake.
///
/// A ticket of TLS 1.3 is used once (RFC 8446 §C.4), so a client that opens many connections keeps many for one server. The oldest one is
/// dropped when there are too many.
pub struct Sessions {
    most: usize,
    servers: Mutex<Servers>,
    taken: AtomicU64,
}

#[derive(Default)]
struct Servers {
    known: HashMap<ServerName<'static>, Sessions13>,
    /// The servers, the oldest first.
    order: VecDeque<ServerName<'static>>,
}

#[derive(Default)]
struct Sessions13 {
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    tls13: VecDeque<Tls13ClientSessionValue>,
}

impl Sessions {
    fn new(most: usize) -> Self {
        Self {
            most,
            servers: Mutex::default(),
            taken: AtomicU64::new(0),
        }
    }

    /// Tickets of TLS 1.3 that wait to be used, for all servers.
    pub fn waiting(&self) -> usize {
        self.servers()
            .known
            .values()
            .map(|server| server.tls13.len())
            .sum()
    }

    /// Sessions that were taken for a handshake.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    fn servers(&self) -> MutexGuard<'_, Servers> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<R>(&self, name: ServerName<'static>, f: impl FnOnce(&mut Sessions13) -> R) -> R {
        let mut servers = self.servers();
        let Servers { known, order } = &mut *servers;
        if !known.contains_key(&name) {
            if known.len() == MOST_SERVERS
                && let Some(oldest) = order.pop_front()
            {
                known.remove(&oldest);
            }
            order.push_back(name.clone());
        }
        f(known.entry(name).or_default())
    }

    fn of<R>(
        &self,
        name: &ServerName<'_>,
        f: impl FnOnce(&mut Sessions13) -> Option<R>,
    ) -> Option<R> {
        let mut servers = self.servers();
        f(servers.known.get_mut(&name.to_owned())?)
    }

    fn count<R>(&self, found: Option<R>) -> Option<R> {
        if found.is_some() {
            self.taken.fetch_add(1, Ordering::Relaxed);
        }
        found
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        self.with(server_name, |server| server.group = Some(group));
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        self.of(server_name, |server| server.group)
    }

    fn set_tls12_session(&self, server_name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.with(server_name, |server| server.tls12 = Some(value));
    }

    fn tls12_session(&self, server_name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.count(self.of(server_name, |server| server.tls12.clone()))
    }

    fn remove_tls12_session(&self, server_name: &ServerName<'static>) {
        self.of(server_name, |server| server.tls12.take());
    }

    fn insert_tls13_ticket(
        &self,
        server_name: ServerName<'static>,
        value: Tls13ClientSessionValue,
    ) {
        self.with(server_name, |server| {
            if server.tls13.len() == self.most {
                server.tls13.pop_front();
            }
            server.tls13.push_back(value);
        });
    }

    fn take_tls13_ticket(
        &self,
        server_name: &ServerName<'static>,
    ) -> Option<Tls13ClientSessionValue> {
        self.count(self.of(server_name, |server| server.tls13.pop_back()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address() {
        for (host, expected) in [
            ("a.example", "a.example"),
            ("a.example.", "a.example"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]", "::1"),
            ("::1", "::1"),
        ] {
            assert_eq!(server_name(host).expect(host).to_str(), expected);
        }
        assert!(matches!(server_name("[::1]"), Ok(ServerName::IpAddress(_))));
        assert!(server_name("a b").is_err());
        assert!(server_name("").is_err());
    }

    #[test]
    fn the_sessions_of_the_oldest_server_are_dropped() {
        let sessions = Sessions::new(1);
        let name = |n: usize| server_name(&format!("s{n}.example")).expect("a name");
        for n in 0..=MOST_SERVERS {
            sessions.set_kx_hint(name(n), NamedGroup::X25519);
        }
        assert_eq!(sessions.kx_hint(&name(0)), None);
        assert_eq!(sessions.kx_hint(&name(1)), Some(NamedGroup::X25519));
        assert_eq!(sessions.servers().order.len(), MOST_SERVERS);
    }
}
