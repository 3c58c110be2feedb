//! The messages of correct peers.

use hioload_ws_proto::handshake::accept_key;
use hioload_ws_proto::{OpCode, encode};

use super::super::wire::By;

/// A request for a WebSocket.
pub const REQUEST: &str = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// The payload of a Close with 1000.
pub const CLOSE: [u8; 2] = [0x03, 0xe8];

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The extensions offered or accepted, by variant.
const EXTENSIONS: [&str; 4] = [
    "",
    "Sec-WebSocket-Extensions: permessage-deflate\r\n",
    "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9; client_max_window_bits\r\n",
    "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; server_no_context_takeover\r\n",
];

/// A frame with the first byte `first`, as the peer of the engine sends it: masked unless the engine is the client.
pub fn frame(engine: By, first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let key = (engine == By::Server).then_some(KEY);
    encode::frame_into(&mut out, OpCode::Binary, payload, key);
    out[0] = first;
    out
}

/// The request of a client in this variant.
pub(super) fn request(variant: u8) -> Vec<u8> {
    let path = ["/", "/no", "/a?b", "/"][usize::from(variant >> 2 & 3)];
    let protocol = if variant >> 4 & 1 == 1 {
        "Sec-WebSocket-Protocol: p1, p2\r\n"
    } else {
        ""
    };
    let more = format!("{protocol}{}\r\n", EXTENSIONS[usize::from(variant & 3)]);
    let request = REQUEST.replacen("/ ", &format!("{path} "), 1);
    format!("{}{more}", &request[..request.len() - 2]).into_bytes()
}

/// The response in this variant to the request of the engine; `None` if the engine has sent none.
pub(super) fn answer(variant: u8, request: &[u8]) -> Option<Vec<u8>> {
    let request = std::str::from_utf8(request).ok()?;
    let key = request
        .split("Sec-WebSocket-Key: ")
        .nth(1)?
        .split("\r\n")
        .next()?;
    let accept = accept_key(key);
    let accept = std::str::from_utf8(&accept).ok()?;
    let protocol = if variant >> 4 & 1 == 1 {
        "Sec-WebSocket-Protocol: p1\r\n"
    } else {
        ""
    };
    let extension = EXTENSIONS[usize::from(variant & 3)]
        .replace("client_max_window_bits", "client_max_window_bits=10");
    Some(
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{protocol}{extension}\r\n"
        )
        .into_bytes(),
    )
}
