//! The patterns that the attack `topics` subscribes to.

use std::fmt;

/// The patterns that the attack `topics` subscribes to, and the topics that it publishes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Shape {
    /// All 65,536 patterns of sixteen tokens, each of which is `a` or the wildcard. A publication to `a.a.(...).a` matches all.
    #[default]
    All,
    /// The 697 patterns of sixteen tokens with at most three wildcards, for servers that limit their number.
    Deep,
    /// 65,536 patterns of two tokens: a wildcard and a number, or a word and a number. Publications go to one number after another.
    Wide,
}

impl Shape {
    /// The names, for error texts.
    pub(crate) const NAMES: &'static str = "all, deep or wide";

    /// The shape with this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "all" => Some(Self::All),
            "deep" => Some(Self::Deep),
            "wide" => Some(Self::Wide),
            _ => None,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all",
            Self::Deep => "deep",
            Self::Wide => "wide",
        })
    }
}
