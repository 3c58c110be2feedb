//! Server and client in two processes, connected by shared memory.

use std::fs;
use std::thread;
use std::time::Duration;

use super::ends::{Server, Socket, echoes, echoes_v6, echoes_with, finish, load, spawn};

fn memif(role: &str, socket: &Socket) -> String {
    let path = socket.path();
    format!("net_memif0,role={role},socket={path},socket-abstract=no")
}

#[test]
fn serve_and_connect_over_memif() {
    let socket = Socket::new("memif");
    let server = Server::start(&memif("server", &socket), &[]);
    let client = memif("client", &socket);
    echoes(&client, "--count 2000 --in-flight 16");
    echoes_v6(&client, "--count 500 --size 1400");
    // 12 MB each way.
    echoes(&client, "--count 12 --size 1000000 --in-flight 4");
    let log = server.stop();
    assert!(
        log.contains("net_memif0 (net_memif): mtu 1500, 1 queue, checksums in software"),
        "{log}"
    );
}

fn vhost(socket: &Socket) -> String {
    format!("net_vhost0,iface={}", socket.path())
}

fn virtio(socket: &Socket) -> String {
    format!("net_virtio_user0,path={}", socket.path())
}

/// Neither side computes checksums: each leaves them to its device and trusts the other.
#[test]
fn over_vhost_with_checksums_left_to_the_devices() {
    let socket = Socket::new("vhost");
    let server = Server::start(&vhost(&socket), &[]);
    let client = virtio(&socket);
    echoes(&client, "--count 2000 --in-flight 16");
    echoes_v6(&client, "--count 500 --size 1400 --text --deflate");
    echoes(&client, "--count 12 --size 1000000 --in-flight 4");
    let log = server.stop();
    assert!(log.contains("checksums by the device"), "{log}");
}

#[test]
fn many_connections_over_vhost() {
    let socket = Socket::new("many");
    let server = Server::start(&vhost(&socket), &[]);
    load(
        &virtio(&socket),
        "--scenario hold --connections 2000 --duration 1s",
    );
    server.stop();
}

/// The device is with the client, the driver of it with the server.
#[test]
fn over_vhost_the_other_way_round() {
    let socket = Socket::new("turned");
    // It makes the socket and waits for its peer.
    let client = spawn(&vhost(&socket), "--count 2000 --in-flight 8");
    socket.await_made();
    let server = Server::start(&virtio(&socket), &[]);
    finish(client);
    let log = server.stop();
    assert!(log.contains("checksums by the device"), "{log}");
}

#[test]
fn one_side_may_compute_its_checksums() {
    let socket = Socket::new("mixed");
    let server = Server::start(&vhost(&socket), &["--checksum-offload", "off"]);
    let client = virtio(&socket);
    echoes(&client, "--count 500 --size 3000");
    echoes(&client, "--count 500 --size 3000 --checksum-offload off");
    let log = server.stop();
    assert!(log.contains("checksums in software"), "{log}");
}

#[test]
fn jumbo_frames() {
    let socket = Socket::new("jumbo");
    let server = Server::start(&vhost(&socket), &["--mtu", "9000"]);
    echoes(
        &virtio(&socket),
        "--mtu 9000 --count 200 --size 100000 --in-flight 2",
    );
    let log = server.stop();
    assert!(log.contains("mtu 9000"), "{log}");
}

/// Without RSS, a frame arrives at an lcore that does not own its flow, and is handed to the owner.
#[test]
fn two_queues_have_two_lcores() {
    let socket = Socket::new("queues");
    let device = format!("{},queues=2", vhost(&socket));
    let server = Server::start(&device, &["--queues", "2"]);
    let client = format!("{},queues=2", virtio(&socket));
    load(
        &client,
        "--queues 2 --lcores 2 --connections 64 --in-flight 4 --size 64..4096 --duration 1s",
    );
    let log = server.stop();
    assert!(log.contains("2 queues, no RSS"), "{log}");
}

#[test]
fn a_killed_peer_is_reported_and_the_next_one_is_served() {
    let socket = Socket::new("killed");
    let server = Server::start(&vhost(&socket), &[]);
    let mut peer = spawn(&virtio(&socket), "--count 100000000");
    thread::sleep(Duration::from_secs(2));
    peer.kill().expect("it runs");
    peer.wait().expect("it ends");
    // The server checks the link four times a second.
    thread::sleep(Duration::from_secs(1));
    echoes(&virtio(&socket), "--count 500");
    let log = server.stop();
    assert!(log.contains("net_vhost0: the link is down"), "{log}");
}

const NR_HUGEPAGES: &str = "/proc/sys/vm/nr_hugepages";

/// Reserves huge pages, and puts the number back.
struct HugePages(String);

impl HugePages {
    fn add(count: u32) -> Self {
        let was = fs::read_to_string(NR_HUGEPAGES).expect("a number");
        let had: u32 = was.trim().parse().expect("a number");
        fs::write(NR_HUGEPAGES, (had + count).to_string()).expect("root may");
        Self(was)
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        let _ = fs::write(NR_HUGEPAGES, &self.0);
    }
}

/// Needs root, to reserve them.
#[test]
fn with_huge_pages() {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "CI has to be root");
        eprintln!("\n*** NOT TESTED: huge pages need root ***\n");
        return;
    }
    let pages = HugePages::add(96);
    let socket = Socket::new("huge");
    let eal = "--no-pci --no-telemetry --in-memory --single-file-segments -m 64";
    let server = Server::start_with(&format!("{eal} --vdev={}", vhost(&socket)), &[]);
    echoes_with(
        &format!("{eal} --vdev={}", virtio(&socket)),
        "--count 2000 --in-flight 8",
    );
    server.stop();
    drop(pages);
}
