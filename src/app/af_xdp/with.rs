//! The port, its queues, and a server on them.

use hioload_ws::afxdp::{
    BindMode, BusyPoll, Ownership, Port, PortOptions, Queue, QueueSeed, RxChecksum, XdpMode,
};
use hioload_ws::device::Device;
use hioload_ws::device::tap::{Tap, TapSwitch};
use hioload_ws::engine::{MakeTransport, Place, StartError};
use hioload_ws::lcore::Topology;
use hioload_ws::mem::{Pool, PoolOptions};
use hioload_ws::tcp::{Stack, StackConfig, Strays};
use hioload_ws::transport::bypass::{Bypass, BypassOptions};
use hioload_ws::{Lcores, Server, ServerOptions};

use super::super::control::Kind;
use super::super::serve::Site;
use super::super::signals::Signals;
use crate::Failure;
use crate::config::af_xdp::AfXdp;
use crate::config::plan::Plan;
use crate::config::values;

/// A queue whose packets can be recorded.
type Tapped = Tap<Queue>;

/// Frames per busy-polling call: a burst.
const POLL_BUDGET: u32 = 64;
/// Bytes of Ethernet and VLAN headers before an IP packet.
const LINK_HEADERS: usize = 18;

/// Serves until a signal ends it.
pub(crate) fn serve(plan: Plan, signals: Signals) -> Result<(), Failure> {
    let site = Site::of(&plan);
    let chosen = plan.lcores_set.then(|| plan.server.lcores.clone());
    let tap = TapSwitch::new();
    let (port, server) = open(&plan.af_xdp, plan.server, chosen, &tap)?;
    let name = "af-xdp";
    let outcome = site.run(server, signals, Kind::Bypass { name, tap });
    match port.counters() {
        Ok(counters) => tracing::info!("the XDP program counted {counters:?}"),
        Err(why) => tracing::debug!("no counters of the XDP program: {why}"),
    }
    outcome
}

/// Hands `run` a server without listeners, on the one queue of an interface.
pub(crate) fn connect<R>(
    link: &AfXdp,
    options: ServerOptions,
    run: impl FnOnce(Server<Bypass<Tapped>>) -> R,
) -> Result<R, Failure> {
    if !link.stack.answers_for_addresses {
        return Err(Failure::usage(
            "--share-address leaves us the ports that are listened on, and connect listens on none",
        ));
    }
    let (port, server) = open(link, options, None, &TapSwitch::new())?;
    let queues = server.lcores() + port.uncovered_queues().count();
    if queues != 1 {
        // The answers to one lcore's connection may arrive on any queue.
        let name = &port.nic().name;
        return Err(Failure::usage(format!(
            "{name} has {queues} queues, and connect works on one: ethtool -L {name} combined 1"
        )));
    }
    Ok(run(server))
}

/// Opens the interface, and makes a server with an lcore for each of its queues.
fn open(
    link: &AfXdp,
    options: ServerOptions,
    chosen: Option<Lcores>,
    tap: &TapSwitch,
) -> Result<(Port, Server<Bypass<Tapped>>), Failure> {
    let wanted = port_options(link, &options);
    let (port, seeds) = Port::open(&wanted).map_err(|why| Failure::usage(why.to_string()))?;
    log_port(&port, &seeds);
    let lcores = lcores(chosen, seeds.len(), port.nic().node)?;
    let transports = transports(link, &options, &port, seeds, tap)?;
    let server = Server::on(options.config, &lcores, options.listen, transports)
        .map_err(|why| Failure::usage(why.to_string()))?;
    Ok((port, server))
}

fn port_options(link: &AfXdp, options: &ServerOptions) -> PortOptions {
    let interface = link.interface.clone().unwrap_or_default();
    let addresses = link.stack.addresses.iter().map(|cidr| cidr.addr());
    PortOptions {
        queues: link.queues.clone().unwrap_or_default(),
        mode: match link.xdp_mode {
            values::XdpMode::Auto => XdpMode::Auto,
            values::XdpMode::Native => XdpMode::Native,
            values::XdpMode::Skb => XdpMode::Skb,
        },
        bind: match link.zero_copy {
            values::ZeroCopy::Auto => BindMode::Auto,
            values::ZeroCopy::On => BindMode::ZeroCopy,
            values::ZeroCopy::Off => BindMode::Copy,
        },
        ownership: if link.stack.answers_for_addresses {
            Ownership::Own
        } else {
            Ownership::Shared
        },
        listen: AfXdp::listen(&options.listen),
        vlan: link.stack.vlan,
        huge_pages: options.sockets.huge_pages,
        rx_checksum: match link.rx_checksum {
            values::RxChecksum::Auto => RxChecksum::Auto,
            values::RxChecksum::Verify => RxChecksum::Verify,
            values::RxChecksum::Trust => RxChecksum::Trust,
        },
        busy_poll: link.busy_poll.map(|time| BusyPoll {
            micros: u32::try_from(time.as_micros()).unwrap_or(u32::MAX).max(1),
            budget: POLL_BUDGET,
        }),
        ..PortOptions::new(hioload_ws::afxdp::object(), interface, addresses)
    }
}

/// One for each queue: those that were asked for, if they are as many; else near the NIC, if there are enough CPUs.
fn lcores(chosen: Option<Lcores>, queues: usize, node: Option<u32>) -> Result<Lcores, Failure> {
    let Some(chosen) = chosen else {
        let topology = Topology::detect();
        let near = |cpu: &usize| node.is_some() && topology.node_of(*cpu) == node;
        let near: Vec<usize> = topology.placement().into_iter().filter(near).collect();
        return Ok(if near.len() >= queues {
            Lcores::Cpus(near[..queues].to_vec())
        } else {
            Lcores::Count(queues)
        });
    };
    let wanted = match &chosen {
        Lcores::Count(count) => *count,
        Lcores::Cpus(cpus) => cpus.len(),
    };
    if wanted == queues {
        return Ok(chosen);
    }
    Err(Failure::usage(format!(
        "--lcores says {wanted} and there are {queues} queues: with af-xdp each has one lcore (see --queues)"
    )))
}

fn transports(
    link: &AfXdp,
    options: &ServerOptions,
    port: &Port,
    seeds: Vec<QueueSeed>,
    tap: &TapSwitch,
) -> Result<Vec<MakeTransport<Bypass<Tapped>>>, Failure> {
    let config = &options.config;
    let sockets = &options.sockets;
    let mut secret = [0; 16];
    getrandom(&mut secret)?;
    let stack = StackConfig {
        listen: AfXdp::listen(&options.listen),
        // Any lcore may get all of the connections.
        max_flows: config.slots(),
        secret,
        ..link.stack.clone()
    };
    let options = BypassOptions {
        rx_buffer: sockets.rx_buffer,
        send_queue: config.send_bound(),
        backlog: usize::try_from(sockets.backlog).unwrap_or(1),
    };
    let pool = PoolOptions {
        buffers: sockets.tx_chunks,
        buffer_size: sockets.tx_chunk,
        huge_pages: sockets.huge_pages,
        node: None,
    };
    let strays = Strays::mesh(seeds.len(), port.nic().mtu + LINK_HEADERS);
    let alone = seeds.len() == 1;
    let transports = seeds.into_iter().zip(strays).map(|(seed, strays)| {
        let (stack, tap) = (stack.clone(), tap.clone());
        let strays = (!alone).then_some(strays);
        let interface = port.nic().name.clone();
        let make = move |place| {
            let name = format!("{interface}-queue{}", seed.queue());
            let queue = Tap::new(open_queue(seed, place)?, &tap, &name);
            stand(queue, strays, stack, options, pool, place)
        };
        Box::new(make) as MakeTransport<Bypass<Tapped>>
    });
    Ok(transports.collect())
}

/// Opens a queue on the thread that is to own it.
fn open_queue(seed: QueueSeed, place: Place) -> Result<Queue, StartError> {
    let number = seed.queue();
    let near = seed.node();
    if let (Some(near), Some(here)) = (near, place.node)
        && near != here
    {
        tracing::warn!(
            lcore = place.lcore,
            "queue {number} is on NUMA node {near} and its lcore on node {here}; see --lcores"
        );
    }
    seed.open()
        .map_err(|why| StartError::Transport(why.to_string()))
}

/// What stands on a queue: TCP, and the transport over it.
fn stand(
    queue: Tapped,
    strays: Option<Strays>,
    stack: StackConfig,
    options: BypassOptions,
    pool: PoolOptions,
    place: Place,
) -> Result<Bypass<Tapped>, StartError> {
    let strays = strays.map(|mut strays| {
        strays.set_waker(queue.waker());
        strays
    });
    let stack = Stack::new(queue, stack, strays, place.now)
        .map_err(|why| StartError::Transport(why.to_string()))?;
    let pool = Pool::new(&PoolOptions {
        node: place.node,
        ..pool
    })
    .map_err(|why| StartError::System("reserve the send buffers", why))?;
    Ok(Bypass::over(stack, options, pool))
}

/// One line about the interface, and one if it has queues that are not ours.
fn log_port(port: &Port, seeds: &[QueueSeed]) {
    let zero_copy = seeds.iter().filter(|seed| seed.capabilities().zero_copy);
    let copies = match zero_copy.count() {
        0 => "copy",
        n if n == seeds.len() => "zero-copy",
        _ => "zero-copy on some queues",
    };
    let mode = match port.mode() {
        XdpMode::Skb => "SKB",
        _ => "native",
    };
    let nic = port.nic();
    tracing::info!(
        "{} ({}, mtu {}): {mode} mode, {copies}, queues {}",
        nic.name,
        nic.driver,
        nic.mtu,
        listed(seeds.iter().map(QueueSeed::queue))
    );
    let uncovered = listed(port.uncovered_queues());
    if !uncovered.is_empty() {
        tracing::warn!(
            "what is ours and arrives on queues {uncovered} of {0} is dropped: take them too, or ethtool -L {0} combined {1}",
            nic.name,
            seeds.len()
        );
    }
}

fn listed(queues: impl Iterator<Item = u32>) -> String {
    queues
        .map(|queue| queue.to_string())
        .collect::<Vec<_>>()
        .join(",")
}

/// Bytes that nobody can guess.
fn getrandom(into: &mut [u8]) -> Result<(), Failure> {
    use std::io::Read;
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(into))
        .map_err(|why| Failure::run(format!("no random numbers: /dev/urandom: {why}")))
}
