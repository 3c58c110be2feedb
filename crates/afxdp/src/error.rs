//! Why a port cannot be opened, and what to do about it.

use std::error::Error;
use std::{fmt, io};

/// Who has to act.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Blame {
    /// Whoever wrote the options.
    Options,
    /// The machine's administrator: something is missing or in the way.
    Environment,
}

/// Why a port cannot be opened: what is wrong, and the command or the option that mends it, in one line.
#[derive(Debug)]
pub struct OpenError {
    blame: Blame,
    what: String,
    mend: String,
    source: Option<io::Error>,
}

impl OpenError {
    pub(crate) fn options(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(Blame::Options, what, mend)
    }

    pub(crate) fn environment(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(Blame::Environment, what, mend)
    }

    fn new(blame: Blame, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            blame,
            what: what.into(),
            mend: mend.into(),
            source: None,
        }
    }

    /// With the system's own words.
    pub(crate) fn because(mut self, source: io::Error) -> Self {
        self.source = Some(source);
        self
    }

    /// Who has to act.
    #[must_use]
    pub fn blame(&self) -> Blame {
        self.blame
    }

    /// What is wrong.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What mends it.
    #[must_use]
    pub fn mend(&self) -> &str {
        &self.mend
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(source) = &self.source {
            write!(f, " ({source})")?;
        }
        if !self.mend.is_empty() {
            write!(f, ": {}", self.mend)?;
        }
        Ok(())
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}
