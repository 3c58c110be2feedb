//! Middleware with state: a layer that demands a token, counts the messages of each connection, and drops those over a quota.
//!
//! ```sh
//! cargo run --example middleware
//! hioload connect 'ws://127.0.0.1:9001/?token=open-sesame'       # in another terminal
//! cargo test --example middleware
//! ```
//!
//! A layer sees the events of a connection before the handler does, and keeps its own state for each connection beside the
//! handler's. Layers compose by type: a chain of them costs no indirection.

use std::error::Error;

use hioload_ws::middleware::{HandlerExt, Layer, Verdict};
use hioload_ws::{
    Closure, Context, Handler, Kind, LcoreContext, Message, Peer, Request, Response, Server,
    ServerOptions, ServerReply,
};

/// Lets a connection send `quota` messages. There is one for each lcore.
struct Quota {
    token: &'static str,
    quota: u32,
    /// Messages of connections that have ended.
    total: u64,
}

impl Layer for Quota {
    type Conn = u32; // messages so far

    fn on_open(&mut self, _: Peer, request: &Request<'_>) -> Result<u32, Response> {
        let mut parameters = request.query().unwrap_or_default().split('&');
        match parameters.any(|p| p.strip_prefix("token=") == Some(self.token)) {
            true => Ok(0),
            false => Err(Response::text(401, "a token is needed\n")),
        }
    }

    fn on_connect(&mut self, _: u64, _: &ServerReply<'_>) -> u32 {
        0
    }

    fn on_message(&mut self, seen: &mut u32, cx: &mut impl Context, _: &Message<'_>) -> Verdict {
        *seen += 1;
        if *seen <= self.quota {
            return Verdict::Pass;
        }
        let _ = cx.send(Kind::Text, b"your quota is used up");
        Verdict::Drop
    }

    fn on_close(&mut self, seen: u32, cx: &mut impl LcoreContext, _: &Closure<'_>) {
        self.total += u64::from(seen);
        println!("lcore {}: {} messages so far", cx.lcore(), self.total);
    }
}

struct Echo;

impl Handler for Echo {
    type Conn = ();
    type Event = ();

    fn new_conn(&mut self) {}

    fn on_message(&mut self, _: &mut (), cx: &mut impl Context<Event = ()>, message: Message<'_>) {
        let _ = cx.send(message.kind(), message.as_bytes());
    }
}

fn handler(quota: u32) -> impl Handler<Event = ()> {
    Echo.layer(Quota {
        token: "open-sesame",
        quota,
        total: 0,
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let server = Server::bind(ServerOptions::new().listen("127.0.0.1:9001")?)?;
    println!("listening on ws://{}/", server.endpoints()[0]);
    println!("{}", server.start(|_lcore| handler(100))?.join()?);
    Ok(())
}

#[test]
fn a_token_opens_and_the_quota_holds_for_each_connection() {
    let mut net =
        hioload_ws::testing::Network::new(hioload_ws::Config::default(), 1, |_| handler(2));
    assert_eq!(net.connect("/").expect_refused().status, 401);
    assert_eq!(net.connect("/?token=wrong").expect_refused().status, 401);
    for _ in 0..2 {
        let mut client = net.connect("/?x=1&token=open-sesame").expect_open();
        client.send_text("one").send_text("two").send_text("three");
        assert_eq!([client.next_text(), client.next_text()], ["one", "two"]);
        assert_eq!(client.next_text(), "your quota is used up");
    }
}
