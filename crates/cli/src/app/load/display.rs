//! The progress of a run on standard error: one line that is redrawn on a terminal, or a line for each second. Standard output holds only
//! the summary.

use std::io::{self, IsTerminal as _};
use std::time::Instant;

use hioload_loadgen::progress::{Phase, Progress, Silent};
use hioload_report::{Run, Tick, format};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::streams;

/// The display of a run, and the [`Wiper`] of its line.
pub(super) fn display(quiet: bool) -> (Box<dyn Progress>, Wiper) {
    if quiet {
        return (Box::new(Silent), Wiper(None));
    }
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    if dumb || !io::stderr().is_terminal() {
        return (
            Box::new(Lines::new(|line| streams::note(line))),
            Wiper(None),
        );
    }
    let live = Live::new(ProgressDrawTarget::stderr(), width);
    let wiper = Wiper(Some(live.bar.clone()));
    (Box::new(live), wiper)
}

/// The current columns of the terminal, which can be resized at any time.
fn width() -> u16 {
    #[cfg(unix)]
    if let Ok(size) = rustix::termios::tcgetwinsize(io::stderr()) {
        return size.ws_col;
    }
    80
}

/// Clears the line on the terminal before the process ends.
#[derive(Debug, Clone)]
pub(super) struct Wiper(Option<ProgressBar>);

impl Wiper {
    /// Clears the line.
    pub(super) fn wipe(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// The state of a run in progress.
#[derive(Debug)]
struct State {
    run: usize,
    of: usize,
    phase: Phase,
    /// Errors since the repeat began.
    errors: u64,
    /// The largest latency since the phase began, ns.
    max: u64,
}

impl State {
    fn new() -> Self {
        Self {
            run: 1,
            of: 1,
            phase: Phase::Opening,
            errors: 0,
            max: 0,
        }
    }

    fn enter(&mut self, run: usize, of: usize, phase: Phase) {
        if run != self.run {
            self.errors = 0;
        }
        (self.run, self.of, self.phase, self.max) = (run, of, phase, 0);
    }

    fn count(&mut self, tick: &Tick) {
        self.errors += tick.errors;
        self.max = self.max.max(tick.max);
    }

    /// `2/3 measuring`, or without the number if there is one repeat.
    fn name(&self) -> String {
        match self.of {
            0 | 1 => self.phase.name().to_owned(),
            of => format!("{}/{of} {}", self.run, self.phase.name()),
        }
    }

    /// The figures, the most important ones first.
    fn figures(&self, tick: &Tick) -> Vec<String> {
        let mut figures = Vec::new();
        if tick.span > 0.0 {
            let rate = tick.done as f64 / tick.span;
            figures.push(format!("{}/s", format::short(rate)));
        }
        if tick.p99 > 0 {
            figures.push(format!("p99 {}", format::time(tick.p99 as f64)));
        }
        figures.push(match self.errors {
            1 => "1 error".to_owned(),
            errors => format!("{} errors", format::count(errors as f64)),
        });
        if tick.p50 > 0 {
            figures.push(format!("p50 {}", format::time(tick.p50 as f64)));
        }
        if self.max > 0 {
            figures.push(format!("max {}", format::time(self.max as f64)));
        }
        figures.push(format!("{} open", format::count(tick.open as f64)));
        figures
    }
}

/// The first figures that fit into `room` columns. A truncated figure could be read as another one.
fn fitting(figures: &[String], room: usize) -> String {
    let mut line = String::new();
    for figure in figures {
        let gap = if line.is_empty() { 0 } else { 2 };
        if line.chars().count() + gap + figure.chars().count() > room {
            break;
        }
        line.extend(std::iter::repeat_n(' ', gap));
        line.push_str(figure);
    }
    line
}

/// The result of a repeat, in one line.
fn ended(state: &State, run: &Run) -> Option<String> {
    // The summary reports a single repeat.
    (state.of > 1).then(|| {
        let mut line = format!("{}/{}", state.run, state.of);
        if !run.part.is_empty() {
            line = format!("{line} {}", format::printable(&run.part));
        }
        line = format!("{line} {}", format::per_second(run.rate));
        if let Some(latency) = run.latency.as_ref().or(run.handshake.as_ref()) {
            let time = |ns| format::time(ns as f64);
            line = format!(
                "{line}  p50 {}  p99 {}  max {}",
                time(latency.p50),
                time(latency.p99),
                time(latency.max)
            );
        }
        let errors: u64 = run.errors.values().sum();
        if errors > 0 {
            line = format!("{line}  {} errors", format::count(errors as f64));
        }
        line
    })
}

/// The progress of a phase: `4.2/10 s`.
fn clock(elapsed: f64, total: Option<f64>) -> String {
    match total {
        Some(total) => format!("{elapsed:.1}/{}", format::seconds(total)),
        None => format!("{elapsed:.1} s"),
    }
}

/// One line on a terminal, with a bar.
struct Live {
    bar: ProgressBar,
    state: State,
    total: Option<f64>,
    width: fn() -> u16,
    /// Whether the style has a bar.
    barred: Option<bool>,
}

/// The bar counts in thousandths.
const WHOLE: u64 = 1000;
const BAR: usize = 16;
/// A terminal with fewer columns has no bar, to leave room for the figures.
const ROOM_FOR_BAR: u16 = 70;

impl Live {
    fn new(target: ProgressDrawTarget, width: fn() -> u16) -> Self {
        let bar = ProgressBar::with_draw_target(Some(WHOLE), target);
        Self {
            bar,
            state: State::new(),
            total: None,
            width,
            barred: None,
        }
    }

    /// Chooses a style with a bar if the end of the phase is known and there is room.
    fn style(&mut self) {
        let ends = self.total.is_some() || self.state.phase == Phase::Opening;
        let barred = ends && (self.width)() >= ROOM_FOR_BAR;
        if self.barred == Some(barred) {
            return;
        }
        self.barred = Some(barred);
        let template = if barred {
            format!("{{prefix}} [{{bar:{BAR}}}] {{wide_msg}}")
        } else {
            "{prefix} {wide_msg}".to_owned()
        };
        let style = ProgressStyle::with_template(&template).expect("the template is valid");
        self.bar.set_style(style.progress_chars("=> "));
    }

    fn at(&self, part: f64) {
        self.bar
            .set_position((part.clamp(0.0, 1.0) * WHOLE as f64) as u64);
    }
}

impl Progress for Live {
    fn phase(&mut self, run: usize, of: usize, phase: Phase, total: Option<f64>) {
        self.state.enter(run, of, phase);
        self.total = total.filter(|total| *total > 0.0);
        self.style();
        self.bar.set_message("");
        self.at(0.0);
        self.bar.set_prefix(self.state.name());
    }

    fn tick(&mut self, tick: &Tick, elapsed: f64) {
        self.state.count(tick);
        self.style();
        if let Some(total) = self.total {
            self.at(elapsed / total);
        }
        let mut figures = self.state.figures(tick);
        figures.insert(0, clock(elapsed, self.total));
        let before = self.state.name().len()
            + if self.barred == Some(true) {
                BAR + 4
            } else {
                1
            };
        let room = usize::from((self.width)()).saturating_sub(before);
        self.bar.set_message(fitting(&figures, room));
    }

    fn connections(&mut self, open: usize, of: usize) {
        self.at(open as f64 / of.max(1) as f64);
        let count = |n: usize| format::count(n as f64);
        self.bar
            .set_message(format!("{} of {} open", count(open), count(of)));
    }

    fn note(&mut self, line: &str) {
        self.bar.println(format::printable(line));
    }

    fn done(&mut self, run: &Run) {
        if let Some(line) = ended(&self.state, run) {
            self.bar.println(line);
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// One line for each second.
struct Lines<F> {
    say: F,
    state: State,
    total: Option<f64>,
    /// The sum of the ticks since the last line.
    since: Tick,
    connections: Option<Instant>,
}

/// The least seconds that a line covers. Ticks come five times a second, not exactly on time.
const BETWEEN: f64 = 0.9;

impl<F: FnMut(&str)> Lines<F> {
    fn new(say: F) -> Self {
        Self {
            say,
            state: State::new(),
            total: None,
            since: Tick::default(),
            connections: None,
        }
    }
}

impl<F: FnMut(&str)> Progress for Lines<F> {
    fn phase(&mut self, run: usize, of: usize, phase: Phase, total: Option<f64>) {
        self.state.enter(run, of, phase);
        self.total = total.filter(|total| *total > 0.0);
        self.since = Tick::default();
        self.connections = None;
    }

    fn tick(&mut self, tick: &Tick, elapsed: f64) {
        self.state.count(tick);
        let since = &mut self.since;
        since.span += tick.span;
        since.done += tick.done;
        since.open = tick.open;
        // Percentiles of several spans cannot be added: the worst is shown.
        since.p50 = since.p50.max(tick.p50);
        since.p99 = since.p99.max(tick.p99);
        if since.span < BETWEEN {
            return;
        }
        let figures = self.state.figures(since).join("  ");
        (self.say)(&format!(
            "{} {}  {figures}",
            self.state.name(),
            clock(elapsed, self.total)
        ));
        self.since = Tick::default();
    }

    fn connections(&mut self, open: usize, of: usize) {
        let now = Instant::now();
        let last = *self.connections.get_or_insert(now);
        if now.duration_since(last).as_secs_f64() < BETWEEN {
            return;
        }
        self.connections = Some(now);
        let count = |n: usize| format::count(n as f64);
        (self.say)(&format!(
            "{} {} of {} open",
            self.state.name(),
            count(open),
            count(of)
        ));
    }

    fn note(&mut self, line: &str) {
        (self.say)(&format::printable(line));
    }

    fn done(&mut self, run: &Run) {
        if let Some(line) = ended(&self.state, run) {
            (self.say)(&line);
        }
    }
}

#[cfg(test)]
mod tests;
