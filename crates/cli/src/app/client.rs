//! A client's engine over any transport: sockets, or the queues of a port.

use hioload_ws::{Server, ServerOptions};

use super::link::{ClientLink, Work};
use super::{af_xdp, dpdk};
use crate::Failure;
use crate::config::values::TransportKind;

impl ClientLink {
    /// Makes an engine without listeners and has `work` run it. Over queues, `Lcores::Auto` is one lcore for each queue.
    ///
    /// # Errors
    /// There can be no such engine. How the work ends is in its output.
    pub(super) fn run<W: Work>(
        &self,
        options: ServerOptions,
        work: W,
    ) -> Result<W::Output, Failure> {
        match self.transport {
            TransportKind::Sockets => {
                let server = Server::bind(options).map_err(Failure::run)?;
                Ok(work.run(server))
            }
            TransportKind::AfXdp => af_xdp::client(self, options, work),
            TransportKind::Dpdk => dpdk::client(self, options, work),
        }
    }
}
