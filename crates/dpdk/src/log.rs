//! DPDK's log, line by line, to `tracing`; and while EAL starts, its complaints kept for the error.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Complaints kept: the first says what is wrong, and the last in whose name.
const KEPT: usize = 8;

static COMPLAINTS: Mutex<Option<Vec<String>>> = Mutex::new(None);

fn complaints() -> MutexGuard<'static, Option<Vec<String>>> {
    COMPLAINTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on, keeps what DPDK complains about.
pub(crate) fn listen() {
    *complaints() = Some(Vec::new());
}

/// What was kept, as one line; and no more is.
pub(crate) fn heard() -> Option<String> {
    let lines = complaints().take()?;
    if lines.is_empty() {
        None
    } else {
        Some(lines.join("; "))
    }
}

/// Takes what DPDK logged (`level` 1 for an emergency to 8 for debugging) or printed (0).
pub(crate) fn take(level: u32, text: &str) {
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match level {
            1..=4 => tracing::error!(target: "dpdk", "{line}"),
            5 => tracing::warn!(target: "dpdk", "{line}"),
            6 => tracing::info!(target: "dpdk", "{line}"),
            0 | 7 => tracing::debug!(target: "dpdk", "{line}"),
            _ => tracing::trace!(target: "dpdk", "{line}"),
        }
        // Printed: a complaint about an argument comes first, then two pages of usage.
        if let Some(lines) = &mut *complaints()
            && lines.len() < KEPT
            && (matches!(level, 1..=4) || level == 0 && lines.is_empty() && is_complaint(line))
        {
            lines.push(line.trim_end_matches('.').to_owned());
        }
    }
}

/// getopt's way of complaining: `PROGRAM: ...`.
fn is_complaint(line: &str) -> bool {
    line.starts_with("hioload: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_kept_and_usage_is_not() {
        listen();
        take(6, "EAL: Detected CPU lcores: 2\n");
        take(
            0,
            "hioload: unrecognized option '--wrong'\n\nUsage: hioload [options]\n",
        );
        take(4, "EAL: FATAL: Invalid 'command line' arguments.\n");
        assert_eq!(
            heard().expect("something"),
            "hioload: unrecognized option '--wrong'; EAL: FATAL: Invalid 'command line' arguments"
        );
        take(4, "later");
        assert_eq!(heard(), None);
    }
}
