//! How a client reaches the network, and what it does there.

use std::cell::OnceCell;

use hioload_bypass::Queues;
use hioload_device::Device;
use hioload_transport::Transport;
use hioload_ws::{Server, ServerOptions};

use crate::Failure;
use crate::cli::LinkArgs;
use crate::config::bypass::{self, BypassSettings};
use crate::config::sections::{AfXdpArgs, DpdkArgs, TcpArgs};
use crate::config::values::TransportKind;

/// EAL, which starts once in a process: a client that makes several engines keeps it from one to the next.
#[cfg(all(feature = "dpdk", target_os = "linux"))]
pub(super) type EalHandle = hioload_bypass::dpdk::Eal;
/// There is no EAL.
#[cfg(not(all(feature = "dpdk", target_os = "linux")))]
pub(super) type EalHandle = ();

/// How a client reaches the network.
pub(super) struct ClientLink {
    pub transport: TransportKind,
    /// What transports with user-space TCP share.
    pub bypass: BypassSettings,
    /// For af-xdp.
    pub af_xdp: AfXdpArgs,
    /// For dpdk.
    #[cfg_attr(not(all(feature = "dpdk", target_os = "linux")), allow(dead_code))]
    pub dpdk: DpdkArgs,
    /// EAL starts once in a process, so it has to outlive each engine of the link.
    #[cfg_attr(not(all(feature = "dpdk", target_os = "linux")), allow(dead_code))]
    pub eal: OnceCell<EalHandle>,
}

impl ClientLink {
    /// Fills in the defaults, and checks that the settings agree.
    ///
    /// # Errors
    /// Code 2: they do not.
    pub(super) fn new(arguments: &LinkArgs) -> Result<Self, Failure> {
        let LinkArgs {
            transport,
            bypass,
            af_xdp,
            dpdk,
        } = arguments.clone();
        let link = Self {
            transport,
            bypass: BypassSettings::new(bypass, &TcpArgs::default()),
            af_xdp,
            dpdk,
            eal: OnceCell::new(),
        };
        bypass::check(transport, &link.bypass, &link.af_xdp, &[])?;
        Ok(link)
    }
}

/// What a client does with an engine.
pub(super) trait Work: Sized {
    /// The result of the work.
    type Output;

    /// Runs the engine until the work ends.
    fn run<T: Transport + 'static>(self, engine: Server<T>) -> Self::Output;

    /// Makes an engine over the queues of a port and runs it. Work that needs a device between a queue and TCP wraps the queues
    /// first.
    ///
    /// # Errors
    /// The queues can have no engine.
    // Only af-xdp and dpdk have queues.
    #[cfg_attr(not(any(feature = "af-xdp", feature = "dpdk")), allow(dead_code))]
    fn run_over<D: Device + 'static>(
        self,
        queues: Queues<D>,
        options: ServerOptions,
    ) -> Result<Self::Output, Failure> {
        Ok(self.run(queues.server(options).map_err(bypass::failure)?))
    }
}
