//! Chat rooms over topics: the path of the request names the room, and everybody in a room receives its messages, on whichever
//! lcore they are.
//!
//! ```sh
//! cargo run --example chat
//! hioload connect ws://127.0.0.1:9001/room/a       # in two other terminals
//! cargo test --example chat
//! ```

use std::error::Error;

use hioload_ws::{
    Accept, CloseCode, Closure, Context, Handler, Kind, LcoreContext, Message, Peer, Request,
    Response, Server, ServerOptions,
};

struct Chat;

impl Handler for Chat {
    type Conn = String; // the topic of the room
    type Event = ();

    fn on_open(
        &mut self,
        _: &mut impl LcoreContext<Event = ()>,
        _: Peer,
        request: &Request<'_>,
    ) -> Result<Accept<String>, Response> {
        match request.path().strip_prefix("/room/") {
            Some(room) => Ok(Accept::new(format!("room.{room}"))),
            None => Err(Response::not_found()),
        }
    }

    fn on_ready(&mut self, room: &mut String, cx: &mut impl Context<Event = ()>) {
        // A name from outside may be no topic, or a pattern of several topics: publish refuses both.
        if cx.publish(room, Kind::Text, b"* somebody joins").is_err() || cx.subscribe(room).is_err()
        {
            cx.close(CloseCode::POLICY_VIOLATION, "not a room");
        }
    }

    fn on_message(
        &mut self,
        room: &mut String,
        cx: &mut impl Context<Event = ()>,
        message: Message<'_>,
    ) {
        // The message is encoded once for all subscribers of all lcores.
        let _ = cx.publish(room, message.kind(), message.as_bytes());
    }

    fn on_close(&mut self, room: String, cx: &mut impl LcoreContext<Event = ()>, _: Closure<'_>) {
        let _ = cx.publish(&room, Kind::Text, b"* somebody leaves");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let server = Server::bind(ServerOptions::new().listen("127.0.0.1:9001")?.lcores(2))?;
    println!("listening on ws://{}/room/NAME", server.endpoints()[0]);
    let totals = server.start(|_lcore| Chat)?.join()?;
    println!("{totals}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use hioload_ws::testing::Network;
    use hioload_ws::{CloseCode, Config};

    #[test]
    fn a_message_reaches_its_room_on_every_lcore_and_no_other_room() {
        let mut net = Network::new(Config::default(), 2, |_| super::Chat);
        let mut alice = net.connect_to(0, "/room/a").expect_open();
        let mut carol = net.connect_to(1, "/room/c").expect_open();
        let mut bob = net.connect_to(1, "/room/a").expect_open();
        assert_eq!(alice.next_text(), "* somebody joins");
        bob.send_text("hello");
        assert_eq!(alice.next_text(), "hello");
        assert_eq!(bob.next_text(), "hello");
        bob.cut();
        assert_eq!(alice.next_text(), "* somebody leaves");
        carol.expect_nothing();
    }

    #[test]
    fn patterns_and_other_paths_are_refused() {
        let mut net = Network::new(Config::default(), 1, |_| super::Chat);
        assert_eq!(net.connect("/elsewhere").expect_refused().status, 404);
        let mut eve = net.connect("/room/*").expect_open();
        assert_eq!(
            eve.closed(),
            Some((CloseCode::POLICY_VIOLATION, "not a room"))
        );
    }
}
