//! In steady state a queue allocates nothing and makes one system call for each burst. Needs root.
#![cfg(target_os = "linux")]

mod common;

use std::time::Duration;

use common::packet::{ETHERTYPE4, ethernet, ipv4, tcp};
use common::{Net, PEER4, PORT4, open, options};
use hioload_afxdp::{PortOptions, Queue};
use hioload_device::{Burst, Device};
use hioload_testkit::counting::{Counting, allocations};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Sends bursts of all lengths from one port to the other and back, with sleeps in between.
fn exchange(a: &mut Queue, b: &mut Queue, packet: &[u8], turns: usize) -> u64 {
    let (mut out, mut into) = (Burst::new(), Burst::new());
    let mut received = 0;
    for turn in 0..turns {
        while out.len() < turn % 60
            && let Some(mut frame) = a.alloc()
        {
            frame.set_len(packet.len());
            frame.bytes_mut().copy_from_slice(packet);
            out.push(frame);
        }
        a.tx_burst(&mut out);
        received += b.rx_burst(&mut into) as u64;
        b.tx_burst(&mut into);
        into.clear();
        a.rx_burst(&mut into);
        into.clear();
        a.wait(Some(Duration::ZERO)).expect("it returns");
        b.wait(Some(Duration::from_micros(50))).expect("it returns");
    }
    received
}

#[test]
fn a_queue_allocates_nothing_in_steady_state() {
    for mtu in [1500, 9000] {
        let Some(net) = Net::new(1, mtu) else { return };
        let far = net.at_peer(|| {
            let mut asked = PortOptions::new(common::object(), "vb", []);
            asked.addresses = vec![PEER4.parse().expect("IPv4")];
            hioload_afxdp::Port::open(&asked).unwrap_or_else(|why| panic!("{why}"))
        });
        let mut asked = options();
        asked.ring = 2048;
        let (_port, mut near) = open(&asked);
        let (_far_port, mut pending) = far;
        let mut far = pending.pop().expect("a queue").claim().expect("a queue");
        let payload = vec![3; mtu - 40];
        let segment = ipv4(PORT4, PEER4, 6, 0, &tcp(1, 2, &payload));
        let packet = ethernet([2, 0, 0, 0, 0, 9], None, ETHERTYPE4, &segment);
        exchange(&mut near[0], &mut far, &packet, 300);
        let (before, kicks) = (allocations(), near[0].stats().kicks);
        let received = exchange(&mut near[0], &mut far, &packet, 1000);
        assert_eq!(allocations() - before, 0, "{mtu}");
        assert!(received > 1000, "{received} frames");
        let kicks = near[0].stats().kicks - kicks;
        assert!(kicks < 2000, "{kicks} calls for 1000 bursts");
    }
}
