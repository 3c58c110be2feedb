//! The port, and its queues.

use hioload_ws::afxdp::{
    BindMode, BusyPoll, Ownership, PendingQueue, Port, PortOptions, Queue, RxChecksum, XdpMode,
};
use hioload_ws::device::tap::TapSwitch;
use hioload_ws::engine::{LcorePlacement, StartError};
use hioload_ws::{Lcores, ServerOptions};

use super::super::bypass::{OpenQueue, Queues, listed};
use super::super::client::{ClientLink, Work};
use super::super::control::Kind;
use super::super::serve::Site;
use super::super::signals::Signals;
use crate::Failure;
use crate::config::af_xdp::AfXdp;
use crate::config::bypass::{BypassPlan, tcp_addresses};
use crate::config::plan::Plan;
use crate::config::values;

const NAME: &str = "af-xdp";

/// Frames per busy-polling call: a burst.
const POLL_BUDGET: u32 = 64;

/// Serves until a signal ends it.
pub(crate) fn serve(plan: Plan, signals: Signals) -> Result<(), Failure> {
    let site = Site::of(&plan);
    let chosen = plan.lcores_set.then(|| plan.server.lcores.clone());
    let tap = TapSwitch::new();
    let (port, queues) = open(&plan.af_xdp, &plan.bypass, &plan.server)?;
    let engine = queues
        .tapped(&tap)
        .engine(&plan.bypass.stack, plan.server, chosen)?;
    let outcome = site.run(engine, signals, Kind::Bypass { name: NAME, tap });
    match port.counters() {
        Ok(counters) => tracing::info!("the XDP program counted {counters:?}"),
        Err(why) => tracing::debug!("no counters of the XDP program: {why}"),
    }
    outcome
}

/// Does a client's work on the queues of an interface.
pub(crate) fn client<W: Work>(
    link: &ClientLink,
    options: ServerOptions,
    chosen: Option<Lcores>,
    work: W,
) -> Result<W::Outcome, Failure> {
    if link.af_xdp.share_address {
        return Err(Failure::usage(
            "--share-address leaves us the ports that are listened on, and a client listens on none",
        ));
    }
    let (port, queues) = open(&link.af_xdp, &link.bypass, &options)?;
    let uncovered = listed(port.uncovered_queues());
    if !uncovered.is_empty() {
        let name = &port.nic().name;
        let ours = queues.queues.len();
        return Err(Failure::usage(format!(
            "{name}: answers may arrive on queues {uncovered}, which we do not take: ethtool -L {name} combined {ours}"
        )));
    }
    work.over(queues, &link.bypass.stack, options, chosen)
}

/// Opens the interface; gives its queues.
fn open(
    link: &AfXdp,
    bypass: &BypassPlan,
    options: &ServerOptions,
) -> Result<(Port, Queues<Queue>), Failure> {
    let wanted = port_options(link, bypass, options);
    let (port, pending) = Port::open(&wanted).map_err(|why| Failure::usage(why.to_string()))?;
    log_port(&port, &pending);
    let nic = port.nic();
    let queues = pending.into_iter().map(|queue| {
        let number = queue.number();
        let open = move |_: LcorePlacement| {
            queue
                .claim()
                .map_err(|why| StartError::Transport(why.to_string()))
        };
        (number, Box::new(open) as OpenQueue<Queue>)
    });
    let queues = Queues {
        transport: NAME,
        port: nic.name.clone(),
        mtu: nic.mtu,
        node: nic.node,
        queues: queues.collect(),
    };
    Ok((port, queues))
}

fn port_options(link: &AfXdp, bypass: &BypassPlan, options: &ServerOptions) -> PortOptions {
    let interface = link.interface.clone().unwrap_or_default();
    let addresses = bypass.stack.addresses.iter().map(|cidr| cidr.addr());
    let addresses = addresses.chain(bypass.also.iter().copied());
    let mut port = PortOptions::new(hioload_ws::afxdp::object(), interface, addresses);
    port.queues = bypass.queues.clone().unwrap_or_default();
    port.mode = match link.xdp_mode {
        values::XdpMode::Auto => XdpMode::Auto,
        values::XdpMode::Native => XdpMode::Native,
        values::XdpMode::Skb => XdpMode::Skb,
    };
    port.bind = match link.zero_copy {
        values::ZeroCopy::Auto => BindMode::Auto,
        values::ZeroCopy::On => BindMode::ZeroCopy,
        values::ZeroCopy::Off => BindMode::Copy,
    };
    if link.share_address {
        port.ownership = Ownership::Shared;
    }
    port.listen = tcp_addresses(&options.listen);
    port.vlan = bypass.stack.vlan;
    port.huge_pages = options.sockets.huge_pages;
    port.rx_checksum = match link.rx_checksum {
        values::RxChecksum::Auto => RxChecksum::Auto,
        values::RxChecksum::Verify => RxChecksum::Verify,
        values::RxChecksum::Trust => RxChecksum::Trust,
    };
    port.busy_poll = link.busy_poll.map(|time| {
        let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        BusyPoll::new(micros.max(1), POLL_BUDGET)
    });
    port
}

/// One line about the interface, and one if it has queues that are not ours.
fn log_port(port: &Port, queues: &[PendingQueue]) {
    let zero_copy = queues.iter().filter(|queue| queue.capabilities().zero_copy);
    let copies = match zero_copy.count() {
        0 => "copy",
        n if n == queues.len() => "zero-copy",
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
        listed(queues.iter().map(PendingQueue::number))
    );
    let uncovered = listed(port.uncovered_queues());
    if !uncovered.is_empty() {
        tracing::warn!(
            "what is ours and arrives on queues {uncovered} of {0} is dropped: take them too, or ethtool -L {0} combined {1}",
            nic.name,
            queues.len()
        );
    }
}
