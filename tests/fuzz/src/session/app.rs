//! The application: it echoes, and the first character of a text selects another action.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use hioload_engine::{
    Accept, Closure, Connect, ConnectError, ConnectionId, Context, Handler, LcoreContext, Response,
    TimerHandle,
};
use hioload_transport::{Endpoint, Peer};
use hioload_ws_proto::handshake::client::Response as ServerReply;
use hioload_ws_proto::handshake::server::Request;
use hioload_ws_proto::{CloseCode, Kind, Message};

/// The most messages of a flood, and the most bytes of each.
const FLOOD: u64 = 50;
const FLOOD_BYTES: usize = 100;
/// The most connections that it opens.
const DIALS: u64 = 2;

/// The state of a connection. It counts the live connections.
pub(super) struct Conn {
    live: Rc<Cell<usize>>,
    timer: Option<TimerHandle>,
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.live.set(self.live.get() - 1);
    }
}

#[derive(Default)]
pub(super) struct App {
    pub(super) live: Rc<Cell<usize>>,
    /// All topics that a connection has subscribed to.
    pub(super) patterns: Rc<RefCell<BTreeSet<String>>>,
    /// All connections so far. The first is the bystander, which no script can name.
    known: Vec<ConnectionId>,
    dials: u64,
}

impl App {
    fn conn(&self) -> Conn {
        self.live.set(self.live.get() + 1);
        Conn {
            live: Rc::clone(&self.live),
            timer: None,
        }
    }

    fn other(&self, n: u64) -> Option<ConnectionId> {
        let others = self.known.get(1..)?;
        others.get(n as usize % others.len().max(1)).copied()
    }

    fn dial(&mut self, cx: &mut impl Context<Event = ()>) {
        if self.dials == DIALS {
            return;
        }
        let connect = Connect::new(Endpoint::Tcp(([10, 0, 0, 3], 80).into()))
            .host("peer")
            .protocol("p1")
            .deflate(true)
            .token(self.dials);
        self.dials += 1;
        cx.connect(connect).expect("the fake has a slot");
    }
}

impl Handler for App {
    type Conn = Conn;
    type Event = ();

    fn on_open(
        &mut self,
        _: &mut impl LcoreContext<Event = ()>,
        _: Peer,
        request: &Request<'_>,
    ) -> Result<Accept<Conn>, Response> {
        if request.path() == "/no" {
            return Err(Response::text(403, "no\n"));
        }
        let accept = Accept::new(self.conn());
        Ok(match request.protocols().next() {
            Some(protocol) => accept.protocol(protocol.to_owned()),
            None => accept,
        })
    }

    fn on_ready(&mut self, _: &mut Conn, cx: &mut impl Context<Event = ()>) {
        self.known.push(cx.id());
    }

    fn on_message(
        &mut self,
        conn: &mut Conn,
        cx: &mut impl Context<Event = ()>,
        message: Message<'_>,
    ) {
        // The policy has handled a refused send, and the engine has counted it.
        let Some(text) = message.as_text() else {
            let _ = cx.send(Kind::Binary, message.as_bytes());
            return;
        };
        let mut chars = text.chars();
        let verb = chars.next();
        let rest = chars.as_str();
        let number = || rest.parse::<u64>().unwrap_or(rest.len() as u64);
        match verb {
            Some('s') => {
                if let Ok(new) = cx.subscribe(rest) {
                    self.patterns.borrow_mut().insert(rest.to_owned());
                    let _ = cx.send(Kind::Text, if new { b"new" } else { b"old" });
                }
            }
            Some('u') => drop(
                cx.unsubscribe(rest)
                    .map(|had| cx.send(Kind::Text, if had { b"had" } else { b"not" })),
            ),
            Some('p') => {
                let (topic, payload) = rest.split_once(' ').unwrap_or((rest, ""));
                let reached = cx.publish(topic, Kind::Text, payload.as_bytes());
                let _ = cx.send(Kind::Text, format!("{reached:?}").as_bytes());
            }
            Some('c') => cx.close(CloseCode(number() as u16), rest),
            Some('f') => {
                for n in 0..number().min(FLOOD) {
                    let _ = cx.send(Kind::Binary, &[n as u8; FLOOD_BYTES]);
                }
            }
            Some('z') => {
                cx.pause();
                cx.set_timer(Duration::from_millis(50), 1);
            }
            Some('t') => {
                conn.timer = Some(cx.set_timer(Duration::from_millis(number().min(5000)), 2));
            }
            Some('T') => {
                if let Some(timer) = conn.timer {
                    cx.cancel_timer(timer);
                }
            }
            Some('q') => drop(cx.ping(rest.as_bytes())),
            Some('o') => self.dial(cx),
            Some('k') => {
                if let Some(other) = self.other(number()) {
                    cx.close_to(other, CloseCode::GOING_AWAY, rest);
                }
            }
            Some('m') => {
                if let Some(other) = self.other(number()) {
                    let _ = cx.send_to(other, Kind::Text, rest.as_bytes());
                }
            }
            _ => drop(cx.send(Kind::Text, text.as_bytes())),
        }
    }

    fn on_pong(&mut self, _: &mut Conn, cx: &mut impl Context<Event = ()>, payload: &[u8]) {
        let _ = cx.send(Kind::Binary, payload);
    }

    fn on_timer(&mut self, _: &mut Conn, cx: &mut impl Context<Event = ()>, token: u64) {
        match token {
            1 => cx.resume(),
            _ => drop(cx.send(Kind::Text, b"tick")),
        }
    }

    fn on_close(&mut self, conn: Conn, cx: &mut impl LcoreContext<Event = ()>, _: Closure<'_>) {
        drop(conn);
        // The application may send to any connection here, also to the one that has ended.
        if let Some(&last) = self.known.get(1..).and_then(<[_]>::last) {
            let _ = cx.send_to(last, Kind::Text, b"somebody left");
        }
    }

    fn on_connect(
        &mut self,
        _: &mut impl LcoreContext<Event = ()>,
        token: u64,
        _: ConnectionId,
        outcome: Result<&ServerReply<'_>, ConnectError>,
    ) -> Option<Conn> {
        let wanted = outcome.is_ok_and(|reply| reply.protocol.is_none() || token == 0);
        wanted.then(|| self.conn())
    }
}
