//! The history of a run: a hash that two runs can be compared by, and the last lines before a failure.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use hioload_lcore::Time;

use crate::packet::{self, View};
use crate::random::mix;

/// One line. It is formatted only when it is read.
enum Line {
    Frame {
        what: &'static str,
        from: usize,
        head: [u8; 128],
        kept: u8,
        length: usize,
    },
    Text {
        what: &'static str,
        a: u64,
        b: u64,
    },
    Long(String),
}

/// The history of one run.
pub struct Trace {
    pub now: Time,
    hash: u64,
    count: u64,
    keep: usize,
    lines: VecDeque<(Time, Line)>,
}

/// A trace that survives a panic of the traced code.
#[derive(Clone)]
pub struct Shared(Rc<RefCell<Trace>>);

impl Shared {
    /// Keeps the last `keep` lines.
    pub fn new(keep: usize) -> Self {
        Self(Rc::new(RefCell::new(Trace {
            now: Time::ZERO,
            hash: 0,
            count: 0,
            keep,
            lines: VecDeque::with_capacity(keep.min(4096)),
        })))
    }

    pub fn at(&self, now: Time) {
        self.0.borrow_mut().now = now;
    }

    /// Records a frame.
    pub fn frame(&self, what: &'static str, from: usize, bytes: &[u8]) {
        let mut trace = self.0.borrow_mut();
        let mut hash = from as u64;
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            hash ^= hash >> 29;
        }
        let mut head = [0; 128];
        let kept = bytes.len().min(head.len());
        head[..kept].copy_from_slice(&bytes[..kept]);
        let length = bytes.len();
        let line = Line::Frame {
            what,
            from,
            head,
            kept: kept as u8,
            length,
        };
        trace.push(hash, line);
    }

    /// Records a text with two numbers.
    pub fn note(&self, what: &'static str, a: u64, b: u64) {
        let seed = what.len() as u64;
        let hash = mix(mix(seed ^ a) ^ b);
        self.0.borrow_mut().push(hash, Line::Text { what, a, b });
    }

    /// Records a rare event.
    pub fn say(&self, text: String) {
        let hash = text.bytes().fold(1, |h, b| mix(h ^ u64::from(b)));
        self.0.borrow_mut().push(hash, Line::Long(text));
    }

    /// The hash of the history.
    pub fn hash(&self) -> u64 {
        self.0.borrow().hash
    }
}

impl Trace {
    fn push(&mut self, hash: u64, line: Line) {
        self.hash = mix(self.hash ^ hash ^ self.now.as_nanos());
        self.count += 1;
        if self.keep == 0 {
            return;
        }
        if self.lines.len() == self.keep {
            self.lines.pop_front();
        }
        self.lines.push_back((self.now, line));
    }
}

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trace = self.0.borrow();
        writeln!(
            f,
            "the last {} of {} lines:",
            trace.lines.len(),
            trace.count
        )?;
        for (time, line) in &trace.lines {
            writeln!(f, "{:>12.6} {line}", time.as_nanos() as f64 / 1e9)?;
        }
        Ok(())
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Long(text) => f.write_str(text),
            Self::Text { what, a, b } => write!(f, "{what} {} {}", Number(*a), Number(*b)),
            Self::Frame {
                what,
                from,
                head,
                kept,
                length,
            } => {
                write!(f, "port {from} {what} {length} B ")?;
                describe(f, &head[..usize::from(*kept)])
            }
        }
    }
}

/// Flow ids are two numbers in one.
struct Number(u64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 >> 32 {
            0 => write!(f, "{}", self.0),
            generation => write!(f, "{}.{generation}", self.0 & 0xffff_ffff),
        }
    }
}

/// A frame in short.
fn describe(f: &mut fmt::Formatter<'_>, head: &[u8]) -> fmt::Result {
    let Some(View {
        src,
        dst,
        protocol,
        tcp,
        ..
    }) = packet::view(head)
    else {
        let kind = head.get(12..14).unwrap_or_default();
        return write!(f, "type {kind:02x?}");
    };
    let Some(tcp) = tcp else {
        return write!(f, "{src} > {dst} protocol {protocol}");
    };
    let named = [
        (packet::SYN, 'S'),
        (packet::FIN, 'F'),
        (packet::RST, 'R'),
        (packet::PSH, 'P'),
        (packet::ACK, '.'),
    ];
    let flags: String = named
        .iter()
        .filter(|(bit, _)| tcp.flags & bit != 0)
        .map(|(_, letter)| letter)
        .collect();
    let (from, to) = tcp.ports;
    let (seq, ack) = (tcp.seq, tcp.ack);
    write!(
        f,
        "{src}.{from} > {dst}.{to} [{flags}] seq {seq} ack {ack} win {} len {}",
        tcp.window, tcp.payload
    )
}
