//! How much a turn does: an account of estimated work, which decides when the clock is read, and the clock, which decides when a
//! connection's share and the turn end.
//!
//! A bound in messages bounds nothing when a message may be 20 bytes or 16 MiB. So each piece of work is charged for roughly the
//! nanoseconds that it takes: a message, the bytes that it moves, inflates or compresses, the nodes of the topic index that it
//! visits, the copies that it delivers. Such an estimate is wrong for a handler that computes, and on another machine. Hence the
//! clock is read each time about [`READ_EVERY`] has probably passed, and the estimate of what that is follows what the clock
//! showed: if ten messages took a millisecond, the next reading is after one. A message costs an addition and a comparison.
//!
//! An lcore that is turned by hand, whose caller has the clock, has no other time than the estimates: what it does is the same in
//! each run.

use std::time::Duration;

use hioload_lcore::{Clock, Time};

use crate::heartbeat::Step;

/// The time between two readings of the clock while there is work, in nanoseconds.
const READ_EVERY: u64 = 30_000;
/// The most work between two readings: of cheap messages 64. After them a slow handler is noticed.
const MOST_UNREAD: u64 = 16_000;

/// Estimates, in nanoseconds.
pub(crate) mod cost {
    /// A call of the driver, besides what it does.
    pub(crate) const EVENT: u64 = 100;
    /// A message or control frame, its handler's call included.
    pub(crate) const MESSAGE: u64 = 250;
    /// A request head and its answer.
    pub(crate) const REQUEST: u64 = 5_000;
    /// A command of another lcore or thread, besides what it does.
    pub(crate) const COMMAND: u64 = 250;
    /// A timer that fires.
    pub(crate) const TIMER: u64 = 250;
    /// A message queued to one connection.
    pub(crate) const SEND: u64 = 60;
    /// A node of the topic index.
    pub(crate) const NODE: u64 = 20;
    /// A part of the list of flows.
    pub(crate) const FLOWS: u64 = 100_000;
    /// The end of one subscription.
    pub(crate) const SUBSCRIPTION: u64 = 400;

    /// Bytes that are copied, unmasked or checked.
    pub(crate) const fn of_bytes(bytes: usize) -> u64 {
        bytes as u64 / 8
    }
    /// Bytes that are compressed.
    pub(crate) const fn of_compressing(bytes: usize) -> u64 {
        bytes as u64 * 8
    }
}

/// The account of one lcore.
#[derive(Debug)]
pub(crate) struct Work {
    /// All work so far.
    spent: u64,
    /// The clock is read when `spent` reaches this.
    read_at: u64,
    /// The step of the turn has used its time.
    exhausted: bool,
    /// The connection that is served has used its share, or the step its time.
    visit_over: bool,
    /// The visit lasts until a layer releases it.
    held: bool,
    /// The work before the connection that is served.
    visit_from: u64,
    /// Work between two readings.
    step: u64,
    /// The last reading: nanoseconds, and the work before it.
    read_time: u64,
    read_spent: u64,
    /// When the turn began, and when its step and the connection's share end, in nanoseconds.
    turn_began: u64,
    step_ends: u64,
    visit_began: u64,
    /// The bounds of a turn and of a visit, in nanoseconds.
    turn_time: u64,
    visit_time: u64,
    /// `None`: the estimates are the time.
    clock: Option<Clock>,
}

impl Work {
    pub(crate) fn new(now: Time) -> Self {
        let now = now.as_nanos();
        Self {
            spent: 0,
            read_at: MOST_UNREAD,
            exhausted: false,
            visit_over: false,
            held: false,
            visit_from: 0,
            step: MOST_UNREAD,
            read_time: now,
            read_spent: 0,
            turn_began: now,
            step_ends: u64::MAX,
            visit_began: now,
            turn_time: u64::MAX,
            visit_time: u64::MAX,
            clock: None,
        }
    }

    /// From now on a clock decides. Its times are those that turns are given.
    pub(crate) fn measure(&mut self, clock: Clock) {
        self.clock = Some(clock);
    }

    /// Begins a turn at `now`, whose times are bounded: zero means no bound.
    pub(crate) fn begin_turn(&mut self, now: Time, turn: Duration, visit: Duration) {
        let bound = |time: Duration| match u64::try_from(time.as_nanos()) {
            Ok(0) | Err(_) => u64::MAX,
            Ok(nanos) => nanos,
        };
        (self.turn_time, self.visit_time) = (bound(turn), bound(visit));
        self.turn_began = now.as_nanos();
        self.read_time = self.turn_began;
        self.read_spent = self.spent;
    }

    /// Begins a step of the turn. Commands end at the first quarter of the turn's time, timers at the second, and what an earlier
    /// step does not use is left to the later ones. Sending has a quarter more, or a third of what the turn took before, so that it
    /// keeps up with what is queued. The other steps have no bound. None is exhausted before its first piece of work.
    #[inline]
    pub(crate) fn begin(&mut self, step: Step) {
        let quarter = self.turn_time / 4;
        self.step_ends = match step {
            Step::Commands => self.turn_began.saturating_add(quarter),
            Step::Timers => self.turn_began.saturating_add(2 * quarter),
            Step::Dispatch => self.turn_began.saturating_add(self.turn_time),
            Step::Flush => {
                let now = self.read_time + (self.spent - self.read_spent);
                now.saturating_add(quarter.max((now - self.turn_began) / 3))
            }
            Step::Waiting | Step::Turn | Step::Finish | Step::Ended => u64::MAX,
        };
        self.exhausted = false;
    }

    /// Begins to serve a connection, unless a visit is held.
    #[inline]
    pub(crate) fn begin_visit(&mut self) {
        if !self.held {
            self.visit_from = self.spent;
            self.visit_over = false;
        }
    }

    /// Begins a visit that lasts over several calls of the driver.
    #[inline]
    pub(crate) fn begin_held_visit(&mut self) {
        self.held = false;
        self.begin_visit();
        self.held = true;
    }

    /// Ends what [`begin_held_visit`](Self::begin_held_visit) began.
    #[inline]
    pub(crate) fn release_visit(&mut self) {
        self.held = false;
    }

    /// Ends the share of the connection that is served.
    pub(crate) fn end_visit(&mut self) {
        self.visit_over = true;
    }

    /// Counts work in the middle of something that cannot end there.
    #[inline]
    pub(crate) fn add(&mut self, work: u64) {
        self.spent += work;
    }

    /// Counts work, and finds out whether the share or the step of the turn has ended.
    #[inline]
    pub(crate) fn charge(&mut self, work: u64) {
        self.spent += work;
        if self.spent >= self.read_at {
            self.read();
        }
    }

    /// Whether the step of the turn has used its time.
    #[inline]
    pub(crate) fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    /// Whether the connection that is served has used its share.
    #[inline]
    pub(crate) fn visit_is_over(&self) -> bool {
        self.visit_over
    }

    /// All work so far.
    #[cfg(test)]
    pub(crate) fn spent(&self) -> u64 {
        self.spent
    }

    #[cold]
    #[inline(never)]
    fn read(&mut self) {
        // A caller may have turned the lcore with a later time than its own.
        let units = (self.spent - self.read_spent).max(1);
        let now = match &mut self.clock {
            Some(clock) => clock.tick().as_nanos().max(self.read_time),
            None => self.read_time + units,
        };
        self.settle(now, units);
    }

    /// Takes a reading of the clock, after `units` of work since the last one.
    fn settle(&mut self, now: u64, units: u64) {
        let passed = now - self.read_time;
        if self.visit_from >= self.read_spent {
            // The visit began between two readings: where is estimated by the work before it.
            let before = self.visit_from - self.read_spent;
            self.visit_began = self.read_time + passed.saturating_mul(before) / units;
        }
        self.read_time = now;
        self.read_spent = self.spent;
        // Slower by leaps than faster, since a few cheap messages say nothing about the next expensive one.
        let fits = READ_EVERY.saturating_mul(units) / passed.max(1);
        self.step = fits.clamp(1, MOST_UNREAD.min(2 * self.step));
        self.read_at = self.spent + self.step;
        self.exhausted = now >= self.step_ends;
        self.visit_over |=
            self.exhausted || now.saturating_sub(self.visit_began) >= self.visit_time;
    }
}

/// The bytes published to subscribers of this lcore that may not have been sent: the most that it has added to the queue of one
/// that reads well.
#[derive(Debug, Default)]
pub(crate) struct Unsent {
    /// Published since the last round of flushes began, and in the round before.
    new: usize,
    old: usize,
    rounds: u64,
}

impl Unsent {
    pub(crate) fn add(&mut self, bytes: usize) {
        self.new = self.new.saturating_add(bytes);
    }

    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.new.saturating_add(self.old)
    }

    /// After a flush: `rounds` is the transport's number of them, and `left` whether connections wait for the next flush.
    #[inline]
    pub(crate) fn flushed(&mut self, rounds: u64, left: bool) {
        if !left {
            (self.new, self.old) = (0, 0);
        } else if rounds != self.rounds {
            (self.new, self.old) = (0, self.new);
        }
        self.rounds = rounds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TURN: Duration = Duration::from_micros(400);
    const VISIT: Duration = Duration::from_micros(100);

    fn begun() -> Work {
        let mut work = Work::new(Time::from_millis(7));
        work.begin_turn(Time::from_millis(9), TURN, VISIT);
        work
    }

    /// Charges until `over` says so; returns the work of that.
    fn until(work: &mut Work, each: u64, over: impl Fn(&Work) -> bool) -> u64 {
        let from = work.spent();
        while !over(work) {
            work.charge(each);
        }
        work.spent() - from
    }

    #[test]
    fn steps_and_visits_end_within_a_reading_of_their_time() {
        let mut work = begun();
        for (step, time) in [
            (Step::Commands, 100_000),
            (Step::Timers, 100_000),
            (Step::Dispatch, 200_000),
        ] {
            work.begin(step);
            let spent = until(&mut work, 250, Work::is_exhausted);
            assert!(
                (time - MOST_UNREAD..=time + MOST_UNREAD).contains(&spent),
                "{step:?}: {spent}"
            );
        }
        // The flush may take a third of the time that the turn has taken before it.
        work.begin(Step::Flush);
        let spent = until(&mut work, 250, Work::is_exhausted);
        assert!((117_000..=150_000).contains(&spent), "{spent}");
        work.begin_turn(Time::from_millis(10), TURN, VISIT);
        work.begin(Step::Dispatch);
        for _ in 0..3 {
            work.begin_visit();
            let spent = until(&mut work, 250, Work::visit_is_over);
            assert!(
                (100_000..=100_000 + MOST_UNREAD).contains(&spent),
                "{spent}"
            );
            assert!(!work.is_exhausted());
        }
    }

    #[test]
    fn a_held_visit_is_over_after_its_share_however_many_calls_it_has() {
        let mut work = begun();
        work.begin(Step::Dispatch);
        work.begin_held_visit();
        let mut calls = 0;
        while !work.visit_is_over() {
            work.begin_visit();
            work.charge(1_000);
            calls += 1;
        }
        assert!((100..=116).contains(&calls), "{calls}");
        work.release_visit();
        work.begin_visit();
        assert!(!work.visit_is_over());
    }

    #[test]
    fn work_that_is_added_ends_nothing_before_it_is_charged() {
        let mut work = begun();
        work.begin(Step::Dispatch);
        work.begin_visit();
        work.add(10_000_000);
        assert!(!work.is_exhausted() && !work.visit_is_over());
        work.charge(1);
        assert!(work.is_exhausted() && work.visit_is_over());
        work.begin(Step::Flush);
        assert!(!work.is_exhausted(), "each step does something");
        // What took 10 ms is sent for up to a third of that.
        let spent = until(&mut work, 2_500, Work::is_exhausted);
        assert!((3_300_000..3_400_000).contains(&spent), "{spent}");
    }

    #[test]
    fn where_a_visit_began_is_found_between_two_readings() {
        let mut work = begun();
        work.begin(Step::Dispatch);
        work.add(9_000);
        work.begin_visit();
        work.add(1_000);
        // A tenth of what has passed is the visit's.
        work.settle(work.read_time + 200_000, 10_000);
        assert!(!work.visit_is_over());
        work.settle(work.read_time + 79_000, 1);
        assert!(!work.visit_is_over());
        work.settle(work.read_time + 1_000, 1);
        assert!(work.visit_is_over());
    }

    #[test]
    fn without_bounds_nothing_ends() {
        let mut work = begun();
        work.begin_turn(Time::from_millis(9), Duration::ZERO, Duration::ZERO);
        for step in [Step::Commands, Step::Timers, Step::Dispatch, Step::Flush] {
            work.begin(step);
            work.begin_visit();
            work.charge(1 << 50);
            assert!(!work.is_exhausted() && !work.visit_is_over(), "{step:?}");
        }
    }

    #[test]
    fn the_clock_is_read_sooner_after_work_that_was_slower_than_estimated() {
        let mut work = begun();
        work.begin(Step::Dispatch);
        // These messages took a thousand times as long.
        work.add(MOST_UNREAD);
        work.settle(work.read_time + 1000 * MOST_UNREAD, MOST_UNREAD);
        assert!(work.step < cost::MESSAGE, "{}", work.step);
        // It becomes rarer again step by step.
        let mut readings = 0;
        while work.step < MOST_UNREAD {
            let step = work.step;
            work.charge(step);
            assert!(work.step <= 2 * step);
            readings += 1;
        }
        assert!(readings > 5, "{readings}");
    }

    #[test]
    fn a_clock_decides_where_there_is_one() {
        let mut work = begun();
        let mut clock = Clock::new();
        let now = clock.tick();
        work.measure(clock);
        // A day: the estimates alone would end it, and the clock does not.
        let day = Duration::from_secs(86_400);
        work.begin_turn(now, day, day);
        work.begin(Step::Dispatch);
        work.begin_visit();
        work.charge(1 << 60);
        assert!(!work.is_exhausted() && !work.visit_is_over());
    }
}
