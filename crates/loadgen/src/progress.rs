//! How whoever shows a run hears of it while it goes on.

use hioload_report::{Run, Tick};

/// What a repeat is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Connections are being opened.
    Opening,
    /// The load runs and counts for nothing yet.
    Warmup,
    /// What is reported is measured.
    Measuring,
    /// What is under way is waited for, and connections are closed.
    Ending,
}

impl Phase {
    /// `opening`, `warm-up`, `measuring`, `ending`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Warmup => "warm-up",
            Self::Measuring => "measuring",
            Self::Ending => "ending",
        }
    }
}

/// Hears of a run: called on the thread that controls it, never on an lcore, so it may write to a terminal.
pub trait Progress {
    /// Repeat `run` of `of`, counted from 1, enters a phase that takes `total` seconds, if that is known.
    fn phase(&mut self, run: usize, of: usize, phase: Phase, total: Option<f64>);
    /// About five times a second: what happened since the last call, `elapsed` seconds into the phase. The spans of these
    /// are shorter than those of [`Run::series`], which are gathered from them.
    fn tick(&mut self, tick: &Tick, elapsed: f64);
    /// While connections are opened or closed: how many of how many are.
    fn connections(&mut self, open: usize, of: usize) {
        let _ = (open, of);
    }
    /// Something worth a line of its own.
    fn note(&mut self, line: &str);
    /// A repeat has ended: what came of it.
    fn done(&mut self, run: &Run) {
        let _ = run;
    }
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn phase(&mut self, _: usize, _: usize, _: Phase, _: Option<f64>) {}
    fn tick(&mut self, _: &Tick, _: f64) {}
    fn note(&mut self, _: &str) {}
}
