//! Reading a request.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::handshake::grammar::{self, Extensions, Tokens, list_contains};
use crate::handshake::{
    HandshakeError, HandshakeLimits, Headers, clean_lines, head_end, is_authority, is_origin_form,
    is_target_text, skip_empty_line,
};

/// The most subprotocols that a client may offer. It bounds the comparison of each with each.
const MAX_PROTOCOLS: usize = 64;

/// Base64 with or without padding, whatever its unused bits are.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A request, which borrows its octets: an upgrade to WebSocket, or a plain GET, HEAD or OPTIONS.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// `GET`; for a plain request also `HEAD` and `OPTIONS`.
    pub method: &'a str,
    /// The request target as it was sent.
    pub target: &'a str,
    /// The authority: that of the target if it has one, otherwise `Host`; empty for HTTP/1.0 without either.
    pub host: &'a str,
    /// `Origin` as it was sent. Browsers send it with every WebSocket handshake.
    pub origin: Option<&'a str>,
    /// `Some` if this is a valid WebSocket handshake.
    pub upgrade: Option<Upgrade<'a>>,
    /// All headers.
    pub headers: Headers<'a>,
    /// The certificate of the client in DER, if the connection uses TLS, the client was asked for one, and it was verified. It is no part of
    /// the request's octets: [`parse`] leaves it `None`, and the server sets it.
    pub client_certificate: Option<&'a [u8]>,
    path_and_query: &'a str,
}

/// The part of an upgrade to WebSocket that a plain request does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upgrade<'a> {
    /// `Sec-WebSocket-Key` as it was sent: it decodes to 16 bytes.
    pub key: &'a str,
}

impl<'a> Request<'a> {
    /// The path, at least `/`, with percent escapes; `*` if OPTIONS asks for the server as a whole.
    pub fn path(&self) -> &'a str {
        let path = self.path_and_query.split('?').next().unwrap_or_default();
        if path.is_empty() { "/" } else { path }
    }

    /// The part after the first `?`, with percent escapes.
    pub fn query(&self) -> Option<&'a str> {
        self.path_and_query.split_once('?').map(|(_, query)| query)
    }

    /// The value of the first header called `name`, in any case.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers.get(name)
    }

    /// As [`header`](Self::header), if it is text.
    pub fn header_str(&self, name: &str) -> Option<&'a str> {
        self.header(name)
            .and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The offered subprotocols, in the client's order of preference. In an upgrade they are valid and all different.
    pub fn protocols(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.headers
            .all("Sec-WebSocket-Protocol")
            .flat_map(Tokens::new)
            .flatten()
    }

    /// Whether `protocol` was offered: only such a one may be chosen (RFC 6455 §4.2.2).
    pub fn offers(&self, protocol: &str) -> bool {
        self.protocols().any(|offered| offered == protocol)
    }

    /// The values of `Sec-WebSocket-Extensions`, for [`negotiate::server`](crate::deflate::negotiate::server).
    pub fn extensions(&self) -> impl Iterator<Item = &'a [u8]> + '_ {
        self.headers.all("Sec-WebSocket-Extensions")
    }
}

/// Finds the end of a head in `buf`, of which an earlier call has read `scanned_before` bytes. `None` if it is incomplete.
///
/// # Errors
/// Errors that show before the end: the head is too large, or its first octets are not HTTP.
pub fn scan(
    buf: &[u8],
    scanned_before: usize,
    limits: &HandshakeLimits,
) -> Result<Option<usize>, HandshakeError> {
    match &buf[skip_empty_line(buf)..] {
        [] | [b'\r'] => {}
        [first, ..] if grammar::is_token_octet(*first) => {}
        _ => return Err(HandshakeError::Syntax),
    }
    match head_end(buf, scanned_before) {
        Some(end) if end > limits.max_head => Err(HandshakeError::HeadTooLarge),
        // At least one octet is missing, and the limit has no space for it.
        None if buf.len() >= limits.max_head => Err(HandshakeError::HeadTooLarge),
        end => Ok(end),
    }
}

/// Reads the request at the start of `buf`. Returns the request and the length of its head, after which frames may follow, or
/// `None` if it is incomplete.
///
/// A plain request is not an error: its [`upgrade`](Request::upgrade) is `None`, also if it asks for an upgrade to another
/// protocol.
///
/// # Errors
/// [`HandshakeError`]: answer with its status, and close the connection.
// RFC 6455 §4.2.1: "If the server [...] finds that the client did not send a handshake that matches the description
// below [...], including but not limited to any violations of the ABNF grammar [...], the server MUST stop processing
// the client's handshake and return an HTTP response with an appropriate error code".
pub fn parse<'a>(
    buf: &'a [u8],
    limits: &HandshakeLimits,
) -> Result<Option<(Request<'a>, usize)>, HandshakeError> {
    let Some(end) = scan(buf, 0, limits)? else {
        return Ok(None);
    };
    let head = &buf[..end];
    let lines = clean_lines(head).ok_or(HandshakeError::Syntax)?;
    let mut headers = Headers::with_room(lines);
    let mut raw = httparse::Request::new(headers.room());
    match raw.parse(head) {
        Ok(httparse::Status::Complete(length)) if length == end => {}
        Ok(_) => return Err(HandshakeError::Syntax),
        Err(httparse::Error::Version) => return Err(HandshakeError::HttpVersion),
        Err(_) => return Err(HandshakeError::Syntax),
    }
    let (Some(method), Some(target), Some(minor)) = (raw.method, raw.path, raw.version) else {
        return Err(HandshakeError::Syntax);
    };
    let count = raw.headers.len();
    headers.set_len(count);
    let request = check(method, target, minor, headers)?;
    Ok(Some((request, end)))
}

fn check<'a>(
    method: &'a str,
    target: &'a str,
    minor: u8,
    headers: Headers<'a>,
) -> Result<Request<'a>, HandshakeError> {
    let wants_websocket = list_contains(headers.all("Upgrade"), "websocket");
    // RFC 6455 §4.2.1: "An HTTP/1.1 or higher GET request".
    if method != "GET" && (wants_websocket || !matches!(method, "HEAD" | "OPTIONS")) {
        return Err(HandshakeError::Method);
    }
    if minor == 0 && wants_websocket {
        return Err(HandshakeError::HttpVersion);
    }
    let (authority, path_and_query) = match target {
        // RFC 9112 §3.2.4: asterisk-form "is only used for a server-wide OPTIONS request".
        "*" if method == "OPTIONS" => (None, "*"),
        target => split_target(target).ok_or(HandshakeError::Target)?,
    };
    let host = host(&headers, minor)?;
    refuse_body(&headers)?;
    let origin = origin(&headers)?;
    let upgrade = if wants_websocket {
        Some(upgrade(&headers)?)
    } else {
        None
    };
    // §4.2.1: "An |Upgrade| header field containing the value "websocket"". A request with a key
    // asks for WebSocket.
    if upgrade.is_none() && headers.get("Sec-WebSocket-Key").is_some() {
        return Err(HandshakeError::Upgrade);
    }
    // RFC 9112 §3.2.2: with an absolute-form target "the origin server MUST ignore the received Host header field [...]
    // and instead use the host information of the request-target."
    let host = authority.unwrap_or(host);
    Ok(Request {
        method,
        target,
        host,
        origin,
        upgrade,
        headers,
        client_certificate: None,
        path_and_query,
    })
}

/// Splits a target into authority (absolute-form only) and path with query.
fn split_target(target: &str) -> Option<(Option<&str>, &str)> {
    if is_origin_form(target.as_bytes()) {
        return Some((None, target));
    }
    // RFC 6455 §4.2.1: "(or an absolute HTTP/HTTPS URI containing the /resource name/)".
    let (scheme, rest) = target.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let (authority, path_and_query) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let valid = is_authority(authority.as_bytes()) && is_target_text(path_and_query.as_bytes());
    valid.then_some((Some(authority), path_and_query))
}

/// RFC 9112 §3.2: "A server MUST respond with a 400 [...] to any HTTP/1.1 request message that lacks a Host header
/// field and to any request message that contains more than one Host header field line or a Host header field with an
/// invalid field value." RFC 6455 §4.2.1: "A |Host| header field containing the server's authority".
fn host<'a>(headers: &Headers<'a>, minor: u8) -> Result<&'a str, HandshakeError> {
    match headers.only("Host") {
        Ok(Some(host)) if is_authority(host) => {
            std::str::from_utf8(host).map_err(|_| HandshakeError::Host)
        }
        Ok(None) if minor == 0 => Ok(""),
        _ => Err(HandshakeError::Host),
    }
}

/// Two implementations may disagree on the length of a body, so no body is accepted: no `Transfer-Encoding`, and no
/// `Content-Length` except a single 0.
fn refuse_body(headers: &Headers<'_>) -> Result<(), HandshakeError> {
    let coded = headers.get("Transfer-Encoding").is_some();
    match headers.only("Content-Length") {
        Ok(None | Some(b"0")) if !coded => Ok(()),
        _ => Err(HandshakeError::Body),
    }
}

/// RFC 6454 §7.3: a user agent "MUST NOT include more than one Origin header field in any HTTP request."
fn origin<'a>(headers: &Headers<'a>) -> Result<Option<&'a str>, HandshakeError> {
    let Some(origin) = headers.only("Origin").map_err(|_| HandshakeError::Origin)? else {
        return Ok(None);
    };
    let text = std::str::from_utf8(origin).map_err(|_| HandshakeError::Origin)?;
    let visible = text.bytes().all(|b| (b' '..=b'~').contains(&b));
    if visible {
        Ok(Some(text))
    } else {
        Err(HandshakeError::Origin)
    }
}

/// Checks the headers of a WebSocket handshake, in a request with `Upgrade: websocket`.
fn upgrade<'a>(headers: &Headers<'a>) -> Result<Upgrade<'a>, HandshakeError> {
    // RFC 6455 §4.2.1: "A |Connection| header field that includes the token "Upgrade", treated as an ASCII
    // case-insensitive value."
    if !list_contains(headers.all("Connection"), "upgrade") {
        return Err(HandshakeError::Connection);
    }
    // §4.2.2: "If this version does not match a version understood by the server, the server MUST abort the WebSocket
    // handshake described in this section and instead send an appropriate HTTP error code (such as 426 Upgrade
    // Required)". §11.3.5: it "MUST NOT appear more than once in an HTTP request."
    match headers.only("Sec-WebSocket-Version") {
        Ok(Some(b"13")) => {}
        _ => return Err(HandshakeError::WebSocketVersion),
    }
    // §11.3.1: "The |Sec-WebSocket-Key| header field MUST NOT appear more than once in an HTTP request."
    let key = headers
        .only("Sec-WebSocket-Key")
        .ok()
        .flatten()
        .and_then(valid_key);
    let key = key.ok_or(HandshakeError::Key)?;
    check_protocols(headers)?;
    check_extensions(headers)?;
    Ok(Upgrade { key })
}

/// RFC 6455 §4.2.1: "a base64-encoded (see Section 4 of [RFC4648]) value that, when decoded, is 16 bytes in length."
///
/// Its padding may be missing, and its unused bits may have any value: the RFC's own example in §4.1 ends in a bit that a strict
/// decoder refuses, and programs send it. The server does not use the decoded bytes, and the answer is computed from the text.
fn valid_key(key: &[u8]) -> Option<&str> {
    // The decoder needs the space that 24 characters can have at most.
    let mut nonce = [0; 18];
    let valid = key.len() <= 24 && LENIENT.decode_slice(key, &mut nonce) == Ok(16);
    if valid {
        std::str::from_utf8(key).ok()
    } else {
        None
    }
}

/// RFC 6455 §4.1: the elements "MUST be non-empty strings with characters in the range U+0021 to U+007E not including
/// separator characters [...] and MUST all be unique strings. The ABNF [...] is 1#token".
fn check_protocols(headers: &Headers<'_>) -> Result<(), HandshakeError> {
    let mut seen = [""; MAX_PROTOCOLS];
    let mut count = 0;
    for value in headers.all("Sec-WebSocket-Protocol") {
        let before = count;
        for token in Tokens::new(value) {
            let token = token.map_err(|_| HandshakeError::Protocols)?;
            if count == MAX_PROTOCOLS || seen[..count].contains(&token) {
                return Err(HandshakeError::Protocols);
            }
            seen[count] = token;
            count += 1;
        }
        if count == before {
            return Err(HandshakeError::Protocols);
        }
    }
    Ok(())
}

/// RFC 6455 §9.1: "If a value is received by either the client or the server during negotiation that does not conform
/// to the ABNF below, the recipient of such malformed data MUST immediately _Fail the WebSocket Connection_."
fn check_extensions(headers: &Headers<'_>) -> Result<(), HandshakeError> {
    for value in headers.all("Sec-WebSocket-Extensions") {
        let mut extensions = Extensions::new(value).peekable();
        if extensions.peek().is_none() || extensions.any(|extension| extension.is_err()) {
            return Err(HandshakeError::Extensions);
        }
    }
    Ok(())
}
