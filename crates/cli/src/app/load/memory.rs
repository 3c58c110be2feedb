//! `--transport memory`: a server and a generator in this process, each on its own lcores, connected by devices in memory.

use std::time::Duration;

use hioload_device::Device;
use hioload_device::memory::MemoryDevice;
use hioload_loadgen::{RepeatResult, ServerProbe, memory, process, settings};
use hioload_ws::{Config, Endpoint, Idle, Lcores, Server};

use super::super::handler::handler;
use super::RepeatContext;
use super::attack::AttackPart;
use super::plan::LoadSetup;
use super::tap::Recording;
use crate::Failure;

/// Runs one part of a repeat.
pub(super) fn run(
    setup: &LoadSetup,
    attack: Option<&AttackPart>,
    tap: Option<&Recording>,
    context: RepeatContext<'_>,
) -> Result<RepeatResult, Failure> {
    if let Some(tap) = tap.cloned() {
        let tapped = move |device, n| tap.around(device, &format!("memory-queue{n}"));
        return run_wrapped(setup, tapped, context);
    }
    match attack {
        None => run_wrapped(setup, |device, _| device, context),
        Some(attack) => run_wrapped(setup, attack.wrap_memory(setup.job.lcores)?, context),
    }
}

/// Runs a repeat with the generator's devices inside those that `on_client` makes.
fn run_wrapped<C: Device + 'static>(
    setup: &LoadSetup,
    on_client: impl Fn(MemoryDevice, usize) -> C + Clone + Send + 'static,
    context: RepeatContext<'_>,
) -> Result<RepeatResult, Failure> {
    let job = &setup.job;
    let pairs = job.lcores;
    let (servers, clients, enough) = places(setup);
    let mut client = settings::config(job);
    let mut server = Config::default();
    server.executor_threads = 0;
    server.tunables.limits.max_connections = client.tunables.limits.max_connections;
    server.tunables.limits.max_message = client.tunables.limits.max_message;
    server.tunables.limits.reassembly_memory = client.tunables.limits.reassembly_memory;
    server.tunables.limits.send_queue = client.tunables.limits.send_queue;
    // Pings to a million silent connections would be an additional load.
    server.tunables.limits.ping_interval = Duration::ZERO;
    server.tunables.limits.idle_timeout = Duration::ZERO;
    if job.deflate {
        server.tunables.deflate = Some(hioload_ws::deflate::DeflateConfig::default());
    }
    if enough {
        server.tunables.idle = Idle::Busy;
    } else {
        // Two lcores that spin on one CPU delay each other.
        client.tunables.idle = Idle::Block;
        server.tunables.idle = Idle::Block;
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
    let serving = server.start(|_| handler(None, || 0)).map_err(usage)?;
    let mut threads = process::lcore_threads();
    threads.retain(|thread| !others.contains(thread));
    let probe = ServerProbe::Lcores { counters, threads };
    let outcome = context.run_on(client, &probe);
    serving.remote().stop_now();
    serving
        .join()
        .map_err(|why| Failure::run(format!("the server: {why}")))?;
    outcome
}

/// The CPUs of the server's lcores and of the generator's, and whether each lcore has its own CPU.
fn places(setup: &LoadSetup) -> (Lcores, Lcores, bool) {
    let pairs = setup.job.lcores;
    let cpus = hioload_lcore::Topology::detect().placement();
    let theirs = match &setup.lcores {
        Lcores::Cpus(cpus) => cpus.clone(),
        Lcores::Auto | Lcores::Count(_) => Vec::new(),
    };
    let free: Vec<usize> = cpus
        .into_iter()
        .filter(|cpu| !theirs.contains(cpu))
        .collect();
    if free.len() < pairs || theirs.len() < pairs {
        return (Lcores::Count(pairs), setup.lcores.clone(), false);
    }
    (
        Lcores::Cpus(free[..pairs].to_vec()),
        setup.lcores.clone(),
        true,
    )
}
