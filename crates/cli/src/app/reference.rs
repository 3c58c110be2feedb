//! `hioload config reference`: the declared settings as a file or a page.

use std::io::{self, Write};

use crate::Failure;
use crate::config::reference;
use crate::config::values::ReferenceFormat;

/// Prints the reference.
///
/// # Errors
/// Code 1: standard output cannot be written.
pub(crate) fn print(format: ReferenceFormat) -> Result<(), Failure> {
    let text = match format {
        ReferenceFormat::Toml => reference::toml(),
        ReferenceFormat::Markdown => reference::markdown(),
    };
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(|why| Failure::run(why).in_context("cannot write the reference"))
}
