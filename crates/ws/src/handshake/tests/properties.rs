use proptest::prelude::*;

use crate::deflate::{DeflateConfig, negotiate};
use crate::handshake::client::{ClientRequest, parse_response, write_request};
use crate::handshake::grammar::{Extensions, Tokens};
use crate::handshake::server::{parse, scan, write_accept, write_response};
use crate::handshake::{HandshakeLimits, head_end};

const LIMITS: HandshakeLimits = HandshakeLimits::new(600);

const CLIENT: ClientRequest<'_> = ClientRequest {
    host: "a",
    target: "/",
    origin: None,
    protocols: &["chat"],
    extensions: Some("permessage-deflate"),
    headers: &[],
};

/// Heads that are almost valid: relevant lines, some of them corrupted.
fn request_like() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        6 => Just("GET / HTTP/1.1\r\n"),
        1 => Just("HEAD http://b/x?y HTTP/1.1\r\n"),
        1 => Just("GET / HTTP/1.0\r\n"),
        1 => Just("POST / HTTP/1.1\r\n"),
        1 => Just("OPTIONS * HTTP/1.1\r\n"),
        1 => Just("\r\nGET /#x HTTP/1.1\r\n"),
    ];
    let line = prop_oneof![
        4 => Just("Host: a\r\n"),
        4 => Just("Upgrade: websocket\r\n"),
        4 => Just("Connection: keep-alive, Upgrade\r\n"),
        4 => Just("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
        4 => Just("Sec-WebSocket-Version: 13\r\n"),
        2 => Just("Sec-WebSocket-Protocol: chat, b\r\n"),
        2 => Just("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=\"1\\0\"\r\n"),
        1 => Just("Sec-WebSocket-Extensions: a; b=\"\r\n"),
        1 => Just("Content-Length: 0\r\n"),
        1 => Just("Transfer-Encoding: chunked\r\n"),
        1 => Just("Origin: b\r\n"),
        1 => Just(" folded\r\n"),
        1 => Just("X: y\n"),
        1 => Just("\n"),
    ];
    (first, proptest::collection::vec(line, 0..12), any::<bool>()).prop_map(
        |(first, lines, ended)| {
            let end = if ended { "\r\n" } else { "" };
            format!("{first}{}{end}", lines.concat()).into_bytes()
        },
    )
}

fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let damage = proptest::collection::vec((any::<usize>(), any::<u8>()), 0..3);
    (request_like(), damage).prop_map(|(mut head, damage)| {
        for (at, with) in damage {
            let at = at % head.len();
            head[at] = with;
        }
        head
    })
}

/// The error of parsing, or the length of the head.
fn outcome(buf: &[u8]) -> Result<Option<usize>, crate::handshake::HandshakeError> {
    parse(buf, &LIMITS).map(|parsed| parsed.map(|(_, length)| length))
}

proptest! {
    #[test]
    fn arbitrary_octets_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..700), seen: usize) {
        let _ = outcome(&octets);
        let _ = scan(&octets, seen, &LIMITS);
        let _ = parse_response(&octets, [0; 16], &CLIENT, &LIMITS);
        let _ = Tokens::new(&octets).count();
        let _ = Extensions::new(&octets).flatten().flat_map(|e| e.params()).count();
        let _ = negotiate::server(&DeflateConfig::default(), [&octets[..]]);
        let _ = negotiate::client_accept(&DeflateConfig::default(), [&octets[..]]);
    }

    #[test]
    fn near_misses_never_panic(head in damaged()) {
        if let Ok(Some((request, length))) = parse(&head, &LIMITS) {
            prop_assert!(length <= head.len());
            let whole_server = (request.method, request.path()) == ("OPTIONS", "*");
            prop_assert!(request.path().starts_with('/') || whole_server);
            let _ = (request.query(), request.protocols().count(), format!("{request:?}"));
            let _ = negotiate::server(&DeflateConfig::default(), request.extensions());
        }
        let response = [b"HTTP/1.1 101 x\r\n", &head[head.len().min(16)..]].concat();
        let _ = parse_response(&response, [0; 16], &CLIENT, &LIMITS);
    }

    /// Every prefix of a head is incomplete or has the error of the whole head.
    #[test]
    fn every_prefix_agrees_with_the_whole(head in damaged()) {
        let whole = outcome(&head);
        for cut in 0..head.len() {
            match outcome(&head[..cut]) {
                Ok(None) => {}
                // The head was already complete, so later bytes do not change it.
                other => prop_assert_eq!(&other, &whole, "cut at {}", cut),
            }
        }
    }

    /// Scanning only new octets finds the same end.
    #[test]
    fn scanning_piecewise_is_scanning(head in damaged(), cuts in proptest::collection::vec(any::<usize>(), 0..6)) {
        let whole = head_end(&head, 0);
        let mut cuts: Vec<usize> = cuts.iter().map(|c| c % (head.len() + 1)).collect();
        cuts.push(head.len());
        cuts.sort_unstable();
        let mut seen = 0;
        let mut found = None;
        for cut in cuts {
            found = head_end(&head[..cut], seen);
            if found.is_some() {
                break;
            }
            seen = cut;
        }
        prop_assert_eq!(found, whole);
    }

    #[test]
    fn client_and_server_understand_each_other(
        key: [u8; 16],
        host in "[a-z][a-z0-9.-]{0,20}(:[0-9]{1,5})?",
        path in "/[a-zA-Z0-9%/._~-]{0,30}",
        query in proptest::option::of("[a-z0-9=&?]{0,10}"),
        protocols in proptest::collection::btree_set("[a-zA-Z0-9.]{1,8}", 0..5),
        chosen: proptest::sample::Index,
        headers in proptest::collection::vec(("X-[a-z]{1,5}", "[ -~]{0,20}"), 0..5),
        window in 8u8..=15,
    ) {
        let target = query.map_or(path.clone(), |query| format!("{path}?{query}"));
        let protocols: Vec<&str> = protocols.iter().map(String::as_str).collect();
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let config = DeflateConfig { server_max_window_bits: window, ..DeflateConfig::default() };
        let offer = negotiate::client_offer(&config);
        let request = ClientRequest {
            host: &host,
            target: &target,
            origin: Some("https://a.example"),
            protocols: &protocols,
            extensions: Some(&offer),
            headers: &headers,
        };
        let limits = HandshakeLimits::default();
        let mut sent = Vec::new();
        write_request(&mut sent, &request, key).unwrap();
        let (seen, length) = parse(&sent, &limits).unwrap().unwrap();
        prop_assert_eq!(length, sent.len());
        prop_assert_eq!((seen.host, seen.path(), seen.origin), (&*host, &*path, Some("https://a.example")));
        prop_assert_eq!(seen.protocols().collect::<Vec<_>>(), &protocols[..]);
        for (name, value) in &headers {
            let trimmed = value.trim_matches(' ').as_bytes();
            prop_assert!(seen.headers.all(name).any(|v| v == trimmed));
        }

        let agreed = negotiate::server(&DeflateConfig::default(), seen.extensions()).unwrap();
        let protocol = (!protocols.is_empty()).then(|| protocols[chosen.index(protocols.len())]);
        let mut answer = Vec::new();
        let key_text = seen.upgrade.unwrap().key;
        write_accept(&mut answer, key_text, protocol, Some(&agreed.response()), &headers).unwrap();
        let (response, length) = parse_response(&answer, key, &request, &limits).unwrap().unwrap();
        prop_assert_eq!(length, answer.len());
        prop_assert!(response.switched());
        prop_assert_eq!(response.protocol, protocol);
        let confirmed = negotiate::client_accept(&config, response.extensions()).unwrap().unwrap();
        prop_assert_eq!((confirmed.server, confirmed.client), (agreed.server, agreed.client));
        // Another key has another answer.
        let mut other = key;
        other[0] ^= 1;
        prop_assert!(parse_response(&answer, other, &request, &limits).is_err());
    }

    #[test]
    fn any_answer_can_be_read(
        status in 200u16..600,
        body in proptest::collection::vec(any::<u8>(), 0..50),
        value in "[ -~]{0,20}",
        head_only: bool,
    ) {
        let mut out = Vec::new();
        write_response(&mut out, status, "text/plain", &[("X-A", &value)], &body, head_only).unwrap();
        let limits = HandshakeLimits::default();
        let (response, length) = parse_response(&out, [0; 16], &CLIENT, &limits).unwrap().unwrap();
        prop_assert_eq!(response.status, status);
        let bodiless = head_only || status == 204 || status == 304;
        prop_assert_eq!(&out[length..], if bodiless { &[][..] } else { &body[..] });
    }
}
