//! The subcommands that end by themselves: whatever the streams are, each does its work, ends with its usual code, and writes its files.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;

use crate::common::{Server, eventually, run};
use crate::stand::{State, start};

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("hioload-process-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder can be made");
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs a command with each stream in each state. The code is always `code`, except that a result that cannot be written for lack
/// of space is code 1.
fn check(arguments: &[&str], code: i32, is_result: bool) {
    for state in State::ALL {
        let ended = |stdin, stdout, stderr| {
            // A reader of results is waited for.
            let mut process = start(arguments, stdin, stdout, stderr);
            let status = process.wait();
            assert!(
                status.code().is_some(),
                "{arguments:?} with {state:?}: {status}"
            );
            status.code()
        };
        if state != State::Stalled {
            let expected = match state {
                State::Full if is_result => 1,
                _ => code,
            };
            let got = ended(State::Fine, state, State::Fine);
            assert_eq!(got, Some(expected), "{arguments:?}: stdout {state:?}");
        }
        let got = ended(State::Fine, State::Fine, state);
        assert_eq!(got, Some(code), "{arguments:?}: stderr {state:?}");
    }
    let all = start(arguments, State::Closed, State::Closed, State::Closed).wait();
    assert_eq!(all.code(), Some(code), "{arguments:?}: all closed");
    let gone = start(arguments, State::Fine, State::Gone, State::Gone).wait();
    assert_eq!(gone.code(), Some(code), "{arguments:?}: both gone");
}

#[test]
fn help_and_errors_of_usage() {
    check(&["--help"], 0, false);
    check(&["serve", "--help"], 0, false);
    check(&["--version"], 0, false);
    check(&["serve", "--no-such-flag"], 2, false);
    check(&["dance"], 2, false);
}

#[test]
fn the_reference_of_the_settings() {
    check(&["config", "reference"], 0, true);
    check(&["config", "reference", "--format", "markdown"], 0, true);
}

#[test]
fn checks_of_the_machine() {
    for transport in ["af-xdp", "dpdk"] {
        let code = run(&["check", "--transport", transport]).status.code();
        check(
            &["check", "--transport", transport],
            code.expect("a code"),
            false,
        );
        check(
            &["check", "--transport", transport, "--json"],
            code.expect("a code"),
            true,
        );
    }
}

#[test]
fn certificates_and_keys_of_tickets() {
    let folder = Folder::new("cert");
    let files = folder.file("dev");
    let dev = ["cert", "dev", "--dir", &files, "--name", "a.example"];
    check(&dev, 0, true);
    let made = || {
        let read = |name: &str| fs::read_to_string(format!("{files}/{name}")).expect("a file");
        ["ca.pem", "cert.pem", "key.pem"].map(read)
    };
    let first = made();
    let output = run(&dev);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    for part in [
        &*files,
        "ca.pem",
        "cert.pem",
        "key.pem",
        "SHA-256",
        "valid until",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let shown = text + &String::from_utf8_lossy(&output.stderr);
    assert!(!shown.contains("PRIVATE KEY"));
    assert_eq!(made(), first, "it is kept");
    let renew = [&dev[..], &["--renew"]].concat();
    assert_eq!(run(&renew).status.code(), Some(0));
    assert_ne!(made(), first);
    check(&["cert", "dev", "--dir", &files, "--name", "a b"], 1, false);

    let tickets = folder.file("tickets");
    check(&["cert", "tickets", &tickets, "--period", "1h"], 0, true);
    let text = fs::read_to_string(&tickets).expect("a file");
    let settings: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(settings[..2], ["hioload-ticket-keys 1", "period 3600"]);
    check(&["cert", "tickets", &tickets, "--period", "2h"], 1, false);
    check(
        &["cert", "tickets", &tickets, "--period", "1000h"],
        2,
        false,
    );
}

#[test]
fn a_check_of_a_configuration_reads_its_certificates() {
    let folder = Folder::new("check-config");
    let files = folder.file("dev");
    let made = run(&["cert", "dev", "--dir", &files, "--name", "a.example"]);
    assert_eq!(made.status.code(), Some(0));
    let (good, bad) = (folder.file("good.toml"), folder.file("bad.toml"));
    let section = |path: &str| format!("[tls]\ntls_certificate = [\"{path}\"]\n");
    fs::write(&good, section(&files)).expect("a file");
    fs::write(&bad, section(&folder.file("nothing"))).expect("a file");
    let findings = |config: &str| {
        let output = run(&["check", "--config", config, "--json"]);
        let all: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let about = |finding: &&serde_json::Value| {
            matches!(finding["subject"].as_str(), Some("TLS" | "certificate"))
        };
        let found = all.as_array().expect("a list").iter().find(about).cloned();
        (found.expect("a finding of TLS"), output.status.code())
    };
    let (found, _) = findings(&good);
    assert_eq!(found["level"], "ok", "{found}");
    assert!(found.to_string().contains("a.example"), "{found}");
    let (found, code) = findings(&bad);
    assert_eq!((found["level"].as_str(), code), (Some("missing"), Some(1)));
    assert!(found.to_string().contains("nothing"), "{found}");
}

#[test]
fn questions_to_a_server() {
    let folder = Folder::new("control");
    let control = folder.file("control.sock");
    let server = Server::start(&["--control", &control]);
    check(&["flows", "--socket", &control], 0, false);
    check(&["flows", "--json", "--socket", &control], 0, false);
    check(&["tap", "stop", "--socket", &control], 1, false);
    let recording = folder.file("x.pcapng");
    check(
        &["tap", "start", "--file", &recording, "--socket", &control],
        1,
        false,
    );
    check(&["flows", "--socket", &folder.file("nobody")], 2, false);
    drop(server);
}

#[test]
fn connections_of_a_client() {
    let server = Server::start(&[]);
    let url = format!("ws://{}/echo", server.addr());
    check(&["connect", &url, "--count", "10"], 0, false);
    check(
        &[
            "connect",
            &format!("ws://{}/nothing", server.addr()),
            "--count",
            "10",
        ],
        1,
        false,
    );
}

/// The JSON and the page of a load, which must be whole.
fn assert_whole(json: &str, page: &str) {
    let text = fs::read(json).expect("the JSON was written");
    let report: serde_json::Value = serde_json::from_slice(&text).expect("it is whole");
    assert_eq!(report["runs"].as_array().map(Vec::len), Some(1));
    let page = fs::read_to_string(page).expect("the page was written");
    assert!(page.trim_end().ends_with("</html>"), "the page is whole");
}

fn load<'a>(url: &'a str, json: &'a str, page: &'a str) -> Vec<&'a str> {
    let words = [
        "load",
        url,
        "--connections",
        "2",
        "--duration",
        "1100ms",
        "--warmup",
        "0",
    ];
    [&words[..], &["--json", json, "--report", page]].concat()
}

#[test]
fn a_load_and_its_files() {
    let folder = Folder::new("load");
    let server = Server::start(&[]);
    let url = format!("ws://{}/echo", server.addr());
    let (json, page) = (folder.file("a.json"), folder.file("a.html"));
    for state in State::ALL {
        for (stdout, stderr) in [(state, State::Fine), (State::Fine, state), (state, state)] {
            if stdout == State::Stalled {
                continue;
            }
            let _ = fs::remove_file(&json);
            let _ = fs::remove_file(&page);
            // It runs long enough for a line of progress.
            let mut words = load(&url, &json, &page);
            words.extend(["--require", "errors==0,p50<1ns"]);
            let status = start(&words, State::Closed, stdout, stderr).wait();
            assert_eq!(
                status.code(),
                Some(1),
                "{stdout:?} {stderr:?}: the condition"
            );
            assert_whole(&json, &page);
        }
    }
    // A reader of standard output that waits does not delay the files.
    let _ = fs::remove_file(&json);
    let _ = fs::remove_file(&page);
    let mut stalled = start(
        &load(&url, &json, &page),
        State::Fine,
        State::Stalled,
        State::Stalled,
    );
    eventually("the files are written", || {
        fs::read_to_string(&page).is_ok_and(|page| page.trim_end().ends_with("</html>"))
    });
    assert_whole(&json, &page);
    assert!(
        stalled.is_running(),
        "it waits for the reader of its summary"
    );
}

#[test]
fn a_load_whose_json_goes_to_standard_output() {
    let folder = Folder::new("stdout");
    let server = Server::start(&[]);
    let url = format!("ws://{}/echo", server.addr());
    let page = folder.file("a.html");
    for (state, code) in [
        (State::Fine, 0),
        (State::Closed, 0),
        (State::Gone, 0),
        (State::Early, 0),
        (State::Full, 1),
    ] {
        let _ = fs::remove_file(&page);
        let words = load(&url, "-", &page);
        let status = start(&words, State::Fine, state, State::Gone).wait();
        assert_eq!(status.code(), Some(code), "{state:?}");
        let page = fs::read_to_string(&page).expect("the page was written");
        assert!(
            page.trim_end().ends_with("</html>"),
            "{state:?}: the page is whole"
        );
    }
}

/// The end of the terminal ends a load as Ctrl-C does: with its files.
#[test]
fn a_load_that_is_ended_by_a_signal_writes_its_files() {
    let folder = Folder::new("signal");
    let server = Server::start(&[]);
    let url = format!("ws://{}/echo", server.addr());
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let (json, page) = (folder.file("a.json"), folder.file("a.html"));
        let _ = fs::remove_file(&json);
        let mut words = load(&url, &json, &page);
        words[5] = "10m";
        let opened = server.counter("opened");
        let mut process = start(&words, State::Fine, State::Gone, State::Gone);
        eventually("the load runs", || {
            server.counter("opened") >= opened + 2 && server.counter("messages_in") > 0
        });
        process.send(signal);
        assert!(process.wait().code().is_some(), "{signal:?}");
        assert_whole(&json, &page);
    }
}

#[test]
fn work_on_reports() {
    let folder = Folder::new("reports");
    let server = Server::start(&[]);
    let url = format!("ws://{}/echo", server.addr());
    let (json, page) = (folder.file("a.json"), folder.file("a.html"));
    let written = run(&load(&url, &json, &page)).status.code();
    assert_eq!(written, Some(0));
    check(&["load", "compare", &json, &json], 0, false);
    check(&["load", "compare", &json, &json, "--json", "-"], 0, true);
    check(&["load", "plot", &json, "--out", "-"], 0, true);
    check(&["load", "page", &json, "--out", "-"], 0, true);
    check(
        &["load", "compare", &json, &folder.file("nothing")],
        2,
        false,
    );
}

/// A long result meets a reader that ends early in its middle, and a disk with little space.
#[test]
fn a_file_that_may_not_grow_is_an_error_and_no_signal() {
    let folder = Folder::new("limit");
    let out = folder.file("reference.md");
    let script = format!("ulimit -f 1; exec \"$0\" config reference > {out}");
    let binary = std::env::var_os("HIOLOAD_BIN");
    let binary = binary.unwrap_or_else(|| env!("CARGO_BIN_EXE_hioload").into());
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .arg(binary)
        .output()
        .expect("sh runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("standard output"), "{said}");
}
