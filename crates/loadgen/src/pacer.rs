//! The open loop: the time at which the next message of each connection is due.
//!
//! Each connection has a schedule of its own, so that a stalled connection does not delay the others. A message that is due during a
//! stall is sent later, and its latency counts from the time at which it was due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::job::Arrival;

/// The schedules of an lcore's connections.
#[derive(Debug)]
pub(crate) struct Pacer {
    /// Nanoseconds between two messages of a connection, on average.
    gap: f64,
    arrival: Arrival,
    rng: SmallRng,
    /// Due time and connection, the earliest first. A connection that cannot send is not in it.
    queue: BinaryHeap<Reverse<(u64, u32)>>,
}

impl Pacer {
    /// Schedules for `connections` that send `rate` messages per second together.
    pub(crate) fn new(rate: f64, connections: usize, arrival: Arrival, seed: u64) -> Self {
        Self {
            gap: connections as f64 * 1e9 / rate,
            arrival,
            rng: SmallRng::seed_from_u64(seed),
            queue: BinaryHeap::with_capacity(connections),
        }
    }

    /// Due time of the first message of connection `n` of `of`, if the load begins at `start`.
    pub(crate) fn first(&mut self, start: u64, n: usize, of: usize) -> u64 {
        match self.arrival {
            Arrival::Even => start + (self.gap * n as f64 / of.max(1) as f64) as u64,
            Arrival::Poisson => self.next(start),
        }
    }

    /// Due time of the message after the one that was due at `due`.
    #[inline]
    pub(crate) fn next(&mut self, due: u64) -> u64 {
        let gap = match self.arrival {
            Arrival::Even => self.gap,
            Arrival::Poisson => {
                let u: f64 = self.rng.random();
                -(1.0 - u).ln() * self.gap
            }
        };
        due.saturating_add(gap.max(1.0) as u64)
    }

    /// Schedules a message of a connection.
    #[inline]
    pub(crate) fn put(&mut self, due: u64, connection: usize) {
        self.queue.push(Reverse((due, connection as u32)));
    }

    /// Takes the next message that is due by `now`.
    #[inline]
    pub(crate) fn take(&mut self, now: u64) -> Option<(u64, usize)> {
        let Reverse((due, connection)) = *self.queue.peek()?;
        if due > now {
            return None;
        }
        self.queue.pop();
        Some((due, connection as usize))
    }

    pub(crate) fn clear(&mut self) {
        self.queue.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// The messages due in ten seconds at 1000 a second on 10 connections.
    fn played(arrival: Arrival) -> Vec<(u64, usize)> {
        let mut pacer = Pacer::new(1000.0, 10, arrival, 7);
        for n in 0..10 {
            let first = pacer.first(5, n, 10);
            pacer.put(first, n);
        }
        let mut all = Vec::new();
        while let Some((due, n)) = pacer.take(5 + 10 * SECOND) {
            all.push((due, n));
            let next = pacer.next(due);
            pacer.put(next, n);
        }
        all
    }

    #[test]
    fn an_even_load_has_equal_gaps() {
        let all = played(Arrival::Even);
        assert!((10_000..=10_001).contains(&all.len()), "{}", all.len());
        assert!(
            all.windows(2)
                .all(|two| two[1].0 - two[0].0 == SECOND / 1000)
        );
        assert!(all.windows(10).all(|ten| ten[0].1 != ten[9].1));
    }

    #[test]
    fn a_poisson_load_has_its_rate_and_exponential_gaps() {
        let all = played(Arrival::Poisson);
        // Ten standard deviations of the count are 1000.
        assert!((9_000..=11_000).contains(&all.len()), "{}", all.len());
        let gaps: Vec<f64> = all
            .windows(2)
            .map(|two| (two[1].0 - two[0].0) as f64)
            .collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // The standard deviation of an exponential distribution is its mean.
        assert!((0.9..1.1).contains(&(variance.sqrt() / mean)));
    }
}
