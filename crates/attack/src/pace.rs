//! The rate of an attack.

/// Packets of one attack in one turn, at most. Packets missed beyond that are not sent later.
const MOST: u64 = 256;
const SECOND: u64 = 1_000_000_000;
/// The longest time between two turns that is credited, ns.
const LONGEST: u64 = 100_000_000;

/// A token bucket that is filled by the time of the turns.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    /// Packets per second, up to 10^9.
    rate: u64,
    /// Credit in billionths of a packet.
    credit: u64,
    /// Time of the last refill, ns.
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

    /// Spends credit for `n` packets that were sent or given up.
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
    fn a_rate_is_kept_with_any_turn_length() {
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
    fn missed_packets_are_not_sent_later() {
        let mut pace = Pace::new(1_000_000_000);
        pace.start(0);
        assert_eq!(pace.due(u64::MAX), MOST);
        pace.spend(MOST);
        assert_eq!(pace.due(u64::MAX), 0);
        assert_eq!(pace.until_next(), 1);
    }
}
