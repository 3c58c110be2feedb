//! Seeds of the target `handshake`: requests and responses.

use hioload_ws_proto::handshake::accept_key;

use super::super::handshake::KEY;
use super::super::session::REQUEST;
use super::{SPLITS, Seed, seed};

pub fn seeds() -> Vec<Seed> {
    let one =
        |name: &str, options: u8, head: &str| seed(name, &[&[options], SPLITS, head.as_bytes()]);
    // The base64 of the key that the target's client uses.
    let accept = accept_key("dGhlIHNhbXBsZSBub25jZQ==");
    let accept = String::from_utf8_lossy(&accept);
    assert_eq!(&KEY, b"the sample nonce");
    let reply = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"
    );
    let more = "Origin: http://x\r\nSec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Extensions: \
        permessage-deflate; client_max_window_bits; server_max_window_bits=10, x-other;a=\"b\"\r\n\r\n";
    let full = format!("{}{more}", &REQUEST[..REQUEST.len() - 2]);
    vec![
        one("request", 0, REQUEST),
        one("request-all-headers", 0, &full),
        one(
            "request-then-frames",
            0,
            &format!("{REQUEST}\u{1}\u{2}\u{3}"),
        ),
        one("request-over-the-limit", 1, &full),
        one("request-after-an-empty-line", 0, &format!("\r\n{REQUEST}")),
        one("request-bare-lf", 0, &REQUEST.replace("\r\n", "\n")),
        one("request-bad-key", 0, &REQUEST.replace("dGhl", "dGh")),
        one("request-version-8", 0, &REQUEST.replace("13", "8")),
        one(
            "request-absolute",
            0,
            &REQUEST.replace("GET /", "GET http://a:80/b?c"),
        ),
        one(
            "plain-get",
            1,
            "GET /healthz HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
        ),
        one("plain-head-1.0", 1, "HEAD / HTTP/1.0\r\n\r\n"),
        one(
            "plain-with-body",
            1,
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        ),
        one("reply", 0, &format!("{reply}\r\n")),
        one(
            "reply-deflate",
            0,
            &format!("{reply}Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
        ),
        one(
            "reply-protocol",
            0,
            &format!("{reply}Sec-WebSocket-Protocol: superchat\r\n\r\n"),
        ),
        one(
            "reply-after-100",
            0,
            &format!("HTTP/1.1 100 Continue\r\n\r\n{reply}\r\n"),
        ),
        one(
            "reply-503",
            0,
            "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\r\n",
        ),
        one(
            "parts",
            0,
            "example.com:80\n/path?query\nhttp://o\nvalue\nchat,v2.x",
        ),
    ]
}
