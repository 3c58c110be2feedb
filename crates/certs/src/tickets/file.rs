//! The file of keys that several servers share.

use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use super::keys::{DEFAULT_PERIOD, Key, KeyName, KeySet, LONGEST_PERIOD, SECRET};
use crate::Error;
use crate::certificate::hex;
use crate::files::{self, Files};

/// The largest number of keys in a file.
const MOST_KEYS: usize = 256;

/// A file of ticket keys.
///
/// It is text. An empty line, and one that begins with `#`, is ignored. The first line is `hioload-ticket-keys 1`, the second
/// `period SECONDS`. Each other line is a key: `key FROM NAME SECRET`, with the time from which it encrypts in seconds since 1970, 16 bytes
/// of name and 32 of secret in hexadecimal.
///
/// The latest key whose time has come encrypts, for one period. It decrypts for one more, and before its time as well, so servers whose
/// clocks differ, or that get a new file at different times, still read each other's tickets. A file that holds keys of the future needs
/// no change for as long; [`TicketFile::extend`] adds more.
#[derive(Debug)]
pub struct TicketFile {
    path: PathBuf,
    keys: KeySet,
}

impl TicketFile {
    /// Makes a file, or adds keys to one: it then has the keys that still decrypt and `ahead` keys of the future. The file is replaced
    /// whole, and only its owner may read it.
    ///
    /// # Errors
    /// The file exists and has another period or form, or cannot be written.
    pub fn extend(
        path: &Path,
        period: Option<Duration>,
        ahead: usize,
        now: u64,
    ) -> Result<Self, Error> {
        if ahead > MOST_KEYS - 3 {
            return Err(Error::new(format!("a file has at most {MOST_KEYS} keys")));
        }
        let wanted = period.map(|period| period.as_secs());
        let before = if path.exists() {
            let before = read(path, &mut Files::default())?;
            if let Some(wanted) = wanted.filter(|wanted| *wanted != before.period()) {
                let before = before.period();
                return Err(Error::of(
                    path,
                    format!(
                        "its period is {before} s, not {wanted} s: the servers would refuse each other's tickets"
                    ),
                ));
            }
            before
        } else {
            KeySet::new(wanted.unwrap_or(DEFAULT_PERIOD.as_secs()), Vec::new())
        };
        if !(1..=LONGEST_PERIOD.as_secs()).contains(&before.period()) {
            return Err(Error::new("the period is from 1 second to 7 days"));
        }
        let keys = before.extended(now, ahead)?;
        files::write(path, text(&keys).as_bytes(), true)?;
        Ok(Self {
            path: path.to_owned(),
            keys,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The period of its keys.
    pub fn period(&self) -> Duration {
        Duration::from_secs(self.keys.period())
    }

    /// The number of its keys.
    pub fn keys(&self) -> usize {
        self.keys.keys().len()
    }

    /// The time at which its last key stops to encrypt, in seconds since 1970.
    pub fn end(&self) -> u64 {
        self.keys.end()
    }
}

fn text(set: &KeySet) -> Zeroizing<String> {
    const LINE: usize = 4 + 20 + 1 + 32 + 1 + 64 + 1;
    let head = format!(
        "hioload-ticket-keys 1\n# Whoever has this file reads the connections that were resumed with its keys.\nperiod {}\n",
        set.period()
    );
    // One allocation that never grows: a text that grows would leave copies of secrets behind.
    let mut text = Zeroizing::new(String::with_capacity(head.len() + LINE * set.keys().len()));
    text.push_str(&head);
    for key in set.keys() {
        text.push_str("key ");
        text.push_str(&key.from.to_string());
        text.push(' ');
        text.push_str(&hex(&key.name));
        text.push(' ');
        for byte in key.secret.iter() {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
            }
        }
        text.push('\n');
    }
    text
}

/// Reads a file of keys.
///
/// # Errors
/// The line at fault, never with its content.
pub(crate) fn read(path: &Path, files: &mut Files) -> Result<KeySet, Error> {
    let content = files.read_secret(path)?;
    let text = std::str::from_utf8(&content).map_err(|_| Error::of(path, "it is not text"))?;
    parse(text).map_err(|(line, why)| Error::of(path, format!("line {line}: {why}")))
}

type Wrong = (usize, &'static str);

fn parse(text: &str) -> Result<KeySet, Wrong> {
    let lines = text.lines().enumerate();
    let lines = lines.map(|(n, line)| (n + 1, line.trim()));
    let mut lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    match lines.next() {
        Some((_, "hioload-ticket-keys 1")) => {}
        other => {
            let line = other.map_or(1, |(line, _)| line);
            return Err((
                line,
                "expected \"hioload-ticket-keys 1\" (hioload cert tickets makes such a file)",
            ));
        }
    }
    let (line, period) = lines.next().ok_or((2, "expected \"period SECONDS\""))?;
    let period = period
        .strip_prefix("period ")
        .and_then(|text| text.trim().parse().ok());
    let period = period.filter(|period| (1..=LONGEST_PERIOD.as_secs()).contains(period));
    let period = period.ok_or((line, "expected \"period SECONDS\", from 1 to 604800"))?;
    let mut keys: Vec<Key> = Vec::new();
    for (line, text) in lines {
        let key = key(text).ok_or((line, "expected \"key FROM NAME SECRET\""))?;
        if keys.iter().any(|known| known.name == key.name) {
            return Err((line, "two keys have one name"));
        }
        if keys.len() == MOST_KEYS {
            return Err((line, "it has more than 256 keys"));
        }
        keys.push(key);
    }
    if keys.is_empty() {
        return Err((1, "it has no keys"));
    }
    Ok(KeySet::new(period, keys))
}

fn key(text: &str) -> Option<Key> {
    let mut words = text.split_ascii_whitespace();
    let (Some("key"), Some(from), Some(name), Some(secret), None) = (
        words.next(),
        words.next(),
        words.next(),
        words.next(),
        words.next(),
    ) else {
        return None;
    };
    let mut key = Key {
        from: from.parse().ok()?,
        name: KeyName::default(),
        secret: Box::new(Zeroizing::new([0; SECRET])),
    };
    unhex(name, &mut key.name)?;
    unhex(secret, &mut key.secret[..])?;
    Some(key)
}

fn unhex(text: &str, out: &mut [u8]) -> Option<()> {
    if text.len() != out.len() * 2 {
        return None;
    }
    for (pair, out) in text.as_bytes().chunks(2).zip(out) {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        *out = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(from: u64, byte: u8) -> String {
        let (name, secret) = (hex(&[byte; 16]), hex(&[byte; 32]));
        format!("key {from} {name} {secret}\n")
    }

    #[test]
    fn a_file_is_written_and_read_back() {
        let set = KeySet::new(60, vec![])
            .extended(1000, 3)
            .expect("random numbers");
        let text = text(&set);
        assert_eq!(text.capacity() - text.len(), set.keys().len() * (20 - 4));
        let read = parse(&text).expect("its own form");
        let all = |set: &KeySet| {
            set.keys()
                .iter()
                .map(|key| (key.from, key.name, **key.secret))
                .collect::<Vec<_>>()
        };
        assert_eq!(all(&read), all(&set));
        assert_eq!(read.period(), 60);
    }

    #[test]
    fn a_wrong_line_is_named_and_not_shown() {
        let head = "hioload-ticket-keys 1\n\n# comment\nperiod 60\n";
        for (text, line_number, why) in [
            (String::new(), 1, "hioload-ticket-keys"),
            ("hioload-ticket-keys 2\n".into(), 1, "hioload-ticket-keys"),
            ("hioload-ticket-keys 1\nperiod 0\n".into(), 2, "604800"),
            ("hioload-ticket-keys 1\nperiod 604801\n".into(), 2, "604800"),
            (head.into(), 1, "no keys"),
            (
                format!("{head}{}key 5 00 c0ffee\n", line(1, 1)),
                6,
                "key FROM",
            ),
            (format!("{head}{}{}", line(1, 1), line(2, 1)), 6, "one name"),
            (
                format!("{head}key 1 {} {}\n", "é".repeat(16), "0".repeat(64)),
                5,
                "key FROM",
            ),
        ] {
            let (line, said) = parse(&text).expect_err(&text);
            assert!(said.contains(why), "{text}: {said}");
            assert_eq!(line, line_number, "{text}");
            assert!(!said.contains("c0ffee"));
        }
        let many: String = (0..=256u64)
            .map(|n| format!("key {n} {n:032x} {}\n", "0".repeat(64)))
            .collect();
        assert_eq!(
            parse(&format!("{head}{many}")).expect_err("too many").1,
            "it has more than 256 keys"
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,200}", keys in "(key [0-9]{0,22} [0-9a-fé]{30,34} [0-9a-f]{62,66}\n?){0,3}") {
            let _ = parse(&text);
            let _ = parse(&format!("hioload-ticket-keys 1\nperiod 60\n{keys}"));
        }
    }
}
