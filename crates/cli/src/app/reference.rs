//! `hioload config reference`: the declared settings as a file or a page.

use crate::Failure;
use crate::config::reference;
use crate::config::values::ReferenceFormat;
use crate::streams;

/// Prints the reference.
///
/// # Errors
/// Code 1: standard output cannot be written.
pub(crate) fn print(format: ReferenceFormat) -> Result<(), Failure> {
    let text = match format {
        ReferenceFormat::Toml => reference::toml(),
        ReferenceFormat::Markdown => reference::markdown(),
    };
    streams::result(&text)
}
