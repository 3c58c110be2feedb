//! The error of a plan or of options.

use std::fmt;

/// The reason why a plan or options are invalid, in one line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlanError(String);

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PlanError {}

pub(crate) fn plan_error<T>(text: impl Into<String>) -> Result<T, PlanError> {
    Err(PlanError(text.into()))
}
