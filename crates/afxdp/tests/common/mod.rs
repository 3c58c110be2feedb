//! Two network namespaces joined by a veth pair: the test's, with `va`, and the peer's, with `vb`. Both belong to threads of the
//! test, so the kernel deletes them when the test ends, for whatever reason.
#![cfg(target_os = "linux")]
// Each test binary uses a part of this module.
#![allow(dead_code, unreachable_pub)]

pub mod packet;
pub mod raw;

use std::net::IpAddr;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};
use std::{env, io};

use hioload_afxdp::{PendingQueue, Port, PortOptions, Queue, XdpObject};
use hioload_device::{Burst, Device};

use raw::Raw;

/// The port's addresses, which no kernel has.
pub const PORT4: &str = "10.77.0.2";
pub const PORT6: &str = "fd77::2";
/// The addresses of the kernel on the same interface, `va`.
pub const KERNEL4: &str = "10.77.0.1";
pub const KERNEL6: &str = "fd77::1";
/// The peer's addresses.
pub const PEER4: &str = "10.77.0.9";
pub const PEER6: &str = "fd77::9";

type Job = Box<dyn FnOnce() + Send>;

/// The two namespaces.
pub struct Net {
    jobs: Option<Sender<Job>>,
    peer: Option<thread::JoinHandle<()>>,
}

/// Moves the calling thread into a new network namespace. Returns `false` if that is not permitted.
fn enter_namespace() -> bool {
    // SAFETY: only the calling thread's network namespace changes; no memory is concerned.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } == 0 {
        return true;
    }
    let error = io::Error::last_os_error();
    assert!(
        env::var_os("CI").is_none(),
        "these tests need root (CAP_SYS_ADMIN and CAP_NET_ADMIN): {error}"
    );
    false
}

/// Moves the calling thread into a new network namespace. Returns `false`, with a message, without permission; that is a failure if
/// `CI` is set in the environment.
pub fn permitted() -> bool {
    let permitted = enter_namespace();
    if !permitted {
        eprintln!("\n*** SKIPPED: AF_XDP needs root; run the tests as root ***\n");
    }
    permitted
}

impl Net {
    /// Two namespaces, with `queues` queues on each end of the veth. Returns `None`, with a message, without permission or IPv6;
    /// that is a failure if `CI` is set in the environment.
    pub fn new(queues: u32, mtu: usize) -> Option<Self> {
        if !hioload_testkit::kernel_has_ipv6() || !permitted() {
            return None;
        }
        let (jobs, todo) = channel::<Job>();
        let (ready, started) = channel();
        let peer = thread::spawn(move || peer(&ready, &todo));
        let tid: i32 = started.recv().expect("the peer's namespace");
        let both = format!("numrxqueues {queues} numtxqueues {queues}");
        ip(&format!("link add va {both} type veth peer name vb {both}"));
        ip(&format!("link set vb netns {tid}"));
        let net = Self {
            jobs: Some(jobs),
            peer: Some(peer),
        };
        for (this, name, v4, v6) in [(true, "va", KERNEL4, KERNEL6), (false, "vb", PEER4, PEER6)] {
            let set_up = move || {
                ip("link set lo up");
                // Router solicitations would change the counters.
                sysctl(name, "accept_ra", "0");
                sysctl(name, "addr_gen_mode", "1");
                ip(&format!("link set {name} mtu {mtu}"));
                ip(&format!("addr add {v4}/24 dev {name}"));
                ip(&format!("addr add {v6}/64 dev {name} nodad"));
                // By default a kernel sends packets with unfinished checksums, larger than the MTU, into a veth.
                run(&format!(
                    "ethtool -K {name} tx off tso off gso off gro off txvlan off rxvlan off"
                ));
                ip(&format!("link set {name} up"));
            };
            if this { set_up() } else { net.at_peer(set_up) }
        }
        Some(net)
    }

    /// Runs a job in the peer's namespace.
    pub fn at_peer<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = channel();
        let job: Job = Box::new(move || {
            let _ = done.send(job());
        });
        self.jobs
            .as_ref()
            .expect("a peer")
            .send(job)
            .expect("a peer");
        result.recv().expect("the job at the peer panicked")
    }

    /// A raw socket on the peer's end.
    pub fn raw(&self) -> Raw {
        self.at_peer(|| Raw::new("vb"))
    }

    /// The MAC address of `va`.
    pub fn mac(&self) -> [u8; 6] {
        hioload_afxdp::nic::Nic::find("va").expect("va").mac
    }
}

fn peer(ready: &Sender<i32>, todo: &Receiver<Job>) {
    assert!(enter_namespace());
    // SAFETY: takes nothing, touches nothing.
    let _ = ready.send(unsafe { libc::gettid() });
    while let Ok(job) = todo.recv() {
        job();
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(peer) = self.peer.take() {
            let _ = peer.join();
        }
    }
}

/// Runs a command in the calling thread's namespace; it must succeed.
pub fn run(command: &str) -> String {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().expect("a command"))
        .args(words)
        .output();
    let output = output.unwrap_or_else(|error| panic!("{command}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {text}{said}");
    text
}

pub fn ip(arguments: &str) -> String {
    run(&format!("ip {arguments}"))
}

fn sysctl(interface: &str, key: &str, value: &str) {
    // /proc/sys/net has the settings of the calling thread's namespace.
    let path = format!("/proc/sys/net/ipv6/conf/{interface}/{key}");
    let _ = std::fs::write(path, value);
}

/// The XDP program, compiled once for the whole test binary.
pub fn object() -> XdpObject {
    static OBJECT: OnceLock<XdpObject> = OnceLock::new();
    let compile = || compile("../../ebpf/redirect.bpf.c");
    OBJECT.get_or_init(compile).clone()
}

/// An XDP program that redirects every packet.
pub fn everything() -> XdpObject {
    static OBJECT: OnceLock<XdpObject> = OnceLock::new();
    let compile = || compile("tests/everything.bpf.c");
    OBJECT.get_or_init(compile).clone()
}

/// The XDP program as the compiler writes it.
pub fn object_bytes() -> Vec<u8> {
    let object = compile_to_file("../../ebpf/redirect.bpf.c");
    let bytes = std::fs::read(&object).expect("clang wrote it");
    let _ = std::fs::remove_file(&object);
    bytes
}

fn compile(source: &str) -> XdpObject {
    let object = compile_to_file(source);
    let read = XdpObject::read(object.as_ref()).expect("clang wrote it");
    let _ = std::fs::remove_file(&object);
    read
}

fn compile_to_file(source: &str) -> String {
    let source = format!("{}/{source}", env!("CARGO_MANIFEST_DIR"));
    let id = std::process::id();
    let object = format!("{}/{}-{id}.o", env!("CARGO_TARGET_TMPDIR"), source.len());
    let headers = format!("/usr/include/{}-linux-gnu", env::consts::ARCH);
    run(&format!(
        "clang -O2 -g -target bpf -mcpu=v3 -idirafter {headers} -c {source} -o {object}"
    ));
    object
}

/// Keeps the kernel from sending packets on an interface.
pub fn quiet(interface: &str) {
    sysctl(interface, "disable_ipv6", "1");
    ip(&format!("addr flush dev {interface}"));
    ip(&format!("link set {interface} arp off multicast off"));
}

/// The options for all queues of `va` and the port's addresses.
pub fn options() -> PortOptions {
    let addresses: [IpAddr; 2] = [PORT4.parse().expect("IPv4"), PORT6.parse().expect("IPv6")];
    let mut options = PortOptions::new(object(), "va", addresses);
    options.ring = 256;
    options
}

/// Opens a port and claims all its queues on this thread.
pub fn open(options: &PortOptions) -> (Port, Vec<Queue>) {
    let (port, pending) = Port::open(options).unwrap_or_else(|error| panic!("{error}"));
    let claim = |queue: PendingQueue| queue.claim().unwrap_or_else(|error| panic!("{error}"));
    let queues = pending.into_iter().map(claim).collect();
    (port, queues)
}

/// The frames that arrive on any of the queues, until there are `count` or a minute has passed.
pub fn receive(queues: &mut [Queue], count: usize) -> Vec<Vec<u8>> {
    let (mut got, mut burst) = (Vec::new(), Burst::new());
    let end = Instant::now() + Duration::from_secs(60);
    while got.len() < count && Instant::now() < end {
        for queue in queues.iter_mut() {
            queue.rx_burst(&mut burst);
            got.extend(burst.drain(..).map(|frame| frame.bytes().to_vec()));
        }
        let pause = Some(Duration::from_millis(1));
        queues[0].wait(pause).expect("the interface is there");
    }
    got
}

/// Whether no frame arrives for 50 ms.
pub fn silent(queues: &mut [Queue]) -> bool {
    let mut burst = Burst::new();
    let end = Instant::now() + Duration::from_millis(50);
    while Instant::now() < end {
        if queues
            .iter_mut()
            .any(|queue| queue.rx_burst(&mut burst) > 0)
        {
            return false;
        }
        thread::sleep(Duration::from_millis(1));
    }
    true
}

/// Sends a packet on a queue.
pub fn send(queue: &mut Queue, bytes: &[u8]) {
    let mut frame = queue.alloc().expect("a frame");
    frame.set_len(bytes.len());
    frame.bytes_mut().copy_from_slice(bytes);
    let mut burst = Burst::new();
    burst.push(frame);
    assert_eq!(queue.tx_burst(&mut burst), 1);
}

/// Whether a program is on `va`.
pub fn has_program() -> bool {
    ip("-d link show va").contains("prog/xdp")
}

/// Waits until a condition holds, up to a minute.
pub fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !so() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(2));
    }
}
