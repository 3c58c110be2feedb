//! The connections to be opened, and their rate.

use std::collections::VecDeque;
use std::time::Duration;

use hioload_lcore::Time;

/// Pause after a failed attempt.
const PAUSE: Duration = Duration::from_millis(10);

/// Connections that an lcore opens.
#[derive(Debug, Default)]
pub(crate) struct Opener {
    /// Connections wanted.
    pub(crate) wanted: usize,
    /// The next connection that was never tried.
    fresh: usize,
    /// Connections to be opened again.
    again: VecDeque<usize>,
    /// Handshakes in flight.
    pub(crate) in_flight: usize,
    /// Limit of the handshakes in flight.
    at_once: usize,
    /// Nanoseconds between two attempts, if there is a rate.
    gap: Option<f64>,
    /// Time at which the next attempt is due, ns.
    due: f64,
    not_before: Option<Time>,
    /// A connection was opened before: the server exists.
    pub(crate) proven: bool,
    /// Connections open now.
    pub(crate) opened: usize,
}

impl Opener {
    /// For `wanted` connections, with at most `at_once` handshakes in flight.
    pub(crate) fn new(wanted: usize, at_once: usize) -> Self {
        Self {
            wanted,
            at_once: at_once.max(1),
            ..Self::default()
        }
    }

    /// Sets the rate of attempts from `now` on.
    pub(crate) fn pace(&mut self, rate: f64, now: Time) {
        self.gap = Some(1e9 / rate);
        self.due = now.as_nanos() as f64;
    }

    /// The next connection to open, and the time from which its handshake is timed.
    pub(crate) fn next(&mut self, now: Time) -> Option<(usize, u64)> {
        // The first attempt is alone, so that an absent server causes one error.
        let most = if self.proven { self.at_once } else { 1 };
        if self.in_flight >= most || self.not_before.is_some_and(|at| now < at) {
            return None;
        }
        if self.again.is_empty() && self.fresh >= self.wanted {
            return None;
        }
        let mut since = now.as_nanos();
        if let Some(gap) = self.gap {
            if self.due > since as f64 {
                return None;
            }
            since = self.due as u64;
            self.due += gap;
        }
        let n = self.again.pop_front().unwrap_or_else(|| {
            self.fresh += 1;
            self.fresh - 1
        });
        self.in_flight += 1;
        Some((n, since))
    }

    /// Schedules a connection to be opened again.
    pub(crate) fn again(&mut self, n: usize) {
        self.again.push_back(n);
    }

    /// An attempt failed.
    pub(crate) fn failed(&mut self, now: Time) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.not_before = Some(now + PAUSE);
    }

    /// An attempt succeeded.
    pub(crate) fn succeeded(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.opened += 1;
        self.proven = true;
    }

    /// Stops opening connections.
    pub(crate) fn stop(&mut self) {
        self.fresh = self.wanted;
        self.again.clear();
    }
}
