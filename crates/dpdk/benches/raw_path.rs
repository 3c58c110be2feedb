//! The raw path: receives a burst, swaps the MAC addresses and sends it. Compares a [`Queue`] with the same loop in C against DPDK's
//! own functions (`dpdk-shim/raw_loop.c`), in turns on the same port. Prints nanoseconds per frame and the ratio of the rates. A
//! second loop in C also does the work that every device must do: it counts bytes in both directions and checks that a frame has one
//! segment.
//!
//! There are two ports: a ring whose transmit side is its receive side, primed with frames that circulate; and one that creates
//! frames and discards them, where each frame costs an allocation and a free in the pool. Needs libdpdk:
//! `cargo bench -p hioload-dpdk --bench raw_path`.
#![allow(clippy::cast_precision_loss)]

use std::time::{Duration, Instant};

use hioload_device::{BURST, Burst, Device, Frame};
use hioload_dpdk::{Eal, Error, Port, PortName, PortOptions, Queue, split_arguments};

/// The number of rounds of each loop.
const ROUNDS: usize = 201;
/// The length of a round.
const ROUND: Duration = Duration::from_millis(3);

fn main() -> Result<(), Error> {
    let line = "--no-pci --no-huge -m 256 --no-telemetry --file-prefix=hlbench --vdev=net_ring0 --vdev=net_null0";
    let eal = Eal::init(&split_arguments(line)?)?;
    println!(
        "{}, median of {ROUNDS} interleaved rounds of {} ms",
        hioload_dpdk::version(),
        ROUND.as_millis()
    );
    let (ring, mut queue) = open(&eal, "net_ring0")?;
    for frames in [512, BURST, 32, 8, 1] {
        prime(&mut queue, frames);
        compare(
            &format!("net_ring, {frames} frames go round"),
            &mut queue,
            ring.info().number,
        );
        empty(&mut queue);
    }
    drop(queue);
    ring.close()?;
    let (null, mut queue) = open(&eal, "net_null0")?;
    compare("net_null, bursts of 64", &mut queue, null.info().number);
    drop(queue);
    null.close()?;
    Ok(())
}

fn open(eal: &Eal, name: &str) -> Result<(Port, Queue), Error> {
    let options = PortOptions::new(PortName::Name(name.into()));
    let (port, mut queues) = Port::open(eal, &options)?;
    let queue = queues.remove(0).claim()?;
    Ok((port, queue))
}

/// Puts frames of 64 bytes into the ring.
fn prime(queue: &mut Queue, frames: usize) {
    let mut burst = Burst::new();
    for _ in 0..frames {
        let mut frame = queue.alloc().expect("a frame");
        frame.set_len(64);
        frame.bytes_mut().fill(0x42);
        burst.push(frame);
        assert_eq!(queue.tx_burst(&mut burst), 1);
    }
}

fn empty(queue: &mut Queue) {
    let mut burst = Burst::new();
    while queue.rx_burst(&mut burst) > 0 {
        burst.clear();
    }
}

/// A MAC address in the two pieces that the C compiler uses. Both addresses are read before either is written, and the next turn of
/// the frame reads the same pieces that this one writes, so that store forwarding works.
fn load(&[a, b, c, d, e, f]: &[u8; 6]) -> (u32, u16) {
    (u32::from_ne_bytes([a, b, c, d]), u16::from_ne_bytes([e, f]))
}

fn store(address: &mut [u8; 6], (four, two): (u32, u16)) {
    address[..4].copy_from_slice(&four.to_ne_bytes());
    address[4..].copy_from_slice(&two.to_ne_bytes());
}

/// The loop over a device. Not inlined, like the loop in C.
#[inline(never)]
fn through_the_device<D: Device>(device: &mut D, turns: u64) -> u64 {
    let mut burst = Burst::new();
    let mut total = 0;
    for _ in 0..turns {
        device.rx_burst(&mut burst);
        for frame in &mut burst {
            if let ([to, from, ..], _) = frame.bytes_mut().as_chunks_mut() {
                let (was_to, was_from) = (load(to), load(from));
                store(to, was_from);
                store(from, was_to);
            }
        }
        total += device.tx_burst(&mut burst) as u64;
        if !burst.is_empty() {
            burst.clear();
        }
    }
    total
}

fn in_c(port: u16, turns: u64) -> u64 {
    #[allow(unsafe_code)]
    // SAFETY: the port runs, and this thread owns its queue 0.
    unsafe {
        hioload_dpdk_sys::hl_raw_loop(port, 0, BURST as u16, turns)
    }
}

fn in_c_counting(port: u16, turns: u64) -> u64 {
    let mut bytes = [0; 2];
    #[allow(unsafe_code)]
    // SAFETY: as above, and the array has room for two numbers.
    unsafe {
        hioload_dpdk_sys::hl_counting_loop(port, 0, BURST as u16, turns, bytes.as_mut_ptr())
    }
}

/// Nanoseconds per frame of a round.
fn round(turns: &mut dyn FnMut(u64) -> u64) -> f64 {
    let began = Instant::now();
    let mut frames = 0;
    while began.elapsed() < ROUND {
        frames += turns(200);
    }
    began.elapsed().as_nanos() as f64 / frames as f64
}

fn compare(what: &str, queue: &mut Queue, port: u16) {
    let mut times = [const { Vec::new() }; 3];
    for turn in 0..=ROUNDS {
        let loops: [&mut dyn FnMut(u64) -> u64; 3] = [
            &mut |turns| in_c(port, turns),
            &mut |turns| in_c_counting(port, turns),
            &mut |turns| through_the_device(queue, turns),
        ];
        // Each loop is first in every third round. Round 0 warms up.
        for at in 0..3 {
            let which = (turn + at) % 3;
            let time = round(loops[which]);
            if turn > 0 {
                times[which].push(time);
            }
        }
    }
    let [bare, counting, device] = &times;
    // The ratio of each round, whose loops ran one right after another.
    let rate = |of: &[f64]| {
        let ratios = of.iter().zip(device).map(|(c, device)| c / device);
        median(ratios.collect())
    };
    let (of_bare, of_counting) = (rate(bare), rate(counting));
    let [bare, counting, device] = times.map(median);
    println!(
        "{what:30} ns/frame: C {bare:6.2}  C, counting {counting:6.2}  device {device:6.2}   rate {of_bare:.2}x of C, \
         {of_counting:.2}x of C that counts"
    );
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
