//! TLS of a server and of a client: from their options to the layer of each lcore.

use std::sync::Arc;
use std::time::Duration;

use hioload_certs::{ClientTls, ClientTlsOptions, ServerTls, Trust, Watch, server_name};
use hioload_engine::LcorePlacement;
use hioload_tls::rustls::pki_types::{CertificateDer, ServerName};
use hioload_tls::rustls::{ClientConfig, Error as RustlsError, ServerConfig};
use hioload_tls::{Configs, HandshakeThreads, Tls, TlsOptions};
use hioload_ws::Endpoint;

use super::target::Target;
use crate::Failure;
use crate::cli::tls::ClientTlsArgs;
use crate::config::tls::TlsSettings;
use crate::streams;

/// The TLS of a server that runs.
pub(super) struct ServeTls {
    server: Arc<ServerTls>,
    watch: Watch,
    settings: TlsSettings,
    max_connections: usize,
    threads: Option<HandshakeThreads>,
}

impl ServeTls {
    /// Reads all files, logs what an operator should know of them, and begins to watch them. `None` without TLS.
    ///
    /// # Errors
    /// Code 2: a file or setting is wrong.
    pub(super) fn start(
        settings: &TlsSettings,
        max_connections: usize,
    ) -> Result<Option<Self>, Failure> {
        let Some(options) = settings.options()? else {
            return Ok(None);
        };
        let server =
            ServerTls::load(options).map_err(|why| Failure::usage(why).in_context("TLS"))?;
        for warning in server.warnings() {
            tracing::warn!("{warning}");
        }
        let server = Arc::new(server);
        let watch = Watch::start(&server, settings.watch);
        let no_thread = |why| Failure::run(why).in_context("cannot start a thread");
        let watch = watch.map_err(no_thread)?;
        let threads = match settings.threads {
            (0, _) => None,
            (threads, queue) => Some(HandshakeThreads::start(threads, queue).map_err(no_thread)?),
        };
        Ok(Some(Self {
            server,
            watch,
            settings: settings.clone(),
            max_connections,
            threads,
        }))
    }

    /// Makes the layer of one of `lcores` lcores.
    pub(super) fn layer(
        &self,
        lcores: usize,
    ) -> impl Fn(LcorePlacement) -> Tls + Clone + Send + 'static + use<> {
        let server = Arc::clone(&self.server);
        let options = self.settings.layer(lcores, self.max_connections);
        let threads = self.threads.clone();
        move |_| {
            let tls = Tls::new(options, Box::new(Accepting(Arc::clone(&server))));
            match &threads {
                Some(threads) => tls.threads(threads),
                None => tls,
            }
        }
    }

    /// What `/stats` shows.
    pub(super) fn server(&self) -> Arc<ServerTls> {
        Arc::clone(&self.server)
    }

    /// Reads the files again. The outcome is logged.
    pub(super) fn into_watch(self) -> Watch {
        self.watch
    }
}

/// The configuration of accepted connections: the newest one.
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

/// The TLS of the connections that a client opens.
#[derive(Clone)]
pub(super) struct ConnectTls {
    client: ClientTls,
    name: ServerName<'static>,
    layer: TlsOptions,
}

impl ConnectTls {
    /// The TLS for a URL; `None` if it has none.
    ///
    /// # Errors
    /// Code 2: a file is wrong, or flags of TLS are of no use.
    pub(super) fn for_target(
        target: &Target,
        arguments: &ClientTlsArgs,
        timeout: Duration,
    ) -> Result<Option<Self>, Failure> {
        if !target.tls {
            return match useless(arguments) {
                Some(flag) => Err(Failure::usage(format!("{flag} needs a URL with wss"))),
                None => Ok(None),
            };
        }
        let trust = match &arguments.ca {
            Some(file) => Trust::File(file.clone()),
            None if arguments.insecure => Trust::Anything,
            None => Trust::System,
        };
        let options = ClientTlsOptions::new()
            .trust(trust)
            .certificate(arguments.certificate.clone())
            .sessions(arguments.resume.as_ref().map_or(0, |sessions| sessions.0))
            .key_log(arguments.key_log.clone());
        let client =
            ClientTls::load(&options).map_err(|why| Failure::usage(why).in_context("TLS"))?;
        // A client has no log.
        let mut warnings = client.warnings().to_vec();
        if arguments.insecure {
            warnings.push("the server's certificate is not verified: anybody on the path can read and change the messages".to_owned());
        }
        if let Some(path) = &arguments.key_log {
            warnings.push(format!(
                "the secrets of all connections are written to {}: whoever reads it decrypts them",
                path.display()
            ));
        }
        for warning in warnings {
            streams::note(format_args!("hioload: {warning}"));
        }
        let name = arguments.server_name.as_deref().unwrap_or(&target.name);
        Ok(Some(Self {
            client,
            name: server_name(name).map_err(Failure::usage)?,
            layer: TlsOptions::default().handshake_timeout(timeout),
        }))
    }

    /// Makes the layer of an lcore.
    pub(super) fn layer(&self) -> impl Fn(LcorePlacement) -> Tls + Clone + Send + 'static {
        let (layer, keeps_sessions) = (self.layer, self.client.sessions().is_some());
        let opening = Opening {
            config: self.client.config(),
            name: self.name.clone(),
            keeps_sessions,
        };
        move |_| Tls::new(layer, Box::new(opening.clone()))
    }
}

/// The configuration of connections that are opened.
#[derive(Clone)]
struct Opening {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    keeps_sessions: bool,
}

impl Configs for Opening {
    fn server(&mut self) -> Option<Arc<ServerConfig>> {
        None
    }

    fn client(&mut self, _: &Endpoint) -> Option<(Arc<ClientConfig>, ServerName<'static>)> {
        Some((Arc::clone(&self.config), self.name.clone()))
    }

    fn keeps_sessions(&self) -> bool {
        self.keeps_sessions
    }
}

/// A flag that is given.
fn useless(arguments: &ClientTlsArgs) -> Option<&'static str> {
    let ClientTlsArgs {
        ca,
        insecure,
        server_name,
        certificate,
        resume,
        key_log,
    } = arguments;
    let given = [
        (ca.is_some(), "--ca"),
        (*insecure, "--insecure"),
        (server_name.is_some(), "--server-name"),
        (certificate.is_some(), "--certificate"),
        (resume.is_some(), "--resume"),
        (key_log.is_some(), "--key-log"),
    ];
    given
        .iter()
        .find(|(given, _)| *given)
        .map(|(_, flag)| *flag)
}
