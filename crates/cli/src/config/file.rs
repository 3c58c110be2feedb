//! Reads the configuration file. Whatever is wrong with it is said in one line that names the file and the line.

use std::fs;
use std::path::Path;

use super::{Settings, reference};

/// Reads `path`.
///
/// # Errors
/// One line: `FILE: why` if it cannot be read, `FILE:LINE: why` if it is not what it should be.
pub(crate) fn read(path: &Path) -> Result<Settings, String> {
    let text = fs::read_to_string(path).map_err(|why| format!("{}: {why}", path.display()))?;
    parse(&text).map_err(|(line, why)| format!("{}:{line}: {why}", path.display()))
}

/// Parses the text of a configuration file.
///
/// # Errors
/// The line (from 1) and what is wrong there.
pub(crate) fn parse(text: &str) -> Result<Settings, (usize, String)> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start).min(text.len());
        let before = &text.as_bytes()[..start];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let why = explain(error.message(), &section_at(text, line));
        match key_at(text, line) {
            Some(key) if !why.contains(key) => (line, format!("{key}: {why}")),
            _ => (line, why),
        }
    })
}

/// The name of the section that a line is in; empty before the first.
fn section_at(text: &str, line: usize) -> String {
    let headers = text
        .lines()
        .take(line)
        .filter_map(|line| line.trim().strip_prefix('['));
    headers
        .last()
        .and_then(|rest| rest.split_once(']'))
        .map_or_else(String::new, |(name, _)| name.trim().to_owned())
}

/// The key that a line belongs to: the last one that begins in this line or above it, in the same section.
fn key_at(text: &str, line: usize) -> Option<&str> {
    let above: Vec<&str> = text.lines().take(line).collect();
    let section = above
        .iter()
        .rev()
        .take_while(|line| !line.trim_start().starts_with('['));
    section
        .filter_map(|line| line.split_once('='))
        .map(|(key, _)| key.trim())
        .find(|key| is_bare_key(key))
}

fn is_bare_key(key: &str) -> bool {
    !key.is_empty()
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// The parser's message, in one line and in the words of the documentation.
fn explain(message: &str, section: &str) -> String {
    let message = message.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let Some((unknown, _)) = message
        .strip_prefix("unknown field `")
        .and_then(|rest| rest.split_once('`'))
    else {
        return message;
    };
    let keys = reference();
    if section.is_empty() || section == unknown {
        let belongs = keys.iter().find(|(_, key, _)| key == unknown);
        return match belongs {
            Some((home, ..)) => format!("{unknown} belongs in section [{home}]"),
            None => format!("unknown section or key {unknown}"),
        };
    }
    match keys.iter().find(|(_, key, _)| key == unknown) {
        Some((home, ..)) => format!("{unknown} belongs in section [{home}], not in [{section}]"),
        None => format!("unknown key {unknown} in section [{section}]"),
    }
}
