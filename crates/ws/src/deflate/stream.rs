//! One compressed message: from its octets to its bytes, in slices of bounded effort.

use std::fmt;

use zlib_rs::{Inflate, InflateFlush, Status};

use super::MAX_WINDOW_BITS;
use super::window::Window;

/// The octets that the engine gets after those of a message: the four that the sender removed, then a final empty stored block.
///
/// The final block makes the engine report the end of the stream, but only if the message ends at a block boundary. Without it a
/// message that is cut in the middle of a block would seem complete.
// RFC 7692 §7.2.2: "Append 4 octets of 0x00 0x00 0xff 0xff to the tail end of the payload of the message."
const TAIL: [u8; 9] = [0x00, 0x00, 0xff, 0xff, 0x01, 0x00, 0x00, 0xff, 0xff];

/// The number of blocks with BFINAL that any message may have, and the number of octets that allow one more. Each block costs
/// a priming of the engine, which copies up to 32 KiB, and an attacker needs only two octets for one.
const FINAL_BLOCKS_FREE: usize = 32;
const OCTETS_PER_FINAL_BLOCK: usize = 1024;

/// The smallest output space of one step, in bytes.
const MIN_ROOM: usize = 256;

/// What an octet of input costs, in bytes of output: a block of a few dozen octets may announce tables of codes that take
/// microseconds to build, and make no output.
const EFFORT_OF_OCTET: usize = 16;
/// Bytes copied into the engine's history that cost as much as one byte of output.
const COPIES_PER_EFFORT: usize = 4;

/// The reason why a compressed message cannot be inflated. The connection has to be failed, since the history no longer matches
/// the one with which the peer compresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InflateError {
    /// The message inflates to more than the cap (our limit; close code 1009).
    TooBig,
    /// The octets are not a DEFLATE stream that ends as RFC 7692 §7.2.1 says (the peer's fault; close code 1007).
    Corrupt,
}

impl fmt::Display for InflateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InflateError::TooBig => "our limit: the message inflates to more than is allowed",
            InflateError::Corrupt => "the peer's fault: the compressed message is corrupt",
        })
    }
}

impl std::error::Error for InflateError {}

/// A message that is being inflated: everything but its octets, its output and the engine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stream {
    /// The length of the output before the message.
    start: usize,
    /// The most bytes of the message.
    cap: usize,
    begun: bool,
    /// Octets that the engine has taken of the message, and of what follows it.
    taken: usize,
    tail: Option<usize>,
    final_blocks: usize,
    /// What it has cost so far, in about the time that a byte of output takes.
    pub(crate) effort: usize,
}

impl Stream {
    /// A message whose output is appended after `start` bytes and has at most `cap`.
    pub(crate) fn new(start: usize, cap: usize) -> Self {
        Self {
            start,
            cap,
            begun: false,
            taken: 0,
            tail: None,
            final_blocks: 0,
            effort: 0,
        }
    }

    /// Goes on for an effort of about `slice`. Returns whether the message is whole: then the history has to be extended by it.
    /// The same `engine`, `window`, `input` and `out` must be given until then. The result does not depend on the slices.
    pub(crate) fn advance(
        &mut self,
        engine: &mut Inflate,
        window: Option<&Window>,
        input: &[u8],
        out: &mut Vec<u8>,
        slice: usize,
    ) -> Result<bool, InflateError> {
        // An empty message is one octet (RFC 7692 §7.2.3.6), but some senders let their zlib drop even that when it
        // has flushed just before. Nothing else can be meant.
        if input.is_empty() {
            return Ok(true);
        }
        if !self.begun {
            self.begun = true;
            self.prime(engine, window, &[])?;
        }
        let first_room = input.len().saturating_mul(4).max(MIN_ROOM);
        let until = self.effort.saturating_add(slice);
        loop {
            let made = out.len() - self.start;
            let room = (self.cap - made)
                .min(made.max(first_room))
                .min(slice.max(1));
            let rest = match self.tail {
                None => &input[self.taken..],
                Some(at) => &TAIL[at..],
            };
            // Octets that make no output take time as well: tables of codes, empty blocks.
            let most = (slice / EFFORT_OF_OCTET).max(1);
            let (piece, behind) = rest.split_at(rest.len().min(most));
            let step = step(engine, piece, out, room)?;
            match &mut self.tail {
                None => self.taken += step.consumed,
                Some(at) => *at += step.consumed,
            }
            let produced = out.len() - self.start - made;
            self.effort += produced + step.consumed * EFFORT_OF_OCTET;
            let left = piece.len() - step.consumed;
            match step.status {
                Status::StreamEnd if left == 0 && behind.is_empty() => {
                    // The end of our final block, or of the peer's, if it omits the padding octet of §7.2.3.4.
                    return Ok(true);
                }
                // RFC 7692 §7.2.1: "An endpoint MAY use both DEFLATE blocks with the "BFINAL" bit set to 0 and DEFLATE
                // blocks with the "BFINAL" bit set to 1." The engine ends there; the message goes on, and its history.
                Status::StreamEnd => {
                    self.final_blocks += 1;
                    let octets = input.len() + (out.len() - self.start);
                    if self.final_blocks > FINAL_BLOCKS_FREE + octets / OCTETS_PER_FINAL_BLOCK {
                        return Err(InflateError::Corrupt);
                    }
                    self.prime(engine, window, &out[self.start..])?;
                }
                Status::Ok | Status::BufError if step.filled => {}
                Status::Ok | Status::BufError if left > 0 => return Err(InflateError::Corrupt),
                Status::Ok | Status::BufError if !behind.is_empty() => {}
                Status::Ok | Status::BufError if self.tail.is_some() => {
                    return Err(InflateError::Corrupt);
                }
                Status::Ok | Status::BufError => self.tail = Some(0),
            }
            if self.effort >= until {
                return Ok(false);
            }
        }
    }

    /// Starts a new stream in the engine whose history is `window` followed by `made`.
    fn prime(
        &mut self,
        engine: &mut Inflate,
        window: Option<&Window>,
        made: &[u8],
    ) -> Result<(), InflateError> {
        const WHOLE: usize = 1 << MAX_WINDOW_BITS;
        engine.reset(false);
        let (older, newer) = window.map_or((&[][..], &[][..]), Window::runs);
        let made = &made[made.len().saturating_sub(WHOLE)..];
        // Bytes that `made` has moved out of the window are not copied.
        let older = if made.len() == WHOLE { &[] } else { older };
        let newer = if made.len() == WHOLE { &[] } else { newer };
        for run in [older, newer, made] {
            if !run.is_empty() {
                self.effort += run.len() / COPIES_PER_EFFORT;
                engine
                    .set_dictionary(run)
                    .map_err(|_| InflateError::Corrupt)?;
            }
        }
        Ok(())
    }
}

/// The result of one call of the engine.
struct Step {
    status: Status,
    consumed: usize,
    /// Whether the space was used up, so that there may be more output.
    filled: bool,
}

/// Gives the engine `rest` and `room` bytes at the end of `out`. Without space left, one more byte, which is
/// not kept, shows whether the message ends exactly at the cap.
fn step(
    engine: &mut Inflate,
    rest: &[u8],
    out: &mut Vec<u8>,
    room: usize,
) -> Result<Step, InflateError> {
    let before = (engine.total_in(), engine.total_out());
    let len = out.len();
    let mut probe = [0; 1];
    out.resize(len + room, 0);
    let space = if room == 0 {
        &mut probe[..]
    } else {
        &mut out[len..]
    };
    let result = engine.decompress(rest, space, InflateFlush::NoFlush);
    let consumed = (engine.total_in() - before.0) as usize;
    let produced = (engine.total_out() - before.1) as usize;
    out.truncate(len + produced.min(room));
    let status = result.map_err(|_| InflateError::Corrupt)?;
    if produced > room {
        return Err(InflateError::TooBig);
    }
    Ok(Step {
        status,
        consumed,
        filled: produced == room && room > 0,
    })
}
