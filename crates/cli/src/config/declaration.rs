//! What the declaration of a setting says, and its texts.

use std::fmt::Write;

/// When a setting can change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// Only when the server starts.
    Start,
    /// Also while lcores run, up to the value at start, which sizes a table.
    UpToStart,
    /// Also while lcores run.
    Running,
}

/// A section of the file, and a heading of the help.
pub(crate) struct Section {
    /// The section's name in the file.
    pub name: &'static str,
    /// What it is about.
    pub heading: &'static str,
    /// Its settings.
    pub settings: &'static [Setting],
}

/// One setting.
pub(crate) struct Setting {
    /// The key of the file; the flag has dashes.
    pub key: &'static str,
    /// The lines of its documentation.
    pub docs: &'static [&'static str],
    /// The accepted values, in words.
    pub accepts: fn() -> String,
    /// The default, as a flag takes it.
    pub default: &'static str,
    /// Whether the file holds an array.
    pub is_list: bool,
    /// When it can change.
    pub change: Change,
    /// What happens beyond the bound that it sets: one text, or none.
    pub beyond: &'static [&'static str],
}

impl Setting {
    /// The paragraphs of the documentation.
    pub(super) fn paragraphs(&self) -> Vec<String> {
        let lines: Vec<&str> = self.docs.iter().map(|line| line.trim()).collect();
        let paragraphs = lines.split(|line| line.is_empty());
        paragraphs.map(|lines| lines.join(" ")).collect()
    }

    /// The first sentence: the help of `-h`.
    pub(crate) fn short_help(&self) -> String {
        let summary = self.paragraphs().swap_remove(0);
        format!("{summary} [default: {}]", self.default)
    }

    /// Everything about it: the help of `--help`.
    pub(crate) fn long_help(&self) -> String {
        let mut text = self.paragraphs().join("\n");
        let _ = write!(text, "\n{}", self.facts());
        let _ = write!(text, "\n[default: {}]", self.default);
        text
    }

    /// The accepted values, what happens beyond the bound, and when the setting can change.
    pub(super) fn facts(&self) -> String {
        let mut text = format!("Accepts {}.", (self.accepts)());
        for beyond in self.beyond {
            let _ = write!(text, " Beyond it {beyond}.");
        }
        text.push_str(match self.change {
            Change::Start => " Fixed at start.",
            Change::UpToStart => " The value at start is an upper bound.",
            Change::Running => "",
        });
        text
    }

    /// The default as a value of the file.
    pub(crate) fn toml_default(&self) -> String {
        let bare = self.default.parse::<u64>().is_ok() || self.default.parse::<bool>().is_ok();
        let value = if bare {
            self.default.to_owned()
        } else {
            format!("{:?}", self.default)
        };
        if self.is_list {
            format!("[{value}]")
        } else {
            value
        }
    }
}
