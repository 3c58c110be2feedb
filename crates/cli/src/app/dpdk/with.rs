//! EAL, the port, its queues, and its end.

mod watch;

use std::net::{Ipv4Addr, Ipv6Addr};

use hioload_ws::device::tap::TapSwitch;
use hioload_ws::dpdk::{
    self, Closed, Eal, PendingQueue, Port, PortInfo, PortOptions, Queue, Steering, split_arguments,
};
use hioload_ws::engine::{LcorePlacement, StartError};
use hioload_ws::lcore::Topology;
use hioload_ws::{Lcores, ServerOptions};

use super::super::bypass::{OpenQueue, Queues, listed};
use super::super::client::{ClientLink, Work};
use super::super::control::Kind;
use super::super::serve::Site;
use super::super::signals::Signals;
use crate::Failure;
use crate::config::bypass::BypassPlan;
use crate::config::dpdk::Dpdk;
use crate::config::plan::Plan;
use crate::config::values;
use watch::Watch;

const NAME: &str = "dpdk";

/// EAL, which starts once in a process.
pub(crate) type Started = Eal;

/// Serves until a signal ends it.
pub(crate) fn serve(plan: Plan, signals: Signals) -> Result<(), Failure> {
    let site = Site::of(&plan);
    let chosen = plan.lcores_set.then(|| plan.server.lcores.clone());
    let tap = TapSwitch::new();
    let eal = start(&plan.dpdk)?;
    let (port, queues) = open(&eal, &plan.dpdk, &plan.bypass, chosen.as_ref())?;
    let engine = queues
        .tapped(&tap)
        .engine(&plan.bypass.stack, plan.server, chosen)?;
    let watch = Watch::start(port)?;
    let outcome = site.run(engine, signals, Kind::Bypass { name: NAME, tap });
    let closed = close(watch.end());
    outcome.and(closed)
}

/// Does a client's work on the queues of a port.
pub(crate) fn client<W: Work>(
    link: &ClientLink,
    options: ServerOptions,
    chosen: Option<Lcores>,
    work: W,
) -> Result<W::Outcome, Failure> {
    let eal = start(&link.dpdk)?;
    let _ = link.started.set(eal.clone());
    let (port, queues) = open(&eal, &link.dpdk, &link.bypass, chosen.as_ref())?;
    let watch = Watch::start(port)?;
    let outcome = work.over(queues, &link.bypass.stack, options, chosen);
    let closed = close(watch.end());
    outcome.and_then(|outcome| closed.map(|()| outcome))
}

fn refused(why: &dpdk::Error) -> Failure {
    Failure::usage(why.to_string())
}

/// Starts EAL, or joins it.
fn start(settings: &Dpdk) -> Result<Eal, Failure> {
    let arguments = split_arguments(&settings.arguments).map_err(|why| refused(&why))?;
    Eal::init(&arguments).map_err(|why| refused(&why))
}

/// Starts the port; gives its queues.
fn open(
    eal: &Eal,
    settings: &Dpdk,
    bypass: &BypassPlan,
    chosen: Option<&Lcores>,
) -> Result<(Port, Queues<Queue>), Failure> {
    let mut options = port_options(settings, bypass);
    let ports = Port::list(eal);
    // One that is not there is told by the opening.
    let info = ports.iter().find(|info| match &options.port {
        dpdk::PortName::Number(number) => info.number == *number,
        dpdk::PortName::Name(name) => info.name == *name,
        _ => false,
    });
    options.queues = match &bypass.queues {
        Some(list) => asked_for(list).map_err(Failure::usage)?,
        None => info.map_or(1, |info| fitting(info, chosen)),
    };
    let (port, pending) = Port::open(eal, &options).map_err(|why| refused(&why))?;
    log_port(&port, pending.len());
    let queues = Queues {
        transport: NAME,
        port: port.info().name.clone(),
        mtu: port.mtu().into(),
        node: port.info().node,
        queues: pending.into_iter().map(opener).collect(),
    };
    Ok((port, queues))
}

fn opener(queue: PendingQueue) -> (u32, OpenQueue<Queue>) {
    let number = queue.number().into();
    let open = |_: LcorePlacement| {
        queue
            .claim()
            .map_err(|why| StartError::Transport(why.to_string()))
    };
    (number, Box::new(open))
}

fn port_options(settings: &Dpdk, bypass: &BypassPlan) -> PortOptions {
    let own: Vec<_> = bypass
        .stack
        .addresses
        .iter()
        .map(|own| own.addr())
        .collect();
    // All TCP to our addresses is ours: also what is for no port of ours is answered, and connections of our own have any.
    let everything = vec![
        (Ipv4Addr::UNSPECIFIED, 0).into(),
        (Ipv6Addr::UNSPECIFIED, 0).into(),
    ];
    let mut port = PortOptions::new(match &settings.port {
        values::PortName::Number(number) => dpdk::PortName::Number(*number),
        values::PortName::Name(name) => dpdk::PortName::Name(name.clone()),
    });
    port.mtu = settings.mtu;
    port.rx_descriptors = settings.rx_descriptors;
    port.tx_descriptors = settings.tx_descriptors;
    port.frames = settings.mbufs;
    port.checksums = settings.checksum_offload;
    port.promiscuous = settings.promiscuous;
    port.mac = bypass.stack.mac;
    if settings.flow_rules {
        port.steering = Some(Steering::new(own, everything, bypass.stack.vlan));
    }
    port
}

/// DPDK's queues begin at 0: what counts is how many. `2` is two, `0-1` as well.
fn asked_for(queues: &[u32]) -> Result<u16, String> {
    let count = match queues {
        [0] => 1,
        [count] => *count,
        list if list.iter().copied().eq(0..list.len() as u32) => list.len() as u32,
        list => {
            return Err(format!(
                "--queues {}: with dpdk say how many, such as --queues 2",
                listed(list.iter().copied())
            ));
        }
    };
    u16::try_from(count).map_err(|_| format!("--queues {count}: no device has so many"))
}

/// As many queues as there may be lcores, on a device that spreads flows over them; else what comes would come by one.
fn fitting(info: &PortInfo, chosen: Option<&Lcores>) -> u16 {
    let lcores = match chosen {
        Some(Lcores::Count(count)) => *count,
        Some(Lcores::Cpus(cpus)) => cpus.len(),
        None if info.rss => Topology::detect().placement().len(),
        None => 1,
    };
    // More lcores than queues are refused later, by name.
    u16::try_from(lcores)
        .unwrap_or(u16::MAX)
        .clamp(1, info.max_queues.max(1))
}

/// One line about the port: what it is, and what was agreed on.
fn log_port(port: &Port, queues: usize) {
    let info = port.info();
    let agreed = port.offloads();
    let mut parts = vec![
        format!("mtu {}", port.mtu()),
        match queues {
            1 => "1 queue".to_owned(),
            n => format!("{n} queues"),
        },
    ];
    if queues > 1 {
        parts.push(
            match (agreed.rss, agreed.rss_ports) {
                (true, true) => "RSS by addresses and ports",
                (true, false) => "RSS by addresses",
                _ => "no RSS: lcores hand over what is another's",
            }
            .to_owned(),
        );
    }
    parts.push(
        match (agreed.rx_checksum, agreed.tx_checksum) {
            (true, true) => "checksums by the device",
            (true, false) => "checksums verified by the device, computed here",
            (false, true) => "checksums filled in by the device, verified here",
            (false, false) => "checksums here",
        }
        .to_owned(),
    );
    if agreed.tso_offered {
        parts.push("TSO offered, not used".to_owned());
    }
    match port.rules() {
        0 => (),
        rules => parts.push(format!("{rules} flow rules")),
    }
    if port.is_promiscuous() {
        parts.push("promiscuous".to_owned());
    }
    tracing::info!("{} ({}): {}", info.name, info.driver, parts.join(", "));
}

/// Closes the port, and says whether every frame is back.
fn close(port: Port) -> Result<(), Failure> {
    let name = port.info().name.clone();
    let frames = port.frames();
    let stats = port.stats();
    tracing::info!("{name} counted {stats:?}");
    for (counter, value) in port.xstats().iter().filter(|(_, value)| *value > 0) {
        tracing::debug!("{name} {counter} {value}");
    }
    let driver = port.info().driver.clone();
    let closed: Closed = port.close().map_err(|why| Failure::run(why.to_string()))?;
    match closed.frames_in_use {
        None | Some(0) => {
            tracing::info!("{name} is closed, all {frames} mbufs are back in their pools");
            Ok(())
        }
        Some(count) if closed.kept_by_driver(&driver) => {
            tracing::info!(
                "{name} is closed, all {frames} mbufs are accounted for: {count} are in rings of {driver}, which keeps them"
            );
            Ok(())
        }
        Some(count) => Err(Failure::run(format!(
            "{name}: {count} of {frames} mbufs are not back in their pools, and {} were not given back by us",
            closed.frames_held
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_counted() {
        for (queues, count) in [(&[0][..], 1), (&[1], 1), (&[4], 4), (&[0, 1], 2)] {
            assert_eq!(asked_for(queues), Ok(count), "{queues:?}");
        }
        for queues in [&[1, 2][..], &[0, 2], &[70_000]] {
            assert!(asked_for(queues).is_err(), "{queues:?}");
        }
    }
}
