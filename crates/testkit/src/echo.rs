//! The smallest handler.

use hioload_engine::{Accept, Context, Handler, LcoreContext, Response};
use hioload_transport::Peer;
use hioload_ws_proto::Message;
use hioload_ws_proto::handshake::server::Request;

/// Accepts every connection and sends every message back. A reply that finds no room is dropped: the test's client misses it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

impl Handler for Echo {
    type Conn = ();
    type Event = ();

    fn on_open(
        &mut self,
        _: &mut impl LcoreContext<Event = ()>,
        _: Peer,
        _: &Request<'_>,
    ) -> Result<Accept<()>, Response> {
        Ok(Accept::new(()))
    }

    fn on_message(&mut self, _: &mut (), cx: &mut impl Context<Event = ()>, message: Message<'_>) {
        let _ = cx.send(message.kind(), message.as_bytes());
    }
}
