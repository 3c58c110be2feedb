//! EAL for tests: without huge pages or PCI devices, under a file prefix of its own. And `dpdk-port` in other processes.
#![allow(dead_code, unreachable_pub)]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use hioload_dpdk::{Eal, split_arguments};

/// Arguments that need neither root nor huge pages, and `more`. Each call has a file prefix of its own.
pub fn arguments(more: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (process, n) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    format!("--no-pci --no-huge -m 512 --no-telemetry --file-prefix=hl{process}_{n} {more}")
}

/// This process's EAL, started by whoever comes first, never ended.
pub fn eal(more: &str) -> &'static Eal {
    static EAL: OnceLock<Eal> = OnceLock::new();
    EAL.get_or_init(|| {
        let arguments = split_arguments(&arguments(more)).expect("arguments");
        Eal::init(&arguments).unwrap_or_else(|error| panic!("{error}"))
    })
}

/// Whether this is root. In CI, not to be root is a failure; elsewhere the test is skipped, aloud.
pub fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    assert!(
        root || std::env::var_os("CI").is_none(),
        "CI has to be root for this test"
    );
    if !root {
        eprintln!("SKIPPED: needs root");
    }
    root
}

/// What `dpdk-port` said, and how it ended.
#[derive(Debug)]
pub struct Said {
    pub ok: bool,
    pub out: String,
    pub err: String,
}

impl Said {
    /// The number behind `name=` in what it printed.
    pub fn number(&self, name: &str) -> u64 {
        let value = self
            .out
            .split_whitespace()
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let value = value.and_then(|value| value.parse().ok());
        value.unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }
}

/// `dpdk-port` with options and EAL's arguments; `inside` is what to run it by, e.g. `ip netns exec NAME`.
pub fn command(inside: &str, options: &str, eal: &str) -> Command {
    let mut words = inside
        .split_whitespace()
        .chain([env!("CARGO_BIN_EXE_dpdk-port")]);
    let mut command = Command::new(words.next().expect("a program"));
    command
        .args(words)
        .args(options.split_whitespace())
        .arg("--");
    command.args(split_arguments(eal).expect("arguments"));
    command
}

/// Runs it to its end.
pub fn run(options: &str, eal: &str) -> Said {
    let output = command("", options, eal)
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said {
        ok: output.status.success(),
        out: text(&output.stdout),
        err: text(&output.stderr),
    }
}

/// One that runs in the background, until its standard input ends.
pub struct Background {
    child: Child,
    out: BufReader<ChildStdout>,
    /// What it printed when it was ready.
    pub ready: String,
}

impl Background {
    /// Starts it and waits until its port is open.
    pub fn start(inside: &str, options: &str, eal: &str) -> Self {
        let mut command = command(inside, options, eal);
        let command = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut ready = String::new();
        out.read_line(&mut ready).expect("readable");
        if !ready.starts_with("ready") {
            let mut err = String::new();
            let mut stderr = child.stderr.take().expect("piped");
            stderr.read_to_string(&mut err).expect("readable");
            panic!("not ready: {ready}{err}");
        }
        Self { child, out, ready }
    }

    /// Ends its input and waits for its last words.
    pub fn finish(mut self) -> Said {
        drop(self.child.stdin.take());
        let (mut out, mut err) = (String::new(), String::new());
        self.out.read_to_string(&mut out).expect("readable");
        let mut stderr = self.child.stderr.take().expect("piped");
        stderr.read_to_string(&mut err).expect("readable");
        let ok = self.child.wait().expect("it ends").success();
        Said { ok, out, err }
    }

    /// Kills it.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Background {
    /// When a test fails.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
