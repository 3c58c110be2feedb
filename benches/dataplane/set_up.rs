//! How the server and the client of a [`World`] are made.

use hioload_device::memory::{MemoryDevice, PairOptions, pair};
use hioload_device::{Capabilities, Device};
use hioload_engine::{Config, Limits};
use hioload_lcore::Clock;
use hioload_mem::{Pool, PoolOptions};
use hioload_tcp::{Stack, StackConfig};
use hioload_transport::bypass::{Bypass, BypassOptions};
use std::time::Duration;

use crate::client::{Client, Failure};
use crate::packet::Link;
use crate::world::World;

const SERVER: ([u8; 4], u16) = ([10, 77, 0, 2], 9001);

/// On a memory pair: a server with room for `flows` flows, whose empty rings are given back after `ring_idle`.
pub fn world(flows: u32, ring_idle: Duration) -> Result<World<MemoryDevice>, Failure> {
    let system = |error| format!("no memory pair: {error}");
    // Neither end offers checksums: both are computed and verified, as on a NIC without offloads.
    let (a, b) = pair(&PairOptions::default()).map_err(system)?;
    over(a.open(), b.open(), flows, ring_idle)
}

/// The same on two devices that are joined.
pub fn over<D: Device>(
    server: D,
    client: D,
    flows: u32,
    ring_idle: Duration,
) -> Result<World<D>, Failure> {
    let Capabilities {
        mac: server_mac, ..
    } = server.capabilities();
    let Capabilities {
        mac: client_mac, ..
    } = client.capabilities();

    let mut clock = Clock::new();
    let now = clock.tick();
    let address = "10.77.0.2/8".parse().map_err(|e| format!("{e}"))?;
    let config = StackConfig {
        addresses: vec![address],
        listen: vec![SERVER.into()],
        max_flows: flows as usize,
        // Rings of flows that talk in turn stay resident.
        ring_memory: 12 << 30,
        ring_idle,
        secret: *b"a bench's secret",
        ..StackConfig::default()
    };
    let stack = Stack::new(server, config, None, now).map_err(|e| e.to_string())?;
    let pool =
        Pool::new(&PoolOptions::new(1024, 16 << 10)).map_err(|e| format!("no send pool: {e}"))?;
    let io = Bypass::over(stack, BypassOptions::default(), pool);
    let config = Config {
        limits: Limits {
            max_connections: flows as usize,
            // The client answers no pings.
            ping_interval: Duration::ZERO,
            idle_timeout: Duration::ZERO,
            ..Limits::default()
        },
        ..Config::default()
    };
    let client = Client::new(
        client,
        Link {
            client_mac,
            server_mac,
            server: SERVER,
        },
        flows as usize,
    );
    Ok(World::new(io, client, config, clock, now))
}
