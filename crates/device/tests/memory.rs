//! The memory pair: the device conformance suite, and its own properties: migration of chunks, checksums, sleeping, and the drop of
//! an end.

mod suite;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use hioload_device::memory::{MemoryDevice, PairOptions, pair, ports};
use hioload_device::{Burst, Device, Frame, RxChecksum, TxChecksum, checksum};
use suite::{Link, fill, length, number, send};

struct Pair {
    a: MemoryDevice,
    b: MemoryDevice,
}

impl Pair {
    fn new(options: &PairOptions) -> Self {
        let (a, b) = pair(options).expect("a pair");
        let (a, b) = (a.open(), b.open());
        Self { a, b }
    }
}

impl Link for Pair {
    type A = MemoryDevice;
    type B = MemoryDevice;
    fn ends(&mut self) -> (&mut MemoryDevice, &mut MemoryDevice) {
        (&mut self.a, &mut self.b)
    }
    fn settle(&mut self) {
        // Twice, because the first end takes the chunks that the second end returns.
        for _ in 0..2 {
            self.a.settle();
            self.b.settle();
        }
    }
    fn free(&self) -> Option<(usize, usize)> {
        Some((self.a.pool().available(), self.b.pool().available()))
    }
}

#[test]
fn a_pair_conforms_to_the_device_suite() {
    suite::all(|| Pair::new(&PairOptions::default()));
}

#[test]
fn a_pair_with_few_chunks_or_small_rings_conforms_to_the_device_suite() {
    for (chunks, ring) in [(128, 64), (128, 7), (200, 1000), (4096, 16)] {
        suite::all(|| Pair::new(&PairOptions::default().chunks(chunks).ring(ring)));
    }
}

#[test]
fn a_pair_with_an_mtu_of_9000_conforms_to_the_device_suite() {
    let options = PairOptions::default().mtu(9000).chunks(256);
    suite::all(|| Pair::new(&options));
    let pair = Pair::new(&options);
    assert_eq!(pair.a.pool().arena().chunk_size(), 16384);
    assert_eq!(
        Pair::new(&PairOptions::default())
            .a
            .pool()
            .arena()
            .chunk_size(),
        2048
    );
}

#[test]
fn impossible_sizes_are_errors() {
    let good = PairOptions::default;
    for bad in [
        good().chunks(0),
        good().ring(0),
        good().mtu(0),
        good().mtu(usize::MAX),
        good().chunks(usize::MAX),
        good().mtu(2000).chunk_size(Some(2048)),
        good().chunk_size(Some(3000)),
    ] {
        let error = pair(&bad).expect_err("no pair");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{bad:?}");
    }
}

#[test]
fn each_queue_of_a_port_is_joined_with_one_queue() {
    let mut queues = ports(&PairOptions::default(), 3).expect("three pairs");
    let mut opened: Vec<_> = queues
        .drain(..)
        .map(|(a, b)| (a.open(), b.open()))
        .collect();
    let mut burst = Burst::new();
    send(&mut opened[1].0, &mut burst, 0, 5);
    opened[1].0.tx_burst(&mut burst);
    let seen: Vec<_> = opened
        .iter_mut()
        .map(|(_, b)| {
            let n = b.rx_burst(&mut burst);
            burst.clear();
            n
        })
        .collect();
    assert_eq!(seen, [0, 5, 0]);
}

/// One thread sends, and sleeps while it cannot; the other receives, and sleeps while there is no frame. Each frame arrives once, in
/// order, and at the end every chunk is in a pool.
fn across_threads(options: &PairOptions, frames: u32) {
    let (a, b) = pair(options).expect("a pair");
    let chunks = options.chunks;
    let done = Arc::new(AtomicBool::new(false));
    let there = {
        let done = Arc::clone(&done);
        thread::spawn(move || {
            let mut device = b.open();
            let mut into = Burst::new();
            let mut seen = 0;
            while seen < frames {
                if device.rx_burst(&mut into) == 0 {
                    device.wait(None).expect("it can sleep");
                }
                for frame in into.drain(..) {
                    assert_eq!(number(&frame), seen);
                    seen += 1;
                }
            }
            while !done.load(Ordering::Acquire) || device.pool().available() != chunks {
                device.settle();
                thread::yield_now();
            }
        })
    };
    let mut device = a.open();
    let mut out = Burst::new();
    let mut sent = 0;
    while sent < frames || !out.is_empty() {
        sent += send(&mut device, &mut out, sent, frames);
        if device.tx_burst(&mut out) == 0 {
            // There is no chunk or no room: the other end ends the sleep.
            device.wait(None).expect("it can sleep");
        }
    }
    done.store(true, Ordering::Release);
    while device.pool().available() != chunks {
        device.settle();
        thread::yield_now();
    }
    there.join().expect("no panic");
}

#[test]
fn two_threads_that_sleep_whenever_they_can_lose_no_frame() {
    for (chunks, ring, frames) in [(4096, 1024, 200_000), (16, 4, 20_000), (1, 1, 5_000)] {
        across_threads(&PairOptions::default().chunks(chunks).ring(ring), frames);
    }
}

#[test]
fn a_chunk_that_comes_between_the_failed_alloc_and_the_sleep_ends_the_sleep() {
    let mut pair = Pair::new(&PairOptions::default().chunks(1).ring(1));
    let mut burst = Burst::new();
    for receives in [false, true] {
        assert_eq!(send(&mut pair.a, &mut burst, 0, 2), 1, "there is one chunk");
        assert_eq!(pair.a.tx_burst(&mut burst), 1);
        assert_eq!(pair.b.rx_burst(&mut burst), 1);
        burst.clear();
        pair.b.settle();
        if receives {
            pair.a.rx_burst(&mut burst); // it takes the chunk
        }
        pair.a.wait(None).expect("it returns");
    }
}

#[test]
fn two_threads_echo_frames_to_each_other() {
    let (a, b) = pair(&PairOptions::default().chunks(256)).expect("a pair");
    let stop = Arc::new(AtomicBool::new(false));
    let (send_waker, waker) = mpsc::channel();
    let echo = {
        let stop = Arc::clone(&stop);
        thread::spawn(move || {
            let mut device = b.open();
            send_waker.send(device.waker()).expect("a receiver");
            let mut burst = Burst::new();
            while !stop.load(Ordering::Acquire) {
                device.rx_burst(&mut burst);
                device.tx_burst(&mut burst);
                if burst.is_empty() {
                    device.wait(None).expect("it can sleep");
                }
            }
            device.stats()
        })
    };
    let mut device = a.open();
    let (mut out, mut into) = (Burst::new(), Burst::new());
    let (mut sent, mut seen) = (0, 0);
    while seen < 50_000 {
        sent += send(&mut device, &mut out, sent, (seen + 100).min(50_000));
        device.tx_burst(&mut out);
        if device.rx_burst(&mut into) == 0 {
            device.wait(None).expect("it can sleep");
        }
        for frame in into.drain(..) {
            assert_eq!((number(&frame), frame.len()), (seen, length(seen)));
            seen += 1;
        }
    }
    stop.store(true, Ordering::Release);
    waker.recv().expect("a waker")();
    let stats = echo.join().expect("no panic");
    assert_eq!((stats.rx_frames, stats.tx_frames), (50_000, 50_000));
}

#[test]
fn a_wake_up_before_the_sleep_is_not_lost_and_ends_one_sleep() {
    let mut pair = Pair::new(&PairOptions::default());
    pair.a.waker()();
    pair.a.wait(None).expect("it returns");
    // A frame that arrived before the sleep ends it.
    let mut burst = Burst::new();
    send(&mut pair.b, &mut burst, 0, 1);
    pair.b.tx_burst(&mut burst);
    pair.a.wait(None).expect("it returns");
    assert_eq!(pair.a.rx_burst(&mut burst), 1);
    // Now only the timeout ends the sleep.
    pair.a
        .wait(Some(Duration::from_millis(1)))
        .expect("it returns");
}

#[test]
fn the_waker_ends_a_sleep_from_another_thread() {
    let (a, _b) = pair(&PairOptions::default()).expect("a pair");
    let (send_waker, wakers) = mpsc::channel();
    let rounds = Arc::new(AtomicUsize::new(0));
    let sleeper = {
        let rounds = Arc::clone(&rounds);
        thread::spawn(move || {
            let mut device = a.open();
            send_waker.send(device.waker()).expect("a receiver");
            while rounds.load(Ordering::Acquire) < 1000 {
                device.wait(None).expect("it can sleep");
            }
        })
    };
    let waker = wakers.recv().expect("a waker");
    for _ in 0..1000 {
        rounds.fetch_add(1, Ordering::Release);
        waker();
    }
    sleeper.join().expect("it woke up");
}

#[test]
fn after_the_drop_of_the_other_end_frames_are_dropped_and_counted() {
    let Pair { mut a, mut b } = Pair::new(&PairOptions::default().chunks(64));
    let mut burst = Burst::new();
    // The other end is dropped with unread frames, after it has sent one.
    send(&mut a, &mut burst, 0, 20);
    a.tx_burst(&mut burst);
    send(&mut b, &mut burst, 7, 8);
    b.tx_burst(&mut burst);
    assert!(a.is_connected());
    drop(b);
    assert!(!a.is_connected());
    a.wait(None)
        .expect("it returns: the end was dropped, and there is a frame");
    assert_eq!(a.rx_burst(&mut burst), 1);
    assert_eq!(number(&burst[0]), 7);
    burst.clear();
    for turn in 0..100 {
        send(&mut a, &mut burst, 0, 10);
        assert_eq!(a.tx_burst(&mut burst), 10, "turn {turn}");
    }
    assert_eq!((a.stats().tx_frames, a.stats().tx_dropped), (20, 1000));
    assert_eq!(a.pool().available(), 64, "the unread frames were returned");
    // The drop ends one wait; after that, a wait sleeps.
    a.wait(Some(Duration::from_millis(1))).expect("it returns");
}

#[test]
fn the_drop_of_an_end_wakes_the_other() {
    let (a, b) = pair(&PairOptions::default()).expect("a pair");
    let sleeper = thread::spawn(move || {
        let mut device = a.open();
        while device.is_connected() {
            device.wait(None).expect("it can sleep");
        }
    });
    // This end was never opened.
    drop(b);
    sleeper.join().expect("it woke up");
}

/// A frame that requests the checksum from byte 18 on in its last two bytes.
fn request_checksum(
    device: &mut MemoryDevice,
    number: u32,
) -> Burst<<MemoryDevice as Device>::Frame> {
    let mut frame = device.alloc().expect("a frame");
    fill(&mut frame, number, 100);
    frame.bytes_mut()[98..].copy_from_slice(&0x1234_u16.to_be_bytes());
    frame.set_tx_checksum(TxChecksum::Fill {
        start: 18,
        offset: 80,
    });
    Burst::from_iter([frame])
}

fn offering(tx: bool, rx: bool) -> Pair {
    let mut options = PairOptions::default();
    options.a.tx_checksum = tx;
    options.b.rx_checksum = rx;
    Pair::new(&options)
}

#[test]
fn a_requested_checksum_is_computed_or_the_frame_is_marked_good() {
    for (tx, rx) in [(true, false), (true, true), (false, false), (false, true)] {
        let mut pair = offering(tx, rx);
        assert_eq!(pair.a.capabilities().tx_checksum, tx);
        assert_eq!(pair.b.capabilities().rx_checksum, rx);
        let mut burst = request_checksum(&mut pair.a, 5);
        pair.a.tx_burst(&mut burst);
        pair.b.rx_burst(&mut burst);
        let frame = &burst[0];
        // The field had the sum of the pseudo-header, which the receiver adds to the rest.
        let total = u32::from(checksum::sum(&frame.bytes()[18..])) + 0x1234;
        let correct = matches!((total & 0xffff) + (total >> 16), 0xffff);
        let wanted = match (tx, rx) {
            (true, false) => (RxChecksum::Unknown, true),
            (true, true) => (RxChecksum::Good, false),
            // A device that does not offer checksums leaves a bad checksum, and the frame is not marked.
            (false, _) => (RxChecksum::Unknown, false),
        };
        assert_eq!((frame.rx_checksum(), correct), wanted, "{tx} {rx}");
        // The received frame has no request.
        assert_eq!(frame.tx_checksum(), TxChecksum::Complete);
    }
}

#[test]
fn frames_with_a_wrong_request_or_beyond_the_mtu_are_dropped_and_counted() {
    for rx in [false, true] {
        let mut pair = offering(true, rx);
        let mut burst = request_checksum(&mut pair.a, 1);
        burst[0].set_tx_checksum(TxChecksum::Fill {
            start: 18,
            offset: 81,
        });
        let mut long = pair.a.alloc().expect("a frame");
        fill(&mut long, 2, 1519);
        burst.push(long);
        let mut longest = pair.a.alloc().expect("a frame");
        fill(&mut longest, 3, 1518);
        burst.push(longest);
        assert_eq!(pair.a.tx_burst(&mut burst), 3);
        assert_eq!(pair.b.rx_burst(&mut burst), 1);
        assert_eq!(number(&burst[0]), 3);
        burst.clear();
        pair.settle();
        let stats = pair.a.stats();
        assert_eq!((stats.tx_frames, stats.tx_dropped), (1, 2));
        assert_eq!(pair.free(), Some((4096, 4096)));
    }
}

#[test]
fn an_end_that_keeps_many_frames_can_still_send() {
    let mut pair = Pair::new(&PairOptions::default().chunks(64));
    let mut kept = Vec::new();
    let (mut out, mut into) = (Burst::new(), Burst::new());
    for _ in 0..100 {
        send(&mut pair.a, &mut out, 0, 8);
        pair.a.tx_burst(&mut out);
        pair.b.rx_burst(&mut into);
        kept.extend(into.drain(..));
        pair.settle();
    }
    assert!(kept.len() >= 64, "{}", kept.len());
    assert!(pair.b.alloc().is_some());
    drop(kept);
    out.clear();
    pair.settle();
    assert_eq!(pair.free(), Some((64, 64)));
}
