//! Tables as aligned text.

/// Rows of cells. The first column holds labels, the others figures.
#[derive(Debug, Default)]
pub(crate) struct Table {
    lines: Vec<Line>,
}

#[derive(Debug)]
enum Line {
    Cells(Vec<String>),
    Text(String),
}

impl Table {
    /// A row of figures.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.lines.push(Line::Cells(cells.into_iter().collect()));
    }

    /// A line across all columns.
    pub(crate) fn line(&mut self, text: impl Into<String>) {
        self.lines.push(Line::Text(text.into()));
    }

    /// The text. Rows are indented by two; labels are left-aligned, figures right-aligned.
    pub(crate) fn text(&self) -> String {
        let mut widths: Vec<usize> = Vec::new();
        for line in &self.lines {
            let Line::Cells(cells) = line else { continue };
            widths.resize(widths.len().max(cells.len()), 0);
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for line in &self.lines {
            let line = match line {
                Line::Text(line) => line.clone(),
                Line::Cells(cells) => {
                    let aligned = cells.iter().zip(&widths).enumerate();
                    let aligned = aligned.map(|(column, (cell, width))| match column {
                        0 => format!("  {cell:<width$}"),
                        _ => format!("  {cell:>width$}"),
                    });
                    aligned.collect()
                }
            };
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}
