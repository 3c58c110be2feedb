//! The address of the server.

use hioload_loadgen::memory;
use hioload_ws::Endpoint;

use super::super::target::Target;
use super::super::tls::ConnectTls;
use crate::Failure;
use crate::cli::load::{LoadArgs, LoadTransport};

/// The server.
pub(super) struct LoadTarget {
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) host: String,
    pub(super) resource: String,
    pub(super) name: String,
    pub(super) tls: Option<ConnectTls>,
}

impl LoadTarget {
    pub(super) fn of(arguments: &LoadArgs) -> Result<Self, Failure> {
        if arguments.transport == LoadTransport::Memory {
            let resource = arguments.url.clone().unwrap_or_else(|| "/".to_owned());
            if !resource.starts_with('/') {
                return Err(Failure::usage(
                    "with --transport memory the server is in this process: the URL must be absent, or a /PATH",
                ));
            }
            if arguments.server_pid.is_some() {
                return Err(Failure::usage(
                    "with --transport memory the server is in this process: --server-pid is not possible",
                ));
            }
            return Ok(Self {
                endpoints: vec![Endpoint::Tcp(memory::SERVER)],
                host: memory::SERVER.to_string(),
                resource,
                name: "memory".to_owned(),
                tls: None,
            });
        }
        let Some(url) = &arguments.url else {
            return Err(Failure::usage(
                "the URL is missing: hioload load ws://HOST:PORT/PATH (try --help)",
            ));
        };
        let target = Target::parse(url).map_err(Failure::usage)?;
        let endpoints = target
            .endpoints()
            .map_err(|why| Failure::run(format!("{url}: {why}")))?;
        let tls = ConnectTls::for_target(&target, &arguments.tls, arguments.timeout.0.0)?;
        Ok(Self {
            tls,
            endpoints,
            host: target.host,
            resource: target.resource,
            name: url.clone(),
        })
    }
}
