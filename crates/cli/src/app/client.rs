//! A client's engine over whatever moves its bytes: kernel sockets, or queues of a port.

use std::cell::OnceCell;

use hioload_ws::device::Device;
use hioload_ws::tcp::StackConfig;
use hioload_ws::transport::Transport;
use hioload_ws::{Lcores, Server, ServerOptions};

use super::bypass::Queues;
use super::{af_xdp, dpdk};
use crate::Failure;
use crate::cli::LinkArgs;
use crate::config::af_xdp::AfXdp;
use crate::config::bypass::BypassPlan;
use crate::config::dpdk::Dpdk;
use crate::config::sections::TcpArgs;
use crate::config::values::TransportKind;

/// How a client reaches the network.
pub(super) struct ClientLink {
    transport: TransportKind,
    /// What transports with a TCP of our own share.
    #[cfg_attr(not(bypass), allow(dead_code))]
    pub bypass: BypassPlan,
    /// For af-xdp.
    #[cfg_attr(not(all(feature = "af-xdp", target_os = "linux")), allow(dead_code))]
    pub af_xdp: AfXdp,
    /// For dpdk.
    #[cfg_attr(not(all(feature = "dpdk", target_os = "linux")), allow(dead_code))]
    pub dpdk: Dpdk,
    /// What starts once in a process, and so has to outlive each engine of the link.
    #[cfg_attr(not(all(feature = "dpdk", target_os = "linux")), allow(dead_code))]
    pub started: OnceCell<dpdk::Started>,
}

impl ClientLink {
    /// Fills in the defaults, and checks that it goes together.
    ///
    /// # Errors
    /// Code 2 and what is wrong.
    pub(super) fn new(arguments: &LinkArgs) -> Result<Self, Failure> {
        let LinkArgs {
            transport,
            bypass,
            af_xdp,
            dpdk,
        } = arguments.clone();
        let link = Self {
            transport,
            bypass: BypassPlan::new(bypass, &TcpArgs::default()),
            af_xdp: AfXdp::new(af_xdp),
            dpdk: Dpdk::new(dpdk),
            started: OnceCell::new(),
        };
        let checked = match transport {
            TransportKind::Sockets => Ok(()),
            TransportKind::AfXdp => link.af_xdp.check(),
            TransportKind::Dpdk => Ok(()),
        };
        checked
            .and_then(|()| match transport {
                TransportKind::Sockets => Ok(()),
                _ => link.bypass.check(transport, &[]),
            })
            .map_err(Failure::usage)?;
        Ok(link)
    }

    /// Hands `work` an engine without listeners. `chosen`: its lcores; over queues there is one for each, and `None` is as many
    /// as there are queues.
    ///
    /// # Errors
    /// If there can be no such engine; what becomes of the work is in its outcome.
    pub(super) fn engine<W: Work>(
        &self,
        options: ServerOptions,
        chosen: Option<Lcores>,
        work: W,
    ) -> Result<W::Outcome, Failure> {
        match self.transport {
            TransportKind::Sockets => {
                let lcores = chosen.unwrap_or_else(|| options.lcores.clone());
                let server = Server::bind(options.lcores(lcores))
                    .map_err(|why| Failure::run(why.to_string()))?;
                Ok(work.run(server))
            }
            TransportKind::AfXdp => af_xdp::client(self, options, chosen, work),
            TransportKind::Dpdk => dpdk::client(self, options, chosen, work),
        }
    }
}

/// What a client does.
pub(super) trait Work: Sized {
    /// What becomes of it.
    type Outcome;

    /// Does it, to its end.
    fn run<T: Transport + 'static>(self, engine: Server<T>) -> Self::Outcome;

    /// Does it on the queues of a port. Work that wants something between a device and TCP wraps the queues here.
    ///
    /// # Errors
    /// If they can have no engine.
    #[cfg_attr(not(bypass), allow(dead_code))]
    fn over<D: Device + 'static>(
        self,
        queues: Queues<D>,
        stack: &StackConfig,
        options: ServerOptions,
        chosen: Option<Lcores>,
    ) -> Result<Self::Outcome, Failure> {
        Ok(self.run(queues.engine(stack, options, chosen)?))
    }
}
