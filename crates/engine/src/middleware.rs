//! Middleware: layers around a handler, each of which sees a connection's events before the handler does.
//!
//! A [`Layer`] may refuse an upgrade, answer a plain request, keep state of its own for each connection, and drop a message.
//! Layers compose by type, so that a chain of layers costs no indirection and no allocation.
//!
//! ```
//! use hioload_engine::middleware::{HandlerExt, Layer, Trace};
//! # use hioload_engine::*;
//! # use hioload_ws_proto::{Message, handshake::server::Request};
//! # struct Echo;
//! # impl Handler for Echo {
//! #     type Conn = ();
//! #     type Event = ();
//! #     fn on_open(&mut self, _: &mut impl LcoreContext<Event = ()>, _: hioload_transport::Peer, _: &Request<'_>)
//! #         -> Result<Accept<()>, Response> { Ok(Accept::new(())) }
//! #     fn on_message(&mut self, _: &mut (), _: &mut impl Context<Event = ()>, _: Message<'_>) {}
//! # }
//! /// Refuses upgrades without a cookie.
//! struct Cookie;
//!
//! impl Layer for Cookie {
//!     type Conn = ();
//!
//!     fn on_open(&mut self, _: hioload_transport::Peer, request: &Request<'_>) -> Result<(), Response> {
//!         request.header("Cookie").map(drop).ok_or_else(|| Response::text(401, "log in first\n"))
//!     }
//!
//!     fn on_connect(&mut self, _: u64, _: &hioload_ws_proto::handshake::client::Response<'_>) {}
//! }
//!
//! // The last layer added is the first to see an event.
//! let handler = Echo.layer(Cookie).layer(Trace);
//! # fn is_handler(_: impl Handler) {}
//! # is_handler(handler);
//! ```

use hioload_transport::Peer;
use hioload_ws_proto::Message;
use hioload_ws_proto::handshake::client::Response as ServerReply;
use hioload_ws_proto::handshake::server::Request;

use crate::handler::{
    Accept, Closure, ConnectError, ConnectionId, Context, Handler, LcoreContext, Response,
};

/// The decision of a layer on a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The next layer, or the handler, receives it.
    Pass,
    /// It is dropped.
    Drop,
}

/// A layer. The default of each method lets everything pass.
#[allow(unused_variables)]
pub trait Layer: 'static {
    /// The layer's own state of one connection.
    type Conn: 'static;

    /// A client asks for a WebSocket: the state of the connection, or the answer that refuses it.
    fn on_open(&mut self, peer: Peer, request: &Request<'_>) -> Result<Self::Conn, Response>;

    /// The state of a connection opened in the client role.
    fn on_connect(&mut self, token: u64, reply: &ServerReply<'_>) -> Self::Conn;

    /// A plain request: the response, or `None` to pass it to the next layer.
    fn on_http(&mut self, peer: Peer, request: &Request<'_>) -> Option<Response> {
        None
    }

    /// A whole message.
    fn on_message(
        &mut self,
        conn: &mut Self::Conn,
        cx: &mut impl Context,
        message: &Message<'_>,
    ) -> Verdict {
        Verdict::Pass
    }

    /// The connection has ended.
    fn on_close(&mut self, conn: Self::Conn, cx: &mut impl LcoreContext, closure: &Closure<'_>) {}
}

/// A handler inside a layer.
#[derive(Debug, Clone)]
pub struct Layered<L, H> {
    layer: L,
    inner: H,
}

/// Adds layers to handlers.
pub trait HandlerExt: Handler {
    /// This handler inside `layer`.
    fn layer<L: Layer>(self, layer: L) -> Layered<L, Self> {
        Layered { layer, inner: self }
    }
}

impl<H: Handler> HandlerExt for H {}

impl<L: Layer, H: Handler> Handler for Layered<L, H> {
    type Conn = (L::Conn, H::Conn);
    type Event = H::Event;

    const TURNS: bool = H::TURNS;

    fn event_bytes(event: &H::Event) -> usize {
        H::event_bytes(event)
    }

    fn on_turn(&mut self, cx: &mut impl LcoreContext<Event = H::Event>) -> bool {
        self.inner.on_turn(cx)
    }

    fn on_start(&mut self, cx: &mut impl LcoreContext<Event = H::Event>) {
        self.inner.on_start(cx);
    }

    fn on_open(
        &mut self,
        cx: &mut impl LcoreContext<Event = H::Event>,
        peer: Peer,
        request: &Request<'_>,
    ) -> Result<Accept<Self::Conn>, Response> {
        let own = self.layer.on_open(peer, request)?;
        let accept = self.inner.on_open(cx, peer, request)?;
        Ok(accept.map(|inner| (own, inner)))
    }

    fn on_http(
        &mut self,
        cx: &mut impl LcoreContext<Event = H::Event>,
        peer: Peer,
        request: &Request<'_>,
    ) -> Response {
        match self.layer.on_http(peer, request) {
            Some(response) => response,
            None => self.inner.on_http(cx, peer, request),
        }
    }

    fn on_ready(&mut self, conn: &mut Self::Conn, cx: &mut impl Context<Event = H::Event>) {
        self.inner.on_ready(&mut conn.1, cx);
    }

    #[inline]
    fn on_message(
        &mut self,
        conn: &mut Self::Conn,
        cx: &mut impl Context<Event = H::Event>,
        message: Message<'_>,
    ) {
        if self.layer.on_message(&mut conn.0, cx, &message) == Verdict::Pass {
            self.inner.on_message(&mut conn.1, cx, message);
        }
    }

    fn on_pong(
        &mut self,
        conn: &mut Self::Conn,
        cx: &mut impl Context<Event = H::Event>,
        payload: &[u8],
    ) {
        self.inner.on_pong(&mut conn.1, cx, payload);
    }

    fn on_writable(&mut self, conn: &mut Self::Conn, cx: &mut impl Context<Event = H::Event>) {
        self.inner.on_writable(&mut conn.1, cx);
    }

    fn on_timer(
        &mut self,
        conn: &mut Self::Conn,
        cx: &mut impl Context<Event = H::Event>,
        token: u64,
    ) {
        self.inner.on_timer(&mut conn.1, cx, token);
    }

    fn on_event(
        &mut self,
        conn: &mut Self::Conn,
        cx: &mut impl Context<Event = H::Event>,
        event: H::Event,
    ) {
        self.inner.on_event(&mut conn.1, cx, event);
    }

    fn on_close(
        &mut self,
        conn: Self::Conn,
        cx: &mut impl LcoreContext<Event = H::Event>,
        closure: Closure<'_>,
    ) {
        self.layer.on_close(conn.0, cx, &closure);
        self.inner.on_close(conn.1, cx, closure);
    }

    fn on_lcore_timer(&mut self, cx: &mut impl LcoreContext<Event = H::Event>, token: u64) {
        self.inner.on_lcore_timer(cx, token);
    }

    fn on_lcore_event(&mut self, cx: &mut impl LcoreContext<Event = H::Event>, event: H::Event) {
        self.inner.on_lcore_event(cx, event);
    }

    fn on_connect(
        &mut self,
        cx: &mut impl LcoreContext<Event = H::Event>,
        token: u64,
        id: ConnectionId,
        outcome: Result<&ServerReply<'_>, ConnectError>,
    ) -> Option<Self::Conn> {
        let own = outcome
            .as_ref()
            .ok()
            .map(|reply| self.layer.on_connect(token, reply));
        own.zip(self.inner.on_connect(cx, token, id, outcome))
    }
}

/// Logs the opening and the end of every connection at level `debug`.
#[derive(Debug, Clone, Copy)]
pub struct Trace;

impl Layer for Trace {
    /// Peer, and messages received.
    type Conn = (Option<Peer>, u64);

    fn on_open(&mut self, peer: Peer, request: &Request<'_>) -> Result<Self::Conn, Response> {
        tracing::debug!(%peer, target = request.target, "opening");
        Ok((Some(peer), 0))
    }

    fn on_connect(&mut self, _: u64, _: &ServerReply<'_>) -> Self::Conn {
        (None, 0)
    }

    fn on_message(
        &mut self,
        conn: &mut Self::Conn,
        _: &mut impl Context,
        _: &Message<'_>,
    ) -> Verdict {
        conn.1 += 1;
        Verdict::Pass
    }

    fn on_close(&mut self, conn: Self::Conn, _: &mut impl LcoreContext, closure: &Closure<'_>) {
        let peer = conn.0.map(|peer| peer.to_string()).unwrap_or_default();
        tracing::debug!(peer, messages = conn.1, code = %closure.code, by = ?closure.by, "closed");
    }
}
