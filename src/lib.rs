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
//! - [`transport`], [`tcp`], [`device`], [`mem`], [`lcore`]: the layers below, for who adds a transport or a device.
//!
//! The feature `af-xdp` adds frames off a NIC queue; building it needs clang, libbpf-dev and linux-libc-dev.
//! The feature `dpdk` adds ports of DPDK; building it needs libdpdk-dev, libclang-dev and pkg-config.
//!
//! The feature `cli` (on by default) is what the `hioload` command needs; a library user turns it off with
//! `default-features = false`.

#![forbid(unsafe_code)]

pub use hioload_device as device;
pub use hioload_engine as engine;
pub use hioload_lcore as lcore;
pub use hioload_mem as mem;
pub use hioload_tcp as tcp;
pub use hioload_transport as transport;
pub use hioload_ws_proto as proto;

pub use hioload_engine::middleware;
pub use hioload_ws_proto::deflate;

pub use hioload_engine::{
    Accept, Busy, ClosedBy, Closure, Config, Connect, ConnectError, ConnectionId, Context,
    CountersHandle, Handler, LcoreContext, Lcores, Limits, Remote, Response, RunError, Running,
    SendError, SendPolicy, Server, ServerOptions, StartError, TimerHandle, TopicError, Totals,
};
pub use hioload_lcore::{Idle, Time};
pub use hioload_mem::HugePages;
pub use hioload_transport::sockets::SocketOptions;
pub use hioload_transport::{ConnId, Endpoint, ParseEndpointError, Peer};
pub use hioload_ws_proto::handshake::client::Response as ServerReply;
pub use hioload_ws_proto::handshake::{HandshakeError, server::Request};
pub use hioload_ws_proto::{CloseCode, Kind, Message};

/// AF_XDP: queues of a network interface as devices (feature `af-xdp`, Linux).
#[cfg(all(feature = "af-xdp", target_os = "linux"))]
pub mod afxdp {
    pub use hioload_afxdp::*;

    /// `ebpf/redirect.bpf.c` as this build compiled it.
    #[must_use]
    pub fn object() -> XdpObject {
        XdpObject::new(include_bytes!(concat!(env!("OUT_DIR"), "/redirect.bpf.o")))
    }
}

/// DPDK: queues of ports that its drivers run, as devices (feature `dpdk`, Linux).
#[cfg(all(feature = "dpdk", target_os = "linux"))]
pub use hioload_dpdk as dpdk;

/// The examples of README.md, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
