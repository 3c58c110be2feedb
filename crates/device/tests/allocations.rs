//! In steady state an exchange of frames allocates nothing: over the pair, with faults, and during a capture.

use std::io;
use std::time::Duration;

use hioload_device::faults::{Faults, Impairment};
use hioload_device::memory::{PairOptions, pair};
use hioload_device::tap::{Tap, TapOptions, TapSwitch};
use hioload_device::{Burst, Device, Frame};
use hioload_lcore::Time;
use hioload_testkit::counting::{Counting, allocations};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Sends frames back and forth, in bursts of all sizes, with sleeps in between.
fn exchange<A: Device, B: Device<Frame = A::Frame>>(
    a: &mut A,
    b: &mut B,
    turns: usize,
    mut tick: impl FnMut(&mut A),
) {
    let (mut out, mut into) = (Burst::new(), Burst::new());
    for turn in 0..turns {
        while out.len() < turn % 60
            && let Some(mut frame) = a.alloc()
        {
            frame.set_len(60 + turn % 1400);
            out.push(frame);
        }
        a.tx_burst(&mut out);
        b.rx_burst(&mut into);
        if turn % 3 == 0 {
            b.tx_burst(&mut into);
        }
        into.clear();
        a.rx_burst(&mut into);
        into.clear();
        if turn % 10 == 0 {
            a.wait(Some(Duration::ZERO)).expect("it returns");
            b.wait(Some(Duration::from_nanos(1))).expect("it returns");
        }
        tick(a);
    }
}

/// Runs the exchange to warm up, and then counts allocations.
fn steady<A: Device, B: Device<Frame = A::Frame>>(
    a: &mut A,
    b: &mut B,
    mut tick: impl FnMut(&mut A),
) {
    exchange(a, b, 500, &mut tick);
    let before = allocations();
    exchange(a, b, 2000, &mut tick);
    assert_eq!(allocations() - before, 0);
}

fn options() -> PairOptions {
    PairOptions::default().chunks(500)
}

#[test]
fn the_pair_allocates_nothing() {
    let (a, b) = pair(&options()).expect("a pair");
    let (mut a, mut b) = (a.open(), b.open());
    steady(&mut a, &mut b, |_| ());
    assert!(a.stats().tx_frames > 50_000);
}

#[test]
fn faults_allocate_nothing() {
    let (a, b) = pair(&options()).expect("a pair");
    let what = Impairment::default()
        .loss(0.05)
        .duplicate(0.1)
        .corrupt(0.1)
        .reorder(0.2)
        .delay(Duration::from_micros(20))
        .jitter(Duration::from_micros(20))
        .bandwidth(Some(10_000_000_000))
        .limit(200);
    let (mut a, mut b) = (Faults::new(a.open(), 1, &what, &what), b.open());
    let mut now = 0;
    steady(&mut a, &mut b, |a| {
        now += 5_000;
        a.set_now(Time::from_nanos(now));
    });
    let faults = a.tx_faults();
    assert!(
        faults.entered > 10_000 && faults.overflowed > 0,
        "{faults:?}"
    );
}

#[test]
fn a_tap_allocates_nothing_on_the_data_path() {
    let (a, b) = pair(&options()).expect("a pair");
    let switch = TapSwitch::new();
    let (mut a, mut b) = (Tap::new(a.open(), &switch, "a"), b.open());
    steady(&mut a, &mut b, |_| ());
    switch
        .start(io::sink(), &TapOptions::default())
        .expect("it starts");
    steady(&mut a, &mut b, |_| ());
    let report = switch.stop().expect("written").expect("a report");
    assert!(report.written > 0);
}
