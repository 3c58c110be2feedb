//! The engine: the lcore loop, and everything between a transport's bytes and an application's [`Handler`].
//!
//! An lcore is one thread that owns its connections. Its loop takes a turn at a time: mail from other lcores, timers, received
//! bytes (decoded where they arrived and handed to the handler), then one flush for all that was said. Nothing in it takes a
//! lock or touches another lcore's memory; see [`Config`] for what bounds it.
//!
//! ```no_run
//! use hioload_engine::{Accept, Context, Handler, LcoreContext, Response, Server, ServerOptions};
//! # use hioload_engine::{Config, Lcores};
//! use hioload_transport::Peer;
//! use hioload_ws_proto::{Message, handshake::server::Request};
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     type Conn = ();
//!     type Event = ();
//!
//!     fn on_open(
//!         &mut self,
//!         _: &mut impl LcoreContext<Event = ()>,
//!         _: Peer,
//!         _: &Request<'_>,
//!     ) -> Result<Accept<()>, Response> {
//!         Ok(Accept::new(()))
//!     }
//!
//!     fn on_message(&mut self, _: &mut (), cx: &mut impl Context<Event = ()>, message: Message<'_>) {
//!         // A full send queue has been answered by the policy and counted.
//!         let _ = cx.send(message.kind(), message.as_bytes());
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::bind(ServerOptions {
//!     listen: vec![hioload_transport::Endpoint::Tcp(([127, 0, 0, 1], 9001).into())],
//!     lcores: Lcores::Count(2),
//!     config: Config::default(),
//!     sockets: Default::default(),
//! })?;
//! server.start(|_lcore| Echo)?.join()?;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod admission;
mod app;
mod client;
mod config;
mod context;
mod core;
mod counters;
mod driver;
mod executor;
mod handler;
mod lcore;
mod mail;
pub mod middleware;
mod open;
mod publish;
mod send;
mod server;
mod session;
#[cfg(test)]
mod sources;
#[cfg(test)]
mod tests;
mod ticks;
mod timers;
#[cfg(test)]
#[path = "topics/mod.rs"]
mod topic_index;
#[path = "old_topics.rs"]
mod topics;

pub use config::{Config, Limits, SendPolicy};
pub use counters::{Counter, Counters, CountersHandle, Totals};
pub use handler::{
    Accept, Busy, ClosedBy, Closure, Connect, ConnectError, ConnectionId, Context, Handler,
    LcoreContext, Response, SendError, TimerHandle, TopicError,
};
pub use lcore::Lcore;
pub use server::{
    FLOWS_AT_ONCE, LcorePlacement, Lcores, MAX_LCORES, MakeTransport, NoAnswer, Remote, RunError,
    Running, Server, ServerOptions, StartError,
};
pub use topics::{MAX_TOKENS, MAX_TOPIC, is_pattern, is_topic};
