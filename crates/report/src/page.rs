//! A report as one HTML page without any other file or network access. It is also well-formed XML.

use std::fmt::Write as _;

use crate::bottleneck::bottleneck_text;
use crate::data::Report;
use crate::format;
use crate::markup::{STYLE, escape};
use crate::metric::Metric;
use crate::plots::{PlotKind, plot};
use crate::sections::{self, Row};
use crate::spread::Part;

/// The page loads nothing, whatever the report contains.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";
const CSS: &str = include_str!("page/style.css");
const JS: &str = include_str!("page/script.js");

/// The most important figures, by name, and their labels.
const TILES: [(&str, &str); 8] = [
    ("rate", "rate"),
    ("p50", "p50"),
    ("p99", "p99"),
    ("p99.9", "p99.9"),
    ("max", "max"),
    ("handshake.p99", "handshake p99"),
    ("rss_per_connection", "memory per connection"),
    ("errors", "errors"),
];

impl Report {
    /// The report as an HTML page, as `--report` writes it.
    pub fn html(&self) -> String {
        let parts = self.parts();
        let repeats = parts.iter().map(|part| part.runs.len()).max().unwrap_or(0);
        let mut page = String::with_capacity(128 << 10);
        head(&mut page, self, repeats);
        bottlenecks(&mut page, self, &parts);
        tiles(&mut page, self, &parts);
        plots(&mut page, self);
        table(&mut page, self, &parts, repeats);
        errors(&mut page, self, &parts);
        circumstances(&mut page, self);
        foot(&mut page, self);
        page
    }
}

fn head(page: &mut String, report: &Report, repeats: usize) {
    let plan = sections::plan_lines(&report.plan, repeats);
    let title = plan.first().map_or("", String::as_str);
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\"/>\
         <title>{0} - hioload</title>\n<style>\n{CSS}{1}</style></head>\n<body><main>\n<header><h1>{0}</h1>",
        escape(title),
        STYLE,
    );
    for line in plan.iter().skip(1) {
        let _ = write!(page, "<p class=\"about\">{}</p>", escape(line));
    }
    let _ = writeln!(
        page,
        "<p class=\"about\">{}; hioload {}</p></header>",
        escape(&report.started),
        escape(&report.hioload)
    );
}

fn bottlenecks(page: &mut String, report: &Report, parts: &[Part<'_>]) {
    for part in parts {
        let Some(text) = bottleneck_text(part, &report.plan) else {
            continue;
        };
        let generator = part
            .runs
            .iter()
            .any(|run| run.bottleneck.as_deref() == Some("generator"));
        let class = if generator {
            "bottleneck generator"
        } else {
            "bottleneck"
        };
        let name = if parts.len() > 1 {
            format!("{}: ", sections::part_name(part.name))
        } else {
            String::new()
        };
        let _ = writeln!(page, "<p class=\"{class}\">{}</p>", escape(&(name + &text)));
    }
}

/// The most important figures.
fn tiles(page: &mut String, report: &Report, parts: &[Part<'_>]) {
    page.push_str("<section class=\"tiles\">");
    for part in parts {
        for (name, label) in TILES {
            let Some(metric) = Metric::named(name) else {
                continue;
            };
            let Some(spread) = part.spread(&report.plan, &metric) else {
                continue;
            };
            let show = |value| escape(&metric.unit().show(value));
            let (value, bad) = if metric.adds_up() {
                let values = part
                    .runs
                    .iter()
                    .filter_map(|run| metric.of(&report.plan, run));
                let sum = values.fold(0.0, |sum, value| sum + value);
                (sum, sum > 0.0)
            } else {
                (spread.median, false)
            };
            let range = if spread.runs > 1 && !metric.adds_up() {
                escape(&metric.unit().range(spread.min, spread.max))
            } else {
                String::new()
            };
            let label = format!("{} {label}", part.name);
            let _ = write!(
                page,
                "<div class=\"tile{}\"><div class=\"name\">{}</div><div class=\"value\">{}</div><div class=\"range\">{range}</div></div>",
                if bad { " bad" } else { "" },
                escape(label.trim()),
                show(value)
            );
        }
    }
    page.push_str("</section>\n");
}

fn plots(page: &mut String, report: &Report) {
    page.push_str("<section class=\"plots\">\n");
    for kind in PlotKind::ALL {
        // A constant line adds nothing to the table.
        let still = kind == PlotKind::Connections
            && !matches!(report.plan.scenario.as_str(), "ramp" | "hold" | "churn");
        let plot = plot(kind, &[("", report)]);
        if !still && !plot.is_empty() {
            let _ = writeln!(page, "<figure>{}</figure>", plot.svg(false));
        }
    }
    page.push_str("</section>\n");
}

fn table(page: &mut String, report: &Report, parts: &[Part<'_>], repeats: usize) {
    let mut heading = String::new();
    for part in parts {
        let name = match (parts.len(), repeats) {
            (2.., _) => sections::part_name(part.name),
            (_, 2..) => "median".to_owned(),
            _ => String::new(),
        };
        let _ = write!(heading, "<th>{}</th>", escape(&name));
        if repeats > 1 {
            heading.push_str("<th>min - max</th>");
        }
    }
    if parts.len() == 2 {
        heading.push_str("<th>ratio</th>");
    }
    // Two columns of tables, unless they are wide.
    let class = if parts.len() > 1 { "stack" } else { "halves" };
    let _ = writeln!(
        page,
        "<h2>Figures</h2>\n<section id=\"figures\" class=\"{class}\">"
    );
    for section in sections::sections(report) {
        let title = if section.title.is_empty() {
            "load"
        } else {
            &section.title
        };
        let _ = writeln!(
            page,
            "<div class=\"scroll\"><table><thead><tr><th>{}</th>{heading}</tr></thead><tbody>",
            escape(title)
        );
        for row in &section.rows {
            figures(page, row, repeats, parts.len());
        }
        page.push_str("</tbody></table></div>\n");
    }
    page.push_str("</section>\n");
}

/// A row. Programs read `data-figure` and `data-value`.
fn figures(page: &mut String, row: &Row, repeats: usize, parts: usize) {
    let _ = write!(
        page,
        "<tr data-figure=\"{}\"><th>{}</th>",
        escape(row.metric.name()),
        escape(&row.label)
    );
    for spread in &row.spreads {
        let Some(spread) = spread else {
            page.push_str(if repeats > 1 {
                "<td>-</td><td></td>"
            } else {
                "<td>-</td>"
            });
            continue;
        };
        let _ = write!(
            page,
            "<td data-value=\"{}\">{}</td>",
            spread.median,
            escape(&row.show(spread.median))
        );
        if repeats > 1 {
            let _ = write!(
                page,
                "<td class=\"range\">{}</td>",
                escape(&sections::range(row, *spread))
            );
        }
    }
    if parts == 2 {
        let _ = write!(
            page,
            "<td>{}</td>",
            row.ratio().map_or(String::new(), format::ratio)
        );
    }
    page.push_str("</tr>\n");
}

fn errors(page: &mut String, report: &Report, parts: &[Part<'_>]) {
    page.push_str("<h2>Errors</h2>\n");
    let kinds = sections::errors(report);
    if kinds.is_empty() {
        page.push_str("<p id=\"errors\">None.</p>\n");
        return;
    }
    page.push_str("<div class=\"scroll\"><table id=\"errors\"><thead><tr><th>error, in all repeats together</th>");
    for part in parts {
        let name = if part.name.is_empty() {
            "times".to_owned()
        } else {
            sections::part_name(part.name)
        };
        let _ = write!(page, "<th>{}</th>", escape(&name));
    }
    page.push_str("</tr></thead><tbody>");
    for (kind, counts) in kinds {
        let _ = write!(page, "<tr><th>{}</th>", escape(&kind));
        for count in counts {
            let _ = write!(page, "<td>{}</td>", format::count(count as f64));
        }
        page.push_str("</tr>");
    }
    page.push_str("</tbody></table></div>\n");
}

/// The plan, the machine and the command.
fn circumstances(page: &mut String, report: &Report) {
    let plan = &report.plan;
    let machine = &report.machine;
    let optional = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
    let url = if plan.url.is_empty() {
        "none: the server is in the same process"
    } else {
        &plan.url
    };
    let planned = [
        ("URL", url.to_owned()),
        ("transport", plan.transport.clone()),
        ("scenario", plan.scenario.clone()),
        ("connections", format::count(plan.connections as f64)),
        ("in flight", format::count(plan.in_flight as f64)),
        ("size", format!("{} B", plan.size)),
        ("kind", plan.kind.clone()),
        (
            "requested rate",
            optional(plan.rate.map(format::per_second)),
        ),
        ("duration", format::seconds(plan.duration)),
        ("warm-up", format::seconds(plan.warmup)),
        (
            "repeats",
            report
                .parts()
                .first()
                .map_or(0, |part| part.runs.len())
                .to_string(),
        ),
        ("lcores", plan.lcores.to_string()),
        ("attack", optional(plan.attack.clone())),
    ];
    let host = [
        ("CPU", machine.cpu.clone()),
        ("usable CPUs", machine.cpus.to_string()),
        ("memory", format::bytes(machine.memory as f64)),
        ("kernel", machine.kernel.clone()),
        ("load average before", format!("{:.2}", machine.load_before)),
        ("started", report.started.clone()),
        ("hioload", report.hioload.clone()),
    ];
    page.push_str("<div class=\"halves\"><section><h2>Plan</h2>");
    list(page, "plan", &planned);
    page.push_str("</section><section><h2>Machine of the generator</h2>");
    list(page, "machine", &host);
    let command: Vec<String> = report.command.iter().map(|word| quoted(word)).collect();
    let _ = writeln!(
        page,
        "<h2>Command</h2><pre id=\"command\">{}</pre></section></div>",
        escape(&command.join(" "))
    );
}

fn list(page: &mut String, id: &str, entries: &[(&str, String)]) {
    let _ = write!(page, "<dl id=\"{id}\">");
    for (name, value) in entries {
        let _ = write!(page, "<dt>{name}</dt><dd>{}</dd>", escape(value));
    }
    page.push_str("</dl>\n");
}

/// A word quoted for a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn foot(page: &mut String, report: &Report) {
    // HTML escapes do not work in a script. These characters occur only in JSON strings, which have escapes of their own.
    let json = report
        .to_json()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{fffe}', "\\ufffe")
        .replace('\u{ffff}', "\\uffff");
    let _ = write!(
        page,
        "<footer><p>Times are measured by the clock of the generator. Percentiles have three significant digits. Lines over time have at most 300 points; \
         a point for several seconds shows their largest latency. <button id=\"save\" hidden=\"hidden\">Save the data as JSON</button></p></footer>\n\
         </main>\n<script type=\"application/json\" id=\"report\">{json}</script>\n<script>/*<![CDATA[*/\n{JS}/*]]>*/</script>\n</body></html>\n"
    );
}

#[cfg(test)]
mod tests;
