use super::samples::{GOOD, and, error, plain, read, with};
use crate::deflate::{DeflateConfig, negotiate};
use crate::handshake::HandshakeError;
use crate::handshake::server::{accept_key, write_accept};

#[test]
fn the_example_of_the_rfc() {
    // RFC 6455 §1.2 and §4.2.2: "If the server chooses to accept the incoming connection, it MUST reply with a valid
    // HTTP response indicating the following".
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
fn only_get_may_upgrade_and_only_get_head_and_options_are_served() {
    // RFC 6455 §4.1: "The method of the request MUST be GET, and the HTTP version MUST be at least 1.1."
    for method in ["POST", "PUT", "DELETE", "CONNECT", "get", "FOO"] {
        assert_eq!(
            error(&plain(&format!("{method} / HTTP/1.1"), "")),
            HandshakeError::Method
        );
    }
    for method in ["HEAD", "OPTIONS", "POST"] {
        assert_eq!(
            error(&GOOD.replacen("GET", method, 1)),
            HandshakeError::Method
        );
    }
    assert_eq!(HandshakeError::Method.status(), 405);
    for method in ["HEAD", "OPTIONS"] {
        let text = plain(&format!("{method} /healthz HTTP/1.1"), "");
        assert_eq!(read(&text).unwrap().method, method);
    }
    // The bare health check of a load balancer.
    let request = read("OPTIONS / HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!((request.method, request.path()), ("OPTIONS", "/"));
}

#[test]
fn only_http_1_1_may_upgrade() {
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
    // A plain request with HTTP/1.0 is accepted.
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
fn an_upgrade_needs_all_its_headers() {
    // RFC 6455 §4.2.1: "the server MUST stop processing the client's handshake and return an HTTP response with an
    // appropriate error code (such as 400 Bad Request)."
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
        "dGhlIHNhbXBsZSBub25jZ",        // half a byte
        "dGhlIHNhbXBsZSBub2-_ZQ==",     // the other alphabet
        "dGhlIHNhbXBs ZSBub25jZQ==",    // white space
        "dGhlIHNhbXBsZSBub25jZQ======", // padded too much
        "dGhlIHNhbXBsZSBub25jZQ===",
        "==dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZ=Q=",
        "========================",
    ] {
        let text = with("Sec-WebSocket-Key", &format!("Sec-WebSocket-Key: {key}"));
        assert_eq!(error(&text), HandshakeError::Key, "{key}");
    }
    // The first is the example of RFC 6455 §4.1, whose last character has an unused bit.
    for key in [
        "AQIDBAUGBwgJCgsMDQ4PEC==",
        "AQIDBAUGBwgJCgsMDQ4PEA==",
        "dGhlIHNhbXBsZSBub25jZf==",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQ=",
    ] {
        let text = with(
            "Sec-WebSocket-Key",
            &format!("Sec-WebSocket-Key:   {key}  "),
        );
        let request = read(&text).unwrap();
        assert_eq!(request.upgrade.unwrap().key, key, "the text as it was sent");
    }
    // The answer is computed from the text, so keys that decode alike have different answers.
    assert_ne!(
        accept_key("AQIDBAUGBwgJCgsMDQ4PEC=="),
        accept_key("AQIDBAUGBwgJCgsMDQ4PEA==")
    );
}

#[test]
fn protocols_are_different_tokens() {
    // RFC 6455 §4.1: "MUST be non-empty strings with characters in the range U+0021 to U+007E not including separator
    // characters as defined in [RFC2616] and MUST all be unique strings."
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
    // RFC 6455 §4.3: "the value after quoted-string unescaping MUST conform to the 'token' ABNF." §9.1: "the recipient
    // of such malformed data MUST immediately _Fail the WebSocket Connection_."
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
fn plain_requests_are_accepted() {
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
