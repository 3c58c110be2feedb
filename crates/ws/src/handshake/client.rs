//! The client's side: writing a request, checking the response (RFC 6455 §4.1).
//!
//! The requirements of §4.1 on connections (one at a time in the CONNECTING state, proxies, TLS) are left to the caller.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::grammar::{Extensions, has_controls, is_token, list_contains};
use super::{
    HandshakeLimits, Headers, Unwritable, accept_key, are_writable, clean_lines, head_end,
    is_authority, is_origin_form, push_header,
};

/// Headers that only the handshake itself writes.
const RESERVED: [&str; 9] = [
    "Host",
    "Upgrade",
    "Connection",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Extensions",
    "Content-Length",
    "Transfer-Encoding",
];

/// The request of a client.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct ClientRequest<'a> {
    /// The server's host, with `:port` unless that is the scheme's default.
    pub host: &'a str,
    /// Path and query: begins with `/`, no fragment.
    pub target: &'a str,
    /// `Origin`, for clients that run on behalf of a page.
    pub origin: Option<&'a str>,
    /// Subprotocols offered, the preferred one first.
    pub protocols: &'a [&'a str],
    /// Extensions offered: the value of the header.
    pub extensions: Option<&'a str>,
    /// Any further headers.
    pub headers: &'a [(&'a str, &'a str)],
}

impl<'a> ClientRequest<'a> {
    /// A request without an origin, subprotocols, extensions and further headers.
    #[must_use]
    pub const fn new(host: &'a str, target: &'a str) -> Self {
        Self {
            host,
            target,
            origin: None,
            protocols: &[],
            extensions: None,
            headers: &[],
        }
    }
}

/// A server's response, which borrows its octets. The connection is a WebSocket only if [`switched`](Self::switched) is `true`.
#[derive(Debug, Clone)]
pub struct Response<'a> {
    /// The status: 101, or a final status of HTTP, such as a redirection, 401, or 503 with `Retry-After`.
    pub status: u16,
    /// The subprotocol in use, one of those offered.
    pub protocol: Option<&'a str>,
    /// All headers.
    pub headers: Headers<'a>,
}

impl<'a> Response<'a> {
    /// Whether the handshake has succeeded.
    pub fn switched(&self) -> bool {
        self.status == 101
    }

    /// The value of the first header called `name`, in any case.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers.get(name)
    }

    /// The values of `Sec-WebSocket-Extensions`, for
    /// [`negotiate::client_accept`](crate::deflate::negotiate::client_accept).
    pub fn extensions(&self) -> impl Iterator<Item = &'a [u8]> + '_ {
        self.headers.all("Sec-WebSocket-Extensions")
    }
}

/// The reason why a client must fail the connection. It is always the server's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResponseError {
    /// The response is not HTTP/1.1.
    Syntax,
    /// The head, including informational responses before it, is longer than allowed.
    HeadTooLarge,
    /// 101 without `Upgrade: websocket`.
    Upgrade,
    /// 101 without `Connection: Upgrade`.
    Connection,
    /// `Sec-WebSocket-Accept` does not match our key.
    Accept,
    /// A subprotocol that was not offered.
    Protocol,
    /// An extension that was not offered, or a malformed list of them.
    Extension,
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ResponseError::Syntax => "the server's response is not HTTP/1.1",
            ResponseError::HeadTooLarge => "the server's response head is too large",
            ResponseError::Upgrade => "the server's response lacks Upgrade: websocket",
            ResponseError::Connection => "the server's response lacks Connection: Upgrade",
            ResponseError::Accept => "the server's Sec-WebSocket-Accept does not match the key",
            ResponseError::Protocol => "the server chose a subprotocol that was not offered",
            ResponseError::Extension => "the server chose an extension that was not offered",
        })
    }
}

impl std::error::Error for ResponseError {}

/// Appends the request to `out`. `key` is 16 random bytes, different for each connection.
///
/// # Errors
/// [`Unwritable`]: a component is invalid.
// RFC 6455 §4.1: "The components of the WebSocket URI passed into this algorithm (/host/, /port/, /resource name/, and
// /secure/ flag) MUST be valid according to the specification of WebSocket URIs specified in Section 3. If any of the
// components are invalid, the client MUST _Fail the WebSocket Connection_ and abort these steps." "The handshake MUST
// be a valid HTTP request".
pub fn write_request(
    out: &mut Vec<u8>,
    request: &ClientRequest<'_>,
    key: [u8; 16],
) -> Result<(), Unwritable> {
    if !is_writable(request) {
        return Err(Unwritable);
    }
    // RFC 6455 §4.1: "The method of the request MUST be GET, and the HTTP version MUST be at least 1.1." "The
    // "Request-URI" part of the request MUST match the /resource name/ defined in Section 3 (a relative URI)".
    out.extend_from_slice(b"GET ");
    out.extend_from_slice(request.target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    // RFC 6455 §4.1: "The request MUST contain a |Host| header field whose value contains /host/ plus optionally ":"
    // followed by /port/". "The request MUST contain an |Upgrade| header field whose value MUST include the "websocket"
    // keyword." "The request MUST contain a |Connection| header field whose value MUST include the "Upgrade" token."
    // "The request MUST include a header field with the name |Sec-WebSocket-Version|. The value of this header field
    // MUST be 13."
    push_header(out, "Host", request.host.as_bytes());
    out.extend_from_slice(
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n",
    );
    // RFC 6455 §4.1: "The request MUST include a header field with the name |Sec-WebSocket-Key|. The value of this
    // header field MUST be a nonce consisting of a randomly selected 16-byte value that has been base64-encoded".
    push_header(out, "Sec-WebSocket-Key", &encode_key(key));
    if let Some(origin) = request.origin {
        push_header(out, "Origin", origin.as_bytes());
    }
    if let Some((first, others)) = request.protocols.split_first() {
        out.extend_from_slice(b"Sec-WebSocket-Protocol: ");
        out.extend_from_slice(first.as_bytes());
        for other in others {
            out.extend_from_slice(b", ");
            out.extend_from_slice(other.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
    if let Some(extensions) = request.extensions {
        push_header(out, "Sec-WebSocket-Extensions", extensions.as_bytes());
    }
    for (name, value) in request.headers {
        push_header(out, name, value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

fn is_writable(request: &ClientRequest<'_>) -> bool {
    // RFC 6455 §4.1: the protocols "MUST be non-empty strings with characters in the range U+0021 to U+007E not
    // including separator characters as defined in [RFC2616] and MUST all be unique strings."
    let protocols = request.protocols;
    let protocols_ok = protocols
        .iter()
        .enumerate()
        .all(|(i, p)| is_token(p.as_bytes()) && !protocols[..i].contains(p));
    let extensions_ok = request.extensions.is_none_or(|e| {
        let mut list = Extensions::new(e.as_bytes()).peekable();
        list.peek().is_some() && list.all(|extension| extension.is_ok())
    });
    let origin_twice = request.origin.is_some()
        && request
            .headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("Origin"));
    is_authority(request.host.as_bytes())
        && is_origin_form(request.target.as_bytes())
        && request.origin.is_none_or(|o| !has_controls(o.as_bytes()))
        && protocols_ok
        && extensions_ok
        && !origin_twice
        && are_writable(request.headers, &RESERVED)
}

/// The base64 of 16 bytes is 24 characters.
fn encode_key(key: [u8; 16]) -> [u8; 24] {
    let mut text = [0; 24];
    let written = STANDARD.encode_slice(key, &mut text);
    debug_assert_eq!(written, Ok(24));
    text
}

/// Reads the response at the start of `buf` to the `request` that was sent with `key`. Returns the response and the length of
/// its head, after which frames or a body may follow, or `None` if it is incomplete. Informational responses before it are
/// skipped.
///
/// A status other than 101 is not an error but the server's answer. The caller checks the parameters of the extensions that it
/// offered.
///
/// # Errors
/// [`ResponseError`]: the connection must be failed.
// RFC 6455 §4.1: "The client MUST validate the server's response as follows". "If the server's response does not
// conform to the requirements for the server's handshake as defined in this section and in Section 4.2.2, the client
// MUST _Fail the WebSocket Connection_."
pub fn parse_response<'a>(
    buf: &'a [u8],
    key: [u8; 16],
    request: &ClientRequest<'_>,
    limits: &HandshakeLimits,
) -> Result<Option<(Response<'a>, usize)>, ResponseError> {
    let mut start = 0;
    loop {
        let rest = &buf[start..];
        // Anything that does not begin with "HTTP/" is refused without waiting for its end.
        let known = rest.len().min(5);
        if rest[..known] != b"HTTP/"[..known] {
            return Err(ResponseError::Syntax);
        }
        let Some(length) = head_end(rest, 0) else {
            let full = buf.len() >= limits.max_head;
            return if full {
                Err(ResponseError::HeadTooLarge)
            } else {
                Ok(None)
            };
        };
        if start + length > limits.max_head {
            return Err(ResponseError::HeadTooLarge);
        }
        let (status, headers) = read_head(&rest[..length])?;
        start += length;
        match status {
            101 => return Ok(Some((validate(headers, key, request)?, start))),
            // RFC 9110 §15.2: "A client MUST be able to parse one or more 1xx responses received prior to a final
            // response, even if the client does not expect one."
            100..200 => {}
            _ => {
                return Ok(Some((
                    Response {
                        status,
                        protocol: None,
                        headers,
                    },
                    start,
                )));
            }
        }
    }
}

fn read_head(head: &[u8]) -> Result<(u16, Headers<'_>), ResponseError> {
    let lines = clean_lines(head).ok_or(ResponseError::Syntax)?;
    let mut headers = Headers::with_room(lines);
    let mut raw = httparse::Response::new(headers.room());
    match raw.parse(head) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        _ => return Err(ResponseError::Syntax),
    }
    let (Some(1), Some(status @ 100..600)) = (raw.version, raw.code) else {
        return Err(ResponseError::Syntax);
    };
    let count = raw.headers.len();
    headers.set_len(count);
    Ok((status, headers))
}

/// What RFC 6455 §4.1 demands of a 101.
fn validate<'a>(
    headers: Headers<'a>,
    key: [u8; 16],
    request: &ClientRequest<'_>,
) -> Result<Response<'a>, ResponseError> {
    // RFC 6455 §4.1: "If the response lacks an |Upgrade| header field or the |Upgrade| header field contains a value
    // that is not an ASCII case-insensitive match for the value "websocket", the client MUST _Fail the WebSocket
    // Connection_."
    match headers.only("Upgrade") {
        Ok(Some(value)) if value.eq_ignore_ascii_case(b"websocket") => {}
        _ => return Err(ResponseError::Upgrade),
    }
    // RFC 6455 §4.1: "If the response lacks a |Connection| header field or the |Connection| header field doesn't
    // contain a token that is an ASCII case-insensitive match for the value "Upgrade", the client MUST _Fail the
    // WebSocket Connection_."
    if !list_contains(headers.all("Connection"), "upgrade") {
        return Err(ResponseError::Connection);
    }
    // RFC 6455 §4.1: "If the response lacks a |Sec-WebSocket-Accept| header field or the |Sec-WebSocket-Accept|
    // contains a value other than the base64-encoded SHA-1 [...] but ignoring any leading and trailing whitespace, the
    // client MUST _Fail the WebSocket Connection_." §11.3.3: "MUST NOT appear more than once in an HTTP response."
    let key = encode_key(key);
    let expected = accept_key(std::str::from_utf8(&key).unwrap_or_default());
    match headers.only("Sec-WebSocket-Accept") {
        Ok(Some(value)) if value == expected => {}
        _ => return Err(ResponseError::Accept),
    }
    check_extensions(&headers, request)?;
    let protocol = check_protocol(&headers, request)?;
    Ok(Response {
        status: 101,
        protocol,
        headers,
    })
}

/// RFC 6455 §4.1: "this header field indicates the use of an extension that was not present in the client's handshake
/// (the server has indicated an extension not requested by the client), the client MUST _Fail the WebSocket
/// Connection_."
fn check_extensions(
    headers: &Headers<'_>,
    request: &ClientRequest<'_>,
) -> Result<(), ResponseError> {
    let offered = request.extensions.unwrap_or_default().as_bytes();
    for extension in headers
        .all("Sec-WebSocket-Extensions")
        .flat_map(Extensions::new)
    {
        let extension = extension.map_err(|_| ResponseError::Extension)?;
        if !Extensions::new(offered)
            .flatten()
            .any(|o| o.name() == extension.name())
        {
            return Err(ResponseError::Extension);
        }
    }
    Ok(())
}

/// RFC 6455 §4.1: "this header field indicates the use of a subprotocol that was not present in the client's handshake
/// (the server has indicated a subprotocol not requested by the client), the client MUST _Fail the WebSocket
/// Connection_." §11.3.4: it "MUST NOT appear more than once in an HTTP response."
fn check_protocol<'a>(
    headers: &Headers<'a>,
    request: &ClientRequest<'_>,
) -> Result<Option<&'a str>, ResponseError> {
    let chosen = headers
        .only("Sec-WebSocket-Protocol")
        .map_err(|_| ResponseError::Protocol)?;
    let Some(chosen) = chosen else {
        return Ok(None);
    };
    let chosen = std::str::from_utf8(chosen).map_err(|_| ResponseError::Protocol)?;
    if request.protocols.contains(&chosen) {
        Ok(Some(chosen))
    } else {
        Err(ResponseError::Protocol)
    }
}
