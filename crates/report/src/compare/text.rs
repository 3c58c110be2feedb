//! A comparison as text.

use super::{Comparison, letter};
use crate::format;
use crate::metric::Metric;
use crate::spread::Spread;
use crate::table::Table;

impl Comparison {
    /// The comparison as text for a terminal.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (n, name) in self.reports.iter().enumerate() {
            text.push_str(&format!("{}  {}\n", letter(n), format::printable(name)));
        }
        for warning in &self.warnings {
            text.push_str(&format!("warning: {warning}\n"));
        }
        for (title, differences) in [("plan", &self.plan), ("machine", &self.machine)] {
            if differences.is_empty() {
                text.push_str(&format!("\n{title}: the same\n"));
                continue;
            }
            text.push_str(&format!("\n{title}: differences\n"));
            let mut table = Table::default();
            table.row(std::iter::once(String::new()).chain((0..self.reports.len()).map(letter)));
            for difference in differences {
                let values = difference
                    .values
                    .iter()
                    .map(|value| format::printable(value));
                table.row(std::iter::once(difference.name.clone()).chain(values));
            }
            text.push_str(&table.text());
        }
        text.push_str("\nfigures: medians over repeats (smallest - largest)\n");
        text.push_str(&self.figure_table().text());
        text
    }

    fn figure_table(&self) -> Table {
        let mut table = Table::default();
        let mut heading = vec![String::new(), letter(0)];
        for n in 1..self.reports.len() {
            heading.extend([
                letter(n),
                format!("{}/{}", letter(n), letter(0)),
                String::new(),
            ]);
        }
        table.row(heading);
        let mut part = "";
        for figure in &self.figures {
            if figure.part != part {
                part = &figure.part;
                table.line(format!(" {}", format::printable(part)));
            }
            let show = |value: &Option<Spread>| show(&figure.name, *value);
            let mut cells = vec![format::printable(&figure.name)];
            cells.extend(figure.values.first().map(show));
            for (value, change) in figure.values.iter().skip(1).zip(&figure.changes) {
                let ratio = change.ratio.map_or("-".to_owned(), format::ratio);
                cells.extend([show(value), ratio, change.verdict.words().to_owned()]);
            }
            table.row(cells);
        }
        table
    }
}

fn show(name: &str, value: Option<Spread>) -> String {
    let (Some(value), Some(metric)) = (value, Metric::named(name)) else {
        return "-".to_owned();
    };
    let unit = metric.unit();
    let median = unit.show(value.median);
    if value.runs < 2 {
        return median;
    }
    format!("{median} ({})", unit.range(value.min, value.max))
}
