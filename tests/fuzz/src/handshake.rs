//! The opening handshake: requests and responses are parsed whole and in pieces, written again, and parsed again.
//!
//! Input: a byte that chooses the limits, the seed of the splits (4 bytes), the head.

use hioload_ws_proto::deflate::{DeflateConfig, negotiate};
use hioload_ws_proto::handshake::client::{self, ClientRequest, ResponseError};
use hioload_ws_proto::handshake::server::{self, Request};
use hioload_ws_proto::handshake::{HandshakeError, HandshakeLimits};

use super::input::{Input, Random, cut};

/// The key of the client, and its offers.
pub const KEY: [u8; 16] = *b"the sample nonce";
const PROTOCOLS: [&str; 2] = ["chat", "superchat"];

/// Runs one input; see the module.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let options = input.byte();
    let seed = input.word();
    let head = input.rest();
    let limits = match options & 1 {
        0 => HandshakeLimits::default(),
        _ => HandshakeLimits::new(180),
    };
    request(head, seed, &limits);
    response(head, seed, &limits);
    from_parts(head, seed);
}

/// The fields of a request, owned.
#[derive(PartialEq, Eq, Debug)]
struct Said {
    start: [String; 6],
    upgrade: Option<String>,
    headers: Vec<(String, Vec<u8>)>,
}

type Answer = Result<Option<(Said, usize)>, HandshakeError>;

fn said(request: &Request<'_>) -> Said {
    let text = |text: Option<&str>| text.map_or("-".to_owned(), |text| format!("={text}"));
    Said {
        start: [
            request.method.to_owned(),
            request.target.to_owned(),
            request.path().to_owned(),
            text(request.query()),
            request.host.to_owned(),
            text(request.origin),
        ],
        upgrade: request.upgrade.map(|upgrade| upgrade.key.to_owned()),
        headers: request
            .headers
            .iter()
            .map(|(n, v)| (n.to_owned(), v.to_vec()))
            .collect(),
    }
}

fn parse(head: &[u8], limits: &HandshakeLimits) -> Answer {
    let answer = server::parse(head, limits)?;
    Ok(answer.map(|(request, end)| (said(&request), end)))
}

fn request(bytes: &[u8], seed: u32, limits: &HandshakeLimits) {
    let whole = parse(bytes, limits);
    assert_eq!(
        arriving(bytes, seed, limits),
        whole,
        "the split changes the answer"
    );
    // More bytes do not change the result.
    let prefix = &bytes[..Random::new(seed.into()).below(bytes.len() + 1)];
    match parse(prefix, limits) {
        Ok(None) => {}
        answer => assert_eq!(answer, whole, "more bytes change the answer"),
    }
    match server::parse(bytes, limits) {
        Ok(Some((request, end))) => {
            assert!(end <= bytes.len() && end <= limits.max_head);
            check(&request);
            let again = rewrite(&request);
            let wide = HandshakeLimits::new(4 * (end + 100));
            let (read, _) = parse(&again, &wide)
                .expect("it was fine before")
                .expect("it is whole");
            assert_eq!(read, said(&request), "written and read again");
        }
        Ok(None) => {}
        Err(error) => {
            let mut out = Vec::new();
            server::write_error(&mut out, error);
            let status = format!("HTTP/1.1 {} ", error.status());
            assert!(out.starts_with(status.as_bytes()) && out.ends_with(error.reason().as_bytes()));
        }
    }
}

/// Reads a head in pieces as the engine does: it searches only the new bytes, and parses the head once.
fn arriving(bytes: &[u8], seed: u32, limits: &HandshakeLimits) -> Answer {
    let (mut arrived, mut scanned) = (0, 0);
    for piece in cut(bytes, seed) {
        arrived += piece.len();
        let so_far = bytes[..arrived].to_vec().into_boxed_slice();
        match server::scan(&so_far, scanned, limits)? {
            Some(end) => return parse(&so_far[..end], limits),
            None => scanned = so_far.len(),
        }
    }
    // Only the empty input has no piece.
    if bytes.is_empty() {
        parse(bytes, limits)
    } else {
        Ok(None)
    }
}

/// Answers a parsed request as the engine does.
fn check(request: &Request<'_>) {
    let path = request.path();
    assert!(path.starts_with('/') || (path, request.method) == ("*", "OPTIONS"));
    assert!(!path.contains('?'));
    let Some(upgrade) = request.upgrade else {
        return;
    };
    let protocol = request.protocols().next();
    assert!(protocol.is_none_or(|protocol| request.offers(protocol)));
    let config = DeflateConfig::default();
    let agreed = negotiate::server(&config, request.extensions());
    if let Some(agreed) = &agreed {
        let bits = [agreed.server.window_bits, agreed.client.window_bits];
        assert!(bits.iter().all(|bits| (8..=15).contains(bits)));
    }
    let extensions = agreed.map(|agreed| agreed.response());
    let mut out = Vec::new();
    server::write_accept(
        &mut out,
        upgrade.key,
        protocol,
        extensions.as_ref().map(|e| e.as_str()),
        &[],
    )
    .expect("a parsed request can be written");
}

/// The request from its parts.
fn rewrite(request: &Request<'_>) -> Vec<u8> {
    // HTTP/1.0 may have no Host. The versions differ only in that here.
    let version = if request.header("Host").is_some() && request.upgrade.is_some() {
        "1.1"
    } else {
        "1.0"
    };
    let mut out = format!("{} {} HTTP/{version}\r\n", request.method, request.target).into_bytes();
    for (name, value) in request.headers.iter() {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

fn offer<'a>(extensions: &'a str) -> ClientRequest<'a> {
    let mut request = ClientRequest::new("example.com", "/");
    request.protocols = &PROTOCOLS;
    request.extensions = Some(extensions);
    request
}

/// The result of a response: status, protocol, headers and length.
type Reply = Result<Option<(u16, Option<String>, usize, usize)>, ResponseError>;

fn response(bytes: &[u8], seed: u32, limits: &HandshakeLimits) {
    let config = DeflateConfig::default();
    let extensions = negotiate::client_offer(&config);
    let offer = offer(extensions.as_str());
    let read = |bytes: &[u8]| -> Reply {
        let reply = client::parse_response(bytes, KEY, &offer, limits)?;
        Ok(reply.map(|(r, end)| {
            (
                r.status,
                r.protocol.map(str::to_owned),
                r.headers.len(),
                end,
            )
        }))
    };
    let whole = read(bytes);
    let mut arrived = 0;
    for piece in cut(bytes, seed) {
        arrived += piece.len();
        match read(&bytes[..arrived]) {
            Ok(None) => {}
            answer => {
                assert_eq!(answer, whole, "the split changes the answer");
                break;
            }
        }
    }
    if let Ok(Some((reply, end))) = client::parse_response(bytes, KEY, &offer, limits) {
        assert!(end <= bytes.len() && end <= limits.max_head && (100..600).contains(&reply.status));
        assert!(
            reply
                .protocol
                .is_none_or(|protocol| PROTOCOLS.contains(&protocol))
        );
        let _ = negotiate::client_accept(&config, reply.extensions());
    }
}

/// A client's request of arbitrary parts is refused, or our server reads the same parts and the client accepts the server's
/// response.
fn from_parts(bytes: &[u8], seed: u32) {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.split('\n');
    let mut part = || parts.next().unwrap_or_default();
    let (host, target, origin, value) = (part(), part(), part(), part());
    let protocols: Vec<_> = part().split(',').filter(|p| !p.is_empty()).collect();
    let headers = [("X-Test", value)];
    let mut request = ClientRequest::new(host, target);
    request.origin = (seed & 1 == 1).then_some(origin);
    request.protocols = &protocols;
    request.headers = &headers;
    let mut out = Vec::new();
    if client::write_request(&mut out, &request, KEY).is_err() {
        assert!(out.is_empty(), "a refused request writes nothing");
        return;
    }
    let limits = HandshakeLimits::new(out.len());
    let read = match server::parse(&out, &limits) {
        Ok(read) => read.expect("the request is whole"),
        // The server has limits that the client has not: characters of an origin, the number of protocols.
        Err(HandshakeError::Origin) => return assert!(request.origin.is_some()),
        Err(HandshakeError::Protocols) => return assert!(protocols.len() > 64),
        Err(error) => panic!("our server refuses the request of our client: {error}"),
    };
    assert_eq!(read.1, out.len());
    let read = read.0;
    assert_eq!((read.host, read.target), (host, target));
    assert_eq!(
        read.origin,
        request.origin.map(|o| o.trim_matches([' ', '\t']))
    );
    assert_eq!(
        read.header("X-Test"),
        Some(value.trim_matches([' ', '\t']).as_bytes())
    );
    assert!(read.protocols().eq(protocols.iter().copied()));
    let key = read.upgrade.expect("it asks for a WebSocket").key;
    let mut answer = Vec::new();
    server::write_accept(&mut answer, key, protocols.last().copied(), None, &headers)
        .expect("writable as before");
    let limits = HandshakeLimits::new(answer.len());
    let (reply, end) = client::parse_response(&answer, KEY, &request, &limits)
        .expect("our client accepts the response of our server")
        .expect("the answer is whole");
    assert!(reply.switched() && end == answer.len());
    assert_eq!(reply.protocol, protocols.last().copied());
}
