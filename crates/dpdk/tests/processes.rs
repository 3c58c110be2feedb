//! Ports of two processes, joined by shared memory. Needs libdpdk with the drivers memif, vhost and virtio, which Debian's package
//! has; needs neither root nor huge pages.

mod common;

use std::path::PathBuf;

use common::{Background, arguments, run};

/// The path of a socket, unique to the test.
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
fn frames_cross_to_another_process_and_back_over_memif() {
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
fn devices_handle_checksums_in_both_directions() {
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
fn a_port_with_checksum_offload_works_with_one_without() {
    let socket = Socket::new("mixed");
    let echo = Background::start("", "echo --no-checksums", &vhost(&socket));
    assert!(!echo.ready.contains("checksum"), "{}", echo.ready);
    // The vhost driver completes checksums for an application that has not enabled the offload.
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
fn a_frame_in_several_segments_is_copied_into_one() {
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
fn a_server_works_after_its_client_was_killed() {
    let socket = Socket::new("killed");
    let echo = Background::start("", "echo", &vhost(&socket));
    let ping = Background::start(
        "",
        "ping --frames 100000000 --patience 600",
        &virtio(&socket),
    );
    std::thread::sleep(std::time::Duration::from_millis(300));
    ping.kill();
    // The next client works.
    let ping = run("ping --frames 5000", &virtio(&socket));
    assert!(ping.ok && ping.number("unaccounted") == 0, "{ping:?}");
    let echo = echo.finish();
    assert!(echo.ok && echo.number("sent") > 5000, "{echo:?}");
    assert_eq!(echo.number("unaccounted"), 0);
}

#[test]
fn a_client_closes_cleanly_after_its_server_was_killed() {
    let socket = Socket::new("server");
    let echo = Background::start("", "echo", &vhost(&socket));
    let ping = Background::start("", "ping --frames 100000000 --patience 2", &virtio(&socket));
    std::thread::sleep(std::time::Duration::from_millis(300));
    echo.kill();
    let ping = ping.finish();
    // Not all frames came back, which is an error of one line, and no frame is lost.
    assert!(!ping.ok && ping.err.lines().count() == 1, "{ping:?}");
    assert_eq!(ping.number("unaccounted"), 0);
}
