//! Two ports of this process that are joined by rings: the device conformance suite, and the properties of DPDK's queues. Needs
//! libdpdk.

mod common;
#[path = "../../device/tests/suite/mod.rs"]
mod suite;

use std::thread;

use common::rings::{Pair, open};
use hioload_device::{BURST, Burst, Device, Frame, RxChecksum, TxChecksum};
use hioload_dpdk::{Error, MbufFrame, Port, PortName, PortOptions, Queue, ring_pair};
use suite::{Link, fill, number, send};

impl Link for Pair {
    type A = Queue;
    type B = Queue;
    fn ends(&mut self) -> (&mut Queue, &mut Queue) {
        (&mut self.a, &mut self.b)
    }
    fn settle(&mut self) {}
    fn free(&self) -> Option<(usize, usize)> {
        let free = |queue: &Queue| queue.frames() - queue.frames_in_use();
        Some((free(&self.a), free(&self.b)))
    }
}

#[test]
fn a_queue_conforms_to_the_device_suite() {
    for slots in [64, 1024] {
        suite::all(|| Pair::new(slots));
    }
}

#[test]
fn every_frame_returns_to_its_pool() {
    let mut pair = Pair::new(256);
    let (mut burst, mut into) = (Burst::new(), Burst::new());
    let mut kept = Vec::new();
    for turn in 0..100 {
        send(&mut pair.a, &mut burst, turn, turn + 20);
        pair.a.tx_burst(&mut burst);
        send(&mut pair.b, &mut into, turn, turn + 10);
        pair.b.tx_burst(&mut into);
        pair.b.rx_burst(&mut into);
        kept.extend(into.drain(..).step_by(3));
    }
    // Some frames are in the rings, some are not sent, and some are kept.
    assert!(pair.a.frames_in_use() > 200);
    drop(kept);
    burst.clear();
    assert_eq!(pair.close(), 0);
}

#[test]
fn a_frame_that_outlives_its_port_keeps_its_memory() {
    // EAL cannot be cleaned up after that; the EAL of this process never is.
    let mut pair = Pair::new(64);
    let mut frame = pair.a.alloc().expect("a frame");
    fill(&mut frame, 3, 100);
    assert_eq!(pair.close(), 1);
    assert_eq!(number(&frame), 3);
}

#[test]
fn frames_end_where_their_mbufs_do() {
    let mut pair = Pair::new(64);
    let mut frame = pair.a.alloc().expect("a frame");
    let (room, headroom) = (frame.room(), frame.headroom());
    assert!(room >= 2048 && headroom >= 128, "{room} {headroom}");
    frame.set_len(room);
    frame.grow_front(headroom);
    frame.bytes_mut().fill(7);
    assert_eq!(frame.len(), room + headroom);
    let beyond = |change: fn(&mut MbufFrame)| {
        let mut frame = Pair::new(64).a.alloc();
        let frame = frame.as_mut().expect("a frame");
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| change(frame))).is_err()
    };
    assert!(beyond(|frame| frame.set_len(frame.room() + 1)));
    assert!(beyond(|frame| frame.grow_front(frame.headroom() + 1)));
    assert!(beyond(|frame| frame.shrink_front(frame.len() + 1)));
    drop(frame);
    assert_eq!(pair.close(), 0);
}

#[test]
fn an_exhausted_pool_has_frames_again_after_a_drop() {
    let mut pair = Pair::new(64);
    let mut all = Vec::new();
    while let Some(frame) = pair.a.alloc() {
        all.push(frame);
    }
    // The caches of other threads may hold some frames.
    assert!(all.len() > pair.a.frames() - 1024, "{}", all.len());
    all.truncate(all.len() - BURST);
    assert!(pair.a.alloc().is_some(), "dropped frames are available");
    drop(all);
    assert_eq!(pair.close(), 0);
}

#[test]
fn a_frame_stores_its_checksum_state_in_the_mbuf() {
    let mut pair = Pair::new(64);
    let mut frame = pair.a.alloc().expect("a frame");
    assert_eq!(frame.rx_checksum(), RxChecksum::Unknown);
    for what in [RxChecksum::Good, RxChecksum::Bad, RxChecksum::Unknown] {
        frame.set_rx_checksum(what);
        assert_eq!(frame.rx_checksum(), what);
    }
    for offset in [16, 6] {
        let what = TxChecksum::Fill { start: 34, offset };
        frame.set_tx_checksum(what);
        assert_eq!(frame.tx_checksum(), what);
    }
    frame.set_tx_checksum(TxChecksum::Complete);
    assert_eq!(frame.tx_checksum(), TxChecksum::Complete);
}

#[test]
fn a_frame_with_a_wrong_checksum_request_is_dropped_and_no_other() {
    let mut pair = Pair::new(64);
    let mut burst = Burst::new();
    send(&mut pair.a, &mut burst, 0, 6);
    let beyond = burst[1].len() as u16 - 20;
    for (at, start, offset) in [(1, beyond, 20), (2, 10, 16), (5, 2000, 16)] {
        burst[at].set_tx_checksum(TxChecksum::Fill { start, offset });
    }
    assert_eq!(pair.a.tx_burst(&mut burst), 6);
    assert_eq!(pair.b.rx_burst(&mut burst), 3);
    let seen: Vec<_> = burst.iter().map(number).collect();
    assert_eq!(seen, [0, 3, 4]);
    let bytes: usize = burst.iter().map(Frame::len).sum();
    let stats = pair.a.stats();
    assert_eq!((stats.tx_frames, stats.tx_dropped), (3, 3));
    assert_eq!(stats.tx_bytes, bytes as u64);
    burst.clear();
    assert_eq!(pair.close(), 0);
}

#[test]
fn each_queue_works_on_its_own_thread() {
    let eal = common::eal("");
    let (a, b) = ring_pair(eal, 3, 256).expect("two ports");
    let open = |end| {
        let mut options = PortOptions::new(PortName::Ring(end));
        options.queues = 3;
        Port::open(eal, &options).expect("a port")
    };
    let ((port_a, queues_a), (port_b, queues_b)) = (open(a), open(b));
    let lcores = queues_a.into_iter().zip(queues_b).map(|(a, b)| {
        let echo = thread::spawn(move || {
            let mut queue = b.claim().expect("a queue");
            let mut burst = Burst::new();
            while queue.stats().tx_frames < 10_000 {
                queue.rx_burst(&mut burst);
                queue.tx_burst(&mut burst);
            }
        });
        let client = thread::spawn(move || {
            let mut queue = a.claim().expect("a queue");
            let (mut out, mut into) = (Burst::new(), Burst::new());
            let (mut sent, mut seen) = (0, 0);
            while seen < 10_000 {
                sent += send(&mut queue, &mut out, sent, (seen + 200).min(10_000));
                queue.tx_burst(&mut out);
                queue.rx_burst(&mut into);
                for frame in into.drain(..) {
                    assert_eq!(number(&frame), seen);
                    seen += 1;
                }
                thread::yield_now();
            }
        });
        [echo, client]
    });
    let lcores: Vec<_> = lcores.collect();
    for lcore in lcores.into_iter().flatten() {
        lcore.join().expect("no panic");
    }
    assert_eq!(port_b.close().expect("closed").frames_in_use, None);
    assert_eq!(port_a.close().expect("closed").frames_in_use, Some(0));
}

#[test]
fn a_port_is_opened_once_and_not_closed_while_a_queue_is_in_use() {
    let eal = common::eal("");
    let (a, _b) = ring_pair(eal, 1, 64).expect("two ports");
    let (port, queue) = open(a.clone());
    let again = PortOptions::new(PortName::Ring(a.clone()));
    let error = Port::open(eal, &again).expect_err("it is open");
    assert_eq!(error, Error::InUse(a.port().to_string()));
    // A ring port cannot be opened by its number, because only its end keeps the rings allocated.
    let number = PortOptions::new(PortName::Number(a.port()));
    let error = Port::open(eal, &number).expect_err("a ring port");
    assert!(matches!(error, Error::NoPort { .. }), "{error}");
    let error = port.close().expect_err("a queue is in use");
    assert!(matches!(error, Error::InUse(_)), "{error}");
    drop(queue);
}
