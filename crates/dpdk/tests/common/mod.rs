//! EAL for tests, without huge pages or PCI devices, with a file prefix of its own; and `dpdk-port` in other processes.
#![allow(dead_code, unreachable_pub)]

pub mod rings;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use hioload_dpdk::{Eal, split_arguments};

/// Arguments that need neither root nor huge pages, followed by `more`. Each call has a file prefix of its own.
pub fn arguments(more: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (process, n) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    format!("--no-pci --no-huge -m 512 --no-telemetry --file-prefix=hl{process}_{n} {more}")
}

/// The EAL of this process. The first call starts it, and it never ends.
pub fn eal(more: &str) -> &'static Eal {
    static EAL: OnceLock<Eal> = OnceLock::new();
    EAL.get_or_init(|| {
        let arguments = split_arguments(&arguments(more)).expect("arguments");
        Eal::init(&arguments).unwrap_or_else(|error| panic!("{error}"))
    })
}

/// Whether the process runs as root. If not, the test is skipped with a message; if `CI` is set in the environment, it fails.
pub fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    assert!(
        root || std::env::var_os("CI").is_none(),
        "this test needs root"
    );
    if !root {
        eprintln!("SKIPPED: needs root");
    }
    root
}

/// The output of `dpdk-port`, and whether it succeeded.
#[derive(Debug)]
pub struct Output {
    pub ok: bool,
    pub out: String,
    pub err: String,
}

impl Output {
    /// The number after `name=` in the output.
    pub fn number(&self, name: &str) -> u64 {
        let value = self
            .out
            .split_whitespace()
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let value = value.and_then(|value| value.parse().ok());
        value.unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }
}

/// A `dpdk-port` command with options and EAL's arguments. `inside` is a command that runs it, such as `ip netns exec NAME`.
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

/// Runs `dpdk-port` to its end.
pub fn run(options: &str, eal: &str) -> Output {
    let output = command("", options, eal)
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Output {
        ok: output.status.success(),
        out: text(&output.stdout),
        err: text(&output.stderr),
    }
}

/// A `dpdk-port` that runs in the background until its standard input ends.
pub struct Background {
    child: Child,
    out: BufReader<ChildStdout>,
    /// The line that it printed when its port was open.
    pub ready: String,
}

impl Background {
    /// Starts `dpdk-port` and waits until its port is open.
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

    /// Ends its standard input, and waits for its end.
    pub fn finish(mut self) -> Output {
        drop(self.child.stdin.take());
        let (mut out, mut err) = (String::new(), String::new());
        self.out.read_to_string(&mut out).expect("readable");
        let mut stderr = self.child.stderr.take().expect("piped");
        stderr.read_to_string(&mut err).expect("readable");
        let ok = self.child.wait().expect("it ends").success();
        Output { ok, out, err }
    }

    /// Kills the process.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Background {
    /// Kills the process after a failed test.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
