use crate::deflate::{DeflateConfig, negotiate};
use crate::handshake::server::{
    Request, accept_key, parse, scan, write_accept, write_error, write_response,
};
use crate::handshake::{HandshakeError, HandshakeLimits, MAX_HEADERS, Unwritable, head_end};

const GOOD: &str = "GET /chat?room=1 HTTP/1.1\r\n\
    Host: server.example.com\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Origin: http://example.com\r\n\
    Sec-WebSocket-Protocol: chat, superchat\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

fn read(text: &str) -> Result<Request<'_>, HandshakeError> {
    let (request, length) = parse(text.as_bytes(), &HandshakeLimits::default())?.expect("complete");
    assert_eq!(length, text.len());
    Ok(request)
}

fn error(text: &str) -> HandshakeError {
    read(text).expect_err(text)
}

/// [`GOOD`] with the line of a header replaced; an empty `with` removes it.
fn with(name: &str, with: &str) -> String {
    let start = GOOD.find(&format!("{name}:")).unwrap();
    let end = start + GOOD[start..].find("\r\n").unwrap() + 2;
    let line = if with.is_empty() {
        String::new()
    } else {
        format!("{with}\r\n")
    };
    format!("{}{line}{}", &GOOD[..start], &GOOD[end..])
}

fn and(line: &str) -> String {
    format!("{}{line}\r\n\r\n", &GOOD[..GOOD.len() - 2])
}

fn plain(request_line: &str, lines: &str) -> String {
    format!("{request_line}\r\nHost: a\r\n{lines}\r\n")
}

#[test]
fn the_example_of_the_rfc() {
    // RFC 6455 §1.2 and §4.2.2.
    let request = read(GOOD).unwrap();
    assert_eq!((request.method, request.target), ("GET", "/chat?room=1"));
    assert_eq!((request.path(), request.query()), ("/chat", Some("room=1")));
    assert_eq!(
        (request.host, request.origin),
        ("server.example.com", Some("http://example.com"))
    );
    assert_eq!(
        request.protocols().collect::<Vec<_>>(),
        ["chat", "superchat"]
    );
    assert!(request.offers("superchat") && !request.offers("Chat"));
    assert_eq!(request.header("sec-websocket-version"), Some(&b"13"[..]));
    assert_eq!(request.headers.len(), 7);
    let key = request.upgrade.unwrap().key;
    assert_eq!(&accept_key(key), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");

    let mut out = Vec::new();
    write_accept(&mut out, key, Some("chat"), None, &[]).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    );
}

#[test]
fn what_follows_the_head_is_left() {
    let text = format!("{GOOD}\u{1}frames");
    let (request, length) = parse(text.as_bytes(), &HandshakeLimits::default())
        .unwrap()
        .unwrap();
    assert!(request.upgrade.is_some());
    assert_eq!(length, GOOD.len());
}

#[test]
fn names_and_tokens_in_any_case_over_several_headers() {
    // RFC 6455 §4.2.1: "treated as an ASCII case-insensitive value".
    for text in [
        with("Upgrade", "uPGRADE:  WebSocket "),
        with("Upgrade", "Upgrade: h2c, websocket"),
        with("Upgrade", "Upgrade: HTTP/2.0\r\nUPGRADE: websocket"),
        with("Connection", "connection: keep-alive, upgrade"),
        with(
            "Connection",
            "Connection: keep-alive\r\nConnection: ,\tUPGRADE",
        ),
        with("Sec-WebSocket-Version", "sec-websocket-version:13"),
    ] {
        assert!(read(&text).unwrap().upgrade.is_some(), "{text}");
    }
}

#[test]
fn only_get_and_head() {
    // RFC 6455 §4.1: "The method of the request MUST be GET, and the HTTP version MUST be at least 1.1."
    for method in ["POST", "PUT", "OPTIONS", "CONNECT", "get", "FOO"] {
        assert_eq!(
            error(&plain(&format!("{method} / HTTP/1.1"), "")),
            HandshakeError::Method
        );
    }
    for method in ["HEAD", "POST"] {
        assert_eq!(
            error(&GOOD.replacen("GET", method, 1)),
            HandshakeError::Method
        );
    }
    assert_eq!(HandshakeError::Method.status(), 405);
    assert_eq!(
        read(&plain("HEAD /healthz HTTP/1.1", "")).unwrap().method,
        "HEAD"
    );
}

#[test]
fn the_http_version() {
    assert_eq!(
        error(&GOOD.replacen("HTTP/1.1", "HTTP/1.0", 1)),
        HandshakeError::HttpVersion
    );
    assert_eq!(
        error(&GOOD.replacen("HTTP/1.1", "HTTP/2.0", 1)),
        HandshakeError::HttpVersion
    );
    assert_eq!(error("PRI * HTTP/2.0\r\n\r\n"), HandshakeError::HttpVersion);
    assert_eq!(HandshakeError::HttpVersion.status(), 505);
    // A probe that speaks 1.0 gets its page.
    let request = read("GET /healthz HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!((request.path(), request.host), ("/healthz", ""));
}

#[test]
fn exactly_one_host() {
    // RFC 6455 §4.1: "The request MUST contain a |Host| header field"; RFC 9112 §3.2.
    for text in [
        with("Host", ""),
        with("Host", "Host:"),
        with("Host", "Host: a\r\nHost: a"),
        with("Host", "Host: a/b"),
        with("Host", "Host: user@a"),
        with("Host", "Host: a b"),
        with("Host", "Host: a:80x"),
        with("Host", "Host: a:123456"),
        with("Host", "Host: [::1"),
        with("Host", "Host: ::1"),
        with("Host", "Host: :80"),
        with("Host", "Host: \u{e9}"),
    ] {
        assert_eq!(error(&text), HandshakeError::Host, "{text}");
    }
    for host in [
        "a",
        "a:80",
        "[::1]:9001",
        "[::1]",
        "127.0.0.1:1",
        "a:",
        "xn--bcher-kva.example",
    ] {
        assert_eq!(
            read(&with("Host", &format!("Host: {host}"))).unwrap().host,
            host
        );
    }
}

#[test]
fn what_an_upgrade_must_have() {
    // RFC 6455 §4.1, items 5 to 9, each: "The request MUST".
    let cases = [
        (with("Upgrade", ""), HandshakeError::Upgrade),
        (
            with("Upgrade", "Upgrade: websockets"),
            HandshakeError::Upgrade,
        ),
        (
            with("Upgrade", "Upgrade: websocket/13"),
            HandshakeError::Upgrade,
        ),
        (with("Connection", ""), HandshakeError::Connection),
        (
            with("Connection", "Connection: keep-alive"),
            HandshakeError::Connection,
        ),
        (
            with("Connection", "Connection: no upgrade"),
            HandshakeError::Connection,
        ),
        (
            with("Sec-WebSocket-Version", ""),
            HandshakeError::WebSocketVersion,
        ),
        (
            with("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8"),
            HandshakeError::WebSocketVersion,
        ),
        (
            with("Sec-WebSocket-Version", "Sec-WebSocket-Version: 013"),
            HandshakeError::WebSocketVersion,
        ),
        (
            with("Sec-WebSocket-Version", "Sec-WebSocket-Version: 13, 8"),
            HandshakeError::WebSocketVersion,
        ),
        // §11.3.5 and §11.3.1: "MUST NOT appear more than once in an HTTP request."
        (
            and("Sec-WebSocket-Version: 13"),
            HandshakeError::WebSocketVersion,
        ),
        (
            and("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
            HandshakeError::Key,
        ),
        (with("Sec-WebSocket-Key", ""), HandshakeError::Key),
    ];
    for (text, expected) in cases {
        assert_eq!(error(&text), expected, "{text}");
    }
    assert_eq!(HandshakeError::WebSocketVersion.status(), 426);
    assert_eq!(HandshakeError::Key.status(), 400);
}

#[test]
fn the_key_decodes_to_16_bytes() {
    // RFC 6455 §4.1: "The value of this header field MUST be a nonce consisting of a randomly selected 16-byte value
    // that has been base64-encoded (see Section 4 of [RFC4648])."
    for key in [
        "",
        "x",
        "dGhlIHNhbXBsZSBub25j",         // 15 bytes
        "dGhlIHNhbXBsZSBub25jZWU=",     // 17 bytes
        "dGhlIHNhbXBsZSBub25jZWVl",     // 18 bytes
        "dGhlIHNhbXBsZSBub25jZQ",       // not padded
        "dGhlIHNhbXBsZSBub25jZQ=",      // not padded enough
        "dGhlIHNhbXBsZSBub25jZR==",     // unused bits are not zero
        "dGhlIHNhbXBsZSBub2-_ZQ==",     // the other alphabet
        "dGhlIHNhbXBs ZSBub25jZQ==",    // white space
        "dGhlIHNhbXBsZSBub25jZQ======", // padded too much
    ] {
        let text = with("Sec-WebSocket-Key", &format!("Sec-WebSocket-Key: {key}"));
        assert_eq!(error(&text), HandshakeError::Key, "{key}");
    }
    assert!(
        read(&with(
            "Sec-WebSocket-Key",
            "Sec-WebSocket-Key:   AQIDBAUGBwgJCgsMDQ4PEA==  "
        ))
        .is_ok()
    );
}

#[test]
fn protocols_are_different_tokens() {
    // RFC 6455 §4.1: "MUST be non-empty strings [...] not including separator characters [...] and MUST all be unique".
    for value in [
        "", " , ", "a b", "a;b", "a, a", "a, b, a", "a/b", "\"a\"", "\u{e9}",
    ] {
        let text = with(
            "Sec-WebSocket-Protocol",
            &format!("Sec-WebSocket-Protocol: {value}"),
        );
        assert_eq!(error(&text), HandshakeError::Protocols, "{value}");
    }
    assert_eq!(
        error(&and("Sec-WebSocket-Protocol: chat")),
        HandshakeError::Protocols
    );
    let text = and("Sec-WebSocket-Protocol: ,third,,  Chat,");
    let request = read(&text).unwrap();
    assert_eq!(
        request.protocols().collect::<Vec<_>>(),
        ["chat", "superchat", "third", "Chat"]
    );
    assert_eq!(
        read(&with("Sec-WebSocket-Protocol", ""))
            .unwrap()
            .protocols()
            .count(),
        0
    );
    let many: Vec<String> = (0..65).map(|i| format!("p{i}")).collect();
    let text = with(
        "Sec-WebSocket-Protocol",
        &format!("Sec-WebSocket-Protocol: {}", many.join(",")),
    );
    assert_eq!(error(&text), HandshakeError::Protocols);
}

#[test]
fn extensions_follow_their_grammar() {
    // RFC 6455 §9.1: "the recipient of such malformed data MUST immediately _Fail the WebSocket Connection_."
    for value in [
        "",
        ",",
        "a;",
        "a b",
        "a; b=",
        "a; b=\"c",
        "a; b=\"c d\"",
        "a; b=\"\"",
        "; a",
        "a=b",
        "a; b=c=d",
    ] {
        let text = and(&format!("Sec-WebSocket-Extensions: {value}"));
        assert_eq!(error(&text), HandshakeError::Extensions, "{value}");
    }
    let text = and("Sec-WebSocket-Extensions: foo; bar=\"b\\az\"; qux\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits");
    let request = read(&text).unwrap();
    let agreed = negotiate::server(&DeflateConfig::default(), request.extensions()).unwrap();
    assert_eq!(agreed.client.window_bits, 12);
}

#[test]
fn origins() {
    assert_eq!(read(&with("Origin", "")).unwrap().origin, None);
    assert_eq!(
        read(&with("Origin", "Origin: null")).unwrap().origin,
        Some("null")
    );
    assert_eq!(
        error(&and("Origin: http://evil.example")),
        HandshakeError::Origin
    );
    assert_eq!(
        error(&with("Origin", "Origin: http://\u{e9}")),
        HandshakeError::Origin
    );
}

#[test]
fn plain_requests_are_no_errors() {
    for lines in [
        "",
        "Accept: */*\r\nContent-Length: 0\r\n",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Connection: upgrade\r\n",
        "Sec-WebSocket-Version: 8\r\n",
    ] {
        let text = plain("GET /index.html HTTP/1.1", lines);
        let request = read(&text).unwrap();
        assert_eq!((request.path(), request.upgrade), ("/index.html", None));
    }
}

#[test]
fn targets() {
    let cases = [
        ("/", "/", None, "a"),
        ("/?", "/", Some(""), "a"),
        ("/a%2Fb/../c?d?e=%20", "/a%2Fb/../c", Some("d?e=%20"), "a"),
        ("//x/y", "//x/y", None, "a"),
        // RFC 9112 §3.2.2: absolute-form; its authority replaces Host.
        ("http://b:80/x?y", "/x", Some("y"), "b:80"),
        ("HTTPS://b", "/", None, "b"),
        ("http://b?y", "/", Some("y"), "b"),
    ];
    for (target, path, query, host) in cases {
        let text = plain(&format!("GET {target} HTTP/1.1"), "");
        let request = read(&text).unwrap();
        assert_eq!(
            (request.path(), request.query(), request.host),
            (path, query, host),
            "{target}"
        );
    }
    // RFC 6455 §3: "Fragment identifiers [...] MUST NOT be used on these URIs."
    for target in [
        "*",
        "a",
        "a:80",
        "/#f",
        "/a#",
        "http://",
        "http:///x",
        "http://u@b/",
        "http://b/#f",
        "ftp://b/",
    ] {
        let text = plain(&format!("GET {target} HTTP/1.1"), "");
        assert_eq!(error(&text), HandshakeError::Target, "{target}");
    }
    assert_eq!(error(&plain("GET /\u{e9} HTTP/1.1", "")).status(), 400);
}

#[test]
fn no_bodies() {
    for line in [
        "Content-Length: 1",
        "Content-Length: 00",
        "Content-Length: +0",
        "Content-Length: 0, 0",
        "Content-Length: 0\r\nContent-Length: 0",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: identity",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
    ] {
        assert_eq!(error(&and(line)), HandshakeError::Body, "{line}");
        assert_eq!(
            error(&plain("GET / HTTP/1.1", &format!("{line}\r\n"))),
            HandshakeError::Body
        );
    }
}

#[test]
fn syntax_is_strict() {
    for text in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\u{1}\r\n\r\n",
        // Folded lines, and what looks like them.
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc: d\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost\r\n\r\n",
        "GET / HTTP/1.1\r\n: a\r\n\r\n",
        "GET / HTTP/1.1\r\nH\u{e9}: a\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        "GET\r\n\r\n",
        "\r\n\r\n",
        "\n",
        "\r\n\n",
    ] {
        assert_eq!(error(text).status(), 400, "{text:?}");
    }
    // Told from the first octet: TLS, HTTP/2's frames, noise.
    for text in [&b"\x16\x03\x01"[..], b" GET", b"\xff", b"\r\n\x00"] {
        assert_eq!(
            scan(text, 0, &HandshakeLimits::default()),
            Err(HandshakeError::Syntax)
        );
    }
    // RFC 9112 §2.2: one empty line before the request is passed over.
    let text = format!("\r\n{GOOD}");
    assert!(read(&text).unwrap().upgrade.is_some());
    assert_eq!(
        error(&format!("\r\n{text}").as_str()[..4]),
        HandshakeError::Syntax
    );
}

#[test]
fn limits_of_the_head() {
    let exact = HandshakeLimits {
        max_head: GOOD.len(),
        max_headers: 7,
    };
    assert!(parse(GOOD.as_bytes(), &exact).unwrap().is_some());
    let short = HandshakeLimits {
        max_head: GOOD.len() - 1,
        ..exact
    };
    let too_large = parse(GOOD.as_bytes(), &short).unwrap_err();
    assert_eq!(
        (too_large, too_large.status()),
        (HandshakeError::HeadTooLarge, 431)
    );
    // As soon as no octet more may come.
    assert_eq!(
        scan(&GOOD.as_bytes()[..GOOD.len() - 1], 0, &short),
        Err(HandshakeError::HeadTooLarge)
    );
    assert_eq!(
        scan(&GOOD.as_bytes()[..GOOD.len() - 2], 0, &short),
        Ok(None)
    );
    let few = HandshakeLimits {
        max_headers: 6,
        ..exact
    };
    let too_many = parse(GOOD.as_bytes(), &few).unwrap_err();
    assert_eq!(
        (too_many, too_many.status()),
        (HandshakeError::TooManyHeaders, 431)
    );
    // However many are allowed, there is an end.
    let unlimited = HandshakeLimits {
        max_head: 1 << 20,
        max_headers: usize::MAX,
    };
    let text = plain("GET / HTTP/1.1", &"X: y\r\n".repeat(MAX_HEADERS - 1));
    assert!(parse(text.as_bytes(), &unlimited).unwrap().is_some());
    let text = plain("GET / HTTP/1.1", &"X: y\r\n".repeat(MAX_HEADERS));
    assert_eq!(
        parse(text.as_bytes(), &unlimited).unwrap_err(),
        HandshakeError::TooManyHeaders
    );
}

#[test]
fn the_end_of_a_head_is_found_from_new_octets_alone() {
    let head = GOOD.as_bytes();
    for cut in 0..head.len() {
        assert_eq!(head_end(&head[..cut], 0), None, "{cut}");
        // Having seen `cut` octets, the rest is enough.
        assert_eq!(head_end(head, cut), Some(head.len()), "{cut}");
        if cut > 0 {
            assert_eq!(head_end(&head[..cut], cut - 1), None);
        }
    }
    // What lies before is not looked at again.
    assert_eq!(head_end(b"GET\r\n\r\nmore of it\r\n", 10), None);
    assert_eq!(head_end(b"GET\n\n", 0), Some(5));
    assert_eq!(head_end(b"", 7), None);
}

#[test]
fn answers() {
    let text = |status, extra: &[(&str, &str)], body: &[u8], head_only| {
        let mut out = b"earlier".to_vec();
        write_response(&mut out, status, "text/plain", extra, body, head_only).unwrap();
        String::from_utf8(out.split_off(7)).unwrap()
    };
    assert_eq!(
        text(200, &[("X-A", "b")], b"hello", false),
        "HTTP/1.1 200 OK\r\nConnection: close\r\nX-A: b\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
    );
    assert_eq!(
        text(404, &[], b"", false),
        "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    assert!(text(200, &[], &[b'x'; 1234], true).ends_with("Content-Length: 1234\r\n\r\n"));
    assert_eq!(
        text(204, &[], b"", false),
        "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
    );
    // RFC 6455 §4.2.2 and RFC 9110 §15.5.22.
    let upgrade = text(426, &[], b"", false);
    assert!(
        upgrade.contains("Sec-WebSocket-Version: 13\r\n")
            && upgrade.contains("Upgrade: websocket\r\n")
    );
    assert!(text(405, &[], b"", false).contains("Allow: GET, HEAD\r\n"));
    assert_eq!(
        text(405, &[("allow", "GET")], b"", false)
            .to_lowercase()
            .matches("allow:")
            .count(),
        1
    );
    assert!(text(503, &[], b"", false).contains("Retry-After: 5\r\n"));
    assert!(text(503, &[("Retry-After", "60")], b"", false).contains("Retry-After: 60\r\n"));
    assert!(text(599, &[], b"", false).starts_with("HTTP/1.1 599 Server Error\r\n"));
}

#[test]
fn every_error_has_its_answer() {
    let mut out = Vec::new();
    write_error(
        &mut out,
        error(&with("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8")),
    );
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with("HTTP/1.1 426 Upgrade Required\r\n"));
    assert!(text.contains("Sec-WebSocket-Version: 13\r\n"));
    assert!(text.ends_with("\r\n\r\nSec-WebSocket-Version must be 13"));
    let mut out = Vec::new();
    write_error(&mut out, HandshakeError::HeadTooLarge);
    assert!(out.starts_with(b"HTTP/1.1 431 Request Header Fields Too Large\r\n"));
}

#[test]
fn nothing_is_injected() {
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    let mut out = Vec::new();
    for extra in [
        ("X", "a\r\nSet-Cookie: b"),
        ("X", "a\nb"),
        ("X", "a\rb"),
        ("X", "a\0"),
        ("X\r\nY", "a"),
        ("X Y", "a"),
        ("", "a"),
        ("Sec-WebSocket-Accept", "a"),
        ("connection", "keep-alive"),
        ("Content-Length", "1"),
        ("Transfer-Encoding", "chunked"),
    ] {
        assert_eq!(
            write_accept(&mut out, key, None, None, &[extra]),
            Err(Unwritable),
            "{extra:?}"
        );
        assert_eq!(
            write_response(&mut out, 200, "text/plain", &[extra], b"", false),
            Err(Unwritable)
        );
    }
    assert_eq!(
        write_accept(&mut out, key, Some("a b"), None, &[]),
        Err(Unwritable)
    );
    assert_eq!(
        write_accept(&mut out, key, Some(""), None, &[]),
        Err(Unwritable)
    );
    assert_eq!(
        write_accept(&mut out, key, None, Some("a\r\nb"), &[]),
        Err(Unwritable)
    );
    assert_eq!(
        write_accept(&mut out, key, None, Some(""), &[]),
        Err(Unwritable)
    );
    assert_eq!(
        write_response(&mut out, 200, "a\r\nb", &[], b"", false),
        Err(Unwritable)
    );
    assert_eq!(
        write_response(&mut out, 101, "a", &[], b"", false),
        Err(Unwritable)
    );
    assert_eq!(
        write_response(&mut out, 1000, "a", &[], b"", false),
        Err(Unwritable)
    );
    assert!(out.is_empty());
}
