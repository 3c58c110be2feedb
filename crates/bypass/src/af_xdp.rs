//! AF_XDP: the queues of a network interface.

use std::io;
use std::net::{IpAddr, SocketAddr};

use hioload_afxdp::{PendingQueue, Port, PortOptions, Queue};
use hioload_engine::{LcorePlacement, ServerOptions, StartError};
use hioload_tcp::StackConfig;
use hioload_transport::bypass::Bypass;

use crate::error::Error;
use crate::queues::{OpenQueue, Queues};
use crate::setters::stack_setters;
use crate::{check_addresses, listed};

pub use hioload_afxdp::{
    BindMode, BusyPoll, OpenError, Ownership, RxChecksum, XdpCounters, XdpMode, XdpObject,
};

/// A server over the queues of an interface.
pub type Server = hioload_engine::Server<Bypass<Queue>>;

/// A network interface and the TCP on its queues.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct XdpOptions {
    /// The interface's name.
    pub interface: String,
    /// The queues to take. Empty: all of them. Packets for the server that arrive on another queue are dropped and counted.
    pub queues: Vec<u32>,
    /// TCP: addresses, gateways, VLAN, sizes and limits.
    pub tcp: StackConfig,
    /// Addresses besides those of `tcp` whose packets the queues receive, for a device that is wrapped around them.
    pub more_addresses: Vec<IpAddr>,
    /// Whether the kernel has the addresses too.
    pub ownership: Ownership,
    /// Where the XDP program runs.
    pub mode: XdpMode,
    /// Whether the NIC writes packets into the frames or the kernel copies them.
    pub bind: BindMode,
    /// Whether TCP verifies the checksums of received packets.
    pub rx_checksum: RxChecksum,
    /// Polling of the driver from the lcore.
    pub busy_poll: Option<BusyPoll>,
}

impl XdpOptions {
    /// All queues of `interface`. At least one [`address`](Self::address) has to be added.
    #[must_use]
    pub fn new(interface: impl Into<String>) -> Self {
        Self {
            interface: interface.into(),
            queues: Vec::new(),
            tcp: StackConfig::default(),
            more_addresses: Vec::new(),
            ownership: Ownership::Own,
            mode: XdpMode::Auto,
            bind: BindMode::Auto,
            rx_checksum: RxChecksum::Auto,
            busy_poll: None,
        }
    }

    stack_setters!();

    /// Shares the addresses with the kernel: the server receives TCP to the listened ports, the kernel everything else.
    #[must_use]
    pub fn shared(mut self) -> Self {
        self.ownership = Ownership::Shared;
        self
    }
}

/// An open interface. The XDP program stays attached until this value and all queues are dropped, or the process ends.
#[derive(Debug)]
pub struct XdpPort(Port);

impl XdpPort {
    /// The interface's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.nic().name
    }

    /// The verdicts of the XDP program so far.
    ///
    /// # Errors
    /// The kernel does not return the map.
    pub fn counters(&self) -> io::Result<XdpCounters> {
        self.0.counters()
    }
}

/// Opens the interface and makes a server over its queues. `program` is `ebpf/redirect.bpf.c` in compiled form. Without listeners
/// the server is a client.
///
/// # Errors
/// See [`open`] and [`Queues::server`].
pub fn bind(
    program: XdpObject,
    options: XdpOptions,
    server: ServerOptions,
) -> Result<(Server, XdpPort), Error> {
    let (port, queues) = open(program, options, &server)?;
    Ok((queues.server(server)?, port))
}

/// Opens the interface: attaches the program, and returns the queues. The listeners of `server` decide which ports of shared
/// addresses are redirected.
///
/// # Errors
/// Addresses and listeners do not agree; the interface cannot be opened; or, for a client, answers could get lost: its addresses
/// are shared, or there are queues that it does not take.
pub fn open(
    program: XdpObject,
    options: XdpOptions,
    server: &ServerOptions,
) -> Result<(XdpPort, Queues<Queue>), Error> {
    let listen = check_addresses(&options.tcp, &server.listen)?;
    let is_client = server.listen.is_empty();
    if is_client && options.ownership == Ownership::Shared {
        return Err(Error::SharedAddress);
    }
    let (port, pending) = Port::open(&port_options(program, &options, listen, server))?;
    log_port(&port, &pending);
    warn_of_hidden_tags(&port, options.tcp.vlan);
    let uncovered: Vec<u32> = port.uncovered_queues().collect();
    if is_client && !uncovered.is_empty() {
        return Err(Error::UncoveredQueues {
            interface: options.interface,
            uncovered,
            taken: pending.len(),
        });
    }
    let queues = pending.into_iter().map(|queue| {
        let number = queue.number();
        let open = move |_: LcorePlacement| queue.claim().map_err(StartError::transport);
        (number, Box::new(open) as OpenQueue<Queue>)
    });
    let stack = stack(options.tcp, options.ownership);
    let nic = port.nic();
    let queues = Queues::new(nic.name.clone(), nic.mtu, nic.node, stack, queues.collect());
    Ok((XdpPort(port), queues))
}

/// TCP answers ARP, neighbour discovery and ICMP unless the kernel, which shares the addresses, does.
fn stack(mut tcp: StackConfig, ownership: Ownership) -> StackConfig {
    tcp.answers_for_addresses = ownership == Ownership::Own;
    tcp
}

fn port_options(
    program: XdpObject,
    options: &XdpOptions,
    listen: Vec<SocketAddr>,
    server: &ServerOptions,
) -> PortOptions {
    let addresses = options.tcp.addresses.iter().map(|own| own.addr());
    let addresses = addresses.chain(options.more_addresses.iter().copied());
    let mut port = PortOptions::new(program, &options.interface, addresses);
    port.queues.clone_from(&options.queues);
    port.mode = options.mode;
    port.bind = options.bind;
    port.ownership = options.ownership;
    port.listen = listen;
    port.vlan = options.tcp.vlan;
    port.huge_pages = server.sockets.huge_pages;
    port.rx_checksum = options.rx_checksum;
    port.busy_poll = options.busy_poll;
    port
}

/// Logs the interface, and its queues that are not taken.
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
            "packets for this process that arrive on queues {uncovered} of {0} are dropped: take these queues too, or ethtool -L {0} combined {1}",
            nic.name,
            queues.len()
        );
    }
}

/// Warns of a NIC that removes VLAN tags, so that the program takes frames of all VLANs for untagged ones.
fn warn_of_hidden_tags(port: &Port, vlan: Option<u16>) {
    let nic = port.nic();
    if nic.strips_tags() {
        let effect = match vlan {
            None => "frames of every VLAN reach this process",
            Some(_) => "frames of its VLAN do not reach this process",
        };
        tracing::warn!(
            "{0} removes VLAN tags before they can be examined, so {effect}: ethtool -K {0} rxvlan off",
            nic.name
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_answers_for_shared_addresses() {
        let options = XdpOptions::new("eth1").address("10.77.0.2/24".parse().expect("an address"));
        assert!(stack(options.tcp.clone(), options.ownership).answers_for_addresses);
        let shared = options.shared();
        assert!(!stack(shared.tcp, shared.ownership).answers_for_addresses);
    }
}
