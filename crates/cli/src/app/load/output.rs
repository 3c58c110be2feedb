//! The output of a load: the summary, files, and the conditions.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use hioload_report::require::Unmet;
use hioload_report::{Report, file};

use crate::Failure;
use crate::cli::load::output::OutputArgs;

/// The file name that means standard output.
const STDOUT: &str = "-";

/// Checks that the files can be written, before a run that may take minutes.
///
/// # Errors
/// Code 2 if a file cannot be written.
pub(super) fn check(arguments: &OutputArgs) -> Result<(), Failure> {
    for path in [&arguments.json, &arguments.report].into_iter().flatten() {
        if path.as_os_str() == STDOUT {
            continue;
        }
        let wrong = |why: &dyn std::fmt::Display| {
            Failure::usage(format!("cannot write {}: {why}", path.display()))
        };
        if path.is_dir() {
            return Err(wrong(&"it is a directory"));
        }
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        fs::metadata(folder).map_err(|why| wrong(&format_args!("{}: {why}", folder.display())))?;
    }
    Ok(())
}

/// Prints the summary and writes the files.
///
/// # Errors
/// Code 1 if a file cannot be written.
pub(super) fn write_all(arguments: &OutputArgs, report: &Report) -> Result<(), Failure> {
    let occupied = [&arguments.json, &arguments.report];
    let occupied = occupied
        .into_iter()
        .flatten()
        .any(|path| path.as_os_str() == STDOUT);
    let summary = report.summary();
    // A closed standard output is no error.
    let _ = if occupied {
        io::stderr().write_all(summary.as_bytes())
    } else {
        io::stdout().write_all(summary.as_bytes())
    };
    if let Some(path) = &arguments.json {
        write(path, &report.to_json())?;
    }
    if let Some(path) = &arguments.report {
        write(path, &report.html())?;
    }
    Ok(())
}

/// Checks the conditions. Each that does not hold is one line on standard error.
///
/// # Errors
/// Code 1: a condition does not hold.
pub(super) fn judge(arguments: &OutputArgs, report: &Report) -> Result<(), Failure> {
    let wanted = &arguments.require;
    let broken: Vec<Vec<Unmet>> = wanted
        .iter()
        .map(|condition| condition.judge(report))
        .collect();
    for unmet in broken.iter().flatten() {
        eprintln!("hioload: {unmet}");
    }
    let count = broken.iter().filter(|unmet| !unmet.is_empty()).count();
    if count == 0 {
        return Ok(());
    }
    Err(Failure::run(format!(
        "{count} of {} conditions not met",
        wanted.len()
    )))
}

/// Writes a text to a file, or to standard output for the name `-`.
///
/// # Errors
/// Code 1 if it cannot be written.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if path.as_os_str() == STDOUT {
        let written = io::stdout().write_all(text.as_bytes());
        return written
            .map_err(|why| Failure::run(why).in_context("cannot write to standard output"));
    }
    file::write(path, text.as_bytes()).map_err(Failure::run)
}
