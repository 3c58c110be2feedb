//! Lines that a thread writes to a stream.

use std::io;
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

/// Bytes that may wait. Further records are lost.
const MOST_BYTES: usize = 4 << 20;
/// A larger buffer is not kept.
const KEPT_BYTES: usize = 64 << 10;

/// A bounded queue of records, and the thread that writes them, which starts with the first.
pub(super) struct Queue {
    /// Of the thread.
    name: &'static str,
    write: fn(&[u8]) -> io::Result<()>,
    state: Mutex<State>,
    /// There are records to write.
    news: Condvar,
    /// All records are written.
    idle: Condvar,
}

struct State {
    bytes: Vec<u8>,
    /// Records in `bytes`.
    records: u64,
    /// The thread has taken records and writes them.
    writing: bool,
    started: bool,
    /// Records lost, and how many of them have been reported.
    lost: u64,
    reported: u64,
}

impl Queue {
    pub(super) const fn new(name: &'static str, write: fn(&[u8]) -> io::Result<()>) -> Self {
        Self {
            name,
            write,
            state: Mutex::new(State {
                bytes: Vec::new(),
                records: 0,
                writing: false,
                started: false,
                lost: 0,
                reported: 0,
            }),
            news: Condvar::new(),
            idle: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a record, or counts it as lost if there is no room. The lock is held for a copy at most.
    pub(super) fn push(&'static self, record: &[u8]) {
        let mut state = self.state();
        if state.bytes.len() + record.len() > MOST_BYTES || !state.start(self) {
            state.lost += 1;
            return;
        }
        state.bytes.extend_from_slice(record);
        state.records += 1;
        drop(state);
        self.news.notify_one();
    }

    /// Records lost so far.
    pub(super) fn lost(&self) -> u64 {
        self.state().lost
    }

    /// Waits until all records are written or lost, until a time.
    pub(super) fn flush(&self, until: Instant) {
        let mut state = self.state();
        while state.writing || !state.bytes.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.idle.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn run(&self) {
        let mut taken = Vec::new();
        loop {
            let mut state = self.state();
            while state.bytes.is_empty() {
                state.writing = false;
                self.idle.notify_all();
                state = self
                    .news
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            mem::swap(&mut state.bytes, &mut taken);
            let records = mem::take(&mut state.records);
            state.writing = true;
            drop(state);
            self.write_and_report(&taken, records);
            taken.clear();
            taken.shrink_to(KEPT_BYTES);
        }
    }

    fn write_and_report(&self, taken: &[u8], records: u64) {
        let written = (self.write)(taken);
        let mut state = self.state();
        if written.is_err() {
            state.lost += records;
            return;
        }
        let news = state.lost - state.reported;
        state.reported = state.lost;
        drop(state);
        if news > 0 {
            // It comes back here as a record of its own.
            tracing::warn!(
                stream = self.name,
                "{news} lines could not be written and are lost"
            );
        }
    }
}

impl State {
    /// Starts the thread, if it is not running; false if it cannot be started.
    fn start(&mut self, queue: &'static Queue) -> bool {
        if !self.started {
            let thread = thread::Builder::new().name(queue.name.to_owned());
            self.started = thread.spawn(|| queue.run()).is_ok();
        }
        self.started
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn records_are_written_in_order() {
        static WRITTEN: Mutex<Vec<u8>> = Mutex::new(Vec::new());
        static QUEUE: Queue = Queue::new("test", |bytes| {
            WRITTEN.lock().expect("no panic").extend(bytes);
            Ok(())
        });
        QUEUE.flush(soon());
        for record in ["a\n", "b\n", "c\n"] {
            QUEUE.push(record.as_bytes());
        }
        QUEUE.flush(soon());
        assert_eq!(*WRITTEN.lock().expect("no panic"), b"a\nb\nc\n");
        assert_eq!(QUEUE.lost(), 0);
    }

    #[test]
    fn a_stream_that_fails_costs_its_records() {
        static QUEUE: Queue = Queue::new("test", |_| Err(io::ErrorKind::BrokenPipe.into()));
        QUEUE.push(b"a\n");
        QUEUE.push(b"b\n");
        QUEUE.flush(soon());
        assert_eq!(QUEUE.lost(), 2);
    }

    #[test]
    fn a_stream_that_stalls_costs_the_records_beyond_the_bound_and_no_time() {
        type Gate = Mutex<Option<(SyncSender<()>, Receiver<()>)>>;
        static GATE: Gate = Mutex::new(None);
        static QUEUE: Queue = Queue::new("test", |_| {
            if let Some((entered, open)) = GATE.lock().expect("no panic").take() {
                entered.send(()).expect("the test waits");
                open.recv().expect("the test opens it");
            }
            Ok(())
        });
        let (entered, is_entered) = sync_channel(1);
        let (open, is_open) = sync_channel(1);
        *GATE.lock().expect("no panic") = Some((entered, is_open));
        QUEUE.push(b"first\n");
        is_entered.recv().expect("the thread writes");
        let record = vec![b'x'; MOST_BYTES / 4];
        for _ in 0..6 {
            QUEUE.push(&record);
        }
        assert_eq!(QUEUE.lost(), 2);
        // The writer is in its call: a flush ends at its time.
        QUEUE.flush(Instant::now());
        open.send(()).expect("the thread waits");
        QUEUE.flush(soon());
        assert_eq!(QUEUE.lost(), 2);
    }
}
