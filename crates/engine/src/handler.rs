//! The interface of the application: [`Handler`], and the contexts that it is called with, [`LcoreContext`] and [`Context`].
//!
//! There is one handler instance on each lcore. It is never shared, so its fields need no lock. Its arguments are generic, so
//! that a call costs no indirection. A call must not block: slow work goes to [`LcoreContext::spawn`].

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use hioload_lcore::Time;
use hioload_transport::{ConnId, Endpoint, Peer};
use hioload_ws_proto::handshake::client::{Response as ServerReply, ResponseError};
use hioload_ws_proto::handshake::server::Request;
use hioload_ws_proto::{CloseCode, Kind, Message};

/// The id of a connection, unique in the process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ConnectionId {
    /// The lcore that owns it.
    pub lcore: u16,
    /// The id of the connection on that lcore.
    pub conn: ConnId,
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.lcore, self.conn)
    }
}

/// The application accepts a WebSocket upgrade.
#[derive(Debug)]
#[non_exhaustive]
pub struct Accept<C> {
    /// The state of the new connection.
    pub conn: C,
    /// The subprotocol chosen, which must be one that the client offered (RFC 6455 §4.2.2).
    pub protocol: Option<Cow<'static, str>>,
    /// Further header fields of the 101 response.
    pub headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
}

impl<C> Accept<C> {
    /// Accepts without a subprotocol.
    pub fn new(conn: C) -> Self {
        Self {
            conn,
            protocol: None,
            headers: Vec::new(),
        }
    }
    /// Chooses a subprotocol.
    pub fn protocol(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.protocol = Some(name.into());
        self
    }
    /// Adds a header field to the 101 response.
    pub fn header(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
    /// The same answer with the state wrapped by `f`, for a middleware that has its own state.
    pub fn map<D>(self, f: impl FnOnce(C) -> D) -> Accept<D> {
        Accept {
            conn: f(self.conn),
            protocol: self.protocol,
            headers: self.headers,
        }
    }
}

/// An HTTP response: the answer to a plain request, or the refusal of an upgrade. The connection closes after it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Response {
    /// Status code, 200 to 599.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: Cow<'static, str>,
    /// Further header fields.
    pub headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    /// The body. It is not sent in reply to a HEAD request.
    pub body: Cow<'static, [u8]>,
}

impl Response {
    /// A response with this status (200 to 599), `Content-Type` and body.
    pub fn new(
        status: u16,
        content_type: impl Into<Cow<'static, str>>,
        body: impl Into<Cow<'static, [u8]>>,
    ) -> Self {
        Self {
            status,
            content_type: content_type.into(),
            headers: Vec::new(),
            body: body.into(),
        }
    }
    /// A response with a plain-text body.
    pub fn text(status: u16, body: impl Into<Cow<'static, str>>) -> Self {
        let body = match body.into() {
            Cow::Borrowed(s) => Cow::Borrowed(s.as_bytes()),
            Cow::Owned(s) => Cow::Owned(s.into_bytes()),
        };
        Self::new(status, "text/plain; charset=utf-8", body)
    }
    /// 404.
    pub fn not_found() -> Self {
        Self::text(404, "not found\n")
    }
    /// Adds a header field.
    pub fn header(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closure<'a> {
    /// The close code: the one received, else the one sent, else 1006 (RFC 6455 §7.1.5).
    pub code: CloseCode,
    /// The peer's reason; empty if it gave none.
    pub reason: &'a str,
    /// The party that ended it.
    pub by: ClosedBy,
}

/// The party that ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosedBy {
    /// The peer: it sent the first Close frame.
    Peer,
    /// The application.
    Application,
    /// The engine: a protocol violation, a limit, a drain or a panic; the code says which.
    Engine,
    /// The network: it ended without a Close frame.
    Network,
}

/// Why a message was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The connection is closing or gone.
    Closed,
    /// Its send queue is full, and the policy was applied: the message was dropped, or the connection is closing with 1013.
    Full,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "connection is closed",
            Self::Full => "send queue is full",
        })
    }
}
impl std::error::Error for SendError {}

/// Why a topic operation was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TopicError {
    /// The text is empty or too long, or it has an empty token or a wildcard at a position that allows none.
    Invalid,
    /// The connection has as many subscriptions, or as many bytes of them, as the limits allow.
    TooMany,
    /// The subscriptions of the lcore have used up its `subscription_memory`.
    NoMemory,
    /// The message is larger than a subscriber's send queue ([`Limits::send_queue`](crate::Limits::send_queue)).
    TooLarge,
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invalid => "invalid topic",
            Self::TooMany => "too many subscriptions",
            Self::NoMemory => "no memory for subscriptions",
            Self::TooLarge => "message is larger than a send queue",
        })
    }
}
impl std::error::Error for TopicError {}

/// The executor's queue is full: the job was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Busy;

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("executor queue is full")
    }
}
impl std::error::Error for Busy {}

/// The id of a timer, for [`LcoreContext::cancel_timer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimerHandle(pub(crate) u64);

/// A connection to open in the client role.
///
/// ```
/// use hioload_engine::Connect;
/// use hioload_transport::Endpoint;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let endpoint: Endpoint = "127.0.0.1:9001".parse()?;
/// let connect = Connect::new(endpoint).target("/chat").protocol("chat.v1").token(7);
/// assert_eq!(connect.host, "127.0.0.1:9001");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Connect {
    /// The endpoint of the server.
    pub endpoint: Endpoint,
    /// The `Host` field.
    pub host: String,
    /// Request target, beginning with `/`.
    pub target: String,
    /// `Origin`, if one is to be sent.
    pub origin: Option<String>,
    /// Subprotocols to offer, the best first.
    pub protocols: Vec<String>,
    /// Further header fields.
    pub headers: Vec<(String, String)>,
    /// Whether to offer permessage-deflate (with the configuration of the lcore).
    pub deflate: bool,
    /// Passed to [`Handler::on_connect`].
    pub token: u64,
}

impl Connect {
    /// A connection to `endpoint`, with the target `/`. The `Host` field is the address and port, or `localhost` for a
    /// Unix-domain socket.
    pub fn new(endpoint: impl Into<Endpoint>) -> Self {
        let endpoint = endpoint.into();
        let host = match &endpoint {
            Endpoint::Tcp(addr) => addr.to_string(),
            Endpoint::Unix(_) => "localhost".to_owned(),
        };
        Self {
            endpoint,
            host,
            target: "/".to_owned(),
            origin: None,
            protocols: Vec::new(),
            headers: Vec::new(),
            deflate: false,
            token: 0,
        }
    }
    /// Sets the `Host` field.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = host.into();
        self
    }
    /// Sets the request target.
    pub fn target(mut self, target: impl Into<String>) -> Self {
        self.target = target.into();
        self
    }
    /// Sends this `Origin`.
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into());
        self
    }
    /// Offers one more subprotocol, after those offered before.
    pub fn protocol(mut self, name: impl Into<String>) -> Self {
        self.protocols.push(name.into());
        self
    }
    /// Adds a header field.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
    /// Says whether permessage-deflate is offered.
    pub fn deflate(mut self, offer: bool) -> Self {
        self.deflate = offer;
        self
    }
    /// Sets the token that [`Handler::on_connect`] receives.
    pub fn token(mut self, token: u64) -> Self {
        self.token = token;
        self
    }
}

/// Why a connection could not be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The network: refused, unreachable, reset.
    Network(std::io::Error),
    /// The request cannot be written: a value of the caller has control characters, or its target is not a path.
    Request(hioload_ws_proto::handshake::Unwritable),
    /// The response of the server violates RFC 6455 §4.1.
    Handshake(ResponseError),
    /// The server answered with this HTTP status instead of 101.
    Refused(u16),
    /// No answer within the handshake time.
    Timeout,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(e) => e.fmt(f),
            Self::Request(e) => e.fmt(f),
            Self::Handshake(e) => e.fmt(f),
            Self::Refused(status) => write!(f, "the server refused with HTTP status {status}"),
            Self::Timeout => f.write_str("no response to the handshake in time"),
        }
    }
}
impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Network(e) => Some(e),
            Self::Request(e) => Some(e),
            Self::Handshake(e) => Some(e),
            Self::Refused(_) | Self::Timeout => None,
        }
    }
}

/// The operations of a handler on its lcore, with or without a connection.
pub trait LcoreContext {
    /// The handler's [`Handler::Event`].
    type Event: Send + 'static;

    /// The number of this lcore, from 0.
    fn lcore(&self) -> u16;
    /// The time of this turn of the loop.
    fn now(&self) -> Time;
    /// Open WebSocket connections on this lcore.
    fn connections(&self) -> usize;
    /// Whether the process is draining.
    fn draining(&self) -> bool;
    /// Whether the session of TLS of a connection on this lcore was resumed; `None` without TLS.
    fn tls_resumed(&self, id: ConnectionId) -> Option<bool>;

    /// Sends a message to any connection of the process. To another lcore it goes by mailbox: `Ok` then means
    /// that the mailbox has it.
    fn send_to(&mut self, to: ConnectionId, kind: Kind, payload: &[u8]) -> Result<(), SendError>;
    /// As [`send_to`](Self::send_to), the message split into `frames` frames of about the same length (RFC 6455 §5.4), or as
    /// many as it has bytes if those are fewer. To another lcore it goes as one frame: fragmentation has no meaning to the
    /// receiver.
    fn send_fragmented(
        &mut self,
        to: ConnectionId,
        kind: Kind,
        payload: &[u8],
        frames: usize,
    ) -> Result<(), SendError>;
    /// Sends a Ping of at most 125 bytes (more is cut off) on any connection of the process.
    fn ping_to(&mut self, to: ConnectionId, payload: &[u8]) -> Result<(), SendError>;
    /// Begins the closing handshake of any connection of the process.
    fn close_to(&mut self, to: ConnectionId, code: CloseCode, reason: &str);
    /// Sends a message to every connection, on any lcore, with a subscription that matches `topic`: once to each.
    /// Returns the number of connections reached on this lcore.
    ///
    /// # Errors
    /// [`TopicError::Invalid`], or [`TopicError::TooLarge`] whether there are subscribers or not.
    fn publish(&mut self, topic: &str, kind: Kind, payload: &[u8]) -> Result<usize, TopicError>;

    /// Calls [`Handler::on_lcore_timer`] after `after` (rounded up to a millisecond).
    fn set_lcore_timer(&mut self, after: Duration, token: u64) -> TimerHandle;
    /// Cancels a timer; one that has fired is ignored.
    fn cancel_timer(&mut self, timer: TimerHandle);

    /// Opens a connection in the client role. [`Handler::on_connect`] receives the outcome.
    fn connect(&mut self, connect: Connect) -> std::io::Result<ConnectionId>;
    /// Runs `job` on the executor. [`Handler::on_lcore_event`] receives its result.
    fn spawn_lcore(
        &mut self,
        job: impl FnOnce() -> Self::Event + Send + 'static,
    ) -> Result<(), Busy>;
    /// Ends this lcore's loop after this turn, for example when a client has finished.
    fn stop(&mut self);
}

/// The operations of a handler on the connection that it is called for.
pub trait Context: LcoreContext {
    /// The connection's id.
    fn id(&self) -> ConnectionId;
    /// The address of the peer: of the client, if the connection came through a trusted proxy that named it
    /// ([`Proxies`](crate::proxy::Proxies)).
    fn peer(&self) -> Peer;
    /// The address of that proxy; `None` for a connection that came directly, or of which its proxy said nothing.
    fn proxy(&self) -> Option<Peer>;
    /// Sends a message. All messages of a turn leave at its end. The payload of a text message has to be
    /// UTF-8 (RFC 6455 §5.6), which only debug builds check.
    fn send(&mut self, kind: Kind, payload: &[u8]) -> Result<(), SendError>;
    /// Sends a Ping of at most 125 bytes (more is cut off).
    fn ping(&mut self, payload: &[u8]) -> Result<(), SendError>;
    /// Begins the closing handshake. A reason over 123 bytes is cut at a character.
    fn close(&mut self, code: CloseCode, reason: &str);
    /// Bytes in its send queue.
    fn queued(&self) -> usize;

    /// Stops reading. Messages of this burst that the handler has not received wait too.
    fn pause(&mut self);
    /// Ends the effect of `pause`.
    fn resume(&mut self);

    /// Subscribes the connection to a topic or pattern. Returns `false` if it was subscribed already.
    fn subscribe(&mut self, pattern: &str) -> Result<bool, TopicError>;
    /// Ends a subscription. Returns `false` if there was none.
    fn unsubscribe(&mut self, pattern: &str) -> Result<bool, TopicError>;

    /// Calls [`Handler::on_timer`] after `after`, unless the connection ends before.
    fn set_timer(&mut self, after: Duration, token: u64) -> TimerHandle;
    /// Runs `job` on the executor. [`Handler::on_event`] of this connection receives its result, which is dropped if the
    /// connection has ended. A job that panics closes the connection with 1011.
    fn spawn(&mut self, job: impl FnOnce() -> Self::Event + Send + 'static) -> Result<(), Busy>;
}

/// The application. One instance for each lcore.
///
/// A panic in any of these methods is counted, and ends its connection: an open one is closed with 1011, a request is answered
/// 500. The lcore and its other connections go on, so state that outlives a call should be consistent whenever a call may
/// unwind.
#[allow(unused_variables)]
pub trait Handler: Sized + 'static {
    /// State of one connection.
    type Conn: 'static;
    /// The events that executor jobs and other threads send to this handler.
    type Event: Send + 'static;

    /// Whether [`on_turn`](Self::on_turn) is called.
    const TURNS: bool = false;

    /// The bytes of memory that an event holds, which [`Limits::mailbox_bytes`](crate::Limits::mailbox_bytes) bounds while events
    /// wait. It must not change while the event waits. The default is the size of the type, without what it points to.
    fn event_bytes(event: &Self::Event) -> usize {
        size_of::<Self::Event>()
    }

    /// The lcore starts.
    fn on_start(&mut self, cx: &mut impl LcoreContext<Event = Self::Event>) {}

    /// A turn of the loop begins. Messages sent here leave at its end. For handlers that send by time. Called only where
    /// [`TURNS`](Self::TURNS) is true. Returns whether there was anything to do: an lcore with nothing to do may sleep until
    /// its next timer, unless it is [`Idle::Busy`](hioload_lcore::Idle::Busy).
    fn on_turn(&mut self, cx: &mut impl LcoreContext<Event = Self::Event>) -> bool {
        false
    }

    /// The state of a connection that the default [`on_open`](Self::on_open) accepts.
    ///
    /// A handler implements this or `on_open`. A server whose handler implements neither does not build.
    fn new_conn(&mut self) -> Self::Conn {
        const { panic!("a handler implements `Handler::new_conn` or `Handler::on_open`") }
    }

    /// A client asks for a WebSocket. The request has passed every check of RFC 6455 §4.2.1.
    ///
    /// The default accepts every upgrade, on any path, without a subprotocol, with the state from
    /// [`new_conn`](Self::new_conn). A bound `Conn: Default` would not do: on the method it would bind the engine, which calls
    /// it for every handler, and on `Conn` it would demand a meaningless default of states that only a request can fill.
    fn on_open(
        &mut self,
        cx: &mut impl LcoreContext<Event = Self::Event>,
        peer: Peer,
        request: &Request<'_>,
    ) -> Result<Accept<Self::Conn>, Response> {
        Ok(Accept::new(self.new_conn()))
    }

    /// A plain HTTP request: GET, HEAD or OPTIONS. To HEAD, the engine sends the response without its body.
    fn on_http(
        &mut self,
        cx: &mut impl LcoreContext<Event = Self::Event>,
        peer: Peer,
        request: &Request<'_>,
    ) -> Response {
        Response::text(426, "this is a WebSocket server\n")
    }

    /// The connection is open (either role): messages may be sent from here on.
    fn on_ready(&mut self, conn: &mut Self::Conn, cx: &mut impl Context<Event = Self::Event>) {}

    /// A whole message, in the memory where it arrived. A handler that needs it after the call copies it.
    fn on_message(
        &mut self,
        conn: &mut Self::Conn,
        cx: &mut impl Context<Event = Self::Event>,
        message: Message<'_>,
    );

    /// A Pong (pings are answered by the engine).
    fn on_pong(
        &mut self,
        conn: &mut Self::Conn,
        cx: &mut impl Context<Event = Self::Event>,
        payload: &[u8],
    ) {
    }

    /// A send queue that had been blocked is empty again.
    fn on_writable(&mut self, conn: &mut Self::Conn, cx: &mut impl Context<Event = Self::Event>) {}

    /// A timer of the connection.
    fn on_timer(
        &mut self,
        conn: &mut Self::Conn,
        cx: &mut impl Context<Event = Self::Event>,
        token: u64,
    ) {
    }

    /// The result of a job of this connection.
    fn on_event(
        &mut self,
        conn: &mut Self::Conn,
        cx: &mut impl Context<Event = Self::Event>,
        event: Self::Event,
    ) {
    }

    /// The connection has ended, and carries no further messages. Called once for each connection that `on_open` or
    /// `on_connect` accepted.
    fn on_close(
        &mut self,
        conn: Self::Conn,
        cx: &mut impl LcoreContext<Event = Self::Event>,
        closure: Closure<'_>,
    ) {
    }

    /// A timer of the lcore.
    fn on_lcore_timer(&mut self, cx: &mut impl LcoreContext<Event = Self::Event>, token: u64) {}

    /// An event for the lcore: the result of a job, or posted from another thread.
    fn on_lcore_event(
        &mut self,
        cx: &mut impl LcoreContext<Event = Self::Event>,
        event: Self::Event,
    ) {
    }

    /// The outcome of [`LcoreContext::connect`]. A returned `None` closes an opened connection with 1000.
    fn on_connect(
        &mut self,
        cx: &mut impl LcoreContext<Event = Self::Event>,
        token: u64,
        id: ConnectionId,
        outcome: Result<&ServerReply<'_>, ConnectError>,
    ) -> Option<Self::Conn> {
        None
    }
}
