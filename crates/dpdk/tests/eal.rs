//! EAL with right and wrong arguments, with and without huge pages; missing ports. Each test runs EAL in another process. Needs
//! libdpdk; one test needs root.

mod common;

use std::fs;

use common::{arguments, is_root, run};

/// Runs `dpdk-port`, which must fail with one line that has `words`, and print nothing else.
fn refused(options: &str, eal: &str, words: &[&str]) {
    let output = run(options, eal);
    assert!(!output.ok && output.out.is_empty(), "{output:?}");
    assert_eq!(output.err.lines().count(), 1, "{output:?}");
    for word in words {
        assert!(output.err.contains(word), "{word} not in {}", output.err);
    }
}

#[test]
fn a_wrong_argument_is_an_error_of_one_line() {
    for (more, words) in [
        ("--wrong", &["--wrong", "unrecognized option"][..]),
        ("--vdev=net_nothing0", &["net_nothing0"]),
        ("-l 4000", &["4000"]),
        ("--in-memory", &["not compatible with --in-memory"]),
        ("--help", &["help"]),
    ] {
        refused("list", &arguments(more), words);
    }
}

#[test]
fn without_huge_pages_the_error_has_a_hint() {
    // On a machine with reserved huge pages EAL starts.
    if fs::read_to_string("/proc/sys/vm/nr_hugepages").is_ok_and(|pages| pages.trim() == "0") {
        refused(
            "list",
            "--no-pci --no-telemetry --in-memory",
            &["hugepage", "deploy/dpdk"],
        );
    }
}

#[test]
fn the_error_for_a_missing_port_lists_the_ports() {
    let ring = arguments("--vdev=net_ring0 --vdev=net_null0");
    refused(
        "ping --port 7",
        &ring,
        &["no DPDK port 7", "0 (net_ring0), 1 (net_null0)"],
    );
    refused(
        "ping --port 0000:01:00.0",
        &ring,
        &["0000:01:00.0", "net_ring0"],
    );
    refused("ping", &arguments(""), &["there are none", "--vdev"]);
}

#[test]
fn the_error_for_an_unsupported_option_names_it() {
    let memif = arguments("--vdev=net_memif0,role=server,socket=/proc/nowhere,socket-abstract=no");
    refused("ping", &memif, &["there are none", "memif"]);
    let null = arguments("--vdev=net_null0");
    refused("ping --segment 64", &null, &["segments of 64"]);
    let too_little = arguments("--vdev=net_null0").replace("-m 512", "-m 8");
    refused("ping", &too_little, &["pool of frames", "memory"]);
}

#[test]
fn ports_are_listed() {
    let output = run("list", &arguments("--vdev=net_ring0 --vdev=net_null3"));
    assert!(output.ok, "{output:?}");
    for word in [
        "DPDK ",
        "huge pages: false",
        "0 net_ring0 net_ring",
        "1 net_null3 net_null",
    ] {
        assert!(output.out.contains(word), "{output:?}");
    }
}

/// Over a port whose transmit ring is its receive ring, and over one that creates and discards frames.
#[test]
fn a_loopback_port_returns_every_frame() {
    let output = run(
        "ping --frames 50000 --size 777",
        &arguments("--vdev=net_ring0"),
    );
    assert!(output.ok, "{output:?}");
    assert_eq!(
        (output.number("seen"), output.number("unaccounted")),
        (50_000, 0)
    );
    let output = run(
        "ping --frames 10 --patience 1",
        &arguments("--vdev=net_null0"),
    );
    // The frames that net_null creates have arbitrary contents.
    assert!(!output.ok && output.number("received") > 0, "{output:?}");
    assert_eq!(output.number("unaccounted"), 0);
}

#[test]
fn a_device_without_flow_rules_delivers_all_frames() {
    let own = "--own 10.99.0.2 --own fd00::2 --listen 0.0.0.0:80";
    let output = run(&format!("ping {own}"), &arguments("--vdev=net_ring0"));
    assert!(output.ok && output.out.contains("rules 0"), "{output:?}");
}

/// Reserves huge pages, and restores the number on drop.
struct HugePages(String);

const NR_HUGEPAGES: &str = "/proc/sys/vm/nr_hugepages";

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

/// Needs root, to reserve huge pages.
#[test]
fn eal_uses_huge_pages_if_there_are_some() {
    if !is_root() {
        return;
    }
    let pages = HugePages::add(64);
    let eal = "--no-pci --no-telemetry --in-memory -m 64 --vdev=net_ring0";
    let listed = run("list", eal);
    assert!(
        listed.ok && listed.out.contains("huge pages: true"),
        "{listed:?}"
    );
    let ping = run("ping --frames 5000", eal);
    assert!(ping.ok && ping.number("unaccounted") == 0, "{ping:?}");
    drop(pages);
}
