//! DPDK: the queues of a port that one of its drivers runs.

mod describe;
mod port;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hioload_dpdk::{PendingQueue, Port, PortInfo, PortOptions, Queue, Steering};
use hioload_engine::{LcorePlacement, Lcores, ServerOptions, StartError};
use hioload_lcore::Topology;
use hioload_tcp::StackConfig;
use hioload_transport::bypass::Bypass;

use crate::check_addresses;
use crate::error::Error;
use crate::queues::{OpenQueue, Queues};
use crate::setters::stack_setters;

pub use hioload_dpdk::{Eal, Error as DpdkError, LinkState, PortName, PortStats, split_arguments};
pub use port::{DpdkPort, PortEnd};

/// A server over the queues of a port.
pub type Server = hioload_engine::Server<Bypass<Queue>>;

/// A port of DPDK and the TCP on its queues.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DpdkOptions {
    /// The port.
    pub port: PortName,
    /// How many queues to open. `None`: one for each lcore if the device spreads flows over queues (RSS), else one.
    pub queues: Option<u16>,
    /// TCP: addresses, gateways, MAC address, VLAN, sizes and limits.
    pub tcp: StackConfig,
    /// The largest IP packet. `None`: the device's setting.
    pub mtu: Option<u16>,
    /// Received frames that each queue of the device may hold; the device may take fewer.
    pub rx_descriptors: u16,
    /// Frames to be sent that each queue of the device may hold; the device may take fewer.
    pub tx_descriptors: u16,
    /// Frames (mbufs) of each queue. `None`: enough for its descriptors, and a thousand more.
    pub mbufs: Option<u32>,
    /// Leave TCP checksums to a device that offers it.
    pub checksum_offload: bool,
    /// Have a device that can (rte_flow) leave packets for other addresses to the kernel.
    pub flow_rules: bool,
    /// Receive frames to any MAC address.
    pub promiscuous: bool,
}

impl DpdkOptions {
    /// A port with the defaults. At least one [`address`](Self::address) has to be added.
    #[must_use]
    pub fn new(port: PortName) -> Self {
        let defaults = PortOptions::default();
        Self {
            port,
            queues: None,
            tcp: StackConfig::default(),
            mtu: None,
            rx_descriptors: defaults.rx_descriptors,
            tx_descriptors: defaults.tx_descriptors,
            mbufs: None,
            checksum_offload: true,
            flow_rules: true,
            promiscuous: false,
        }
    }

    stack_setters!();
}

/// Starts the port and makes a server over its queues. Without listeners the server is a client. Close the port after the server
/// has ended ([`DpdkPort::close`]).
///
/// # Errors
/// See [`open`] and [`Queues::server`].
pub fn bind(
    eal: &Eal,
    options: DpdkOptions,
    server: ServerOptions,
) -> Result<(Server, DpdkPort), Error> {
    let (port, queues) = open(eal, options, &server)?;
    Ok((queues.server(server)?, port))
}

/// Starts the port and returns its queues.
///
/// # Errors
/// Addresses and the listeners of `server` do not agree, or DPDK cannot start the port with these options.
pub fn open(
    eal: &Eal,
    options: DpdkOptions,
    server: &ServerOptions,
) -> Result<(DpdkPort, Queues<Queue>), Error> {
    check_addresses(&options.tcp, &server.listen)?;
    let mut wanted = port_options(&options);
    wanted.queues = options
        .queues
        .unwrap_or_else(|| fitting_queues(eal, &options.port, &server.lcores));
    let (port, pending) = Port::open(eal, &wanted)?;
    tracing::info!("{}", describe::port(&port, pending.len()));
    let info = port.info();
    let queues = Queues::new(
        info.name.clone(),
        port.mtu().into(),
        info.node,
        options.tcp,
        pending.into_iter().map(claim_later).collect(),
    );
    Ok((DpdkPort::watched(port)?, queues))
}

fn claim_later(queue: PendingQueue) -> (u32, OpenQueue<Queue>) {
    let number = queue.number().into();
    let open = |_: LcorePlacement| queue.claim().map_err(StartError::transport);
    (number, Box::new(open))
}

fn port_options(options: &DpdkOptions) -> PortOptions {
    let addresses: Vec<IpAddr> = options.tcp.addresses.iter().map(|own| own.addr()).collect();
    // Resets answer segments to ports without a listener, and connections of a client have any port: so all TCP is taken.
    let every_port = vec![
        (Ipv4Addr::UNSPECIFIED, 0).into(),
        (Ipv6Addr::UNSPECIFIED, 0).into(),
    ];
    let mut port = PortOptions::new(options.port.clone());
    port.mtu = options.mtu;
    port.rx_descriptors = options.rx_descriptors;
    port.tx_descriptors = options.tx_descriptors;
    port.frames = options.mbufs;
    port.checksums = options.checksum_offload;
    port.promiscuous = options.promiscuous;
    port.mac = options.tcp.mac;
    if options.flow_rules {
        port.steering = Some(Steering::new(addresses, every_port, options.tcp.vlan));
    }
    port
}

/// As many queues as lcores on a device that spreads flows over its queues. On other devices all packets arrive on one queue.
fn fitting_queues(eal: &Eal, name: &PortName, lcores: &Lcores) -> u16 {
    let ports = Port::list(eal);
    let info = ports.iter().find(|info| is_named(info, name));
    // Opening a port that does not exist reports it.
    info.map_or(1, |info| {
        let wanted = match lcores {
            Lcores::Count(count) => *count,
            Lcores::Cpus(cpus) => cpus.len(),
            Lcores::Auto if info.rss => Topology::detect().placement().len(),
            Lcores::Auto => 1,
        };
        // More lcores than queues are refused when the server is made.
        let most = info.max_queues.max(1);
        u16::try_from(wanted).unwrap_or(u16::MAX).clamp(1, most)
    })
}

fn is_named(info: &PortInfo, name: &PortName) -> bool {
    match name {
        PortName::Number(number) => info.number == *number,
        PortName::Name(name) => info.name == *name,
        _ => false,
    }
}
