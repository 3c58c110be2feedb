//! The error of opening a port.

use std::error::Error;
use std::fmt;

use hioload_device::Party;

/// The reason that a port cannot be opened. Its text is one line: what failed, the causes, and the command or the option that
/// fixes it.
#[derive(Debug)]
pub struct OpenError {
    party: Party,
    what: String,
    hint: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl OpenError {
    /// An error of the options.
    pub(crate) fn caller(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Party::Caller, what, hint)
    }

    /// Something that the machine lacks, or that is occupied.
    pub(crate) fn environment(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Party::Environment, what, hint)
    }

    fn new(party: Party, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            party,
            what: what.into(),
            hint: hint.into(),
            source: None,
        }
    }

    /// Adds the cause.
    pub(crate) fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The party that has to act.
    #[must_use]
    pub fn party(&self) -> Party {
        self.party
    }

    /// What failed, with the value that caused it.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The command or the option that fixes it, if there is one.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        Some(&*self.hint).filter(|hint| !hint.is_empty())
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        let mut previous = self.what.clone();
        let mut cause = self.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Some libraries repeat a cause at the end of the text of the error that holds it.
            if !previous.ends_with(&text) {
                write!(f, ": {text}")?;
            }
            previous = text;
            cause = error.source();
        }
        match self.hint() {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn the_text_has_the_causes_once_and_then_the_hint() {
        let bare = OpenError::caller("a ring of 3 slots", "");
        assert_eq!(
            (bare.to_string(), bare.hint()),
            ("a ring of 3 slots".into(), None)
        );
        assert!(bare.source().is_none());
        let cause = io::Error::other(io::Error::from_raw_os_error(libc::EBUSY));
        let error = OpenError::environment("cannot bind", "end the other process").because(cause);
        let busy = io::Error::from_raw_os_error(libc::EBUSY);
        assert_eq!(
            error.to_string(),
            format!("cannot bind: {busy}; end the other process")
        );
        let source = error.source().expect("a cause");
        assert!(source.is::<io::Error>());
    }
}
