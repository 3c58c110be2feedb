//! The parameters of a load, from the command line and defaults.

use std::net::IpAddr;
use std::sync::Arc;

use hioload_loadgen::{Dialect, Job, Scenario, Sizes};
use hioload_report::Plan;
use hioload_ws::{Endpoint, Kind, Lcores};

use super::super::tls::ConnectTls;
use super::attack::AttackPart;
use super::check::{active, check};
use super::target::LoadTarget;
use super::{fit_open_files, place};
use crate::Failure;
use crate::cli::load::{LoadArgs, LoadTransport};
use crate::config::values::LcoreSet;

/// Connections per loopback address, without --source: fewer than there are ephemeral ports.
const PER_SOURCE: usize = 20_000;
/// Concurrent handshakes, without --opening: well below any listen backlog.
const AT_ONCE: usize = 128;
/// Concurrent handshakes over memory, without --opening: enough for two lcores that share a CPU.
const IN_MEMORY: usize = 512;
/// Loopback addresses for scenarios that leave ports in TIME_WAIT.
const FOR_CHURN: usize = 64;
/// The subprotocol of topics.
const TOPICS: &str = "hioload.topics.v1";

/// Connections of the bystander of an attack with messages.
const BYSTANDERS: usize = 32;
/// Sizes of its messages. The large ones do not fit a receive buffer, so that the server has to store their beginning.
const BYSTANDER_SIZES: &str = "64:19,131072:1";

fn usage(why: impl std::fmt::Display) -> Failure {
    Failure::usage(why.to_string())
}

/// The parameters of a load.
pub(super) struct LoadSetup {
    pub(super) job: Arc<Job>,
    pub(super) plan: Plan,
    pub(super) lcores: Lcores,
    pub(super) sources: Vec<IpAddr>,
    pub(super) attack: Option<AttackPart>,
    pub(super) repeat: usize,
    /// The name of the server in error messages.
    pub(super) name: String,
    /// How it speaks TLS, if it does.
    pub(super) tls: Option<ConnectTls>,
}

impl LoadSetup {
    /// The parts of a repeat: one run, or one without and one with attacks.
    pub(super) fn parts(&self) -> Vec<Option<AttackPart>> {
        match &self.attack {
            None => vec![None],
            Some(attack) => vec![Some(attack.part(false)), Some(attack.part(true))],
        }
    }
}

/// Fills in the defaults, and checks that the arguments agree.
pub(super) fn plan(arguments: &LoadArgs) -> Result<LoadSetup, Failure> {
    let load_target = LoadTarget::of(arguments)?;
    let scenario = arguments.scenario();
    let attacked = arguments.attacks_with_messages();
    let (connections, in_flight, size) = match scenario {
        Scenario::Echo | Scenario::Churn | Scenario::Fanout => (64, 1, 64),
        Scenario::Rate if attacked => (BYSTANDERS, 1024, 64),
        Scenario::Rate => (64, 1024, 64),
        Scenario::Ramp | Scenario::Hold => (10_000, 1, 64),
        Scenario::Bulk => (4, 1, 1 << 20),
    };
    let connections = arguments
        .connections
        .as_ref()
        .map_or(connections, |n| n.0 as usize);
    let in_flight = arguments
        .in_flight
        .as_ref()
        .map_or(in_flight, |n| n.0 as usize);
    let sizes = match &arguments.size {
        Some(sizes) => sizes.clone(),
        None if attacked && scenario == Scenario::Rate => BYSTANDER_SIZES.parse().map_err(usage)?,
        None => Sizes::fixed(size),
    };
    let lcores = match &arguments.lcores {
        None => place(None),
        Some(LcoreSet(lcores)) => place(Some(lcores)),
    };
    let count = match &lcores {
        Lcores::Auto => unreachable!("`place` has chosen"),
        Lcores::Count(n) => *n,
        Lcores::Cpus(cpus) => cpus.len(),
    };
    check(arguments, connections, count, &sizes)?;
    let topics = scenario == Scenario::Fanout && arguments.dialect == Dialect::Topics;
    let mut protocols = arguments.protocol.clone();
    let mut target = load_target.resource;
    if topics {
        if protocols.is_empty() {
            protocols.push(TOPICS.to_owned());
        }
        if target == "/" {
            target = "/topics".to_owned();
        }
    }
    let kind = if arguments.text || topics {
        Kind::Text
    } else {
        Kind::Binary
    };
    let mut job = Job::new(scenario, load_target.endpoints[0].clone());
    job.endpoints = load_target.endpoints;
    job.host = load_target.host;
    job.publish_target = arguments
        .publish_path
        .clone()
        .unwrap_or_else(|| target.clone());
    job.target = target;
    job.origin.clone_from(&arguments.origin);
    job.protocols = protocols;
    let fields = arguments.header.iter();
    job.headers = fields
        .map(|field| (field.0.clone(), field.1.clone()))
        .collect();
    job.deflate = arguments.deflate;
    job.connections = connections;
    job.opening = match (&arguments.opening, arguments.transport) {
        (Some(n), _) => n.0 as usize,
        (None, LoadTransport::Memory) => IN_MEMORY,
        (None, _) => AT_ONCE,
    };
    job.in_flight = in_flight;
    job.active = active(arguments);
    job.silent = arguments.silent as usize;
    job.sizes = sizes;
    job.kind = kind;
    job.rate = arguments.rate();
    job.arrival = arguments.arrival;
    job.duration = arguments.duration.0.0;
    job.warmup = arguments.warmup.0;
    job.fragments = arguments.fragments.0 as usize;
    job.verify = arguments.verify;
    job.timeout = arguments.timeout.0.0;
    job.max_errors = arguments.max_errors;
    job.to_the_end = attacked;
    job.echoes = arguments.echoes.0 as usize;
    job.publishers = arguments.publishers.0 as usize;
    job.topics = arguments.topics.0.max(arguments.publishers.0) as usize;
    job.dialect = arguments.dialect;
    job.lcores = count;
    let attack = AttackPart::new(arguments, &job)?;
    if arguments.transport.is_sockets() {
        let attackers = attack.as_ref().map_or(0, AttackPart::sockets);
        fit_open_files(connections + job.publishers + attackers, count)?;
    }
    let plan = Plan {
        url: match arguments.transport {
            LoadTransport::Memory => String::new(),
            _ => load_target.name.clone(),
        },
        transport: arguments.transport.to_string(),
        scenario: scenario.to_string(),
        connections,
        in_flight,
        size: job.sizes.to_string(),
        kind: match kind {
            Kind::Text => "text",
            Kind::Binary => "binary",
        }
        .to_owned(),
        rate: job.rate,
        duration: job.duration.as_secs_f64(),
        warmup: job.warmup.as_secs_f64(),
        lcores: count,
        attack: attack.as_ref().map(AttackPart::text),
    };
    Ok(LoadSetup {
        sources: sources(arguments, &job),
        attack,
        job: Arc::new(job),
        plan,
        lcores,
        repeat: arguments.repeat.0 as usize,
        name: load_target.name,
        tls: load_target.tls,
    })
}

/// The source addresses of connections: those of --source, or loopback addresses if the ports of one do not suffice.
fn sources(arguments: &LoadArgs, job: &Job) -> Vec<IpAddr> {
    if !arguments.source.is_empty() {
        return arguments.source.clone();
    }
    let loopback = cfg!(target_os = "linux")
        && arguments.transport.is_sockets()
        && job.endpoints.iter().all(
            |endpoint| matches!(endpoint, Endpoint::Tcp(addr) if addr.is_ipv4() && addr.ip().is_loopback()),
        );
    let churns = matches!(job.scenario, Scenario::Churn | Scenario::Ramp);
    let count = match job.connections.div_ceil(PER_SOURCE) {
        _ if !loopback => 0,
        n if churns => n.max(FOR_CHURN),
        1 => 0,
        n => n,
    };
    let address = |n: usize| {
        let [_, _, high, low] = (n as u32 + 1).to_be_bytes();
        IpAddr::from([127, 0, high, low])
    };
    (0..count.min(60_000)).map(address).collect()
}
