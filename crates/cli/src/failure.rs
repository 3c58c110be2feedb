//! Why the command ends with an exit code other than 0.

use std::error::Error;
use std::fmt;

/// What went wrong, shown as one line on standard error, with the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    context: Option<String>,
    cause: Box<dyn Error + Send + Sync>,
}

impl Failure {
    /// Exit code 2: the request in the arguments cannot be carried out.
    pub(crate) fn usage(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            code: 2,
            context: None,
            cause: cause.into(),
        }
    }

    /// Exit code 1: something failed after the start.
    pub(crate) fn run(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            code: 1,
            ..Self::usage(cause)
        }
    }

    /// The same failure, with its context: `CONTEXT: CAUSE`.
    pub(crate) fn in_context(self, context: impl Into<String>) -> Self {
        Self {
            context: Some(context.into()),
            ..self
        }
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.context {
            Some(context) => write!(f, "{context}: {}", self.cause),
            None => self.cause.fmt(f),
        }
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.context {
            Some(_) => Some(&*self.cause),
            None => self.cause.source(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_failure_keeps_its_cause() {
        let failure = Failure::run(io::Error::other("broken")).in_context("cannot write");
        assert_eq!(failure.to_string(), "cannot write: broken");
        assert_eq!(failure.code(), 1);
        let source = failure.source().expect("the cause");
        assert!(source.is::<io::Error>());
        assert_eq!(Failure::usage("no such thing").code(), 2);
    }
}
