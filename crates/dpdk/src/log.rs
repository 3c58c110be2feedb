//! Sends DPDK's log to `tracing`, line by line, and captures error messages for the error that a failed call returns.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The largest number of captured lines. The first one has the reason.
const MAX_LINES: usize = 8;

static CAPTURED: Mutex<Option<Vec<String>>> = Mutex::new(None);

fn captured() -> MutexGuard<'static, Option<Vec<String>>> {
    CAPTURED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts to capture the error messages of DPDK.
pub(crate) fn start_capture() {
    *captured() = Some(Vec::new());
}

/// Ends the capture. Returns the captured messages as one line, if there are any.
pub(crate) fn end_capture() -> Option<String> {
    let lines = captured().take()?;
    if lines.is_empty() {
        None
    } else {
        Some(lines.join("; "))
    }
}

/// Handles a text that DPDK logged (`level` 1 for an emergency to 8 for debugging) or printed (level 0).
pub(crate) fn take(level: u32, text: &str) {
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match level {
            1..=4 => tracing::error!(target: "dpdk", "{line}"),
            5 => tracing::warn!(target: "dpdk", "{line}"),
            6 => tracing::info!(target: "dpdk", "{line}"),
            0 | 7 => tracing::debug!(target: "dpdk", "{line}"),
            _ => tracing::trace!(target: "dpdk", "{line}"),
        }
        // DPDK prints an error about an argument first, followed by two pages of usage.
        if let Some(lines) = &mut *captured()
            && lines.len() < MAX_LINES
            && (matches!(level, 1..=4) || level == 0 && lines.is_empty() && is_usage_error(line))
        {
            lines.push(line.trim_end_matches('.').to_owned());
        }
    }
}

/// Whether getopt printed the line: `PROGRAM: ...`.
fn is_usage_error(line: &str) -> bool {
    line.starts_with("hioload: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_messages_are_captured_and_usage_is_not() {
        start_capture();
        take(6, "EAL: Detected CPU lcores: 2\n");
        take(
            0,
            "hioload: unrecognized option '--wrong'\n\nUsage: hioload [options]\n",
        );
        take(4, "EAL: FATAL: Invalid 'command line' arguments.\n");
        assert_eq!(
            end_capture().expect("a message"),
            "hioload: unrecognized option '--wrong'; EAL: FATAL: Invalid 'command line' arguments"
        );
        take(4, "later");
        assert_eq!(end_capture(), None);
    }
}
