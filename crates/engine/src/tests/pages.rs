//! Requests of web pages: `Origin` and `Host`.

use super::*;
use crate::{Hosts, Origins};

/// The status of the answer to a request of a client at this address.
fn ask(lab: &mut Lab, client: &str, request: &str) -> String {
    let id = lab.io().accept(Peer::Ip(client.parse().unwrap()));
    lab.io().deliver(id, request.as_bytes());
    lab.turn();
    let answer = lab.text(id);
    if answer.starts_with("HTTP/1.1 403") {
        assert!(answer.contains("the setting allow_"), "{answer}");
        assert!(lab.io().finished(id));
    }
    answer.split(' ').nth(1).unwrap_or("nothing").to_owned()
}

fn upgrade(host: &str, origin: &str) -> String {
    let request = String::from_utf8(REQUEST.to_vec()).unwrap();
    let origin = match origin {
        "" => String::new(),
        origin => format!("Origin: {origin}\r\n"),
    };
    request.replace("Host: test\r\n", &format!("Host: {host}\r\n{origin}"))
}

fn plain(host: &str, origin: &str) -> String {
    format!("GET /page HTTP/1.1\r\nHost: {host}\r\n{origin}\r\n")
}

const REMOTE: &str = "192.0.2.1:1";
const LOCAL: &str = "127.0.0.1:1";

#[test]
fn a_page_of_another_origin_is_refused_and_a_client_without_an_origin_is_not() {
    // RFC 6455 §4.2.2: "If the server does not wish to accept this connection, it MUST return an appropriate HTTP error
    // code (e.g., 403 Forbidden) and abort the WebSocket handshake described in this section."
    let mut lab = Lab::new(Config::default());
    for client in [REMOTE, LOCAL] {
        for (host, origin, status) in [
            ("localhost:9001", "", "101"),
            ("localhost:9001", "http://localhost:9001", "101"),
            ("localhost:9001", "http://evil.example", "403"),
            ("localhost:9001", "null", "403"),
            ("192.0.2.9", "https://192.0.2.9", "101"),
            ("192.0.2.9", "https://localhost", "403"),
        ] {
            assert_eq!(
                ask(&mut lab, client, &upgrade(host, origin)),
                status,
                "{host} {origin}"
            );
        }
    }
    assert_eq!((lab.totals().rejected_origin, lab.totals().opened), (6, 6));
    // Plain requests are not readable either, and their handler is not called.
    let foreign = plain("localhost", "Origin: http://evil.example\r\n");
    assert_eq!(ask(&mut lab, REMOTE, &foreign), "403");
    let preflight = foreign.replace("GET /page", "OPTIONS /page");
    assert_eq!(ask(&mut lab, REMOTE, &preflight), "403");
    assert_eq!(ask(&mut lab, REMOTE, &plain("localhost", "")), "200");
    assert_eq!(
        (lab.totals().rejected_origin, lab.totals().http_requests),
        (8, 1)
    );
}

#[test]
fn a_name_that_resolves_to_the_machine_does_not_make_a_page_its_own() {
    let mut lab = Lab::new(Config::default());
    let rebound = upgrade("evil.example:9001", "http://evil.example:9001");
    assert_eq!(ask(&mut lab, LOCAL, &rebound), "403");
    assert_eq!(ask(&mut lab, LOCAL, &plain("evil.example:9001", "")), "403");
    let absolute = plain("localhost", "").replace("/page", "http://evil.example/page");
    assert_eq!(ask(&mut lab, LOCAL, &absolute), "403");
    assert_eq!(lab.totals().rejected_host, 3);
    // A client that is no browser may use any name, and so may browsers elsewhere.
    assert_eq!(
        ask(&mut lab, LOCAL, &upgrade("evil.example:9001", "")),
        "101"
    );
    assert_eq!(ask(&mut lab, REMOTE, &rebound), "101");
    assert_eq!(ask(&mut lab, LOCAL, "GET /page HTTP/1.0\r\n\r\n"), "200");
}

#[test]
fn origins_and_hosts_change_while_the_lcore_runs() {
    let mut lab = Lab::new(Config::default());
    let change = |lab: &mut Lab, origins: Origins, hosts: Hosts| {
        let mut new = Tunables::default();
        (new.origins, new.hosts) = (origins, hosts);
        lab.lcore.reconfigure(new).unwrap();
    };
    let app = upgrade("ws.example:9001", "https://app.example");
    assert_eq!(ask(&mut lab, REMOTE, &app), "403");
    change(
        &mut lab,
        Origins::same().and("https://app.example"),
        Hosts::default(),
    );
    assert_eq!(ask(&mut lab, REMOTE, &app), "101");
    change(
        &mut lab,
        Origins::any(),
        Hosts::default().and("other.example"),
    );
    assert_eq!(ask(&mut lab, REMOTE, &app), "403");
    assert_eq!(lab.totals().rejected_host, 1);
    change(&mut lab, Origins::any(), Hosts::any());
    for client in [LOCAL, REMOTE] {
        assert_eq!(ask(&mut lab, client, &app), "101");
    }
    change(&mut lab, Origins::same(), Hosts::any());
    assert_eq!(ask(&mut lab, REMOTE, &app), "403");
}
