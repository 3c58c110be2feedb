//! EAL with good and bad arguments, with and without huge pages; ports that are not there. Each in a process of its own.
//! Needs libdpdk; root where a test says so.

mod common;

use std::fs;

use common::{arguments, is_root, run};

/// Refused with one line that has `words`; nothing is printed beside it.
fn refused(options: &str, eal: &str, words: &[&str]) {
    let said = run(options, eal);
    assert!(!said.ok && said.out.is_empty(), "{said:?}");
    assert_eq!(said.err.lines().count(), 1, "{said:?}");
    for word in words {
        assert!(said.err.contains(word), "{word} not in {}", said.err);
    }
}

#[test]
fn wrong_arguments_are_one_clear_line() {
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
fn without_huge_pages_the_line_says_how_to_get_them() {
    // If this machine has some reserved, there is nothing to be refused.
    if fs::read_to_string("/proc/sys/vm/nr_hugepages").is_ok_and(|pages| pages.trim() == "0") {
        refused(
            "list",
            "--no-pci --no-telemetry --in-memory",
            &["hugepage", "deploy/dpdk"],
        );
    }
}

#[test]
fn a_missing_port_is_named_with_those_there_are() {
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
fn what_a_port_cannot_do_is_named() {
    let memif = arguments("--vdev=net_memif0,role=server,socket=/proc/nowhere,socket-abstract=no");
    refused("ping", &memif, &["there are none", "memif"]);
    let null = arguments("--vdev=net_null0");
    refused("ping --segment 64", &null, &["segments of 64"]);
    let too_little = arguments("--vdev=net_null0").replace("-m 512", "-m 8");
    refused("ping", &too_little, &["pool of frames", "memory"]);
}

#[test]
fn ports_are_listed() {
    let said = run("list", &arguments("--vdev=net_ring0 --vdev=net_null3"));
    assert!(said.ok, "{said:?}");
    for word in [
        "DPDK ",
        "huge pages: false",
        "0 net_ring0 net_ring",
        "1 net_null3 net_null",
    ] {
        assert!(said.out.contains(word), "{said:?}");
    }
}

/// A port whose rings end where they begin; one that makes and swallows frames.
#[test]
fn a_loop_gives_back_every_frame() {
    let said = run(
        "ping --frames 50000 --size 777",
        &arguments("--vdev=net_ring0"),
    );
    assert!(said.ok, "{said:?}");
    assert_eq!(
        (said.number("seen"), said.number("unaccounted")),
        (50_000, 0)
    );
    let said = run(
        "ping --frames 10 --patience 1",
        &arguments("--vdev=net_null0"),
    );
    // What it makes is whatever its buffers hold.
    assert!(!said.ok && said.number("received") > 0, "{said:?}");
    assert_eq!(said.number("unaccounted"), 0);
}

#[test]
fn a_device_without_flow_rules_hands_over_everything() {
    let own = "--own 10.99.0.2 --own fd00::2 --listen 0.0.0.0:80";
    let said = run(&format!("ping {own}"), &arguments("--vdev=net_ring0"));
    assert!(said.ok && said.out.contains("rules 0"), "{said:?}");
}

/// Reserves huge pages, and puts the number back.
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

/// Needs root, to reserve them.
#[test]
fn with_huge_pages_it_uses_them() {
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
