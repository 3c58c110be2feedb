//! An echo server: the smallest complete program.
//!
//! ```sh
//! cargo run --example echo                   # an endpoint may follow: -- 0.0.0.0:8080
//! hioload connect ws://127.0.0.1:9001/       # in another terminal
//! ```
//!
//! `start` builds one handler for each lcore, on the thread of that lcore. The server runs until it is drained or stopped, or the
//! process ends.

use std::error::Error;

use hioload_ws::{Context, Handler, Message, Server, ServerOptions};

struct Echo;

impl Handler for Echo {
    type Conn = (); // the state of a connection
    type Event = (); // what jobs and other threads send

    fn new_conn(&mut self) {}

    fn on_message(&mut self, _: &mut (), cx: &mut impl Context<Event = ()>, message: Message<'_>) {
        // If the send queue is full, the send policy has been applied.
        let _ = cx.send(message.kind(), message.as_bytes());
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let endpoint = std::env::args().nth(1);
    let endpoint = endpoint.as_deref().unwrap_or("127.0.0.1:9001");

    let server = Server::bind(ServerOptions::new().listen(endpoint)?.lcores(2))?;
    println!("listening on ws://{}/", server.endpoints()[0]);

    let totals = server.start(|_lcore| Echo)?.join()?;
    println!("{totals}");
    Ok(())
}
