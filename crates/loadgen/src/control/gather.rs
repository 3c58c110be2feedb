//! The control thread's exchange with the lcores.

use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use super::{Control, GRACE};
use crate::channel::{Command, Notice};
use crate::figures::{Mark, Memory, Moment};
use crate::meter::Interval;
use crate::progress::Phase;
use crate::usage;

impl Control<'_> {
    /// Collects an interval from all lcores; `None` if they do not answer.
    pub(crate) fn gather(&mut self) -> Option<Moment> {
        let lcores = self.commands.len();
        for lcore in 0..lcores {
            let spare = self.spares.pop();
            let spare = spare.unwrap_or_else(|| Box::new(Interval::empty()));
            self.commands[lcore].send(Command::Report(spare));
        }
        let mut sum = Interval::empty();
        let (mut open, mut answers) = (0, 0);
        let end = Instant::now() + GRACE;
        while answers < lcores && Instant::now() < end {
            let mut spares = Vec::new();
            let alive = self.listen(Duration::from_millis(100), &mut |notice| {
                if let Notice::Interval {
                    open: here,
                    mut interval,
                    ..
                } = notice
                {
                    answers += 1;
                    open += here;
                    sum.add(&interval);
                    interval.clear();
                    spares.push(interval);
                }
            });
            self.spares.append(&mut spares);
            if !alive {
                return None;
            }
        }
        self.errors += sum.error_count();
        self.peak = self.peak.max(&Memory::now(self.probe));
        (answers == lcores).then(|| Moment {
            interval: sum,
            open,
            mark: self.mark(),
        })
    }

    /// Receives notices for `time`, or until the run has to end.
    pub(crate) fn wait(&mut self, time: Duration) {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || self.failure.is_some() || self.finished >= self.commands.len() {
                return;
            }
            if self.stop.is_requested() {
                return;
            }
            self.listen(left.min(Duration::from_millis(50)), &mut |_| {});
        }
    }

    /// Receives one notice, waiting for it up to `time`. Calls `intervals` with intervals. Returns `false` if all lcores have ended.
    pub(crate) fn listen(&mut self, time: Duration, intervals: &mut dyn FnMut(Notice)) -> bool {
        match self.notices.recv_timeout(time) {
            Ok(Notice::Ready) => self.ready += 1,
            Ok(Notice::Finished) => self.finished += 1,
            Ok(Notice::Drained) => self.drained += 1,
            Ok(Notice::Error(line)) => {
                self.progress.note(&line);
                self.first_error.get_or_insert(line);
            }
            Ok(Notice::Failed(line)) => {
                self.failure.get_or_insert(line);
            }
            Ok(interval @ Notice::Interval { .. }) => intervals(interval),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                self.failure
                    .get_or_insert_with(|| "the lcores of the generator have ended".to_owned());
                return false;
            }
        }
        true
    }

    pub(crate) fn send_all(&self, command: impl Fn() -> Command) {
        for lcore in &self.commands {
            lcore.send(command());
        }
    }

    pub(crate) fn phase(&mut self, phase: Phase, total: Option<f64>) {
        let (run, of) = self.which;
        self.progress.phase(run, of, phase, total);
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark {
            at: Instant::now(),
            own: usage::LcoreUsage::now(&self.counters, &self.threads),
            server: usage::ServerUsage::now(self.probe),
        }
    }

    /// Whether the run has to end early.
    pub(crate) fn must_end(&self) -> bool {
        let errors = self.errors > self.job.max_errors && !self.job.to_the_end;
        self.failure.is_some() || self.stop.is_requested() || errors
    }
}
