//! Settings of the engine and the transport of a generator, chosen so that neither limits the job.

use std::time::Duration;

use hioload_engine::{Config, SendPolicy};
use hioload_lcore::Idle;
use hioload_transport::sockets::SocketOptions;
use hioload_ws_proto::deflate::DeflateConfig;

use crate::job::{Job, Scenario};

/// Space for the frame header and the JSON of a dialect around a payload.
const AROUND: usize = 256;

/// The engine's configuration for a job.
pub fn config(job: &Job) -> Config {
    let mut config = Config::default();
    config.executor_threads = 0;
    // A generator that sleeps sends late.
    config.tunables.idle = Idle::Busy;
    config.tunables.deflate = job.deflate.then(DeflateConfig::default);
    let largest = job.sizes.largest();
    let limits = &mut config.tunables.limits;
    limits.max_connections = job.connections + job.publishers + 1;
    limits.handshake_timeout = job.timeout;
    limits.close_timeout = Duration::from_secs(2);
    limits.max_message = limits.max_message.max(largest + AROUND);
    limits.reassembly_memory = limits
        .reassembly_memory
        .max(limits.max_message.saturating_mul(4))
        .max(whole(job).saturating_mul(2));
    // Some scenarios are silent on purpose, and a lost connection is detected by its missing answers.
    limits.ping_interval = Duration::ZERO;
    limits.idle_timeout = Duration::ZERO;
    // A server that is measured at its limit may be slow for longer than a server allows a client.
    limits.message_timeout = Duration::ZERO;
    limits.send_timeout = Duration::ZERO;
    // The queue has space for everything in flight. A full queue would stop the reading, and two ends that both wait for the other
    // to read would deadlock.
    limits.send_queue = limits.send_queue.max(each(job));
    limits.send_policy = SendPolicy::DropNew;
    config
}

/// The largest send chunk.
const LARGEST_CHUNK: usize = 64 << 10;

/// The options of sockets for a job.
pub fn sockets(job: &Job) -> SocketOptions {
    let mut sockets = SocketOptions::default();
    // Everything sent to a connection at once fits one chunk, so that it leaves in one send call.
    let memory = sockets.tx_chunk.saturating_mul(sockets.tx_chunks);
    let once = each(job).min(LARGEST_CHUNK).next_multiple_of(4 << 10);
    sockets.tx_chunk = sockets.tx_chunk.max(once);
    sockets.tx_chunks = memory / sockets.tx_chunk;
    // One connection may hold a quarter of the chunks.
    let chunks = (whole(job) / sockets.tx_chunk).saturating_mul(4);
    sockets.tx_chunks = sockets.tx_chunks.max(chunks);
    sockets
}

/// The largest window of the user-space TCP, as large as a kernel's grows.
const LARGEST_RING: usize = 1 << 20;

/// Window of the user-space TCP for a job, in bytes: everything in flight on a connection fits, up to 1 MiB.
pub fn ring(job: &Job) -> usize {
    each(job).next_power_of_two().min(LARGEST_RING)
}

/// Bytes in flight on one connection, at most.
fn each(job: &Job) -> usize {
    let frames = job.fragments.saturating_mul(16);
    let message = job.sizes.largest().saturating_add(AROUND + frames);
    // An open loop sends the messages due, up to its window. A message that does not fit waits.
    match job.scenario {
        Scenario::Rate => message.saturating_mul(job.in_flight.min(64)),
        Scenario::Hold | Scenario::Ramp => 0,
        _ => message.saturating_mul(job.in_flight),
    }
}

/// Bytes in flight on all connections of an lcore, at most.
fn whole(job: &Job) -> usize {
    let connections = job.connections.div_ceil(job.lcores.max(1));
    match job.scenario {
        Scenario::Fanout => each(job),
        _ => each(job).saturating_mul(connections).min(8 << 30),
    }
}
