//! The part of `hioload serve` that does not depend on the transport: from a server that is set up to its end.

use hioload_transport::Transport;
use hioload_ws::{Endpoint, Server};

use super::control::{self, Controlled};
use super::handler::{Shown, handler};
use super::heap;
use super::notify::Manager;
use super::signals::Signals;
use super::tls::ServeTls;
use crate::Failure;
use crate::config::serve::ServeConfig;
use crate::config::values::{Control, TransportKind};
use crate::streams;

/// What of the configuration is needed once the server is set up.
pub(super) struct Service {
    transport: TransportKind,
    stats: bool,
    control: Control,
    tls: Option<ServeTls>,
}

impl Service {
    /// Reads the files of TLS.
    ///
    /// # Errors
    /// Code 2: one of them is wrong.
    pub(super) fn of(config: &ServeConfig) -> Result<Self, Failure> {
        let max_connections = config.server.config.tunables.limits.max_connections;
        Ok(Self {
            tls: ServeTls::start(&config.tls, max_connections)?,
            transport: config.transport,
            stats: config.stats,
            control: config.control.clone(),
        })
    }

    /// Serves until a signal ends it.
    pub(super) fn run<T: Transport + 'static>(
        self,
        server: Server<T>,
        signals: Signals,
        controlled: Controlled,
    ) -> Result<(), Failure> {
        let lcores = server.lcores();
        match self.tls.as_ref().map(|tls| tls.layer(lcores)) {
            Some(layer) => self.run_on(server.layered(layer), signals, controlled),
            None => self.run_on(server, signals, controlled),
        }
    }

    fn run_on<T: Transport + 'static>(
        self,
        server: Server<T>,
        signals: Signals,
        controlled: Controlled,
    ) -> Result<(), Failure> {
        let has_tls = self.tls.is_some();
        let scheme = if has_tls { "wss" } else { "ws" };
        let line = start_line(scheme, server.endpoints(), self.transport, server.lcores());
        let control = control::bind(&self.control, server.endpoints())?;
        let counters = server.counters();
        let tls = self.tls.as_ref().map(ServeTls::server);
        let shown = self.stats.then(|| Shown {
            counters: counters.clone(),
            tls,
        });
        let watched = counters.clone();
        let running = server
            .start(move |_| {
                let watched = watched.clone();
                handler(shown.as_ref(), move || watched.stalled())
            })
            .map_err(Failure::usage)?;
        let no_thread = |why| Failure::run(why).in_context("cannot start a thread");
        let manager = Manager::find();
        let told = manager
            .as_ref()
            .and_then(|manager| manager.try_clone().ok());
        let stopping = move || {
            if let Some(manager) = &told {
                manager.tell("STOPPING=1");
            }
        };
        let watch = self.tls.map(ServeTls::into_watch);
        let reload = move || match &watch {
            Some(watch) => watch.reload(),
            None => tracing::info!("SIGHUP is ignored: the server cannot reload its settings"),
        };
        signals
            .obey(running.remote(), stopping, reload)
            .map_err(no_thread)?;
        let _control = control
            .map(|socket| socket.serve(controlled, running.remote()))
            .transpose()
            .map_err(no_thread)?;

        if has_tls {
            heap::watch(counters.clone()).map_err(no_thread)?;
        }
        streams::announce(&line);
        if let Some(manager) = manager {
            manager.tell("READY=1");
            manager.watch(counters).map_err(no_thread)?;
        }

        let totals = running.join().map_err(Failure::run)?;
        tracing::info!("ended: {totals}");
        Ok(())
    }
}

/// `hioload 0.1.0 listening on ws://127.0.0.1:9001 (sockets, 2 lcores)`
fn start_line(
    scheme: &str,
    endpoints: &[Endpoint],
    transport: TransportKind,
    lcores: usize,
) -> String {
    let urls = endpoints.iter().map(|endpoint| match endpoint {
        Endpoint::Tcp(addr) => format!("{scheme}://{addr}"),
        Endpoint::Unix(path) => format!("{scheme}+unix:{}", path.display()),
    });
    let urls = urls.collect::<Vec<_>>().join(", ");
    let lcores = match lcores {
        1 => "1 lcore".to_owned(),
        n => format!("{n} lcores"),
    };
    format!(
        "hioload {} listening on {urls} ({transport}, {lcores})",
        env!("CARGO_PKG_VERSION")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_line_has_endpoints_transport_and_lcores() {
        let endpoints = [
            Endpoint::Tcp(([127, 0, 0, 1], 9001).into()),
            Endpoint::Unix("/run/h.sock".into()),
        ];
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            start_line("ws", &endpoints[..1], TransportKind::Sockets, 1),
            format!("hioload {version} listening on ws://127.0.0.1:9001 (sockets, 1 lcore)")
        );
        assert_eq!(
            start_line("wss", &endpoints, TransportKind::Sockets, 2),
            format!(
                "hioload {version} listening on wss://127.0.0.1:9001, wss+unix:/run/h.sock (sockets, 2 lcores)"
            )
        );
    }
}
