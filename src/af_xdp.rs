//! AF_XDP: a server over the queues of a network interface (feature `af-xdp`, Linux).
//!
//! An XDP program redirects the packets for the server's addresses to its queues; the kernel keeps all other packets. Each queue has
//! one lcore with its own TCP stack.
//!
//! ```no_run
//! use hioload_ws::af_xdp::{self, XdpOptions};
//! # use hioload_ws::{Handler, ServerOptions};
//!
//! # fn run(options: ServerOptions, echo: impl Handler + Clone + Send + Sync) -> Result<(), Box<dyn std::error::Error>> {
//! let interface = XdpOptions::new("eth1").address("10.77.0.2/24".parse()?);
//! let (server, port) = af_xdp::bind(interface, options)?;
//! server.start(move |_lcore| echo.clone())?.join()?;
//! println!("{:?}", port.counters()?);
//! # Ok(())
//! # }
//! ```

use hioload_bypass::af_xdp::XdpObject;
use hioload_engine::ServerOptions;

pub use crate::bypass::Error;
pub use hioload_bypass::af_xdp::{
    BindMode, BusyPoll, OpenError, Ownership, RxChecksum, Server, XdpCounters, XdpMode, XdpOptions,
    XdpPort,
};

/// Opens the interface and makes a server over its queues, with one lcore for each. Without listeners the server is a client.
///
/// # Errors
/// The options do not agree with each other; the interface cannot be opened ([`Error::AfXdp`] names the missing part); or the lcores
/// are not as many as the queues.
pub fn bind(options: XdpOptions, server: ServerOptions) -> Result<(Server, XdpPort), Error> {
    hioload_bypass::af_xdp::bind(program(), options, server)
}

/// `ebpf/redirect.bpf.c` as this build compiled it, for callers of the crates below.
#[doc(hidden)]
#[must_use]
pub fn program() -> XdpObject {
    XdpObject::new(include_bytes!(concat!(env!("OUT_DIR"), "/redirect.bpf.o")))
}
