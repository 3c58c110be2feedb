//! `hioload serve`.

use std::io::{self, Write};

use hioload_ws::transport::Transport;
use hioload_ws::{Endpoint, Lcores, Server};

use super::control::{self, Kind};
use super::handler::handler;
use super::{af_xdp, dpdk, files, log, signals::Signals};
use crate::Failure;
use crate::cli::ServeArgs;
use crate::config::plan::Plan;
use crate::config::values::{Control, TransportKind};
use crate::config::{Settings, file};

/// Serves until a signal ends it.
///
/// # Errors
/// Code 2 if what was asked for cannot be, 1 if it went wrong later.
pub(crate) fn run(arguments: ServeArgs) -> Result<(), Failure> {
    let from_file = match &arguments.config {
        Some(path) => file::read(path).map_err(Failure::usage)?,
        None => Settings::default(),
    };
    let mut plan = Plan::new(arguments.settings.over(from_file));
    plan.check().map_err(Failure::usage)?;
    log::start(&plan.log, plan.log_format);
    for doubt in plan.doubts() {
        tracing::warn!("{doubt}");
    }
    if plan.transport == TransportKind::Sockets {
        fit_open_files(&mut plan);
    }
    serve(plan)
}

/// Makes `max_connections` fit the limit on open files; says so if the operator chose it.
fn fit_open_files(plan: &mut Plan) {
    let Some(limit) = files::raise_limit() else {
        return;
    };
    let lcores = match &plan.server.lcores {
        Lcores::Count(count) => *count,
        Lcores::Cpus(cpus) => cpus.len(),
    };
    let room = files::room_for_connections(limit, lcores, plan.server.listen.len());
    let wanted = plan.server.config.tunables.limits.max_connections;
    if wanted <= room {
        return;
    }
    plan.server.config.tunables.limits.max_connections = room;
    if plan.max_connections_set {
        tracing::warn!(
            "max_connections is {room}, not {wanted}: there is a limit of {limit} open files (ulimit -n)"
        );
    }
}

fn serve(plan: Plan) -> Result<(), Failure> {
    let signals =
        Signals::catch().map_err(|why| Failure::run(format!("cannot catch signals: {why}")))?;
    match plan.transport {
        TransportKind::Sockets => {
            let site = Site::of(&plan);
            let server =
                Server::bind(plan.server).map_err(|why| Failure::usage(why.to_string()))?;
            site.run(server, signals, Kind::Sockets)
        }
        TransportKind::AfXdp => af_xdp::serve(plan, signals),
        TransportKind::Dpdk => dpdk::serve(plan, signals),
    }
}

/// What is served, over whatever moves the bytes.
pub(super) struct Site {
    transport: TransportKind,
    origins: Vec<String>,
    stats: bool,
    control: Control,
}

impl Site {
    pub(super) fn of(plan: &Plan) -> Self {
        Self {
            transport: plan.transport,
            origins: plan.origins.clone(),
            stats: plan.stats,
            control: plan.control.clone(),
        }
    }

    /// Serves until a signal ends it.
    pub(super) fn run<T: Transport + 'static>(
        self,
        server: Server<T>,
        signals: Signals,
        kind: Kind,
    ) -> Result<(), Failure> {
        let line = start_line(server.endpoints(), self.transport, server.lcores());
        let control = control::bind(&self.control, server.endpoints()).map_err(Failure::usage)?;
        let counters = server.counters();
        let (origins, shown) = (self.origins, self.stats.then_some(counters));
        let running = server
            .start(move |_| handler(&origins, shown.as_ref()))
            .map_err(|why| Failure::usage(why.to_string()))?;
        signals
            .obey(running.remote())
            .map_err(|why| Failure::run(format!("cannot start a thread: {why}")))?;
        let _control = control
            .map(|socket| socket.serve(kind, running.remote()))
            .transpose()
            .map_err(|why| Failure::run(format!("cannot start a thread: {why}")))?;

        // The line is for people and scripts; that nobody reads it is no reason to stop.
        let mut out = io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
        drop(out);

        let totals = running
            .join()
            .map_err(|why| Failure::run(why.to_string()))?;
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
    fn the_line_on_start() {
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
