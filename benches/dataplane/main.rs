//! The data plane without a NIC: one server lcore (engine, WebSocket, TCP in user space) on a memory pair, driven frame by frame
//! by a client whose time does not count. Prints the CPU time of the server for each message, and the cost of connections.
#![forbid(unsafe_code)]
#![allow(missing_docs, unreachable_pub)]

mod client;
mod packet;
mod report;
mod set_up;
mod subscriptions;
mod tls;
mod tls_open;
mod tls_records;
mod tls_storm;
mod world;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use hioload_device::memory::MemoryDevice;
use hioload_transport::Transport;

use client::Failure;
use report::{Row, median};
use world::{Ack, Load, Order, World};

/// Measures the data plane on a memory pair. A ratio compares rounds that alternate within one run.
#[derive(Parser)]
#[command(name = "dataplane")]
struct Args {
    /// What to measure: echo, layer, in-place, open, scale, idle, subscriptions, tls, tls-records,
    /// tls-handshakes, tls-storm, tls-idle. All, if none is named.
    what: Vec<String>,
    /// Flows of the large case.
    #[arg(long, default_value_t = 1_000_000)]
    flows: u32,
    /// Connections of tls-idle, each with a full handshake at both ends.
    #[arg(long, default_value_t = 50_000)]
    secured_flows: u32,
    /// Rounds of each cell.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Messages in a round, at least.
    #[arg(long, default_value_t = 200_000)]
    messages: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

const FEW: u32 = 100;
/// The server's default.
const RING_IDLE: Duration = Duration::from_secs(2);
/// A round over a million flows takes some seconds, and no ring may be reclaimed meanwhile.
const RINGS_STAY: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let args = Args::parse();
    let names = [
        "echo",
        "layer",
        "in-place",
        "open",
        "scale",
        "idle",
        "subscriptions",
        "tls",
        "tls-records",
        "tls-handshakes",
        "tls-storm",
        "tls-idle",
    ];
    if let Some(unknown) = args
        .what
        .iter()
        .find(|what| !names.contains(&what.as_str()))
    {
        eprintln!("unknown measurement '{unknown}'; use {}", names.join(", "));
        return ExitCode::from(2);
    }
    let wanted = |name: &str| args.what.is_empty() || args.what.iter().any(|what| what == name);
    let mut rows = Vec::new();
    let mut run = |name: &str, cell: &dyn Fn(&Args) -> Result<Vec<Row>, Failure>| -> bool {
        if !wanted(name) {
            return true;
        }
        match cell(&args) {
            Ok(more) => {
                rows.extend(more);
                true
            }
            Err(failure) => {
                eprintln!("{name}: {failure}");
                false
            }
        }
    };
    let good = run("echo", &echo)
        && run("layer", &layer)
        && run("in-place", &in_place)
        && run("open", &open)
        && run("scale", &scale)
        && run("idle", &idle)
        && run("subscriptions", &|_| subscriptions::measure())
        && run("tls", &|args| tls::measure(args.rounds, args.messages))
        && run("tls-records", &|args| tls_records::measure(args.rounds))
        && run("tls-handshakes", &|args| {
            tls_open::handshakes(args.rounds, args.messages)
        })
        && run("tls-storm", &|args| {
            tls_storm::measure(args.rounds, args.messages)
        })
        && run("tls-idle", &|args| tls_open::idle(args.secured_flows));
    report::print(
        "data plane on a memory pair, one server lcore",
        &rows,
        args.json,
    );
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn few() -> Result<World<MemoryDevice>, Failure> {
    let mut world = set_up::world(FEW, RING_IDLE)?;
    world.open(FEW)?;
    Ok(world)
}

/// 64 bytes, one and sixteen messages in a segment.
fn echo(args: &Args) -> Result<Vec<Row>, Failure> {
    let (mut world, one, sixteen) = (few()?, Load::new(64, 1), Load::new(64, 16));
    let (mut of_one, mut of_sixteen) = (Vec::new(), Vec::new());
    for load in [&one, &sixteen] {
        world.round(FEW, args.messages, load, (Order::Scattered, Ack::WithNext))?;
    }
    for _ in 0..args.rounds {
        of_one.push(world.round(FEW, args.messages, &one, (Order::Scattered, Ack::WithNext))?);
        of_sixteen.push(world.round(
            FEW,
            args.messages * 4,
            &sixteen,
            (Order::Scattered, Ack::WithNext),
        )?);
    }
    Ok(vec![
        Row::nanos(
            "echo 64 B, 100 flows, 1 message in a segment",
            median(&of_one),
            Some(600.0),
        ),
        Row::nanos(
            "echo 64 B, 100 flows, 16 messages in a segment",
            median(&of_sixteen),
            Some(100.0),
        ),
    ])
}

/// A layer that passes everything through, beside none: the median of the ratios of rounds that follow each other.
fn layer(args: &Args) -> Result<Vec<Row>, Failure> {
    // Many short rounds: the other load of the machine changes little within a pair of rounds.
    const ROUNDS: usize = 15;
    let how = (Order::Scattered, Ack::WithNext);
    let mut rows = Vec::new();
    for (batch, name) in [
        (1, "1 message in a segment"),
        (16, "16 messages in a segment"),
    ] {
        let (mut bare, load) = (few()?, Load::new(64, batch));
        let mut layered = set_up::layered(FEW, RING_IDLE)?;
        layered.open(FEW)?;
        let messages = args.messages / 4 * batch.min(4);
        bare.round(FEW, messages, &load, how)?;
        layered.round(FEW, messages, &load, how)?;
        let before = layered.server().transport().layer().bytes_of_all();
        let (mut times, mut ratios) = (Vec::new(), Vec::new());
        for round in 0..args.rounds * ROUNDS {
            let (without, with) = if round % 2 == 0 {
                let without = bare.round(FEW, messages, &load, how)?;
                (without, layered.round(FEW, messages, &load, how)?)
            } else {
                let with = layered.round(FEW, messages, &load, how)?;
                (bare.round(FEW, messages, &load, how)?, with)
            };
            times.push(with);
            ratios.push(with / without);
        }
        let after = layered.server().transport().layer().bytes_of_all();
        let least = (args.rounds * ROUNDS * messages * 64) as u64;
        if after.received - before.received < least || after.sent - before.sent < least {
            return Err("the messages did not go through the layer".into());
        }
        rows.push(Row::nanos(
            format!("echo 64 B, 100 flows, {name}, through a layer"),
            median(&times),
            None,
        ));
        rows.push(Row::at_most(
            "  ratio to no layer",
            median(&ratios),
            "x",
            1.02,
        ));
    }
    Ok(rows)
}

/// The share of received bytes that the decoder processed in the frame they arrived in.
fn in_place(args: &Args) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for (size, name) in [(64, "64 B"), (1024, "1 KiB"), (16 << 10, "16 KiB")] {
        let (mut world, load) = (few()?, Load::new(size, 1));
        let before = world.server().transport().stats();
        world.round(
            FEW,
            args.messages.min(20_000),
            &load,
            (Order::Scattered, Ack::WithNext),
        )?;
        let after = world.server().transport().stats();
        let in_frame = (after.rx_bytes_in_place - before.rx_bytes_in_place) as f64;
        let in_ring = (after.rx_bytes_from_ring - before.rx_bytes_from_ring) as f64;
        let share = 100.0 * in_frame / (in_frame + in_ring);
        rows.push(Row::at_least(
            format!("{name}: bytes parsed in the frame"),
            share,
            "%",
            99.0,
        ));
    }
    Ok(rows)
}

/// Opening: TCP handshake and upgrade. Closing: closing handshake and both FINs.
fn open(args: &Args) -> Result<Vec<Row>, Failure> {
    const EACH: u32 = 20_000;
    let (mut opened, mut churned) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds.min(5) {
        let mut world = set_up::world(EACH, RING_IDLE)?;
        let open = world.open(EACH)?;
        let close = world.close(EACH)?;
        opened.push(f64::from(EACH) / open.as_secs_f64());
        churned.push(f64::from(EACH) / (open + close).as_secs_f64());
    }
    Ok(vec![
        Row::at_least(
            "connections opened (TCP and upgrade)",
            median(&opened),
            "/s",
            100_000.0,
        ),
        Row::at_least("connections opened and closed", median(&churned), "/s", 0.0),
    ])
}

/// Many flows, each in its turn, compared with few.
fn scale(args: &Args) -> Result<Vec<Row>, Failure> {
    const FLOWS: (Order, Ack) = (Order::Scattered, Ack::Alone);
    let load = Load::new(64, 1);
    let mut large = set_up::world(args.flows, RINGS_STAY)?;
    let mut small = few()?;
    large.open(args.flows)?;
    // Each flow once first, so that every measured message finds the same state.
    large.round(args.flows, args.flows as usize, &load, FLOWS)?;
    small.round(FEW, args.messages, &load, FLOWS)?;
    let (mut of_few, mut as_opened, mut scattered, mut of_active) =
        (vec![], vec![], vec![], vec![]);
    for _ in 0..args.rounds {
        let messages = args.messages;
        of_few.push(small.round(FEW, messages, &load, FLOWS)?);
        of_active.push(large.round(FEW, messages, &load, FLOWS)?);
        as_opened.push(large.round(args.flows, messages, &load, (Order::Opened, Ack::Alone))?);
        scattered.push(large.round(args.flows, messages, &load, FLOWS)?);
    }
    let few = median(&of_few);
    let mut rows = vec![Row::nanos(
        "echo 64 B, 100 flows; replies acknowledged on their own",
        few,
        None,
    )];
    for (how, times) in [
        ("100 of them active", of_active),
        ("each in its turn, as they were opened", as_opened),
        ("each in its turn, scattered", scattered),
    ] {
        let many = median(&times);
        rows.push(Row::nanos(
            format!("{} flows, {how}", args.flows),
            many,
            None,
        ));
        rows.push(Row::at_most("  ratio to 100 flows", many / few, "x", 2.0));
    }
    Ok(rows)
}

/// Resident memory of established connections that have been silent for a while.
fn idle(args: &Args) -> Result<Vec<Row>, Failure> {
    let mut world = set_up::world(args.flows, RING_IDLE)?;
    // Memory that all connections share is resident before the first one is counted.
    let before = report::resident()?;
    world.open(args.flows)?;
    world.idle(Duration::from_secs(20))?;
    let after = report::resident()?;
    let connections = world.server().connections();
    if connections != args.flows as usize {
        return Err(format!(
            "{connections} of {} connections are open",
            args.flows
        ));
    }
    // Some of them echo, which proves that they are open.
    let batch: Vec<u32> = (0..args.flows.min(world::BATCH as u32)).collect();
    world.echo(&batch, &Load::new(64, 1))?;
    let each = (after as f64 - before as f64) / f64::from(args.flows);
    Ok(vec![Row::at_most(
        format!(
            "{} idle connections, windows of 64 KiB: RSS of each",
            args.flows
        ),
        each,
        "B",
        768.0,
    )])
}
