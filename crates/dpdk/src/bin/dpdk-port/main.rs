//! Tests a DPDK port without a server: lists the ports, sends frames back, or sends frames and waits for them.

#[allow(unreachable_pub)]
mod packet;

use std::io::Read;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hioload_device::{Burst, Device, Frame};
use hioload_dpdk::{Eal, MbufFrame, Port, PortName, PortOptions, Queue};
use packet::Received;

const USAGE: &str = "\
Usage: dpdk-port COMMAND [OPTION...] -- EAL-ARGUMENT...

Commands:
  list   print the ports that EAL has
  echo   send TCP and UDP over IPv4 back, until standard input ends
  ping   send numbered frames and wait until each comes back

Options:
  --port P       number or name of the port (default 0)
  --mtu N        the largest IP packet in bytes
  --segment N    the size of a receive buffer in bytes
  --own IP       receive only frames for this address, and for --listen; the kernel
                 receives the others; may be given several times
  --listen IP:P  receive TCP to this endpoint
  --no-checksums compute checksums in software, whatever the device offers
  --frames N     ping: number of frames (default 1000)
  --size N       ping: bytes of each frame (default 64)
  --patience S   ping: time limit in seconds (default 20)

The last line has the number of frames that are not back in their pools after the port was closed. It should be 0.";

struct Options {
    command: String,
    port: PortOptions,
    frames: u32,
    size: usize,
    patience: Duration,
    eal: Vec<String>,
}

fn main() -> ExitCode {
    let done = parse(std::env::args().skip(1)).and_then(|options| run(&options));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dpdk-port: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        command: words.next().ok_or(USAGE)?,
        port: PortOptions::default(),
        frames: 1000,
        size: 64,
        patience: Duration::from_secs(20),
        eal: Vec::new(),
    };
    while let Some(word) = words.next() {
        if word == "--" {
            options.eal = words.collect();
            break;
        }
        if word == "--no-checksums" {
            options.port.checksums = false;
            continue;
        }
        let value = words.next().ok_or(USAGE)?;
        let bad = |_| format!("the value of {word} must be a number, and is {value}");
        match word.as_str() {
            "--port" => {
                options.port.port = match value.parse() {
                    Ok(number) => PortName::Number(number),
                    Err(_) => PortName::Name(value),
                }
            }
            "--mtu" => options.port.mtu = Some(value.parse().map_err(bad)?),
            "--own" => {
                let own = value
                    .parse()
                    .map_err(|_| format!("{value} is not an IP address"))?;
                options
                    .port
                    .steering
                    .get_or_insert_default()
                    .addresses
                    .push(own);
            }
            "--listen" => {
                let listen = value
                    .parse()
                    .map_err(|_| format!("{value} is not an address with a port"))?;
                options
                    .port
                    .steering
                    .get_or_insert_default()
                    .listen
                    .push(listen);
            }
            "--segment" => options.port.segment = Some(value.parse().map_err(bad)?),
            "--frames" => options.frames = value.parse().map_err(bad)?,
            "--size" => options.size = value.parse().map_err(bad)?,
            "--patience" => options.patience = Duration::from_secs(value.parse().map_err(bad)?),
            _ => return Err(USAGE.into()),
        }
    }
    options.size = options.size.max(packet::MIN_LEN);
    Ok(options)
}

fn run(options: &Options) -> Result<(), String> {
    let eal = Eal::init(&options.eal).map_err(|error| error.to_string())?;
    if options.command == "list" {
        list(&eal);
        return Ok(());
    }
    let (port, mut queues) = Port::open(&eal, &options.port).map_err(|error| error.to_string())?;
    let queue = queues.remove(0).claim();
    let mut queue = queue.map_err(|error| error.to_string())?;
    println!(
        "ready: {} {} rules {}",
        port.info().driver,
        queue.capabilities(),
        port.rules()
    );
    let outcome = match options.command.as_str() {
        "echo" => {
            echo(&mut queue);
            Ok(())
        }
        "ping" => ping(&mut queue, options),
        _ => Err(USAGE.into()),
    };
    let (stats, joined) = (queue.stats(), queue.joined());
    println!(
        "received={} sent={} lost={} joined={joined} counters={}",
        stats.rx_frames,
        stats.tx_frames,
        stats.rx_dropped + stats.tx_dropped,
        port.xstats().len(),
    );
    drop(queue);
    let closed = port.close().map_err(|error| error.to_string())?;
    println!("unaccounted={}", closed.frames_in_use.unwrap_or_default());
    outcome
}

fn list(eal: &Eal) {
    println!(
        "{}, huge pages: {}",
        hioload_dpdk::version(),
        eal.has_huge_pages()
    );
    for port in Port::list(eal) {
        let mac = port.mac.map(|byte| format!("{byte:02x}")).join(":");
        let offers = [
            (port.rx_checksum, " rx-checksum"),
            (port.tx_checksum, " tx-checksum"),
            (port.rss, " rss"),
        ];
        let offers: String = offers
            .iter()
            .filter(|(has, _)| *has)
            .map(|(_, name)| *name)
            .collect();
        let (number, queues, mtu) = (port.number, port.max_queues, port.mtu);
        println!(
            "{number} {} {} {mac} mtu {} (up to {}) queues {queues}{offers}",
            port.name, port.driver, mtu.0, mtu.1
        );
    }
}

/// A flag that is set when standard input ends.
fn end_of_input() -> Arc<AtomicBool> {
    let ended = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&ended);
    thread::spawn(move || {
        let mut rest = [0; 64];
        while !matches!(std::io::stdin().read(&mut rest), Ok(0) | Err(_)) {}
        set.store(true, Ordering::Release);
    });
    ended
}

fn echo(queue: &mut Queue) {
    let ended = end_of_input();
    let fill = queue.capabilities().tx_checksum;
    let (mut into, mut out) = (Burst::new(), Burst::new());
    let (mut bad, mut vouched) = (0, 0);
    while !ended.load(Ordering::Acquire) && queue.wait(None).is_ok() {
        if queue.rx_burst(&mut into) == 0 {
            thread::yield_now();
        }
        for mut frame in into.drain(..) {
            vouched += u32::from(frame.rx_checksum() == hioload_device::RxChecksum::Good);
            match packet::classify(&mut frame) {
                Received::Good(_) => {
                    packet::reply(&mut frame, fill);
                    out.push(frame);
                }
                Received::Bad => bad += 1,
                Received::Other => (),
            }
        }
        while !out.is_empty() && queue.tx_burst(&mut out) > 0 {}
        // Frames for which there is no room are lost.
        out.clear();
    }
    println!("bad={bad} vouched={vouched} fill={fill}");
}

/// The largest number of frames in flight.
const WINDOW: u32 = 32;

fn ping(queue: &mut Queue, options: &Options) -> Result<(), String> {
    let capabilities = queue.capabilities();
    let (fill, from) = (capabilities.tx_checksum, capabilities.mac);
    let (mut into, mut out) = (Burst::<MbufFrame>::new(), Burst::new());
    let (mut sent, mut seen, mut bad, mut vouched) = (0, 0, 0, 0);
    let until = Instant::now() + options.patience;
    while seen < options.frames && Instant::now() < until {
        while sent < options.frames && sent < seen + WINDOW && !out.is_full() {
            let Some(mut frame) = queue.alloc() else {
                break;
            };
            packet::make(&mut frame, sent, options.size, [0xff; 6], from, fill);
            out.push(frame);
            sent += 1;
        }
        queue.tx_burst(&mut out);
        if queue.rx_burst(&mut into) == 0 {
            thread::yield_now();
        }
        for mut frame in into.drain(..) {
            vouched += u32::from(frame.rx_checksum() == hioload_device::RxChecksum::Good);
            match packet::classify(&mut frame) {
                Received::Good(number) if number == seen && packet::is_whole(&frame, number) => {
                    seen += 1;
                }
                Received::Good(_) | Received::Bad => bad += 1,
                Received::Other => (),
            }
        }
    }
    println!("seen={seen} bad={bad} vouched={vouched} fill={fill}");
    if seen == options.frames && bad == 0 {
        Ok(())
    } else {
        Err(format!(
            "{seen} of {} frames came back, {bad} were wrong",
            options.frames
        ))
    }
}
