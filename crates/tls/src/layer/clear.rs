//! Bytes that are no records of a session: the first ones of a connection, and those that are sent as they are.

use std::io::ErrorKind;

use hioload_transport::{ConnId, Connections};

use super::state::Tls;
use crate::record::content;

/// The answer to a plain HTTP request on a TLS port.
const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 58\r\n\
    Connection: close\r\n\
    \r\n\
    this port speaks TLS: use https:// or wss:// for this URL\n";

/// What the first bytes of a connection are.
pub(super) enum First {
    Tls,
    Http,
    Other,
    Unknown,
}

pub(super) fn first(bytes: &[u8]) -> First {
    const METHODS: [&[u8]; 9] = [
        b"GET ",
        b"POST ",
        b"HEAD ",
        b"PUT ",
        b"DELETE ",
        b"OPTIONS ",
        b"PATCH ",
        b"CONNECT ",
        b"PRI * HTTP/2",
    ];
    match bytes {
        [] => First::Unknown,
        [content::HANDSHAKE, 3, ..] | [content::HANDSHAKE] => First::Tls,
        _ if METHODS.iter().any(|method| bytes.starts_with(method)) => First::Http,
        _ if METHODS.iter().any(|method| method.starts_with(bytes)) => First::Unknown,
        _ => First::Other,
    }
}

impl Tls {
    /// Answers a request of plain HTTP.
    pub(super) fn refuse_plain<C: Connections>(&mut self, below: &mut C, id: ConnId) {
        self.stats.plain_http += 1;
        queue(below, id, PLAIN_HTTP);
        self.end_with(below, id, None, ErrorKind::InvalidData);
    }
}

/// Queues bytes as they are; `false` if there is no room for all of them.
pub(super) fn queue<C: Connections>(below: &mut C, id: ConnId, mut bytes: &[u8]) -> bool {
    if bytes.len() > below.send_room(id) {
        return bytes.is_empty();
    }
    while !bytes.is_empty() {
        let Ok(space) = below.send_space(id, bytes.len()) else {
            return false;
        };
        let n = space.len().min(bytes.len());
        space[..n].copy_from_slice(&bytes[..n]);
        below.commit(id, n);
        bytes = &bytes[n..];
    }
    true
}
