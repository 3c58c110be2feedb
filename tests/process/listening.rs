//! What `--listen` takes, over sockets.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::common::wire::TEXT;
use crate::common::{Client, Server, run};

/// The addresses of the start line.
fn addresses(server: &Server) -> Vec<SocketAddr> {
    let line = server.start_line();
    let words = line.split([' ', ',']);
    let urls = words.filter_map(|word| word.strip_prefix("ws://"));
    urls.filter_map(|addr| addr.parse().ok()).collect()
}

/// An echo over a connection to an address.
fn echoes(to: SocketAddr) {
    let stream = TcpStream::connect(to).unwrap_or_else(|why| panic!("{to}: {why}"));
    let mut client = Client::new(stream).upgraded("/echo", &[]);
    client.echo(TEXT, b"hello");
}

fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse::<IpAddr>().expect("an address"), port)
}

fn listening(on: &str, lcores: &str, more: &[&str]) -> Server {
    let words = ["--listen", on, "--lcores", lcores, "--control", "none"];
    Server::start_anywhere(&[&words, more].concat())
}

#[test]
fn a_port_alone_takes_both_families() {
    for (on, lcores) in [(":0", "1"), ("*:0", "2")] {
        let server = listening(on, lcores, &[]);
        let port = server.addr().port();
        echoes(at("127.0.0.1", port));
        if hioload_testkit::has_ipv6() {
            assert_eq!(addresses(&server), [at("0.0.0.0", port), at("::", port)]);
            echoes(at("::1", port));
        }
    }
}

/// Limits and networks count its IPv4 address.
#[test]
fn an_ipv4_client_of_both_families_has_an_ipv4_address() {
    let server = listening(":0", "1", &["--deny", "127.0.0.0/8"]);
    let port = server.addr().port();
    let stream = TcpStream::connect(at("127.0.0.1", port)).expect("the kernel accepts");
    let answer = Client::new(stream).ask_gently(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(answer.is_none(), "{answer:?}");
    if hioload_testkit::has_ipv6() {
        echoes(at("::1", port));
    }
}

#[test]
fn an_address_takes_its_own_family() {
    if !hioload_testkit::has_ipv6() {
        return;
    }
    let server = listening("0.0.0.0:0", "1", &[]);
    let port = server.addr().port();
    echoes(at("127.0.0.1", port));
    assert!(TcpStream::connect(at("::1", port)).is_err());
    let server = listening("[::]:0", "1", &[]);
    let port = server.addr().port();
    echoes(at("::1", port));
    assert!(TcpStream::connect(at("127.0.0.1", port)).is_err());
}

#[test]
fn a_name_takes_all_of_its_addresses() {
    let server = listening("localhost:0", "2", &[]);
    let addresses = addresses(&server);
    assert!(!addresses.is_empty(), "{}", server.start_line());
    for addr in addresses {
        assert!(addr.ip().is_loopback());
        echoes(addr);
    }
    let output = run(&["serve", "--listen", "no-such-name.invalid:9001"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("no-such-name.invalid:9001"), "{said}");
}

#[test]
fn a_unix_socket_has_the_mode_and_the_group_that_are_set() {
    let path = std::env::temp_dir().join(format!("hioload-mode-{}.sock", std::process::id()));
    let listen = format!("unix:{}", path.display());
    let group = rustix::process::getegid().as_raw().to_string();
    let access = ["--unix-mode", "0620", "--unix-group", &group];
    let more = [&["--listen", &listen][..], &access].concat();
    let server = listening("127.0.0.1:0", "1", &more);
    let file = fs::metadata(&path).expect("the socket");
    assert_eq!(file.permissions().mode() & 0o777, 0o620);
    assert_eq!(file.gid().to_string(), group);
    drop(server);
    let _ = fs::remove_file(&path);
    let output = run(&[
        "serve",
        "--listen",
        &listen,
        "--unix-group",
        "no-such-group",
    ]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("--unix-group") && said.contains("no-such-group"),
        "{said}"
    );
}
