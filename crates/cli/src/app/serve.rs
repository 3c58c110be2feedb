//! `hioload serve`.

use std::thread;

use hioload_ws::{Lcores, Server};

use super::control::Controlled;
use super::service::Service;
use super::{files, log, signals::Signals};
use crate::Failure;
use crate::cli::ServeArgs;
use crate::config::serve::ServeConfig;
use crate::config::values::TransportKind;
use crate::config::{Settings, file};

/// Serves until a signal ends it.
///
/// # Errors
/// Code 2 if the server cannot start as configured, 1 if it fails later.
pub(crate) fn run(arguments: ServeArgs) -> Result<(), Failure> {
    #[cfg(unix)]
    let inherited = super::inherit::Inherited::take();
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
    #[cfg(unix)]
    add_inherited(&mut config, inherited)?;
    if let Some(group) = &config.unix_group {
        config.server.sockets.unix_group = Some(group_number(group)?);
    }
    if config.transport == TransportKind::Sockets {
        fit_open_files(&mut config);
    }
    serve(config)
}

/// Adds the sockets of systemd that `listen` names. Without `listen`, they replace the default.
#[cfg(unix)]
fn add_inherited(
    config: &mut ServeConfig,
    inherited: super::inherit::Inherited,
) -> Result<(), Failure> {
    let wanted = std::mem::take(&mut config.systemd);
    if !wanted.is_empty() {
        config.server.listen.extend(inherited.sockets(&wanted)?);
    } else if inherited.is_empty() {
    } else if config.listen_set || config.transport != TransportKind::Sockets {
        tracing::warn!("systemd passed sockets, which are not used: --listen systemd takes them");
    } else {
        config.server.listen = inherited.sockets(&[None])?;
    }
    Ok(())
}

/// The number of a group of `/etc/group`.
fn group_number(group: &str) -> Result<u32, Failure> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let unknown = |why: &str| Failure::usage(format!("--unix-group: {group}: {why}"));
    let file = std::fs::read_to_string("/etc/group").map_err(|why| unknown(&why.to_string()))?;
    numbered(&file, group).ok_or_else(|| unknown("there is no such group in /etc/group"))
}

/// The number of a group in a text of the form of group(5).
fn numbered(file: &str, group: &str) -> Option<u32> {
    let mut lines = file.lines().map(|line| line.split(':').collect::<Vec<_>>());
    lines.find_map(|fields| match fields.as_slice() {
        [name, _, number, ..] if *name == group => number.parse().ok(),
        _ => None,
    })
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
            let service = Service::of(&config)?;
            let server = Server::bind(config.server).map_err(Failure::usage)?;
            service.run(server, signals, Controlled::Sockets)
        }
        #[cfg(all(feature = "af-xdp", target_os = "linux"))]
        TransportKind::AfXdp => super::af_xdp::serve(config, signals),
        #[cfg(all(feature = "dpdk", target_os = "linux"))]
        TransportKind::Dpdk => super::dpdk::serve(config, signals),
        #[cfg(not(all(feature = "af-xdp", feature = "dpdk", target_os = "linux")))]
        missing => Err(super::without::failure(missing)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_group_is_found() {
        let file = "root:x:0:\nwww-data:x:33:a,b\nbroken\n";
        assert_eq!(numbered(file, "www-data"), Some(33));
        assert_eq!(numbered(file, "www"), None);
        assert_eq!(group_number("17").ok(), Some(17));
    }
}
