//! A port distinguishes lost frames from frames that a driver keeps. This is the only test of its binary, because it needs a process
//! of its own. Needs libdpdk.

mod common;

use hioload_device::{Burst, Device, Frame};
use hioload_dpdk::{Port, PortName, PortOptions, ring_pair};

#[test]
fn frames_that_were_not_returned_are_counted() {
    let eal = common::eal("");
    // The pools of lost frames are never freed, so the pair without a loss comes first.
    for lost in [0, 3] {
        let (a, b) = ring_pair(eal, 1, 256).expect("two ports");
        let open = |end| {
            let options = PortOptions::new(PortName::Ring(end));
            let (port, mut queues) = Port::open(eal, &options).expect("a port");
            (port, queues.remove(0).claim().expect("a queue"))
        };
        let ((port_a, mut a), (port_b, mut b)) = (open(a), open(b));
        let mut burst = Burst::new();
        for _ in 0..40 {
            let mut frame = a.alloc().expect("a frame");
            frame.set_len(60);
            burst.push(frame);
        }
        a.tx_burst(&mut burst);
        assert_eq!(b.rx_burst(&mut burst), 40);
        burst.drain(..lost).for_each(std::mem::forget);
        burst.truncate(20);
        b.tx_burst(&mut burst);
        burst.clear();
        drop((a, b));
        port_a.close().expect("closed");
        let closed = port_b.close().expect("closed");
        assert_eq!(closed.frames_in_use, Some(lost));
        assert_eq!(closed.frames_held, lost);
        assert!(!closed.kept_by_driver("net_ring"));
        assert_eq!(closed.kept_by_driver("net_af_xdp"), lost == 0);
    }
}
