//! The names that clients ask for (RFC 6066 §3) and the certificates that answer.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

/// The longest host name in text (RFC 1035 §2.3.4).
const LONGEST: usize = 253;

/// A host name, or `*.` and a host name, which stands for exactly one more label (RFC 9525 §6.3).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Name {
    /// Lower case, without `*.` and a dot at the end.
    text: Box<str>,
    wildcard: bool,
}

impl Name {
    /// Whether a host name, in any case, is this name or matches it.
    pub fn matches(&self, host: &str) -> bool {
        let host = if self.wildcard {
            match host.split_once('.') {
                Some((label, rest)) if !label.is_empty() => rest,
                _ => return false,
            }
        } else {
            host
        };
        host.eq_ignore_ascii_case(&self.text)
    }
}

impl FromStr for Name {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let (text, wildcard) = match text.strip_prefix("*.") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        if text.contains('*') {
            return Err("a wildcard is the whole first label, as in *.example.org");
        }
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        if text.len() > LONGEST || !text.split('.').all(label) {
            return Err("expected a host name, or *. and a host name");
        }
        Ok(Self {
            text: text.to_ascii_lowercase().into(),
            wildcard,
        })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.wildcard { "*." } else { "" };
        write!(f, "{star}{}", self.text)
    }
}

/// Which certificates have a name: an exact name wins over a wildcard. A name may have several certificates, with keys of different
/// kinds; they stay in the order in which they were added.
#[derive(Debug, Default)]
pub(crate) struct NameTable {
    exact: HashMap<Box<str>, Vec<usize>>,
    wildcard: HashMap<Box<str>, Vec<usize>>,
}

impl NameTable {
    /// Adds a certificate under a name.
    pub(crate) fn add(&mut self, name: &Name, certificate: usize) {
        let table = if name.wildcard {
            &mut self.wildcard
        } else {
            &mut self.exact
        };
        let list = table.entry(name.text.clone()).or_default();
        if !list.contains(&certificate) {
            list.push(certificate);
        }
    }

    /// The certificates for a host name, in any case. Allocates nothing.
    pub(crate) fn find(&self, host: &str) -> &[usize] {
        let host = host.strip_suffix('.').unwrap_or(host);
        let mut lower = [0; LONGEST];
        let Some(lower) = lower.get_mut(..host.len()) else {
            return &[];
        };
        lower.copy_from_slice(host.as_bytes());
        lower.make_ascii_lowercase();
        let Ok(host) = std::str::from_utf8(lower) else {
            return &[];
        };
        if let Some(list) = self.exact.get(host) {
            return list;
        }
        let list = host
            .split_once('.')
            .filter(|(label, _)| !label.is_empty())
            .and_then(|(_, rest)| self.wildcard.get(rest));
        list.map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(names: &[&str]) -> NameTable {
        let mut table = NameTable::default();
        for (n, name) in names.iter().enumerate() {
            table.add(&name.parse().expect(name), n);
        }
        table
    }

    #[test]
    fn an_exact_name_wins_over_a_wildcard_which_is_one_label() {
        let table = table(&[
            "*.example.org",
            "a.example.org",
            "example.org",
            "B.Example.net.",
        ]);
        for (host, expected) in [
            ("a.example.org", &[1][..]),
            ("A.EXAMPLE.ORG", &[1]),
            ("a.example.org.", &[1]),
            ("b.example.org", &[0]),
            ("example.org", &[2]),
            ("a.b.example.org", &[]),
            (".example.org", &[]),
            ("b.example.net", &[3]),
            ("org", &[]),
            ("", &[]),
        ] {
            assert_eq!(table.find(host), expected, "{host}");
        }
        assert_eq!(table.find(&"a".repeat(254)), &[] as &[usize]);
    }

    #[test]
    fn certificates_of_one_name_keep_their_order() {
        let table = table(&["x.org", "*.org", "x.org"]);
        assert_eq!(table.find("x.org"), [0, 2]);
    }

    #[test]
    fn names_that_no_client_asks_for_are_refused() {
        for text in [
            "", "*", "*.", "a*.org", "*a.org", "a.*.org", "a..b", "a b", "ä.org", ".a",
        ] {
            assert!(text.parse::<Name>().is_err(), "{text}");
        }
        assert!("a".repeat(64).parse::<Name>().is_err());
        for text in ["a", "*.a", "xn--4ca.org", "_x.a-b.org"] {
            assert_eq!(
                text.parse::<Name>().map(|name| name.to_string()),
                Ok(text.into())
            );
        }
    }

    proptest! {
        /// The table finds what a comparison with every name finds.
        #[test]
        fn the_table_agrees_with_a_search(
            names in prop::collection::vec("(\\*\\.)?[ab]{1,2}(\\.[ab]){0,2}", 1..8),
            host in "[abAB]{1,2}(\\.[ab]){0,3}",
        ) {
            let names: Vec<Name> = names.iter().map(|name| name.parse().expect("a name")).collect();
            let mut table = NameTable::default();
            for (n, name) in names.iter().enumerate() {
                table.add(name, n);
            }
            let matching = |wildcard: bool| -> Vec<usize> {
                let all = names.iter().enumerate();
                all.filter(|(_, name)| name.wildcard == wildcard && name.matches(&host)).map(|(n, _)| n).collect()
            };
            let expected = if matching(false).is_empty() { matching(true) } else { matching(false) };
            prop_assert_eq!(table.find(&host), expected);
        }
    }
}
