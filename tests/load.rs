//! `hioload load` as a process: every scenario, on sockets and in memory, and one line for each error. The tests assert nothing about
//! speed.

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Output;
use std::{env, fs, process, thread};

use common::{Server, run};
use serde_json::Value;

/// Every scenario, small.
const SCENARIOS: &[&[&str]] = &[
    &["--scenario=echo", "--in-flight=16"],
    &[
        "--scenario=echo",
        "--text",
        "--size=0..2000",
        "--fragments=3",
    ],
    &[
        "--scenario=echo",
        "--deflate",
        "--text",
        "--size=64:9,5000:1",
    ],
    &["--scenario=echo", "--verify=length", "--connections=200"],
    &["--scenario=rate", "--rate=2000"],
    &[
        "--scenario=rate",
        "--rate=1k",
        "--arrival=poisson",
        "--in-flight=2",
    ],
    &["--scenario=ramp", "--connections=300", "--duration=60s"],
    &[
        "--scenario=ramp",
        "--connections=100",
        "--rate=400",
        "--duration=60s",
    ],
    &["--scenario=hold", "--connections=300"],
    &["--scenario=churn", "--connections=8", "--echoes=3"],
    &["--scenario=fanout", "--connections=30", "--in-flight=4"],
    &[
        "--scenario=fanout",
        "--connections=30",
        "--topics=3",
        "--publishers=2",
        "--rate=300",
    ],
    &[
        "--scenario=bulk",
        "--size=100KiB",
        "--connections=2",
        "--duration=5s",
    ],
];

/// Runs it; the report, if it wrote one.
fn load(arguments: &[&str], name: &str) -> (Output, Option<Value>) {
    let path = env::temp_dir().join(format!("hioload-load-{}-{name}.json", process::id()));
    let json = format!("--json={}", path.display());
    let short = ["--duration=500ms", "--warmup=200ms"];
    let given = |flag: &str| {
        let name = flag.split('=').next().unwrap_or(flag);
        arguments.iter().any(|word| word.starts_with(name))
    };
    let defaults = short.into_iter().filter(|flag| !given(flag));
    let words: Vec<&str> = ["load"]
        .into_iter()
        .chain(arguments.iter().copied())
        .chain(defaults)
        .chain([json.as_str()])
        .collect();
    let output = run(&words);
    let report = fs::read_to_string(&path).ok();
    let _ = fs::remove_file(&path);
    let report = report.map(|text| serde_json::from_str(&text).expect("the report is JSON"));
    (output, report)
}

fn passes(arguments: &[&str], name: &str) {
    let (output, report) = load(arguments, name);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    let report = report.expect("a report");
    let run = &report["runs"][0];
    let number = |value: &Value| value.as_f64().unwrap_or(0.0);
    let scenario = report["plan"]["scenario"].as_str().expect("a scenario");
    assert!(
        scenario == "hold" || number(&run["done"]) > 0.0,
        "{arguments:?}: {run}"
    );
    assert_eq!(run["errors"], serde_json::json!({}), "{arguments:?}");
    let times = match scenario {
        "hold" | "ramp" => &run["handshake"],
        _ => &run["latency"],
    };
    assert!(number(&times["count"]) > 0.0, "{arguments:?}: {run}");
    assert!(number(&times["p50"]) <= number(&times["p99"]));
    let open_loop =
        scenario == "rate" || (scenario == "fanout" && !report["plan"]["rate"].is_null());
    let hold = matches!(scenario, "hold" | "ramp");
    assert!(
        hold || times["from_due"].as_bool() == Some(open_loop),
        "{run}"
    );
    assert!(
        run["series"]
            .as_array()
            .is_some_and(|series| !series.is_empty())
    );
    assert!(run["bottleneck"].is_string());
}

#[test]
fn every_scenario_runs_on_sockets() {
    let server = Server::start(&[]);
    let echo = format!("ws://{}/echo", server.addr());
    let topics = format!("ws://{}/topics", server.addr());
    for scenario in SCENARIOS {
        let fanout = scenario[0].ends_with("fanout");
        let url = if fanout { &topics } else { &echo };
        passes(&[&[url.as_str()], *scenario].concat(), "sockets");
    }
}

#[test]
fn every_scenario_runs_in_memory() {
    for scenario in SCENARIOS {
        passes(&[&["--transport=memory"], *scenario].concat(), "memory");
    }
}

#[test]
fn a_server_of_this_machine_is_measured_and_repeats_are_reported() {
    let server = Server::start(&[]);
    let url = format!("ws://{}/echo", server.addr());
    let pid = format!("--server-pid={}", server.id());
    let (output, report) = load(&[&url, "--repeat=2", "--lcores=2", &pid], "pid");
    assert!(output.status.success());
    let report = report.expect("a report");
    let runs = report["runs"].as_array().expect("runs");
    assert_eq!(runs.len(), 2);
    for run in runs {
        for side in ["generator", "server"] {
            assert!(run[side]["cpu_per_done"].as_f64() > Some(0.0), "{run}");
            assert!(run[side]["rss"].as_u64() > Some(1_000_000), "{run}");
        }
    }
    assert_eq!(report["plan"]["lcores"], 2);
}

/// The one line that a failed run says, and its code.
fn failure(arguments: &[&str]) -> (i32, String) {
    let (output, _) = load(arguments, "failure");
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("hioload: "))
        .collect();
    assert_eq!(lines.len(), 1, "{said}");
    (output.status.code().unwrap_or(-1), lines[0].to_owned())
}

/// A listener whose connections are handed to `serve`; gives its URL.
fn peer(serve: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("ws://{}/x", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            serve(stream);
        }
    });
    url
}

fn read_some(stream: &mut TcpStream) {
    let _ = stream.read(&mut [0; 4096]);
}

#[test]
fn a_usage_error_is_one_line() {
    let refused = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        format!("ws://{}/", listener.local_addr().expect("an address"))
    };
    let tls = peer(|mut stream| {
        read_some(&mut stream);
        // A fatal alert of TLS 1.2: unexpected message.
        let _ = stream.write_all(b"\x15\x03\x03\x00\x02\x02\x0a");
    });
    let ended = peer(|mut stream| read_some(&mut stream));
    let reset = peer(|stream| {
        let socket = socket2::SockRef::from(&stream);
        socket
            .set_linger(Some(std::time::Duration::ZERO))
            .expect("an option");
    });
    let http = peer(|mut stream| {
        read_some(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    });
    for (url, code, part) in [
        (refused.as_str(), 1, "refused"),
        ("wss://127.0.0.1:9/", 1, "refused"),
        ("http://127.0.0.1:9/", 2, "ws://"),
        (tls.as_str(), 1, "TLS"),
        (ended.as_str(), 1, "ended the connection"),
        (reset.as_str(), 1, "reset"),
        (http.as_str(), 1, "404"),
    ] {
        let (came, line) = failure(&[url]);
        assert!(came == code && line.contains(part), "{url}: {came} {line}");
    }
    let url = refused.as_str();
    for (arguments, part) in [
        (&["--scenario=rate"][..], "needs a --rate"),
        (&["--scenario=echo", "--rate=5"], "takes no --rate"),
        (&["--connections=16000000"], "file descriptors"),
        (&["--size=9..1"], "ends before it begins"),
        (&["--scenario=dance"], "none of"),
        (&["--server-pid=4294967295"], "no such process"),
        (&["--lcores=3", "--connections=2"], "3 lcores"),
        (&["--tap=/dev/null"], "--tap records"),
    ] {
        let (code, line) = failure(&[&[url], arguments].concat());
        assert!(
            code == 2 && line.contains(part),
            "{arguments:?}: {code} {line}"
        );
    }
    assert_eq!(failure(&[]).0, 2);
}

#[test]
fn packets_are_recorded_to_a_new_file() {
    let path = env::temp_dir().join(format!("hioload-load-{}.pcapng", process::id()));
    let tap = format!("--tap={}", path.display());
    let words = ["--transport=memory", "--scenario=rate", "--rate=500", &tap];
    let (output, report) = load(&words, "tap");
    assert!(output.status.success(), "{output:?}");
    let run = &report.expect("a report")["runs"][0];
    let counter = |name: &str| run["extra"][name].as_f64().expect("a counter");
    // Each message is in a packet, and so is its reply.
    let least = 2.0 * run["sent"].as_f64().expect("a count");
    assert!(counter("tap_packets") >= least && counter("tap_lost") == 0.0);
    let bytes = fs::read(&path).expect("the capture");
    assert!(bytes.starts_with(b"\x0a\x0d\x0d\x0a"));
    let (code, line) = failure(&words);
    assert!(code == 2 && line.contains("exists"), "{line}");
    assert_eq!(fs::read(&path).expect("the capture"), bytes);
    let attack = [&words[..], &["--attack=syn-flood"]].concat();
    let (code, line) = failure(&attack);
    assert!(code == 2 && line.contains("exclude each other"), "{line}");
    fs::remove_file(&path).expect("the capture");
}

#[test]
fn a_server_that_ends_fails_the_run() {
    let server = Server::start(&[]);
    let url = format!("ws://{}/echo", server.addr());
    let loads = thread::spawn(move || load(&[&url, "--duration=60s"], "away"));
    common::eventually("the load has begun", || server.counter("messages_in") > 100);
    server.terminate();
    let (output, report) = loads.join().expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    let report = report.expect("a report all the same");
    let errors = report["runs"][0]["errors"].as_object().expect("errors");
    assert!(!errors.is_empty());
}
