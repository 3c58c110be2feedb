//! What every device must do, done by two ports at the ends of a veth pair. Needs root.
//!
//! All of the suite but its check of back-pressure: a veth whose ring is full drops, as any network may.
#![cfg(target_os = "linux")]

mod common;
#[path = "../../device/tests/suite/mod.rs"]
mod suite;

use std::time::Duration;

use common::{Net, open, options};
use hioload_afxdp::{Port, PortOptions, Queue, XdpMode};
use hioload_device::{Burst, Device};

struct Veth {
    near: (Port, Vec<Queue>),
    far: (Port, Vec<Queue>),
    /// Last: the namespace goes after what is in it.
    _net: Net,
}

impl Veth {
    fn new(mode: XdpMode) -> Option<Self> {
        let net = Net::new(1, 1500)?;
        // Only the two ports are to have anything to say.
        net.at_peer(|| common::quiet("vb"));
        common::quiet("va");
        let asked = move |interface: &str| PortOptions {
            interface: interface.to_owned(),
            mode,
            object: common::everything(),
            ring: 1024,
            ..options()
        };
        // A queue belongs to the thread that opened it, but where its interface is does not matter any more.
        let far = net.at_peer(move || Port::open(&asked("vb")).expect("a port"));
        let near = open(&PortOptions {
            mode,
            object: common::everything(),
            ring: 1024,
            ..options()
        });
        let seeds = far.1.into_iter();
        let queues = seeds.map(|seed| seed.open().expect("a queue")).collect();
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
        // What is set aside for receiving is free in that sense.
        let free = |queue: &Queue| queue.census().free + queue.census().receiving;
        Some((free(&self.near.1[0]), free(&self.far.1[0])))
    }
}

#[test]
fn does_what_a_device_must() {
    for mode in [XdpMode::Native, XdpMode::Skb] {
        let link = || Veth::new(mode);
        let Some(first) = link() else { return };
        suite::frames_arrive_in_order_with_their_bytes(first);
        let link = || link().expect("as before");
        suite::bursts_are_never_overfilled(link());
        suite::a_fresh_frame_is_empty_with_headroom(link());
        suite::no_frame_is_lost_or_made(link());
        suite::one_way_traffic_does_not_starve_the_sender(link());
        suite::frames_may_be_kept_and_dropped_in_any_order(link());
        suite::the_counters_agree_with_what_was_seen(link());
    }
}

#[test]
fn what_is_lost_is_counted() {
    for mode in [XdpMode::Native, XdpMode::Skb] {
        let Some(mut link) = Veth::new(mode) else {
            return;
        };
        let (near, far) = suite::Link::ends(&mut link);
        let mut burst = Burst::new();
        let mut sent = 0;
        // Nobody receives: what can be held is held, by rings on the way and in the end by the sender; the rest is lost.
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
