//! Threads for slow work, so that handlers need not block their lcore.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::handler::Busy;

/// A job. It returns the function that delivers its result.
pub(crate) type Job = Box<dyn FnOnce() -> Delivery + Send>;

/// Posts the result of a job. `false`: the mailbox is full, call it again later.
pub(crate) type Delivery = Box<dyn FnMut() -> bool + Send>;

/// A bounded queue of jobs. Dropping the last clone ends the threads once the queue is empty.
#[derive(Clone)]
pub(crate) struct Executor {
    jobs: Option<Sender<Job>>,
}

/// The threads behind an [`Executor`].
pub(crate) struct Workers(Vec<JoinHandle<()>>);

/// The jobs of a [`Group`](crate::Group) of lcores. They run when the caller calls [`run`](Self::run).
pub struct Jobs {
    queue: Option<Receiver<Job>>,
    /// Results that found a full mailbox, in the order of their jobs.
    undelivered: VecDeque<Delivery>,
}

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jobs")
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}

impl Jobs {
    /// Runs every job that waits, in order, on this thread. Each result is in the mailbox of its lcore afterwards, or, if that
    /// is full, is offered again by the next call. Returns the number of jobs that ran.
    pub fn run(&mut self) -> usize {
        let mut ran = 0;
        while let Some(job) = self.queue.as_ref().and_then(|queue| queue.try_recv().ok()) {
            self.undelivered.push_back(job());
            ran += 1;
        }
        self.undelivered.retain_mut(|deliver| !deliver());
        ran
    }

    /// The number of jobs that have not run.
    pub fn waiting(&self) -> usize {
        self.queue.as_ref().map_or(0, Receiver::len)
    }
}

impl Executor {
    /// An executor that refuses every job.
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

    /// An executor without threads. `threads` of 0 refuses every job.
    pub(crate) fn by_hand(threads: usize, queue: usize) -> (Self, Jobs) {
        let undelivered = VecDeque::new();
        if threads == 0 {
            return (
                Self::none(),
                Jobs {
                    queue: None,
                    undelivered,
                },
            );
        }
        let (jobs, queue) = bounded::<Job>(queue.max(1));
        (
            Self { jobs: Some(jobs) },
            Jobs {
                queue: Some(queue),
                undelivered,
            },
        )
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
        // The job reports its own panic. This keeps the thread alive if the report panics too.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let mut deliver = job();
            while !deliver() {
                thread::sleep(Duration::from_millis(1));
            }
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn job(work: impl FnOnce() + Send + 'static) -> Job {
        Box::new(move || {
            work();
            Box::new(|| true)
        })
    }

    #[test]
    fn jobs_run_their_panics_are_survived_and_the_threads_end() {
        let (executor, workers) = Executor::start(2, 8).unwrap();
        let (tx, rx) = mpsc::channel();
        let first = tx.clone();
        executor
            .submit(job(move || first.send(1).unwrap()))
            .unwrap();
        executor
            .submit(job(|| std::panic::resume_unwind(Box::new("job"))))
            .unwrap();
        executor.submit(job(move || tx.send(2).unwrap())).unwrap();
        drop(executor);
        workers.join();
        let mut seen: Vec<i32> = rx.iter().collect();
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
    }

    #[test]
    fn a_full_queue_and_an_executor_without_threads_are_busy() {
        let (none, _) = Executor::start(0, 8).unwrap();
        assert_eq!(none.submit(job(|| {})), Err(Busy));

        let (executor, workers) = Executor::start(1, 1).unwrap();
        let (hold, held) = mpsc::channel::<()>();
        let (started, running) = mpsc::channel();
        executor
            .submit(job(move || {
                started.send(()).unwrap();
                let _ = held.recv();
            }))
            .unwrap();
        running.recv().unwrap();
        executor.submit(job(|| {})).unwrap();
        assert_eq!(executor.submit(job(|| {})), Err(Busy));
        drop(hold);
        drop(executor);
        workers.join();
    }

    #[test]
    fn a_result_waits_for_room_behind_those_before_it() {
        let (executor, mut jobs) = Executor::by_hand(1, 8);
        let (tx, rx) = mpsc::sync_channel(1);
        for n in 0..3 {
            let tx = tx.clone();
            executor
                .submit(Box::new(move || Box::new(move || tx.try_send(n).is_ok())))
                .unwrap();
        }
        assert_eq!(jobs.waiting(), 3);
        assert_eq!(jobs.run(), 3);
        for n in 0..3 {
            assert_eq!(rx.try_recv(), Ok(n));
            assert_eq!(jobs.run(), 0);
        }
        assert!(rx.try_recv().is_err(), "each result is delivered once");
    }
}
