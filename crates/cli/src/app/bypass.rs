//! TCP of our own on the queues of a port, whatever drives it: an lcore for each queue, and an engine over them.
//!
//! A driver of ports (`af_xdp`, `dpdk`) says what its [`Queues`] are; from there on all is the same: what is to stand between
//! the device and TCP is wrapped around each queue ([`Queues::wrap`], [`Queues::tapped`]), and [`Queues::engine`] makes a
//! [`Server`] of them, for servers and for clients.

use hioload_ws::device::Device;
use hioload_ws::device::tap::{Tap, TapSwitch};
use hioload_ws::engine::{LcorePlacement, MakeTransport, StartError};
use hioload_ws::lcore::Topology;
use hioload_ws::mem::{Pool, PoolOptions};
use hioload_ws::tcp::{Handoff, Stack, StackConfig};
use hioload_ws::transport::bypass::{Bypass, BypassOptions};
use hioload_ws::{Lcores, Server, ServerOptions};

use crate::Failure;
use crate::config::bypass::tcp_addresses;

/// Bytes of Ethernet and VLAN headers before an IP packet.
const LINK_HEADERS: usize = 18;

/// Opens a queue, on the thread that is to own it.
pub(super) type OpenQueue<D> = Box<dyn FnOnce(LcorePlacement) -> Result<D, StartError> + Send>;

/// The queues of a port, not opened yet.
pub(super) struct Queues<D> {
    /// What drives the port, as `--transport` has it.
    pub transport: &'static str,
    /// The port's name.
    pub port: String,
    /// The largest IP packet.
    pub mtu: usize,
    /// The NUMA node it is attached to, if that matters.
    pub node: Option<u32>,
    /// Each with its number.
    pub queues: Vec<(u32, OpenQueue<D>)>,
}

impl<D: Device + 'static> Queues<D> {
    /// The same with each queue inside of what `wrap` makes; the text is a name for it, `PORT-queueN`.
    pub(super) fn wrap<W: Device + 'static>(
        self,
        wrap: impl Fn(D, &str) -> W + Clone + Send + 'static,
    ) -> Queues<W> {
        let port = &self.port;
        let wrapped = self.queues.into_iter().map(|(number, open)| {
            let (wrap, name) = (wrap.clone(), format!("{port}-queue{number}"));
            let open = move |place| Ok(wrap(open(place)?, &name));
            (number, Box::new(open) as OpenQueue<W>)
        });
        let queues = wrapped.collect();
        Queues {
            transport: self.transport,
            port: self.port,
            mtu: self.mtu,
            node: self.node,
            queues,
        }
    }

    /// The same with packets that can be recorded.
    pub(super) fn tapped(self, tap: &TapSwitch) -> Queues<Tap<D>> {
        let tap = tap.clone();
        self.wrap(move |device, name| Tap::new(device, &tap, name))
    }

    /// An engine with an lcore and TCP for each queue. `chosen`: the lcores, if that is not to be decided here;
    /// `options.lcores` is not looked at.
    ///
    /// # Errors
    /// If the lcores are not as many as the queues, or cannot be had.
    pub(super) fn engine(
        self,
        stack: &StackConfig,
        options: ServerOptions,
        chosen: Option<Lcores>,
    ) -> Result<Server<Bypass<D>>, Failure> {
        let lcores = self.lcores(chosen)?;
        let transports = self.transports(stack, &options)?;
        Server::on(options.config, &lcores, options.listen, transports)
            .map_err(|why| Failure::usage(why.to_string()))
    }

    /// One for each queue: those that were asked for, if they are as many; else near the NIC, if there are enough CPUs.
    fn lcores(&self, chosen: Option<Lcores>) -> Result<Lcores, Failure> {
        let queues = self.queues.len();
        let Some(chosen) = chosen else {
            let topology = Topology::detect();
            let near = |cpu: &usize| self.node.is_some() && topology.node_of(*cpu) == self.node;
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
        let Self {
            port, transport, ..
        } = self;
        Err(Failure::usage(format!(
            "{port} has {queues} queues, and --lcores says {wanted}: with {transport} each has one lcore (see --queues)"
        )))
    }

    fn transports(
        self,
        stack: &StackConfig,
        options: &ServerOptions,
    ) -> Result<Vec<MakeTransport<Bypass<D>>>, Failure> {
        let config = &options.config;
        let sockets = &options.sockets;
        let mut secret = [0; 16];
        getrandom(&mut secret)?;
        let mut stack = stack.clone();
        stack.listen = tcp_addresses(&options.listen);
        // Any lcore may get all of the connections.
        stack.max_flows = config.slots();
        stack.secret = secret;
        let options = BypassOptions {
            rx_buffer: sockets.rx_buffer,
            send_queue: config.send_bound(),
            backlog: usize::try_from(sockets.backlog).unwrap_or(1),
        };
        let pool =
            PoolOptions::new(sockets.tx_chunks, sockets.tx_chunk).huge_pages(sockets.huge_pages);
        let handoffs = Handoff::mesh(self.queues.len(), self.mtu + LINK_HEADERS);
        let alone = self.queues.len() == 1;
        let near = self.node;
        let transports = self.queues.into_iter().zip(handoffs);
        let transports = transports.map(|((number, open), handoff)| {
            let stack = stack.clone();
            let handoff = (!alone).then_some(handoff);
            let make = move |place: LcorePlacement| {
                warn_of_distance(number, near, place);
                stand(open(place)?, handoff, stack, options, pool, place)
            };
            Box::new(make) as MakeTransport<Bypass<D>>
        });
        Ok(transports.collect())
    }
}

fn warn_of_distance(queue: u32, near: Option<u32>, place: LcorePlacement) {
    if let (Some(near), Some(here)) = (near, place.node)
        && near != here
    {
        tracing::warn!(
            lcore = place.lcore,
            "queue {queue} is on NUMA node {near} and its lcore on node {here}; see --lcores"
        );
    }
}

/// What stands on a queue: TCP, and the transport over it.
fn stand<D: Device>(
    queue: D,
    handoff: Option<Handoff>,
    stack: StackConfig,
    options: BypassOptions,
    pool: PoolOptions,
    place: LcorePlacement,
) -> Result<Bypass<D>, StartError> {
    let handoff = handoff.map(|mut handoff| {
        handoff.set_waker(queue.waker());
        handoff
    });
    let stack = Stack::new(queue, stack, handoff, place.now).map_err(StartError::transport)?;
    let pool = Pool::new(&pool.node(place.node))
        .map_err(|why| StartError::System("reserve the send buffers", why))?;
    Ok(Bypass::over(stack, options, pool))
}

/// Numbers as `0,1,4`.
pub(super) fn listed(numbers: impl IntoIterator<Item = u32>) -> String {
    let numbers = numbers.into_iter().map(|number| number.to_string());
    numbers.collect::<Vec<_>>().join(",")
}

/// Bytes that nobody can guess.
fn getrandom(into: &mut [u8]) -> Result<(), Failure> {
    use std::io::Read;
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(into))
        .map_err(|why| Failure::run(format!("no random numbers: /dev/urandom: {why}")))
}
