//! `hioload flows` and `hioload tap`: questions to a running server over its control socket.

#[cfg(unix)]
mod client;
#[cfg(unix)]
pub(crate) use client::{flows, tap_start, tap_stop};

/// Other systems have no Unix sockets.
#[cfg(not(unix))]
mod none {
    use crate::Failure;
    use crate::cli::{FlowsArgs, TapStartArgs, TapStopArgs};

    fn unsupported() -> Result<(), Failure> {
        Err(Failure::usage("this subcommand needs Unix sockets"))
    }
    pub(crate) fn flows(_: &FlowsArgs) -> Result<(), Failure> {
        unsupported()
    }
    pub(crate) fn tap_start(_: &TapStartArgs) -> Result<(), Failure> {
        unsupported()
    }
    pub(crate) fn tap_stop(_: &TapStopArgs) -> Result<(), Failure> {
        unsupported()
    }
}
#[cfg(not(unix))]
pub(crate) use none::{flows, tap_start, tap_stop};
