//! An echo server on a ring port makes one call of DPDK for each burst, whatever the number of frames, and allocates no memory for a
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

/// The number of frames in each direction.
const ECHOES: u64 = 6400;

#[test]
fn the_number_of_calls_depends_on_bursts_and_nothing_is_allocated() {
    let eal = common::eal("");
    let (a, b) = ring_pair(eal, 1, 1024).expect("two ports");
    let open = |end| {
        let options = PortOptions::new(PortName::Ring(end));
        let (port, mut queues) = Port::open(eal, &options).expect("a port");
        (port, queues.remove(0).claim().expect("a queue"))
    };
    let ((_port_a, a), (_port_b, b)) = (open(a), open(b));
    let flows = BATCH as u32;
    let mut world = set_up::over(a, b, flows, Duration::from_secs(60)).expect("a world");
    world.open(flows).expect("connections");
    // Each burst is served in one turn, however slow the machine is.
    let mut tunables = set_up::server_config(flows).tunables;
    (tunables.turn_time, tunables.visit_time) = (Duration::ZERO, Duration::ZERO);
    world.server().reconfigure(tunables).expect("new limits");
    let load = Load::new(64, 1);
    let all: Vec<u32> = (0..flows).collect();
    for _ in 0..100 {
        world.echo(&all, &load).expect("answers");
    }
    // The server would retransmit frames that are not acknowledged.
    world.acknowledge(&all).expect("room");

    let mut calls_of = |frames: u64| {
        let (calls, before) = (Queue::calls(), allocations());
        for _ in 0..ECHOES / frames {
            let batch = &all[..frames as usize];
            world.echo(batch, &load).expect("answers");
            world.acknowledge(batch).expect("room");
        }
        assert_eq!(allocations(), before, "bursts of {frames}");
        Queue::calls() - calls
    };
    // In addition to the bursts, both ends take empty frames 64 at a time and return dropped ones 128 at a time. The number of those
    // calls depends on the number of frames, which is the same in each case.
    let in_bulk = 2 * (ECHOES / 64 + 1) + 2 * (ECHOES / 128 + 1);
    for frames in [1, 2, 8, 32, 64] {
        let (calls, bursts) = (calls_of(frames), ECHOES / frames);
        // Messages and acknowledgements are sent, the server receives them, and dropped frames are returned. The same holds for the
        // replies; after those the client polls once more.
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
