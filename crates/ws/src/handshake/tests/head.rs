use super::samples::{GOOD, and, error, plain, read};
use crate::handshake::server::{parse, scan};
use crate::handshake::{HandshakeError, HandshakeLimits, head_end};

#[test]
fn bytes_after_the_head_are_not_taken() {
    let text = format!("{GOOD}\u{1}frames");
    let (request, length) = parse(text.as_bytes(), &HandshakeLimits::default())
        .unwrap()
        .unwrap();
    assert!(request.upgrade.is_some());
    assert_eq!(length, GOOD.len());
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
    // RFC 9112 §3.2.4: asterisk-form, for OPTIONS alone.
    let text = plain("OPTIONS * HTTP/1.1", "");
    let request = read(&text).unwrap();
    assert_eq!((request.path(), request.query()), ("*", None));
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
fn requests_with_a_body_are_refused() {
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
        // Folded lines, and lines that resemble them.
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
    // Refused at the first octet: TLS, HTTP/2 frames, noise.
    for text in [&b"\x16\x03\x01"[..], b" GET", b"\xff", b"\r\n\x00"] {
        assert_eq!(
            scan(text, 0, &HandshakeLimits::default()),
            Err(HandshakeError::Syntax)
        );
    }
    // RFC 9112 §2.2: one empty line before the request is ignored.
    let text = format!("\r\n{GOOD}");
    assert!(read(&text).unwrap().upgrade.is_some());
    assert_eq!(
        error(&format!("\r\n{text}").as_str()[..4]),
        HandshakeError::Syntax
    );
}

#[test]
fn limits_of_the_head() {
    let exact = HandshakeLimits::new(GOOD.len());
    assert!(parse(GOOD.as_bytes(), &exact).unwrap().is_some());
    let short = HandshakeLimits::new(GOOD.len() - 1);
    let too_large = parse(GOOD.as_bytes(), &short).unwrap_err();
    assert_eq!(
        (too_large, too_large.status()),
        (HandshakeError::HeadTooLarge, 431)
    );
    // Refused as soon as no further octet is allowed.
    assert_eq!(
        scan(&GOOD.as_bytes()[..GOOD.len() - 1], 0, &short),
        Err(HandshakeError::HeadTooLarge)
    );
    assert_eq!(
        scan(&GOOD.as_bytes()[..GOOD.len() - 2], 0, &short),
        Ok(None)
    );
}

#[test]
fn the_number_of_headers_is_bounded_by_their_bytes_alone() {
    for count in [0, 1, 56, 57, 58, 63, 64, 65, 500, 5000] {
        let lines: String = (0..count).map(|n| format!("X-{n}: {n}\r\n")).collect();
        let text = GOOD.replace("Origin", &format!("{lines}Origin"));
        let limits = HandshakeLimits::new(text.len());
        let (request, _) = parse(text.as_bytes(), &limits).unwrap().unwrap();
        assert_eq!(request.headers.len(), 7 + count);
        assert!(request.upgrade.is_some());
        // In order, wherever they are kept.
        let last = count.checked_sub(1).map(|n| n.to_string());
        let name = format!("x-{}", count.wrapping_sub(1));
        assert_eq!(request.header_str(&name), last.as_deref());
        assert_eq!(request.origin, Some("http://example.com"));
        assert_eq!(request.headers.iter().count(), 7 + count);
        let short = HandshakeLimits::new(text.len() - 1);
        assert_eq!(
            parse(text.as_bytes(), &short).unwrap_err(),
            HandshakeError::HeadTooLarge
        );
    }
    // A header that may occur once is found among many.
    let lines = "X: y\r\n".repeat(500);
    let text = GOOD.replace("Origin", &format!("{lines}Host: b\r\nOrigin"));
    assert_eq!(error(&text), HandshakeError::Host);
}

#[test]
fn the_end_of_a_head_is_found_in_new_octets() {
    let head = GOOD.as_bytes();
    for cut in 0..head.len() {
        assert_eq!(head_end(&head[..cut], 0), None, "{cut}");
        // After `cut` octets, scanning the rest is enough.
        assert_eq!(head_end(head, cut), Some(head.len()), "{cut}");
        if cut > 0 {
            assert_eq!(head_end(&head[..cut], cut - 1), None);
        }
    }
    // Octets before are not read again.
    assert_eq!(head_end(b"GET\r\n\r\nmore of it\r\n", 10), None);
    assert_eq!(head_end(b"GET\n\n", 0), Some(5));
    assert_eq!(head_end(b"", 7), None);
}
