//! Questions of the control socket: their text, and what they ask for. Depends on nothing else of this crate, so that it is fuzzed.

use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use hioload_transport::Wanted;

/// The most bytes of a question.
pub(crate) const LONGEST: usize = 4096;

/// One question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Question<'a> {
    /// `flows [details] [PEER]`
    Flows(Wanted),
    /// `tap start SNAPLEN MAX-BYTES FILE`: the file has an absolute path.
    Start(u32, u64, &'a str),
    /// `tap stop`
    Stop,
}

impl<'a> Question<'a> {
    /// Parses a line without its end; `None` if it is no question.
    pub(crate) fn parse(line: &'a str) -> Option<Self> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "flows" => parse_wanted(rest).map(Self::Flows),
            "tap" if rest == "stop" => Some(Self::Stop),
            "tap" => {
                let mut parts = rest.strip_prefix("start ")?.splitn(3, ' ');
                let snaplen = parts.next()?.parse().ok()?;
                let max_bytes = parts.next()?.parse().ok()?;
                let file = parts.next().filter(|file| file.starts_with('/'))?;
                Some(Self::Start(snaplen, max_bytes, file))
            }
            _ => None,
        }
    }
}

fn parse_wanted(words: &str) -> Option<Wanted> {
    let mut wanted = Wanted::default();
    for word in words.split(' ').filter(|word| !word.is_empty()) {
        if word == "details" {
            wanted.details = true;
        } else if let Ok(peer) = word.parse::<SocketAddr>() {
            (wanted.peer, wanted.port) = (Some(peer.ip()), Some(peer.port()));
        } else {
            (wanted.peer, wanted.port) = (Some(word.parse::<IpAddr>().ok()?), None);
        }
    }
    Some(wanted)
}

/// The text that [`Question::parse`] reads.
impl fmt::Display for Question<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flows(wanted) => {
                f.write_str("flows")?;
                if wanted.details {
                    f.write_str(" details")?;
                }
                match (wanted.peer, wanted.port) {
                    (Some(peer), Some(port)) => write!(f, " {}", SocketAddr::new(peer, port)),
                    (Some(peer), None) => write!(f, " {peer}"),
                    _ => Ok(()),
                }
            }
            Self::Start(snaplen, max_bytes, file) => {
                write!(f, "tap start {snaplen} {max_bytes} {file}")
            }
            Self::Stop => f.write_str("tap stop"),
        }
    }
}

/// Reads a question up to the end of its line, without that end. A client that sends a byte now and then has no more time than others:
/// the whole line has to arrive before `until`.
///
/// # Errors
/// The client stopped sending, the line is longer than [`LONGEST`] or not UTF-8, or it took too long.
pub(crate) fn read(client: &mut impl Read, until: Instant) -> io::Result<String> {
    let mut line = Vec::new();
    let mut piece = [0; 512];
    let end = loop {
        if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            break end;
        }
        if line.len() > LONGEST {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                "the question is too long",
            ));
        }
        if Instant::now() >= until {
            return Err(ErrorKind::TimedOut.into());
        }
        match client.read(&mut piece) {
            Ok(0) => break line.len(),
            Ok(n) => line.extend_from_slice(&piece[..n]),
            Err(why) if why.kind() == ErrorKind::Interrupted => {}
            Err(why) => return Err(why),
        }
    };
    line.truncate(end);
    let line =
        String::from_utf8(line).map_err(|why| io::Error::new(ErrorKind::InvalidData, why))?;
    Ok(line.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_question_is_one_line() {
        let wanted = Wanted::default();
        let one = Wanted {
            peer: Some([10, 0, 0, 1].into()),
            port: Some(80),
            details: true,
        };
        for (text, question) in [
            ("flows", Some(Question::Flows(wanted))),
            ("flows details 10.0.0.1:80", Some(Question::Flows(one))),
            ("tap stop", Some(Question::Stop)),
            (
                "tap start 128 4096 /tmp/a b.pcapng",
                Some(Question::Start(128, 4096, "/tmp/a b.pcapng")),
            ),
            ("", None),
            ("dance", None),
            ("flows everything", None),
            ("tap", None),
            ("tap start 1 2", None),
            ("tap start x 2 /a", None),
            ("tap start 1 2 relative", None),
        ] {
            assert_eq!(Question::parse(text), question, "{text}");
            if let Some(question) = question {
                assert_eq!(question.to_string(), text);
            }
        }
    }

    /// Gives one byte for each call.
    struct Slowly<'a>(&'a [u8]);

    impl Read for Slowly<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.0.read(&mut out[..1])
        }
    }

    #[test]
    fn a_question_ends_with_its_line_and_is_bounded_in_bytes_and_time() {
        let later = Instant::now() + Duration::from_secs(3600);
        let read_all = |bytes: &[u8], until| read(&mut Slowly(bytes), until);
        assert_eq!(
            read_all(b"flows details\nmore", later).expect("a line"),
            "flows details"
        );
        assert_eq!(
            read_all(b"tap stop\r\n", later).expect("a line"),
            "tap stop"
        );
        assert_eq!(read_all(b"flows", later).expect("an end"), "flows");
        assert!(read_all(&vec![b'x'; LONGEST + 600], later).is_err());
        assert!(read_all(b"\xff\n", later).is_err());
        let why = read_all(b"flows\n", Instant::now()).expect_err("too late");
        assert_eq!(why.kind(), ErrorKind::TimedOut);
    }
}
