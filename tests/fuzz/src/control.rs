//! The protocol of the control socket: questions at the server, and responses at the client.
//!
//! Input: a byte that chooses the side, the seed of the splits (4 bytes), then the bytes of a connection.
//!
//! Nothing panics, the split does not change the result, and what was parsed is written in a form that parses to the same.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::input::{Input, cut};
use super::question::{self, LONGEST, Question};
use super::row::{Ends, Recorded, Row, Start};

/// Gives the pieces one by one.
struct Pieces<'a>(Vec<&'a [u8]>);

impl Read for Pieces<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Some(first) = self.0.first_mut() else {
            return Ok(0);
        };
        let n = first.read(out)?;
        if first.is_empty() {
            self.0.remove(0);
        }
        Ok(n)
    }
}

/// Runs one input; see the module.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let (side, seed) = (input.byte(), input.word());
    let bytes = input.rest();
    if side & 1 == 0 {
        ask(bytes, seed);
    } else {
        respond(bytes);
    }
}

fn ask(bytes: &[u8], seed: u32) {
    let until = Instant::now() + Duration::from_secs(3600);
    let whole = question::read(&mut Pieces(vec![bytes]), until).ok();
    let split = question::read(&mut Pieces(cut(bytes, seed)), until).ok();
    // A line near the limit may be seen whole at once and be too long in pieces.
    if bytes.len() <= LONGEST {
        assert_eq!(whole, split, "the split changes the question");
    }
    let Some(line) = whole else { return };
    assert!(!line.contains('\n'));
    if let Some(question) = Question::parse(&line) {
        let text = question.to_string();
        assert_eq!(Question::parse(&text), Some(question), "{text}");
    }
}

/// Each line as the client reads it: first as what it expects there, then as what else it may be.
fn respond(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for line in text.lines() {
        survives::<Start>(line);
        survives::<Ends>(line);
        survives::<Recorded>(line);
        if let Some(row) = survives::<Row>(line) {
            assert!(!row.text().is_empty());
        }
    }
}

fn survives<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(
    line: &str,
) -> Option<T> {
    let value: T = serde_json::from_str(line).ok()?;
    let again = serde_json::to_string(&value).expect("plain data");
    assert_eq!(
        serde_json::from_str::<T>(&again).ok().as_ref(),
        Some(&value)
    );
    Some(value)
}
