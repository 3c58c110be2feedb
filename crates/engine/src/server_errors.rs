//! Why a server does not start, and why it ends early.

use std::error::Error;
use std::fmt;
use std::io;

use hioload_transport::sockets::Listen;

use crate::config::MAX_LCORES;

/// Why a server could not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// Listening on an endpoint failed: it is in use, not of this machine, or not permitted.
    Listen(Listen, io::Error),
    /// No such CPU, or this process may not use it.
    Cpu(usize),
    /// No lcore was asked for, or too many.
    LcoreCount(usize),
    /// A transport could not be set up. The cause names the missing part.
    Transport(Box<dyn Error + Send + Sync>),
    /// The operating system refused something else.
    System(&'static str, io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(endpoint, e) => write!(f, "cannot listen on {endpoint}: {e}"),
            Self::Cpu(cpu) => write!(
                f,
                "CPU {cpu} does not exist or is not allowed to this process"
            ),
            Self::LcoreCount(n) => write!(
                f,
                "{n} lcores: the number must be between 1 and {MAX_LCORES}"
            ),
            Self::Transport(cause) => cause.fmt(f),
            Self::System(what, e) => write!(f, "cannot {what}: {e}"),
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Listen(_, e) | Self::System(_, e) => Some(e),
            Self::Transport(e) => Some(&**e),
            Self::Cpu(_) | Self::LcoreCount(_) => None,
        }
    }
}

impl StartError {
    /// A transport could not be set up, with this cause.
    pub fn transport(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Transport(cause.into())
    }
}

/// Why a running server ended other than by a drain or a stop.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// An lcore's poller failed.
    Io(u16, io::Error),
    /// An lcore panicked outside of a handler: a defect of the engine.
    Panic(u16),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(lcore, e) => write!(f, "lcore {lcore} failed: {e}"),
            Self::Panic(lcore) => write!(f, "lcore {lcore} panicked"),
        }
    }
}

impl Error for RunError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(_, e) => Some(e),
            Self::Panic(_) => None,
        }
    }
}
