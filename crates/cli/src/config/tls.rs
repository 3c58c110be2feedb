//! The settings of TLS: their defaults, and whether they agree.

use std::time::{Duration, SystemTime};

use hioload_certs::{
    ClientAuth, ClientAuthOptions, DEFAULT_PERIOD, DevCertificate, PairFiles, Policy,
    ServerTlsOptions, Tickets, UnknownName, dev_folder,
};
use hioload_tls::TlsOptions;

use super::apply::{bytes, set, within};
use super::sections::TlsArgs;
use super::values::{self, OptionalPath, TlsMode, TlsTickets};
use crate::Failure;

/// Keys of the cache of an lcore, if their number is not set: 1.3 MB.
const MOST_KEYS: usize = 2048;

/// What a server's TLS needs.
#[derive(Clone, Debug)]
pub(crate) struct TlsSettings {
    mode: TlsMode,
    certificates: Vec<PairFiles>,
    /// The options without the certificates.
    options: ServerTlsOptions,
    /// The bounds of the layer, without the rate and the number of keys.
    layer: TlsOptions,
    /// Expanded keys that each lcore keeps; 0: those of `max_connections`.
    key_cache: usize,
    /// Handshakes that may begin in a second on all lcores together.
    rate: u32,
    /// Threads for handshakes, and the steps that may wait for them.
    pub threads: (usize, usize),
    /// Whether files are read again when they change.
    pub watch: bool,
}

impl TlsSettings {
    /// Fills in the defaults.
    pub(crate) fn new(args: TlsArgs) -> Self {
        let certificates = args.tls_certificate.into_iter().flatten();
        let suites = args.tls_suite.into_iter().flatten();
        let curves = args.tls_curve.into_iter().flatten();
        let policy = Policy {
            min_version: args
                .tls_min_version
                .map(|version| version.0)
                .unwrap_or_default(),
            suites: suites.filter_map(|suite| suite.0).collect(),
            curves: curves.filter_map(|curve| curve.0).collect(),
        };
        let client_auth = ClientAuthOptions {
            mode: match args.tls_client_auth {
                None | Some(values::ClientAuth::Off) => ClientAuth::Off,
                Some(values::ClientAuth::Optional) => ClientAuth::Optional,
                Some(values::ClientAuth::Required) => ClientAuth::Required,
            },
            ca: path(args.tls_client_ca),
            crl: path(args.tls_client_crl),
        };
        let tickets = match args.tls_tickets.unwrap_or(TlsTickets::Own) {
            TlsTickets::Off => Tickets::Off,
            TlsTickets::Shared(file) => Tickets::Shared { file },
            TlsTickets::Own => Tickets::Own {
                period: args
                    .tls_ticket_period
                    .map_or(DEFAULT_PERIOD, |period| period.0.0),
            },
        };
        let unknown_name = match args.tls_unknown_name {
            None | Some(values::UnknownName::First) => UnknownName::First,
            Some(values::UnknownName::Refuse) => UnknownName::Refuse,
        };
        let mut layer = TlsOptions::default();
        set! {
            layer.handshakes => within(args.tls_handshakes);
            layer.handshake_memory => bytes(args.tls_handshake_memory);
            layer.handshakes_per_turn => within(args.tls_handshakes_per_turn);
        }
        Self {
            mode: args.tls.unwrap_or(TlsMode::Auto),
            certificates: certificates.filter_map(|files| files.0).collect(),
            options: ServerTlsOptions::new(Vec::new())
                .policy(policy)
                .client_auth(client_auth)
                .tickets(tickets)
                .unknown_name(unknown_name)
                .key_log(path(args.tls_key_log)),
            layer,
            key_cache: within(args.tls_key_cache).unwrap_or(0),
            rate: args.tls_handshake_rate.unwrap_or(0),
            threads: (
                within(args.tls_handshake_threads).unwrap_or(0),
                within(args.tls_handshake_queue).unwrap_or(256),
            ),
            watch: args.tls_watch.unwrap_or(true),
        }
    }

    /// Whether the server speaks TLS.
    pub(crate) fn is_on(&self) -> bool {
        match self.mode {
            TlsMode::Off => false,
            TlsMode::Dev => true,
            TlsMode::Auto => !self.certificates.is_empty(),
        }
    }

    /// The bounds of the layer of one of `lcores` lcores. They share the rate: connections are spread evenly. The `max_connections` are
    /// those of the process, and one lcore may have them all.
    pub(crate) fn layer(&self, lcores: usize, max_connections: usize) -> TlsOptions {
        let lcores = u32::try_from(lcores.max(1)).unwrap_or(u32::MAX);
        let keys = match self.key_cache {
            0 => max_connections.saturating_mul(2).min(MOST_KEYS),
            keys => keys,
        };
        self.layer
            .handshake_rate(self.rate.div_ceil(lcores))
            .key_cache(keys)
    }

    /// Sets the time for a handshake: that which the engine allows from the accept to the request.
    pub(super) fn handshake_timeout(&mut self, timeout: Duration) {
        self.layer.handshake_timeout = timeout;
    }

    /// The checks that need more than one setting.
    ///
    /// # Errors
    /// Code 2, and the flag to change.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.mode == TlsMode::Dev && !self.certificates.is_empty() {
            return Err(Failure::usage(
                "--tls dev has a certificate of its own: leave out --tls, or --tls-certificate",
            ));
        }
        Ok(())
    }

    /// Settings that are allowed and probably a mistake.
    pub(super) fn warning(&self) -> Option<&'static str> {
        let unset = &ServerTlsOptions::new(Vec::new());
        let unused = !self.is_on() && self.mode == TlsMode::Auto && self.options != *unset;
        unused.then_some("settings of TLS have no effect: there is no tls_certificate")
    }

    /// The options of a server for a check, which writes no file.
    ///
    /// # Errors
    /// There is no development certificate.
    pub(crate) fn for_check(&self) -> Result<ServerTlsOptions, String> {
        let mut options = self.options.clone().key_log(None);
        options.certificates = match self.mode {
            TlsMode::Dev => {
                let folder = dev_folder().map_err(|why| why.to_string())?;
                vec![PairFiles {
                    certificate: folder,
                    key: None,
                    names: Vec::new(),
                }]
            }
            TlsMode::Auto | TlsMode::Off => self.certificates.clone(),
        };
        Ok(options)
    }

    /// The options of a server, or `None` without TLS. A development certificate is made if there is none.
    ///
    /// # Errors
    /// Code 2: it cannot be made.
    pub(crate) fn options(&self) -> Result<Option<ServerTlsOptions>, Failure> {
        if !self.is_on() {
            return Ok(None);
        }
        let mut options = self.options.clone();
        options.certificates = match self.mode {
            TlsMode::Dev => vec![development()?.pair()],
            TlsMode::Auto | TlsMode::Off => self.certificates.clone(),
        };
        Ok(Some(options))
    }
}

fn development() -> Result<DevCertificate, Failure> {
    let made = dev_folder()
        .and_then(|folder| DevCertificate::find_or_create(&folder, &[], SystemTime::now()));
    let made = made.map_err(|why| Failure::usage(why).in_context("--tls dev"))?;
    tracing::warn!(
        authority = %made.ca.display(),
        "the certificate is for development: clients accept it only if they trust its authority"
    );
    Ok(made)
}

fn path(value: Option<OptionalPath>) -> Option<std::path::PathBuf> {
    value.and_then(|path| path.0)
}
