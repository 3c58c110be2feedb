//! The server of a connection that a handler opens.

use std::ops::{Deref, DerefMut};

use hioload_ws_proto::handshake::HandshakeLimits;
use hioload_ws_proto::handshake::server::{Request, parse, write_accept, write_response};

use crate::client::Client;

/// The server of a connection that a handler opens in the client role, played by the test:
/// [`Network::accept`](crate::Network::accept). After [`open`](Self::open) it sends and receives as a [`Client`] does, with the
/// framing of a server.
#[derive(Debug)]
pub struct Upstream {
    end: Client,
    request: Vec<u8>,
}

impl Upstream {
    /// # Panics
    /// The handler's lcore has not sent a request.
    #[track_caller]
    pub(crate) fn new(end: Client) -> Self {
        let request = end.take_request();
        let upstream = Self { end, request };
        upstream.with_request(|_| ());
        upstream
    }

    /// Lends `f` the handler's request: path, headers, subprotocols.
    #[track_caller]
    pub fn with_request<R>(&self, f: impl FnOnce(&Request<'_>) -> R) -> R {
        match parse(&self.request, &HandshakeLimits::new(64 << 10)) {
            Ok(Some((request, _))) => f(&request),
            other => panic!("the handler's lcore has sent no request: {other:?}"),
        }
    }

    /// Accepts the upgrade, with this subprotocol.
    ///
    /// # Panics
    /// The subprotocol must not be written into a response.
    #[track_caller]
    pub fn open(&mut self, protocol: Option<&str>) -> &mut Self {
        let mut out = Vec::new();
        let written = self.with_request(|request| {
            let key = request.upgrade.map_or("", |upgrade| upgrade.key);
            write_accept(&mut out, key, protocol, None, &[])
        });
        if let Err(e) = written {
            panic!("{e}: {protocol:?}");
        }
        self.end.serve();
        self.end.send_bytes(&out);
        self
    }

    /// Answers the request with this status and an empty body, and ends TCP.
    ///
    /// # Panics
    /// The status is not within 200 to 599.
    #[track_caller]
    pub fn refuse(&mut self, status: u16) -> &mut Self {
        let mut out = Vec::new();
        if let Err(e) = write_response(&mut out, status, "text/plain", &[], b"", false) {
            panic!("{e}: {status}");
        }
        self.end.send_bytes(&out).half_close();
        self
    }
}

impl Deref for Upstream {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.end
    }
}

impl DerefMut for Upstream {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.end
    }
}
