//! The fault injector over the memory pair, in virtual time.

mod suite;

use std::time::Duration;

use hioload_device::faults::{Faults, Impairment};
use hioload_device::memory::{MemoryDevice, PairOptions, pair};
use hioload_device::{Burst, Device, Frame, RxChecksum, TxChecksum, checksum};
use hioload_lcore::Time;
use proptest::prelude::*;
use suite::{Link, fill, number, send};

const CHUNKS: usize = 2048;

/// A faulty first end and a sound second one.
struct Faulty {
    a: Faults<MemoryDevice>,
    b: MemoryDevice,
    now: Time,
}

impl Faulty {
    fn new(seed: u64, rx: &Impairment, tx: &Impairment) -> Self {
        let mut options = PairOptions {
            chunks: CHUNKS,
            ..PairOptions::default()
        };
        options.a.tx_checksum = true;
        options.a.rx_checksum = true;
        options.b.tx_checksum = true;
        options.b.rx_checksum = true;
        let (a, b) = pair(&options).expect("a pair");
        Self {
            a: Faults::new(a.open(), seed, rx, tx),
            b: b.open(),
            now: Time::ZERO,
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.a.set_now(self.now);
    }

    /// Sends one frame from the faulty end at a time, `gap` apart, waits until nothing is due any more, and returns the
    /// numbers of those that arrived, with the time.
    fn run(&mut self, frames: u32, gap: Duration) -> Vec<(u32, Time)> {
        let mut seen = Vec::new();
        let (mut out, mut into) = (Burst::new(), Burst::new());
        for n in 0..frames {
            send(&mut self.a, &mut out, n, n + 1);
            self.a.tx_burst(&mut out);
            self.see(&mut into, &mut seen);
            self.pass(gap);
        }
        while let Some(due) = self.a.next_deadline() {
            self.now = self.now.max(due);
            self.a.set_now(self.now);
            self.a.tx_burst(&mut out);
            self.see(&mut into, &mut seen);
        }
        assert_eq!(self.a.held(), (0, 0));
        seen
    }

    fn see(
        &mut self,
        into: &mut Burst<<MemoryDevice as Device>::Frame>,
        seen: &mut Vec<(u32, Time)>,
    ) {
        self.b.rx_burst(into);
        seen.extend(into.drain(..).map(|frame| (number(&frame), self.now)));
    }

    fn all_home(&mut self) {
        for _ in 0..2 {
            self.a.get_mut().settle();
            self.b.settle();
        }
        assert_eq!(self.free(), Some((CHUNKS, CHUNKS)));
    }
}

impl Link for Faulty {
    type A = Faults<MemoryDevice>;
    type B = MemoryDevice;
    fn ends(&mut self) -> (&mut Self::A, &mut Self::B) {
        (&mut self.a, &mut self.b)
    }
    fn settle(&mut self) {
        self.pass(Duration::from_micros(1));
        for _ in 0..2 {
            self.a.get_mut().settle();
            self.b.settle();
        }
    }
    fn free(&self) -> Option<(usize, usize)> {
        let a = self.a.get_ref().pool().available();
        Some((a, self.b.pool().available()))
    }
}

fn numbers(seen: &[(u32, Time)]) -> Vec<u32> {
    seen.iter().map(|&(n, _)| n).collect()
}

const NONE: fn() -> Impairment = Impairment::default;
const MICRO: Duration = Duration::from_micros(1);

#[test]
fn without_faults_it_is_the_device_it_wraps() {
    suite::all(|| Faulty::new(1, &NONE(), &NONE()));
}

#[test]
fn a_line_that_does_nothing_is_a_device_too() {
    // Every frame goes through the queue of a link that takes no time.
    let fast = Impairment {
        bandwidth: Some(u64::MAX),
        queue_bytes: u64::MAX,
        ..NONE()
    };
    suite::all(|| Faulty::new(1, &fast, &fast));
}

#[test]
fn loses_as_many_as_asked_for() {
    let what = Impairment {
        loss: 0.1,
        ..NONE()
    };
    let mut link = Faulty::new(3, &NONE(), &what);
    let seen = numbers(&link.run(10_000, MICRO));
    let lost = link.a.tx_faults().lost;
    assert_eq!(seen.len() as u64 + lost, 10_000);
    assert!((900..1100).contains(&lost), "{lost}");
    assert!(seen.is_sorted());
    link.all_home();
}

#[test]
fn doubles_frames_with_all_that_is_known_of_them() {
    let what = Impairment {
        duplicate: 1.0,
        ..NONE()
    };
    let mut link = Faulty::new(3, &what, &what);
    assert_eq!(numbers(&link.run(3, MICRO)), [0, 0, 1, 1, 2, 2]);
    // Received ones keep what the device said of them.
    let mut burst = Burst::new();
    send(&mut link.b, &mut burst, 9, 10);
    burst[0].set_tx_checksum(TxChecksum::Fill {
        start: 20,
        offset: 2,
    });
    link.b.tx_burst(&mut burst);
    assert_eq!(link.a.rx_burst(&mut burst), 2);
    for frame in burst.drain(..) {
        assert_eq!((number(&frame), frame.rx_checksum()), (9, RxChecksum::Good));
    }
    // Sent ones keep what was asked for.
    send(&mut link.a, &mut burst, 9, 10);
    burst[0].set_tx_checksum(TxChecksum::Fill {
        start: 20,
        offset: 2,
    });
    link.a.tx_burst(&mut burst);
    assert_eq!(link.b.rx_burst(&mut burst), 2);
    assert!(
        burst
            .iter()
            .all(|frame| frame.rx_checksum() == RxChecksum::Good)
    );
    assert_eq!(link.a.tx_faults().duplicated, 4);
    burst.clear();
    link.all_home();
}

#[test]
fn without_a_buffer_nothing_is_doubled_and_it_is_counted() {
    let what = Impairment {
        duplicate: 1.0,
        ..NONE()
    };
    let mut link = Faulty::new(3, &NONE(), &what);
    let held: Vec<_> = std::iter::from_fn(|| link.a.alloc()).collect();
    let mut burst: Burst<_> = held.into_iter().take(1).collect();
    fill(&mut burst[0], 1, 60);
    let rest: Vec<_> = std::iter::from_fn(|| link.a.alloc()).collect();
    assert_eq!(link.a.tx_burst(&mut burst), 1);
    assert_eq!(link.a.tx_faults().not_duplicated, 1);
    drop(rest);
    assert_eq!(link.b.rx_burst(&mut burst), 1);
}

#[test]
fn damages_one_bit_behind_the_ethernet_header_and_vouches_no_more() {
    let what = Impairment {
        corrupt: 1.0,
        ..NONE()
    };
    let mut link = Faulty::new(5, &what, &what);
    let mut burst = Burst::new();
    for n in 0..200 {
        // In both directions, with a checksum that is left to the device.
        let mut there = link.a.alloc().expect("a frame");
        let mut back = link.b.alloc().expect("a frame");
        for frame in [&mut there, &mut back] {
            fill(frame, n, 64);
            frame.bytes_mut()[62..].fill(0);
            frame.set_tx_checksum(TxChecksum::Fill {
                start: 18,
                offset: 44,
            });
        }
        burst.push(there);
        link.a.tx_burst(&mut burst);
        assert_eq!(link.b.rx_burst(&mut burst), 1);
        let frame = burst.pop().expect("a frame");
        assert_eq!(frame.rx_checksum(), RxChecksum::Unknown);
        assert_eq!(
            frame.bytes()[..14],
            [&[0xff; 12][..], &[0x88, 0xb5]].concat()
        );
        let mut whole = [0; 64];
        whole.copy_from_slice(frame.bytes());
        let outside = u32::from_be_bytes([whole[14], whole[15], whole[16], whole[17]]) != n;
        let sound = checksum::sum(&whole[18..]) == 0xffff;
        assert_ne!(
            outside, !sound,
            "the one bit is seen by the sum or lies before it"
        );

        burst.push(back);
        link.b.tx_burst(&mut burst);
        assert_eq!(link.a.rx_burst(&mut burst), 1);
        let frame = burst.pop().expect("a frame");
        assert_eq!(frame.rx_checksum(), RxChecksum::Unknown);
    }
    assert_eq!(link.a.tx_faults().corrupted, 200);
    assert_eq!(link.a.rx_faults().corrupted, 200);
    // Nothing to hit.
    let mut short = link.a.alloc().expect("a frame");
    short.set_len(14);
    burst.push(short);
    link.a.tx_burst(&mut burst);
    assert_eq!(link.a.tx_faults().corrupted, 200);
}

#[test]
fn frames_held_back_are_overtaken_by_a_few_and_wait_no_longer_than_said() {
    let what = Impairment {
        reorder: 0.2,
        reorder_by: 3,
        ..NONE()
    };
    let mut link = Faulty::new(8, &NONE(), &what);
    let seen = numbers(&link.run(5000, MICRO));
    assert_eq!(seen.len(), 5000);
    assert!(!seen.is_sorted());
    for (at, &n) in seen.iter().enumerate() {
        // Overtaken by three that were themselves not held back: a little further at worst.
        assert!(at.abs_diff(n as usize) < 12, "{n} at {at}");
    }
    let held = link.a.tx_faults().reordered;
    assert!((800..1200).contains(&held), "{held}");

    let alone = Impairment {
        reorder: 1.0,
        reorder_for: Duration::from_millis(4),
        ..NONE()
    };
    link.a.set_tx(&alone);
    let start = link.now;
    let seen = link.run(1, MICRO);
    assert_eq!(seen, [(0, start + Duration::from_millis(4))]);
    link.all_home();
}

#[test]
fn a_way_takes_its_time_and_keeps_the_order() {
    let what = Impairment {
        delay: Duration::from_millis(20),
        ..NONE()
    };
    let mut link = Faulty::new(8, &what, &what);
    let seen = link.run(100, Duration::from_millis(1));
    for (n, (number, time)) in seen.iter().enumerate() {
        assert_eq!(*number, n as u32);
        assert_eq!(*time, Time::from_millis(n as u64 + 20));
    }
    // The other direction has its own.
    let mut burst = Burst::new();
    send(&mut link.b, &mut burst, 0, 1);
    link.b.tx_burst(&mut burst);
    assert_eq!(link.a.rx_burst(&mut burst), 0);
    assert_eq!(
        link.a.next_deadline(),
        Some(link.now + Duration::from_millis(20))
    );
    link.pass(Duration::from_millis(20));
    assert_eq!(link.a.rx_burst(&mut burst), 1);

    link.a.set_tx(&Impairment {
        jitter: Duration::from_millis(5),
        ..what
    });
    let start = link.now;
    let seen = link.run(100, Duration::from_micros(100));
    assert!(numbers(&seen).is_sorted());
    let first = seen[0].1.saturating_sub(start).as_millis();
    assert!((20..25).contains(&first));
    assert!(
        seen.iter().any(|&(n, time)| {
            time > start + Duration::from_micros(u64::from(n) * 100 + 20_500)
        })
    );
}

#[test]
fn a_link_has_its_bandwidth_and_its_queue_an_end() {
    // 8 Mb/s: a byte each microsecond.
    let what = Impairment {
        bandwidth: Some(8_000_000),
        queue_bytes: 1000,
        ..NONE()
    };
    let mut link = Faulty::new(8, &NONE(), &what);
    let mut burst = Burst::new();
    for n in 0..15 {
        let mut frame = link.a.alloc().expect("a frame");
        fill(&mut frame, n, 100);
        burst.push(frame);
    }
    assert_eq!(link.a.tx_burst(&mut burst), 15);
    assert_eq!(link.a.tx_faults().overflowed, 5);
    assert_eq!(link.a.held(), (0, 10));
    let seen = link.run(0, MICRO);
    let wanted: Vec<_> = (0..10)
        .map(|n| (n, Time::from_nanos(u64::from(n + 1) * 100_000)))
        .collect();
    assert_eq!(seen, wanted);
    link.all_home();
}

#[test]
fn a_line_holds_no_more_than_its_limit() {
    let what = Impairment {
        delay: Duration::from_secs(1),
        limit: 50,
        reorder: 0.5,
        late_limit: 4,
        ..NONE()
    };
    let mut link = Faulty::new(8, &what, &what);
    let mut burst = Burst::new();
    for _ in 0..10 {
        send(&mut link.a, &mut burst, 0, 20);
        link.a.tx_burst(&mut burst);
        assert!(link.a.held().1 <= 54, "{:?}", link.a.held());
    }
    let stats = link.a.tx_faults();
    assert!(stats.overflowed >= 200 - 54);
    // Changed while it runs: the limits stay, and what is on its way stays on it.
    link.a.set_tx(&Impairment::default());
    assert_eq!(link.a.held().1 as u64, 200 - stats.overflowed);
    // Dropped, it gives back what it holds: to its own pool, and so to the other end.
    let Faulty { a, mut b, .. } = link;
    let pool = a.get_ref().pool().clone();
    drop(a);
    b.settle();
    assert_eq!(pool.available() + b.pool().available(), 2 * CHUNKS);
}

#[test]
fn a_full_device_below_holds_up_the_sender_and_nothing_is_lost() {
    let (a, b) = pair(&PairOptions {
        ring: 8,
        ..PairOptions::default()
    })
    .expect("a pair");
    let slow = Impairment {
        delay: MICRO,
        ..NONE()
    };
    let mut a = Faults::new(a.open(), 1, &NONE(), &slow);
    let mut b = b.open();
    let (mut out, mut into) = (Burst::new(), Burst::new());
    let (mut now, mut sent, mut seen) = (Time::ZERO, 0, 0);
    while seen < 1000 {
        sent += send(&mut a, &mut out, sent, 1000);
        now += MICRO;
        a.set_now(now);
        a.tx_burst(&mut out);
        if now.as_nanos() % 3000 == 0 {
            b.rx_burst(&mut into);
        }
        for frame in into.drain(..) {
            assert_eq!(number(&frame), seen);
            seen += 1;
        }
    }
    assert_eq!(a.tx_faults().overflowed, 0);
}

#[test]
fn a_wait_ends_when_a_frame_is_due() {
    let what = Impairment {
        delay: Duration::from_millis(2),
        ..NONE()
    };
    let mut link = Faulty::new(8, &NONE(), &what);
    let mut burst = Burst::new();
    send(&mut link.a, &mut burst, 0, 1);
    link.a.tx_burst(&mut burst);
    // For ever, were it not for the frame.
    link.a.wait(None).expect("it returns");
}

fn impairments() -> impl Strategy<Value = Impairment> {
    let chance = || prop_oneof![Just(0.0), 0.0..0.5];
    (
        (chance(), chance(), chance(), chance()),
        (0_u64..3000, 0_u64..3000, 1_u32..20),
        (
            proptest::option::of(1_000_000_u64..1_000_000_000),
            0_u64..20_000,
        ),
        (1_usize..100, 0_usize..10),
    )
        .prop_map(|(chances, times, link, limits)| Impairment {
            loss: chances.0,
            duplicate: chances.1,
            corrupt: chances.2,
            reorder: chances.3,
            delay: Duration::from_micros(times.0),
            jitter: Duration::from_micros(times.1),
            reorder_by: times.2,
            bandwidth: link.0,
            queue_bytes: link.1,
            limit: limits.0,
            late_limit: limits.1,
            ..Impairment::default()
        })
}

/// Traffic both ways; returns what the faulty end received, byte for byte, with the times.
fn history(seed: u64, rx: &Impairment, tx: &Impairment) -> Vec<(u64, Vec<u8>)> {
    let mut link = Faulty::new(seed, rx, tx);
    let (mut out, mut into) = (Burst::new(), Burst::new());
    let mut seen = Vec::new();
    let (mut turn, mut moved) = (0, true);
    // What a late frame has let go is still on its way when no deadline is left.
    while turn < 100 || moved || link.a.next_deadline().is_some() {
        if turn < 100 {
            send(&mut link.a, &mut out, turn * 10, turn * 10 + 3);
        }
        link.a.tx_burst(&mut out);
        // What arrives is sent back.
        moved = link.b.rx_burst(&mut into) > 0;
        link.b.tx_burst(&mut into);
        moved |= link.a.rx_burst(&mut into) > 0;
        for frame in into.drain(..) {
            seen.push((link.now.as_nanos(), frame.bytes().to_vec()));
        }
        turn += 1;
        link.pass(Duration::from_micros(50));
    }
    for (at, stats) in [link.a.rx_faults(), link.a.tx_faults()].iter().enumerate() {
        let gone = stats.lost + stats.overflowed;
        let came = stats.entered + stats.duplicated;
        let transparent = [rx, tx][at].is_none();
        let out = [link.a.stats().rx_frames, link.a.stats().tx_frames][at];
        match (transparent, at) {
            (true, _) => assert_eq!(came + gone, 0),
            (false, 0) => assert_eq!(came - gone, seen.len() as u64),
            (false, _) => assert_eq!(came - gone, out),
        }
    }
    link.all_home();
    seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_frame_is_accounted_for_and_a_seed_repeats_itself(
        seed in any::<u64>(),
        rx in impairments(),
        tx in impairments(),
    ) {
        let first = history(seed, &rx, &tx);
        prop_assert_eq!(first, history(seed, &rx, &tx));
    }
}

#[test]
fn another_seed_is_another_history() {
    let what = Impairment {
        loss: 0.3,
        ..NONE()
    };
    assert_ne!(history(1, &what, &what), history(2, &what, &what));
}
