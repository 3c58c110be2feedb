//! The output of a load: the summary, files, and the conditions.

use std::fs;
use std::path::Path;

use hioload_report::require::Unmet;
use hioload_report::{Report, file};

use crate::Failure;
use crate::cli::load::output::OutputArgs;
use crate::streams;

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

/// Writes the files and prints the summary. A file that cannot be written does not prevent the others.
///
/// # Errors
/// Code 1 if a file cannot be written.
pub(super) fn write_all(arguments: &OutputArgs, report: &Report) -> Result<(), Failure> {
    let occupied = [&arguments.json, &arguments.report];
    let occupied = occupied
        .into_iter()
        .flatten()
        .any(|path| path.as_os_str() == STDOUT);
    // The files first: a stream may fail, or have a reader that waits.
    let json = arguments
        .json
        .as_deref()
        .map(|path| (path, report.to_json()));
    let page = arguments
        .report
        .as_deref()
        .map(|path| (path, report.html()));
    let mut outputs: Vec<(&Path, String)> = json.into_iter().chain(page).collect();
    outputs.sort_by_key(|(path, _)| path.as_os_str() == STDOUT);
    let mut outcome = Ok(());
    for (path, text) in outputs {
        let written = write(path, &text);
        outcome = outcome.and(written);
    }
    let summary = report.summary();
    if occupied {
        streams::note(summary);
    } else {
        streams::say(&summary);
    }
    outcome
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
        streams::note(format_args!("hioload: {unmet}"));
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
        return streams::result(text);
    }
    file::write(path, text.as_bytes()).map_err(Failure::run)
}
