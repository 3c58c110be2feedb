//! Writing the answer to a request.

use crate::handshake::grammar::{Extensions, has_controls, is_token};
use crate::handshake::{HandshakeError, Unwritable, accept_key, are_writable, push_header};

/// Headers that only the handshake itself writes.
const RESERVED: [&str; 8] = [
    "Upgrade",
    "Connection",
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Version",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Extensions",
    "Content-Length",
    "Transfer-Encoding",
];

/// Accepts an upgrade: appends the whole 101 response to `out`.
///
/// `key` is that of the request. `protocol` is one that the request [`offers`](super::Request::offers). `extensions` is the
/// result of the negotiation. `extra` has any further headers, such as cookies.
///
/// # Errors
/// [`Unwritable`].
// RFC 6455 §4.2.2: "If the server chooses to accept the incoming connection, it MUST reply with a valid HTTP response
// indicating the following": a 101 status line, Upgrade, Connection and Sec-WebSocket-Accept. "[...] if the server does
// not wish to agree to one of the suggested subprotocols, it MUST NOT send back a |Sec-WebSocket-Protocol| header field
// in its response".
pub fn write_accept(
    out: &mut Vec<u8>,
    key: &str,
    protocol: Option<&str>,
    extensions: Option<&str>,
    extra: &[(&str, &str)],
) -> Result<(), Unwritable> {
    let protocol_ok = protocol.is_none_or(|p| is_token(p.as_bytes()));
    let extensions_ok = extensions.is_none_or(|e| {
        let mut list = Extensions::new(e.as_bytes()).peekable();
        list.peek().is_some() && list.all(|extension| extension.is_ok())
    });
    if !protocol_ok || !extensions_ok || !are_writable(extra, &RESERVED) {
        return Err(Unwritable);
    }
    out.extend_from_slice(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
    );
    push_header(out, "Sec-WebSocket-Accept", &accept_key(key));
    if let Some(protocol) = protocol {
        push_header(out, "Sec-WebSocket-Protocol", protocol.as_bytes());
    }
    if let Some(extensions) = extensions {
        push_header(out, "Sec-WebSocket-Extensions", extensions.as_bytes());
    }
    for (name, value) in extra {
        push_header(out, name, value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Writes any other answer, after which the connection closes: appends the whole response to `out`, without `body` if
/// `head_only` (the answer to HEAD).
///
/// A 426 always names the version and the protocol that we support. A 405 has `Allow` and a 503 `Retry-After`, unless `extra`
/// has its own. There is no `Date`, since this crate has no clock.
///
/// # Errors
/// [`Unwritable`]; `status` must be within 200..=599.
pub fn write_response(
    out: &mut Vec<u8>,
    status: u16,
    content_type: &str,
    extra: &[(&str, &str)],
    body: &[u8],
    head_only: bool,
) -> Result<(), Unwritable> {
    let status_ok = (200..600).contains(&status);
    if !status_ok || has_controls(content_type.as_bytes()) || !are_writable(extra, &RESERVED) {
        return Err(Unwritable);
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    push_number(out, usize::from(status));
    out.push(b' ');
    out.extend_from_slice(phrase(status).as_bytes());
    out.extend_from_slice(b"\r\n");
    if status == 426 {
        // RFC 6455 §4.2.2: "[...] and a |Sec-WebSocket-Version| header field indicating the version(s) the server is
        // capable of understanding." §4.4: "If the server doesn't support the requested version, it MUST respond with a
        // |Sec-WebSocket-Version| header field (or multiple |Sec-WebSocket-Version| header fields) containing all
        // versions it is willing to use." RFC 9110 §15.5.22: "The server MUST send an Upgrade header field in a 426
        // response".
        out.extend_from_slice(
            b"Connection: close, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        );
    } else {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    let given = |name: &str| extra.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    // RFC 9110 §15.5.6: "The origin server MUST generate an Allow header field in a 405 response".
    if status == 405 && !given("Allow") {
        push_header(out, "Allow", b"GET, HEAD, OPTIONS");
    }
    if status == 503 && !given("Retry-After") {
        push_header(out, "Retry-After", b"5");
    }
    for (name, value) in extra {
        push_header(out, name, value.as_bytes());
    }
    // RFC 9110 §6.4.1: 204 and 304 have no content.
    let body = if matches!(status, 204 | 304) {
        &[]
    } else {
        body
    };
    if !body.is_empty() && !content_type.is_empty() {
        push_header(out, "Content-Type", content_type.as_bytes());
    }
    // §8.6: "A server MUST NOT send a Content-Length header field in any response with a status code of [...] 204".
    if !matches!(status, 204 | 304) {
        out.extend_from_slice(b"Content-Length: ");
        push_number(out, body.len());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    if !head_only {
        out.extend_from_slice(body);
    }
    Ok(())
}

/// Writes the answer to a request that [`parse`](super::parse) refused.
pub fn write_error(out: &mut Vec<u8>, error: HandshakeError) {
    let reason = error.reason();
    let written = write_response(
        out,
        error.status(),
        "text/plain; charset=utf-8",
        &[],
        reason.as_bytes(),
        false,
    );
    debug_assert!(written.is_ok());
}

fn push_number(out: &mut Vec<u8>, number: usize) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// The standard phrase of a status, or that of its class.
fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => match status / 100 {
            2 => "Success",
            3 => "Redirection",
            4 => "Client Error",
            _ => "Server Error",
        },
    }
}
