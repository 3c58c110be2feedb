//! The same echo server over three transports: DPDK (`net_ring`), a memory pair, and kernel sockets on loopback. Each has one server
//! lcore; the client runs on the same thread, outside of the timed turns. Prints the server's CPU time for each message, whose
//! inverse is the number of messages per second of a core, as medians of interleaved rounds.
//!
//! `net_ring` and the memory pair use the client of `benches/dataplane`, which writes segments without a TCP stack. On sockets the
//! client has as many connections as the others have flows. It writes one message on each, and then the server has its turn. The
//! work of the client's side that loopback does in the server's system calls counts as the server's time, as in any measurement on
//! loopback.
//!
//! Needs libdpdk: `cargo bench -p hioload-dpdk --bench echo`. With `-- --check`, a missed target is a failure.
#![allow(missing_docs, unreachable_pub, dead_code)]

#[path = "../../../../benches/dataplane/client.rs"]
mod client;
#[path = "../../../../benches/dataplane/packet.rs"]
mod packet;
#[path = "../../../../benches/dataplane/report.rs"]
mod report;
#[path = "../../../../benches/dataplane/set_up.rs"]
mod set_up;
mod sockets;
#[path = "../../../../benches/dataplane/world.rs"]
mod world;

use std::process::ExitCode;
use std::time::Duration;

use hioload_device::Device;
use hioload_dpdk::{Eal, Port, PortName, PortOptions, Queue, ring_pair, split_arguments};

use client::Failure;
use report::{Row, median};
use sockets::OnSockets;
use world::{Ack, BATCH, Load, Order, World};

/// The number of flows: one burst.
const FLOWS: u32 = BATCH as u32;
const ROUNDS: usize = 31;
/// The number of messages in a round with one message in each segment.
const MESSAGES: usize = 20_000;
const RING_IDLE: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let check = std::env::args().any(|argument| argument == "--check");
    match run() {
        Ok(rows) => {
            report::print(
                "echo 64 B, CPU per message of one server lcore",
                &rows,
                false,
            );
            if check && rows.iter().any(Row::is_missed) {
                return ExitCode::FAILURE;
            }
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<Vec<Row>, Failure> {
    let line = "--no-pci --no-huge -m 256 --no-telemetry --file-prefix=hlecho";
    let said = |error: hioload_dpdk::Error| error.to_string();
    let eal = Eal::init(&split_arguments(line).map_err(said)?).map_err(said)?;
    let (a, b) = ring_pair(&eal, 1, 1024).map_err(said)?;
    let open = |end| -> Result<(Port, Queue), Failure> {
        let options = PortOptions::new(PortName::Ring(end));
        let (port, mut queues) = Port::open(&eal, &options).map_err(said)?;
        Ok((port, queues.remove(0).claim().map_err(said)?))
    };
    let ((a_port, a), (b_port, b)) = (open(a)?, open(b)?);
    let mut dpdk = set_up::over(a, b, FLOWS, RING_IDLE)?;
    let mut memory = set_up::world(FLOWS, RING_IDLE)?;
    let mut sockets = OnSockets::new(FLOWS)?;
    dpdk.open(FLOWS)?;
    memory.open(FLOWS)?;
    let mut rows = Vec::new();
    for each in [1, 16] {
        rows.extend(compare(&mut dpdk, &mut memory, &mut sockets, each)?);
    }
    drop(dpdk);
    a_port.close().map_err(said)?;
    b_port.close().map_err(said)?;
    Ok(rows)
}

/// Compares the three with `each` messages in flight on each flow.
fn compare(
    dpdk: &mut World<impl Device>,
    memory: &mut World<impl Device>,
    sockets: &mut OnSockets,
    each: usize,
) -> Result<Vec<Row>, Failure> {
    let load = Load::new(64, each);
    let how = (Order::Opened, Ack::WithNext);
    let mut times = [const { Vec::new() }; 3];
    for round in 0..=ROUNDS {
        for at in 0..3 {
            // Each transport is first in every third round. Round 0 warms up.
            let which = (round + at) % 3;
            let messages = MESSAGES * each;
            let time = match which {
                0 => dpdk.round(FLOWS, messages, &load, how)?,
                1 => memory.round(FLOWS, messages, &load, how)?,
                _ => sockets.round(messages / 4, &load)?,
            };
            if round > 0 {
                times[which].push(time);
            }
        }
    }
    let [of_dpdk, of_memory, of_sockets] = &times;
    // The ratio of each round, whose parts ran one right after another.
    let ratio = |of: &[f64], to: &[f64]| {
        let ratios: Vec<_> = of.iter().zip(to).map(|(of, to)| of / to).collect();
        median(&ratios)
    };
    // With several messages in flight there is no target for sockets: many messages share a system call, as they share a segment on
    // the other transports.
    let target = if each == 1 { (4.0, 1.2) } else { (0.0, 1.2) };
    let row = |name: &str, times: &[f64]| {
        Row::nanos(format!("{name}, {each} in flight"), median(times), None)
    };
    Ok(vec![
        row("DPDK (net_ring)", of_dpdk),
        row("memory pair", of_memory),
        row("sockets on loopback", of_sockets),
        Row::at_least(
            "  messages/s per core, DPDK to sockets",
            ratio(of_sockets, of_dpdk),
            "x",
            target.0,
        ),
        Row::at_most(
            "  CPU per message, DPDK to memory pair",
            ratio(of_dpdk, of_memory),
            "x",
            target.1,
        ),
    ])
}
