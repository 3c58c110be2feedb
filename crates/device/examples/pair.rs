//! Measures the cost of a frame over the memory pair, with both ends on one thread.
//!
//! `cargo run --release -p hioload-device --example pair`

use std::hint::black_box;
use std::time::Instant;

use hioload_device::memory::{MemoryDevice, PairOptions, pair};
use hioload_device::{BURST, Burst, Device};

type Frames = Burst<<MemoryDevice as Device>::Frame>;

fn fill(device: &mut MemoryDevice, burst: &mut Frames, frames: usize) {
    while burst.len() < frames
        && let Some(mut frame) = device.alloc()
    {
        frame.set_len(64);
        frame.bytes_mut()[0] = 1;
        burst.push(frame);
    }
}

fn measure(name: &str, mut turn: impl FnMut() -> usize) {
    let mut best = f64::MAX;
    for _ in 0..7 {
        let (start, mut frames) = (Instant::now(), 0);
        while frames < 4_000_000 {
            frames += turn();
        }
        best = best.min(start.elapsed().as_nanos() as f64 / frames as f64);
    }
    println!("{name}: {best:.1} ns per frame");
}

fn main() -> std::io::Result<()> {
    for size in [1, 8, BURST] {
        let (a, b) = pair(&PairOptions::default())?;
        let (mut a, mut b) = (a.open(), b.open());
        let (mut out, mut into) = (Burst::new(), Burst::new());
        measure(
            &format!("one way, bursts of {size}: alloc, send, receive, drop"),
            || {
                fill(&mut a, &mut out, size);
                a.tx_burst(&mut out);
                b.rx_burst(&mut into);
                let taken = into
                    .drain(..)
                    .map(|frame| black_box(frame.bytes()[0]) as usize);
                let taken = taken.sum();
                a.rx_burst(&mut into);
                taken
            },
        );
        measure(
            &format!("there and back, bursts of {size}: each way"),
            || {
                fill(&mut a, &mut out, size);
                a.tx_burst(&mut out);
                b.rx_burst(&mut into);
                b.tx_burst(&mut into);
                a.rx_burst(&mut into);
                into.drain(..)
                    .map(|frame| 2 * black_box(frame.bytes()[0]) as usize)
                    .sum()
            },
        );
    }
    Ok(())
}
