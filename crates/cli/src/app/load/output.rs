//! What is left of a load: the summary, files, and whether it was as required.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use hioload_report::require::Unmet;
use hioload_report::{Report, file};

use crate::Failure;
use crate::cli::load::output::OutputArgs;

/// Standard output, as a file is called that is to be written there.
const STDOUT: &str = "-";

/// Looks before a run that may take minutes whether its files can be written.
///
/// # Errors
/// Code 2: one cannot.
pub(super) fn check(arguments: &OutputArgs) -> Result<(), Failure> {
    for path in [&arguments.json, &arguments.report].into_iter().flatten() {
        if path.as_os_str() == STDOUT {
            continue;
        }
        let wrong = |why: &dyn std::fmt::Display| {
            Failure::usage(format!("cannot write {}: {why}", path.display()))
        };
        if path.is_dir() {
            return Err(wrong(&"it is a folder"));
        }
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        fs::metadata(folder).map_err(|why| wrong(&format_args!("{}: {why}", folder.display())))?;
    }
    Ok(())
}

/// Shows the summary and writes what is to be written.
///
/// # Errors
/// Code 1: a file cannot be written.
pub(super) fn tell(arguments: &OutputArgs, report: &Report) -> Result<(), Failure> {
    let occupied = [&arguments.json, &arguments.report];
    let occupied = occupied
        .into_iter()
        .flatten()
        .any(|path| path.as_os_str() == STDOUT);
    let summary = report.summary();
    // A closed standard output is not worth an error.
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

/// Whether all conditions hold; those that do not are told, each in a line on standard error.
///
/// # Errors
/// Code 1: not all do.
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

/// Writes a text to a file, or to standard output if it is called `-`.
///
/// # Errors
/// Code 1: it cannot be written.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    if path.as_os_str() == STDOUT {
        let written = io::stdout().write_all(text.as_bytes());
        return written
            .map_err(|why| Failure::run(format!("cannot write to standard output: {why}")));
    }
    file::write(path, text.as_bytes()).map_err(Failure::run)
}
