//! What a running server can be asked over its control socket.

#[cfg(unix)]
mod client;
#[cfg(unix)]
pub(crate) use client::{flows, tap_start, tap_stop};

/// Elsewhere there are no Unix sockets to ask over.
#[cfg(not(unix))]
mod none {
    use crate::Failure;
    use crate::cli::{FlowsArgs, TapStartArgs, TapStopArgs};

    fn nothing() -> Result<(), Failure> {
        Err(Failure::usage("a server is asked over a Unix socket"))
    }
    pub(crate) fn flows(_: &FlowsArgs) -> Result<(), Failure> {
        nothing()
    }
    pub(crate) fn tap_start(_: &TapStartArgs) -> Result<(), Failure> {
        nothing()
    }
    pub(crate) fn tap_stop(_: &TapStopArgs) -> Result<(), Failure> {
        nothing()
    }
}
#[cfg(not(unix))]
pub(crate) use none::{flows, tap_start, tap_stop};
