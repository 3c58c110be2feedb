//! A process whose standard streams are in a certain state.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;
use std::{env, thread};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::common::PATIENCE;

/// The state of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Nothing is wrong.
    Fine,
    /// It is closed when the process starts.
    Closed,
    /// A file on a device without space.
    Full,
    /// A pipe whose reader has ended.
    Gone,
    /// A pipe whose reader ends after the first bytes.
    Early,
    /// A pipe that is full, whose reader reads nothing.
    Stalled,
}

impl State {
    pub const ALL: [Self; 6] = [
        Self::Fine,
        Self::Closed,
        Self::Full,
        Self::Gone,
        Self::Early,
        Self::Stalled,
    ];
}

/// The program under test: that of this build, or the one that HIOLOAD_BIN names.
pub fn binary() -> OsString {
    env::var_os("HIOLOAD_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_hioload").into())
}

/// A running process. Dropping it kills the process.
pub struct Process {
    child: Child,
    /// Readers that must stay.
    _stalled: Vec<PipeReader>,
}

/// Starts the program with standard input closed or not, and with standard output and standard error in these states.
pub fn start(arguments: &[&str], stdin: State, stdout: State, stderr: State) -> Process {
    let redirections: String = [(stdin, "<&-"), (stdout, ">&-"), (stderr, "2>&-")]
        .into_iter()
        .filter(|(state, _)| *state == State::Closed)
        .map(|(_, redirection)| format!(" {redirection}"))
        .collect();
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("exec \"$@\"{redirections}"), "sh"])
        .arg(binary())
        .args(arguments)
        .stdin(Stdio::null());
    let mut stalled = Vec::new();
    command.stdout(stream(stdout, &mut stalled));
    command.stderr(stream(stderr, &mut stalled));
    let child = command.spawn().expect("the program starts");
    Process {
        child,
        _stalled: stalled,
    }
}

fn stream(state: State, stalled: &mut Vec<PipeReader>) -> Stdio {
    if matches!(state, State::Fine | State::Closed) {
        return Stdio::null();
    }
    if state == State::Full {
        let full = File::options().write(true).open("/dev/full");
        return full.expect("Linux has /dev/full").into();
    }
    let (mut reader, mut writer) = io::pipe().expect("a pipe");
    match state {
        State::Gone => drop(reader),
        State::Early => drop(thread::spawn(move || {
            // As `head -c 1` does.
            let _ = reader.read(&mut [0]);
        })),
        _ => {
            fill(&mut writer);
            stalled.push(reader);
        }
    }
    OwnedFd::from(writer).into()
}

fn fill(pipe: &mut io::PipeWriter) {
    let flags = fcntl_getfl(&*pipe).expect("flags");
    fcntl_setfl(&*pipe, flags | OFlags::NONBLOCK).expect("flags");
    while pipe.write(&[b'x'; 4096]).is_ok() {}
    while pipe.write(b"x").is_ok() {}
    fcntl_setfl(&*pipe, flags).expect("flags");
}

impl Process {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn send(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the process is alive");
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_none()
    }

    /// Waits for the end; panics if there is none.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait().expect("a child of ours") {
                Some(status) => return status,
                None if Instant::now() < deadline => thread::sleep(PAUSE),
                None => panic!("the process does not end"),
            }
        }
    }
}

const PAUSE: std::time::Duration = std::time::Duration::from_millis(5);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
