//! The control socket of a running server, and the subcommands that use it.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::{fs, thread};

use crate::common::{Server, run};

fn socket(name: &str) -> PathBuf {
    let file = format!("hioload-control-{name}-{}.sock", std::process::id());
    std::env::temp_dir().join(file)
}

fn ask(path: &PathBuf, question: &[u8]) -> String {
    let mut stream = UnixStream::connect(path).expect("the server listens there");
    stream.write_all(question).expect("it reads");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .expect("it answers in text");
    answer
}

#[test]
fn over_sockets_flows_points_to_ss() {
    let path = socket("sockets");
    let name = path.to_str().expect("a path in UTF-8");
    let mut server = Server::start(&["--control", name]);
    let mode = fs::metadata(&path)
        .expect("the socket")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600, "only the user may open it");

    let output = run(&["flows", "--socket", name]);
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(output.stdout, b"");
    let port = server.addr().port();
    assert!(
        said.contains(&format!("ss -ti 'sport = :{port}'")),
        "{said}"
    );

    let output = run(&["tap", "start", "--file", "x.pcapng", "--socket", name]);
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("tcpdump"), "{said}");

    server.terminate();
    server.wait();
    assert!(!path.exists(), "the server removes the file");
}

#[test]
fn a_client_that_sends_nonsense_or_nothing_blocks_the_control_socket_briefly() {
    let path = socket("silent");
    let name = path.to_str().expect("a path in UTF-8");
    let _server = Server::start(&["--control", name]);
    let silent: Vec<_> = (0..3)
        .map(|_| UnixStream::connect(&path).expect("it listens"))
        .collect();
    let flood = vec![b'x'; 1 << 20];
    let path_too = path.clone();
    let flooder = thread::spawn(move || {
        // The server reads one line and closes the connection.
        let mut stream = UnixStream::connect(path_too).expect("it listens");
        let _ = stream.write_all(&flood);
    });
    assert!(ask(&path, b"dance\n").contains("unknown question"));
    assert!(ask(&path, b"flows\n").ends_with("{\"end\":true}\n"));
    flooder.join().expect("the flooder ends");
    drop(silent);
}

#[test]
fn a_stale_socket_is_replaced_and_one_in_use_is_not() {
    let path = socket("stale");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    let name = path.to_str().expect("a path in UTF-8");
    let _server = Server::start(&["--control", name]);
    assert!(ask(&path, b"flows\n").contains("\"transport\":\"sockets\""));
    let second = run(&["serve", "--listen", "127.0.0.1:0", "--control", name]);
    let said = String::from_utf8(second.stderr).expect("UTF-8");
    assert_eq!(second.status.code(), Some(2), "{said}");
    assert!(said.contains("--control") && said.contains(name), "{said}");
    assert!(
        ask(&path, b"flows\n").contains("\"end\":true"),
        "the first server still answers"
    );
}

#[test]
fn a_missing_server_is_reported() {
    let path = socket("nobody");
    let name = path.to_str().expect("a path in UTF-8");
    let output = run(&["flows", "--socket", name]);
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(name) && said.lines().count() == 1, "{said}");
}
