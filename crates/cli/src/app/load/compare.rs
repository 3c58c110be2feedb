//! `hioload load compare`, `plot` and `page`: work on existing reports.

use std::path::Path;

use hioload_report::compare::Comparison;
use hioload_report::{Report, plots};

use super::output;
use crate::Failure;
use crate::cli::load::output::{CompareArgs, LoadCommand, PlotArgs, PlotChoice};
use crate::streams;

/// Runs the subcommand.
///
/// # Errors
/// Code 2 if a file is not a report, 1 if a file cannot be written.
pub(super) fn run(command: &LoadCommand) -> Result<(), Failure> {
    match command {
        LoadCommand::Compare(arguments) => compare(arguments),
        LoadCommand::Plot(arguments) => plot(arguments),
        LoadCommand::Page(arguments) => {
            output::write(&arguments.out, &read(&arguments.file)?.html())
        }
    }
}

fn compare(arguments: &CompareArgs) -> Result<(), Failure> {
    let named = |path: &std::path::PathBuf| Ok((path.display().to_string(), read(path)?));
    let reports = arguments
        .files
        .iter()
        .map(named)
        .collect::<Result<Vec<_>, Failure>>()?;
    let comparison = Comparison::of(&reports);
    let on_stdout = arguments
        .json
        .as_ref()
        .is_some_and(|path| path.as_os_str() == "-");
    if !on_stdout {
        streams::say(&comparison.text());
    }
    let Some(path) = &arguments.json else {
        return Ok(());
    };
    let json = serde_json::to_string_pretty(&comparison)
        .map_err(|why| Failure::run(why).in_context("cannot write the comparison"))?;
    output::write(path, &(json + "\n"))
}

fn plot(arguments: &PlotArgs) -> Result<(), Failure> {
    let named = arguments.files.iter().map(|argument| {
        let (label, path) = labelled(argument);
        Ok((label, read(Path::new(path))?))
    });
    let reports = named.collect::<Result<Vec<(String, Report)>, Failure>>()?;
    let reports: Vec<(&str, &Report)> = reports
        .iter()
        .map(|(label, report)| (label.as_str(), report))
        .collect();
    let svg = match arguments.kind {
        PlotChoice::Lines(kind) => plots::svg(kind, &reports).ok_or_else(|| {
            Failure::usage(format!("no report has data for a plot of {}", kind.name()))
        })?,
        PlotChoice::Bars => plots::bars(&arguments.figure, &reports).map_err(Failure::usage)?,
    };
    output::write(&arguments.out, &svg)
}

/// The label and the file of `LABEL=FILE`; without a label, it is the file's name without its extension.
fn labelled(argument: &str) -> (String, &str) {
    match argument.split_once('=') {
        Some((label, path)) if !Path::new(argument).exists() => (label.to_owned(), path),
        _ => {
            let stem = Path::new(argument).file_stem();
            (
                stem.map_or_else(String::new, |stem| stem.to_string_lossy().into_owned()),
                argument,
            )
        }
    }
}

fn read(path: &Path) -> Result<Report, Failure> {
    Report::read(path).map_err(Failure::usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_its_label_or_its_file_name() {
        assert_eq!(labelled("ours=a/b.json"), ("ours".to_owned(), "a/b.json"));
        assert_eq!(labelled("a/b.json"), ("b".to_owned(), "a/b.json"));
    }
}
