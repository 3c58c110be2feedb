//! The device conformance suite over two ports at the ends of a veth pair. Needs root.
//!
//! The suite's check of back-pressure is not run: a veth whose ring is full drops frames, as any network may.
#![cfg(target_os = "linux")]

mod common;
#[path = "../../device/tests/suite/mod.rs"]
mod suite;

use std::time::Duration;

use common::{Net, open, options};
use hioload_afxdp::{Port, Queue, XdpMode};
use hioload_device::{Burst, Device};

struct Veth {
    near: (Port, Vec<Queue>),
    far: (Port, Vec<Queue>),
    /// The last field: the namespace is deleted after the ports in it are closed.
    _net: Net,
}

impl Veth {
    fn new(mode: XdpMode) -> Option<Self> {
        let net = Net::new(1, 1500)?;
        // Only the two ports send packets.
        net.at_peer(|| common::quiet("vb"));
        common::quiet("va");
        let asked = move |interface: &str| {
            let mut options = options();
            options.interface = interface.to_owned();
            options.mode = mode;
            options.object = common::everything();
            options.ring = 1024;
            options
        };
        // A queue belongs to the thread that claims it, in whatever namespace its interface is.
        let far = net.at_peer(move || Port::open(&asked("vb")).expect("a port"));
        let near = open(&asked("va"));
        let pending = far.1.into_iter();
        let queues = pending.map(|queue| queue.claim().expect("a queue"));
        let queues = queues.collect();
        Some(Self {
            near,
            far: (far.0, queues),
            _net: net,
        })
    }
}

impl suite::Link for Veth {
    type A = Queue;
    type B = Queue;
    fn ends(&mut self) -> (&mut Queue, &mut Queue) {
        (&mut self.near.1[0], &mut self.far.1[0])
    }
    fn settle(&mut self) {
        for queue in [&mut self.near.1[0], &mut self.far.1[0]] {
            queue
                .wait(Some(Duration::from_micros(100)))
                .expect("a sleep");
        }
    }
    fn free(&self) -> Option<(usize, usize)> {
        // A frame that the kernel holds for receiving counts as free.
        let free = |queue: &Queue| queue.census().free + queue.census().receiving;
        Some((free(&self.near.1[0]), free(&self.far.1[0])))
    }
}

#[test]
fn a_queue_conforms_to_the_device_suite() {
    for mode in [XdpMode::Native, XdpMode::Skb] {
        let link = || Veth::new(mode);
        let Some(first) = link() else { return };
        suite::frames_arrive_in_order_with_their_bytes(first);
        let link = || link().expect("as before");
        suite::bursts_are_never_overfilled(link());
        suite::a_fresh_frame_is_empty_with_headroom(link());
        suite::no_frame_is_lost_or_added(link());
        suite::one_way_traffic_does_not_starve_the_sender(link());
        suite::frames_may_be_kept_and_dropped_in_any_order(link());
        suite::the_counters_agree_with_what_was_seen(link());
    }
}

#[test]
fn every_lost_frame_is_counted() {
    for mode in [XdpMode::Native, XdpMode::Skb] {
        let Some(mut link) = Veth::new(mode) else {
            return;
        };
        let (near, far) = suite::Link::ends(&mut link);
        let mut burst = Burst::new();
        let mut sent = 0;
        // The far end does not receive: the rings on the path and the sender hold as many frames as they can, and the rest is lost.
        for _ in 0..200 {
            sent += suite::send(near, &mut burst, sent, sent + 64);
            near.tx_burst(&mut burst);
            far.wait(Some(Duration::from_millis(1))).expect("a sleep");
        }
        let left = burst.len() as u64;
        burst.clear();
        let mut received = 0;
        for _ in 0..200 {
            received += far.rx_burst(&mut burst) as u64;
            burst.clear();
            near.tx_burst(&mut Burst::new());
            far.wait(Some(Duration::from_millis(1))).expect("a sleep");
        }
        let (near, far) = (near.stats(), far.stats());
        assert!(received >= 1024, "a ring at least: {received}");
        assert_eq!(near.tx_frames, u64::from(sent) - left);
        let lost = near.tx_dropped + far.rx_dropped;
        assert_eq!(received + lost, near.tx_frames, "{mode} {near:?} {far:?}");
        assert!(lost > 0, "{mode}");
    }
}
