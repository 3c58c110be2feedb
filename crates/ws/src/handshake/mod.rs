//! The opening handshake (RFC 6455 §4), server and client side, on `httparse`.
//!
//! Nothing here allocates except the growing output of the writers, and the list of headers of a head with more than 64: a request
//! or response borrows the octets that it was read from. A head is bounded by its bytes, not by the number of its headers.
//!
//! A head that arrives in pieces is read once: [`server::scan`] reads only new octets until it finds the end of the head, and
//! then [`server::parse`] is called.

pub mod client;
pub mod grammar;
mod headers;
pub mod server;
#[cfg(test)]
mod tests;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use std::fmt;

pub use headers::Headers;

/// Bounds of the head of a request or response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandshakeLimits {
    /// The most bytes of a head, including the empty line at its end. For a response it also includes the informational responses
    /// before it.
    pub max_head: usize,
}

impl HandshakeLimits {
    /// These bounds.
    #[must_use]
    pub const fn new(max_head: usize) -> Self {
        Self { max_head }
    }
}

impl Default for HandshakeLimits {
    fn default() -> Self {
        HandshakeLimits {
            max_head: 16 * 1024,
        }
    }
}

/// The reason why a server refuses a request. It is always the peer's fault, and is answered with a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The head is not HTTP: bad syntax, folded lines, a bare CR or LF, control characters.
    Syntax,
    /// The head is longer than [`HandshakeLimits::max_head`].
    HeadTooLarge,
    /// None of GET, HEAD and OPTIONS, or an upgrade that is not GET.
    Method,
    /// Neither HTTP/1.1 nor, for a plain request, HTTP/1.0.
    HttpVersion,
    /// No `Host`, several, or one that is not an authority.
    Host,
    /// The request target is neither a path nor an http(s) URI (nor `*`, for OPTIONS), or has a fragment.
    Target,
    /// The request has a body, or may have one.
    Body,
    /// Several `Origin` headers, or one that is not visible ASCII.
    Origin,
    /// WebSocket headers without `Upgrade: websocket`.
    Upgrade,
    /// `Upgrade: websocket` without `Connection: upgrade`.
    Connection,
    /// `Sec-WebSocket-Version` is not 13.
    WebSocketVersion,
    /// `Sec-WebSocket-Key` is missing, occurs twice, or does not decode to 16 bytes.
    Key,
    /// `Sec-WebSocket-Protocol` is not a list of different tokens.
    Protocols,
    /// `Sec-WebSocket-Extensions` does not follow its grammar.
    Extensions,
}

impl HandshakeError {
    /// The status of the answer.
    pub fn status(self) -> u16 {
        match self {
            HandshakeError::HeadTooLarge => 431,
            HandshakeError::Method => 405,
            HandshakeError::HttpVersion => 505,
            HandshakeError::WebSocketVersion => 426,
            _ => 400,
        }
    }

    /// One short line for the body of the answer.
    pub fn reason(self) -> &'static str {
        match self {
            HandshakeError::Syntax => "malformed HTTP request",
            HandshakeError::HeadTooLarge => "request head too large",
            HandshakeError::Method => "method not allowed",
            HandshakeError::HttpVersion => "HTTP/1.1 is required",
            HandshakeError::Host => "exactly one valid Host is required",
            HandshakeError::Target => "invalid request target",
            HandshakeError::Body => "a request body is not accepted",
            HandshakeError::Origin => "invalid Origin",
            HandshakeError::Upgrade => "Upgrade: websocket is required",
            HandshakeError::Connection => "Connection: Upgrade is required",
            HandshakeError::WebSocketVersion => "Sec-WebSocket-Version must be 13",
            HandshakeError::Key => {
                "exactly one Sec-WebSocket-Key of 16 base64-encoded bytes is required"
            }
            HandshakeError::Protocols => "invalid Sec-WebSocket-Protocol",
            HandshakeError::Extensions => "invalid Sec-WebSocket-Extensions",
        }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the peer's fault: {} ({})", self.reason(), self.status())
    }
}

impl std::error::Error for HandshakeError {}

/// The caller asks for an invalid head: the name of a header is not a token or belongs to the handshake, a value has control
/// characters, with which it could inject a line, a protocol is not a token, a target is not a path, or a status is not
/// final. Nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unwritable;

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the caller's value must not be written into an HTTP head")
    }
}

impl std::error::Error for Unwritable {}

/// The length of the head at the start of `buf`, including its empty line, or `None` if it is incomplete.
///
/// `scanned_before` is the number of bytes of the same buffer that an earlier call has read; they are not read again. Lines may
/// end in a bare LF here, so that such a head is found and refused.
pub fn head_end(buf: &[u8], scanned_before: usize) -> Option<usize> {
    let start = skip_empty_line(buf);
    let blank = |at: usize| match buf.get(at..)? {
        [b'\n', ..] => Some(at + 1),
        [b'\r', b'\n', ..] => Some(at + 2),
        _ => None,
    };
    if let Some(end) = blank(start) {
        return Some(end);
    }
    // The last two bytes that were read may begin the end: LF, CR.
    let from = scanned_before.saturating_sub(2).clamp(start, buf.len());
    let mut lines = buf[from..].iter().enumerate().filter(|&(_, &b)| b == b'\n');
    lines.find_map(|(i, _)| blank(from + i + 1))
}

/// RFC 9112 §2.2: a server "SHOULD ignore at least one empty line (CRLF) received prior to the request-line."
fn skip_empty_line(buf: &[u8]) -> usize {
    if buf.starts_with(b"\r\n") { 2 } else { 0 }
}

/// The number of lines of a head in which each ends in CRLF and there is no NUL; `None` for any other head. httparse accepts a bare
/// LF, which an HTTP implementation in front of this one may read differently.
fn clean_lines(head: &[u8]) -> Option<usize> {
    let mut last = 0;
    let mut lines = 0;
    for &b in head {
        if b == 0 || (b == b'\n') != (last == b'\r') {
            return None;
        }
        lines += usize::from(b == b'\n');
        last = b;
    }
    Some(lines)
}

/// Computes `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`.
// RFC 6455 §4.2.2: "concatenating /key/ [...] with the string "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", taking the SHA-1
// hash of this concatenated value to obtain a 20-byte value and base64-encoding [it]".
pub fn accept_key(key: &str) -> [u8; 28] {
    let hash = Sha1::new()
        .chain_update(key.as_bytes())
        .chain_update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
        .finalize();
    let mut accept = [0; 28];
    // 20 bytes make exactly 28 characters.
    let written = STANDARD.encode_slice(&hash[..], &mut accept);
    debug_assert_eq!(written, Ok(28));
    accept
}

/// Whether `text` is valid in `Host`: a name or address, optionally with a port, without user and path (RFC 9112 §3.2).
fn is_authority(text: &[u8]) -> bool {
    let (host, port) = match text.iter().rposition(|&b| b == b':') {
        Some(colon) if !text[colon..].contains(&b']') => (&text[..colon], &text[colon + 1..]),
        _ => (text, &[][..]),
    };
    let host_ok = match host {
        [b'[', inside @ .., b']'] => {
            !inside.is_empty() && inside.iter().all(|&b| is_name_octet(b) || b == b':')
        }
        _ => !host.is_empty() && host.iter().all(|&b| is_name_octet(b)),
    };
    host_ok && port.len() <= 5 && port.iter().all(u8::is_ascii_digit)
}

/// RFC 3986 §3.2.2: unreserved, sub-delims and percent escapes.
fn is_name_octet(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(&b)
}

/// Whether `text` can be a target in origin-form: a path, perhaps a query, no fragment (RFC 6455 §3: fragments "MUST
/// NOT be used on these URIs").
fn is_origin_form(text: &[u8]) -> bool {
    text.starts_with(b"/") && is_target_text(text)
}

/// Visible ASCII without `#`. Percent escapes are not decoded.
fn is_target_text(text: &[u8]) -> bool {
    text.iter().all(|&b| b.is_ascii_graphic() && b != b'#')
}

/// Appends `name: value` and CRLF.
fn push_header(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Whether the caller's headers may be written: they neither break lines nor have a `reserved` name.
fn are_writable(headers: &[(&str, &str)], reserved: &[&str]) -> bool {
    headers.iter().all(|(name, value)| {
        grammar::is_token(name.as_bytes())
            && !grammar::has_controls(value.as_bytes())
            && !reserved.iter().any(|r| r.eq_ignore_ascii_case(name))
    })
}
