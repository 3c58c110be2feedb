//! How many packets are due.

/// Packets of one attack that are sent in one turn at most; more are not caught up with.
const MOST: u64 = 256;
const SECOND: u64 = 1_000_000_000;
/// The longest pause between two turns that counts, in nanoseconds.
const LONGEST: u64 = 100_000_000;

/// A rate, by the clock of the turns.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    /// Per second, up to 10^9.
    rate: u64,
    /// Thousand millionths of packets that are due.
    credit: u64,
    last: u64,
}

impl Pace {
    pub(crate) fn new(rate: u64) -> Self {
        Self {
            rate,
            credit: 0,
            last: 0,
        }
    }

    /// Begins at `now`, in nanoseconds.
    pub(crate) fn start(&mut self, now: u64) {
        (self.credit, self.last) = (0, now);
    }

    /// Packets due at `now`.
    #[inline]
    pub(crate) fn due(&mut self, now: u64) -> u64 {
        let passed = now.saturating_sub(self.last).min(LONGEST);
        self.last = self.last.max(now);
        self.credit = (self.credit + passed * self.rate).min(MOST * SECOND);
        self.credit / SECOND
    }

    /// Of these, `n` were sent or given up.
    #[inline]
    pub(crate) fn spend(&mut self, n: u64) {
        self.credit = self.credit.saturating_sub(n * SECOND);
    }

    /// Nanoseconds from the last turn until the next packet is due.
    pub(crate) fn until_next(&self) -> u64 {
        SECOND.saturating_sub(self.credit).div_ceil(self.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_whatever_the_turns() {
        for (rate, turn, seconds) in [
            (100_000, 7_001, 2),
            (1, 999_999, 10),
            (3_333_333, 50_000, 1),
        ] {
            let mut pace = Pace::new(rate);
            pace.start(5);
            let (mut now, mut sent) = (5, 0);
            while now < 5 + seconds * SECOND {
                now += turn;
                let due = pace.due(now);
                pace.spend(due);
                sent += due;
            }
            let wanted = rate * (now - 5) / SECOND;
            assert!(sent.abs_diff(wanted) <= 1, "{sent} of {wanted}");
        }
    }

    #[test]
    fn what_was_missed_is_not_caught_up_with() {
        let mut pace = Pace::new(1_000_000_000);
        pace.start(0);
        assert_eq!(pace.due(u64::MAX), MOST);
        pace.spend(MOST);
        assert_eq!(pace.due(u64::MAX), 0);
        assert_eq!(pace.until_next(), 1);
    }
}
