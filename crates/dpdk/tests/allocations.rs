//! An open queue allocates no memory. Needs libdpdk.

mod common;

use hioload_device::{BURST, Burst, Device, Frame};
use hioload_dpdk::{Port, PortName, PortOptions, ring_pair};
use hioload_testkit::counting::{Counting, allocations};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_turn_allocates_nothing() {
    let eal = common::eal("");
    let (a, b) = ring_pair(eal, 1, 1024).expect("two ports");
    let open = |end| {
        let options = PortOptions::new(PortName::Ring(end));
        let (port, mut queues) = Port::open(eal, &options).expect("a port");
        (port, queues.remove(0).claim().expect("a queue"))
    };
    let ((_port_a, mut a), (_port_b, mut b)) = (open(a), open(b));
    let (mut out, mut into) = (Burst::new(), Burst::new());
    let mut received = 0;
    let before = allocations();
    for turn in 0..10_000 {
        while out.len() < 1 + turn % BURST {
            let mut frame = a.alloc().expect("a frame");
            frame.set_len(60 + turn % 1400);
            out.push(frame);
        }
        a.tx_burst(&mut out);
        // Some frames are dropped, some are sent back.
        received += b.rx_burst(&mut into);
        into.truncate(turn % 7);
        b.tx_burst(&mut into);
        a.rx_burst(&mut into);
        into.clear();
    }
    assert_eq!(allocations() - before, 0);
    assert!(received > 300_000, "{received}");
}
