//! A client's engine over any transport: sockets, or the queues of a port.

use hioload_ws::{Server, ServerOptions};

use super::link::{ClientLink, Work};
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
            #[cfg(all(feature = "af-xdp", target_os = "linux"))]
            TransportKind::AfXdp => super::af_xdp::client(self, options, work),
            #[cfg(all(feature = "dpdk", target_os = "linux"))]
            TransportKind::Dpdk => super::dpdk::client(self, options, work),
            #[cfg(not(all(feature = "af-xdp", feature = "dpdk", target_os = "linux")))]
            missing => Err(super::without::failure(missing)),
        }
    }
}
