//! The page is well-formed, holds the figures of the report, and escapes all text of the report.

use roxmltree::{Document, Node, ParsingOptions};

use super::*;
use crate::data::Tick;
use crate::{plots, synthetic};

/// Parses it as XML, which is stricter than any browser.
fn parsed(page: &str) -> Document<'_> {
    let options = ParsingOptions {
        allow_dtd: true,
        ..ParsingOptions::default()
    };
    Document::parse_with_options(page, options).unwrap_or_else(|why| panic!("{why}\n{page}"))
}

fn by_id<'a>(page: &'a Document<'_>, id: &str) -> Node<'a, 'a> {
    let found = page
        .descendants()
        .find(|node| node.attribute("id") == Some(id));
    found.unwrap_or_else(|| panic!("nothing has the id {id}"))
}

fn text(node: Node<'_, '_>) -> String {
    node.descendants()
        .filter_map(|node| node.text().filter(|_| node.is_text()))
        .collect()
}

/// The cells of a figure's row.
fn figure(page: &Document<'_>, name: &str) -> Vec<String> {
    let row = page
        .descendants()
        .find(|node| node.attribute("data-figure") == Some(name));
    let row = row.unwrap_or_else(|| panic!("no row of {name}"));
    row.children()
        .filter(|cell| cell.has_tag_name("td"))
        .map(text)
        .collect()
}

fn plots_of(page: &Document<'_>) -> Vec<String> {
    let svgs = page.descendants().filter(|node| node.has_tag_name("svg"));
    svgs.filter_map(|svg| svg.attribute("id").map(str::to_owned))
        .collect()
}

#[test]
fn the_page_has_the_plots_and_the_figures() {
    let report = synthetic::report("echo", 1);
    let html = report.html();
    let page = parsed(&html);
    assert_eq!(
        plots_of(&page),
        [
            "plot-percentiles",
            "plot-histogram",
            "plot-throughput",
            "plot-latency",
            "plot-cpu"
        ]
    );
    let latency = report.runs[0]
        .latency
        .as_ref()
        .expect("an echo has latency");
    assert_eq!(figure(&page, "p99"), [format::time(latency.p99 as f64)]);
    assert_eq!(figure(&page, "rate"), ["800,000 /s"]);
    assert_eq!(text(by_id(&page, "errors")), "None.");
    assert!(text(by_id(&page, "plan")).contains("ws://127.0.0.1:9001/echo?a=1&b=<2>"));
    assert!(text(by_id(&page, "machine")).contains("Imaginary CPU"));
    assert_eq!(
        text(by_id(&page, "command")),
        "hioload load 'ws://127.0.0.1:9001/echo?a=1&b=<2>'"
    );
    let data = text(by_id(&page, "report"));
    assert_eq!(
        Report::parse(data.as_bytes()).expect("it is a report"),
        report
    );
}

#[test]
fn repeats_and_parts_are_lines_of_one_plot() {
    for (report, lines) in [
        (synthetic::report("echo", 3), 3),
        (synthetic::attacked(2), 4),
    ] {
        let html = report.html();
        let page = parsed(&html);
        let plot = by_id(&page, "plot-percentiles");
        let drawn: Vec<_> = plot
            .descendants()
            .filter(|node| node.attribute("data-points").is_some())
            .collect();
        assert_eq!(drawn.len(), lines);
        for line in drawn {
            assert!(
                line.attribute("d")
                    .is_some_and(|d| d.matches('L').count() > 100)
            );
            assert!(
                line.attribute("data-label")
                    .is_some_and(|label| !label.is_empty())
            );
        }
        assert!(
            !html.contains("NaN") && !html.contains("inf\""),
            "a number is none"
        );
    }
}

#[test]
fn text_of_the_report_is_escaped() {
    const HOSTILE: &str =
        "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>]]>&amp;\u{1b}\u{0}";
    let mut report = synthetic::attacked(1);
    let quiet = parsed(&report.html())
        .descendants()
        .filter(Node::is_element)
        .count();
    report.plan.url = HOSTILE.into();
    report.plan.transport = HOSTILE.into();
    report.plan.scenario = HOSTILE.into();
    report.plan.size = HOSTILE.into();
    report.plan.kind = HOSTILE.into();
    report.plan.attack = Some(HOSTILE.into());
    report.machine.cpu = HOSTILE.into();
    report.machine.kernel = HOSTILE.into();
    report.hioload = HOSTILE.into();
    report.started = HOSTILE.into();
    report.command.push(HOSTILE.into());
    for run in &mut report.runs {
        run.bottleneck = Some(HOSTILE.into());
        if run.part == "attacked" {
            run.part = HOSTILE.into();
            run.errors = [(HOSTILE.to_owned(), 3)].into();
            run.extra = [(HOSTILE.to_owned(), 3.0)].into();
        }
    }
    let html = report.html();
    let page = parsed(&html);
    assert_eq!(page.descendants().filter(Node::is_element).count(), quiet);
    assert!(!html.contains("<img") && !html.contains("alert(1)</script>"));
    let data = text(by_id(&page, "report"));
    assert_eq!(
        Report::parse(data.as_bytes()).expect("it is a report"),
        report
    );
}

#[test]
fn the_page_loads_nothing() {
    let html = synthetic::report("echo", 1).html();
    let page = parsed(&html);
    for node in page.descendants().filter(Node::is_element) {
        for name in ["src", "href", "action", "data", "background"] {
            assert_eq!(node.attribute(name), None, "{:?}", node.tag_name());
        }
        assert!(
            !["link", "img", "iframe", "object", "embed", "base"].contains(&node.tag_name().name())
        );
    }
    assert!(html.contains("default-src 'none'"));
    assert!(!CSS.contains("url(") && !CSS.contains("@import"));
}

#[test]
fn missing_figures_leave_a_valid_page() {
    let mut report = synthetic::report("hold", 1);
    let run = &mut report.runs[0];
    run.latency = None;
    run.server = None;
    run.bottleneck = None;
    parsed(&report.html());
    report.runs[0].series = vec![Tick::default()];
    parsed(&report.html());
    report.runs[0].series.clear();
    assert!(plots_of(&parsed(&report.html())).is_empty());
    report.runs.clear();
    parsed(&report.html());
}

#[test]
fn a_long_run_has_a_bounded_plot() {
    let mut report = synthetic::report("echo", 1);
    let tick = report.runs[0].series[0].clone();
    report.runs[0].series = (0..36_000)
        .map(|second| Tick {
            at: f64::from(second),
            ..tick.clone()
        })
        .collect();
    let svg =
        plots::svg(plots::PlotKind::Latency, &[("", &report)]).expect("there is latency over time");
    assert!(svg.len() < 100_000, "{}", svg.len());
}

#[test]
fn a_plot_is_a_standalone_file() {
    let (a, b) = (synthetic::report("echo", 2), synthetic::report("echo", 1));
    for kind in plots::PlotKind::ALL {
        assert_eq!(kind.name().parse(), Ok(kind));
        let svg =
            plots::svg(kind, &[("one <&>", &a), ("two", &b)]).expect("all of these are measured");
        let drawing = parsed(&svg);
        assert_eq!(
            drawing.root_element().tag_name().namespace(),
            Some("http://www.w3.org/2000/svg")
        );
        assert!(
            svg.contains("one &lt;&amp;&gt; #2") && svg.contains("two"),
            "{}",
            kind.name()
        );
    }
    let bars = plots::bars("rate", &[("a", &a), ("b", &b)]).expect("both have a rate");
    let drawing = parsed(&bars);
    let drawn = drawing
        .descendants()
        .filter(|node| node.attribute("class") == Some("c0"));
    assert_eq!(drawn.count(), 2);
    assert!(plots::bars("handshake.p99", &[("a", &a)]).is_err());
    assert!(plots::bars("nonsense", &[("a", &a)]).is_err());
    assert!("nonsense".parse::<plots::PlotKind>().is_err());
}
