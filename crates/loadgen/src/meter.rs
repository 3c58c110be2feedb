//! The counters of an lcore in one interval.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

/// Times in nanoseconds, with three significant digits.
pub(crate) type Times = Histogram<u64>;

/// An empty histogram.
pub(crate) fn times() -> Box<Times> {
    Box::new(hioload_report::histogram())
}

/// The counters of one lcore, or of several together, in one interval.
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
    /// Errors by name.
    pub errors: BTreeMap<String, u64>,
    /// Times from sent or due to answered.
    pub times: Box<Histogram<u64>>,
    /// Times from connect to the 101 response.
    pub handshakes: Box<Histogram<u64>>,
    /// Those of connections that resumed a session of TLS; they are in `handshakes` as well. `None` if there are none.
    pub resumed: Option<Box<Histogram<u64>>>,
    /// Those of connections that made a full handshake of TLS.
    pub full: Option<Box<Histogram<u64>>>,
}

impl Interval {
    /// An interval without any event.
    pub fn empty() -> Self {
        Self {
            sent: 0,
            done: 0,
            bytes: 0,
            opened: 0,
            errors: BTreeMap::new(),
            times: times(),
            handshakes: times(),
            resumed: None,
            full: None,
        }
    }

    /// Resets all counters.
    pub(crate) fn clear(&mut self) {
        (self.sent, self.done, self.bytes, self.opened) = (0, 0, 0, 0);
        self.errors.clear();
        self.times.reset();
        self.handshakes.reset();
        for times in [&mut self.resumed, &mut self.full].into_iter().flatten() {
            times.reset();
        }
    }

    /// Adds the interval of another lcore, or a later one.
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
        let of_tls = [
            (&mut self.resumed, &other.resumed),
            (&mut self.full, &other.full),
        ];
        for (sum, other) in of_tls {
            if let Some(other) = other {
                let _ = sum.get_or_insert_with(times).add(&**other);
            }
        }
    }

    /// The number of all errors.
    pub(crate) fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// Counts into an [`Interval`]. Messages that were sent in the same turn and answered in the same turn have the same latency, so a
/// run of equal latencies is recorded at once.
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

    /// A connection was opened. `resumed`: whether its session of TLS was resumed, if it has one.
    pub(crate) fn opened(&mut self, nanos: u64, resumed: Option<bool>) {
        let nanos = nanos.max(1);
        self.interval.opened += 1;
        self.interval.handshakes.saturating_record(nanos);
        let of_tls = match resumed {
            Some(true) => &mut self.interval.resumed,
            Some(false) => &mut self.interval.full,
            None => return,
        };
        of_tls.get_or_insert_with(times).saturating_record(nanos);
    }

    pub(crate) fn error(&mut self, name: &str) {
        match self.interval.errors.get_mut(name) {
            Some(n) => *n += 1,
            None => drop(self.interval.errors.insert(name.to_owned(), 1)),
        }
    }

    /// Ends the interval and begins `next`, which is empty.
    pub(crate) fn take(&mut self, next: Box<Interval>) -> Box<Interval> {
        self.settle();
        std::mem::replace(&mut self.interval, next)
    }
}
