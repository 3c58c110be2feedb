//! The service manager: sockets that it passes (sd_listen_fds(3)), and what it is told (sd_notify(3)).

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{eventually, wire};
use crate::stand::binary;

/// Words of the shell that make this process the one that the sockets are for.
const OURS: &str = "LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=web:local";

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!(
        "hioload-process-{name}-{}.sock",
        std::process::id()
    ))
}

/// `hioload serve` with two passed descriptors, which reach the shell as its standard input and standard error. `stderr` says where
/// the standard error of the server goes.
fn serve(environment: &str, passed: [OwnedFd; 2], arguments: &[&str], stderr: &str) -> Command {
    let [first, second] = passed;
    let script = format!("exec 3<&0 4<&2 </dev/null 2>{stderr}; {environment} exec \"$@\"");
    let mut command = Command::new("sh");
    command
        .args(["-c", &script, "sh"])
        .arg(binary())
        .args(["serve", "--control", "none", "--lcores", "2"])
        .args(arguments)
        .stdin(Stdio::from(first))
        .stderr(Stdio::from(second))
        .stdout(Stdio::piped());
    command
}

/// A server that was started with passed sockets. Dropping it kills it.
struct Activated {
    child: Child,
    start_line: String,
}

impl Activated {
    fn start(environment: &str, passed: [OwnedFd; 2], arguments: &[&str]) -> Self {
        let mut child = serve(environment, passed, arguments, "/dev/null")
            .spawn()
            .expect("sh starts");
        let mut start_line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout)
            .read_line(&mut start_line)
            .expect("a line");
        Self { child, start_line }
    }

    fn end(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it is alive");
        let status = self.child.wait().expect("a child of ours");
        assert_eq!(status.code(), Some(0));
    }
}

impl Drop for Activated {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_healthy(mut stream: impl Read + Write) -> bool {
    let health = [
        "GET /healthz HTTP/1.1",
        "Host: localhost",
        "Connection: close",
    ];
    stream.write_all(&wire::request(&health)).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer.starts_with("HTTP/1.1 200")
}

/// The line of a server that cannot start.
fn complaint(environment: &str, passed: [OwnedFd; 2], listen: &str) -> String {
    let output = serve(environment, passed, &["--listen", listen], "&1")
        .output()
        .expect("sh starts");
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

fn tcp() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a free port")
}

fn two() -> [OwnedFd; 2] {
    [tcp().into(), tcp().into()]
}

#[test]
fn passed_sockets_are_served_by_all_lcores_and_stay() {
    for (name, arguments) in [("chosen", &["--listen", "systemd"][..]), ("default", &[])] {
        let (web, local) = (tcp(), path(name));
        let _ = fs::remove_file(&local);
        let unix = UnixListener::bind(&local).expect("a socket");
        let addr = web.local_addr().expect("bound");
        let server = Activated::start(OURS, [web.into(), unix.into()], arguments);
        let expected = format!(
            "ws://{addr}, ws+unix:{} (sockets, 2 lcores)",
            local.display()
        );
        assert!(
            server.start_line.contains(&expected),
            "{}",
            server.start_line
        );
        for _ in 0..20 {
            assert!(is_healthy(TcpStream::connect(addr).expect("it listens")));
            assert!(is_healthy(UnixStream::connect(&local).expect("it listens")));
        }
        // No child would inherit them: O_CLOEXEC.
        for descriptor in [3, 4] {
            let info = format!("/proc/{}/fdinfo/{descriptor}", server.child.id());
            let info = fs::read_to_string(info).expect("it is open");
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
            let flags = u32::from_str_radix(flags.expect("flags").trim(), 8).expect("octal");
            assert_ne!(flags & 0o2_000_000, 0, "descriptor {descriptor}: {flags:o}");
        }
        server.end();
        assert!(local.exists(), "the file is the manager's");
        fs::remove_file(&local).expect("the socket");
    }
}

#[test]
fn a_socket_is_chosen_by_its_name() {
    let (web, other) = (tcp(), tcp());
    let addr = web.local_addr().expect("bound");
    let passed = [web.into(), other.into()];
    let server = Activated::start(OURS, passed, &["--listen", "systemd:web"]);
    let line = &server.start_line;
    assert!(line.contains(&format!("ws://{addr} (")), "{line}");
    assert!(is_healthy(TcpStream::connect(addr).expect("it listens")));
    server.end();
}

/// Sockets that are for another process are not touched.
#[test]
fn sockets_of_another_process_are_left_alone() {
    let others = "LISTEN_PID=1 LISTEN_FDS=2";
    let server = Activated::start(others, two(), &["--listen", "127.0.0.1:0"]);
    let line = &server.start_line;
    assert!(line.contains("ws://127.0.0.1:"), "{line}");
    server.end();
    let said = complaint(others, two(), "systemd");
    assert!(said.contains("no sockets were passed"), "{said}");
}

#[test]
fn what_cannot_be_listened_on_is_reported() {
    let said = complaint(OURS, two(), "systemd:mail");
    assert!(
        said.contains("systemd:mail") && said.contains("web, local"),
        "{said}"
    );
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let silent = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let file = fs::File::open("/dev/null").expect("Linux has it");
    for second in [
        OwnedFd::from(udp),
        OwnedFd::from(silent.expect("a socket")),
        OwnedFd::from(file),
    ] {
        let said = complaint(OURS, [tcp().into(), second], "systemd");
        assert!(
            said.contains("descriptor 4 (local)") && said.contains("that listens"),
            "{said}"
        );
    }
}

#[test]
fn the_manager_is_told_of_the_start_the_turns_and_the_end() {
    let at = path("notify");
    let _ = fs::remove_file(&at);
    let manager = UnixDatagram::bind(&at).expect("a socket");
    let environment = format!(
        "LISTEN_PID=1 NOTIFY_SOCKET={} WATCHDOG_USEC=50000 WATCHDOG_PID=$$",
        at.display()
    );
    let server = Activated::start(&environment, two(), &["--listen", "127.0.0.1:0"]);
    let told = || {
        let mut state = [0; 64];
        let len = manager.recv(&mut state).expect("a state");
        String::from_utf8_lossy(&state[..len]).into_owned()
    };
    assert_eq!(told(), "READY=1");
    assert_eq!(told(), "WATCHDOG=1");
    assert_eq!(told(), "WATCHDOG=1");
    server.end();
    eventually("the drain is told", || told() == "STOPPING=1");
    fs::remove_file(&at).expect("the socket");
}
