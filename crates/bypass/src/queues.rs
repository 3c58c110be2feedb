//! Queues of a port, and the server over them.

use std::fmt;
use std::net::SocketAddr;

use hioload_device::Device;
use hioload_device::tap::{Tap, TapSwitch};
use hioload_engine::{LcorePlacement, MakeTransport, Server, ServerOptions, StartError};
use hioload_mem::{Pool, PoolOptions};
use hioload_tcp::{Handoff, Stack, StackConfig};
use hioload_transport::Endpoint;
use hioload_transport::bypass::{Bypass, BypassOptions};
use rand::TryRng;
use rand::rngs::SysRng;

use crate::error::Error;
use crate::{check_addresses, lcores};

/// Bytes of Ethernet and VLAN headers before an IP packet.
const LINK_HEADERS: usize = 18;

/// Opens a queue. It is called on the thread of the lcore that owns the queue, so that the queue's memory is local to it.
pub type OpenQueue<D> = Box<dyn FnOnce(LcorePlacement) -> Result<D, StartError> + Send>;

/// The queues of a port before their lcores open them.
pub struct Queues<D> {
    port: String,
    mtu: usize,
    node: Option<u32>,
    stack: StackConfig,
    queues: Vec<(u32, OpenQueue<D>)>,
}

impl<D> fmt::Debug for Queues<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queues")
            .field("port", &self.port)
            .field("queues", &self.queues.len())
            .finish_non_exhaustive()
    }
}

impl<D: Device + 'static> Queues<D> {
    /// The queues of the port with this name, each with its number. `mtu` is the largest IP packet, `node` the NUMA node that the
    /// port is attached to. `stack` describes the TCP of each lcore; its listeners, its secret and its number of flows are set by
    /// [`Queues::server`].
    #[must_use]
    pub fn new(
        port: impl Into<String>,
        mtu: usize,
        node: Option<u32>,
        stack: StackConfig,
        queues: Vec<(u32, OpenQueue<D>)>,
    ) -> Self {
        Self {
            port: port.into(),
            mtu,
            node,
            stack,
            queues,
        }
    }

    /// The number of queues.
    #[must_use]
    pub fn count(&self) -> usize {
        self.queues.len()
    }

    /// The TCP of each lcore.
    #[must_use]
    pub fn stack(&self) -> &StackConfig {
        &self.stack
    }

    /// The same queues, each inside the device that `wrap` makes of it. The text is a name for the queue: `PORT-queueN`.
    #[must_use]
    pub fn wrap<W: Device + 'static>(
        self,
        wrap: impl Fn(D, &str) -> W + Clone + Send + 'static,
    ) -> Queues<W> {
        let port = &self.port;
        let wrapped = self.queues.into_iter().map(|(number, open)| {
            let (wrap, name) = (wrap.clone(), format!("{port}-queue{number}"));
            let open = move |placement| Ok(wrap(open(placement)?, &name));
            (number, Box::new(open) as OpenQueue<W>)
        });
        let queues = wrapped.collect();
        Queues {
            port: self.port,
            mtu: self.mtu,
            node: self.node,
            stack: self.stack,
            queues,
        }
    }

    /// The same queues with a packet tap that `tap` starts and stops.
    #[must_use]
    pub fn tapped(self, tap: &TapSwitch) -> Queues<Tap<D>> {
        let tap = tap.clone();
        self.wrap(move |device, name| Tap::new(device, &tap, name))
    }

    /// A server with one lcore and one TCP stack for each queue. Without listeners it is a client.
    ///
    /// # Errors
    /// [`Error::LcoreCount`] if `options.lcores` are not as many as the queues, [`Error::Entropy`] without random numbers for the
    /// flow hash, [`Error::Start`] if the engine refuses the lcores.
    pub fn server(self, options: ServerOptions) -> Result<Server<Bypass<D>>, Error> {
        let lcores = lcores::choose(&options.lcores, &self.port, self.queues.len(), self.node)?;
        let listen = check_addresses(&self.stack, &options.listen)?;
        let endpoints = listen.iter().copied().map(Endpoint::Tcp).collect();
        let transports = self.transports(&options, listen)?;
        let server = Server::on(options.config, &lcores, endpoints, transports)?;
        Ok(server)
    }

    fn transports(
        self,
        options: &ServerOptions,
        listen: Vec<SocketAddr>,
    ) -> Result<Vec<MakeTransport<Bypass<D>>>, Error> {
        let config = &options.config;
        let sockets = &options.sockets;
        let mut secret = [0; 16];
        SysRng
            .try_fill_bytes(&mut secret)
            .map_err(|why| Error::Entropy(std::io::Error::other(why)))?;
        let mut stack = self.stack;
        stack.listen = listen;
        // Any lcore may get all of the connections.
        stack.max_flows = config.slots();
        stack.secret = secret;
        let bypass = BypassOptions::default()
            .rx_buffer(sockets.rx_buffer)
            .send_queue(config.send_bound())
            .backlog(usize::try_from(sockets.backlog).unwrap_or(1));
        let pool =
            PoolOptions::new(sockets.tx_chunks, sockets.tx_chunk).huge_pages(sockets.huge_pages);
        let handoffs = Handoff::mesh(self.queues.len(), self.mtu + LINK_HEADERS);
        let alone = self.queues.len() == 1;
        let node = self.node;
        let transports = self.queues.into_iter().zip(handoffs);
        let transports = transports.map(|((number, open), handoff)| {
            let stack = stack.clone();
            let handoff = (!alone).then_some(handoff);
            let make = move |placement: LcorePlacement| {
                lcores::warn_of_distance(number, node, placement);
                transport(open(placement)?, handoff, stack, bypass, pool, placement)
            };
            Box::new(make) as MakeTransport<Bypass<D>>
        });
        Ok(transports.collect())
    }
}

/// TCP and the transport on one open queue.
fn transport<D: Device>(
    queue: D,
    handoff: Option<Handoff>,
    stack: StackConfig,
    options: BypassOptions,
    pool: PoolOptions,
    placement: LcorePlacement,
) -> Result<Bypass<D>, StartError> {
    let handoff = handoff.map(|mut handoff| {
        handoff.set_waker(queue.waker());
        handoff
    });
    let stack = Stack::new(queue, stack, handoff, placement.now).map_err(StartError::transport)?;
    let pool = Pool::new(&pool.node(placement.node))
        .map_err(|why| StartError::System("reserve the send buffers", why))?;
    Ok(Bypass::over(stack, options, pool))
}
