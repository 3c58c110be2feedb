//! The tap over the memory pair: the file that it writes, and that it never delays the data path.

mod reader;
mod suite;

use std::io::{self, Write};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use etherparse::{
    IcmpEchoHeader, Icmpv4Header, Icmpv4Type, LinkHeader, NetHeaders, PacketBuilder, PacketHeaders,
    TransportHeader,
};
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
    let (a, b) = pair(&PairOptions::default().chunks(512)).expect("a pair");
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
fn a_tap_that_is_off_conforms_to_the_device_suite() {
    suite::all(|| tapped(&TapSwitch::new(), 1 << 16));
}

#[test]
fn a_tap_that_is_on_conforms_to_the_device_suite_with_any_ring() {
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
    let options = TapOptions::default().epoch(Some(epoch));
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
fn recorded_times_are_those_of_the_system() {
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
    // The tap reads the system's two clocks one after the other.
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
fn a_frame_is_recorded_when_the_device_takes_it() {
    let switch = TapSwitch::new();
    let file = File::default();
    let (a, b) = pair(&PairOptions::default().ring(3)).expect("a pair");
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
fn the_snap_length_limits_the_captured_bytes() {
    let switch = TapSwitch::new();
    let file = File::default();
    let mut link = tapped(&switch, 1 << 20);
    let options = TapOptions::default().snaplen(61);
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
    let none = options.snaplen(0);
    let error = switch
        .start(io::sink(), &none)
        .expect_err("a snap length of 0");
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert!(!switch.is_on());
}

#[test]
fn at_its_limit_a_capture_turns_itself_off_and_the_file_is_complete() {
    let switch = TapSwitch::new();
    let file = File::default();
    let mut link = tapped(&switch, 1 << 22);
    let options = TapOptions::default().max_bytes(Some(20_000));
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

/// A file whose writes block until the sender is dropped.
struct Stuck(mpsc::Receiver<()>, File);

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Fails after the sender was dropped; then the write continues.
        let _ = self.0.recv();
        self.1.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_blocked_file_loses_records_and_no_frames() {
    let switch = TapSwitch::new();
    let file = File::default();
    let (go, wait) = mpsc::channel();
    let mut link = tapped(&switch, 20_000);
    switch
        .start(Stuck(wait, file.clone()), &TapOptions::default())
        .expect("it starts");
    // If the data path waited for the file, this would not end.
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
fn a_write_error_ends_the_capture_and_is_returned() {
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
    let error = switch.stop().expect_err("the file is full");
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    // The next capture works, and has no record that was left in the rings.
    let file = File::default();
    switch
        .start(file.clone(), &TapOptions::default())
        .expect("it starts");
    traffic(&mut link, 0, 3);
    switch.stop().expect("written");
    assert_eq!(file.read().packets.len(), 6);
}

#[test]
fn queues_on_other_threads_come_and_go_during_a_capture() {
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
fn a_capture_may_start_and_stop_at_any_time() {
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

const MAC_A: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
const MAC_B: [u8; 6] = [2, 0, 0, 0, 0, 0xb];

/// Fills a frame with an ICMP echo request over IPv4, made by etherparse.
fn ping<F: Frame>(frame: &mut F, number: u16) {
    let payload = [0; 32];
    let packet = PacketBuilder::ethernet2(MAC_A, MAC_B)
        .ipv4([10, 77, 0, 1], [10, 77, 0, 2], 64)
        .icmpv4_echo_request(0, number);
    frame.set_len(packet.size(payload.len()));
    let mut bytes = frame.bytes_mut();
    packet.write(&mut bytes, &payload).expect("room");
}

/// Sends echo requests from one end to the other.
fn send_pings(link: &mut Tapped, count: u16) {
    let mut burst = Burst::new();
    for number in 0..count {
        let mut frame = link.a.alloc().expect("a frame");
        ping(&mut frame, number);
        burst.push(frame);
        link.a.tx_burst(&mut burst);
        assert_eq!(link.b.rx_burst(&mut burst), 1);
        burst.clear();
    }
}

#[test]
fn etherparse_reads_the_recorded_packets() {
    let switch = TapSwitch::new();
    let file = File::default();
    let mut link = tapped(&switch, 1 << 20);
    switch
        .start(file.clone(), &TapOptions::default())
        .expect("it starts");
    send_pings(&mut link, 20);
    switch.stop().expect("written");
    let mut packets = file.read().packets;
    packets.sort_by_key(|packet| packet.interface);
    assert_eq!(packets.len(), 40);
    for (at, packet) in packets.iter().enumerate() {
        let parsed = PacketHeaders::from_ethernet_slice(&packet.bytes).expect("a packet");
        let Some(LinkHeader::Ethernet2(ethernet)) = &parsed.link else {
            panic!("{parsed:?}");
        };
        assert_eq!((ethernet.source, ethernet.destination), (MAC_A, MAC_B));
        let Some(NetHeaders::Ipv4(ip, _)) = &parsed.net else {
            panic!("{parsed:?}");
        };
        assert_eq!(ip.header_checksum, ip.calc_header_checksum());
        let Some(TransportHeader::Icmpv4(icmp)) = &parsed.transport else {
            panic!("{parsed:?}");
        };
        let seq = at as u16 % 20;
        let echo = Icmpv4Type::EchoRequest(IcmpEchoHeader { id: 0, seq });
        let payload = parsed.payload.slice();
        assert_eq!(*icmp, Icmpv4Header::with_checksum(echo, payload));
    }
}

#[test]
fn tshark_reads_a_capture_without_a_warning() {
    let found = Command::new("tshark").arg("--version").output().is_ok();
    if !found {
        assert!(
            std::env::var_os("CI").is_none(),
            "tshark is missing: apt-get install tshark"
        );
        eprintln!("SKIPPED: tshark is missing (apt-get install tshark)");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("capture.pcapng");
    let switch = TapSwitch::new();
    let mut link = tapped(&switch, 1 << 20);
    switch
        .start_file(&path, &TapOptions::default())
        .expect("it starts");
    send_pings(&mut link, 20);
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
    let warnings = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{warnings}");
    // The only warning is about running as root.
    let warnings: Vec<_> = warnings
        .lines()
        .filter(|line| !line.contains("root"))
        .collect();
    assert!(warnings.is_empty(), "{warnings:?}");
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
fn a_tap_forwards_every_call_to_its_device() {
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
