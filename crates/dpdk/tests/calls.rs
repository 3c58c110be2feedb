//! An echo server on a ring port: one call into DPDK for each burst, whatever the number of frames, and no allocation for a
//! message. Needs libdpdk.
#![allow(dead_code, unreachable_pub)]

#[path = "../../../benches/dataplane/client.rs"]
mod client;
mod common;
#[path = "../../../benches/dataplane/packet.rs"]
mod packet;
#[path = "../../../benches/dataplane/set_up.rs"]
mod set_up;
#[path = "../../../benches/dataplane/world.rs"]
mod world;

use std::time::Duration;

use hioload_dpdk::{Port, PortName, PortOptions, Queue, ring_pair};
use hioload_testkit::counting::{Counting, allocations};
use world::{BATCH, Load};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Frames each way.
const ECHOES: u64 = 6400;

#[test]
fn calls_are_by_the_burst_and_nothing_is_allocated() {
    let eal = common::eal("");
    let (a, b) = ring_pair(eal, 1, 1024).expect("two ports");
    let open = |end| {
        let options = PortOptions {
            port: PortName::Ring(end),
            ..PortOptions::default()
        };
        let (port, mut ends) = Port::open(eal, &options).expect("a port");
        (port, ends.remove(0).claim().expect("a queue"))
    };
    let ((_port_a, a), (_port_b, b)) = (open(a), open(b));
    let flows = BATCH as u32;
    let mut world = set_up::over(a, b, flows, Duration::from_secs(60)).expect("a world");
    world.open(flows).expect("connections");
    let load = Load::new(64, 1);
    let all: Vec<u32> = (0..flows).collect();
    for _ in 0..100 {
        world.echo(&all, &load).expect("answers");
    }
    // What is not acknowledged is sent again sooner or later.
    world.acknowledge(&all).expect("room");

    let mut calls_of = |frames: u64| {
        let (calls, allocations) = (Queue::calls(), allocations());
        for _ in 0..ECHOES / frames {
            let batch = &all[..frames as usize];
            world.echo(batch, &load).expect("answers");
            world.acknowledge(batch).expect("room");
        }
        assert_eq!(allocations(), allocations, "bursts of {frames}");
        Queue::calls() - calls
    };
    // Besides bursts of frames both ends take fresh ones and give old ones back, at most 64 and 128 at a time: that depends on
    // how many frames there are, and there are as many in each case.
    let in_bulk = 2 * (ECHOES / 64 + 1) + 2 * (ECHOES / 128 + 1);
    for frames in [1, 2, 8, 32, 64] {
        let (calls, bursts) = (calls_of(frames), ECHOES / frames);
        // Messages and acknowledgements are sent, received by the server, and what was dropped is given back; the answers likewise,
        // after which the client looks whether there is more.
        let most = bursts * 12 + in_bulk;
        assert!(
            (bursts * 6..=most).contains(&calls),
            "{calls} calls for {bursts} bursts of {frames}"
        );
        println!(
            "bursts of {frames}: {:.2} calls each",
            calls as f64 / bursts as f64
        );
    }
}
