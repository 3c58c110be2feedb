//! What a running server can be asked over its control socket.

use crate::Failure;
use crate::cli::FlowsArgs;

#[cfg(unix)]
mod client;

/// `hioload flows`.
///
/// # Errors
/// Code 2 if there is no such server, 1 if it did not answer to the end.
#[cfg(unix)]
pub(crate) fn flows(arguments: &FlowsArgs) -> Result<(), Failure> {
    client::flows(arguments)
}

/// Elsewhere there are no Unix sockets to ask over.
#[cfg(not(unix))]
pub(crate) fn flows(_: &FlowsArgs) -> Result<(), Failure> {
    Err(Failure::usage("flows needs Unix sockets"))
}
