//! Sends frames over a veth pair from one AF_XDP port to another, which swaps their addresses and sends them back. Prints the
//! rate, the CPU time of both threads together (the sender's core does the work of receiving from a veth), and the round-trip
//! time. With one frame in flight both ends spin; otherwise they sleep when there is no frame, so that idle time is not counted.
//! Each frame crosses the veth twice. Needs root.
//!
//! `cargo bench -p hioload-afxdp --bench echo`
#![cfg(target_os = "linux")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use common::packet::{ETHERTYPE4, ethernet, ipv4, tcp};
use common::{Net, PEER4, PORT4, open, options};
use hioload_afxdp::{PortOptions, Queue, XdpMode};
use hioload_device::{Burst, Device};

const SPAN: Duration = Duration::from_secs(2);
/// The longest sleep.
const NAP: Duration = Duration::from_millis(2);

fn main() {
    println!("mode    bytes  window  frames/s  CPU µs/frame  kicks/frame  lost  p50 µs  p99 µs");
    for mode in [XdpMode::Native, XdpMode::Skb] {
        for (size, window) in [(64, 1), (64, 512), (1400, 512)] {
            if !case(mode, size, window) {
                return;
            }
        }
    }
}

/// CPU time of the calling thread.
fn cpu() -> Duration {
    // SAFETY: the kernel writes the time into `time`, which outlives the call.
    unsafe {
        let mut time = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
}

fn pin(cpu: usize) {
    // SAFETY: the kernel reads the set, which outlives the call.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set);
    }
}

fn port(mode: XdpMode, interface: &str, address: &str) -> PortOptions {
    let mut options = options();
    options.interface = interface.to_owned();
    options.addresses = vec![address.parse().expect("IPv4")];
    options.mode = mode;
    options.ring = 2048;
    options
}

/// Sends every frame back until `stop` is set.
fn echo(queue: &mut Queue, stop: &AtomicBool, spin: bool) {
    let mut burst = Burst::new();
    while !stop.load(Ordering::Relaxed) {
        if queue.rx_burst(&mut burst) == 0 && !spin {
            queue.wait(Some(NAP)).expect("the interface is there");
        }
        for frame in &mut burst {
            let bytes = frame.bytes_mut();
            let (to, rest) = bytes.split_at_mut(6);
            to.swap_with_slice(&mut rest[..6]);
            let (from, rest) = bytes[26..].split_at_mut(4);
            from.swap_with_slice(&mut rest[..4]);
        }
        while !burst.is_empty() && !stop.load(Ordering::Relaxed) {
            queue.tx_burst(&mut burst);
        }
    }
}

fn case(mode: XdpMode, size: usize, window: usize) -> bool {
    let Some(net) = Net::new(1, 1500) else {
        return false;
    };
    let stop = Arc::new(AtomicBool::new(false));
    let (ready, started) = channel();
    let (spent, echo_cpu) = channel();
    let stopped = Arc::clone(&stop);
    thread::scope(|scope| {
        let (mut near, mac) = (open(&port(mode, "va", PORT4)), net.mac());
        let far = scope.spawn(|| {
            net.at_peer(move || {
                pin(1);
                let (_port, mut queues) = open(&port(mode, "vb", PEER4));
                let _ = ready.send(hioload_afxdp::nic::Nic::find("vb").expect("vb").mac);
                let before = cpu();
                echo(&mut queues[0], &stopped, window == 1);
                let _ = spent.send((cpu() - before, queues[0].stats()));
            });
        });
        let far_mac: [u8; 6] = started.recv().expect("the peer");
        pin(0);
        let payload = vec![7; size - 54];
        let mut packet = ethernet(
            far_mac,
            None,
            ETHERTYPE4,
            &ipv4(PORT4, PEER4, 6, 0, &tcp(1, 2, &payload)),
        );
        packet[6..12].copy_from_slice(&mac);
        let before = cpu();
        let (frames, times) = drive(&mut near.1[0], &packet, window);
        let near_cpu = cpu() - before;
        stop.store(true, Ordering::Relaxed);
        let (far_cpu, stats) = echo_cpu.recv().expect("the peer");
        far.join().expect("the peer");
        let drops = |stats: hioload_device::DeviceStats| stats.rx_dropped + stats.tx_dropped;
        let lost = drops(stats) + drops(near.1[0].stats());
        let per_frame = (near_cpu + far_cpu).as_secs_f64() * 1e6 / frames as f64;
        let at =
            |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
        println!(
            "{mode:<7} {size:>5} {window:>7} {:>9.0} {per_frame:>13.2} {:>12.3} {lost:>5} {:>7.1} {:>7.1}",
            frames as f64 / SPAN.as_secs_f64(),
            stats.kicks as f64 / frames as f64,
            at(0.5),
            at(0.99),
        );
    });
    true
}

/// Keeps `window` frames in flight. Returns the number of frames that came back, and the sorted times between the bursts in which
/// they came back; with a window of 1 these are round-trip times.
fn drive(queue: &mut Queue, packet: &[u8], window: usize) -> (u64, Vec<Duration>) {
    let (mut burst, mut in_flight, mut frames) = (Burst::new(), 0, 0);
    let mut times = Vec::with_capacity(4_000_000);
    let start = Instant::now();
    let mut last = start;
    while start.elapsed() < SPAN {
        while in_flight < window && !burst.is_full() {
            let Some(mut frame) = queue.alloc() else {
                break;
            };
            frame.set_len(packet.len());
            frame.bytes_mut().copy_from_slice(packet);
            burst.push(frame);
            in_flight += 1;
        }
        queue.tx_burst(&mut burst);
        in_flight -= burst.len();
        burst.clear();
        let got = queue.rx_burst(&mut burst);
        burst.clear();
        in_flight -= got.min(in_flight);
        frames += got as u64;
        if got == 0 && window > 1 {
            queue.wait(Some(NAP)).expect("the interface is there");
        }
        if got > 0 {
            times.push(last.elapsed());
            last = Instant::now();
        } else if last.elapsed() > Duration::from_millis(500) {
            // The frames in flight are lost; the devices have counted them.
            in_flight = 0;
            last = Instant::now();
        }
    }
    times.sort_unstable();
    (frames, times)
}
