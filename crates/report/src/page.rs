//! A report as one HTML page that needs nothing else: no network, no other file. It is well-formed XML too.

use std::fmt::Write as _;

use crate::metric::{Metric, Part};
use crate::plot::{self, escape};
use crate::plots::{Kind, plot};
use crate::summary::{self, Row};
use crate::{Report, words};

/// Nothing is fetched, whatever a report holds.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";
const CSS: &str = include_str!("page/style.css");
const JS: &str = include_str!("page/script.js");

/// The figures that are looked at first, by name, and what they are called there.
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
    /// The page that `--report` writes.
    pub fn html(&self) -> String {
        let parts = self.parts();
        let repeats = parts.iter().map(|part| part.runs.len()).max().unwrap_or(0);
        let mut page = String::with_capacity(128 << 10);
        head(&mut page, self, repeats);
        verdicts(&mut page, self, &parts);
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
    let plan = summary::plan_lines(&report.plan, repeats);
    let title = plan.first().map_or("", String::as_str);
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\"/>\
         <title>{0} - hioload</title>\n<style>\n{CSS}{1}</style></head>\n<body><main>\n<header><h1>{0}</h1>",
        escape(title),
        plot::STYLE,
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

fn verdicts(page: &mut String, report: &Report, parts: &[Part<'_>]) {
    for part in parts {
        let Some(verdict) = summary::verdict(part, &report.plan) else {
            continue;
        };
        let generator = part
            .runs
            .iter()
            .any(|run| run.bottleneck.as_deref() == Some("generator"));
        let class = if generator {
            "verdict generator"
        } else {
            "verdict"
        };
        let name = if parts.len() > 1 {
            format!("{}: ", summary::part_name(part.name))
        } else {
            String::new()
        };
        let _ = writeln!(
            page,
            "<p class=\"{class}\">{}</p>",
            escape(&(name + &verdict))
        );
    }
}

/// The figures that are looked at first.
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
    for kind in Kind::ALL {
        // A line that never moves says nothing the table does not.
        let still = kind == Kind::Connections
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
            (2.., _) => summary::part_name(part.name),
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
    // Two beside each other, unless they are wide.
    let class = if parts.len() > 1 { "stack" } else { "halves" };
    let _ = writeln!(
        page,
        "<h2>Figures</h2>\n<section id=\"figures\" class=\"{class}\">"
    );
    for section in summary::sections(report) {
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

/// A row; `data-figure` and `data-value` say the same to programs.
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
                escape(&summary::range(row, *spread))
            );
        }
    }
    if parts == 2 {
        let _ = write!(
            page,
            "<td>{}</td>",
            row.ratio().map_or(String::new(), words::ratio)
        );
    }
    page.push_str("</tr>\n");
}

fn errors(page: &mut String, report: &Report, parts: &[Part<'_>]) {
    page.push_str("<h2>Errors</h2>\n");
    let kinds = summary::errors(report);
    if kinds.is_empty() {
        page.push_str("<p id=\"errors\">None.</p>\n");
        return;
    }
    page.push_str("<div class=\"scroll\"><table id=\"errors\"><thead><tr><th>what went wrong, in all repeats together</th>");
    for part in parts {
        let name = if part.name.is_empty() {
            "times".to_owned()
        } else {
            summary::part_name(part.name)
        };
        let _ = write!(page, "<th>{}</th>", escape(&name));
    }
    page.push_str("</tr></thead><tbody>");
    for (kind, counts) in kinds {
        let _ = write!(page, "<tr><th>{}</th>", escape(&kind));
        for count in counts {
            let _ = write!(page, "<td>{}</td>", words::count(count as f64));
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
        ("connections", words::count(plan.connections as f64)),
        ("in flight", words::count(plan.in_flight as f64)),
        ("size", format!("{} B", plan.size)),
        ("kind", plan.kind.clone()),
        ("rate asked for", optional(plan.rate.map(words::per_second))),
        ("duration", words::seconds(plan.duration)),
        ("warm-up", words::seconds(plan.warmup)),
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
        ("CPUs it may use", machine.cpus.to_string()),
        ("memory", words::bytes(machine.memory as f64)),
        ("kernel", machine.kernel.clone()),
        ("load before", format!("{:.2}", machine.load_before)),
        ("began", report.started.clone()),
        ("hioload", report.hioload.clone()),
    ];
    page.push_str("<div class=\"halves\"><section><h2>What was asked for</h2>");
    list(page, "plan", &planned);
    page.push_str("</section><section><h2>The machine of the generator</h2>");
    list(page, "machine", &host);
    let command: Vec<String> = report.command.iter().map(|word| quoted(word)).collect();
    let _ = writeln!(
        page,
        "<h2>The command</h2><pre id=\"command\">{}</pre></section></div>",
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

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn foot(page: &mut String, report: &Report) {
    // Within a script nothing is escaped as in HTML; these characters can only stand in strings, where JSON has its own way.
    let json = report
        .to_json()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{fffe}', "\\ufffe")
        .replace('\u{ffff}', "\\uffff");
    let _ = write!(
        page,
        "<footer><p>Times are of the generator's clock. Percentiles are exact to three digits. Lines over time have at most 300 points; \
         where several seconds share one, the largest latency of them is shown. <button id=\"save\" hidden=\"hidden\">Save the data as JSON</button></p></footer>\n\
         </main>\n<script type=\"application/json\" id=\"report\">{json}</script>\n<script>/*<![CDATA[*/\n{JS}/*]]>*/</script>\n</body></html>\n"
    );
}

#[cfg(test)]
mod tests;
