use crate::handshake::client::{
    ClientRequest, Response, ResponseError, parse_response, write_request,
};
use crate::handshake::{HandshakeLimits, Unwritable};

/// The key of RFC 6455 §1.3: "the sample nonce".
const KEY: [u8; 16] = *b"the sample nonce";

const GOOD: &str = "HTTP/1.1 101 Switching Protocols\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
    Sec-WebSocket-Protocol: chat\r\n\
    Sec-WebSocket-Extensions: foo; bar\r\n\r\n";

const REQUEST: ClientRequest<'_> = ClientRequest {
    host: "server.example.com",
    target: "/chat",
    origin: Some("http://example.com"),
    protocols: &["chat", "superchat"],
    extensions: Some("foo, permessage-deflate; client_max_window_bits"),
    headers: &[("User-Agent", "test")],
};

fn read(text: &str) -> Result<(Response<'_>, usize), ResponseError> {
    let read = parse_response(text.as_bytes(), KEY, &REQUEST, &HandshakeLimits::default());
    read.map(|response| response.expect("complete"))
}

fn with(name: &str, with: &str) -> String {
    let start = GOOD.find(&format!("{name}:")).unwrap();
    let end = start + GOOD[start..].find("\r\n").unwrap() + 2;
    format!("{}{with}{}", &GOOD[..start], &GOOD[end..])
}

#[test]
fn a_request_has_the_required_headers() {
    // RFC 6455 §4.1: "The handshake MUST be a valid HTTP request". "The method of the request MUST be GET, and the HTTP
    // version MUST be at least 1.1." "The "Request-URI" part of the request MUST match the /resource name/". "The
    // request MUST contain a |Host| header field". "The request MUST contain an |Upgrade| header field whose value MUST
    // include the "websocket" keyword." "The request MUST contain a |Connection| header field whose value MUST include
    // the "Upgrade" token." "The request MUST include a header field with the name |Sec-WebSocket-Key|." "The request
    // MUST include a header field with the name |Sec-WebSocket-Version|. The value of this header field MUST be 13."
    let mut out = Vec::new();
    write_request(&mut out, &REQUEST, KEY).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Origin: http://example.com\r\nSec-WebSocket-Protocol: chat, superchat\r\n\
         Sec-WebSocket-Extensions: foo, permessage-deflate; client_max_window_bits\r\nUser-Agent: test\r\n\r\n"
    );
}

#[test]
fn invalid_components_are_refused() {
    // RFC 6455 §4.1: the components "MUST be valid according to the specification of WebSocket URIs specified in
    // Section 3. If any of the components are invalid, the client MUST _Fail the WebSocket Connection_ and abort these
    // steps." The subprotocols "MUST be non-empty strings with characters in the range U+0021 to U+007E not including
    // separator characters as defined in [RFC2616] and MUST all be unique strings."
    let requests = [
        ClientRequest {
            host: "",
            ..REQUEST
        },
        ClientRequest {
            host: "a\r\nX: b",
            ..REQUEST
        },
        ClientRequest {
            host: "a/b",
            ..REQUEST
        },
        ClientRequest {
            target: "",
            ..REQUEST
        },
        ClientRequest {
            target: "chat",
            ..REQUEST
        },
        ClientRequest {
            target: "/a b",
            ..REQUEST
        },
        ClientRequest {
            target: "/a\r\nX: b",
            ..REQUEST
        },
        // §3: "Fragment identifiers [...] MUST NOT be used".
        ClientRequest {
            target: "/a#b",
            ..REQUEST
        },
        ClientRequest {
            origin: Some("a\nb"),
            ..REQUEST
        },
        ClientRequest {
            protocols: &["a", "a"],
            ..REQUEST
        },
        ClientRequest {
            protocols: &[""],
            ..REQUEST
        },
        ClientRequest {
            protocols: &["a,b"],
            ..REQUEST
        },
        ClientRequest {
            extensions: Some("foo\r\n"),
            ..REQUEST
        },
        ClientRequest {
            extensions: Some(""),
            ..REQUEST
        },
        ClientRequest {
            headers: &[("X", "a\r\nb")],
            ..REQUEST
        },
        ClientRequest {
            headers: &[("host", "b")],
            ..REQUEST
        },
        ClientRequest {
            headers: &[("Sec-WebSocket-Key", "b")],
            ..REQUEST
        },
        ClientRequest {
            headers: &[("origin", "b")],
            ..REQUEST
        },
    ];
    for request in requests {
        let mut out = Vec::new();
        assert_eq!(
            write_request(&mut out, &request, KEY),
            Err(Unwritable),
            "{request:?}"
        );
        assert!(out.is_empty());
    }
}

#[test]
fn a_good_response() {
    let text = format!("{GOOD}frames");
    let (response, length) = read(&text).unwrap();
    assert!(response.switched());
    assert_eq!(length, GOOD.len());
    assert_eq!(response.protocol, Some("chat"));
    assert_eq!(response.extensions().collect::<Vec<_>>(), [b"foo; bar"]);
    for text in [
        with("Upgrade", "UPGRADE: WebSocket\r\n"),
        with(
            "Connection",
            "Connection: foo\r\nConnection: bar, upgrade\r\n",
        ),
        with(
            "Sec-WebSocket-Accept",
            "sec-websocket-accept: \t s3pPLMBiTxaQ9kYGzzhZRbK+xOo= \r\n",
        ),
        with("Sec-WebSocket-Extensions", ""),
        with(
            "Sec-WebSocket-Extensions",
            "Sec-WebSocket-Extensions: permessage-deflate, foo\r\n",
        ),
    ] {
        assert!(read(&text).unwrap().0.switched(), "{text}");
    }
    assert_eq!(
        read(&with("Sec-WebSocket-Protocol", ""))
            .unwrap()
            .0
            .protocol,
        None
    );
}

#[test]
fn invalid_responses_fail_the_connection() {
    use ResponseError::{Accept, Connection, Extension, Protocol, Syntax, Upgrade};
    // RFC 6455 §4.1: "The client MUST validate the server's response as follows". "[...] match for the value
    // "websocket", the client MUST _Fail the WebSocket Connection_." "[...] match for the value "Upgrade", the client
    // MUST _Fail the WebSocket Connection_." "[...] but ignoring any leading and trailing whitespace, the client MUST
    // _Fail the WebSocket Connection_." "[...] (the server has indicated an extension not requested by the client), the
    // client MUST _Fail the WebSocket Connection_." "[...] (the server has indicated a subprotocol not requested by the
    // client), the client MUST _Fail the WebSocket Connection_." "If the server's response does not conform to the
    // requirements for the server's handshake as defined in this section and in Section 4.2.2, the client MUST _Fail
    // the WebSocket Connection_."
    let cases = [
        (with("Upgrade", ""), Upgrade),
        (with("Upgrade", "Upgrade: h2c\r\n"), Upgrade),
        (with("Upgrade", "Upgrade: websocket, h2c\r\n"), Upgrade),
        (with("Connection", ""), Connection),
        (with("Connection", "Connection: close\r\n"), Connection),
        (with("Sec-WebSocket-Accept", ""), Accept),
        (
            with("Sec-WebSocket-Accept", "Sec-WebSocket-Accept:\r\n"),
            Accept,
        ),
        (
            with(
                "Sec-WebSocket-Accept",
                "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
            ),
            Accept,
        ),
        (
            GOOD.replace(
                "Connection: Upgrade\r\n",
                "Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
            ),
            Accept,
        ),
        (
            with(
                "Sec-WebSocket-Protocol",
                "Sec-WebSocket-Protocol: other\r\n",
            ),
            Protocol,
        ),
        (
            with("Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol: Chat\r\n"),
            Protocol,
        ),
        (
            with("Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol:\r\n"),
            Protocol,
        ),
        (
            with(
                "Sec-WebSocket-Protocol",
                "Sec-WebSocket-Protocol: chat, superchat\r\n",
            ),
            Protocol,
        ),
        (
            with(
                "Sec-WebSocket-Protocol",
                "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: superchat\r\n",
            ),
            Protocol,
        ),
        (
            with(
                "Sec-WebSocket-Extensions",
                "Sec-WebSocket-Extensions: other\r\n",
            ),
            Extension,
        ),
        (
            with(
                "Sec-WebSocket-Extensions",
                "Sec-WebSocket-Extensions: foo, other\r\n",
            ),
            Extension,
        ),
        (
            with(
                "Sec-WebSocket-Extensions",
                "Sec-WebSocket-Extensions: foo;\r\n",
            ),
            Extension,
        ),
        (GOOD.replace("HTTP/1.1", "HTTP/1.0"), Syntax),
        (GOOD.replace("HTTP/1.1 101", "HTTP/1.1 999"), Syntax),
        (
            GOOD.replace("Upgrade: websocket\r\n", "Upgrade: websocket\n"),
            Syntax,
        ),
        (
            GOOD.replace("Upgrade: websocket\r\n", "Upgrade:\r\n websocket\r\n"),
            Syntax,
        ),
        ("SSH-2.0-OpenSSH".to_owned(), Syntax),
    ];
    for (text, error) in cases {
        assert_eq!(read(&text).expect_err(&text), error, "{text}");
    }
    // Neither was offered at all.
    let bare = ClientRequest {
        protocols: &[],
        extensions: None,
        ..REQUEST
    };
    let limits = HandshakeLimits::default();
    let answer =
        |text: &str| parse_response(text.as_bytes(), KEY, &bare, &limits).map(|r| r.is_some());
    assert_eq!(answer(GOOD), Err(Extension));
    assert_eq!(answer(&with("Sec-WebSocket-Extensions", "")), Err(Protocol));
}

#[test]
fn other_statuses_are_not_errors() {
    // RFC 6455 §4.1: "If the status code received from the server is not 101, the client handles the response per
    // HTTP".
    let text = "HTTP/1.1 302 Found\r\nLocation: ws://b/\r\nContent-Length: 2\r\n\r\nhi";
    let (response, length) = read(text).unwrap();
    assert_eq!(
        (response.status, response.switched(), length),
        (302, false, text.len() - 2)
    );
    assert_eq!(response.header("location"), Some(&b"ws://b/"[..]));
    let (response, _) = read("HTTP/1.1 503\r\nRetry-After: 5\r\n\r\n").unwrap();
    assert_eq!(
        (response.status, response.header("Retry-After")),
        (503, Some(&b"5"[..]))
    );
}

#[test]
fn informational_responses_are_skipped() {
    let text =
        format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n{GOOD}");
    let (response, length) = read(&text).unwrap();
    assert!(response.switched());
    assert_eq!(length, text.len());
    let limits = HandshakeLimits::new(text.len() - 1);
    let error = parse_response(text.as_bytes(), KEY, &REQUEST, &limits).unwrap_err();
    assert_eq!(error, ResponseError::HeadTooLarge);
}

#[test]
fn limits_of_the_head() {
    let limits = HandshakeLimits::new(GOOD.len());
    assert!(
        parse_response(GOOD.as_bytes(), KEY, &REQUEST, &limits)
            .unwrap()
            .is_some()
    );
    let many = GOOD.replace(
        "Upgrade: w",
        &format!("{}Upgrade: w", "X: y\r\n".repeat(500)),
    );
    let (response, _) = read(&many).unwrap();
    assert!(response.switched() && response.headers.len() > 500);
    let short = HandshakeLimits::new(20);
    let error = parse_response(&GOOD.as_bytes()[..20], KEY, &REQUEST, &short).unwrap_err();
    assert_eq!(error, ResponseError::HeadTooLarge);
}
