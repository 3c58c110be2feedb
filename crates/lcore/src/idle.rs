//! What an lcore's loop does when it has no work.

use std::fmt;
use std::hint;
use std::str::FromStr;
use std::thread;

/// How an lcore idles.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Idle {
    /// Polls without end: the lowest latency, and 100 % of a CPU.
    Busy,
    /// Polls for a number of turns when there is no work, then sleeps. The number grows when work comes while polling, and
    /// shrinks when none does.
    #[default]
    Adaptive,
    /// Sleeps as soon as there is no work: the least CPU per message.
    Block,
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "busy",
            Self::Adaptive => "adaptive",
            Self::Block => "block",
        })
    }
}

impl FromStr for Idle {
    type Err = UnknownIdle;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "busy" => Ok(Self::Busy),
            "adaptive" => Ok(Self::Adaptive),
            "block" => Ok(Self::Block),
            _ => Err(UnknownIdle(text.to_owned())),
        }
    }
}

/// A text that is not the name of an [`Idle`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnknownIdle(String);

impl fmt::Display for UnknownIdle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is none of busy, adaptive, block", self.0)
    }
}

impl std::error::Error for UnknownIdle {}

/// How the next turn waits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Wait {
    /// Check, and return at once: a timeout of zero.
    Poll,
    /// Sleep until something is ready or the next timer is due (after `Mailbox::prepare_sleep`, if there is one).
    Sleep,
}

/// Decides, turn by turn, whether to poll or to sleep. It counts turns and reads no clock.
///
/// Adaptive: after work, up to `limit` empty turns poll, the second half of them with pauses in between; then the lcore
/// sleeps. Work found while polling doubles the limit, and sleeping halves it, down to zero: then it behaves as `Block`.
/// A limit of zero could not notice that work follows work closely again. So one in 64 of the sleeps that follow work is
/// replaced by a trial of 32 empty turns.
#[derive(Clone, Debug)]
pub struct IdleStrategy {
    idle: Idle,
    /// Empty turns since there was work.
    empty: u32,
    /// Empty turns to poll.
    limit: u32,
    /// Times that polling ended without work since the last trial.
    gave_up: u32,
}

/// An empty turn takes about 0.5 µs without and 1.5 µs with pauses: this is about 250 µs.
const LIMIT_MAX: u32 = 256;
/// The limit at the start and in a trial.
const LIMIT_TRIAL: u32 = 32;
/// A limit below this becomes zero.
const LIMIT_MIN: u32 = 4;
/// One sleep in this many is replaced by a trial.
const TRIAL_EVERY: u32 = 64;
/// Pause hints in a turn of the second half: about 1 µs, during which a sibling hyperthread has the core.
const PAUSES: u32 = 24;
/// One turn in this many offers the CPU to other threads.
const YIELD_EVERY: u32 = 16;

impl IdleStrategy {
    /// A strategy that has just had work.
    #[must_use]
    pub fn new(idle: Idle) -> Self {
        Self {
            idle,
            empty: 0,
            limit: LIMIT_TRIAL,
            gave_up: 0,
        }
    }

    /// The way of idling that it was made with.
    #[must_use]
    pub fn idle(&self) -> Idle {
        self.idle
    }

    /// Decides how the next turn waits. Call it once per turn; `worked` says whether the turn did any work. It may pause for
    /// about 1 µs.
    pub fn next(&mut self, worked: bool) -> Wait {
        match self.idle {
            Idle::Busy => Wait::Poll,
            Idle::Block => Wait::Sleep,
            Idle::Adaptive => self.next_adaptive(worked),
        }
    }

    fn next_adaptive(&mut self, worked: bool) -> Wait {
        if worked {
            if (1..=self.limit).contains(&self.empty) {
                self.limit = (self.limit * 2).min(LIMIT_MAX);
            }
            self.empty = 0;
            return if self.limit > 0 {
                Wait::Poll
            } else {
                self.give_up()
            };
        }
        if self.empty >= self.limit {
            // Polling found nothing, or the lcore was woken without work. In both cases it does not poll until there is work.
            return if self.empty == self.limit {
                self.give_up()
            } else {
                Wait::Sleep
            };
        }
        self.empty += 1;
        if self.empty > self.limit / 2 {
            if self.empty.is_multiple_of(YIELD_EVERY) {
                thread::yield_now();
            } else {
                (0..PAUSES).for_each(|_| hint::spin_loop());
            }
        }
        Wait::Poll
    }

    /// Sleeps, and polls less the next time.
    fn give_up(&mut self) -> Wait {
        self.limit = if self.limit / 2 < LIMIT_MIN {
            0
        } else {
            self.limit / 2
        };
        self.gave_up += 1;
        if self.gave_up >= TRIAL_EVERY {
            self.gave_up = 0;
            self.limit = self.limit.max(LIMIT_TRIAL);
        }
        // More than any limit: marks that the lcore sleeps.
        self.empty = u32::MAX;
        Wait::Sleep
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of turns without work that poll before one sleeps.
    fn polls_before_sleep(strategy: &mut IdleStrategy) -> u32 {
        (0..10_000)
            .take_while(|_| strategy.next(false) == Wait::Poll)
            .count() as u32
    }

    #[test]
    fn busy_never_and_block_always_sleeps() {
        let mut busy = IdleStrategy::new(Idle::Busy);
        let mut block = IdleStrategy::new(Idle::Block);
        for turn in 0..10_000 {
            assert_eq!(busy.next(turn % 7 == 0), Wait::Poll);
            assert_eq!(block.next(turn % 7 == 0), Wait::Sleep);
        }
    }

    #[test]
    fn adaptive_polls_for_a_while_and_then_sleeps_until_there_is_work() {
        let mut strategy = IdleStrategy::new(Idle::Adaptive);
        assert_eq!(strategy.next(true), Wait::Poll);
        assert_eq!(polls_before_sleep(&mut strategy), LIMIT_TRIAL);
        // Woken by timers that lead to nothing: back to sleep, without polling.
        assert!((0..1000).all(|_| strategy.next(false) == Wait::Sleep));
        assert_eq!(strategy.next(true), Wait::Poll);
    }

    #[test]
    fn polling_in_vain_becomes_shorter_and_ends() {
        let mut strategy = IdleStrategy::new(Idle::Adaptive);
        let mut polls = Vec::new();
        for _ in 0..6 {
            if strategy.next(true) == Wait::Poll {
                polls.push(polls_before_sleep(&mut strategy));
            }
        }
        assert_eq!(polls, [32, 16, 8, 4]);
        // Lone messages: no poll at all for each, but for the trials.
        let polled: u32 = (0..10 * TRIAL_EVERY)
            .map(|_| match strategy.next(true) {
                Wait::Poll => polls_before_sleep(&mut strategy),
                Wait::Sleep => 0,
            })
            .sum();
        assert!(
            (10..=10 * 2 * LIMIT_TRIAL).contains(&polled),
            "{polled} polls"
        );
    }

    #[test]
    fn work_found_while_polling_makes_it_longer() {
        let mut strategy = IdleStrategy::new(Idle::Adaptive);
        for _ in 0..10 {
            assert_eq!(strategy.next(true), Wait::Poll);
            assert_eq!(strategy.next(false), Wait::Poll);
        }
        assert_eq!(strategy.next(true), Wait::Poll);
        assert_eq!(polls_before_sleep(&mut strategy), LIMIT_MAX);
    }

    #[test]
    fn a_trial_brings_polling_back_when_work_follows_work() {
        let mut strategy = IdleStrategy::new(Idle::Adaptive);
        while strategy.limit > 0 {
            strategy.next(true);
            polls_before_sleep(&mut strategy);
        }
        // Work in every other turn, as in ping-pong: at first it sleeps in between, at last it polls.
        let waits: Vec<_> = (0..8 * TRIAL_EVERY)
            .map(|turn| strategy.next(turn % 2 == 0))
            .collect();
        assert_eq!(waits[0], Wait::Sleep);
        assert!(
            waits[4 * TRIAL_EVERY as usize..]
                .iter()
                .all(|&wait| wait == Wait::Poll)
        );
    }

    #[test]
    fn names_parse_back() {
        for idle in [Idle::Busy, Idle::Adaptive, Idle::Block] {
            assert_eq!(idle.to_string().parse(), Ok(idle));
        }
        assert!("spin".parse::<Idle>().is_err());
    }
}
