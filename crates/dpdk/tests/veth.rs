//! A port on one end of a veth pair (AF_PACKET) with the kernel's stack at the other end, and a port on a TAP interface, each in a
//! network namespace. Needs root, iproute2, ethtool and libdpdk.

mod common;

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::process::Command;
use std::thread;
use std::time::Duration;

use common::{Background, arguments, command, is_root};

/// Runs a command, which must succeed. Returns its output.
fn run(line: &str) -> String {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a program");
    let output = Command::new(program).args(words).output();
    let output = output.unwrap_or_else(|error| panic!("{line}: {error}"));
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A network namespace, which is deleted on drop.
struct Namespace(String);

impl Namespace {
    fn new(name: &str) -> Self {
        let name = format!("hioload-{}-{name}", std::process::id());
        run(&format!("ip netns add {name}"));
        Self(name)
    }

    fn inside(&self) -> String {
        format!("ip netns exec {}", self.0)
    }

    fn ip(&self, line: &str) {
        run(&format!("ip -n {} {line}", self.0));
    }

    /// The MAC address of an interface in the namespace.
    fn mac(&self, interface: &str) -> String {
        let line = run(&format!("ip -n {} -br link show {interface}", self.0));
        line.split_whitespace()
            .nth(2)
            .expect("an address")
            .to_owned()
    }

    /// A UDP socket of the kernel in the namespace.
    fn socket(&self, address: &str) -> UdpSocket {
        let path = format!("/run/netns/{}", self.0);
        let address: SocketAddr = address.parse().expect("an address");
        let made = thread::spawn(move || {
            let namespace = std::fs::File::open(path).expect("a namespace");
            let kind = Some(rustix::thread::LinkNameSpaceType::Network);
            // This changes the namespace of this thread only.
            rustix::thread::move_into_link_name_space(namespace.as_fd(), kind).expect("root may");
            UdpSocket::bind(address).expect("a socket")
        });
        let socket = made.join().expect("no panic");
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("a timeout");
        socket
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// Sends datagrams of all sizes to `to`, which must come back unchanged.
fn converse(socket: &UdpSocket, to: &str, most: usize) {
    let mut buffer = [0; 2048];
    for size in (1..=most).step_by(7) {
        let message: Vec<u8> = (0..size).map(|at| (at * 31 + size) as u8).collect();
        socket.send_to(&message, to).expect("sent");
        let (got, _) = socket.recv_from(&mut buffer).expect("an answer");
        assert!(buffer[..got] == message, "{size} bytes");
    }
}

fn veth(namespace: &Namespace) {
    namespace.ip("link add va type veth peer name vb");
    // With checksum offload, the kernel would send frames with unfinished checksums.
    run(&format!("{} ethtool -K va tx off", namespace.inside()));
    namespace.ip("addr add 10.99.0.1/24 dev va");
    namespace.ip("link set va up");
    namespace.ip("link set vb up");
    let mac = namespace.mac("vb");
    namespace.ip(&format!("neigh add 10.99.0.2 lladdr {mac} dev va"));
}

#[test]
fn datagrams_of_the_kernel_come_back_over_af_packet() {
    if !is_root() {
        return;
    }
    let namespace = Namespace::new("veth");
    veth(&namespace);
    let eal = arguments("--vdev=net_af_packet0,iface=vb");
    let echo = Background::start(&namespace.inside(), "echo", &eal);
    converse(&namespace.socket("10.99.0.1:0"), "10.99.0.2:7", 1472);
    let echo = echo.finish();
    assert!(echo.ok && echo.number("sent") == 211, "{echo:?}");
    assert_eq!((echo.number("bad"), echo.number("unaccounted")), (0, 0));
}

#[test]
fn a_port_closes_cleanly_after_its_interface_is_deleted() {
    if !is_root() {
        return;
    }
    let namespace = Namespace::new("gone");
    veth(&namespace);
    let eal = arguments("--vdev=net_af_packet0,iface=vb");
    let echo = Background::start(&namespace.inside(), "echo", &eal);
    converse(&namespace.socket("10.99.0.1:0"), "10.99.0.2:7", 64);
    namespace.ip("link del vb");
    thread::sleep(Duration::from_millis(200));
    let echo = echo.finish();
    assert!(echo.ok && echo.number("unaccounted") == 0, "{echo:?}");
}

#[test]
fn a_port_on_a_tap_interface_fills_in_checksums() {
    if !is_root() {
        return;
    }
    if !std::path::Path::new("/dev/net/tun").exists() {
        assert!(
            std::env::var_os("CI").is_none(),
            "this test needs /dev/net/tun"
        );
        eprintln!("SKIPPED: needs /dev/net/tun");
        return;
    }
    let namespace = Namespace::new("tap");
    let eal = arguments("--vdev=net_tap0,iface=hltap,mac=02:00:00:00:99:02");
    let echo = Background::start(&namespace.inside(), "echo", &eal);
    assert!(
        echo.ready.contains("tx-checksum rx-checksum"),
        "{}",
        echo.ready
    );
    // The kernel has the same interface. The neighbour entry has another MAC address, so that the kernel sends the frames out.
    namespace.ip("addr add 10.99.1.1/24 dev hltap");
    namespace.ip("neigh add 10.99.1.2 lladdr 02:00:00:00:99:77 dev hltap");
    converse(&namespace.socket("10.99.1.1:0"), "10.99.1.2:7", 1472);
    let echo = echo.finish();
    assert!(echo.ok && echo.out.contains("fill=true"), "{echo:?}");
    assert_eq!((echo.number("bad"), echo.number("unaccounted")), (0, 0));
}

/// A port on a TAP interface can be isolated. Whether it accepts rules depends on the kernel's flower classifier.
#[test]
fn an_isolated_port_has_all_its_rules_or_names_the_one_that_failed() {
    if !is_root() {
        return;
    }
    let namespace = Namespace::new("rules");
    let own = "echo --own 10.99.1.2 --own fd00::9 --listen 0.0.0.0:80 --listen [::]:80";
    let eal = arguments("--vdev=net_tap0,iface=hlrules");
    let mut command = command(&namespace.inside(), own, &eal);
    let output = command
        .stdin(std::process::Stdio::null())
        .output()
        .expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    if output.status.success() {
        // TCP, ICMP and neighbour discovery for two addresses, and ARP.
        assert!(
            out.contains("rules 6") && out.contains("unaccounted=0"),
            "{out}{err}"
        );
    } else {
        assert!(err.contains("cannot add a flow rule"), "{out}{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
    }
}
