//! 15,000 connections are open in one server, and every one of them echoes.
#![cfg(target_os = "linux")]
#![allow(missing_docs)]

mod common;

use common::wire::{self, BINARY, CONTINUATION, FIN, PONG};
use common::{Bystander, Client, Server, eventually};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const CONNECTIONS: usize = 15_000;

#[test]
fn fifteen_thousand_connections_are_open_and_alive() {
    allow_open_files(CONNECTIONS as u64 + 500); // the server inherits it
    let server = Server::start(&[
        "--max-connections",
        "16000",
        "--ping-interval",
        "0",
        "--idle-timeout",
        "0",
    ]);
    let bystander = Bystander::start(&server);
    let mut clients = Vec::with_capacity(CONNECTIONS);
    open(&server, &mut clients, 1000);
    let with_a_thousand = server.memory();
    open(&server, &mut clients, CONNECTIONS);
    bystander.is_served();

    let each = server.memory().saturating_sub(with_a_thousand) / (CONNECTIONS as u64 - 1000);
    println!("{CONNECTIONS} connections, {each} bytes of user memory for each idle one");
    assert!(each <= 512, "{each} bytes for an idle connection");

    // Every one of them can still talk, in an order unlike that of their opening (6427 has no factor in common with 15,000).
    for nth in 0..CONNECTIONS {
        let at = nth * 6427 % CONNECTIONS;
        clients[at].echo(BINARY, &wire::noise(at as u64, 64));
    }
    // All of them wait for an answer at the same moment, half of them with a message in two fragments.
    for (at, client) in clients.iter_mut().enumerate() {
        let payload = wire::noise(at as u64, 100);
        if at % 2 == 0 {
            client.write(
                &[
                    wire::frame(BINARY, &payload[..30]),
                    wire::frame(FIN | wire::PING, b""),
                ]
                .concat(),
            );
        } else {
            client.write(&wire::frame(FIN | BINARY, &payload));
        }
    }
    for (at, client) in clients.iter_mut().enumerate() {
        let payload = wire::noise(at as u64, 100);
        if at % 2 == 0 {
            client.expect(FIN | PONG, b"");
            client.write(&wire::frame(FIN | CONTINUATION, &payload[30..]));
        }
        client.expect(FIN | BINARY, &payload);
    }
    bystander.is_served();

    let held = server.held();
    clients.into_iter().for_each(Client::reset);
    eventually("all of them are closed", || {
        server.held() <= held - CONNECTIONS
    });
    bystander.finish();
}

fn open(server: &Server, clients: &mut Vec<Client>, until: usize) {
    while clients.len() < until {
        clients.push(Client::open(server, "/echo"));
    }
}

/// Raises this process's limit of open files as far as needed.
fn allow_open_files(wanted: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit {
            current: Some(wanted),
            maximum: limit.maximum,
        };
        let done = setrlimit(Resource::Nofile, raised);
        assert!(
            done.is_ok(),
            "this test needs {wanted} open files: raise the hard limit (ulimit -Hn)"
        );
    }
}
