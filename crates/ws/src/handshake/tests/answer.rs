use super::samples::{error, with};
use crate::handshake::server::{write_accept, write_error, write_response};
use crate::handshake::{HandshakeError, Unwritable};

#[test]
fn answers_have_their_headers() {
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
    // RFC 6455 §4.4: "it MUST respond with a |Sec-WebSocket-Version| header field (or multiple |Sec-WebSocket-Version|
    // header fields) containing all versions it is willing to use." RFC 9110 §15.5.22.
    let upgrade = text(426, &[], b"", false);
    assert!(
        upgrade.contains("Sec-WebSocket-Version: 13\r\n")
            && upgrade.contains("Upgrade: websocket\r\n")
    );
    assert!(text(405, &[], b"", false).contains("Allow: GET, HEAD, OPTIONS\r\n"));
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
    // RFC 6455 §4.2.2: "the server MUST abort the WebSocket handshake described in this section and instead send an
    // appropriate HTTP error code (such as 426 Upgrade Required)".
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
fn headers_cannot_be_injected() {
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
