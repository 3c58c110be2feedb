//! Why a configuration of TLS cannot be made.

use std::fmt;
use std::path::{Path, PathBuf};

/// The file at fault, if it is one, and the reason in one line. It never contains bytes of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    path: Option<PathBuf>,
    why: String,
}

impl Error {
    /// A reason that concerns no file.
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self {
            path: None,
            why: why.into(),
        }
    }

    /// A reason that concerns the file at `path`.
    pub(crate) fn of(path: &Path, why: impl Into<String>) -> Self {
        Self {
            path: Some(path.to_owned()),
            why: why.into(),
        }
    }

    /// The file at fault.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{}: {}", path.display(), self.why),
            None => f.write_str(&self.why),
        }
    }
}

impl std::error::Error for Error {}
