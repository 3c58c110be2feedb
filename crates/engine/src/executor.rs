//! Threads for slow work, so that handlers need not block their lcore.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::handler::Busy;

/// Work, with the posting of its result inside.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// A bounded queue of jobs. Dropping the last clone ends the threads once the queue is empty.
#[derive(Clone)]
pub(crate) struct Executor {
    jobs: Option<Sender<Job>>,
}

/// The threads behind an [`Executor`].
pub(crate) struct Workers(Vec<JoinHandle<()>>);

impl Executor {
    /// One that refuses every job.
    pub(crate) fn none() -> Self {
        Self { jobs: None }
    }

    /// `threads` of 0 refuses every job.
    pub(crate) fn start(threads: usize, queue: usize) -> std::io::Result<(Self, Workers)> {
        if threads == 0 {
            return Ok((Self::none(), Workers(Vec::new())));
        }
        let (jobs, queue) = bounded::<Job>(queue.max(1));
        let queue = Arc::new(queue);
        let workers = (0..threads)
            .map(|n| {
                let queue = Arc::clone(&queue);
                thread::Builder::new()
                    .name(format!("executor-{n}"))
                    .spawn(move || work(&queue))
            })
            .collect::<std::io::Result<_>>()?;
        Ok((Self { jobs: Some(jobs) }, Workers(workers)))
    }

    pub(crate) fn submit(&self, job: Job) -> Result<(), Busy> {
        match self.jobs.as_ref().map(|jobs| jobs.try_send(job)) {
            Some(Ok(())) => Ok(()),
            None | Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) => Err(Busy),
        }
    }
}

impl Workers {
    /// Waits for the jobs in the queue. Every [`Executor`] must have been dropped.
    pub(crate) fn join(self) {
        for worker in self.0 {
            // A worker cannot panic: its jobs are caught.
            let _ = worker.join();
        }
    }
}

fn work(queue: &Receiver<Job>) {
    while let Ok(job) = queue.recv() {
        // The job posts its own panic; this keeps the thread alive should even that unwind.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn runs_jobs_survives_their_panics_and_ends() {
        let (executor, workers) = Executor::start(2, 8).unwrap();
        let (tx, rx) = mpsc::channel();
        let first = tx.clone();
        executor
            .submit(Box::new(move || first.send(1).unwrap()))
            .unwrap();
        executor
            .submit(Box::new(|| std::panic::resume_unwind(Box::new("job"))))
            .unwrap();
        executor
            .submit(Box::new(move || tx.send(2).unwrap()))
            .unwrap();
        drop(executor);
        workers.join();
        let mut seen: Vec<i32> = rx.iter().collect();
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
    }

    #[test]
    fn a_full_queue_and_no_threads_are_busy() {
        let (none, _) = Executor::start(0, 8).unwrap();
        assert_eq!(none.submit(Box::new(|| {})), Err(Busy));

        let (executor, workers) = Executor::start(1, 1).unwrap();
        let (hold, held) = mpsc::channel::<()>();
        let (started, running) = mpsc::channel();
        executor
            .submit(Box::new(move || {
                started.send(()).unwrap();
                let _ = held.recv();
            }))
            .unwrap();
        running.recv().unwrap();
        executor.submit(Box::new(|| {})).unwrap();
        assert_eq!(executor.submit(Box::new(|| {})), Err(Busy));
        drop(hold);
        drop(executor);
        workers.join();
    }
}
