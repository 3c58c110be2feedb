//! DPDK's environment abstraction layer (EAL), which starts once in a process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::{Error, arguments, log, raw};

/// A handle to the running EAL. Each port has one. The drop of the last handle cleans EAL up.
#[derive(Clone, Debug)]
pub struct Eal(Arc<Running>);

#[derive(Debug)]
struct Running {
    arguments: Vec<String>,
    logged: Option<String>,
}

#[derive(Debug)]
enum State {
    New,
    Started(Weak<Running>),
    Finished,
}

static STATE: Mutex<State> = Mutex::new(State::New);

/// Whether EAL must not be cleaned up, because frames in its memory are still in use.
static CLEANUP_FORBIDDEN: AtomicBool = AtomicBool::new(false);

/// Keeps the memory of EAL mapped until the process ends.
pub(crate) fn forbid_cleanup() {
    CLEANUP_FORBIDDEN.store(true, Ordering::Release);
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Eal {
    /// Starts EAL, or returns another handle if it runs with the same arguments. Unless the arguments name cores, EAL has one
    /// thread, the caller's, and pins no thread. EAL's log goes to `tracing` with the target `dpdk`.
    ///
    /// # Errors
    /// [`Error::Eal`] with the error messages of EAL; [`Error::Running`] if it runs with other arguments; [`Error::Finished`] if it
    /// has ended, because DPDK starts only once in a process.
    pub fn init(arguments: &[String]) -> Result<Self, Error> {
        let mut state = state();
        match &*state {
            State::New => (),
            State::Finished => return Err(Error::Finished),
            State::Started(running) => {
                return match running.upgrade() {
                    Some(running) if running.arguments == arguments => Ok(Self(running)),
                    Some(_) => Err(Error::Running),
                    None => Err(Error::Finished),
                };
            }
        }
        let all = arguments::complete(arguments, &raw::cpus())?;
        log::start_capture();
        let started = raw::eal_init(&all);
        let logged = log::end_capture();
        if let Err(cause) = started {
            // EAL does not undo the steps that it has carried out, so it cannot be started again.
            *state = State::Finished;
            return Err(Error::Eal {
                arguments: arguments.join(" "),
                cause,
                log: logged,
            });
        }
        tracing::info!(
            target: "dpdk",
            "{} runs, devices use {} addresses",
            version(),
            raw::iova_mode()
        );
        let running = Arc::new(Running {
            arguments: arguments.to_vec(),
            logged,
        });
        *state = State::Started(Arc::downgrade(&running));
        Ok(Self(running))
    }

    /// The arguments with which EAL was started.
    #[must_use]
    pub fn arguments(&self) -> &[String] {
        &self.0.arguments
    }

    /// The error messages that EAL logged when it started.
    pub(crate) fn logged(&self) -> Option<String> {
        self.0.logged.clone()
    }

    /// Whether EAL's memory consists of huge pages.
    #[must_use]
    pub fn has_huge_pages(&self) -> bool {
        raw::has_huge_pages()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = state();
        *state = State::Finished;
        if CLEANUP_FORBIDDEN.load(Ordering::Acquire) {
            tracing::warn!(target: "dpdk", "DPDK is not cleaned up: frames are still in use");
        } else if let Err(errno) = raw::eal_cleanup() {
            tracing::warn!(target: "dpdk", "DPDK does not end cleanly: {errno}");
        }
    }
}

/// The name and the version of the loaded DPDK library.
#[must_use]
pub fn version() -> String {
    raw::version()
}
