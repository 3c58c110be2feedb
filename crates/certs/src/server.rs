//! The server's side: one configuration of rustls, made from files, which is replaced whole.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ServerConfig};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};

use crate::Error;
use crate::client_auth::{ClientAuthOptions, rule};
use crate::expiry::Notices;
use crate::files::Files;
use crate::key_log::KeyLogFile;
use crate::pair::{self, CertificateReport, Pair, PairFiles};
use crate::policy::Policy;
use crate::resolver::{Resolver, UnknownName};
use crate::tickets::{self, BoundTicketer, KeySet, TicketKeys, Tickets};

/// What a server's TLS is made of.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct ServerTlsOptions {
    /// The certificates. The first one is for clients that ask for no name, and for an unknown one.
    pub certificates: Vec<PairFiles>,
    /// What a client gets that asks for a name that no certificate has.
    pub unknown_name: UnknownName,
    /// Versions, suites and key exchanges.
    pub policy: Policy,
    /// Certificates of clients.
    pub client_auth: ClientAuthOptions,
    /// Session tickets.
    pub tickets: Tickets,
    /// A file for the secrets of all connections, for debugging.
    pub key_log: Option<PathBuf>,
}

impl ServerTlsOptions {
    /// Options for these certificates, and defaults.
    pub fn new(certificates: Vec<PairFiles>) -> Self {
        Self {
            certificates,
            unknown_name: UnknownName::default(),
            policy: Policy::default(),
            client_auth: ClientAuthOptions::default(),
            tickets: Tickets::default(),
            key_log: None,
        }
    }

    /// Sets what a client gets that asks for an unknown name.
    pub fn unknown_name(mut self, unknown_name: UnknownName) -> Self {
        self.unknown_name = unknown_name;
        self
    }

    /// Sets versions, suites and key exchanges.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets the rule for certificates of clients.
    pub fn client_auth(mut self, client_auth: ClientAuthOptions) -> Self {
        self.client_auth = client_auth;
        self
    }

    /// Sets where the keys of session tickets come from.
    pub fn tickets(mut self, tickets: Tickets) -> Self {
        self.tickets = tickets;
        self
    }

    /// Sets the file for the secrets of all connections.
    pub fn key_log(mut self, key_log: Option<PathBuf>) -> Self {
        self.key_log = key_log;
        self
    }
}

/// One state of the configuration.
struct Snapshot {
    config: Arc<ServerConfig>,
    certificates: Vec<CertificateReport>,
    files: Files,
    tickets: Option<Arc<TicketKeys>>,
    key_log: Option<Arc<KeyLogFile>>,
    /// What verifies clients, if they are asked for certificates.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
}

/// The TLS of a server. New connections use the newest state; those that are open keep theirs.
pub struct ServerTls {
    snapshot: ArcSwap<Snapshot>,
    options: Mutex<ServerTlsOptions>,
    notices: Mutex<Notices>,
    clock: Arc<dyn TimeProvider>,
    reloads: AtomicU64,
    reload_failures: AtomicU64,
}

impl ServerTls {
    /// Reads and checks all files.
    ///
    /// # Errors
    /// The file or option at fault, and why.
    pub fn load(options: ServerTlsOptions) -> Result<Self, Error> {
        Self::load_at(options, Arc::new(DefaultTimeProvider))
    }

    /// The same with another clock, which certificates of clients, tickets and notices of expiry follow.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_at(options: ServerTlsOptions, clock: Arc<dyn TimeProvider>) -> Result<Self, Error> {
        let snapshot = build(&options, &clock, None)?;
        Ok(Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            options: Mutex::new(options),
            notices: Mutex::default(),
            clock,
            reloads: AtomicU64::new(0),
            reload_failures: AtomicU64::new(0),
        })
    }

    /// The configuration for a new connection. It offers the protocol `http/1.1` (RFC 7301), gives out its secrets to a record layer
    /// (`enable_secret_extraction`), and accepts no early data: a replayed message would be delivered twice (RFC 8446 §8).
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.snapshot.load().config)
    }

    /// Verifies the certificates of a client now, its own first, by the rule of the newest configuration. For a session that resumes: the
    /// certificates in a ticket may have expired since, and so may the revocation lists.
    ///
    /// # Errors
    /// What is wrong with them, or that no certificate is requested.
    pub fn verify_client(&self, chain: &[CertificateDer<'_>]) -> Result<(), rustls::Error> {
        let snapshot = self.snapshot.load();
        let (Some(verifier), Some((own, others))) = (&snapshot.verifier, chain.split_first())
        else {
            return Err(rustls::Error::NoCertificatesPresented);
        };
        let now = self.clock.current_time();
        let now = now.ok_or(rustls::Error::FailedToGetCurrentTime)?;
        verifier.verify_client_cert(own, others, now).map(drop)
    }

    /// Reads all files again. If anything is wrong, nothing changes. Returns the files that have changed.
    ///
    /// # Errors
    /// The file at fault, and why; the configuration is the one before.
    pub fn reload(&self) -> Result<Vec<PathBuf>, Error> {
        let options = self.options();
        self.install(&options)
    }

    /// The same if the content of a file differs from what was read before; otherwise `None`. A file that cannot be read differs.
    ///
    /// # Errors
    /// As [`reload`](Self::reload).
    pub fn reload_if_changed(&self) -> Result<Option<Vec<PathBuf>>, Error> {
        let options = self.options();
        let before = self.snapshot.load_full();
        let mut now = Files::default();
        let readable = before.files.paths().all(|path| now.read(path).is_ok());
        if readable && now.changed_since(&before.files).is_empty() {
            return Ok(None);
        }
        self.install(&options).map(Some)
    }

    /// Replaces the options, and reads all files. If anything is wrong, nothing changes.
    ///
    /// # Errors
    /// The file or option at fault, and why; options and configuration are those before.
    pub fn reconfigure(&self, wanted: ServerTlsOptions) -> Result<Vec<PathBuf>, Error> {
        let mut options = self.options();
        let changed = self.install(&wanted)?;
        *options = wanted;
        Ok(changed)
    }

    /// The caller holds the options, so there is one load at a time.
    fn install(&self, options: &ServerTlsOptions) -> Result<Vec<PathBuf>, Error> {
        let before = self.snapshot.load_full();
        let snapshot = match build(options, &self.clock, Some(&before)) {
            Ok(snapshot) => snapshot,
            Err(why) => {
                self.reload_failures.fetch_add(1, Ordering::Relaxed);
                return Err(why);
            }
        };
        let changed = snapshot.files.changed_since(&before.files);
        self.snapshot.store(Arc::new(snapshot));
        self.reloads.fetch_add(1, Ordering::Relaxed);
        Ok(changed)
    }

    fn options(&self) -> MutexGuard<'_, ServerTlsOptions> {
        self.options.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The certificates.
    pub fn certificates(&self) -> Vec<CertificateReport> {
        self.snapshot.load().certificates.clone()
    }

    /// What is allowed and probably a mistake: files that others can read, chains that some clients refuse.
    pub fn warnings(&self) -> Vec<String> {
        self.snapshot.load().files.warnings().to_vec()
    }

    /// The files that were read.
    pub fn files(&self) -> Vec<PathBuf> {
        self.snapshot
            .load()
            .files
            .paths()
            .map(Path::to_owned)
            .collect()
    }

    /// Whole days until the first certificate expires. Negative: it has.
    pub fn days_left(&self) -> i64 {
        let now = self.now();
        let snapshot = self.snapshot.load();
        let days = snapshot
            .certificates
            .iter()
            .map(|report| report.days_left(now));
        days.min().unwrap_or(i64::MAX)
    }

    /// How often the files have been read again.
    pub fn reloads(&self) -> u64 {
        self.reloads.load(Ordering::Relaxed)
    }

    /// How often that failed.
    pub fn reload_failures(&self) -> u64 {
        self.reload_failures.load(Ordering::Relaxed)
    }

    /// The lines about expiry that are due for the log: 30, 7 and 1 days before the end of a certificate and daily after it, and a file of
    /// ticket keys that runs out.
    pub fn notices(&self) -> Vec<String> {
        let now = self.now();
        let snapshot = self.snapshot.load();
        let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = notices.due(&snapshot.certificates, now);
        lines.extend(self.ticket_concern());
        lines
    }

    /// What an operator should know of a file of ticket keys: it has run out of keys, or does soon.
    pub fn ticket_concern(&self) -> Option<String> {
        let snapshot = self.snapshot.load();
        let keys = snapshot.tickets.as_ref()?;
        let (end, now) = (keys.end()?, self.now());
        let Tickets::Shared { file } = &self.options().tickets else {
            return None;
        };
        let file = file.display();
        if end <= now {
            Some(format!(
                "{file}: no key of a session ticket is current, so no session resumes (hioload cert tickets adds keys)"
            ))
        } else if end - now <= keys.period() {
            let hours = (end - now).div_ceil(3600);
            Some(format!(
                "{file}: the last key of session tickets ends in {hours} h (hioload cert tickets adds keys)"
            ))
        } else {
            None
        }
    }

    fn now(&self) -> u64 {
        self.clock.current_time().map_or(0, |time| time.as_secs())
    }
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls")
            .field("certificates", &self.snapshot.load().certificates)
            .finish_non_exhaustive()
    }
}

/// Makes a configuration. Keys of tickets and the file of secrets are those of the configuration before, if the options name the same.
fn build(
    options: &ServerTlsOptions,
    clock: &Arc<dyn TimeProvider>,
    before: Option<&Snapshot>,
) -> Result<Snapshot, Error> {
    if options.certificates.is_empty() {
        return Err(Error::new("there is no certificate"));
    }
    let mut files = Files::default();
    let allowed = options.policy.allowed()?;
    let pairs = options.certificates.iter();
    let pairs: Vec<Pair> = pairs
        .map(|pair| pair::load(pair, &mut files))
        .collect::<Result<_, _>>()?;
    let certificates: Vec<_> = pairs.iter().map(|pair| pair.report.clone()).collect();
    let rule = rule(&options.client_auth, &allowed.provider, &mut files)?;
    let new_keys = read_tickets(&options.tickets, &mut files)?;
    let key_log = key_log(options.key_log.as_deref(), before)?;

    let builder = ServerConfig::builder_with_details(allowed.provider, Arc::clone(clock))
        .with_protocol_versions(&allowed.versions)
        .map_err(|why| Error::new(why.to_string()))?;
    let builder = match &rule.verifier {
        Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
        None => builder.with_no_client_auth(),
    };
    let resolver = Resolver::new(&pairs, options.unknown_name);
    let mut config = builder.with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.enable_secret_extraction = true;
    config.ignore_client_order = !options.policy.suites.is_empty();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    config.send_tls13_tickets = 0;
    if let Some(key_log) = &key_log {
        config.key_log = key_log.clone();
    }
    let tickets = ticket_keys(&options.tickets, new_keys, clock, before)?;
    if let Some(keys) = &tickets {
        // One connection at a time is what a client of WebSocket resumes.
        config.send_tls13_tickets = 1;
        config.ticketer = Arc::new(BoundTicketer {
            keys: Arc::clone(keys),
            context: rule.digest,
        });
    }
    Ok(Snapshot {
        config: Arc::new(config),
        certificates,
        files,
        tickets,
        key_log,
        verifier: rule.verifier,
    })
}

fn read_tickets(wanted: &Tickets, files: &mut Files) -> Result<Option<KeySet>, Error> {
    match wanted {
        Tickets::Shared { file } => tickets::read(file, files).map(Some),
        Tickets::Own { period }
            if !(1..=tickets::LONGEST_PERIOD.as_secs()).contains(&period.as_secs()) =>
        {
            Err(Error::new(
                "the period of ticket keys is from 1 second to 7 days",
            ))
        }
        Tickets::Off | Tickets::Own { .. } => Ok(None),
    }
}

/// Runs last, when nothing can fail any more that would leave the keys before in place.
fn ticket_keys(
    wanted: &Tickets,
    new: Option<KeySet>,
    clock: &Arc<dyn TimeProvider>,
    before: Option<&Snapshot>,
) -> Result<Option<Arc<TicketKeys>>, Error> {
    let before = before.and_then(|before| before.tickets.as_ref());
    match (wanted, new) {
        (Tickets::Own { period }, _) => match before {
            Some(keys) if keys.is_own() && keys.period() == period.as_secs() => {
                Ok(Some(Arc::clone(keys)))
            }
            _ => TicketKeys::own(period.as_secs(), Arc::clone(clock))
                .map(Arc::new)
                .map(Some),
        },
        (Tickets::Shared { .. }, Some(set)) => match before {
            Some(keys) if !keys.is_own() => {
                keys.replace(set);
                Ok(Some(Arc::clone(keys)))
            }
            _ => Ok(Some(Arc::new(TicketKeys::shared(set, Arc::clone(clock))))),
        },
        (Tickets::Off | Tickets::Shared { .. }, _) => Ok(None),
    }
}

fn key_log(
    wanted: Option<&Path>,
    before: Option<&Snapshot>,
) -> Result<Option<Arc<KeyLogFile>>, Error> {
    let Some(path) = wanted else {
        return Ok(None);
    };
    let before = before.and_then(|before| before.key_log.as_ref());
    match before.filter(|log| log.path() == path) {
        Some(log) => Ok(Some(Arc::clone(log))),
        None => KeyLogFile::open(path).map(Arc::new).map(Some),
    }
}
