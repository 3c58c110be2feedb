//! `hioload serve` and `hioload connect` on DPDK ports.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{env, thread};

use rustix::process::{Pid, Signal, kill_process};

use super::EAL;

/// For anything that has to happen; far more than it needs.
const PATIENCE: Duration = Duration::from_secs(60);

const SERVER: &str = "10.77.0.2";

fn binary() -> OsString {
    env::var_os("HIOLOAD_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_hioload").into())
}

/// Runs the command to its end.
pub(crate) fn hioload(arguments: &[&str]) -> Output {
    let child = Command::new(binary())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    child.wait_with_output().expect("it ends")
}

/// A socket's path of the test's own.
pub(crate) struct Socket(PathBuf);

impl Socket {
    pub(crate) fn new(name: &str) -> Self {
        let name = format!("hioload-{}-{name}", std::process::id());
        Self(env::temp_dir().join(name))
    }

    /// Waits until the other process has created it.
    pub(crate) fn await_made(&self) {
        let until = Instant::now() + PATIENCE;
        while !self.0.exists() {
            assert!(Instant::now() < until, "nobody made {}", self.path());
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn path(&self) -> std::path::Display<'_> {
        self.0.display()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A server on a virtual device; `more` are additional flags.
pub(crate) struct Server {
    child: Child,
    log: Option<thread::JoinHandle<String>>,
}

impl Server {
    /// Starts it, with EAL's usual arguments and `device`, and waits until it listens.
    pub(crate) fn start(device: &str, more: &[&str]) -> Self {
        Self::start_with(&format!("{EAL} --vdev={device}"), more)
    }

    pub(crate) fn start_with(eal: &str, more: &[&str]) -> Self {
        let mut child = Command::new(binary())
            .args(["serve", "--transport", "dpdk", "--dpdk-args", eal])
            .args(["--ip", "10.77.0.2/24", "--ip", "fd77::2/64"])
            .args(["--listen", "10.77.0.2:9001", "--listen", "[fd77::2]:9001"])
            .args(["--control", "none", "--log", "debug"])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut err = child.stderr.take().expect("piped");
        let log = thread::spawn(move || {
            let mut log = Vec::new();
            err.read_to_end(&mut log).expect("readable");
            String::from_utf8_lossy(&log).into_owned()
        });
        let out = child.stdout.take().expect("piped");
        let (said, heard) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(out).read_line(&mut line);
            let _ = said.send(line);
        });
        let mut server = Self {
            child,
            log: Some(log),
        };
        let line = heard.recv_timeout(PATIENCE).unwrap_or_default();
        if !line.contains("(dpdk, ") {
            let _ = server.child.kill();
            let (_, log) = server.ended();
            panic!("it does not listen: {line}{log}");
        }
        server
    }

    /// SIGTERM: it has to end well, with every mbuf accounted for. Gives its log.
    pub(crate) fn stop(mut self) -> String {
        let id = Pid::from_raw(i32::try_from(self.child.id()).expect("small")).expect("not zero");
        kill_process(id, Signal::TERM).expect("it runs");
        let (code, log) = self.ended();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("mbufs are back in their pools"), "{log}");
        log
    }

    /// Waits for its end; gives its code and its log.
    fn ended(&mut self) -> (Option<i32>, String) {
        let until = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            if Instant::now() > until {
                self.child.kill().expect("it runs");
            }
            thread::sleep(Duration::from_millis(10));
        };
        let log = self.log.take().map(|log| log.join().expect("no panic"));
        (status.code(), log.unwrap_or_default())
    }
}

impl Drop for Server {
    /// When a test fails.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn client(device: &str, host: &str, flags: &str) -> Command {
    client_with(&format!("{EAL} --vdev={device}"), host, flags)
}

fn client_with(eal: &str, host: &str, flags: &str) -> Command {
    of_client("connect", eal, host, flags)
}

/// A client's command.
fn of_client(name: &str, eal: &str, host: &str, flags: &str) -> Command {
    let mut command = Command::new(binary());
    command
        .args([name, &format!("ws://{host}:9001/echo")])
        .args(["--transport", "dpdk", "--dpdk-args", eal])
        .args(["--ip", "10.77.0.1/24", "--ip", "fd77::1/64"])
        .args(["--timeout", "60s"])
        .args(flags.split_whitespace())
        .stdin(Stdio::null());
    command
}

/// Starts `connect` on a device.
pub(crate) fn spawn(device: &str, flags: &str) -> Child {
    start(client(device, SERVER, flags))
}

/// `load` on a device; it has to succeed, with every reply right.
pub(crate) fn load(device: &str, flags: &str) {
    let mut command = of_client("load", &format!("{EAL} --vdev={device}"), SERVER, flags);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
}

fn start(mut command: Command) -> Child {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    child.spawn().expect("it starts")
}

/// Waits for the end of `connect`, which has to succeed.
pub(crate) fn finish(client: Child) {
    let output = client.wait_with_output().expect("it ends");
    let out = String::from_utf8_lossy(&output.stdout);
    // An exit code of 0 says that every echo was right, and that every mbuf of the client is back.
    assert!(
        output.status.success() && out.contains("echoes"),
        "{output:?}"
    );
}

/// `connect` on a device, over IPv4; it has to succeed.
pub(crate) fn echoes(device: &str, flags: &str) {
    finish(spawn(device, flags));
}

/// The same over IPv6.
pub(crate) fn echoes_v6(device: &str, flags: &str) {
    finish(start(client(device, "[fd77::2]", flags)));
}

/// The same with all of EAL's arguments.
pub(crate) fn echoes_with(eal: &str, flags: &str) {
    finish(start(client_with(eal, SERVER, flags)));
}
