//! Log records, to standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::config::values::{LogFilter, LogFormat};
use crate::streams;

/// Sends the records of this process that pass `filter` to standard error.
pub(super) fn start(filter: &LogFilter, format: LogFormat) {
    let filter = EnvFilter::builder().parse_lossy(&filter.0);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| streams::Log)
        // A record that cannot be formatted must not be reported by a macro that panics.
        .log_internal_errors(false)
        .with_target(false);
    // A second start, as in a test, changes nothing.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
