//! The data plane without a NIC: lcores of a server and of a generator in one process, each pair connected by a pair of devices in
//! memory.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hioload_device::Device;
use hioload_device::memory::{End, MemoryDevice, PairOptions, ports};
use hioload_engine::{Config, LcorePlacement, MakeTransport, StartError};
use hioload_mem::{Pool, PoolOptions};
use hioload_tcp::{Cidr, Stack, StackConfig};
use hioload_transport::bypass::{Bypass, BypassOptions};

/// The address of the server.
pub const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1)), 9001);
/// Prefix length of the network of both ends.
const PREFIX: u8 = 16;
/// Source ports of each address of the generator.
const PORTS: std::ops::RangeInclusive<u16> = 1024..=65_535;
/// Connections for each address of the generator: fewer than ports, since some are in TIME_WAIT.
const EACH: usize = 50_000;
/// Addresses available to the generator.
const ADDRESSES: usize = 50_000;

/// The transports of the lcores. Each of `servers` is connected to the one of `clients` with the same index.
pub struct Ends<S: Device, C: Device> {
    /// Transports of the server.
    pub servers: Vec<MakeTransport<Bypass<S>>>,
    /// Transports of the generator.
    pub clients: Vec<MakeTransport<Bypass<C>>>,
}

impl<S: Device, C: Device> std::fmt::Debug for Ends<S, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ends").finish_non_exhaustive()
    }
}

/// Makes both ends of `pairs` pairs of devices, for a server and a generator with these configurations. `on_server` and `on_client`
/// may wrap a device, for example in a tap or an attacker; they receive the number of the pair.
///
/// # Errors
/// If there is no memory for the frames, or there are not enough addresses for the connections.
pub fn ends<S, C>(
    pairs: usize,
    (server, client): (&Config, &Config),
    on_server: impl Fn(MemoryDevice, usize) -> S + Clone + Send + 'static,
    on_client: impl Fn(MemoryDevice, usize) -> C + Clone + Send + 'static,
) -> io::Result<Ends<S, C>>
where
    S: Device + 'static,
    C: Device + 'static,
{
    let options = PairOptions::default();
    let both = ports(&options, pairs)?;
    let mut ends = Ends {
        servers: Vec::new(),
        clients: Vec::new(),
    };
    for (n, (near, far)) in both.into_iter().enumerate() {
        let mut at_server = stack(server);
        at_server.addresses = vec![cidr(SERVER.ip())?];
        at_server.listen = vec![SERVER];
        let mut at_client = stack(client);
        at_client.addresses = addresses(client.tunables.limits.max_connections)?;
        at_client.source_ports = PORTS;
        // Its peer is the server in the same process.
        at_client.ring_memory = 1 << 40;
        ends.servers
            .push(make(near, n, on_server.clone(), at_server, server));
        ends.clients
            .push(make(far, n, on_client.clone(), at_client, client));
    }
    Ok(ends)
}

/// The settings of both stacks.
fn stack(config: &Config) -> StackConfig {
    let mut stack = StackConfig::default();
    stack.max_flows = config.slots();
    stack.secret = rand::random();
    // Frees the port of a closed connection early.
    stack.linger = std::time::Duration::from_secs(2);
    stack
}

fn cidr(address: IpAddr) -> io::Result<Cidr> {
    Cidr::new(address, PREFIX).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// The addresses of the generator for this many connections.
fn addresses(connections: usize) -> io::Result<Vec<Cidr>> {
    let count = connections.div_ceil(EACH).max(1);
    if count > ADDRESSES {
        let text = format!("not enough source addresses for {connections} connections");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let addresses = (0..count as u32).map(|n| {
        // From 10.77.1.0 on.
        let host = 0x0a4d_0100 + n;
        cidr(Ipv4Addr::from(host).into())
    });
    addresses.collect()
}

fn make<D: Device + 'static>(
    end: End,
    pair: usize,
    wrap: impl FnOnce(MemoryDevice, usize) -> D + Send + 'static,
    stack: StackConfig,
    config: &Config,
) -> MakeTransport<Bypass<D>> {
    let options = BypassOptions::default().send_queue(config.send_bound());
    let make = move |placement: LcorePlacement| {
        let device = wrap(end.open(), pair);
        let stack =
            Stack::new(device, stack, None, placement.now).map_err(StartError::transport)?;
        let pool = Pool::new(&PoolOptions::new(16_384, 16 << 10).node(placement.node))
            .map_err(|why| StartError::System("reserve the send buffers", why))?;
        Ok(Bypass::over(stack, options, pool))
    };
    Box::new(make)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_connections_get_enough_addresses() {
        let all = addresses(1_000_000).expect("addresses");
        assert_eq!(all.len(), 20);
        assert!(
            all.iter()
                .all(|own| own.contains(SERVER.ip()) && own.addr() != SERVER.ip())
        );
        assert!(addresses(usize::MAX).is_err());
    }
}
