//! The tap over the memory pair: what it writes, and that it never stands in the way.

mod reader;
mod suite;

use std::io::{self, Write};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use hioload_device::memory::{MemoryDevice, PairOptions, pair};
use hioload_device::tap::{Tap, TapOptions, TapSwitch};
use hioload_device::{Burst, Device, Frame};
use hioload_lcore::Time;
use suite::{Link, length, number, send};

/// A file in memory.
#[derive(Clone, Default)]
struct File(Arc<Mutex<Vec<u8>>>);

impl File {
    fn read(&self) -> reader::Capture {
        reader::read(&self.0.lock().expect("no panic"))
    }
    fn len(&self) -> usize {
        self.0.lock().expect("no panic").len()
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Tapped {
    a: Tap<MemoryDevice>,
    b: Tap<MemoryDevice>,
    _switch: TapSwitch,
}

fn tapped(switch: &TapSwitch, ring: usize) -> Tapped {
    let (a, b) = pair(&PairOptions {
        chunks: 512,
        ..PairOptions::default()
    })
    .expect("a pair");
    Tapped {
        a: Tap::with_ring(a.open(), switch, "a-queue0", ring),
        b: Tap::with_ring(b.open(), switch, "b-queue0", ring),
        _switch: switch.clone(),
    }
}

impl Link for Tapped {
    type A = Tap<MemoryDevice>;
    type B = Tap<MemoryDevice>;
    fn ends(&mut self) -> (&mut Self::A, &mut Self::B) {
        (&mut self.a, &mut self.b)
    }
    fn settle(&mut self) {
        for _ in 0..2 {
            self.a.get_mut().settle();
            self.b.get_mut().settle();
        }
    }
    fn free(&self) -> Option<(usize, usize)> {
        let a = self.a.get_ref().pool().available();
        Some((a, self.b.get_ref().pool().available()))
    }
}

#[test]
fn off_it_is_the_device_it_wraps() {
    suite::all(|| tapped(&TapSwitch::new(), 1 << 16));
}

#[test]
fn on_it_is_too_whatever_its_ring_holds() {
    for ring in [1, 5000, 1 << 20] {
        suite::all(|| {
            let switch = TapSwitch::new();
            switch
                .start(io::sink(), &TapOptions::default())
                .expect("it starts");
            tapped(&switch, ring)
        });
    }
}

/// Sends frames `from..to` from the one to the other, some at a time.
fn traffic(link: &mut Tapped, from: u32, to: u32) {
    let (mut out, mut into) = (Burst::new(), Burst::new());
    let (mut sent, mut seen) = (from, from);
    while seen < to {
        sent += send(&mut link.a, &mut out, sent, to.min(sent + 7));
        link.a.tx_burst(&mut out);
        seen += link.b.rx_burst(&mut into) as u32;
        into.clear();
        link.settle();
    }
}

#[test]
fn what_passed_is_in_the_file_with_interface_direction_and_time() {
    let switch = TapSwitch::new();
    let file = File::default();
    let mut link = tapped(&switch, 1 << 20);
    traffic(&mut link, 0, 10);
    assert!(!switch.is_on());
    let epoch = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let options = TapOptions {
        epoch: Some(epoch),
        ..TapOptions::default()
    };
    switch.start(file.clone(), &options).expect("it starts");
    assert!(switch.is_on());
    let again = switch.start(io::sink(), &options).expect_err("it is on");
    assert_eq!(again.kind(), io::ErrorKind::ResourceBusy);
    for n in 10..30 {
        link.a.set_now(Time::from_millis(u64::from(n)));
        link.b.set_now(Time::from_millis(u64::from(n) + 1));
        traffic(&mut link, n, n + 1);
    }
    let report = switch.stop().expect("it was written").expect("it was on");
    assert_eq!(
        (report.written, report.dropped, report.over_limit),
        (40, 0, 0)
    );
    assert_eq!(report.bytes as usize, file.len());
    assert_eq!(switch.stop().expect("nothing to do"), None);
    traffic(&mut link, 30, 40);

    let capture = file.read();
    assert!(capture.application.starts_with("hioload "));
    let names: Vec<_> = capture.interfaces.iter().map(|one| &*one.name).collect();
    assert_eq!(names, ["a-queue0", "b-queue0"]);
    for one in &capture.interfaces {
        assert_eq!((one.link, one.snaplen, one.resolution), (1, 65535, 9));
        let statistics = one.statistics.expect("statistics");
        assert_eq!(statistics[2..], [20, 0, 20]);
        assert!(statistics[0] <= statistics[1]);
    }
    for (interface, direction, late) in [(0, 2, 0), (1, 1, 1)] {
        let packets = capture
            .packets
            .iter()
            .filter(|one| one.interface == interface);
        let mut n = 10;
        for packet in packets {
            assert_eq!(packet.direction, direction);
            assert_eq!((packet.length, packet.bytes.len()), (length(n), length(n)));
            assert_eq!(packet.bytes[14..18], n.to_be_bytes());
            assert_eq!(packet.bytes[18], n as u8);
            let time = 1_700_000_000_000_000_000 + u64::from(n + late) * 1_000_000;
            assert_eq!(packet.time, time);
            n += 1;
        }
        assert_eq!(n, 30);
    }
}

#[test]
fn the_time_of_day_is_that_of_the_system() {
    let switch = TapSwitch::new();
    let file = File::default();
    let mut link = tapped(&switch, 1 << 20);
    let now = || UNIX_EPOCH.elapsed().expect("after 1970").as_nanos() as u64;
    let before = now();
    switch
        .start(file.clone(), &TapOptions::default())
        .expect("it starts");
    traffic(&mut link, 0, 100);
    switch.stop().expect("written");
    let after = now();
    // The two clocks of the system are read one after the other.
    let slack = 1_000_000_000;
    let capture = file.read();
    assert_eq!(capture.packets.len(), 200);
    assert!(
        capture
            .packets
            .iter()
            .all(|one| { before - slack < one.time && one.time < after + slack })
    );
    for interface in 0..2 {
        let times = capture
            .packets
            .iter()
            .filter(|one| one.interface == interface);
        assert!(times.map(|one| one.time).is_sorted());
    }
}

#[test]
fn frames_that_the_device_did_not_take_are_recorded_when_it_does() {
    let switch = TapSwitch::new();
    let file = File::default();
    let (a, b) = pair(&PairOptions {
        ring: 3,
        ..PairOptions::default()
    })
    .expect("a pair");
    let (mut a, mut b) = (Tap::new(a.open(), &switch, "a"), b.open());
    switch
        .start(file.clone(), &TapOptions::default())
        .expect("it starts");
    let (mut out, mut into) = (Burst::new(), Burst::new());
    send(&mut a, &mut out, 0, 8);
    while !out.is_empty() {
        a.tx_burst(&mut out);
        b.rx_burst(&mut into);
        into.clear();
    }
    switch.stop().expect("written");
    let sent: Vec<_> = file
        .read()
        .packets
        .iter()
        .map(|one| one.bytes[17])
        .collect();
    assert_eq!(sent, [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn no_more_is_kept_than_the_snap_length() {
    let switch = TapSwitch::new();
    let file = File::default();
    let mut link = tapped(&switch, 1 << 20);
    let options = TapOptions {
        snaplen: 61,
        ..TapOptions::default()
    };
    switch.start(file.clone(), &options).expect("it starts");
    traffic(&mut link, 0, 50);
    switch.stop().expect("written");
    let capture = file.read();
    for (n, packet) in capture
        .packets
        .iter()
        .filter(|one| one.interface == 0)
        .enumerate()
    {
        let whole = length(n as u32);
        assert_eq!((packet.length, packet.bytes.len()), (whole, whole.min(61)));
    }
    let none = TapOptions {
        snaplen: 0,
        ..options
    };
    let error = switch
        .start(io::sink(), &none)
        .expect_err("nothing to keep");
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert!(!switch.is_on());
}

#[test]
fn at_its_limit_a_capture_turns_itself_off_and_the_file_is_whole() {
    let switch = TapSwitch::new();
    let file = File::default();
    let mut link = tapped(&switch, 1 << 22);
    let options = TapOptions {
        max_bytes: Some(20_000),
        ..TapOptions::default()
    };
    switch.start(file.clone(), &options).expect("it starts");
    let mut from = 0;
    while switch.is_on() {
        traffic(&mut link, from, from + 100);
        from += 100;
    }
    let report = switch.stop().expect("written").expect("a report");
    assert!((15_000..=20_000).contains(&report.bytes), "{report:?}");
    assert!(report.over_limit > 0);
    let capture = file.read();
    assert_eq!(capture.packets.len() as u64, report.written);
    let sums = capture
        .interfaces
        .iter()
        .map(|one| one.statistics.expect("statistics"));
    let sums = sums.fold([0; 3], |sum, one| {
        [sum[0] + one[2], sum[1] + one[3], sum[2] + one[4]]
    });
    assert_eq!(sums[2], report.written);
    assert_eq!(sums[1], report.over_limit + report.dropped);
    assert_eq!(sums[0], sums[1] + sums[2]);
}

/// A file that is stuck until it is told to go on.
struct Stuck(mpsc::Receiver<()>, File);

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Fails once the other end is dropped: then it goes on.
        let _ = self.0.recv();
        self.1.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_stuck_file_costs_records_and_not_frames() {
    let switch = TapSwitch::new();
    let file = File::default();
    let (go, wait) = mpsc::channel();
    let mut link = tapped(&switch, 20_000);
    switch
        .start(Stuck(wait, file.clone()), &TapOptions::default())
        .expect("it starts");
    // Were it to wait for the file, this would not end.
    traffic(&mut link, 0, 10_000);
    drop(go);
    let report = switch.stop().expect("written").expect("a report");
    assert_eq!(report.written + report.dropped, 20_000);
    assert!(report.dropped > 10_000);
    let capture = file.read();
    assert_eq!(capture.packets.len() as u64, report.written);
    let dropped = capture
        .interfaces
        .iter()
        .map(|one| one.statistics.expect("statistics")[3]);
    assert_eq!(dropped.sum::<u64>(), report.dropped);
}

#[test]
fn a_file_that_cannot_be_written_ends_the_capture_and_says_why() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let switch = TapSwitch::new();
    let mut link = tapped(&switch, 1 << 16);
    switch
        .start(Full, &TapOptions::default())
        .expect("it starts");
    let mut from = 0;
    while switch.is_on() {
        traffic(&mut link, from, from + 100);
        from += 100;
    }
    let error = switch.stop().expect_err("it could not");
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    // The next one is none the worse for it, and has nothing of what was left in the rings.
    let file = File::default();
    switch
        .start(file.clone(), &TapOptions::default())
        .expect("it starts");
    traffic(&mut link, 0, 3);
    switch.stop().expect("written");
    assert_eq!(file.read().packets.len(), 6);
}

#[test]
fn queues_come_and_go_while_it_runs_on_threads_of_their_own() {
    let switch = TapSwitch::new();
    let file = File::default();
    switch
        .start(file.clone(), &TapOptions::default())
        .expect("it starts");
    let lcores: Vec<_> = (0..3)
        .map(|queue| {
            let switch = switch.clone();
            thread::spawn(move || {
                let (a, b) = pair(&PairOptions::default()).expect("a pair");
                let mut a = Tap::new(a.open(), &switch, &format!("queue{queue}"));
                let mut b = b.open();
                let (mut out, mut into) = (Burst::new(), Burst::new());
                for n in 0..1000 {
                    send(&mut a, &mut out, n, n + 1);
                    a.tx_burst(&mut out);
                    b.rx_burst(&mut into);
                    into.clear();
                }
            })
        })
        .collect();
    for lcore in lcores {
        lcore.join().expect("no panic");
    }
    let report = switch.stop().expect("written").expect("a report");
    let capture = file.read();
    let mut names: Vec<_> = capture
        .interfaces
        .iter()
        .map(|one| one.name.clone())
        .collect();
    names.sort();
    assert_eq!(names, ["queue0", "queue1", "queue2"]);
    assert_eq!(report.written + report.dropped, 3000);
    assert_eq!(capture.packets.len() as u64, report.written);
}

#[test]
fn it_may_be_switched_at_any_moment() {
    let switch = TapSwitch::new();
    let stop = Arc::new(AtomicBool::new(false));
    let lcore = {
        let (switch, stop) = (switch.clone(), Arc::clone(&stop));
        thread::spawn(move || {
            let mut link = tapped(&switch, 1 << 16);
            let mut from = 0;
            while !stop.load(Ordering::Acquire) {
                traffic(&mut link, from, from + 20);
                from += 20;
            }
        })
    };
    let mut last = 0;
    for _ in 0..30 {
        let file = File::default();
        switch
            .start(file.clone(), &TapOptions::default())
            .expect("it starts");
        while file.len() < 4096 {
            thread::yield_now();
        }
        switch.stop().expect("written");
        let capture = file.read();
        for packet in &capture.packets {
            let bytes: [u8; 4] = packet.bytes[14..18].try_into().expect("a number");
            let n = u32::from_be_bytes(bytes);
            assert!(n + 64 >= last, "{n} is older than the capture");
        }
        let numbers = capture.packets.iter().map(|one| {
            let bytes: [u8; 4] = one.bytes[14..18].try_into().expect("a number");
            u32::from_be_bytes(bytes)
        });
        last = numbers.max().expect("packets");
    }
    stop.store(true, Ordering::Release);
    lcore.join().expect("no panic");
}

/// A frame that a dissector can look into: an ICMP echo request over IPv4.
fn ping<F: Frame>(frame: &mut F, number: u16) {
    frame.set_len(14 + 20 + 8 + 32);
    let bytes = frame.bytes_mut();
    bytes.fill(0);
    bytes[..14].copy_from_slice(&[2, 0, 0, 0, 0, 0xb, 2, 0, 0, 0, 0, 0xa, 8, 0]);
    bytes[14..34].copy_from_slice(&[
        0x45, 0, 0, 60, 0, 0, 0x40, 0, 64, 1, 0, 0, 10, 77, 0, 1, 10, 77, 0, 2,
    ]);
    let sum = !hioload_device::checksum::sum(&bytes[14..34]);
    bytes[24..26].copy_from_slice(&sum.to_be_bytes());
    bytes[34] = 8;
    bytes[40..42].copy_from_slice(&number.to_be_bytes());
    let sum = !hioload_device::checksum::sum(&bytes[34..]);
    bytes[36..38].copy_from_slice(&sum.to_be_bytes());
}

#[test]
fn tshark_reads_it_without_complaint() {
    let found = Command::new("tshark").arg("--version").output().is_ok();
    if !found {
        assert!(
            std::env::var_os("CI").is_none(),
            "tshark is missing: apt-get install tshark"
        );
        eprintln!(
            "LEFT OUT: tshark is missing (apt-get install tshark), so nobody else has read our pcapng"
        );
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("capture.pcapng");
    let switch = TapSwitch::new();
    let mut link = tapped(&switch, 1 << 20);
    switch
        .start_file(&path, &TapOptions::default())
        .expect("it starts");
    let mut burst = Burst::new();
    for n in 0..20 {
        let mut frame = link.a.alloc().expect("a frame");
        ping(&mut frame, n);
        burst.push(frame);
        link.a.tx_burst(&mut burst);
        assert_eq!(link.b.rx_burst(&mut burst), 1);
        burst.clear();
    }
    switch.stop().expect("written");
    let error = switch
        .start_file(&path, &TapOptions::default())
        .expect_err("it is there");
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);

    let output = Command::new("tshark")
        .args(["-n", "-o", "ip.check_checksum:TRUE", "-T", "fields"])
        .args([
            "-e",
            "frame.interface_name",
            "-e",
            "frame.packet_flags_direction",
        ])
        .args([
            "-e",
            "icmp.seq",
            "-e",
            "icmp.checksum.status",
            "-e",
            "ip.checksum.status",
        ])
        .args(["-e", "_ws.malformed", "-r"])
        .arg(&path)
        .output()
        .expect("tshark runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    // It warns of being root, and of nothing else.
    let complaint: Vec<_> = complaint
        .lines()
        .filter(|line| !line.contains("root"))
        .collect();
    assert!(complaint.is_empty(), "{complaint:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    let mut lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 40, "{text}");
    lines.sort_by_key(|line| line.starts_with('b'));
    for (at, line) in lines.iter().enumerate() {
        let (name, direction) = [("a-queue0", 2), ("b-queue0", 1)][at / 20];
        let wanted = format!("{name}\t0x{direction:08x}\t{}\t1\t1\t", at % 20);
        let plain = format!("{name}\t{direction}\t{}\t1\t1\t", at % 20);
        assert!(
            *line == wanted || *line == plain,
            "{line:?} is not {wanted:?}"
        );
    }
}

#[test]
fn a_tap_passes_what_it_is_told_to_its_device() {
    let switch = TapSwitch::new();
    let mut link = tapped(&switch, 1 << 16);
    assert_eq!(link.a.capabilities().name, "memory");
    link.a.waker()();
    link.a.wait(None).expect("it returns");
    let mut burst = Burst::new();
    send(&mut link.a, &mut burst, 5, 6);
    link.a.tx_burst(&mut burst);
    link.b.wait(None).expect("it returns");
    assert_eq!(link.b.rx_burst(&mut burst), 1);
    assert_eq!(number(&burst[0]), 5);
    assert_eq!((link.a.stats().tx_frames, link.b.stats().rx_frames), (1, 1));
}
