//! `hioload serve` and signals, with standard streams that fail.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::common::{eventually, wire};
use crate::stand::{Process, State, start};

/// A server on a Unix socket, since its start line may not be readable.
struct Serving {
    process: Process,
    socket: PathBuf,
}

impl Serving {
    fn start(stdin: State, stdout: State, stderr: State, more: &[&str]) -> Self {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let n = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("hioload-process-{}-{n}.sock", std::process::id());
        let socket = std::env::temp_dir().join(name);
        let listen = format!("unix:{}", socket.display());
        let words = [
            "serve",
            "--listen",
            &listen,
            "--lcores",
            "2",
            "--stats",
            "--control",
            "none",
        ];
        let process = start(&[&words, more].concat(), stdin, stdout, stderr);
        let mut serving = Self { process, socket };
        eventually("the server listens", || {
            assert!(serving.process.is_running(), "the server has ended");
            UnixStream::connect(&serving.socket).is_ok()
        });
        serving
    }

    /// Sends a request and returns the answer.
    fn ask(&self, request: &[u8]) -> String {
        let mut stream = UnixStream::connect(&self.socket).expect("the server listens");
        stream.write_all(request).expect("it reads");
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    /// Malformed requests, which are log records, and good ones, which are answered on each lcore. On a busy machine an lcore may
    /// have no CPU for so long that it counts as stalled; one that waits for a stream would remain so.
    fn is_alive(&self, malformed: usize) {
        for _ in 0..malformed {
            let answer = self.ask(b"GET / HTTP/1.1\r\nbad header\r\n\r\n");
            assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        }
        for _ in 0..8 {
            let health = [
                "GET /healthz HTTP/1.1",
                "Host: localhost",
                "Connection: close",
            ];
            eventually("no lcore is stalled", || {
                let answer = self.ask(&wire::request(&health));
                let is_stalled = answer.starts_with("HTTP/1.1 503");
                assert!(is_stalled || answer.starts_with("HTTP/1.1 200"), "{answer}");
                !is_stalled
            });
        }
    }
}

/// The file behind a descriptor.
fn file(process: u32, descriptor: u32) -> PathBuf {
    fs::read_link(format!("/proc/{process}/fd/{descriptor}")).expect("it is open")
}

#[test]
fn it_serves_and_drains_whatever_its_streams_are() {
    for state in State::ALL {
        for signal in [Signal::TERM, Signal::INT] {
            for (stdin, stdout, stderr) in [
                (State::Fine, state, State::Fine),
                (State::Fine, State::Fine, state),
                (State::Closed, state, state),
            ] {
                let mut serving = Serving::start(stdin, stdout, stderr, &["--log", "trace"]);
                serving.is_alive(3);
                serving.process.send(signal);
                let status = serving.process.wait();
                assert_eq!(
                    status.code(),
                    Some(0),
                    "{signal:?}: {stdin:?} {stdout:?} {stderr:?}"
                );
                assert!(!serving.socket.exists(), "it removes its socket");
            }
        }
    }
}

/// More records than a queue holds, for a reader that never reads.
#[test]
fn a_reader_that_stalls_costs_records_and_no_lcore() {
    let mut serving = Serving::start(
        State::Fine,
        State::Stalled,
        State::Stalled,
        &["--log", "trace"],
    );
    let stats = [
        "GET /stats HTTP/1.1",
        "Host: localhost",
        "Connection: close",
    ];
    let lost = || {
        let answer = serving.ask(&wire::request(&stats));
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        let stats: serde_json::Value = serde_json::from_str(body).expect("JSON");
        stats["log_lost"].as_u64().expect("a number")
    };
    eventually("records are lost", || {
        serving.is_alive(200);
        lost() > 0
    });
    serving.is_alive(1);
    serving.process.send(Signal::TERM);
    assert_eq!(serving.process.wait().code(), Some(0));
}

#[test]
fn no_socket_gets_the_number_of_a_stream_that_was_closed() {
    let serving = Serving::start(State::Closed, State::Closed, State::Closed, &[]);
    for descriptor in 0..3 {
        assert_eq!(
            file(serving.process.id(), descriptor),
            Path::new("/dev/null")
        );
    }
    serving.is_alive(1);
}

#[test]
fn a_hangup_is_ignored_and_a_broken_pipe_is_no_signal() {
    let mut serving = Serving::start(State::Fine, State::Fine, State::Gone, &[]);
    for signal in [Signal::HUP, Signal::PIPE, Signal::HUP] {
        serving.process.send(signal);
        serving.is_alive(1);
    }
    serving.process.send(Signal::TERM);
    assert_eq!(serving.process.wait().code(), Some(0));
}
