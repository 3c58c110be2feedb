//! Monotonic time, read from the system once per turn.

use std::fmt;
use std::ops::{Add, AddAssign};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A point in time: nanoseconds since the process made its first [`Clock`]. All lcores share the scale, which ends after
/// 584 years.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time(u64);

impl Time {
    /// The start of the scale.
    pub const ZERO: Self = Self(0);
    /// The end of the scale. As a deadline it means never.
    pub const MAX: Self = Self(u64::MAX);

    /// From nanoseconds since the start.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// From milliseconds since the start; `MAX` if that is beyond the scale.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the start.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the start.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The time from `earlier` to this; zero if `earlier` is later.
    #[must_use]
    pub const fn saturating_sub(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Saturates at [`Time::MAX`].
impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

/// Saturates at [`Time::MAX`].
impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

/// Seconds, to the millisecond.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:03} s",
            self.as_millis() / 1000,
            self.as_millis() % 1000
        )
    }
}

/// The coarse clock of one lcore. [`tick`](Self::tick) reads the system's clock, once per turn. Everything else uses
/// [`now`](Self::now), which reads a field.
#[derive(Clone, Debug)]
pub struct Clock {
    start: Instant,
    now: Time,
}

impl Clock {
    /// Makes a clock and reads the time.
    #[must_use]
    pub fn new() -> Self {
        static START: OnceLock<Instant> = OnceLock::new();
        let start = *START.get_or_init(Instant::now);
        let mut clock = Self {
            start,
            now: Time::ZERO,
        };
        clock.tick();
        clock
    }

    /// Reads the system's monotonic clock.
    pub fn tick(&mut self) -> Time {
        self.now = Time::ZERO + self.start.elapsed();
        self.now
    }

    /// The time of the last tick.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_stays_on_the_scale() {
        let time = Time::from_millis(1500);
        assert_eq!((time.as_nanos(), time.as_millis()), (1_500_000_000, 1500));
        assert_eq!(time + Duration::from_millis(1), Time::from_millis(1501));
        assert_eq!(
            time.saturating_sub(Time::from_millis(500)),
            Duration::from_secs(1)
        );
        assert_eq!(Time::ZERO.saturating_sub(time), Duration::ZERO);
        assert_eq!(time + Duration::MAX, Time::MAX);
        assert_eq!(Time::from_millis(u64::MAX), Time::MAX);
        assert_eq!(Time::from_nanos(1_999_999).as_millis(), 1);
        assert_eq!(time.to_string(), "1.500 s");
    }

    #[test]
    fn now_changes_only_with_a_tick_and_never_goes_back() {
        let mut clock = Clock::new();
        let first = clock.now();
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(clock.now(), first);
        let ticked = clock.tick();
        assert!(ticked > first);
        assert_eq!(clock.now(), ticked);
    }

    #[test]
    fn clocks_of_two_threads_share_their_scale() {
        let before = Clock::new().now();
        let there = std::thread::spawn(|| Clock::new().now())
            .join()
            .expect("a time");
        let after = Clock::new().now();
        assert!(before <= there && there <= after);
    }
}
