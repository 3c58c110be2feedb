//! Web pages that are not the server's own: another origin, or another name for the same server.

use crate::beside_a_bystander;
use crate::common::wire::{self, TEXT};
use crate::common::{Client, Server, eventually};

fn status(server: &Server, lines: &[&str]) -> u16 {
    let response = Client::connect(server).ask(&wire::request(lines));
    if response.status == 403 {
        assert!(response.body.contains("the setting allow_"), "{response:?}");
        assert_eq!(response.header("access-control-allow-origin"), None);
    }
    response.status
}

fn upgrade(server: &Server, host: &str, origin: &str) -> u16 {
    let request = String::from_utf8(wire::upgrade("/echo", &[origin])).expect("text");
    let request = request.replace("Host: localhost", host);
    Client::connect(server).ask(request.as_bytes()).status
}

#[test]
fn a_page_of_another_origin_can_neither_connect_nor_read() {
    beside_a_bystander(&[], |server, _| {
        let (scheme, _) = server.schemes();
        // Over TLS a page of http:// may come from anyone on the way: it is another origin (RFC 6454 §4).
        let downgraded = if scheme == "https" {
            "http://localhost"
        } else {
            "http://localhost:1"
        };
        for origin in [
            "http://evil.example",
            "https://localhost:1",
            "http://localhost.evil.example",
            "http://localhost@evil.example",
            "null",
            "file://",
            "chrome-extension://localhost",
            downgraded,
        ] {
            let line = format!("Origin: {origin}");
            assert_eq!(upgrade(server, "Host: localhost", &line), 403, "{origin}");
            for path in ["/stats", "/", "/healthz", "/nope"] {
                let get = format!("GET {path} HTTP/1.1");
                assert_eq!(
                    status(server, &[&get, "Host: localhost", &line]),
                    403,
                    "{origin} {path}"
                );
            }
            let preflight = ["OPTIONS /stats HTTP/1.1", "Host: localhost", &line];
            assert_eq!(status(server, &preflight), 403, "{origin}");
        }
        assert_eq!(server.counter("rejected_origin"), 8 * 6);
        // Pages that embed it without reading it are refused by the browser.
        let stats = Client::connect(server)
            .ask(&wire::request(&["GET /stats HTTP/1.1", "Host: localhost"]));
        assert_eq!(stats.status, 200);
        assert_eq!(
            stats.header("cross-origin-resource-policy"),
            Some("same-origin")
        );
        assert_eq!(stats.header("x-content-type-options"), Some("nosniff"));
        // The server's own page, and a program.
        let page = format!("Origin: {scheme}://localhost:9001");
        assert_eq!(upgrade(server, "Host: localhost:9001", &page), 101);
        Client::open(server, "/echo").echo(TEXT, b"a program");
        let logged = || server.log_count("refused a request of a web page");
        eventually("it is logged", || logged() > 0);
        assert!(logged() <= 4, "the first of each lcore alone");
    });
}

#[test]
fn a_name_that_an_attacker_chose_is_not_served() {
    let hosts = [
        "--allow-host",
        "Example.org",
        "--allow-origin",
        "https://app.example:8443",
    ];
    beside_a_bystander(&hosts, |server, _| {
        for (host, expected) in [
            ("localhost", 200),
            ("127.0.0.1:9001", 200),
            ("[fd77::2]:9001", 200),
            ("EXAMPLE.org:80", 200),
            ("app.example", 200),
            ("evil.example", 403),
            ("example.org.evil.example", 403),
            ("evil.example:9001", 403),
        ] {
            let line = format!("Host: {host}");
            assert_eq!(
                status(server, &["GET /stats HTTP/1.1", &line]),
                expected,
                "{host}"
            );
            let page = format!("Origin: {}://{host}", server.schemes().0);
            let upgraded = upgrade(server, &line, &page);
            assert_eq!(upgraded == 101, expected == 200, "{host}: {upgraded}");
        }
        let absolute = ["GET http://evil.example/stats HTTP/1.1", "Host: localhost"];
        assert_eq!(status(server, &absolute), 403);
        assert_eq!(server.counter("rejected_host"), 2 * 3 + 1);
        assert_eq!(
            upgrade(
                server,
                "Host: localhost",
                "Origin: https://app.example:8443"
            ),
            101
        );
        assert_eq!(upgrade(server, "Host: evil.example", "X-Program: yes"), 101);
    });
}

#[test]
fn any_origin_is_allowed_on_request() {
    beside_a_bystander(
        &["--allow-origin", "*", "--allow-host", "*"],
        |server, _| {
            for origin in [
                "Origin: http://evil.example",
                "Origin: null",
                "Origin: http://x:99999",
            ] {
                assert_eq!(
                    upgrade(server, "Host: other.example", origin),
                    101,
                    "{origin}"
                );
            }
        },
    );
}
