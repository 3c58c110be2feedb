//! `hioload check` as a process.
#![cfg(target_os = "linux")]

use std::process::{Command, Output};

fn check(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hioload"))
        .arg("check")
        .args(arguments)
        .output()
        .expect("hioload runs")
}

/// The findings' levels, by subject.
fn findings(output: &Output) -> Vec<(String, String)> {
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let findings = json.as_array().expect("an array").iter();
    let text = |finding: &serde_json::Value, key: &str| {
        let text = finding[key].as_str();
        text.expect("a string").to_owned()
    };
    findings
        .map(|finding| {
            if finding["level"] == "missing" {
                assert!(finding["hint"].is_string(), "a hint: {finding}");
            }
            (text(finding, "subject"), text(finding, "level"))
        })
        .collect()
}

fn level<'a>(findings: &'a [(String, String)], subject: &str) -> Option<&'a str> {
    let found = findings.iter().find(|(of, _)| of == subject);
    found.map(|(_, level)| level.as_str())
}

#[test]
fn the_exit_code_reports_a_missing_requirement() {
    let output = check(&["--json"]);
    let found = findings(&output);
    let missing = found.iter().any(|(_, level)| level == "missing");
    assert_eq!(output.status.code(), Some(i32::from(missing)), "{found:?}");
    for subject in ["kernel", "privileges", "huge pages", "isolation", "ticks"] {
        assert!(level(&found, subject).is_some(), "{subject}: {found:?}");
    }
    let built = if cfg!(feature = "af-xdp") {
        "ok"
    } else {
        "missing"
    };
    assert_eq!(level(&found, "build"), Some(built));
}

#[test]
fn the_lines_and_the_json_hold_the_same_findings() {
    let (lines, json) = (check(&[]), check(&["--json"]));
    assert_eq!(lines.status.code(), json.status.code());
    let text = String::from_utf8(lines.stdout).expect("UTF-8");
    let heads = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("->"));
    let levels: Vec<_> = heads
        .map(|line| {
            line.split_whitespace()
                .next()
                .expect("a level")
                .to_lowercase()
        })
        .collect();
    let found: Vec<_> = findings(&json)
        .into_iter()
        .map(|(_, level)| level)
        .collect();
    assert_eq!(levels, found);
}

#[cfg(feature = "af-xdp")]
#[test]
fn an_unknown_interface_is_missing() {
    let output = check(&["--interface", "nonesuch0", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(level(&findings(&output), "interface"), Some("missing"));
}

/// Needs root: checks a veth pair in a network namespace. The trial leaves nothing attached.
#[cfg(feature = "af-xdp")]
#[test]
fn a_trial_on_a_veth_succeeds_and_detaches_the_program() {
    let script = format!(
        "mount -t sysfs none /sys && ip link add va type veth peer name vb && ip link set va up && ip link set vb up && \
         ! ip -d link show va | grep -q xdp && {} check --interface va --lcores 1 --trial --json && \
         for i in $(seq 600); do ip -d link show va | grep -q xdp || exit 0; sleep 0.1; done; exit 1",
        env!("CARGO_BIN_EXE_hioload")
    );
    let output = Command::new("unshare")
        .args(["--net", "--mount", "sh", "-c", &script])
        .output();
    let output = output.expect("unshare runs");
    if String::from_utf8_lossy(&output.stderr).contains("Operation not permitted") {
        assert!(std::env::var_os("CI").is_none(), "this test needs root");
        eprintln!("\n*** NOT TESTED: hioload check --trial needs root ***\n");
        return;
    }
    assert!(output.status.success(), "{output:?}");
    let found = findings(&output);
    for subject in [
        "build",
        "privileges",
        "program",
        "interface",
        "xdp program",
        "xdp mode",
        "mtu",
        "queues",
        "checksums",
    ] {
        assert_eq!(level(&found, subject), Some("ok"), "{subject}");
    }
    // A veth has no zero-copy.
    assert_eq!(level(&found, "zero-copy"), Some("note"));
}
