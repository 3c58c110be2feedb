//! Threads that make the steps of handshakes, so that lcores do not.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::{fmt, io, thread};

use crossbeam_channel::{Receiver, Sender, bounded};
use crossbeam_queue::ArrayQueue;
use hioload_transport::{ConnId, Waker};

use super::work::{StepError, Work};
use crate::handshake::Established;

/// Threads that make the steps of handshakes for the layers of several lcores: signatures, key exchanges, the verification of
/// certificates. Clones share them. See [`Tls::threads`](super::Tls::threads).
#[derive(Clone)]
pub struct HandshakeThreads {
    jobs: Sender<Job>,
    queue: usize,
}

impl fmt::Debug for HandshakeThreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandshakeThreads")
            .field("queue", &self.queue)
            .field("waiting", &self.jobs.len())
            .finish()
    }
}

impl HandshakeThreads {
    /// Starts the threads. `queue` is the number of steps that may wait for them, and that one layer may have given away. Beyond it
    /// connections wait in their layer (`tls_handshake_threads_busy`).
    ///
    /// The threads end when all clones of this and all layers have been dropped, after the steps that wait.
    ///
    /// # Errors
    /// The system starts no thread.
    pub fn start(threads: usize, queue: usize) -> io::Result<Self> {
        let (made, steps) = Self::by_hand(queue);
        for n in 0..threads.max(1) {
            let jobs = steps.jobs.clone();
            thread::Builder::new()
                .name(format!("handshake-{n}"))
                .spawn(move || jobs.iter().for_each(Job::run))?;
        }
        Ok(made)
    }

    /// No threads: the caller makes the steps, as in a test without real time.
    #[must_use]
    pub fn by_hand(queue: usize) -> (Self, HandshakeSteps) {
        let queue = queue.max(1);
        let (jobs, waiting) = bounded(queue);
        (Self { jobs, queue }, HandshakeSteps { jobs: waiting })
    }
}

/// The steps that wait for threads which do not exist.
pub struct HandshakeSteps {
    jobs: Receiver<Job>,
}

impl fmt::Debug for HandshakeSteps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandshakeSteps")
            .field("waiting", &self.waiting())
            .finish()
    }
}

impl HandshakeSteps {
    /// Makes the steps that wait. Returns their number.
    pub fn run(&self) -> usize {
        self.jobs.try_iter().map(Job::run).count()
    }

    /// Steps that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.jobs.len()
    }
}

/// A step to make.
struct Job {
    id: ConnId,
    work: Work,
    back: Arc<Back>,
}

impl Job {
    fn run(self) {
        let Self { id, mut work, back } = self;
        let mut out = Vec::new();
        let step = catch_unwind(AssertUnwindSafe(|| work.step(&mut out)));
        let result = step.unwrap_or_else(|_| {
            out.clear();
            Err(rustls::Error::General("a step of the handshake panicked".into()).into())
        });
        back.put(Made {
            id,
            work,
            out,
            result,
        });
    }
}

/// A step that was made.
pub(super) struct Made {
    pub(super) id: ConnId,
    pub(super) work: Work,
    /// Bytes to send.
    pub(super) out: Vec<u8>,
    pub(super) result: Result<Option<Box<Established>>, StepError>,
}

/// The way back to a layer.
struct Back {
    made: ArrayQueue<Made>,
    waker: Waker,
}

impl Back {
    fn put(&self, made: Made) {
        // There is a place for each step that a layer gives away. A wake-up costs a hundredth of a step.
        let _ = self.made.push(made);
        self.waker.wake();
    }
}

/// One layer's end of the threads.
pub(super) struct Offload {
    threads: HandshakeThreads,
    back: Arc<Back>,
    /// Steps that are with the threads, or on their way back.
    away: usize,
}

impl Offload {
    pub(super) fn new(threads: HandshakeThreads, waker: Waker) -> Self {
        let back = Arc::new(Back {
            made: ArrayQueue::new(threads.queue),
            waker,
        });
        Self {
            threads,
            back,
            away: 0,
        }
    }

    /// Gives a step to the threads.
    ///
    /// # Errors
    /// Their queue is full: the step is returned.
    #[allow(
        clippy::result_large_err,
        reason = "the step goes back to where it was moved from"
    )]
    pub(super) fn give(&mut self, id: ConnId, work: Work) -> Result<(), Work> {
        if self.away >= self.threads.queue {
            return Err(work);
        }
        let back = Arc::clone(&self.back);
        let job = Job { id, work, back };
        match self.threads.jobs.try_send(job) {
            Ok(()) => {
                self.away += 1;
                Ok(())
            }
            Err(refused) => Err(refused.into_inner().work),
        }
    }

    /// Takes a step that was made.
    pub(super) fn take(&mut self) -> Option<Made> {
        let made = self.back.made.pop()?;
        self.away -= 1;
        Some(made)
    }

    /// Whether no step has come back.
    pub(super) fn is_empty(&self) -> bool {
        self.back.made.is_empty()
    }
}
