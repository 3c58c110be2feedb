//! The flags of `hioload load` for its output, and its subcommands for existing reports.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hioload_report::plots::PlotKind;
use hioload_report::require::Requirement;

/// The output of a load.
#[derive(Args, Debug)]
pub(crate) struct OutputArgs {
    /// Write all figures to this file as JSON, for compare and plot; - is standard output
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write one self-contained HTML page with plots to this file
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// End with code 1 unless the condition holds, such as p99<1ms or rate>=100k,errors==0 (below); repeatable
    #[arg(long, value_name = "CONDITION", value_delimiter = ',')]
    pub require: Vec<Requirement>,
    /// Show no progress
    #[arg(long)]
    pub quiet: bool,
}

/// Subcommands for existing reports.
#[derive(Subcommand, Debug)]
pub(crate) enum LoadCommand {
    /// Compare reports that --json wrote: their plans, machines, and figures, by the ranges of their repeats
    Compare(CompareArgs),
    /// Draw a plot of reports that --json wrote, as an SVG file
    Plot(PlotArgs),
    /// Write the page of --report from a report that --json wrote
    Page(PageArgs),
}

/// `hioload load compare`
#[derive(Args, Debug)]
pub(crate) struct CompareArgs {
    /// The reports; all others are compared with the first
    #[arg(value_name = "FILE", required = true, num_args = 2..)]
    pub files: Vec<PathBuf>,
    /// Write the differences to this file as JSON; - is standard output, in place of the text
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// `hioload load plot`
#[derive(Args, Debug)]
pub(crate) struct PlotArgs {
    /// The reports of the plot; LABEL=FILE labels one
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<String>,
    /// percentiles, histogram, throughput, latency, cpu, connections, or bars
    #[arg(long, value_name = "NAME", default_value = "percentiles")]
    pub kind: PlotChoice,
    /// With bars: the figure, named as in --require
    #[arg(long, value_name = "FIGURE", default_value = "rate")]
    pub figure: String,
    /// The file to write; - is standard output
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// `hioload load page`
#[derive(Args, Debug)]
pub(crate) struct PageArgs {
    /// The report
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The file to write; - is standard output
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// What a plot shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlotChoice {
    /// Lines.
    Lines(PlotKind),
    /// One figure as bars.
    Bars,
}

impl std::str::FromStr for PlotChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "bars" => Ok(Self::Bars),
            _ => text
                .parse()
                .map(Self::Lines)
                .map_err(|why| format!("{why}, bars")),
        }
    }
}

/// The help about conditions.
pub(crate) const AFTER_OUTPUT: &str = "\
Conditions: a figure, one of < <= > >= ==, and a limit with its unit (ns us ms s; k M; KiB MiB GiB; %).
  Figures: p50, p99, p99.9 or any other percentile, min, max, mean, stdev, each also of handshakes (handshake.p99); rate,
  bytes (per second), sent, done, errors; cores, cpu_per_message, headroom, rss, rss_per_connection, rss_growth
  of a side (server.cpu_per_message, generator.headroom); rss_per_connection, of the larger side; extra.NAME.
  With several runs the median counts, and the sum of errors. rate>=99% is relative to --rate, errors<0.1% to all tries.
  With an attack a condition applies to both parts, or to one: quiet.p99<1ms, attacked.p99<5ms. A condition on a figure
  that was not measured does not hold.";
