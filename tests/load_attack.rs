//! `hioload load --attack` as a process: both parts of a repeat, over devices in memory and over sockets, and wrong arguments.
#![allow(clippy::unwrap_used)]

#[path = "common/mod.rs"]
mod common;

use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::Server;

fn load(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hioload"))
        .arg("load")
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn a_load_runs_without_and_with_attacks() {
    let file = std::env::temp_dir().join(format!("hioload-attack-{}.json", std::process::id()));
    let path = file.to_str().unwrap();
    let done = load(&[
        "--transport",
        "memory",
        "--connections",
        "8",
        "--warmup",
        "100ms",
        "--duration",
        "1s",
        "--timeout",
        "60s",
        "--attack",
        "syn-flood,rate=2k+overlap,rate=2k,connections=4",
        "--attack",
        "malformed,rate=1k",
        "--json",
        path,
    ]);
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(0), "{said}");
    let report: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    std::fs::remove_file(&file).unwrap();
    let attack = "syn-flood,rate=2k+overlap,rate=2k,connections=4+malformed,rate=1k";
    assert_eq!(report["plan"]["attack"], attack);
    let runs = report["runs"].as_array().unwrap();
    let parts: Vec<_> = runs
        .iter()
        .map(|run| run["part"].as_str().unwrap())
        .collect();
    assert_eq!(parts, ["quiet", "attacked"]);
    for name in ["syn-flood", "overlap", "malformed"] {
        let sent = format!("attack.{name}.sent");
        assert!(runs[0]["extra"].get(&sent).is_none());
        assert!(runs[1]["extra"][&sent].as_f64().unwrap() > 0.0, "{name}");
    }
    assert!(runs[1]["extra"].get("attack.overlap.wrong").is_none());
    for run in runs {
        assert!(run["done"].as_u64().unwrap() > 0);
    }
}

/// Runs a load with attacks on a server; returns the output and the report.
fn attack(server: &Server, arguments: &[&str]) -> (Output, serde_json::Value) {
    static FILES: AtomicUsize = AtomicUsize::new(0);
    let name = format!(
        "hioload-messages-{}-{}.json",
        std::process::id(),
        FILES.fetch_add(1, Ordering::Relaxed)
    );
    let file = std::env::temp_dir().join(name);
    let url = format!("ws://{}/echo", server.addr());
    let pid = server.id().to_string();
    let fixed = [
        &url,
        "--warmup",
        "100ms",
        "--duration",
        "2s",
        "--timeout",
        "100s",
        "--server-pid",
        &pid,
        "--json",
        file.to_str().unwrap(),
    ];
    let done = load(&[&fixed[..], arguments].concat());
    let report = std::fs::read_to_string(&file).unwrap_or_default();
    let _ = std::fs::remove_file(&file);
    (done, serde_json::from_str(&report).unwrap_or_default())
}

#[test]
fn attacks_with_messages_run_beside_a_bystander_and_a_witness() {
    let server = Server::start(&["--lcores", "2"]);
    let attacks = "topics,rate=100,connections=4+deflate,rate=4,size=1MiB+churn,rate=100+subscriptions,rate=100,connections=2\
        +unfinished,rate=50,connections=4,size=100000,interval=100ms+trickle,rate=20,connections=2";
    let bystander = ["--rate", "50", "--connections", "4", "--size", "64"];
    let (done, report) = attack(&server, &[&["--attack", attacks][..], &bystander].concat());
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(0), "{said}");
    assert_eq!(report["plan"]["scenario"], "rate");
    let runs = report["runs"].as_array().unwrap();
    for (run, part) in runs.iter().zip(["quiet", "attacked"]) {
        assert_eq!(run["part"], part);
        assert!(run["done"].as_u64().unwrap() > 0);
        assert!(run["server"]["rss_growth"].is_number());
        assert!(run["extra"]["witness.published"].as_f64().unwrap() > 0.0);
        assert_eq!(run["extra"]["witness.lost"], 0.0);
        for name in [
            "topics",
            "deflate",
            "churn",
            "subscriptions",
            "unfinished",
            "trickle",
        ] {
            let sent = run["extra"].get(format!("attack.{name}.sent"));
            assert_eq!(sent.is_some(), part == "attacked", "{name} in {part}");
            assert!(
                sent.is_none_or(|sent| sent.as_f64().unwrap() > 0.0),
                "{name}"
            );
        }
    }
    // Nothing of the attack broke the protocol.
    for name in ["close_1002", "close_1007", "http_400", "unconnected"] {
        for attack in ["deflate", "unfinished", "trickle"] {
            assert!(
                runs[1]["extra"]
                    .get(format!("attack.{attack}.{name}"))
                    .is_none(),
                "{attack}: {name}"
            );
        }
    }
}

/// The server closes the attackers, the report says how, and the bystander is served.
#[test]
fn the_report_says_how_the_server_ends_the_attackers() {
    let server = Server::start(&["--max-message", "200000"]);
    let attacks = "deflate,rate=20,size=1MiB";
    let (done, report) = attack(&server, &["--attack", attacks, "--rate", "20"]);
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(0), "{said}");
    let closed = &report["runs"][1]["extra"]["attack.deflate.close_1009"];
    assert!(closed.as_f64().unwrap() > 0.0);
    let text = String::from_utf8_lossy(&done.stdout);
    assert!(text.contains("attack.deflate.close 1009"), "{text}");
    assert!(text.contains("memory growth"), "{text}");
}

#[test]
fn a_server_without_topics_is_reported() {
    let server = Server::start(&[]);
    let (done, _) = attack(&server, &["--attack", "topics", "--attack-path", "/echo"]);
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(
        said.contains("/echo: the server does not deliver"),
        "{said}"
    );
}

#[test]
fn an_impossible_request_is_one_line_and_code_2() {
    let memory = ["--transport", "memory"];
    for (arguments, says) in [
        (
            &["ws://127.0.0.1:9/", "--attack", "syn-flood"][..],
            "needs --transport",
        ),
        (
            &[&memory[..], &["--attack", "topics"]].concat(),
            "it needs --transport sockets",
        ),
        (
            &["ws://127.0.0.1:9/", "--attack", "topics+malformed"][..],
            "they need separate runs",
        ),
        (
            &[
                "ws://127.0.0.1:9/",
                "--attack",
                "topics",
                "--attack",
                "malformed",
            ][..],
            "they need separate runs",
        ),
        (
            &[
                "ws://127.0.0.1:9/",
                "--attack",
                "churn",
                "--attack-source",
                "10.0.0.0/8",
            ][..],
            "takes no --attack-source",
        ),
        (
            &[
                "ws://127.0.0.1:9/",
                "--attack",
                "churn",
                "--attack-publish",
                "PUB x",
            ][..],
            "does not contain {topic}",
        ),
        (
            &["ws://192.0.2.1:9/", "--attack", "deflate"][..],
            "--i-own-the-target",
        ),
        (
            &[&memory[..], &["--attack", "teardrop"]].concat(),
            "there is no attack 'teardrop'",
        ),
        (
            &[&memory[..], &["--attack", "overlap,live=3"]].concat(),
            "has no 'live'",
        ),
        (
            &[
                &memory[..],
                &["--attack", "malformed", "--attack", "malformed"],
            ]
            .concat(),
            "attack malformed is there twice",
        ),
        (
            &[&memory[..], &["--attack-source", "10.66.0.0/16"]].concat(),
            "needs an --attack",
        ),
        (
            &[
                &memory[..],
                &["--attack", "malformed", "--attack-source", "fd66::/64"],
            ]
            .concat(),
            "not of the target's family",
        ),
    ] {
        let done = load(arguments);
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    }
}
