//! `hioload serve`.

use std::io::{self, Write};
use std::thread;

use hioload_transport::Transport;
use hioload_ws::{Endpoint, Lcores, Server};

use super::control::{self, Controlled};
use super::handler::handler;
use super::{af_xdp, dpdk, files, log, signals::Signals};
use crate::Failure;
use crate::cli::ServeArgs;
use crate::config::serve::ServeConfig;
use crate::config::values::{Control, TransportKind};
use crate::config::{Settings, file};

/// Serves until a signal ends it.
///
/// # Errors
/// Code 2 if the server cannot start as configured, 1 if it fails later.
pub(crate) fn run(arguments: ServeArgs) -> Result<(), Failure> {
    let from_file = match &arguments.config {
        Some(path) => file::read(path)?,
        None => Settings::default(),
    };
    let mut config = ServeConfig::new(arguments.settings.or(from_file));
    config.check()?;
    log::start(&config.log, config.log_format);
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    if config.transport == TransportKind::Sockets {
        fit_open_files(&mut config);
    }
    serve(config)
}

/// Lowers `max_connections` to the number that the limit on open files allows. If the operator chose it, a warning is logged.
fn fit_open_files(config: &mut ServeConfig) {
    let Some(limit) = files::raise_limit() else {
        return;
    };
    let lcores = match &config.server.lcores {
        Lcores::Auto => thread::available_parallelism().map_or(1, usize::from),
        Lcores::Count(count) => *count,
        Lcores::Cpus(cpus) => cpus.len(),
    };
    let room = files::room_for_connections(limit, lcores, config.server.listen.len());
    let wanted = config.server.config.tunables.limits.max_connections;
    if wanted <= room {
        return;
    }
    config.server.config.tunables.limits.max_connections = room;
    if config.max_connections_set {
        tracing::warn!(
            "max_connections is {room} instead of {wanted}: the limit on open files is {limit} (ulimit -n)"
        );
    }
}

fn serve(config: ServeConfig) -> Result<(), Failure> {
    let signals =
        Signals::catch().map_err(|why| Failure::run(why).in_context("cannot catch signals"))?;
    match config.transport {
        TransportKind::Sockets => {
            let service = Service::of(&config);
            let server = Server::bind(config.server).map_err(Failure::usage)?;
            service.run(server, signals, Controlled::Sockets)
        }
        TransportKind::AfXdp => af_xdp::serve(config, signals),
        TransportKind::Dpdk => dpdk::serve(config, signals),
    }
}

/// The part of `serve` that does not depend on the transport.
pub(super) struct Service {
    transport: TransportKind,
    stats: bool,
    control: Control,
}

impl Service {
    pub(super) fn of(config: &ServeConfig) -> Self {
        Self {
            transport: config.transport,
            stats: config.stats,
            control: config.control.clone(),
        }
    }

    /// Serves until a signal ends it.
    pub(super) fn run<T: Transport + 'static>(
        self,
        server: Server<T>,
        signals: Signals,
        controlled: Controlled,
    ) -> Result<(), Failure> {
        let line = start_line(server.endpoints(), self.transport, server.lcores());
        let control = control::bind(&self.control, server.endpoints())?;
        let counters = server.counters();
        let shown = self.stats.then_some(counters);
        let running = server
            .start(move |_| handler(shown.as_ref()))
            .map_err(Failure::usage)?;
        signals
            .obey(running.remote())
            .map_err(|why| Failure::run(why).in_context("cannot start a thread"))?;
        let _control = control
            .map(|socket| socket.serve(controlled, running.remote()))
            .transpose()
            .map_err(|why| Failure::run(why).in_context("cannot start a thread"))?;

        // A closed standard output does not stop the server.
        let mut out = io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
        drop(out);

        let totals = running.join().map_err(Failure::run)?;
        tracing::info!("ended: {totals}");
        Ok(())
    }
}

/// `hioload 0.1.0 listening on ws://127.0.0.1:9001 (sockets, 2 lcores)`
fn start_line(endpoints: &[Endpoint], transport: TransportKind, lcores: usize) -> String {
    let urls = endpoints.iter().map(|endpoint| match endpoint {
        Endpoint::Tcp(addr) => format!("ws://{addr}"),
        Endpoint::Unix(path) => format!("ws+unix:{}", path.display()),
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
            start_line(&endpoints[..1], TransportKind::Sockets, 1),
            format!("hioload {version} listening on ws://127.0.0.1:9001 (sockets, 1 lcore)")
        );
        assert_eq!(
            start_line(&endpoints, TransportKind::Sockets, 2),
            format!(
                "hioload {version} listening on ws://127.0.0.1:9001, ws+unix:/run/h.sock (sockets, 2 lcores)"
            )
        );
    }
}
