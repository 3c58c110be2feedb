//! The watchdog: a thread that notices an lcore that does not finish its turn.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::counters::{CountersHandle, LcoreCounters};
use crate::remote::Remote;

/// The longest and the shortest time between two looks.
const LONGEST: Duration = Duration::from_millis(250);
const SHORTEST: Duration = Duration::from_millis(5);

/// The running watchdog. Dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct Watchdog {
    /// Dropped first, which ends the thread.
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Starts the thread. It reads the time limit anew at each look.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn start<E: Send + 'static>(
        remote: Remote<E>,
        counters: &CountersHandle,
    ) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let mut lcores: Vec<Watched> = (0..counters.lcores())
            .map(|lcore| Watched::new(lcore, counters.of(lcore)))
            .collect();
        let limit = move || remote.tunables().watchdog;
        let thread = thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || watch(&mut lcores, limit, &stopped))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn watch(lcores: &mut [Watched], limit: impl Fn() -> Duration, stopped: &Receiver<()>) {
    let mut last = Instant::now();
    loop {
        let limit = limit();
        let pause = match limit {
            Duration::ZERO => LONGEST,
            limit => (limit / 4).clamp(SHORTEST, LONGEST),
        };
        if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        let now = Instant::now();
        // A process that was suspended has not stalled: of a pause that was much longer than asked for, nothing else is known.
        let passed = now.duration_since(last).min(pause * 2);
        last = now;
        for lcore in &mut *lcores {
            lcore.look(passed, limit);
        }
    }
}

/// An lcore, as the watchdog knows it.
struct Watched {
    lcore: usize,
    counters: Arc<LcoreCounters>,
    turns: u64,
    /// Time without a finished turn.
    silent: Duration,
}

impl Watched {
    fn new(lcore: usize, counters: Arc<LcoreCounters>) -> Self {
        Self {
            lcore,
            turns: counters.turns.get(),
            counters,
            silent: Duration::ZERO,
        }
    }

    /// A look at the lcore, `passed` after the last one.
    fn look(&mut self, passed: Duration, limit: Duration) {
        let heartbeat = &self.counters.heartbeat;
        let (turns, step) = (self.counters.turns.get(), heartbeat.step());
        if turns != self.turns || step.may_last() {
            self.turns = turns;
            if heartbeat.is_stalled() {
                heartbeat.set_stalled(false);
                tracing::warn!(
                    lcore = self.lcore,
                    "the lcore turns again, after {:.1} s",
                    (self.silent + passed).as_secs_f64()
                );
            }
            self.silent = Duration::ZERO;
            return;
        }
        self.silent += passed;
        if limit.is_zero() || self.silent < limit || heartbeat.is_stalled() {
            return;
        }
        heartbeat.set_stalled(true);
        self.counters.stalls.bump();
        let conn = heartbeat.conn().map(tracing::field::display);
        tracing::error!(
            lcore = self.lcore,
            step = %step,
            conn,
            "the lcore has not finished a turn for {:.1} s",
            self.silent.as_secs_f64()
        );
    }
}

#[cfg(test)]
mod tests {
    use hioload_transport::fake::Fake;

    use super::*;
    use crate::heartbeat::Step;

    const LOOK: Duration = Duration::from_millis(250);
    const LIMIT: Duration = Duration::from_secs(1);

    fn watched() -> (Watched, Arc<LcoreCounters>, CountersHandle) {
        let handle = CountersHandle::new::<Fake>(1);
        let counters = handle.of(0);
        (Watched::new(0, Arc::clone(&counters)), counters, handle)
    }

    #[test]
    fn an_lcore_that_stays_in_a_turn_is_stalled_once_until_it_turns_again() {
        let (mut watched, lcore, handle) = watched();
        lcore.turns.bump();
        lcore.heartbeat.enter(Step::Dispatch);
        // The first look sees the new turn.
        for looks in 0..10 {
            watched.look(LOOK, LIMIT);
            assert_eq!(handle.stalled(), usize::from(looks >= 4), "{looks}");
        }
        assert_eq!(lcore.stalls.get(), 1);
        lcore.turns.bump();
        watched.look(LOOK, LIMIT);
        assert_eq!((handle.stalled(), lcore.stalls.get()), (0, 1));
        // The next turn is measured from its own beginning.
        for _ in 0..3 {
            watched.look(LOOK, LIMIT);
            assert_eq!(handle.stalled(), 0);
        }
        watched.look(LOOK, LIMIT);
        assert_eq!((handle.stalled(), lcore.stalls.get()), (1, 2));
    }

    #[test]
    fn an_lcore_that_sleeps_or_has_ended_is_not_stalled() {
        for step in [Step::Waiting, Step::Ended] {
            let (mut watched, lcore, handle) = watched();
            lcore.turns.bump();
            lcore.heartbeat.enter(step);
            for _ in 0..100 {
                watched.look(LOOK, LIMIT);
            }
            assert_eq!((handle.stalled(), lcore.stalls.get()), (0, 0));
        }
    }

    #[test]
    fn a_limit_of_zero_turns_it_off() {
        let (mut watched, lcore, handle) = watched();
        lcore.heartbeat.enter(Step::Flush);
        for _ in 0..100 {
            watched.look(LOOK, Duration::ZERO);
        }
        assert_eq!((handle.stalled(), lcore.stalls.get()), (0, 0));
    }
}
