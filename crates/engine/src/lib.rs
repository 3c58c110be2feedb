//! The engine: the lcore loop, and everything between a transport's bytes and an application's [`Handler`].
//!
//! An lcore is one thread that owns its connections. Each turn of its loop runs commands from other lcores, timers, then
//! received bytes, which are decoded where they arrived and passed to the handler, and ends with one flush. The loop takes no
//! lock and does not touch another lcore's memory. [`Config`] has its bounds.
//!
//! ```no_run
//! use hioload_engine::{Context, Handler, Server, ServerOptions};
//! use hioload_ws_proto::Message;
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     type Conn = ();
//!     type Event = ();
//!
//!     fn new_conn(&mut self) {}
//!
//!     fn on_message(&mut self, _: &mut (), cx: &mut impl Context<Event = ()>, message: Message<'_>) {
//!         // The engine applies the send policy to a full send queue and counts it.
//!         let _ = cx.send(message.kind(), message.as_bytes());
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::bind(ServerOptions::new().listen("127.0.0.1:9001")?.lcores(2))?;
//! server.start(|_lcore| Echo)?.join()?;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod admission;
mod app;
mod arrival;
mod client;
mod commands;
mod config;
mod context;
mod core;
mod counters;
mod driver;
mod executor;
mod group;
mod handler;
mod heartbeat;
mod lcore;
mod mail;
mod mailbox;
pub mod middleware;
mod open;
mod opening;
mod origin;
mod progress;
pub mod proxy;
mod publish;
mod reconfigure;
mod remote;
mod send;
mod server;
mod server_errors;
mod session;
mod sources;
#[cfg(test)]
mod tests;
mod ticks;
mod timers;
mod topics;
mod watchdog;
mod work;

pub use config::{
    Config, Limits, MAX_LCORES, ParseSendPolicyError, ReconfigureError, SendPolicy, Tunables,
};
pub use counters::{Counter, Counters, CountersHandle, EngineStats, Totals};
pub use executor::Jobs;
pub use group::Group;
pub use handler::{
    Accept, Busy, ClosedBy, Closure, Connect, ConnectError, ConnectionId, Context, Handler,
    LcoreContext, Response, SendError, TimerHandle, TopicError,
};
pub use hioload_counters::{CounterKind, CounterMeta, Owner, Unit};
pub use lcore::Lcore;
pub use origin::{Hosts, Origins};
pub use proxy::{
    ParseProxyProtocolError, ParseRealIpHeaderError, Proxies, ProxyProtocol, RealIpHeader,
};
pub use remote::{FLOWS_AT_ONCE, NoAnswer, Remote};
pub use server::{LcorePlacement, Lcores, MakeTransport, Running, Server, ServerOptions};
pub use server_errors::{RunError, StartError};
pub use sources::{Network, NetworkError, Networks};
pub use topics::{MAX_TOKENS, MAX_TOPIC, MAX_WILDCARDS, is_pattern, is_topic};
