//! The parameters of a load, from the command line and defaults.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hioload_loadgen::{Dialect, Job, Scenario, Sizes, memory};
use hioload_report::Plan;
use hioload_ws::{Endpoint, Kind, Lcores};

use super::super::target::Target;
use super::attack::AttackPart;
use super::{fit_open_files, place};
use crate::Failure;
use crate::cli::load::{LoadArgs, LoadTransport};
use crate::config::values::LcoreSet;

/// Connections per loopback address, without --source: fewer than there are ephemeral ports.
const PER_SOURCE: usize = 20_000;
/// Concurrent handshakes, without --opening: well below any listen backlog, and in memory enough for two lcores that do not run at the
/// same time.
const AT_ONCE: usize = 128;
const IN_MEMORY: usize = 512;
/// Loopback addresses for scenarios that leave ports in TIME_WAIT.
const FOR_CHURN: usize = 64;
/// The subprotocol of topics.
const TOPICS: &str = "hioload.topics.v1";

/// The parameters of a load.
pub(super) struct Planned {
    pub(super) job: Arc<Job>,
    pub(super) plan: Plan,
    pub(super) lcores: Lcores,
    pub(super) sources: Vec<IpAddr>,
    pub(super) attack: Option<AttackPart>,
    pub(super) repeat: usize,
    /// The name of the server in error messages.
    pub(super) name: String,
}

impl Planned {
    /// The parts of a repeat: one run, or one without and one with attacks.
    pub(super) fn parts(&self) -> Vec<Option<AttackPart>> {
        match &self.attack {
            None => vec![None],
            Some(attack) => vec![Some(attack.part(false)), Some(attack.part(true))],
        }
    }
}

/// The server.
struct LoadTarget {
    endpoints: Vec<Endpoint>,
    host: String,
    resource: String,
    name: String,
}

impl LoadTarget {
    fn of(arguments: &LoadArgs) -> Result<Self, Failure> {
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
        Ok(Self {
            endpoints,
            host: target.host,
            resource: target.resource,
            name: url.clone(),
        })
    }
}

/// Fills in the defaults, and checks that the arguments agree.
pub(super) fn plan(arguments: &LoadArgs) -> Result<Planned, Failure> {
    let load_target = LoadTarget::of(arguments)?;
    let scenario = arguments.scenario;
    let (connections, in_flight, size) = match scenario {
        Scenario::Echo | Scenario::Churn | Scenario::Fanout => (64, 1, 64),
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
    let sizes = arguments.size.clone().unwrap_or_else(|| Sizes::fixed(size));
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
    if arguments.transport.is_sockets() {
        fit_open_files(connections + arguments.publishers.0 as usize, count)?;
    }
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
    job.rate = arguments.rate.map(|rate| rate.0);
    job.arrival = arguments.arrival;
    job.duration = arguments.duration.0.0;
    job.warmup = arguments.warmup.0;
    job.fragments = arguments.fragments.0 as usize;
    job.verify = arguments.verify;
    job.timeout = arguments.timeout.0.0;
    job.max_errors = arguments.max_errors;
    job.echoes = arguments.echoes.0 as usize;
    job.publishers = arguments.publishers.0 as usize;
    job.topics = arguments.topics.0.max(arguments.publishers.0) as usize;
    job.dialect = arguments.dialect;
    job.lcores = count;
    let attack = AttackPart::new(arguments, &job)?;
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
    Ok(Planned {
        sources: sources(arguments, &job),
        attack,
        job: Arc::new(job),
        plan,
        lcores,
        repeat: arguments.repeat.0 as usize,
        name: load_target.name,
    })
}

/// Checks that the arguments agree.
fn check(
    arguments: &LoadArgs,
    connections: usize,
    lcores: usize,
    sizes: &Sizes,
) -> Result<(), Failure> {
    let wrong = |text: String| Err(Failure::usage(text));
    let scenario = arguments.scenario;
    if !arguments.source.is_empty() && !arguments.transport.is_sockets() {
        return wrong(
            "--source needs --transport sockets; user-space TCP connects from the addresses of --ip"
                .to_owned(),
        );
    }
    if scenario == Scenario::Rate && arguments.rate.is_none() {
        return wrong("--scenario rate needs a --rate, in messages per second".to_owned());
    }
    if arguments.rate.is_some()
        && matches!(scenario, Scenario::Echo | Scenario::Bulk | Scenario::Hold)
    {
        return wrong(format!(
            "--scenario {scenario} takes no --rate; the open loop is --scenario rate"
        ));
    }
    if connections < lcores {
        return wrong(format!(
            "{connections} connections are too few for {lcores} lcores"
        ));
    }
    let topics = (arguments.topics.0.max(arguments.publishers.0)) as usize;
    if scenario == Scenario::Fanout && (topics < lcores || connections < topics) {
        return wrong(format!(
            "fanout needs at least one topic for each lcore and one subscriber for each topic: {connections} subscribers, {topics} topics, {lcores} lcores"
        ));
    }
    if scenario == Scenario::Fanout && arguments.dialect != Dialect::Topics && topics > 1 {
        return wrong(format!(
            "--dialect {} has one topic and one publisher",
            arguments.dialect
        ));
    }
    turns(arguments, connections, lcores)?;
    let in_flight = arguments.in_flight.as_ref().map_or(1, |n| n.0 as usize);
    let in_flight_bytes = in_flight.saturating_mul(sizes.largest());
    if !matches!(scenario, Scenario::Rate | Scenario::Hold | Scenario::Ramp)
        && in_flight_bytes > 1 << 30
    {
        return wrong(format!(
            "{in_flight} messages of {} bytes in flight on a connection: the limit is 1 GiB",
            sizes.largest()
        ));
    }
    Ok(())
}

/// Messages in flight on connections that take turns; 0: they do not take turns.
fn active(arguments: &LoadArgs) -> usize {
    arguments.active.as_ref().map_or(0, |n| n.0 as usize)
}

/// Checks --active and --silent.
fn turns(arguments: &LoadArgs, connections: usize, lcores: usize) -> Result<(), Failure> {
    let (active, silent) = (active(arguments), arguments.silent as usize);
    let one = arguments.in_flight.as_ref().is_none_or(|n| n.0 == 1) && arguments.max_errors == 0;
    let wrong = if active == 0 && silent == 0 {
        return Ok(());
    } else if arguments.scenario != Scenario::Echo {
        "--active and --silent need --scenario echo".to_owned()
    } else if silent + active.max(lcores) > connections {
        format!(
            "{connections} connections are too few for {silent} silent and {active} active ones"
        )
    } else if active > 0 && (active < lcores || !one) {
        "--active needs at least one message for each lcore, --in-flight 1, and no --max-errors"
            .to_owned()
    } else {
        return Ok(());
    };
    Err(Failure::usage(wrong))
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

/// A moment as RFC 3339 writes it, in UTC, to the second.
pub(super) fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let seconds = since.as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Civil from days, in years that begin on 1 March, after the calendar's 400-year period of 146097 days.
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_formatted_as_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_799, "2000-02-29T23:59:59Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (4_102_444_799, "2099-12-31T23:59:59Z"),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(rfc3339(time), text);
        }
    }
}
