//! What an lcore counts between two intervals.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

/// Times in nanoseconds, to three digits.
pub(crate) type Times = Histogram<u64>;

/// An empty one.
pub(crate) fn times() -> Box<Times> {
    Box::new(hioload_report::histogram())
}

/// What happened in an interval on one lcore.
#[derive(Debug, Clone)]
pub struct Interval {
    /// Messages sent.
    pub sent: u64,
    /// As [`Run::done`](hioload_report::Run::done).
    pub done: u64,
    /// Payload bytes received.
    pub bytes: u64,
    /// Connections opened.
    pub opened: u64,
    /// By name.
    pub errors: BTreeMap<String, u64>,
    /// From sent or due to answered.
    pub times: Box<Histogram<u64>>,
    /// From connect to the 101.
    pub handshakes: Box<Histogram<u64>>,
}

impl Interval {
    /// In which nothing has happened.
    pub fn empty() -> Self {
        Self {
            sent: 0,
            done: 0,
            bytes: 0,
            opened: 0,
            errors: BTreeMap::new(),
            times: times(),
            handshakes: times(),
        }
    }

    /// Makes it as new.
    pub(crate) fn clear(&mut self) {
        (self.sent, self.done, self.bytes, self.opened) = (0, 0, 0, 0);
        self.errors.clear();
        self.times.reset();
        self.handshakes.reset();
    }

    /// Adds another lcore's, or a later one.
    pub(crate) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.done += other.done;
        self.bytes += other.bytes;
        self.opened += other.opened;
        for (name, n) in &other.errors {
            *self.errors.entry(name.clone()).or_default() += n;
        }
        // All have the same bounds.
        let _ = self.times.add(&*other.times);
        let _ = self.handshakes.add(&*other.handshakes);
    }

    /// All errors.
    pub(crate) fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// Writes an [`Interval`]. Messages that were sent in one turn and answered in one turn took equally long: they are recorded
/// as one.
#[derive(Debug)]
pub(crate) struct Meter {
    interval: Box<Interval>,
    last: u64,
    times_last: u64,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self {
            interval: Box::new(Interval::empty()),
            last: 0,
            times_last: 0,
        }
    }

    #[inline]
    pub(crate) fn sent(&mut self) {
        self.interval.sent += 1;
    }

    #[inline]
    pub(crate) fn received(&mut self, bytes: usize) {
        self.interval.bytes += bytes as u64;
    }

    #[inline]
    pub(crate) fn done(&mut self) {
        self.interval.done += 1;
    }

    #[inline]
    pub(crate) fn time(&mut self, nanos: u64) {
        if nanos == self.last {
            self.times_last += 1;
        } else {
            self.settle();
            self.last = nanos;
            self.times_last = 1;
        }
    }

    #[inline]
    fn settle(&mut self) {
        if self.times_last > 0 {
            self.interval
                .times
                .saturating_record_n(self.last.max(1), self.times_last);
            self.times_last = 0;
        }
    }

    pub(crate) fn opened(&mut self, nanos: u64) {
        self.interval.opened += 1;
        self.interval.handshakes.saturating_record(nanos.max(1));
    }

    pub(crate) fn error(&mut self, name: &str) {
        match self.interval.errors.get_mut(name) {
            Some(n) => *n += 1,
            None => drop(self.interval.errors.insert(name.to_owned(), 1)),
        }
    }

    /// Ends the interval; `next` is the empty one that comes after.
    pub(crate) fn take(&mut self, next: Box<Interval>) -> Box<Interval> {
        self.settle();
        std::mem::replace(&mut self.interval, next)
    }
}
