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

/// A first end with a faulty link, and a second one without.
struct Faulty {
    a: Faults<MemoryDevice>,
    b: MemoryDevice,
    now: Time,
}

impl Faulty {
    fn new(seed: u64, rx: &Impairment, tx: &Impairment) -> Self {
        let mut options = PairOptions::default().chunks(CHUNKS);
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

    /// Sends frames from the faulty end one at a time, `gap` apart, until no frame is due any more. Returns the numbers of the frames
    /// that arrived, with the times.
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

    fn all_returned(&mut self) {
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
fn without_faults_a_device_conforms_to_the_suite() {
    suite::all(|| Faulty::new(1, &NONE(), &NONE()));
}

#[test]
fn a_link_with_an_unlimited_bandwidth_conforms_to_the_suite() {
    // Every frame passes the queue of a link that takes no time.
    let fast = NONE().bandwidth(Some(u64::MAX)).queue_bytes(u64::MAX);
    suite::all(|| Faulty::new(1, &fast, &fast));
}

#[test]
fn the_frequency_of_losses_matches_the_probability() {
    let what = NONE().loss(0.1);
    let mut link = Faulty::new(3, &NONE(), &what);
    let seen = numbers(&link.run(10_000, MICRO));
    let lost = link.a.tx_faults().lost;
    assert_eq!(seen.len() as u64 + lost, 10_000);
    assert!((900..1100).contains(&lost), "{lost}");
    assert!(seen.is_sorted());
    link.all_returned();
}

#[test]
fn a_duplicate_has_the_checksum_state_of_its_frame() {
    let what = NONE().duplicate(1.0);
    let mut link = Faulty::new(3, &what, &what);
    assert_eq!(numbers(&link.run(3, MICRO)), [0, 0, 1, 1, 2, 2]);
    // A received duplicate has the state that the device reported.
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
    // A sent duplicate has the request of its frame.
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
    link.all_returned();
}

#[test]
fn a_frame_that_is_not_duplicated_for_lack_of_a_buffer_is_counted() {
    let what = NONE().duplicate(1.0);
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
fn corruption_flips_one_bit_behind_the_ethernet_header_and_clears_the_mark() {
    let what = NONE().corrupt(1.0);
    let mut link = Faulty::new(5, &what, &what);
    let mut burst = Burst::new();
    for n in 0..200 {
        // In both directions, with a requested checksum.
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
            "the checksum detects the bit, unless the bit is before it"
        );

        burst.push(back);
        link.b.tx_burst(&mut burst);
        assert_eq!(link.a.rx_burst(&mut burst), 1);
        let frame = burst.pop().expect("a frame");
        assert_eq!(frame.rx_checksum(), RxChecksum::Unknown);
    }
    assert_eq!(link.a.tx_faults().corrupted, 200);
    assert_eq!(link.a.rx_faults().corrupted, 200);
    // This frame has no byte that may be changed.
    let mut short = link.a.alloc().expect("a frame");
    short.set_len(14);
    burst.push(short);
    link.a.tx_burst(&mut burst);
    assert_eq!(link.a.tx_faults().corrupted, 200);
}

#[test]
fn frames_held_back_are_overtaken_and_released_in_time() {
    let what = NONE().reorder(0.2).reorder_by(3);
    let mut link = Faulty::new(8, &NONE(), &what);
    let seen = numbers(&link.run(5000, MICRO));
    assert_eq!(seen.len(), 5000);
    assert!(!seen.is_sorted());
    for (at, &n) in seen.iter().enumerate() {
        // Three frames that are not held back overtake it, so it moves a little further at most.
        assert!(at.abs_diff(n as usize) < 12, "{n} at {at}");
    }
    let held = link.a.tx_faults().reordered;
    assert!((800..1200).contains(&held), "{held}");

    let alone = NONE().reorder(1.0).reorder_for(Duration::from_millis(4));
    link.a.set_tx(&alone);
    let start = link.now;
    let seen = link.run(1, MICRO);
    assert_eq!(seen, [(0, start + Duration::from_millis(4))]);
    link.all_returned();
}

#[test]
fn a_delay_keeps_the_order() {
    let what = NONE().delay(Duration::from_millis(20));
    let mut link = Faulty::new(8, &what, &what);
    let seen = link.run(100, Duration::from_millis(1));
    for (n, (number, time)) in seen.iter().enumerate() {
        assert_eq!(*number, n as u32);
        assert_eq!(*time, Time::from_millis(n as u64 + 20));
    }
    // The other direction has a delay of its own.
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

    link.a.set_tx(&what.jitter(Duration::from_millis(5)));
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
fn a_link_has_a_bandwidth_and_a_limited_queue() {
    // 8 Mbit/s: one byte each microsecond.
    let what = NONE().bandwidth(Some(8_000_000)).queue_bytes(1000);
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
    link.all_returned();
}

#[test]
fn a_line_holds_at_most_its_limit() {
    let what = NONE()
        .delay(Duration::from_secs(1))
        .limit(50)
        .reorder(0.5)
        .late_limit(4);
    let mut link = Faulty::new(8, &what, &what);
    let mut burst = Burst::new();
    for _ in 0..10 {
        send(&mut link.a, &mut burst, 0, 20);
        link.a.tx_burst(&mut burst);
        assert!(link.a.held().1 <= 54, "{:?}", link.a.held());
    }
    let stats = link.a.tx_faults();
    assert!(stats.overflowed >= 200 - 54);
    // After a change, the limits and the frames in transit stay.
    link.a.set_tx(&Impairment::default());
    assert_eq!(link.a.held().1 as u64, 200 - stats.overflowed);
    // The drop returns the frames to the pool of the end, and from there to the other end.
    let Faulty { a, mut b, .. } = link;
    let pool = a.get_ref().pool().clone();
    drop(a);
    b.settle();
    assert_eq!(pool.available() + b.pool().available(), 2 * CHUNKS);
}

#[test]
fn a_full_device_delays_the_sender_and_loses_no_frame() {
    let (a, b) = pair(&PairOptions::default().ring(8)).expect("a pair");
    let slow = NONE().delay(MICRO);
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
    let what = NONE().delay(Duration::from_millis(2));
    let mut link = Faulty::new(8, &NONE(), &what);
    let mut burst = Burst::new();
    send(&mut link.a, &mut burst, 0, 1);
    link.a.tx_burst(&mut burst);
    // Only the frame ends this wait.
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
        .prop_map(|(chances, times, link, limits)| {
            Impairment::default()
                .loss(chances.0)
                .duplicate(chances.1)
                .corrupt(chances.2)
                .reorder(chances.3)
                .delay(Duration::from_micros(times.0))
                .jitter(Duration::from_micros(times.1))
                .reorder_by(times.2)
                .bandwidth(link.0)
                .queue_bytes(link.1)
                .limit(limits.0)
                .late_limit(limits.1)
        })
}

/// Sends traffic in both directions. Returns the frames that the faulty end received, with the times.
fn history(seed: u64, rx: &Impairment, tx: &Impairment) -> Vec<(u64, Vec<u8>)> {
    let mut link = Faulty::new(seed, rx, tx);
    let (mut out, mut into) = (Burst::new(), Burst::new());
    let mut seen = Vec::new();
    let (mut turn, mut moved) = (0, true);
    // A frame that a late frame has released may still be in transit when no deadline is left.
    while turn < 100 || moved || link.a.next_deadline().is_some() {
        if turn < 100 {
            send(&mut link.a, &mut out, turn * 10, turn * 10 + 3);
        }
        link.a.tx_burst(&mut out);
        // The second end sends every frame back.
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
    link.all_returned();
    seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_frame_is_accounted_for_and_a_seed_repeats_the_run(
        seed in any::<u64>(),
        rx in impairments(),
        tx in impairments(),
    ) {
        let first = history(seed, &rx, &tx);
        prop_assert_eq!(first, history(seed, &rx, &tx));
    }
}

#[test]
fn another_seed_gives_another_history() {
    let what = NONE().loss(0.3);
    assert_ne!(history(1, &what, &what), history(2, &what, &what));
}
