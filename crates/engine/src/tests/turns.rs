//! `on_turn`, fragmented messages, pings, and the idle time of an lcore.

use super::*;

/// Sends fragmented messages and a ping to the connection in `to`, once.
struct Clocked {
    to: Option<ConnectionId>,
    turns: u32,
}

impl Handler for Clocked {
    type Conn = ();
    type Event = ();

    const TURNS: bool = true;

    fn on_turn(&mut self, cx: &mut impl LcoreContext<Event = ()>) -> bool {
        self.turns += 1;
        let Some(to) = self.to.take() else {
            return false;
        };
        cx.send_fragmented(to, Kind::Text, b"abcdefg", 3).unwrap();
        cx.send_fragmented(to, Kind::Binary, b"xy", 9).unwrap();
        cx.send_fragmented(to, Kind::Binary, b"", 2).unwrap();
        cx.ping_to(to, b"there?").unwrap();
        let gone = ConnId {
            generation: to.conn.generation + 1,
            ..to.conn
        };
        let gone = ConnectionId { conn: gone, ..to };
        assert_eq!(cx.ping_to(gone, b""), Err(SendError::Closed));
        assert_eq!(
            cx.send_fragmented(gone, Kind::Binary, b"xy", 2),
            Err(SendError::Closed)
        );
        true
    }

    fn on_open(
        &mut self,
        _: &mut impl LcoreContext<Event = ()>,
        _: Peer,
        _: &Request<'_>,
    ) -> Result<Accept<()>, Response> {
        Ok(Accept::new(()))
    }

    fn on_ready(&mut self, _: &mut (), cx: &mut impl Context<Event = ()>) {
        self.to = Some(cx.id());
    }

    fn on_message(&mut self, _: &mut (), _: &mut impl Context<Event = ()>, _: Message<'_>) {}
}

#[test]
fn frames_sent_in_on_turn_leave_in_the_same_turn() {
    let fake = Fake::new(&FakeOptions::default()).unwrap();
    let mut now = Time::from_millis(1000);
    let handler = Clocked { to: None, turns: 0 };
    let mut lcore = Lcore::alone(fake, handler, Config::default(), now);
    let id = lcore.transport().accept(peer(1));
    let request = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    lcore.transport().deliver(id, request.as_bytes());
    let mut turn = |lcore: &mut Lcore<Fake, Clocked>| {
        now += Duration::from_millis(1);
        lcore.transport().wait(Some(Duration::ZERO)).unwrap();
        lcore.turn(now);
    };
    // The first turn accepts the connection, the second one serves it.
    turn(&mut lcore);
    turn(&mut lcore);
    lcore.transport().sent(id);
    turn(&mut lcore);
    let sent = lcore.transport().sent(id);
    // RFC 6455 §5.4: the first frame has the opcode, the last one FIN, and those between have neither.
    assert_eq!(
        sent,
        b"\x01\x02ab\x00\x02cd\x80\x03efg\x02\x01x\x80\x01y\x82\x00\x89\x06there?"
    );
    assert_eq!(lcore.app.handler.turns, 3);
    // Every turn so far had work, so there is no idle time. Each further turn adds the time since the turn before, if that
    // one had no work.
    let idle = |lcore: &Lcore<Fake, Clocked>| lcore.totals().idle_nanos;
    assert_eq!(idle(&lcore), 0);
    for n in 0..4 {
        turn(&mut lcore);
        assert_eq!(idle(&lcore), n * 1_000_000);
    }
    assert_eq!(lcore.totals().messages_out, 3);
}
