//! A client of a network: it sends as the test commands, and keeps the frames that it receives.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use hioload_engine::ConnectionId;
use hioload_transport::fake::Fake;
use hioload_ws_proto::{CloseCode, Kind, OpCode};

use crate::received::{Received, TcpState};
use crate::upgrade::{HttpResponse, Upgrade};
use crate::world::{End, World};

/// A client. Every call that sends returns when the lcores and all clients have done everything that follows at the same time,
/// so that the next line of the test can look at the result.
///
/// By itself a client answers Pings with Pongs and a Close with a Close, and ends TCP after the server has, as RFC 6455 wants:
/// [`answer`](Self::answer) changes that. Sending on a connection that has ended has no effect.
///
/// Calls that expect something panic if it is not there. The message shows everything that the client has received.
pub struct Client {
    world: Rc<RefCell<dyn World>>,
    end: Rc<RefCell<End>>,
    /// Bytes that wait for `uncork`.
    corked: Option<Vec<u8>>,
    /// Where the next bytes are split.
    boundaries: Option<Box<dyn Iterator<Item = usize>>>,
    closed: Option<(CloseCode, String)>,
}

impl Client {
    pub(crate) fn new(world: Rc<RefCell<dyn World>>, end: Rc<RefCell<End>>) -> Self {
        Self {
            world,
            end,
            corked: None,
            boundaries: None,
            closed: None,
        }
    }

    /// The name of the connection, for [`send_to`](hioload_engine::LcoreContext::send_to) and the like.
    pub fn id(&self) -> ConnectionId {
        let end = self.end.borrow();
        ConnectionId {
            lcore: end.lcore as u16,
            conn: end.id,
        }
    }

    // The handshake.

    /// Sends an upgrade request: for a client from [`Network::dial`](crate::Network::dial).
    ///
    /// # Panics
    /// A value must not be written into a request, such as a header with a line break.
    #[track_caller]
    pub fn upgrade(&mut self, upgrade: impl Into<Upgrade>) -> &mut Self {
        let upgrade = upgrade.into();
        let request = upgrade.bytes();
        self.end.borrow_mut().protocol.await_response(upgrade);
        self.send_bytes(&request)
    }

    /// This client, if its WebSocket is open.
    ///
    /// # Panics
    /// The server has refused the upgrade, or has not answered.
    #[track_caller]
    pub fn expect_open(self) -> Self {
        if !self.end.borrow().protocol.is_open() {
            self.fail("an open WebSocket");
        }
        self
    }

    /// The HTTP response with which the server has refused the upgrade.
    ///
    /// # Panics
    /// The WebSocket is open, or the server has not answered.
    #[track_caller]
    pub fn expect_refused(&self) -> HttpResponse {
        match self.response() {
            Some(response) if response.status != 101 => response,
            _ => self.fail("a refusal"),
        }
    }

    /// The response to the request: 101 with the headers of the handler, or a refusal. `None` while there is none.
    pub fn response(&self) -> Option<HttpResponse> {
        self.end.borrow().protocol.response().cloned()
    }

    /// The request that a server has received.
    pub(crate) fn take_request(&self) -> Vec<u8> {
        self.end.borrow().protocol.request().to_vec()
    }

    /// Frames follow: a server has accepted.
    pub(crate) fn serve(&mut self) {
        self.end.borrow_mut().protocol.serve();
    }

    // Sending.

    /// Sends a text message in one frame.
    pub fn send_text(&mut self, text: &str) -> &mut Self {
        self.send_message(Kind::Text, text.as_bytes())
    }

    /// Sends a binary message in one frame.
    pub fn send_binary(&mut self, payload: &[u8]) -> &mut Self {
        self.send_message(Kind::Binary, payload)
    }

    fn send_message(&mut self, kind: Kind, payload: &[u8]) -> &mut Self {
        let bytes = self.end.borrow_mut().protocol.message(kind, payload);
        self.send_bytes(&bytes)
    }

    /// Sends a message of one frame for each of `parts`, uncompressed. A part of a text may end inside a character.
    pub fn send_fragments<P: AsRef<[u8]>>(
        &mut self,
        kind: Kind,
        parts: impl IntoIterator<Item = P>,
    ) -> &mut Self {
        let (mut bytes, mut opcode) = (Vec::new(), kind.into());
        let mut parts = parts.into_iter().peekable();
        while let Some(part) = parts.next() {
            let protocol = &self.end.borrow().protocol;
            bytes.extend(protocol.frame(parts.peek().is_none(), opcode, part.as_ref()));
            opcode = OpCode::Continuation;
        }
        self.send_bytes(&bytes)
    }

    /// Sends a Ping of at most 125 bytes.
    pub fn ping(&mut self, payload: &[u8]) -> &mut Self {
        let bytes = self
            .end
            .borrow()
            .protocol
            .frame(true, OpCode::Ping, payload);
        self.send_bytes(&bytes)
    }

    /// Begins the closing handshake.
    pub fn close(&mut self, code: CloseCode, reason: &str) -> &mut Self {
        let bytes = self.end.borrow_mut().protocol.close_frame(code, reason);
        self.send_bytes(&bytes)
    }

    /// Sends bytes unchanged: a part of a frame, or invalid ones.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> &mut Self {
        if let Some(corked) = &mut self.corked {
            corked.extend_from_slice(bytes);
            return self;
        }
        let boundaries = self.boundaries.take().into_iter().flatten();
        let inside = boundaries.take_while(|boundary| *boundary < bytes.len());
        let mut start = 0;
        for end in inside.chain([bytes.len()]) {
            let piece = bytes
                .get(start..end)
                .expect("boundaries in ascending order");
            self.act(|io, id| io.deliver(id, piece));
            start = end;
        }
        self
    }

    /// Splits the next frame, request or bytes at these offsets, in ascending order: each piece arrives in a turn of its own, as if
    /// it came in a TCP segment of its own. Offsets behind the end are ignored, so that `split(1..)` sends byte by byte.
    pub fn split<B>(&mut self, boundaries: B) -> &mut Self
    where
        B: IntoIterator<Item = usize, IntoIter: 'static>,
    {
        self.boundaries = Some(Box::new(boundaries.into_iter()));
        self
    }

    /// Keeps all further bytes until [`uncork`](Self::uncork) sends them at once, so that they arrive in one turn.
    pub fn cork(&mut self) -> &mut Self {
        self.corked.get_or_insert_default();
        self
    }

    /// Sends the bytes that [`cork`](Self::cork) has kept.
    pub fn uncork(&mut self) -> &mut Self {
        let bytes = self.corked.take().unwrap_or_default();
        self.send_bytes(&bytes)
    }

    // The network.

    /// Stops reading: from here on the server's send queue fills.
    pub fn stall(&mut self) -> &mut Self {
        self.act(|io, id| io.set_window(id, 0))
    }

    /// Reads again, everything that has waited.
    pub fn resume(&mut self) -> &mut Self {
        self.act(|io, id| io.set_window(id, usize::MAX))
    }

    /// Resets the TCP connection.
    pub fn cut(&mut self) -> &mut Self {
        self.act(Fake::reset)
    }

    /// Ends the client's direction of TCP (FIN). It can still receive.
    pub fn half_close(&mut self) -> &mut Self {
        self.end.borrow_mut().ended = true;
        self.act(Fake::end)
    }

    /// Whether the client answers Pings and Closes, and ends TCP after the server. At first it does.
    pub fn answer(&mut self, answers: bool) -> &mut Self {
        self.end.borrow_mut().answers = answers;
        self
    }

    fn act<R>(
        &mut self,
        action: impl FnOnce(&mut Fake, hioload_transport::ConnId) -> R,
    ) -> &mut Self {
        let (lcore, id) = {
            let end = self.end.borrow();
            (end.lcore, end.id)
        };
        let mut world = self.world.borrow_mut();
        if let Some(io) = world.fake(lcore) {
            action(io, id);
        }
        world.settle();
        drop(world);
        self
    }

    // The responses.

    /// Takes the next message, which has to be text.
    ///
    /// # Panics
    /// There is no further message, or the next one is binary.
    #[track_caller]
    pub fn next_text(&mut self) -> String {
        match self.next_message("a text message") {
            Received::Text(text) => text,
            other => self.fail(&format!("a text message before {other}")),
        }
    }

    /// Takes the next message, which has to be binary.
    ///
    /// # Panics
    /// There is no further message, or the next one is text.
    #[track_caller]
    pub fn next_binary(&mut self) -> Vec<u8> {
        match self.next_message("a binary message") {
            Received::Binary(bytes) => bytes,
            other => self.fail(&format!("a binary message before {other}")),
        }
    }

    #[track_caller]
    fn next_message(&mut self, wanted: &str) -> Received {
        let is_message =
            |event: &Received| matches!(event, Received::Text(_) | Received::Binary(_));
        match self.take(|event| is_message(event).then(|| event.clone())) {
            Some(message) => message,
            None => self.fail(wanted),
        }
    }

    /// Takes the payload of the next Ping.
    ///
    /// # Panics
    /// There is no further one.
    #[track_caller]
    pub fn next_ping(&mut self) -> Vec<u8> {
        let ping = self.take(|event| match event {
            Received::Ping(payload) => Some(payload.clone()),
            _ => None,
        });
        ping.unwrap_or_else(|| self.fail("a Ping"))
    }

    /// Takes the payload of the next Pong.
    ///
    /// # Panics
    /// There is no further one.
    #[track_caller]
    pub fn next_pong(&mut self) -> Vec<u8> {
        let pong = self.take(|event| match event {
            Received::Pong(payload) => Some(payload.clone()),
            _ => None,
        });
        pong.unwrap_or_else(|| self.fail("a Pong"))
    }

    /// Takes everything that has not been taken, in the order of arrival.
    pub fn received(&mut self) -> Vec<Received> {
        std::iter::from_fn(|| self.take(|event| Some(event.clone()))).collect()
    }

    /// Checks that every message has been taken, and that the server has not closed the WebSocket. Pings and Pongs do not count:
    /// the engine sends them by itself.
    ///
    /// # Panics
    /// A message or a Close has not been taken.
    #[track_caller]
    pub fn expect_nothing(&mut self) {
        let counts = |event: &Received| !matches!(event, Received::Ping(_) | Received::Pong(_));
        if let Some(event) = self.take(|event| counts(event).then(|| event.clone())) {
            self.fail(&format!("nothing before {event}"));
        }
    }

    /// The code and reason with which the server has closed the WebSocket; 1006 and no reason if TCP has ended without a Close
    /// frame (RFC 6455 §7.1.5). `None` while neither has happened. A server that answers this client's Close repeats its code.
    pub fn closed(&mut self) -> Option<(CloseCode, &str)> {
        {
            let end = self.end.borrow();
            self.closed = match end.protocol.close() {
                Some((code, reason)) => Some((code, reason.to_owned())),
                None if end.tcp != TcpState::Open => Some((CloseCode::ABNORMAL, String::new())),
                None => None,
            };
        }
        let (code, reason) = self.closed.as_ref()?;
        Some((*code, reason))
    }

    /// The state of the TCP connection.
    pub fn tcp(&self) -> TcpState {
        self.end.borrow().tcp
    }

    fn take<T>(&mut self, wanted: impl Fn(&Received) -> Option<T>) -> Option<T> {
        self.end.borrow_mut().protocol.take(wanted)
    }

    #[track_caller]
    fn fail(&self, wanted: &str) -> ! {
        panic!("expected {wanted} on connection {self}");
    }
}

impl fmt::Display for Client {
    /// Everything that it has received.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.end.borrow();
        write!(f, "{}: {}", self.id(), end.protocol)?;
        match end.tcp {
            TcpState::Open => Ok(()),
            TcpState::Finished => f.write_str("; the server has ended its direction of TCP"),
            TcpState::Closed => f.write_str("; TCP is closed"),
            TcpState::Reset => f.write_str("; TCP is reset"),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({self})")
    }
}
