//! The interface to a display that shows a run while it goes on.

use hioload_report::{Run, Tick};

/// The phase of a repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Connections are being opened.
    Opening,
    /// The load runs and is not measured yet.
    Warmup,
    /// The load is measured.
    Measuring,
    /// The generator waits for the answers in flight and closes the connections.
    Ending,
}

impl Phase {
    /// The name to show: `opening`, `warm-up`, `measuring`, `ending`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Warmup => "warm-up",
            Self::Measuring => "measuring",
            Self::Ending => "ending",
        }
    }
}

/// Receives the progress of a run. The control thread calls it, never an lcore, so it may write to a terminal.
pub trait Progress {
    /// Repeat `run` of `of`, counted from 1, enters a phase that takes `total` seconds, if that is known.
    fn phase(&mut self, run: usize, of: usize, phase: Phase, total: Option<f64>);
    /// About five times a second: the figures since the last call, `elapsed` seconds into the phase. Their spans are shorter than
    /// those of [`Run::series`], which are sums of them.
    fn tick(&mut self, tick: &Tick, elapsed: f64);
    /// While connections are opened: `open` of `of` are open.
    fn connections(&mut self, open: usize, of: usize) {
        let _ = (open, of);
    }
    /// A line to show, such as an error.
    fn note(&mut self, line: &str);
    /// A repeat has ended with these figures.
    fn done(&mut self, run: &Run) {
        let _ = run;
    }
}

/// A display that shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn phase(&mut self, _: usize, _: usize, _: Phase, _: Option<f64>) {}
    fn tick(&mut self, _: &Tick, _: f64) {}
    fn note(&mut self, _: &str) {}
}
