//! `--transport memory`: a server and a generator in this process, each on its own lcores, connected by devices in memory.

use std::time::Duration;

use hioload_device::Device;
use hioload_device::memory::MemoryDevice;
use hioload_loadgen::{RepeatResult, ServerProbe, memory, process, settings};
use hioload_ws::{Config, Endpoint, Idle, Lcores, Server};

use super::super::handler::handler;
use super::Drive;
use super::attack::AttackPart;
use super::plan::Planned;
use super::tap::Recording;
use crate::Failure;

/// Runs a repeat.
pub(super) fn run(
    planned: &Planned,
    attack: Option<&AttackPart>,
    tap: Option<&Recording>,
    drive: Drive<'_>,
) -> Result<RepeatResult, Failure> {
    if let Some(tap) = tap.cloned() {
        let tapped = move |device, n| tap.around(device, &format!("memory-queue{n}"));
        return run_wrapped(planned, tapped, drive);
    }
    match attack {
        None => run_wrapped(planned, |device, _| device, drive),
        Some(attack) => run_wrapped(planned, attack.wrap_memory(planned.job.lcores)?, drive),
    }
}

/// Runs a repeat with the generator's devices inside those that `on_client` makes.
fn run_wrapped<C: Device + 'static>(
    planned: &Planned,
    on_client: impl Fn(MemoryDevice, usize) -> C + Clone + Send + 'static,
    drive: Drive<'_>,
) -> Result<RepeatResult, Failure> {
    let job = &planned.job;
    let pairs = job.lcores;
    let (servers, clients, enough) = places(planned);
    let mut client = settings::config(job);
    let mut server = Config {
        executor_threads: 0,
        ..Config::default()
    };
    server.limits.max_connections = client.limits.max_connections;
    server.limits.max_message = client.limits.max_message;
    server.limits.reassembly_memory = client.limits.reassembly_memory;
    server.limits.send_queue = client.limits.send_queue;
    // Pings to a million silent connections would be an additional load.
    server.limits.ping_interval = Duration::ZERO;
    server.limits.idle_timeout = Duration::ZERO;
    if job.deflate {
        server.deflate = Some(hioload_ws::deflate::DeflateConfig::default());
    }
    if enough {
        server.idle = Idle::Busy;
    } else {
        // Two lcores that spin on one CPU delay each other.
        client.idle = Idle::Block;
        server.idle = Idle::Block;
    }
    let system =
        |why: std::io::Error| Failure::run(format!("cannot make devices in memory: {why}"));
    let ends =
        memory::ends(pairs, (&server, &client), |device, _| device, on_client).map_err(system)?;
    let usage = |why: hioload_ws::StartError| Failure::usage(why);
    let listen = vec![Endpoint::Tcp(memory::SERVER)];
    let server = Server::on(server, &servers, listen, ends.servers).map_err(usage)?;
    let client = Server::on(client, &clients, Vec::new(), ends.clients).map_err(usage)?;
    let counters = server.counters();
    let others = process::lcore_threads();
    let serving = server.start(|_| handler(&[], None)).map_err(usage)?;
    let mut threads = process::lcore_threads();
    threads.retain(|thread| !others.contains(thread));
    let probe = ServerProbe::Lcores { counters, threads };
    let outcome = drive.run_on(client, &probe);
    serving.remote().stop_now();
    serving
        .join()
        .map_err(|why| Failure::run(format!("the server: {why}")))?;
    outcome
}

/// The CPUs of the server's lcores and of the generator's, and whether each lcore has its own CPU.
fn places(planned: &Planned) -> (Lcores, Lcores, bool) {
    let pairs = planned.job.lcores;
    let cpus = hioload_lcore::Topology::detect().placement();
    let theirs = match &planned.lcores {
        Lcores::Cpus(cpus) => cpus.clone(),
        Lcores::Auto | Lcores::Count(_) => Vec::new(),
    };
    let free: Vec<usize> = cpus
        .into_iter()
        .filter(|cpu| !theirs.contains(cpu))
        .collect();
    if free.len() < pairs || theirs.len() < pairs {
        return (Lcores::Count(pairs), planned.lcores.clone(), false);
    }
    (
        Lcores::Cpus(free[..pairs].to_vec()),
        planned.lcores.clone(),
        true,
    )
}
