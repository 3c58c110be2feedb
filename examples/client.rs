//! A client: it connects, sends a message, checks the answer, and ends with exit code 0 if the answer is right.
//!
//! ```sh
//! cargo run --example client                        # starts an echo server in the same process
//! cargo run --example client -- 127.0.0.1:9001      # connects to the example `echo` in another terminal
//! ```
//!
//! A client is a handler too. It listens on nothing, and connects from `on_start`.

use std::error::Error;
use std::sync::mpsc::{Sender, channel};

use hioload_ws::{
    CloseCode, Closure, Connect, ConnectError, ConnectionId, Context, Endpoint, Handler, Kind,
    LcoreContext, Message, Server, ServerOptions, ServerReply,
};

#[derive(Clone)]
struct Client {
    server: Endpoint,
    /// Tells the thread of `main` what has happened.
    outcome: Sender<String>,
}

impl Client {
    fn end(&self, cx: &mut impl LcoreContext, outcome: &dyn ToString) {
        let _ = self.outcome.send(outcome.to_string());
        cx.stop();
    }
}

impl Handler for Client {
    type Conn = ();
    type Event = ();
    fn new_conn(&mut self) {}

    fn on_start(&mut self, cx: &mut impl LcoreContext<Event = ()>) {
        if let Err(e) = cx.connect(Connect::new(self.server.clone())) {
            self.end(cx, &e);
        }
    }

    fn on_connect(
        &mut self,
        cx: &mut impl LcoreContext<Event = ()>,
        _token: u64,
        _: ConnectionId,
        outcome: Result<&ServerReply<'_>, ConnectError>,
    ) -> Option<()> {
        // `Some` is the state of the open connection.
        outcome.map_err(|e| self.end(cx, &e)).ok().map(drop)
    }

    fn on_ready(&mut self, _: &mut (), cx: &mut impl Context<Event = ()>) {
        let _ = cx.send(Kind::Text, b"hello");
    }

    fn on_message(&mut self, _: &mut (), cx: &mut impl Context<Event = ()>, message: Message<'_>) {
        let _ = self.outcome.send(format!("{message:?}"));
        cx.close(CloseCode::NORMAL, "");
    }

    fn on_close(&mut self, _: (), cx: &mut impl LcoreContext<Event = ()>, closure: Closure<'_>) {
        self.end(cx, &closure.code);
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

fn main() -> Result<(), Box<dyn Error>> {
    let local = Server::bind(ServerOptions::new().listen("127.0.0.1:0")?.lcores(1))?;
    let server = match std::env::args().nth(1) {
        Some(endpoint) => endpoint.parse()?,
        None => local.endpoints()[0].clone(),
    };
    let local = local.start(|_lcore| Echo)?;

    let (outcome, outcomes) = channel();
    let client = Client { server, outcome };
    let without_port = Server::bind(ServerOptions::new().lcores(1))?;
    without_port.start(move |_lcore| client.clone())?.join()?;
    let first = outcomes.recv()?;
    println!("{first}");
    local.remote().stop_now();
    local.join()?;
    match first == format!("{:?}", Message::text("hello")) {
        true => Ok(()),
        false => Err(first.into()),
    }
}
