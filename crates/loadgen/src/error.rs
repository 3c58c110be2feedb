//! Errors of the driver.

use std::fmt;

use hioload_engine::{RunError, StartError};

/// The reason why a repeat could not be run, or did not end properly.
#[derive(Debug)]
#[non_exhaustive]
pub enum RepeatError {
    /// The lcores of the generator could not be started.
    Start(StartError),
    /// An lcore of the generator failed.
    Lcore(RunError),
}

impl fmt::Display for RepeatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) => error.fmt(f),
            Self::Lcore(error) => write!(f, "the generator: {error}"),
        }
    }
}

impl std::error::Error for RepeatError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Start(error) => Some(error),
            Self::Lcore(error) => Some(error),
        }
    }
}

/// A command-line value that is not one of the known names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownName {
    pub(crate) given: String,
    pub(crate) known: &'static [&'static str],
}

impl UnknownName {
    /// The names that are known.
    pub fn known(&self) -> &'static [&'static str] {
        self.known
    }
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is none of {}", self.given, self.known.join(", "))
    }
}

impl std::error::Error for UnknownName {}
