//! `hioload load` as a process: its reports, its conditions, and the subcommands for reports.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("hioload-load-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder can be made");
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn hioload(arguments: &[&str]) -> Output {
    let path = std::env::var_os("HIOLOAD_BIN");
    let path = path.unwrap_or_else(|| env!("CARGO_BIN_EXE_hioload").into());
    Command::new(path)
        .args(arguments)
        .output()
        .expect("the command starts")
}

/// A short load on the memory pair.
fn load(more: &[&str]) -> Output {
    load_for("300ms", more)
}

/// The same for a duration.
fn load_for(duration: &str, more: &[&str]) -> Output {
    let common = [
        "load",
        "--transport",
        "memory",
        "--connections",
        "2",
        "--duration",
        duration,
        "--warmup",
        "50ms",
    ];
    hioload(&[&common, more].concat())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(path: &str) -> serde_json::Value {
    let text = fs::read(path).expect("the file was written");
    serde_json::from_slice(&text).expect("it is JSON")
}

#[test]
fn a_load_leaves_a_summary_a_report_and_a_page() {
    let folder = Folder::new("leaves");
    let (report, page) = (folder.file("a.json"), folder.file("a.html"));
    // On a busy machine the process may have no CPU for the whole of a short load.
    let durations = ["300ms", "1s", "4s", "16s"];
    let output = durations.into_iter().find_map(|duration| {
        let output = load_for(
            duration,
            &["--repeat", "2", "--json", &report, "--report", &page],
        );
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let report = json(&report);
        let has_echoes = |run: usize| report["runs"][run]["done"].as_u64() > Some(0);
        (has_echoes(0) && has_echoes(1)).then_some(output)
    });
    let output = output.expect("echoes within 16 s");
    let summary = text(&output.stdout);
    for part in [
        "echo over memory",
        "2 repeats",
        "rate",
        "p99.99",
        "generator",
        "server",
        "no errors",
        "min - max",
    ] {
        assert!(summary.contains(part), "{part} in\n{summary}");
    }
    assert!(!summary.contains('\u{1b}'), "nothing commands a pipe");
    let live = text(&output.stderr);
    assert!(live.contains("1/2 ") && live.contains("2/2 "), "{live}");
    assert!(!live.contains('\r') && !live.contains('\u{1b}'), "{live}");
    let path = report;
    let report = json(&path);
    assert_eq!(report["format"], 1);
    assert_eq!(report["runs"].as_array().map(Vec::len), Some(2));
    let page = fs::read_to_string(page).expect("the page was written");
    for part in ["<!DOCTYPE html>", "plot-percentiles", "plot-cpu", "</html>"] {
        assert!(page.contains(part), "{part}");
    }
    assert_eq!(
        fs::read_dir(&folder.0).expect("it is there").count(),
        2,
        "no draft is left"
    );
}

#[test]
fn json_on_standard_output_stands_alone_and_quiet_shows_no_progress() {
    let output = load(&["--json", "-", "--quiet"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("nothing else is there");
    assert_eq!(report["plan"]["transport"], "memory");
    let said = text(&output.stderr);
    assert!(
        said.starts_with("echo over memory") && !said.contains("measuring"),
        "{said}"
    );
}

#[test]
fn conditions_decide_the_exit_code() {
    let output = load(&["--require", "p99<100s,errors==0", "--require", "rate>0.001"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));

    let output = load(&[
        "--quiet",
        "--require",
        "p99<1ns,errors==0",
        "--require",
        "extra.nonsense<1",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 3, "{said}");
    assert!(
        lines[0].starts_with("hioload: p99<1ns does not hold: it is "),
        "{said}"
    );
    assert_eq!(
        lines[1],
        "hioload: extra.nonsense<1 does not hold: it was not measured"
    );
    assert_eq!(lines[2], "hioload: 2 of 3 conditions not met");
    assert!(
        text(&output.stdout).contains("p99.9"),
        "the summary is printed too"
    );

    for (condition, part) in [
        ("p99<1", "a time such as"),
        ("speed>1", "known are p50"),
        ("p99", "such as p99<1ms"),
    ] {
        let output = load(&["--require", condition]);
        assert_eq!(output.status.code(), Some(2), "{condition}");
        let said = text(&output.stderr);
        assert!(said.contains(part) && said.lines().count() == 1, "{said}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn reports_are_compared_and_plotted() {
    let folder = Folder::new("compare");
    let (a, b) = (folder.file("a.json"), folder.file("b.json"));
    for (path, flight) in [(&a, "1"), (&b, "4")] {
        let output = load(&[
            "--quiet",
            "--repeat",
            "2",
            "--in-flight",
            flight,
            "--json",
            path,
        ]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }
    let differences = folder.file("differences.json");
    let output = hioload(&["load", "compare", &a, &b, "--json", &differences]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    for part in [
        "warning: the plans differ (in_flight)",
        "plan: differences",
        "p99.9",
        "b/a",
    ] {
        assert!(shown.contains(part), "{part} in\n{shown}");
    }
    let differences = json(&differences);
    assert_eq!(differences["plan"][0]["name"], "in_flight");
    assert_eq!(differences["figures"][0]["name"], "rate");

    for kind in [
        "percentiles",
        "histogram",
        "throughput",
        "latency",
        "cpu",
        "bars",
    ] {
        let out = folder.file(kind);
        let label = format!("four in flight={b}");
        let output = hioload(&["load", "plot", &a, &label, "--kind", kind, "--out", &out]);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{kind}: {}",
            text(&output.stderr)
        );
        let svg = fs::read_to_string(out).expect("it was written");
        assert!(
            svg.starts_with("<svg xmlns=") && svg.trim_end().ends_with("</svg>"),
            "{kind}"
        );
    }
}

#[test]
fn a_file_that_is_not_a_report_is_one_line() {
    let folder = Folder::new("lines");
    let (text_file, newer) = (folder.file("text"), folder.file("newer.json"));
    fs::write(&text_file, "hello").expect("it can be written");
    fs::write(&newer, "{\"format\": 99}").expect("it can be written");
    let missing = folder.file("missing.json");
    let nowhere = folder.file("no/such/folder.json");
    for (arguments, part) in [
        (
            vec!["load", "compare", &text_file, &text_file],
            "is not a report",
        ),
        (
            vec!["load", "compare", &newer, &newer],
            "a newer hioload wrote",
        ),
        (vec!["load", "compare", &missing, &missing], "cannot read"),
        (vec!["load", "compare", &missing], "required"),
        (vec!["load", "plot", &missing, "--out", "-"], "cannot read"),
        (
            vec!["load", "plot", &missing, "--kind", "pie", "--out", "-"],
            "percentiles",
        ),
        (
            vec!["load", "--transport", "memory", "--json", &nowhere],
            "cannot write",
        ),
        (
            vec![
                "load",
                "--transport",
                "memory",
                "--report",
                folder.0.to_str().unwrap_or(""),
            ],
            "it is a directory",
        ),
    ] {
        let output = hioload(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = text(&output.stderr);
        assert!(said.contains(part), "{arguments:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    assert!(!Path::new(&missing).exists());
}
