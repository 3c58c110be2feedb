//! Which connections are to be opened, and how fast.

use std::collections::VecDeque;
use std::time::Duration;

use hioload_lcore::Time;

/// After a connection could not be opened nothing is tried for so long.
const PAUSE: Duration = Duration::from_millis(10);

/// Connections that an lcore opens.
#[derive(Debug, Default)]
pub(crate) struct Opener {
    /// Connections of it all.
    pub(crate) wanted: usize,
    /// The next that was never tried.
    fresh: usize,
    /// Those to be opened again.
    again: VecDeque<usize>,
    /// Handshakes under way.
    pub(crate) under_way: usize,
    /// And the most of them.
    at_once: usize,
    /// Nanoseconds between two, if there is a rate; and when the next is due.
    gap: Option<f64>,
    due: f64,
    not_before: Option<Time>,
    /// One has been opened: the server is there.
    pub(crate) proven: bool,
    /// Connections opened and not given up.
    pub(crate) opened: usize,
}

impl Opener {
    /// For `wanted` connections, of which at most `at_once` are begun and not open.
    pub(crate) fn new(wanted: usize, at_once: usize) -> Self {
        Self {
            wanted,
            at_once: at_once.max(1),
            ..Self::default()
        }
    }

    /// Opens at this rate from `now` on.
    pub(crate) fn pace(&mut self, rate: f64, now: Time) {
        self.gap = Some(1e9 / rate);
        self.due = now.as_nanos() as f64;
    }

    /// The next connection to open, and since when that is due.
    pub(crate) fn next(&mut self, now: Time) -> Option<(usize, u64)> {
        // The first one goes ahead: if nobody answers it, one line says so.
        let most = if self.proven { self.at_once } else { 1 };
        if self.under_way >= most || self.not_before.is_some_and(|at| now < at) {
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
        self.under_way += 1;
        Some((n, since))
    }

    /// A connection is to be opened again.
    pub(crate) fn again(&mut self, n: usize) {
        self.again.push_back(n);
    }

    /// One could not be opened.
    pub(crate) fn failed(&mut self, now: Time) {
        self.under_way = self.under_way.saturating_sub(1);
        self.not_before = Some(now + PAUSE);
    }

    /// One is open.
    pub(crate) fn succeeded(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
        self.opened += 1;
        self.proven = true;
    }

    /// Opens no more.
    pub(crate) fn stop(&mut self) {
        self.fresh = self.wanted;
        self.again.clear();
    }
}
