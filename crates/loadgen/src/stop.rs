//! A request to stop a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A request to stop a run, by a signal for example. Clones share the request.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicUsize>);

impl Stop {
    /// Requests the stop, and returns the number of earlier requests. The first request ends the measurement, and a second one
    /// also skips the drain.
    pub fn request(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst)
    }

    /// Whether a stop was requested.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }

    /// Whether a stop was requested more than once.
    pub(crate) fn is_urgent(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 1
    }
}
