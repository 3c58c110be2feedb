//! The rate of handshakes.

use std::time::Duration;

use hioload_lcore::Time;

/// Time whose handshakes may begin at once after a pause.
const BURST: Duration = Duration::from_millis(100);

/// Spreads events over time: at most `rate` a second, and after a pause those of [`BURST`] at once.
#[derive(Default)]
pub(super) struct Pace {
    next: Time,
}

impl Pace {
    /// Whether an event may happen now; it counts then. A rate of 0 is no limit.
    pub(super) fn take(&mut self, now: Time, rate: u32) -> bool {
        if rate == 0 {
            return true;
        }
        if self.next > now {
            return false;
        }
        let earliest = Time::from_nanos(now.as_nanos().saturating_sub(BURST.as_nanos() as u64));
        self.next = self.next.max(earliest) + Duration::from_secs(1) / rate;
        true
    }

    /// When the next event may happen.
    pub(super) fn next(&self) -> Time {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events that may happen from `from` to `to`, in milliseconds, of a loop that turns every millisecond.
    fn events(pace: &mut Pace, rate: u32, from: u64, to: u64) -> u32 {
        let mut events = 0;
        for millis in from..to {
            while pace.take(Time::from_millis(millis), rate) {
                events += 1;
                assert!(events < 100_000);
            }
        }
        events
    }

    #[test]
    fn the_rate_holds_and_a_pause_earns_no_more_than_a_burst() {
        let mut pace = Pace::default();
        for rate in [1, 7, 1000, 20_000] {
            pace = Pace::default();
            let burst = rate / 10 + 1;
            let seen = events(&mut pace, rate, 10_000, 11_000);
            assert!(
                (rate..=rate + burst).contains(&seen),
                "{seen} of {rate}, burst {burst}"
            );
            let seen = events(&mut pace, rate, 11_000, 12_000);
            assert!(seen.abs_diff(rate) <= 1, "{seen} of {rate}");
        }
        assert!(pace.next() <= Time::from_millis(12_000));
    }
}
