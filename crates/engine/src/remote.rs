//! A handle on running lcores, for other threads.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use hioload_transport::{FlowInfo, Wanted};

use crate::commands::{Command, FlowsRequest, Pending};
use crate::config::{Config, ReconfigureError, Tunables};
use crate::counters::{CountersHandle, Totals};
use crate::mail::MailPoster;

/// Flows that an lcore describes in one turn.
pub const FLOWS_AT_ONCE: usize = 64;
/// Time that an lcore has to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// An lcore has not answered: there is no such lcore, it has ended, or it is busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoAnswer;

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the lcore does not answer")
    }
}
impl Error for NoAnswer {}

/// Commands running lcores from any thread. Cheap to clone.
pub struct Remote<E>(Arc<Inner<E>>);

struct Inner<E> {
    /// By lcore.
    posters: Box<[MailPoster<E>]>,
    /// By lcore.
    pending: Box<[Arc<Pending>]>,
    counters: CountersHandle,
    /// As at start.
    config: Arc<Config>,
    /// The latest tunables. Locked while the lcores receive new ones, so that all of them end with the same value.
    tunables: Mutex<Arc<Tunables>>,
}

impl<E> Clone for Remote<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E> fmt::Debug for Remote<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

impl<E: Send> Remote<E> {
    pub(crate) fn new(
        posters: Box<[MailPoster<E>]>,
        pending: Box<[Arc<Pending>]>,
        counters: CountersHandle,
        config: Arc<Config>,
    ) -> Self {
        let tunables = Mutex::new(Arc::new(config.tunables.clone()));
        Self(Arc::new(Inner {
            posters,
            pending,
            counters,
            config,
            tunables,
        }))
    }

    /// Opens no more WebSockets, closes every open one with 1001 within the configured window, and ends. An upgrade is then
    /// answered 503. A plain request is answered as before, so that a load balancer learns of the drain.
    pub fn drain(&self) {
        self.command_all(|| Command::Drain);
    }

    /// Ends at once.
    pub fn stop_now(&self) {
        self.command_all(|| Command::Stop);
    }

    fn command_all(&self, command: impl Fn() -> Command<E>) {
        for poster in &self.0.posters {
            // A mailbox is full for at most one turn. That of an lcore that has ended stays full, and needs no command.
            for _ in 0..1000 {
                if poster.post(command()).is_ok() {
                    break;
                }
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Gives every lcore new tunables. Each applies them before its next turn, which begins at once if it sleeps. A value that
    /// an lcore has not applied when the next one comes is skipped. None is lost: this needs no room in a mailbox.
    ///
    /// # Errors
    /// A value exceeds a size that was chosen at start. No lcore has changed then.
    pub fn reconfigure(&self, new: Tunables) -> Result<(), ReconfigureError> {
        let Inner {
            posters,
            pending,
            config,
            tunables,
            ..
        } = &*self.0;
        config.check(&new)?;
        let new = Arc::new(new);
        let mut current = tunables.lock().unwrap_or_else(PoisonError::into_inner);
        for (pending, poster) in pending.iter().zip(posters) {
            pending.set(Arc::clone(&new));
            // The command only wakes the lcore. One whose mailbox is full does not sleep.
            let _ = poster.post(Command::Wake);
        }
        *current = new;
        Ok(())
    }

    /// The latest tunables.
    pub fn tunables(&self) -> Arc<Tunables> {
        let current = self.0.tunables.lock();
        Arc::clone(&current.unwrap_or_else(PoisonError::into_inner))
    }

    /// The counters of all lcores.
    pub fn counters(&self) -> Totals {
        self.0.counters.totals()
    }

    /// The number of lcores.
    pub fn lcores(&self) -> usize {
        self.0.posters.len()
    }

    /// Flows of an lcore's transport that match `wanted`, from slot `from` on, and the slot to continue from; `None` after the
    /// last. One call costs the lcore at most [`FLOWS_AT_ONCE`] descriptions, or one with details, so that listing a million
    /// flows never holds up a turn.
    ///
    /// # Errors
    /// There is no such lcore, or it has ended, or it does not answer within 2 s.
    pub fn flows(
        &self,
        lcore: u16,
        from: u32,
        wanted: Wanted,
    ) -> Result<(Vec<FlowInfo>, Option<u32>), NoAnswer> {
        let poster = self.0.posters.get(usize::from(lcore)).ok_or(NoAnswer)?;
        let (answer, answered) = mpsc::sync_channel(1);
        let request = FlowsRequest {
            from,
            wanted,
            rows: Vec::with_capacity(FLOWS_AT_ONCE),
            answer,
        };
        poster
            .post(Command::Flows(Box::new(request)))
            .map_err(|_| NoAnswer)?;
        answered.recv_timeout(ANSWER_TIMEOUT).map_err(|_| NoAnswer)
    }

    /// Sends an event to the handler of an lcore ([`Handler::on_lcore_event`]).
    ///
    /// # Errors
    /// Returns the event if there is no such lcore or its mailbox is full, in number or in bytes. The latter is counted
    /// (`posts_refused`).
    ///
    /// [`Handler::on_lcore_event`]: crate::Handler::on_lcore_event
    pub fn post(&self, lcore: u16, event: E) -> Result<(), E> {
        let Some(poster) = self.0.posters.get(usize::from(lcore)) else {
            return Err(event);
        };
        poster
            .post_once(Command::Event { to: None, event })
            .map_err(|command| match command {
                Command::Event { event, .. } => event,
                _ => unreachable!("the command that was refused is the one that was posted"),
            })
    }
}
