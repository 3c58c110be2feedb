//! Reads the configuration file. An error is one line of text that names the file and the line.

use std::fs;
use std::path::Path;

use super::Settings;
use super::reference::settings;
use crate::Failure;

/// Reads `path`.
///
/// # Errors
/// Code 2: `FILE: why` if the file cannot be read, `FILE:LINE: why` if it is wrong.
pub(crate) fn read(path: &Path) -> Result<Settings, Failure> {
    let file = path.display();
    let text =
        fs::read_to_string(path).map_err(|why| Failure::usage(why).in_context(file.to_string()))?;
    parse(&text).map_err(|why| Failure::usage(format!("{file}:{}: {}", why.line, why.message)))
}

/// An error in the text of a configuration file.
#[derive(Debug)]
pub(crate) struct ParseError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub message: String,
}

/// Parses the text of a configuration file.
///
/// # Errors
/// The first error of the text.
pub(crate) fn parse(text: &str) -> Result<Settings, ParseError> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start).min(text.len());
        let before = &text.as_bytes()[..start];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let why = explain(error.message(), &section_at(text, line));
        let message = match key_at(text, line) {
            Some(key) if !why.contains(key) => format!("{key}: {why}"),
            _ => why,
        };
        ParseError { line, message }
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

/// The parser's message in one line, with the terms of the documentation.
fn explain(message: &str, section: &str) -> String {
    let message = message.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let Some((unknown, _)) = message
        .strip_prefix("unknown field `")
        .and_then(|rest| rest.split_once('`'))
    else {
        return message;
    };
    let home = settings().find(|(_, setting)| setting.key == unknown);
    let home = home.map(|(section, _)| section);
    let at_top = section.is_empty() || section == unknown;
    match home {
        Some(home) if at_top => format!("{unknown} belongs in section [{home}]"),
        Some(home) => format!("{unknown} belongs in section [{home}], not in [{section}]"),
        None if at_top => format!("unknown section or key {unknown}"),
        None => format!("unknown key {unknown} in section [{section}]"),
    }
}
