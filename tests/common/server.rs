//! The server as a process.
//!
//! By default it listens on a free port of 127.0.0.1. Three environment variables change that, so that the same tests run against a
//! server behind another interface or on another transport (`tests/netns` sets them):
//!
//! - `HIOLOAD_TEST_SERVER_PREFIX`: words before the command, such as `ip netns exec NAME`. They must exec the program, not start
//!   it: the tests use the process id of the child.
//! - `HIOLOAD_TEST_SERVE_ARGS`: the arguments of the listener and the transport, in place of the default ones.
//! - `HIOLOAD_TEST_SOURCES`: addresses of the clients, separated by commas, in place of 127.0.0.1 and the following ones.
//!
//! A fourth one, `HIOLOAD_TEST_TLS`, puts TLS between the server and its clients; see `secured.rs`.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use std::{env, fs, thread};

use rustix::process::{Pid, Signal, kill_process};
use rustls::ClientConfig;

use super::secured::secured;
use super::{Client, PATIENCE, wire};

/// The program under test: that of this build, or the one that HIOLOAD_BIN names.
pub(super) fn binary() -> OsString {
    env::var_os("HIOLOAD_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_hioload").into())
}

/// Runs the program to its end.
pub fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    let child = command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = child.spawn().expect("the program starts");
    wait(&mut child);
    child.wait_with_output().expect("its output")
}

/// A running `hioload serve`. Dropping it kills the process, and prints its log if the test has failed.
pub struct Server {
    child: Child,
    addr: SocketAddr,
    start_line: String,
    log: Arc<Mutex<String>>,
    tls: Option<Arc<ClientConfig>>,
}

impl Server {
    /// Starts a server with one lcore, or as many as `flags` want, and its counters on a free port of 127.0.0.1, or where the
    /// environment says, with its number of lcores; `flags` come on top.
    pub fn start(flags: &[&str]) -> Self {
        let mut command = serve(flags);
        command.arg("--stats");
        if let Some(secured) = secured() {
            command.args(secured.serve());
        }
        Self::spawn(
            &mut command,
            secured().map(|secured| Arc::clone(secured.config())),
        )
    }

    /// Starts a server on this machine with these flags alone, without TLS. They say where it listens: first at an IP address.
    pub fn start_anywhere(flags: &[&str]) -> Self {
        Self::spawn(Command::new(binary()).arg("serve").args(flags), None)
    }

    fn spawn(command: &mut Command, tls: Option<Arc<ClientConfig>>) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let log = collect(child.stderr.take().expect("piped"));
        let mut start_line = String::new();
        let read = BufReader::new(child.stdout.take().expect("piped")).read_line(&mut start_line);
        let scheme = if tls.is_some() { "wss://" } else { "ws://" };
        let addr = start_line.split_once(scheme).and_then(|(_, rest)| {
            let end = rest
                .find(|c: char| c.is_whitespace() || "/,".contains(c))
                .unwrap_or(rest.len());
            rest[..end].parse().ok()
        });
        let server = Self {
            child,
            addr: addr.unwrap_or(([0; 4], 0).into()),
            start_line,
            log,
            tls,
        };
        assert!(
            read.is_ok() && addr.is_some(),
            "the server did not start; it printed {:?}",
            server.start_line
        );
        server
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How its clients speak TLS, if they do.
    pub fn secured(&self) -> Option<&Arc<ClientConfig>> {
        self.tls.as_ref()
    }

    /// The scheme of its page, and that of its WebSockets.
    pub fn schemes(&self) -> (&'static str, &'static str) {
        if self.tls.is_some() {
            ("https", "wss")
        } else {
            ("http", "ws")
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The start line.
    pub fn start_line(&self) -> &str {
        &self.start_line
    }

    /// How often the log has a text.
    pub fn log_count(&self, text: &str) -> usize {
        let log = self.log.lock().expect("not poisoned");
        log.matches(text).count()
    }

    /// Physical memory in use now, in bytes.
    pub fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most physical memory that was ever in use, in bytes.
    pub fn peak_memory(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, field: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .expect("the server is alive");
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(field))
            .expect("the field exists");
        line.trim()
            .trim_end_matches("kB")
            .trim()
            .parse::<u64>()
            .expect("a number")
            * 1024
    }

    /// One of the server's own counters; panics if it has no such counter or does not let us in to ask.
    pub fn counter(&self, name: &str) -> u64 {
        let text = self.counters();
        let counters: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        counters[name]
            .as_u64()
            .unwrap_or_else(|| panic!("no counter {name} in {text}"))
    }

    /// All of them, as JSON.
    pub fn counters(&self) -> String {
        let request = wire::request(&["GET /stats HTTP/1.1", "Host: localhost"]);
        Client::connect(self).ask(&request).body
    }

    /// Whether each of its connections is a file descriptor, as on sockets.
    pub fn has_sockets(&self) -> bool {
        over_sockets()
    }

    /// Whether its address is one of this network namespace.
    pub fn is_here(&self) -> bool {
        words("HIOLOAD_TEST_SERVER_PREFIX").is_none()
    }

    /// What it keeps open for its clients: its file descriptors, or, where connections are none, the connections it counts.
    pub fn held(&self) -> usize {
        if !self.has_sockets() {
            let counters: serde_json::Value =
                serde_json::from_str(&self.counters()).unwrap_or_default();
            return counters["open"]
                .as_u64()
                .map_or(usize::MAX, |open| open as usize);
        }
        fs::read_dir(format!("/proc/{}/fd", self.child.id()))
            .expect("the server is alive")
            .count()
    }

    /// The `nth` address, from 1, that a client may connect from.
    pub fn source(&self, nth: u8) -> IpAddr {
        source(nth)
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).expect("the server is alive");
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_none()
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self) -> ExitStatus {
        wait(&mut self.child)
    }
}

/// The `nth` address, from 1, that a client may connect from.
pub fn source(nth: u8) -> IpAddr {
    let Ok(list) = env::var("HIOLOAD_TEST_SOURCES") else {
        return Ipv4Addr::new(127, 0, 0, nth).into();
    };
    let address = list.split(',').nth(usize::from(nth) - 1);
    address
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("no address {nth} in {list}"))
}

/// The command with the flags of a test.
fn serve(flags: &[&str]) -> Command {
    let mut command = match words("HIOLOAD_TEST_SERVER_PREFIX") {
        Some(prefix) => {
            let mut command = Command::new(&prefix[0]);
            command.args(&prefix[1..]).arg(binary());
            command
        }
        None => Command::new(binary()),
    };
    command.arg("serve");
    let lcores = flags.iter().position(|flag| *flag == "--lcores");
    let rest: Vec<&str> = match lcores {
        Some(at) => [&flags[..at], &flags[at + 2..]].concat(),
        None => flags.to_vec(),
    };
    match words("HIOLOAD_TEST_SERVE_ARGS") {
        Some(arguments) => command.args(arguments),
        None => {
            let count = lcores.map_or("1", |at| flags[at + 1]);
            command.args(["--listen", "127.0.0.1:0", "--lcores", count])
        }
    };
    command.args(rest);
    command
}

/// Whether the server of a test is on the kernel's sockets.
pub fn over_sockets() -> bool {
    !words("HIOLOAD_TEST_SERVE_ARGS").is_some_and(|words| {
        words
            .windows(2)
            .any(|pair| pair[0] == "--transport" && pair[1] != "sockets")
    })
}

/// The words of a variable of the environment, if it has any: one a line, or, in a single line, with white space between.
fn words(variable: &str) -> Option<Vec<String>> {
    let text = env::var(variable).ok()?;
    let words: Vec<String> = if text.contains('\n') {
        text.lines().map(str::to_owned).collect()
    } else {
        text.split_whitespace().map(str::to_owned).collect()
    };
    (!words.is_empty()).then_some(words)
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!(
                "the server's log:\n{}",
                self.log.lock().expect("not poisoned")
            );
        }
    }
}

fn wait(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    let mut status = None;
    while status.is_none() && Instant::now() < deadline {
        thread::sleep(std::time::Duration::from_millis(10));
        status = child.try_wait().expect("a child of ours");
    }
    status.unwrap_or_else(|| {
        let _ = child.kill();
        panic!("the program did not end");
    })
}

fn collect(mut stream: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let log = Arc::new(Mutex::new(String::new()));
    let sink = Arc::clone(&log);
    thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(len @ 1..) = stream.read(&mut piece) {
            sink.lock()
                .expect("not poisoned")
                .push_str(&String::from_utf8_lossy(&piece[..len]));
        }
    });
    log
}
