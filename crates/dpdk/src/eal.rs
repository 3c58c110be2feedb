//! EAL, once per process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::{Error, arguments, log, raw};

/// DPDK's environment, running. Clones are handles to the same; when the last is gone (each port has one), EAL is cleaned up.
#[derive(Clone, Debug)]
pub struct Eal(Arc<Running>);

#[derive(Debug)]
struct Running {
    arguments: Vec<String>,
    heard: Option<String>,
}

#[derive(Debug)]
enum State {
    New,
    Started(Weak<Running>),
    Finished,
}

static STATE: Mutex<State> = Mutex::new(State::New);

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Eal {
    /// Starts EAL, or joins it if it runs with the same arguments. Unless they name cores, EAL gets one thread, the caller's,
    /// and pins nothing. Its log goes to `tracing`, target `dpdk`.
    ///
    /// # Errors
    /// What EAL complains about; or that it runs with other arguments or has run before, which DPDK does not allow.
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
        log::listen();
        let done = raw::eal_init(&all);
        let heard = log::heard();
        if let Err(code) = done {
            // It may have begun this and that: it is not tried again.
            *state = State::Finished;
            return Err(Error::Eal {
                arguments: arguments.join(" "),
                reason: heard.unwrap_or_else(|| raw::error_text(code)),
            });
        }
        tracing::info!(target: "dpdk", "{} runs, addresses are {}", version(), raw::iova_mode());
        let running = Arc::new(Running {
            arguments: arguments.to_vec(),
            heard,
        });
        *state = State::Started(Arc::downgrade(&running));
        Ok(Self(running))
    }

    /// What it was started with.
    #[must_use]
    pub fn arguments(&self) -> &[String] {
        &self.0.arguments
    }

    /// What it complained about when it started, and went on.
    pub(crate) fn heard(&self) -> Option<String> {
        self.0.heard.clone()
    }

    /// Whether its memory is huge pages.
    #[must_use]
    pub fn has_huge_pages(&self) -> bool {
        raw::has_huge_pages()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = state();
        *state = State::Finished;
        if crate::pool::any_lost() {
            tracing::warn!(target: "dpdk", "DPDK is not cleaned up: frames are still in use");
        } else if let Err(code) = raw::eal_cleanup() {
            tracing::warn!(target: "dpdk", "DPDK does not end cleanly: {}", raw::error_text(code));
        }
    }
}

/// DPDK's name and version, of the library that is loaded.
#[must_use]
pub fn version() -> String {
    raw::version()
}
