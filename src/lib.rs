//! hioload-ws: a WebSocket data plane that owns its cores.
//!
//! A [`Server`] runs one pinned thread per core, an *lcore*. Each owns its connections, its memory, its timers and one
//! instance of your [`Handler`], and shares nothing: no lock is taken and no message crosses a core unless you send it
//! there. A message is handed to the handler where it arrived, and the replies of a turn leave in one write.
//!
//! ```no_run
//! use hioload_ws::{Context, Handler, Message, Server, ServerOptions};
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     type Conn = u64; // messages of this connection so far
//!     type Event = ();
//!
//!     fn new_conn(&mut self) -> u64 {
//!         0
//!     }
//!
//!     fn on_message(&mut self, seen: &mut u64, cx: &mut impl Context<Event = ()>, message: Message<'_>) {
//!         *seen += 1;
//!         // A full send queue is answered by the policy of the configuration.
//!         let _ = cx.send(message.kind(), message.as_bytes());
//!     }
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let server = Server::bind(ServerOptions::new().listen("127.0.0.1:9001")?.lcores(2))?;
//!     let running = server.start(|_lcore| Echo)?;
//!     running.join()?;
//!     Ok(())
//! }
//! ```
//!
//! # Where things are
//!
//! - [`Handler`], [`Context`] and [`LcoreContext`]: what an application implements and what it may call.
//! - [`middleware`]: layers around a handler, and some ready ones.
//! - [`Config`] and [`Limits`]: every bound, with what happens there.
//! - [`proto`]: the WebSocket protocol without I/O, for use on its own.
//!
//! # Features
//!
//! By default a server runs over sockets. `af-xdp` adds the module `af_xdp`; building it needs clang, libbpf-dev and
//! linux-libc-dev. `dpdk` adds the module `dpdk`; building it needs libdpdk-dev, libclang-dev and pkg-config.

#![forbid(unsafe_code)]

pub use hioload_engine::middleware;
pub use hioload_ws_proto as proto;
pub use hioload_ws_proto::deflate;

pub use hioload_engine::{
    Accept, Busy, ClosedBy, Closure, Config, Connect, ConnectError, ConnectionId, Context,
    CountersHandle, Handler, LcoreContext, Lcores, Limits, Remote, Response, RunError, Running,
    SendError, SendPolicy, Server, ServerOptions, StartError, TimerHandle, TopicError, Totals,
};
pub use hioload_lcore::{Idle, Time};
pub use hioload_mem::HugePages;
pub use hioload_transport::sockets::SocketOptions;
pub use hioload_transport::{Endpoint, ParseEndpointError, Peer, Transport};
pub use hioload_ws_proto::handshake::client::Response as ServerReply;
pub use hioload_ws_proto::handshake::{HandshakeError, server::Request};
pub use hioload_ws_proto::{CloseCode, Kind, Message};

pub mod guide;

#[cfg(all(feature = "af-xdp", target_os = "linux"))]
pub mod af_xdp;

#[cfg(all(feature = "dpdk", target_os = "linux"))]
pub mod dpdk;

/// User-space TCP: what [`af_xdp`](crate::af_xdp) and [`dpdk`](crate::dpdk) share (features `af-xdp`, `dpdk`).
#[cfg(any(feature = "af-xdp", feature = "dpdk"))]
pub mod bypass {
    pub use hioload_bypass::{Cidr, Error, ListenError, ParseCidrError, Queues, StackConfig};
}

/// The examples of README.md, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
