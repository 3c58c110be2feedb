//! Usage errors: one line and exit code 2.

use super::EAL;
use super::ends::hioload;

fn refused(eal: &str, more: &[&str], words: &[&str]) {
    for command in [
        &[
            "serve",
            "--listen",
            "10.77.0.2:9001",
            "--control",
            "none",
            "--log",
            "off",
        ][..],
        &["connect", "ws://10.77.0.2:9001/echo"],
    ] {
        let arguments = [
            "--transport",
            "dpdk",
            "--ip",
            "10.77.0.2/24",
            "--dpdk-args",
            eal,
        ];
        let output = hioload(&[command, &arguments, more].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(output.stdout.is_empty(), "{output:?}");
        assert_eq!(said.lines().count(), 1, "{said}");
        for word in words {
            assert!(said.contains(word), "{word} not in {said}");
        }
    }
}

#[test]
fn wrong_eal_arguments_are_reported() {
    for (more, words) in [
        ("--wrong", &["--wrong", "unrecognized option"][..]),
        ("-l 4000", &["4000"]),
        ("--help", &["help"]),
        ("--vdev='net_ring0", &["quote"]),
    ] {
        refused(&format!("{EAL} {more}"), &[], words);
    }
}

#[test]
fn unknown_ports_are_reported() {
    let ring = format!("{EAL} --vdev=net_ring0");
    refused(
        &ring,
        &["--port", "7"],
        &["no DPDK port 7", "0 (net_ring0)"],
    );
    refused(
        &ring,
        &["--port", "0000:01:00.0"],
        &["0000:01:00.0", "net_ring0"],
    );
    refused(EAL, &[], &["there are none", "--vdev"]);
    let nowhere = format!("{EAL} --vdev=net_af_packet0,iface=nonesuch0");
    refused(&nowhere, &[], &["there are none", "net_af_packet0"]);
}

#[test]
fn a_request_that_the_port_cannot_fulfil_is_reported() {
    let ring = format!("{EAL} --vdev=net_ring0");
    refused(
        &ring,
        &["--queues", "99"],
        &["99 queues requested", "1 to 16"],
    );
    refused(&ring, &["--queues", "1,3"], &["--queues 2"]);
    let little = format!("{} --vdev=net_ring0", EAL.replace("-m 256", "-m 8"));
    refused(&little, &[], &["pool of frames", "memory"]);
}

#[test]
fn an_address_is_needed_and_cannot_be_shared() {
    for (more, word) in [
        (&["--dpdk-args", EAL][..], "--ip"),
        (&["--ip", "10.77.0.2/24", "--listen", "unix:/x"], "Unix"),
        (
            &[
                "--ip",
                "10.77.0.2/24",
                "--listen",
                "10.77.0.2:1",
                "--share-address",
            ],
            "--share-address",
        ),
    ] {
        let output = hioload(&[&["serve", "--transport", "dpdk"], more].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(word) && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn check_starts_eal_and_lists_its_ports() {
    let asked = |eal: &str| hioload(&["check", "--transport", "dpdk", "--dpdk-args", eal]);
    let good = asked(&format!("{EAL} --vdev=net_ring0"));
    let text = String::from_utf8_lossy(&good.stdout);
    assert_eq!(good.status.code(), Some(0), "{text}");
    for part in [
        "ok       build",
        "ok       eal",
        "0 net_ring0 (net_ring)",
        "huge pages",
        "isolation",
    ] {
        assert!(text.contains(part), "{part} not in {text}");
    }
    for (eal, part) in [
        (format!("{EAL} --wrong"), "unrecognized option"),
        (EAL.to_owned(), "finds no port"),
    ] {
        let bad = asked(&eal);
        let text = String::from_utf8_lossy(&bad.stdout);
        assert_eq!(bad.status.code(), Some(1), "{text}");
        let line = text.lines().find(|line| line.starts_with("MISSING  eal"));
        assert!(line.is_some_and(|line| line.contains(part)), "{text}");
    }
}
