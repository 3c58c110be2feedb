//! Closed loops with many open connections of which few have a message in flight: all take turns, or some stay silent.

use hioload_engine::LcoreContext;

use super::BEGIN;
use crate::generator::Generator;

/// Whether connection `n` of `all` is one of the `silent` ones. The others are spread evenly among them, because a server stores its
/// connections in the order in which they were opened.
pub(crate) fn is_silent(n: usize, all: usize, silent: usize) -> bool {
    let talk = all.saturating_sub(silent);
    n * talk / all.max(1) == (n + 1) * talk / all.max(1)
}

impl Generator {
    /// Queues all connections that send.
    pub(crate) fn queue_up(&mut self) {
        if self.active > 0 {
            let (all, silent) = (self.conns.len(), self.silent);
            self.turns = (0..all).filter(|&n| !is_silent(n, all, silent)).collect();
        }
    }

    /// Sends the first messages, some in each turn of the lcore.
    pub(crate) fn first_turns(&mut self, cx: &mut impl LcoreContext<Event = ()>) -> bool {
        let end = (self.cursor + BEGIN).min(self.active);
        let any = self.cursor < end;
        for _ in self.cursor..end {
            self.next_turn(cx);
        }
        self.cursor = end;
        any
    }

    /// The connection that has waited longest sends a message.
    pub(crate) fn next_turn(&mut self, cx: &mut impl LcoreContext<Event = ()>) {
        if let Some(n) = self.turns.pop_front() {
            self.fill(n, cx);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connections_that_send_are_spread_evenly() {
        for (all, silent) in [(1, 0), (7, 3), (15_000, 14_900), (15_000, 0), (4, 4)] {
            let talk: Vec<usize> = (0..all).filter(|&n| !is_silent(n, all, silent)).collect();
            assert_eq!(talk.len(), all - silent);
            let gaps = talk.windows(2).map(|pair| pair[1] - pair[0]);
            let (least, most) = gaps.fold((all, 0), |(a, b), gap| (a.min(gap), b.max(gap)));
            assert!(most <= least + 1 || talk.len() < 2, "{least} to {most}");
        }
    }
}
