//! A token bucket.

use std::time::Duration;

use hioload_lcore::Time;

/// A rate with bursts of a tenth of a second: the generic cell rate algorithm, which needs no counter and no refill.
#[derive(Clone, Debug)]
pub(crate) struct Rate {
    /// Nanoseconds between two; 0: nothing passes.
    interval: u64,
    /// Nanoseconds that the schedule may run ahead of the clock.
    ahead: u64,
    /// The time of the next one at exactly this rate.
    schedule: Time,
}

impl Rate {
    /// A rate of `per_second`; with 0 nothing passes.
    pub(crate) fn new(per_second: u32) -> Self {
        let interval = 1_000_000_000 / u64::from(per_second.max(1));
        Self {
            interval: if per_second == 0 { 0 } else { interval.max(1) },
            ahead: (100_000_000 / interval.max(1)).saturating_sub(1) * interval,
            schedule: Time::ZERO,
        }
    }

    /// Whether one more may pass at `now`. If so, it is counted.
    #[inline]
    pub(crate) fn allow(&mut self, now: Time) -> bool {
        let due = self.schedule.max(now);
        if self.interval == 0 || due.saturating_sub(now) > Duration::from_nanos(self.ahead) {
            return false;
        }
        self.schedule = due + Duration::from_nanos(self.interval);
        true
    }

    /// The time from which the next one may pass; [`Time::MAX`] for a rate of 0.
    pub(crate) fn next(&self) -> Time {
        if self.interval == 0 {
            return Time::MAX;
        }
        Time::from_nanos(self.schedule.as_nanos().saturating_sub(self.ahead))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(rate: &mut Rate, now: Time, tries: u32) -> u32 {
        (0..tries).map(|_| u32::from(rate.allow(now))).sum()
    }

    #[test]
    fn bursts_are_a_tenth_of_a_second_and_the_average_holds() {
        let mut rate = Rate::new(1000);
        assert_eq!(passed(&mut rate, Time::from_millis(5000), 1000), 100);
        assert_eq!(rate.next(), Time::from_millis(5001));
        assert_eq!(passed(&mut rate, Time::from_millis(5001), 1000), 1);
        let over_a_second: u32 = (5002..6001)
            .map(|ms| passed(&mut rate, Time::from_millis(ms), 10))
            .sum();
        assert_eq!(over_a_second, 999);
        assert_eq!(passed(&mut rate, Time::from_millis(60_000), 1000), 100);
    }

    #[test]
    fn slow_and_extreme_rates() {
        let mut one = Rate::new(1);
        assert_eq!(passed(&mut one, Time::ZERO, 10), 1);
        assert_eq!(passed(&mut one, Time::from_millis(999), 10), 0);
        assert_eq!(passed(&mut one, Time::from_millis(1000), 10), 1);
        assert_eq!(passed(&mut Rate::new(0), Time::from_millis(7), 10), 0);
        assert_eq!(passed(&mut Rate::new(u32::MAX), Time::MAX, 10), 10);
    }
}
