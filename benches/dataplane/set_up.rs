//! Construction of a [`World`].

use hioload_device::memory::{MemoryDevice, PairOptions, pair};
use hioload_device::{Capabilities, Device};
use hioload_engine::Config;
use hioload_lcore::Clock;
use hioload_mem::{Pool, PoolOptions};
use hioload_tcp::{Stack, StackConfig};
use hioload_transport::Transport;
use hioload_transport::bypass::{Bypass, BypassOptions};
use hioload_transport::layer::{Layer, Layered, PassThrough};
use std::time::Duration;

use crate::client::{Client, Failure};
use crate::packet::Link;
use crate::world::World;

const SERVER: ([u8; 4], u16) = ([10, 77, 0, 2], 9001);

/// On a memory pair: a server with room for `flows` flows. Rings that are empty for `ring_idle` are reclaimed.
pub fn world(flows: u32, ring_idle: Duration) -> Result<World<MemoryDevice>, Failure> {
    let (a, b) = joined()?;
    over(a, b, flows, ring_idle)
}

/// The same with a layer that passes everything through, between the transport and the engine.
#[allow(dead_code)]
pub fn layered(
    flows: u32,
    ring_idle: Duration,
) -> Result<World<MemoryDevice, Layered<Bypass<MemoryDevice>, PassThrough>>, Failure> {
    through(flows, ring_idle, PassThrough::new())
}

/// The same with any layer.
#[allow(dead_code)]
pub fn through<L: Layer>(
    flows: u32,
    ring_idle: Duration,
    layer: L,
) -> Result<World<MemoryDevice, Layered<Bypass<MemoryDevice>, L>>, Failure> {
    let (a, b) = joined()?;
    build(a, b, flows, ring_idle, |io| Layered::new(io, layer))
}

/// Neither end offers checksums: both are computed and verified, as on a NIC without offloads.
fn joined() -> Result<(MemoryDevice, MemoryDevice), Failure> {
    let (a, b) =
        pair(&PairOptions::default()).map_err(|error| format!("no memory pair: {error}"))?;
    Ok((a.open(), b.open()))
}

/// The same on two joined devices.
pub fn over<D: Device>(
    server: D,
    client: D,
    flows: u32,
    ring_idle: Duration,
) -> Result<World<D>, Failure> {
    build(server, client, flows, ring_idle, |io| io)
}

fn build<D: Device, T: Transport>(
    server: D,
    client: D,
    flows: u32,
    ring_idle: Duration,
    wrap: impl FnOnce(Bypass<D>) -> T,
) -> Result<World<D, T>, Failure> {
    let Capabilities {
        mac: server_mac, ..
    } = server.capabilities();
    let Capabilities {
        mac: client_mac, ..
    } = client.capabilities();

    let mut clock = Clock::new();
    let now = clock.tick();
    let address = "10.77.0.2/8".parse().map_err(|e| format!("{e}"))?;
    let mut config = StackConfig::new([address]);
    config.listen = vec![SERVER.into()];
    config.max_flows = flows as usize;
    // Rings of flows that talk in turn stay resident.
    config.ring_memory = 64 << 30;
    config.ring_idle = ring_idle;
    config.secret = *b"a bench's secret";
    let stack = Stack::new(server, config, None, now).map_err(|e| e.to_string())?;
    let pool =
        Pool::new(&PoolOptions::new(1024, 16 << 10)).map_err(|e| format!("no send pool: {e}"))?;
    let io = wrap(Bypass::over(stack, BypassOptions::default(), pool));
    let client = Client::new(
        client,
        Link {
            client_mac,
            server_mac,
            server: SERVER,
        },
        flows as usize,
    );
    Ok(World::new(io, client, server_config(flows), clock, now))
}

/// The configuration of the server's lcore.
pub fn server_config(flows: u32) -> Config {
    let mut config = Config::default();
    let limits = &mut config.tunables.limits;
    limits.max_connections = flows as usize;
    // The client answers no pings.
    limits.ping_interval = Duration::ZERO;
    limits.idle_timeout = Duration::ZERO;
    config
}
