//! Opening handshakes that are wrong, unusual or unfinished, and plain HTTP.

use crate::beside_a_bystander;
use crate::common::wire::{self, BINARY, FIN, TEXT};
use crate::common::{Client, Got, Response, eventually};

const HOST: &str = "Host: localhost";
const UPGRADE: &str = "Upgrade: websocket";
const CONNECTION: &str = "Connection: Upgrade";
const VERSION: &str = "Sec-WebSocket-Version: 13";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

#[test]
fn wrong_requests_are_refused_with_the_right_status() {
    let cases: &[(&str, &[&str], u16)] = &[
        (
            "POST",
            &[
                "POST /echo HTTP/1.1",
                HOST,
                UPGRADE,
                CONNECTION,
                VERSION,
                KEY,
            ],
            405,
        ),
        (
            "an older version",
            &[
                "GET /echo HTTP/1.1",
                HOST,
                UPGRADE,
                CONNECTION,
                "Sec-WebSocket-Version: 8",
                KEY,
            ],
            426,
        ),
        (
            "a later version",
            &[
                "GET /echo HTTP/1.1",
                HOST,
                UPGRADE,
                CONNECTION,
                "Sec-WebSocket-Version: 14",
                KEY,
            ],
            426,
        ),
        (
            "upgrade of an unknown path",
            &[
                "GET /nope HTTP/1.1",
                HOST,
                UPGRADE,
                CONNECTION,
                VERSION,
                KEY,
            ],
            404,
        ),
        ("an unknown page", &["GET /nope HTTP/1.1", HOST], 404),
        (
            "no key",
            &["GET /echo HTTP/1.1", HOST, UPGRADE, CONNECTION, VERSION],
            400,
        ),
        (
            "two keys",
            &[
                "GET /echo HTTP/1.1",
                HOST,
                UPGRADE,
                CONNECTION,
                VERSION,
                KEY,
                KEY,
            ],
            400,
        ),
        (
            "a key of 15 bytes",
            &[
                "GET /echo HTTP/1.1",
                HOST,
                UPGRADE,
                CONNECTION,
                VERSION,
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA",
            ],
            400,
        ),
        (
            "a key that is not base64",
            &[
                "GET /echo HTTP/1.1",
                HOST,
                UPGRADE,
                CONNECTION,
                VERSION,
                "Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!==",
            ],
            400,
        ),
        (
            "no Host",
            &["GET /echo HTTP/1.1", UPGRADE, CONNECTION, VERSION, KEY],
            400,
        ),
        (
            "two Hosts",
            &[
                "GET /echo HTTP/1.1",
                HOST,
                HOST,
                UPGRADE,
                CONNECTION,
                VERSION,
                KEY,
            ],
            400,
        ),
        (
            "a space in a name",
            &["GET /echo HTTP/1.1", HOST, "Up grade: websocket"],
            400,
        ),
        (
            "no colon",
            &["GET /echo HTTP/1.1", HOST, "Upgrade websocket"],
            400,
        ),
        ("no target", &["GET HTTP/1.1", HOST], 400),
        ("not HTTP", &["HELLO"], 400),
    ];
    beside_a_bystander(&[], |server, bystander| {
        for (what, lines, status) in cases {
            println!("{what}");
            let mut client = Client::connect(server);
            let response = client.ask(&wire::request(lines));
            check_refusal(&response, *status);
            assert_eq!(
                client.next(),
                Got::End,
                "an answer that refuses ends the connection"
            );
            bystander.is_served();
        }
    });
}

/// The properties of every refusal, and additional ones of some.
fn check_refusal(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{response:?}");
    let connection = response.header("connection").unwrap_or_default();
    let closes = |token: &str| token.trim().eq_ignore_ascii_case("close");
    assert!(connection.split(',').any(closes), "{response:?}");
    assert!(response.body.len() < 500, "a short body");
    match status {
        405 => assert!(
            response
                .header("allow")
                .is_some_and(|methods| methods.contains("GET")),
            "{response:?}"
        ),
        // RFC 6455 §4.4: the versions that we do speak.
        426 => assert_eq!(
            response.header("sec-websocket-version"),
            Some("13"),
            "{response:?}"
        ),
        _ => {}
    }
}

/// RFC 6455 §4.2.1 and HTTP allow more than browsers make use of.
#[test]
fn unusual_valid_requests_are_accepted() {
    let cases: &[&[&str]] = &[
        &[
            "GET /echo HTTP/1.1",
            HOST,
            "UPGRADE: WebSocket",
            "connection: keep-alive, upgrade",
            VERSION,
            KEY,
        ],
        &[
            "GET /echo HTTP/1.1",
            HOST,
            "Upgrade: other, websocket",
            CONNECTION,
            VERSION,
            KEY,
        ],
        &[
            "GET /echo HTTP/1.1",
            HOST,
            UPGRADE,
            "Connection: keep-alive",
            CONNECTION,
            VERSION,
            KEY,
        ],
        &[
            "GET /echo?token=1&x=/nope HTTP/1.1",
            HOST,
            UPGRADE,
            CONNECTION,
            VERSION,
            KEY,
        ],
        &[
            "GET /echo HTTP/1.1",
            HOST,
            UPGRADE,
            CONNECTION,
            VERSION,
            KEY,
            "X-Unknown:   \t something \t ",
        ],
        &["GET / HTTP/1.1", HOST, UPGRADE, CONNECTION, VERSION, KEY],
    ];
    beside_a_bystander(&[], |server, _| {
        for lines in cases {
            println!("{lines:?}");
            let mut client = Client::connect(server);
            client.write(&wire::request(lines));
            client.expect_upgrade();
            client.echo(TEXT, b"accepted");
        }
    });
}

/// The example of RFC 6455 §4.1, whose last character has an unused bit, and keys without padding.
#[test]
fn keys_that_programs_send_are_accepted() {
    beside_a_bystander(&[], |server, _| {
        for key in [
            "AQIDBAUGBwgJCgsMDQ4PEC==",
            "AQIDBAUGBwgJCgsMDQ4PEA",
            "dGhlIHNhbXBsZSBub25jZf==",
        ] {
            let key = format!("Sec-WebSocket-Key: {key}");
            let lines = [
                "GET /echo HTTP/1.1",
                HOST,
                UPGRADE,
                CONNECTION,
                VERSION,
                &key,
            ];
            let mut client = Client::connect(server);
            assert_eq!(client.ask(&wire::request(&lines)).status, 101, "{key}");
            client.echo(TEXT, b"accepted");
        }
    });
}

/// Load balancers send it without a path, and with HTTP/1.0.
#[test]
fn options_is_a_health_check() {
    beside_a_bystander(&[], |server, _| {
        for (request, status) in [
            ("OPTIONS /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
            ("OPTIONS / HTTP/1.0\r\n\r\n", 200),
            ("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
            ("OPTIONS /echo HTTP/1.1\r\nHost: localhost\r\n\r\n", 204),
            ("OPTIONS /nope HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
            ("DELETE /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        ] {
            let response = Client::connect(server).ask(request.as_bytes());
            assert_eq!(response.status, status, "{request}");
            let allow = response.header("allow").unwrap_or_default();
            assert_eq!(allow.contains("OPTIONS"), status != 404, "{response:?}");
        }
    });
}

#[test]
fn plain_http_is_answered() {
    beside_a_bystander(&[], |server, _| {
        let health = Client::connect(server).ask(&wire::request(&["GET /healthz HTTP/1.1", HOST]));
        assert_eq!(health.status, 200);
        let page = Client::connect(server).ask(&wire::request(&["GET / HTTP/1.1", HOST]));
        assert_eq!(page.status, 200);
        assert!(
            page.header("content-type")
                .is_some_and(|kind| kind.starts_with("text/html")),
            "{page:?}"
        );
        assert!(page.body.contains("</html>"));

        let mut client = Client::connect(server);
        client.write(&wire::request(&["HEAD / HTTP/1.1", HOST]));
        let text = client.everything().to_ascii_lowercase();
        assert!(
            text.starts_with("http/1.1 200 ") && text.ends_with("\r\n\r\n"),
            "a head alone: {text}"
        );
        assert!(
            text.contains(&format!("content-length: {}\r\n", page.body.len())),
            "{text}"
        );
    });
}

/// The Go server stopped listening after one bad handshake.
#[test]
fn a_bad_handshake_does_not_affect_the_next_one() {
    beside_a_bystander(&[], |server, _| {
        for _ in 0..20 {
            let mut bad = Client::connect(server);
            assert_eq!(bad.ask(b"complete nonsense\r\n\r\n").status, 400);
            Client::open(server, "/echo").echo(TEXT, b"a good one");
        }
        // Bytes after a bad request on the same connection are not answered: they may be part of a smuggled body.
        let mut client = Client::connect(server);
        client.write(
            &[
                b"complete nonsense\r\n\r\n".to_vec(),
                wire::upgrade("/echo", &[]),
            ]
            .concat(),
        );
        assert_eq!(client.response().status, 400);
        assert!(matches!(client.next(), Got::End | Got::Reset));
    });
}

#[test]
fn bytes_that_are_not_http_are_refused_or_dropped() {
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03 a TLS client says hello \r\n\r\n";
    let binary = wire::noise(7, 3000);
    beside_a_bystander(&[], |server, _| {
        for bytes in [
            &hello[..],
            &binary,
            b"GET /echo HTTP/1.1\r\nHost: \0\r\n\r\n",
            b"\r\n\r\n\r\n\r\nx y z\r\n\r\n",
        ] {
            let mut client = Client::connect(server);
            client.write(bytes);
            if let Ok(response) = client.try_response() {
                assert!((400..500).contains(&response.status), "{response:?}");
            }
        }
    });
}

#[test]
fn a_handshake_over_the_limit_is_answered_431() {
    beside_a_bystander(&["--max-handshake", "2048"], |server, _| {
        let mut client = Client::connect(server);
        client.write(b"GET /echo HTTP/1.1\r\nX-Filler: ");
        client.write(&[b'a'; 2100]);
        assert_eq!(client.response().status, 431);

        // Their number does not matter.
        let many: Vec<String> = (0..180).map(|n| format!("X{n}: 1")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        Client::connect(server)
            .upgraded("/echo", &many)
            .echo(TEXT, b"fits");

        // A head just below the limit is accepted.
        let filler = format!("X-Filler: {}", "a".repeat(1700));
        Client::connect(server)
            .upgraded("/echo", &[&filler])
            .echo(TEXT, b"fits");
    });
}

/// The server accepts no bodies.
#[test]
fn a_request_with_a_body_is_refused() {
    beside_a_bystander(&[], |server, _| {
        for header in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
            let mut client = Client::connect(server);
            client.write(&wire::upgrade("/echo", &[header]));
            let response = client.response();
            assert!((400..500).contains(&response.status), "{response:?}");
        }
    });
}

#[test]
fn a_handshake_arrives_byte_by_byte_or_together_with_frames() {
    beside_a_bystander(&[], |server, _| {
        let mut client = Client::connect(server);
        for byte in wire::upgrade("/echo", &[]) {
            client.write(&[byte]);
        }
        client.expect_upgrade();
        client.echo(TEXT, b"slow but sure");

        let mut client = Client::connect(server);
        let both = [
            wire::upgrade("/echo", &[]),
            wire::frame(FIN | BINARY, b"at once"),
            wire::close(1000, ""),
        ]
        .concat();
        client.write(&both);
        client.expect_upgrade();
        client.expect(FIN | BINARY, b"at once");
        client.expect_close(1000);
    });
}

#[test]
fn an_unfinished_handshake_times_out() {
    beside_a_bystander(&["--handshake-timeout", "1s"], |server, _| {
        let mut silent = Client::connect(server);
        let mut half = Client::connect(server);
        half.write(b"GET /echo HTTP/1.1\r\nHost: x\r\n");
        let mut slow = Client::connect(server);
        slow.write(b"GET /echo HTTP/1.1\r\nX-Filler: ");
        // One byte at a time, for as long as the server takes them.
        eventually("the slow client is refused", || {
            slow.try_write(b"a").is_err() || slow.has_news()
        });
        for client in [&mut silent, &mut half, &mut slow] {
            if let Ok(response) = client.try_response() {
                assert_eq!(response.status, 408);
            }
        }
        // The silent one has not begun the handshake of TLS either, if there is one: the time of either may be over first.
        let ended = server.counter("handshake_timeouts");
        let within_tls = server
            .secured()
            .map(|_| server.counter("tls_handshake_timeouts"));
        assert!(
            ended == 3 || ended == 2 && within_tls == Some(1),
            "{ended} {within_tls:?}"
        );
    });
}

#[test]
fn a_thousand_connections_dropped_within_the_handshake_leave_nothing_behind() {
    beside_a_bystander(&[], |server, bystander| {
        let request = wire::upgrade("/echo", &[]);
        let before = server.held();
        for turn in 0..1000 {
            let mut client = Client::connect(server);
            client.write(&request[..turn % request.len()]);
            match turn % 3 {
                0 => client.reset(),
                1 => client.shut_down(),
                _ => {}
            }
        }
        bystander.is_served();
        eventually("nothing of theirs is open", || server.held() <= before);
        Client::open(server, "/echo").echo(TEXT, b"open for business");
    });
}
