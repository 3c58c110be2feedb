//! The data plane without a NIC: lcores of a server and of a generator in one process, each pair of them joined by a pair of devices
//! in memory.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hioload_device::Device;
use hioload_device::memory::{End, MemoryDevice, PairOptions, ports};
use hioload_engine::{Config, LcorePlacement, MakeTransport, StartError};
use hioload_mem::{Pool, PoolOptions};
use hioload_tcp::{Cidr, Stack, StackConfig};
use hioload_transport::bypass::{Bypass, BypassOptions};

/// Where the server listens.
pub const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1)), 9001);
/// The network that both ends are in.
const PREFIX: u8 = 16;
/// Source ports of each address of the generator.
const PORTS: std::ops::RangeInclusive<u16> = 1024..=65_535;
/// Connections that one of its addresses is taken to have room for: fewer than ports, since some are in TIME_WAIT.
const EACH: usize = 50_000;
/// Addresses there are besides the server's.
const ADDRESSES: usize = 50_000;

/// The transports of lcores; one of `servers` is joined to one of `clients`.
pub struct Ends<S: Device, C: Device> {
    /// The server's.
    pub servers: Vec<MakeTransport<Bypass<S>>>,
    /// The generator's.
    pub clients: Vec<MakeTransport<Bypass<C>>>,
}

impl<S: Device, C: Device> std::fmt::Debug for Ends<S, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ends").finish_non_exhaustive()
    }
}

/// Both ends of `pairs` pairs of devices, for a server and a generator of these configurations. `on_server` and `on_client` may
/// put something around a device, such as a tap; they are given the number of the pair.
///
/// # Errors
/// There is no memory for the frames, or for so many connections there are no addresses.
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
        let at_server = StackConfig {
            addresses: vec![cidr(SERVER.ip())?],
            listen: vec![SERVER],
            ..stack(server)
        };
        let at_client = StackConfig {
            addresses: addresses(client.limits.max_connections)?,
            source_ports: PORTS,
            ..stack(client)
        };
        ends.servers
            .push(make(near, n, on_server.clone(), at_server, server));
        ends.clients
            .push(make(far, n, on_client.clone(), at_client, client));
    }
    Ok(ends)
}

/// What both stacks have in common.
fn stack(config: &Config) -> StackConfig {
    StackConfig {
        max_flows: config.slots(),
        secret: rand::random(),
        // A closed connection is gone: its port is needed.
        linger: std::time::Duration::from_secs(2),
        ..StackConfig::default()
    }
}

fn cidr(address: IpAddr) -> io::Result<Cidr> {
    Cidr::new(address, PREFIX).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// As many addresses of the generator as so many connections need.
fn addresses(connections: usize) -> io::Result<Vec<Cidr>> {
    let count = connections.div_ceil(EACH).max(1);
    if count > ADDRESSES {
        let text = format!("there are no source addresses for {connections} connections");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let addresses = (0..count as u32).map(|n| {
        // 10.77.1.0 and on, but for the ends of the network.
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
    let options = BypassOptions {
        send_queue: config.send_bound(),
        ..BypassOptions::default()
    };
    let make = move |place: LcorePlacement| {
        let device = wrap(end.open(), pair);
        let stack = Stack::new(device, stack, None, place.now)
            .map_err(|why| StartError::Transport(why.to_string()))?;
        let pool = Pool::new(&PoolOptions::new(16_384, 16 << 10).node(place.node))
            .map_err(|why| StartError::System("reserve the send buffers", why))?;
        Ok(Bypass::over(stack, options, pool))
    };
    Box::new(make)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_connections_have_their_addresses() {
        let all = addresses(1_000_000).expect("addresses");
        assert_eq!(all.len(), 20);
        assert!(
            all.iter()
                .all(|own| own.contains(SERVER.ip()) && own.addr() != SERVER.ip())
        );
        assert!(addresses(usize::MAX).is_err());
    }
}
