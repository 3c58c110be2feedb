//! The summary of a report as text for a terminal.

use std::fmt::Write as _;

use crate::bottleneck::bottleneck_text;
use crate::data::Report;
use crate::format;
use crate::sections::{Row, errors, part_name, plan_lines, range, sections};
use crate::spread::Part;
use crate::table::Table;

impl Report {
    /// The summary for a terminal: the plan, the figures (median, smallest and largest of the repeats), the errors by kind, and the
    /// side that was the bottleneck.
    pub fn summary(&self) -> String {
        let parts = self.parts();
        let repeats = parts.iter().map(|part| part.runs.len()).max().unwrap_or(0);
        let mut text = plan_lines(&self.plan, repeats).join("\n") + "\n";
        if repeats == 0 {
            return text + "\nnothing was measured\n";
        }
        let sections = sections(self);
        let mut table = Table::default();
        if repeats > 1 || parts.len() > 1 {
            table.row(heading(&parts, repeats));
        }
        for section in &sections {
            if !section.title.is_empty() {
                table.line("");
                table.line(section.title.clone());
            }
            for row in &section.rows {
                table.row(cells(row, repeats, parts.len()));
            }
        }
        text.push('\n');
        text.push_str(&table.text());
        text.push('\n');
        text.push_str(&errors_text(self, &parts));
        for part in &parts {
            if let Some(side) = bottleneck_text(part, &self.plan) {
                let name = if parts.len() > 1 {
                    part_name(part.name) + ": "
                } else {
                    String::new()
                };
                let _ = writeln!(text, "{name}{side}");
            }
        }
        text
    }
}

fn heading(parts: &[Part<'_>], repeats: usize) -> Vec<String> {
    let mut cells = vec![String::new()];
    for part in parts {
        let name = if parts.len() > 1 {
            part_name(part.name)
        } else {
            "median".to_owned()
        };
        cells.push(name);
        if repeats > 1 {
            cells.push("min - max".to_owned());
        }
    }
    if parts.len() == 2 {
        cells.push("ratio".to_owned());
    }
    cells
}

fn cells(row: &Row, repeats: usize, parts: usize) -> Vec<String> {
    let mut cells = vec![row.label.clone()];
    for spread in &row.spreads {
        cells.push(spread.map_or("-".into(), |spread| row.show(spread.median)));
        if repeats > 1 {
            cells.push(spread.map_or(String::new(), |spread| range(row, spread)));
        }
    }
    if parts == 2 {
        cells.push(row.ratio().map_or(String::new(), format::ratio));
    }
    cells
}

fn errors_text(report: &Report, parts: &[Part<'_>]) -> String {
    let kinds = errors(report);
    if kinds.is_empty() {
        return "no errors\n".to_owned();
    }
    let mut text = String::new();
    for (column, part) in parts.iter().enumerate() {
        let listed: Vec<String> = kinds
            .iter()
            .filter(|(_, counts)| counts[column] > 0)
            .map(|(kind, counts)| format!("{} {kind}", format::count(counts[column] as f64)))
            .collect();
        let listed = if listed.is_empty() {
            "none".to_owned()
        } else {
            listed.join(", ")
        };
        let name = if parts.len() > 1 {
            format!(" ({})", part_name(part.name))
        } else {
            String::new()
        };
        let all = if part.runs.len() > 1 {
            " in all repeats"
        } else {
            ""
        };
        let _ = writeln!(text, "errors{all}{name}: {listed}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic;

    /// The cells of the line that begins with a label.
    fn line<'a>(text: &'a str, label: &str) -> Vec<&'a str> {
        let line = text
            .lines()
            .find(|line| line.trim_start().starts_with(&format!("{label}  ")));
        let line = line.unwrap_or_else(|| panic!("no line {label} in\n{text}"));
        line.split("  ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty())
            .collect()
    }

    #[test]
    fn a_single_run_has_one_column() {
        let report = synthetic::report("echo", 1);
        let text = report.summary();
        let latency = report.runs[0]
            .latency
            .as_ref()
            .expect("an echo has latency");
        assert_eq!(
            line(&text, "p99"),
            ["p99", &format::time(latency.p99 as f64)]
        );
        assert_eq!(line(&text, "rate"), ["rate", "800,000 /s"]);
        assert_eq!(
            line(&text, "CPU per message"),
            ["CPU per message", "690 ns"]
        );
        assert!(
            text.starts_with("echo over sockets to ws://127.0.0.1:9001/echo"),
            "{text}"
        );
        assert!(text.contains("1 lcore, 100 connections, 16 in flight on each, 64 B binary, 10 s after 1 s of warm-up\n"), "{text}");
        assert!(text.contains("no errors\n"), "{text}");
        assert!(
            text.contains(
                "The server was the bottleneck; the headroom of the generator was 45.0 %."
            ),
            "{text}"
        );
        for absent in ["handshake", "counters", "median", "NaN", "per connection"] {
            assert!(!text.contains(absent), "{absent} in\n{text}");
        }
    }

    #[test]
    fn repeats_show_their_median_and_range() {
        let report = synthetic::report("echo", 3);
        let text = report.summary();
        let cells = line(&text, "rate");
        let rates: Vec<_> = report
            .runs
            .iter()
            .map(|run| format::per_second(run.rate))
            .collect();
        assert_eq!(
            cells,
            [
                "rate",
                &rates[1],
                &format!("{} - {}", rates[2].trim_end_matches(" /s"), rates[0])
            ]
        );
        assert!(text.contains("3 repeats"), "{text}");
    }

    #[test]
    fn parts_are_columns() {
        let report = synthetic::attacked(1);
        let text = report.summary();
        let cells = line(&text, "p50");
        assert_eq!(cells.len(), 4, "{text}");
        assert_eq!(cells[3], "1.50x");
        assert_eq!(
            line(&text, "attack frames"),
            ["attack frames", "-", "5,000,000"]
        );
        assert!(
            text.contains("errors (quiet): none\nerrors (attacked): 3 timeout\n"),
            "{text}"
        );
        assert!(text.contains("attack: syn-flood"), "{text}");
        let columns: Vec<_> = ["p50", "p99", "max"]
            .iter()
            .map(|label| line(&text, label).len())
            .collect();
        assert_eq!(columns, [4, 4, 4]);
    }

    #[test]
    fn figures_of_a_column_are_right_aligned() {
        for report in [synthetic::report("echo", 3), synthetic::attacked(2)] {
            let text = report.summary();
            let ends = |label: &str| {
                let line = text
                    .lines()
                    .find(|line| line.trim_start().starts_with(label));
                line.map(|line| line.chars().count())
            };
            assert_eq!(ends("p50 "), ends("p99 "), "{text}");
            assert!(text.lines().all(|line| line.trim_end() == line), "{text}");
        }
    }

    #[test]
    fn the_summary_names_the_bottleneck() {
        let mut report = synthetic::report("echo", 3);
        for run in &mut report.runs {
            run.bottleneck = Some("generator".into());
            run.generator.headroom = Some(0.01);
        }
        assert!(
            report.summary().contains(
                "The generator was the bottleneck (headroom of its busiest lcore: 1.00 %)"
            )
        );
        report.runs[0].bottleneck = Some("neither".into());
        assert!(report.summary().contains("(In 2 of 3 repeats.)"));
        report.runs.truncate(1);
        assert!(
            report
                .summary()
                .contains("Neither side was at its limit: messages in flight waited")
        );
        report.runs[0].server = None;
        assert!(report.summary().contains("The generator was not the bottleneck. The headroom of the generator was 1.00 %. The headroom of the server is not known"));
        report.plan.rate = Some(report.runs[0].rate);
        assert!(
            report
                .summary()
                .contains("Neither side was at its limit: the requested rate was reached.")
        );
        for run in &mut report.runs {
            run.bottleneck = None;
        }
        assert!(!report.summary().contains("bottleneck"));
    }

    #[test]
    fn an_empty_report_is_reported_and_control_characters_are_removed() {
        let mut report = synthetic::report("echo", 0);
        report.plan.url = "ws://x/\u{1b}]0;owned\u{7}".into();
        let text = report.summary();
        assert!(text.contains("nothing was measured"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
