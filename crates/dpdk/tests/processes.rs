//! Ports of two processes, joined by shared memory. Needs libdpdk with the drivers memif, vhost and virtio (Debian's have
//! them); neither root nor huge pages.

mod common;

use std::path::PathBuf;

use common::{Background, arguments, run};

/// A socket's path of the test's own.
struct Socket(PathBuf);

impl Socket {
    fn new(name: &str) -> Self {
        let name = format!("hioload-{}-{name}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn path(&self) -> std::path::Display<'_> {
        self.0.display()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn memif(role: &str, socket: &Socket) -> String {
    let path = socket.path();
    arguments(&format!(
        "--vdev=net_memif0,role={role},socket={path},socket-abstract=no"
    ))
}

#[test]
fn frames_go_to_another_process_and_back_over_memif() {
    let socket = Socket::new("memif");
    let echo = Background::start("", "echo", &memif("server", &socket));
    for size in ["64", "1514"] {
        let ping = run(
            &format!("ping --frames 20000 --size {size}"),
            &memif("client", &socket),
        );
        assert!(ping.ok, "{ping:?}");
        assert_eq!(
            (ping.number("seen"), ping.number("unaccounted")),
            (20_000, 0)
        );
    }
    let echo = echo.finish();
    assert!(echo.ok && echo.number("sent") == 40_000, "{echo:?}");
    assert_eq!((echo.number("bad"), echo.number("unaccounted")), (0, 0));
}

fn vhost(socket: &Socket) -> String {
    arguments(&format!("--vdev=net_vhost0,iface={}", socket.path()))
}

fn virtio(socket: &Socket) -> String {
    arguments(&format!("--vdev=net_virtio_user0,path={}", socket.path()))
}

#[test]
fn checksums_are_left_to_the_devices_both_ways() {
    let socket = Socket::new("vhost");
    let echo = Background::start("", "echo", &vhost(&socket));
    assert!(
        echo.ready.contains("tx-checksum rx-checksum"),
        "{}",
        echo.ready
    );
    let ping = run("ping --frames 20000 --size 300", &virtio(&socket));
    assert!(ping.ok && ping.out.contains("fill=true"), "{ping:?}");
    assert_eq!(
        (ping.number("vouched"), ping.number("unaccounted")),
        (20_000, 0)
    );
    let echo = echo.finish();
    assert!(echo.ok && echo.out.contains("fill=true"), "{echo:?}");
    assert_eq!((echo.number("vouched"), echo.number("bad")), (20_000, 0));
    assert_eq!(echo.number("unaccounted"), 0);
}

#[test]
fn an_end_that_computes_its_checksums_understands_one_that_does_not() {
    let socket = Socket::new("mixed");
    let echo = Background::start("", "echo --no-checksums", &vhost(&socket));
    assert!(!echo.ready.contains("checksum"), "{}", echo.ready);
    // The driver completes what its application did not agree to.
    let ping = run("ping --frames 5000 --size 301", &virtio(&socket));
    assert!(ping.ok, "{ping:?}");
    let ping = run(
        "ping --frames 5000 --size 301 --no-checksums",
        &virtio(&socket),
    );
    assert!(ping.ok && ping.out.contains("fill=false"), "{ping:?}");
    let echo = echo.finish();
    assert!(
        echo.ok && echo.number("bad") == 0 && echo.number("unaccounted") == 0,
        "{echo:?}"
    );
}

#[test]
fn frames_in_several_segments_are_made_one() {
    let socket = Socket::new("jumbo");
    let echo = Background::start("", "echo --mtu 9000", &vhost(&socket));
    let ping = run(
        "ping --frames 5000 --size 8999 --mtu 9000 --segment 2048",
        &virtio(&socket),
    );
    assert!(ping.ok, "{ping:?}");
    assert_eq!(
        (ping.number("joined"), ping.number("vouched")),
        (5000, 5000)
    );
    assert_eq!(ping.number("unaccounted"), 0);
    let echo = echo.finish();
    assert!(echo.ok && echo.number("unaccounted") == 0, "{echo:?}");
}

#[test]
fn a_peer_that_is_killed_takes_nothing_with_it() {
    let socket = Socket::new("killed");
    let echo = Background::start("", "echo", &vhost(&socket));
    let ping = Background::start(
        "",
        "ping --frames 100000000 --patience 600",
        &virtio(&socket),
    );
    std::thread::sleep(std::time::Duration::from_millis(300));
    ping.kill();
    // The next finds all in order.
    let ping = run("ping --frames 5000", &virtio(&socket));
    assert!(ping.ok && ping.number("unaccounted") == 0, "{ping:?}");
    let echo = echo.finish();
    assert!(echo.ok && echo.number("sent") > 5000, "{echo:?}");
    assert_eq!(echo.number("unaccounted"), 0);
}

#[test]
fn a_server_that_is_killed_leaves_a_port_that_ends_cleanly() {
    let socket = Socket::new("server");
    let echo = Background::start("", "echo", &vhost(&socket));
    let ping = Background::start("", "ping --frames 100000000 --patience 2", &virtio(&socket));
    std::thread::sleep(std::time::Duration::from_millis(300));
    echo.kill();
    let ping = ping.finish();
    // It has not got all it wanted, says so, and has no frame missing.
    assert!(!ping.ok && ping.err.lines().count() == 1, "{ping:?}");
    assert_eq!(ping.number("unaccounted"), 0);
}
