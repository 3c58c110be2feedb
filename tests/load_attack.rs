//! `hioload load --attack` as a process: both parts of a repeat over devices in memory, and wrong arguments.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

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

#[test]
fn an_impossible_request_is_one_line_and_code_2() {
    let memory = ["--transport", "memory"];
    for (arguments, says) in [
        (
            &["ws://127.0.0.1:9/", "--attack", "syn-flood"][..],
            "needs --transport",
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
