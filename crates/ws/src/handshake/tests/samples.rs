//! A valid request, and functions that change it.

use crate::handshake::server::{Request, parse};
use crate::handshake::{HandshakeError, HandshakeLimits};

pub(super) const GOOD: &str = "GET /chat?room=1 HTTP/1.1\r\n\
    Host: server.example.com\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Origin: http://example.com\r\n\
    Sec-WebSocket-Protocol: chat, superchat\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

pub(super) fn read(text: &str) -> Result<Request<'_>, HandshakeError> {
    let (request, length) = parse(text.as_bytes(), &HandshakeLimits::default())?.expect("complete");
    assert_eq!(length, text.len());
    Ok(request)
}

pub(super) fn error(text: &str) -> HandshakeError {
    read(text).expect_err(text)
}

/// [`GOOD`] with the line of a header replaced; an empty `with` removes it.
pub(super) fn with(name: &str, with: &str) -> String {
    let start = GOOD.find(&format!("{name}:")).unwrap();
    let end = start + GOOD[start..].find("\r\n").unwrap() + 2;
    let line = if with.is_empty() {
        String::new()
    } else {
        format!("{with}\r\n")
    };
    format!("{}{line}{}", &GOOD[..start], &GOOD[end..])
}

pub(super) fn and(line: &str) -> String {
    format!("{}{line}\r\n\r\n", &GOOD[..GOOD.len() - 2])
}

pub(super) fn plain(request_line: &str, lines: &str) -> String {
    format!("{request_line}\r\nHost: a\r\n{lines}\r\n")
}
