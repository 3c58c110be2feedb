//! Connections that a handler opens.

use std::io::ErrorKind;
use std::net::SocketAddr;

use hioload_engine::{Connect, ConnectError, ConnectionId};
use hioload_ws_proto::handshake::client::Response as ServerReply;

use super::*;
use crate::TcpState;

/// Opens a connection at its start, greets the server, and logs what it says.
struct Caller(Log);

impl Handler for Caller {
    type Conn = ();
    type Event = ();

    fn new_conn(&mut self) {}

    fn on_start(&mut self, cx: &mut impl LcoreContext<Event = ()>) {
        let server = SocketAddr::from(([192, 0, 2, 2], 80));
        let connect = Connect::new(server).target("/feed").protocol("feed.v1");
        cx.connect(connect).unwrap();
    }

    fn on_connect(
        &mut self,
        _: &mut impl LcoreContext<Event = ()>,
        _: u64,
        _: ConnectionId,
        outcome: Result<&ServerReply<'_>, ConnectError>,
    ) -> Option<()> {
        let protocol = outcome.map(|reply| format!("{:?}", reply.protocol));
        let text = protocol.unwrap_or_else(|e| format!("{e:?}"));
        self.0.borrow_mut().push(text);
        Some(())
    }

    fn on_ready(&mut self, (): &mut (), cx: &mut impl Context<Event = ()>) {
        let _ = cx.send(Kind::Text, b"hello");
    }

    fn on_message(&mut self, (): &mut (), cx: &mut impl Context<Event = ()>, message: Message<'_>) {
        match message.as_text() {
            Some("bye") => cx.close(CloseCode::NORMAL, "as you say"),
            other => self.0.borrow_mut().push(format!("{other:?}")),
        }
    }

    fn on_close(&mut self, (): (), _: &mut impl LcoreContext<Event = ()>, closure: Closure<'_>) {
        self.0
            .borrow_mut()
            .push(format!("close {} by {:?}", closure.code, closure.by));
    }
}

fn caller(lcores: usize) -> (Network<Caller>, Log) {
    let log = Log::default();
    let net = Network::new(Config::default(), lcores, |_| Caller(Rc::clone(&log)));
    (net, log)
}

#[test]
fn the_test_plays_the_server_of_a_handlers_connection() {
    let (mut net, log) = caller(2);
    let lcores: Vec<usize> = net
        .connecting()
        .into_iter()
        .map(|(lcore, _)| lcore)
        .collect();
    assert_eq!(lcores, [0, 1]);
    let mut server = net.accept();
    server.with_request(|request| {
        assert_eq!(request.target, "/feed");
        assert!(request.offers("feed.v1"));
    });
    server.open(Some("feed.v1"));
    assert_eq!(server.next_text(), "hello");
    server.split([1]).send_text("news");
    assert_eq!(*log.borrow(), ["Some(\"feed.v1\")", "Some(\"news\")"]);
    server.send_text("bye");
    assert_eq!(server.closed(), Some((CloseCode::NORMAL, "as you say")));
    assert_eq!(server.tcp(), TcpState::Closed);
    assert_eq!(log.borrow()[2], "close 1000 by Application");
    assert_eq!(net.connecting().len(), 1);
}

#[test]
fn a_server_closes_and_cuts() {
    let (mut net, log) = caller(2);
    net.accept()
        .open(None)
        .close(CloseCode::GOING_AWAY, "later");
    net.accept().open(None).cut();
    let log = log.borrow();
    assert_eq!(log[1], "close 1001 by Peer");
    assert_eq!(log[3], "close 1006 by Network");
}

#[test]
fn connections_of_handlers_are_refused_fail_and_time_out() {
    let (mut net, log) = caller(3);
    net.accept().refuse(503);
    net.fail_connect(ErrorKind::ConnectionRefused);
    assert_eq!(
        log.borrow()[..],
        ["Refused(503)", "Network(Kind(ConnectionRefused))"]
    );
    net.advance(Duration::from_secs(11));
    assert_eq!(log.borrow()[2], "Timeout");
    assert_eq!(net.connecting(), []);
}
