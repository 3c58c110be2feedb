//! Measures the parts of receiving a segment: `cargo test --release -p hioload-tcp wire_cost -- --ignored --nocapture` prints
//! nanoseconds.

use std::hint::black_box;
use std::time::Instant;

use hioload_device::RxChecksum;

use crate::checksum;
use crate::parse::{Parsed, parse, tests as frames};

/// Nanoseconds for one call: the best of some rounds.
fn nanos(mut call: impl FnMut()) -> f64 {
    const CALLS: u32 = 100_000;
    (0..20)
        .map(|_| {
            let start = Instant::now();
            (0..CALLS).for_each(|_| call());
            start.elapsed().as_nanos() as f64 / f64::from(CALLS)
        })
        .fold(f64::MAX, f64::min)
}

#[test]
#[ignore = "prints figures; run it alone, optimised"]
fn print() {
    let key = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];
    let ours = frames::ours(None);
    for v6 in [false, true] {
        let frame = frames::segment(v6, None, &[b'x'; 64], 0);
        let Parsed::Tcp(found) = parse(&frame, RxChecksum::Unknown, &ours) else {
            panic!("no segment");
        };
        let all = nanos(|| {
            if let Parsed::Tcp(found) = parse(black_box(&frame), RxChecksum::Unknown, &ours) {
                black_box(found.tuple.hash(&key));
                black_box(found.checksum_is_good(&frame));
            }
        });
        let parsing = nanos(|| {
            black_box(parse(black_box(&frame), RxChecksum::Unknown, &ours));
        });
        let hashing = nanos(|| {
            black_box(black_box(&found.tuple).hash(&key));
        });
        let summing = nanos(|| {
            black_box(black_box(&found).checksum_is_good(&frame));
        });
        println!(
            "IPv{} 64 B segment: {all:.1} ns (parse {parsing:.1}, hash {hashing:.1}, checksum {summing:.1})",
            if v6 { 6 } else { 4 }
        );
    }
    for len in [64, 256, 512, 1460, 9000] {
        let bytes = vec![0x5a; len];
        let ns = nanos(|| {
            black_box(checksum::Sum::default().bytes(black_box(&bytes)).fold());
        });
        println!(
            "checksum of {len} B: {ns:.1} ns, {:.1} GB/s",
            len as f64 / ns
        );
    }
}
