//! The life of a port over a veth pair: next to the kernel's stack, while its interface goes down, comes up and is removed, and
//! after its end. Needs root.
#![cfg(target_os = "linux")]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, panic};

use common::packet::{ETHERTYPE4, ethernet, ipv4, tcp};
use common::{
    KERNEL4, KERNEL6, Net, PEER4, PORT4, eventually, has_program, ip, open, options, receive, run,
    send,
};
use hioload_afxdp::{Ownership, Party, Port, Queue, XdpMode};
use hioload_device::{Burst, Device};

const MODES: [XdpMode; 2] = [XdpMode::Native, XdpMode::Skb];

/// A segment for the port.
fn segment(net: &Net) -> Vec<u8> {
    let packet = ipv4(PEER4, PORT4, 6, 0, &tcp(40000, 9001, b"hello"));
    ethernet(net.mac(), None, ETHERTYPE4, &packet)
}

/// Whether the port receives the peer's packets.
fn works(net: &Net, queues: &mut [Queue]) -> bool {
    let frame = segment(net);
    net.raw().send(&frame);
    receive(queues, 1) == [frame]
}

#[test]
fn the_kernel_serves_its_own_addresses_next_to_a_port() {
    for mode in MODES {
        for ownership in [Ownership::Own, Ownership::Shared] {
            let Some(net) = Net::new(2, 1500) else { return };
            let mut asked = options();
            (asked.mode, asked.ownership) = (mode, ownership);
            if ownership == Ownership::Shared {
                asked.addresses = vec![
                    KERNEL4.parse().expect("IPv4"),
                    KERNEL6.parse().expect("IPv6"),
                ];
                asked.listen = vec![
                    "0.0.0.0:9001".parse().expect("IPv4"),
                    "[::]:9001".parse().expect("IPv6"),
                ];
            }
            let (_port, _queues) = open(&asked);
            for address in [KERNEL4, KERNEL6] {
                // A TCP connection to the kernel that transfers more than a window in both directions.
                let listener = TcpListener::bind((address, 22)).expect("a listener");
                let echo = thread::spawn(move || {
                    let (mut stream, _) = listener.accept().expect("a connection");
                    let mut all = vec![0; 300_000];
                    stream.read_exact(&mut all).expect("all of it");
                    stream.write_all(&all).expect("all of it");
                });
                let same = net.at_peer(move || {
                    let mut stream = TcpStream::connect((address, 22)).expect("the kernel answers");
                    let all: Vec<u8> = (0..300_000_u32).map(|n| ((n * 31) >> 3) as u8).collect();
                    let mut back = vec![0; all.len()];
                    stream.write_all(&all).expect("all of it");
                    stream.read_exact(&mut back).expect("all of it");
                    back == all
                });
                assert!(same, "{mode} {ownership} {address}");
                echo.join().expect("the echo");
                net.at_peer(move || run(&format!("ping -c 1 -W 2 {address}")));
            }
        }
    }
}

#[test]
fn a_queue_works_again_after_its_interface_was_down() {
    for mode in MODES {
        let Some(net) = Net::new(1, 1500) else { return };
        let mut asked = options();
        asked.mode = mode;
        let (_port, mut queues) = open(&asked);
        assert!(works(&net, &mut queues));
        ip("link set va down");
        let packet = segment(&net);
        for _ in 0..1000 {
            send(&mut queues[0], &packet);
            queues[0]
                .wait(Some(Duration::ZERO))
                .expect("a wait on an interface that is down");
        }
        assert!(queues[0].is_down());
        let stats = queues[0].stats();
        assert_eq!(
            (stats.tx_frames, stats.tx_dropped),
            (1, 999),
            "one was in the ring"
        );
        queues[0]
            .wait(Some(Duration::from_millis(5)))
            .expect("a wait on an interface that is down");
        ip("link set va up");
        eventually("carrier", || ip("link show va").contains("LOWER_UP"));
        assert!(works(&net, &mut queues), "{mode}");
        send(&mut queues[0], &packet);
        assert!(!queues[0].is_down());
        assert_eq!(queues[0].stats().tx_dropped, 999);
        let mut none = Burst::new();
        queues[0].tx_burst(&mut none);
        assert_eq!(queues[0].census().sending, 0);
    }
}

#[test]
fn a_port_may_be_opened_before_its_interface_is_up() {
    for mode in MODES {
        for huge_pages in [
            hioload_mem::HugePages::Transparent,
            hioload_mem::HugePages::Explicit,
        ] {
            let Some(net) = Net::new(1, 1500) else { return };
            ip("link set va down");
            let mut asked = options();
            (asked.mode, asked.huge_pages) = (mode, huge_pages);
            let (_port, mut queues) = open(&asked);
            ip("link set va up");
            eventually("carrier", || ip("link show va").contains("LOWER_UP"));
            assert!(works(&net, &mut queues), "{mode} {huge_pages}");
        }
    }
}

#[test]
fn wait_fails_after_the_interface_is_removed() {
    for mode in MODES {
        for spinning in [false, true] {
            let Some(_net) = Net::new(1, 1500) else {
                return;
            };
            let mut asked = options();
            asked.mode = mode;
            let (_port, mut queues) = open(&asked);
            ip("link del va");
            let timeout = if spinning {
                Duration::ZERO
            } else {
                Duration::from_secs(5)
            };
            let error = (0..100_000).find_map(|_| queues[0].wait(Some(timeout)).err());
            let error = error.expect("an error").to_string();
            assert!(error.contains("va has been removed"), "{error}");
            send(&mut queues[0], &[0; 60]);
            assert_eq!(queues[0].stats().tx_dropped, 1);
            assert!(queues[0].wait(None).is_err(), "every later call fails");
        }
    }
}

#[test]
fn a_sleep_ends_by_a_frame_a_waker_or_time() {
    let Some(net) = Net::new(1, 1500) else { return };
    let (_port, mut queues) = open(&options());
    let (raw, frame) = (net.raw(), segment(&net));
    let queue = &mut queues[0];
    // By time: the scheduler may extend a sleep, and an event of the interface, which is still coming up, may end it early.
    eventually("a sleep that lasts", || {
        let start = Instant::now();
        queue
            .wait(Some(Duration::from_millis(20)))
            .expect("a sleep");
        start.elapsed() >= Duration::from_millis(19)
    });
    // By a waker that was used before the sleep, and by one on another thread. Each ends one sleep.
    let waker = queue.waker();
    waker();
    queue.wait(None).expect("a sleep");
    let other = thread::spawn(move || waker());
    queue.wait(None).expect("a sleep");
    other.join().expect("the waker");
    queue.wait(Some(Duration::from_millis(1))).expect("a sleep");
    // By a frame that arrived before the sleep, and by one that arrives during it.
    raw.send(&frame);
    queue.wait(None).expect("a sleep");
    let mut burst = Burst::new();
    assert_eq!(queue.rx_burst(&mut burst), 1);
    let sender = thread::spawn(move || {
        thread::sleep(Duration::from_millis(10));
        raw.send(&frame);
    });
    queue.wait(None).expect("a sleep");
    assert_eq!(queue.rx_burst(&mut burst), 1);
    sender.join().expect("the sender");
}

#[test]
fn busy_polling_works_where_the_driver_polls() {
    let Some(net) = Net::new(1, 1500) else { return };
    let mut asked = options();
    asked.busy_poll = Some(hioload_afxdp::BusyPoll::new(20, 64));
    let (_port, mut queues) = open(&asked);
    assert!(works(&net, &mut queues));
    assert!(works(&net, &mut queues));
}

#[test]
fn a_packet_for_the_port_on_a_queue_without_a_socket_is_dropped_and_counted() {
    let Some(net) = Net::new(2, 1500) else { return };
    let mut asked = options();
    asked.queues = vec![1];
    let (port, mut queues) = open(&asked);
    assert_eq!(port.uncovered_queues().collect::<Vec<_>>(), [0]);
    let (raw, frame) = (net.raw(), segment(&net));
    for _ in 0..50 {
        raw.send(&frame);
    }
    eventually("all counted", || {
        let counters = port.counters().expect("counters");
        counters.tcp + counters.no_socket == 50
    });
    let counters = port.counters().expect("counters");
    let got = receive(&mut queues, counters.tcp as usize).len() as u64;
    assert_eq!((counters.tcp, counters.no_socket), (got, 50 - got));
    // The kernel removes the socket of a dropped queue from the map.
    queues.clear();
    raw.send(&frame);
    eventually("all dropped", || {
        let counters = port.counters().expect("counters");
        counters.tcp + counters.no_socket == 51
    });
    assert!(has_program(), "the port is still there");
    drop(port);
    eventually("detached", || !has_program());
}

/// Not a test: the tests below run this function in another process.
#[test]
#[ignore = "other tests run it in a process of its own"]
fn child() {
    let (_port, _queues) = open(&options());
    println!("ready");
    let mut line = String::new();
    let _ = std::io::stdin().read_line(&mut line);
    std::process::exit(3);
}

/// A process with a port on `va`, in the calling thread's namespace.
fn start_child() -> Child {
    let mut child = Command::new(env::current_exe().expect("this binary"))
        .args(["child", "--exact", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this binary runs");
    let out = BufReader::new(child.stdout.take().expect("a pipe"));
    let ready = out
        .lines()
        .map_while(Result::ok)
        .any(|line| line.ends_with("ready"));
    assert!(ready && has_program());
    child
}

#[test]
fn after_kill_9_no_program_remains_and_the_next_process_starts_at_once() {
    let Some(net) = Net::new(2, 1500) else { return };
    for _ in 0..5 {
        let mut child = start_child();
        child.kill().expect("SIGKILL");
        // Open before the process is reaped, as a supervisor might.
        let (_port, mut queues) = open(&options());
        assert!(works(&net, &mut queues));
        child.wait().expect("an end");
        drop((_port, queues));
        let mut child = start_child();
        child.kill().expect("SIGKILL");
        child.wait().expect("an end");
        eventually("detached", || !has_program());
    }
}

#[test]
fn after_an_exit_or_a_panic_no_program_remains() {
    let Some(_net) = Net::new(1, 1500) else {
        return;
    };
    let mut child = start_child();
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(b"\n")
        .expect("it reads");
    assert_eq!(child.wait().expect("an end").code(), Some(3));
    eventually("detached", || !has_program());

    let unwound = panic::catch_unwind(|| {
        let _open = open(&options());
        panic!("on purpose");
    });
    assert!(unwound.is_err());
    eventually("detached", || !has_program());
}

/// Opens a port, which must fail. Returns the party at fault and the text, which must be one line.
fn refusal(asked: &hioload_afxdp::PortOptions) -> (Party, String) {
    let error = Port::open(asked).expect_err("an error");
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    (error.party(), text)
}

#[test]
fn the_error_names_the_owner_of_an_occupied_interface() {
    for mode in MODES {
        let Some(_net) = Net::new(1, 1500) else {
            return;
        };
        let mut asked = options();
        asked.busy_timeout = Duration::from_millis(20);
        let mut child = start_child();
        let (party, text) = refusal(&asked);
        assert_eq!(party, Party::Environment);
        assert!(text.contains(&format!("kill {}", child.id())), "{text}");
        child.kill().expect("SIGKILL");
        child.wait().expect("an end");
        eventually("detached", || !has_program());

        // No process owns this program: the command in the hint removes it.
        let file = format!(
            "{}/other-{}.o",
            env!("CARGO_TARGET_TMPDIR"),
            std::process::id()
        );
        let how = if mode == XdpMode::Skb {
            "xdpgeneric"
        } else {
            "xdpdrv"
        };
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../ebpf/redirect.bpf.c");
        run(&format!(
            "clang -O2 -g -target bpf -idirafter /usr/include/{}-linux-gnu -c {source} -o {file}",
            env::consts::ARCH
        ));
        ip(&format!("link set dev va {how} obj {file} sec xdp"));
        let (party, text) = refusal(&asked);
        assert_eq!(party, Party::Environment);
        let command = text
            .split("; ip ")
            .nth(1)
            .unwrap_or_else(|| panic!("{text}"));
        ip(command);
        // The kernel may still be releasing the queue of the killed process.
        let (_port, _queues) = open(&options());
        let _ = std::fs::remove_file(file);
    }
}

#[test]
fn an_impossible_option_is_an_error_with_a_hint() {
    let Some(_net) = Net::new(2, 1500) else {
        return;
    };
    let asked = options();
    let try_with = |change: &dyn Fn(&mut hioload_afxdp::PortOptions)| {
        let mut asked = asked.clone();
        asked.busy_timeout = Duration::from_millis(20);
        change(&mut asked);
        refusal(&asked)
    };
    for (party, part, found) in [
        (
            Party::Caller,
            "no interface vx",
            try_with(&|o| o.interface = "vx".into()),
        ),
        (
            Party::Caller,
            "lo is not an Ethernet",
            try_with(&|o| o.interface = "lo".into()),
        ),
        (
            Party::Caller,
            "cannot be the name",
            try_with(&|o| o.interface = "a".repeat(20)),
        ),
        (
            Party::Caller,
            "ethtool -L va combined 3",
            try_with(&|o| o.queues = vec![0, 2]),
        ),
        (
            Party::Caller,
            "queue 1 twice",
            try_with(&|o| o.queues = vec![1, 1]),
        ),
        (
            Party::Caller,
            "0 addresses",
            try_with(&|o| o.addresses.clear()),
        ),
        (Party::Caller, "power of two", try_with(&|o| o.ring = 100)),
        (
            Party::Caller,
            "at least twice",
            try_with(&|o| o.frames = Some(300)),
        ),
        (
            Party::Caller,
            "1 to 4094",
            try_with(&|o| o.vlan = Some(4095)),
        ),
        (
            Party::Caller,
            "0 listened",
            try_with(&|o| o.ownership = Ownership::Shared),
        ),
        (
            Party::Environment,
            "copy mode",
            try_with(&|o| o.bind = hioload_afxdp::BindMode::ZeroCopy),
        ),
        (
            Party::Environment,
            "same sources",
            try_with(&|o| o.object = hioload_afxdp::XdpObject::new(b"not an object")),
        ),
    ] {
        assert_eq!(found.0, party, "{}", found.1);
        assert!(found.1.contains(part), "{}", found.1);
    }
    ip("link set va mtu 20000");
    let (party, text) = try_with(&|_| ());
    assert_eq!(party, Party::Environment);
    assert!(text.contains("ip link set va mtu 9000"), "{text}");
    assert!(!has_program(), "a refusal leaves nothing behind");
}
