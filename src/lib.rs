//! A WebSocket server and client library that owns its CPU cores.
//!
//! A [`Server`] runs one pinned thread for each core, an *lcore*. Each lcore owns its connections, its memory, its timers and one
//! instance of your [`Handler`]. Lcores share nothing: no lock is taken, and no message crosses a core unless you send it there. A
//! message reaches the handler in the memory where it arrived, and the replies of a turn leave in one write.
//!
//! # A server
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
//!         // If the send queue is full, the send policy has been applied.
//!         let _ = cx.send(message.kind(), message.as_bytes());
//!     }
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let options = ServerOptions::new().listen("127.0.0.1:9001")?.lcores(2);
//!     let running = Server::bind(options)?.start(|_lcore| Echo)?;
//!     // `running.remote()` is a handle for other threads: it drains or stops the server and reads its counters.
//!     let totals = running.join()?;
//!     println!("{totals}");
//!     Ok(())
//! }
//! ```
//!
//! # What to read next
//!
//! | to | see |
//! |---|---|
//! | write a handler | [`guide`], [`Handler`], [`Context`], [`LcoreContext`] |
//! | test a handler | [`testing`] |
//! | refuse requests, log | [`middleware`] |
//! | let web pages of other origins connect | [`Origins`], [`Hosts`] |
//! | know the clients behind a proxy | [`Proxies`] |
//! | bound memory, time and rates | [`Limits`], [`Tunables`], [`Config`] |
//! | open connections as a client | [`Connect`], [`LcoreContext::connect`] |
//! | watch and stop a running server | [`Remote`], [`Totals`] |
//! | speak TLS (wss://) | the module `tls` (feature, on by default) |
//! | run without the kernel's TCP | the modules `af_xdp` and `dpdk` (features) |
//! | use the protocol alone, without I/O | [`proto`] |
//!
//! # Features
//!
//! By default a server runs over sockets, on any system, with TLS (`tls`) where it asks for it. `af-xdp` adds the module `af_xdp`; building it needs Debian's clang,
//! libbpf-dev and linux-libc-dev. `dpdk` adds the module `dpdk`; building it needs libdpdk-dev, libclang-dev and pkg-config. Both need
//! Linux.
//!
//! # Stability
//!
//! The items of this crate follow semantic versioning. The crates below it (`hioload-engine`, `hioload-transport`, and others) are
//! internal: they change with any release.

#![forbid(unsafe_code)]

pub use hioload_engine::middleware;
pub use hioload_ws_proto as proto;
pub use hioload_ws_proto::deflate;

pub use hioload_engine::{
    Accept, Busy, ClosedBy, Closure, Config, Connect, ConnectError, ConnectionId, Context,
    CountersHandle, Handler, Hosts, LcoreContext, Lcores, Limits, Network, NetworkError, Networks,
    Origins, ParseProxyProtocolError, ParseRealIpHeaderError, Proxies, ProxyProtocol, RealIpHeader,
    ReconfigureError, Remote, Response, RunError, Running, SendError, SendPolicy, Server,
    ServerOptions, StartError, TimerHandle, TopicError, Totals, Tunables,
};
pub use hioload_lcore::{Idle, Time};
pub use hioload_mem::HugePages;
pub use hioload_transport::sockets::{BoundListener, Listen, SocketOptions};
pub use hioload_transport::{Endpoint, ParseEndpointError, Peer, Transport};
pub use hioload_ws_proto::handshake::client::Response as ServerReply;
pub use hioload_ws_proto::handshake::{HandshakeError, server::Request};
pub use hioload_ws_proto::{CloseCode, Kind, Message};

pub mod guide;

#[doc = include_str!("testing.md")]
pub mod testing {
    pub use hioload_testing::{
        Client, HttpResponse, Network, Received, TcpState, Upgrade, Upstream,
    };
}

#[cfg(feature = "tls")]
pub mod tls;

#[cfg(all(feature = "af-xdp", target_os = "linux"))]
pub mod af_xdp;

#[cfg(all(feature = "dpdk", target_os = "linux"))]
pub mod dpdk;

/// User-space TCP: the items that the modules `af_xdp` and `dpdk` share (features `af-xdp`, `dpdk`).
#[cfg(any(feature = "af-xdp", feature = "dpdk"))]
pub mod bypass {
    pub use hioload_bypass::{Cidr, Error, ListenError, ParseCidrError, StackConfig};
}

/// The examples of README.md, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../docs/writing-handlers.md")]
struct WritingHandlers;

#[cfg(doctest)]
#[doc = include_str!("../docs/testing-handlers.md")]
struct TestingHandlers;
