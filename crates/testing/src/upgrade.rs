//! The request of a client, and the response to it.

use std::fmt;
use std::net::SocketAddr;

use hioload_ws_proto::deflate::DeflateConfig;
use hioload_ws_proto::deflate::negotiate::client_offer;
use hioload_ws_proto::handshake::client::{ClientRequest, write_request};

/// The value behind `Sec-WebSocket-Key`: every client may use the same, since no proxy is between it and the server.
pub(crate) const KEY: [u8; 16] = *b"hioload testing!";

/// A request to open a WebSocket. A path alone converts into one.
///
/// ```
/// use hioload_testing::Upgrade;
///
/// let upgrade = Upgrade::new("/room/a?as=alice").protocol("chat.v1").header("Cookie", "session=7");
/// ```
#[derive(Clone, Debug)]
pub struct Upgrade {
    target: String,
    origin: Option<String>,
    protocols: Vec<String>,
    headers: Vec<(String, String)>,
    pub(crate) deflate: Option<DeflateConfig>,
    pub(crate) source: Option<SocketAddr>,
}

impl Upgrade {
    /// Requests this path and query, from the host `test`, without a subprotocol, an extension or an origin.
    pub fn new(target: impl Into<String>) -> Self {
        Self {
            target: target.into(),
            origin: None,
            protocols: Vec::new(),
            headers: Vec::new(),
            deflate: None,
            source: None,
        }
    }

    /// Sends `Origin`, as browsers do. That of the server itself is `http://test`; others are refused unless the configuration allows
    /// them.
    #[must_use]
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// Offers one more subprotocol, after those offered before.
    #[must_use]
    pub fn protocol(mut self, name: impl Into<String>) -> Self {
        self.protocols.push(name.into());
        self
    }

    /// Adds a header field.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Offers permessage-deflate with these parameters. The server agrees if its tunables have `deflate`.
    #[must_use]
    pub fn deflate(mut self, config: DeflateConfig) -> Self {
        self.deflate = Some(config);
        self
    }

    /// Connects from this address. Without it, clients have the address 192.0.2.1 and different ports.
    #[must_use]
    pub fn source(mut self, source: SocketAddr) -> Self {
        self.source = Some(source);
        self
    }

    /// Lends `f` the request as the protocol has it.
    pub(crate) fn with_request<R>(&self, f: impl FnOnce(&ClientRequest<'_>) -> R) -> R {
        let protocols: Vec<&str> = self.protocols.iter().map(String::as_str).collect();
        let headers: Vec<(&str, &str)> = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let offer = self.deflate.as_ref().map(client_offer);
        let mut request = ClientRequest::new("test", &self.target);
        request.origin = self.origin.as_deref();
        request.protocols = &protocols;
        request.extensions = offer.as_deref();
        request.headers = &headers;
        f(&request)
    }

    /// The bytes of the request.
    ///
    /// # Panics
    /// A value must not be written into a request.
    #[track_caller]
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Err(e) = self.with_request(|request| write_request(&mut out, request, KEY)) {
            panic!("{e}: {self:?}; Client::send_bytes sends any bytes");
        }
        out
    }
}

impl From<&str> for Upgrade {
    fn from(target: &str) -> Self {
        Self::new(target)
    }
}

/// The server's response to a request.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct HttpResponse {
    /// The status; 101 if the WebSocket is open.
    pub status: u16,
    /// The header fields, in the order sent.
    pub headers: Vec<(String, String)>,
    /// The body; empty for 101.
    pub body: Vec<u8>,
}

impl HttpResponse {
    /// The value of the first header field with this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let (_, value) = headers.find(|(n, _)| n.eq_ignore_ascii_case(name))?;
        Some(value)
    }

    /// The body as text; invalid UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl fmt::Display for HttpResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP status {} {:?}", self.status, self.text())
    }
}
