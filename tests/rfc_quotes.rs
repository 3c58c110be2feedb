//! Every MUST of the two RFCs is quoted at the code that implements it and at the test that proves it.
//!
//! `rfc/musts.txt` lists the MUSTs. The test searches comments for the words of each after the number of its section. `RFC.md` holds the
//! places; `RFC_WRITE=1 cargo test --test rfc_quotes` writes it.
#![allow(missing_docs)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const TABLE: &str = "tests/RFC.md";
const HEAD: &str = "\
# Where each MUST is kept

Every MUST of RFC 6455 §4, §5, §7, §8 and of RFC 7692 §4 to §7: the place of the code that keeps it and of a test that
proves it, both of which quote it, or why it does not apply. Made from [musts.txt](rfc/musts.txt) and the sources by
`RFC_WRITE=1 cargo test --test rfc_quotes`; without the variable the same test fails if this is out of date.
";

/// A line of the list.
struct Must<'a> {
    rfc: &'a str,
    section: &'a str,
    quote: &'a str,
    /// The reason, if it does not apply.
    not: Option<&'a str>,
}

impl<'a> Must<'a> {
    fn read(line: &'a str) -> Self {
        // The RFCs put the names of headers between bars without spaces around them.
        let columns: Vec<_> = line.split(" | ").collect();
        let (rfc, section) = columns[0].split_once(' ').expect("an RFC and a section");
        Must {
            rfc,
            section,
            quote: columns.get(1).expect("a quote"),
            not: columns.get(2).copied(),
        }
    }

    /// Whether `comment` names the section and then quotes the words.
    fn is_in(&self, comment: &str) -> bool {
        let section = format!("§{}", self.section);
        let found = comment.match_indices(&section).find(|(at, name)| {
            // §5.1 does not name §5; a full stop at the end of a sentence follows §5.
            let mut after = comment[at + name.len()..].chars();
            match after.next() {
                Some('.') => !after.next().is_some_and(|c| c.is_ascii_digit()),
                next => !next.is_some_and(|c| c.is_ascii_digit()),
            }
        });
        found.is_some_and(|(at, _)| comment[at..].contains(self.quote))
    }

    /// Enough words to find the quote.
    fn first_words(&self) -> String {
        let words: Vec<_> = self.quote.split(' ').collect();
        let end = if words.len() > 12 { " ..." } else { "" };
        let text = words[..words.len().min(12)].join(" ") + end;
        text.replace('|', "\\|").replace('_', "\\_")
    }
}

/// A run of comment lines as one line of text.
struct Comment {
    text: String,
    /// Its file and the item or function around it.
    place: String,
    in_test: bool,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("readable").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            if !path.ends_with("target") {
                sources(&path, into);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

/// The text of a comment line without its markers.
fn comment_text(line: &str) -> Option<&str> {
    let text = line.trim_start().strip_prefix("//")?;
    Some(text.trim_start_matches(['/', '!']).trim())
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The name that a line declares.
fn declared<'a>(line: &'a str, keywords: &[&str]) -> Option<&'a str> {
    let mut words = line
        .split([' ', '(', '<', ':', ';'])
        .filter(|w| !w.is_empty());
    words.find(|word| keywords.contains(word))?;
    words.next()
}

/// The function around the comment that begins at `lines[at]`; if there is none, the item after it.
fn place(lines: &[&str], at: usize) -> String {
    let mut level = indent(lines[at]);
    for line in lines[..at].iter().rev() {
        let text = line.trim_start();
        // The end of a block or of a signature's parameters does not name the item.
        if text.is_empty() || text.starts_with([')', '}', ']', '#', '/']) || indent(line) >= level {
            continue;
        }
        if let Some(name) = declared(line, &["fn"]) {
            return name.to_owned();
        }
        level = indent(line);
    }
    let mut after = lines[at..].iter().filter(|l| comment_text(l).is_none());
    let item = after.find(|l| !l.trim().is_empty() && !l.trim_start().starts_with('#'));
    let item = item.map_or("", |line| line.trim());
    let kinds = ["struct", "enum", "const", "trait", "mod", "type"];
    let name = declared(item, &["fn"]).or_else(|| declared(item, &kinds));
    // A line without a declaration is a variant of an enum or a field.
    let first = || item.split(['(', ':', ',']).next().unwrap_or_default();
    name.unwrap_or_else(first).to_owned()
}

fn comments() -> Vec<Comment> {
    let mut files = Vec::new();
    for folder in ["crates", "src", "tests"] {
        sources(&root().join(folder), &mut files);
    }
    let mut all = Vec::new();
    for file in files {
        let path = file.strip_prefix(root()).expect("below the root");
        let path = path.to_str().expect("UTF-8").replace('\\', "/");
        let text = fs::read_to_string(&file).expect("readable");
        let lines: Vec<_> = text.lines().collect();
        let of_tests =
            path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("_tests.rs");
        // The tests of a file are at its end.
        let tests_from = (1..lines.len())
            .find(|&i| lines[i - 1] == "#[cfg(test)]" && lines[i].ends_with('{'))
            .unwrap_or(lines.len());
        let mut at = 0;
        while at < lines.len() {
            let run = lines[at..].iter().map_while(|l| comment_text(l));
            let run: Vec<_> = run.collect();
            if !run.is_empty() {
                all.push(Comment {
                    text: run.join(" "),
                    place: format!(
                        "{}: {}",
                        path.trim_start_matches("crates/"),
                        place(&lines, at)
                    ),
                    in_test: of_tests || at > tests_from,
                });
            }
            at += run.len().max(1);
        }
    }
    all
}

/// The first two places.
fn first_two(places: &[&str]) -> String {
    let mut places = places.to_vec();
    places.dedup();
    places.truncate(2);
    places.join("; ")
}

#[test]
fn every_must_is_quoted_at_its_code_and_at_its_test() {
    let list = fs::read_to_string(root().join("tests/rfc/musts.txt")).expect("the list");
    let comments = comments();
    let (mut missing, mut table, mut rfc) = (String::new(), HEAD.to_owned(), "");
    for line in list
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
    {
        let must = Must::read(line);
        if must.rfc != rfc {
            rfc = must.rfc;
            let _ = write!(
                table,
                "\n## RFC {rfc}\n\n| § | Words | Code | Test |\n| --- | --- | --- | --- |\n"
            );
        }
        let _ = write!(table, "| {} | {} |", must.section, must.first_words());
        if let Some(why) = must.not {
            let _ = writeln!(table, " does not apply: {why} | |");
            continue;
        }
        let places = |in_test: bool| {
            let found = comments
                .iter()
                .filter(|c| c.in_test == in_test && must.is_in(&c.text));
            found.map(|c| c.place.as_str()).collect::<Vec<_>>()
        };
        let (code, tests) = (places(false), places(true));
        for (what, found) in [("code", &code), ("test", &tests)] {
            if found.is_empty() {
                let _ = writeln!(
                    missing,
                    "{what}: RFC {} §{}: {}",
                    must.rfc, must.section, must.quote
                );
            }
        }
        let _ = writeln!(table, " {} | {} |", first_two(&code), first_two(&tests));
    }
    assert!(missing.is_empty(), "not quoted:\n{missing}");
    let path = root().join(TABLE);
    if std::env::var_os("RFC_WRITE").is_some() {
        fs::write(&path, &table).expect("writable");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == table,
        "{TABLE} is out of date: write it anew with RFC_WRITE=1 cargo test --test rfc_quotes"
    );
}
