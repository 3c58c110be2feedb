//! Inflates one message at a time, with a bound on the result.
//!
//! zlib-rs's inflater always has a window of 32 KiB, independent of the agreed window bits. So one inflater for each connection
//! would cost about 40 KiB, even if both ends agreed on 512 bytes. Here the LZ77 history that must outlive a message is a
//! [`Window`] of its own, of exactly the agreed size, which grows as messages arrive. Before a message the engine is primed from
//! it. So one [`Inflater`] can serve every connection of an lcore ([`Inflater::inflate_with`]), and a DEFLATE block with BFINAL
//! set, which ends an engine's stream, does not lose the history.

use std::fmt;

use zlib_rs::{Inflate, InflateFlush, Status};

use super::{MAX_WINDOW_BITS, clamp_window_bits};

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

/// The LZ77 history of one direction of one connection: the last `2^window_bits` inflated bytes.
///
/// Empty until the first message; never larger than `2^window_bits` bytes.
#[derive(Debug, Clone)]
pub struct Window {
    ring: Vec<u8>,
    /// The index of the oldest byte once the ring is full; 0 before.
    next: u32,
    bits: u8,
}

impl Window {
    /// A history of `2^window_bits` bytes, with the bits clamped to 8..=15. It does not allocate.
    pub fn new(window_bits: u8) -> Self {
        Window {
            ring: Vec::new(),
            next: 0,
            bits: clamp_window_bits(window_bits),
        }
    }

    /// The most bytes that the history keeps.
    pub fn size(&self) -> usize {
        1 << self.bits
    }

    /// Bytes of history.
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether the history is empty.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Clears the history and keeps its memory.
    pub fn clear(&mut self) {
        self.ring.clear();
        self.next = 0;
    }

    /// Appends `data`, and drops bytes that are too old.
    fn push(&mut self, data: &[u8]) {
        let size = self.size();
        if data.len() >= size {
            self.ring.clear();
            self.ring.reserve_exact(size);
            self.ring.extend_from_slice(&data[data.len() - size..]);
            self.next = 0;
            return;
        }
        let (grow, wrap) = data.split_at(data.len().min(size - self.ring.len()));
        self.grow_for(grow.len());
        self.ring.extend_from_slice(grow);
        if wrap.is_empty() {
            return;
        }
        let next = self.next as usize;
        let (front, back) = wrap.split_at(wrap.len().min(size - next));
        self.ring[next..next + front.len()].copy_from_slice(front);
        self.ring[..back.len()].copy_from_slice(back);
        self.next = ((next + wrap.len()) & (size - 1)) as u32;
    }

    /// Doubles the allocation up to the agreed size, which `Vec` alone would exceed.
    fn grow_for(&mut self, more: usize) {
        let need = self.ring.len() + more;
        if need > self.ring.capacity() {
            let target = need.max(self.ring.capacity() * 2).min(self.size());
            self.ring.reserve_exact(target - self.ring.len());
        }
    }

    /// The history as two runs, oldest byte first.
    fn runs(&self) -> (&[u8], &[u8]) {
        let (newer, older) = self.ring.split_at(self.next as usize);
        (older, newer)
    }
}

/// Inflates permessage-deflate messages (RFC 7692 §7.2.2).
///
/// Either one connection owns it ([`inflate`](Self::inflate), [`reset`](Self::reset)), or it serves a whole lcore: each message
/// uses it with the connection's [`Window`] ([`inflate_with`](Self::inflate_with)), or without one if the peer takes no context
/// over ([`inflate_alone`](Self::inflate_alone)).
pub struct Inflater {
    engine: Inflate,
    window: Window,
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater")
            .field("window", &self.window.len())
            .finish_non_exhaustive()
    }
}

impl Inflater {
    /// Heap bytes of one inflater without its [`Window`]: the engine's state and its window of 32 KiB.
    pub const MEMORY: usize = 48 * 1024;

    /// An inflater whose own history holds `2^window_bits` bytes (clamped to 8..=15). Allocates the engine.
    pub fn new(window_bits: u8) -> Self {
        Inflater {
            engine: Inflate::new(false, MAX_WINDOW_BITS),
            window: Window::new(window_bits),
        }
    }

    /// Inflates the payload of one message (all its fragments joined, without the four octets that the sender removed) and appends
    /// at most `cap` bytes to `out`. The history is that of this inflater.
    ///
    /// # Errors
    /// [`InflateError`]; `out` is then unchanged.
    pub fn inflate(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        cap: usize,
    ) -> Result<(), InflateError> {
        let Inflater { engine, window } = self;
        run(engine, Some(window), input, out, cap)
    }

    /// As [`inflate`](Self::inflate), with the history in `window`, so that one inflater serves many connections.
    ///
    /// # Errors
    /// [`InflateError`]; `out` and `window` are then unchanged.
    pub fn inflate_with(
        &mut self,
        window: &mut Window,
        input: &[u8],
        out: &mut Vec<u8>,
        cap: usize,
    ) -> Result<(), InflateError> {
        run(&mut self.engine, Some(window), input, out, cap)
    }

    /// As [`inflate`](Self::inflate), for a peer that takes no context over: without history.
    ///
    /// # Errors
    /// [`InflateError`]; `out` is then unchanged.
    pub fn inflate_alone(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        cap: usize,
    ) -> Result<(), InflateError> {
        run(&mut self.engine, None, input, out, cap)
    }

    /// Clears the history of this inflater. Call it between messages if the peer takes no context over.
    pub fn reset(&mut self) {
        self.window.clear();
    }
}

/// Inflates one message; on an error `out` is cut back to its old length.
fn run(
    engine: &mut Inflate,
    window: Option<&mut Window>,
    input: &[u8],
    out: &mut Vec<u8>,
    cap: usize,
) -> Result<(), InflateError> {
    // An empty message is one octet (RFC 7692 §7.2.3.6), but some senders let their zlib drop even that when it
    // has flushed just before. Nothing else can be meant.
    if input.is_empty() {
        return Ok(());
    }
    let start = out.len();
    let result = inflate_message(engine, window.as_deref(), input, out, cap);
    match (result, window) {
        (Ok(()), Some(window)) => window.push(&out[start..]),
        (Ok(()), None) => {}
        (Err(_), _) => out.truncate(start),
    }
    result
}

fn inflate_message(
    engine: &mut Inflate,
    window: Option<&Window>,
    input: &[u8],
    out: &mut Vec<u8>,
    cap: usize,
) -> Result<(), InflateError> {
    let start = out.len();
    let first_room = input.len().saturating_mul(4).max(MIN_ROOM);
    let mut final_blocks = 0;
    prime(engine, window, &[])?;

    let mut in_tail = false;
    let mut rest = input;
    loop {
        let made = out.len() - start;
        let step = step(engine, rest, out, (cap - made).min(made.max(first_room)))?;
        rest = &rest[step.consumed..];
        match step.status {
            Status::StreamEnd if rest.is_empty() => {
                // The end of our final block, or of the peer's, if it omits the padding octet of §7.2.3.4.
                return Ok(());
            }
            // RFC 7692 §7.2.1: "An endpoint MAY use both DEFLATE blocks with the "BFINAL" bit set to 0 and DEFLATE
            // blocks with the "BFINAL" bit set to 1." The engine ends there; the message goes on, and its history.
            Status::StreamEnd => {
                final_blocks += 1;
                let octets = input.len() + (out.len() - start);
                if final_blocks > FINAL_BLOCKS_FREE + octets / OCTETS_PER_FINAL_BLOCK {
                    return Err(InflateError::Corrupt);
                }
                prime(engine, window, &out[start..])?;
            }
            Status::Ok | Status::BufError if step.filled => {}
            Status::Ok | Status::BufError if !rest.is_empty() => return Err(InflateError::Corrupt),
            Status::Ok | Status::BufError if in_tail => return Err(InflateError::Corrupt),
            Status::Ok | Status::BufError => {
                in_tail = true;
                rest = &TAIL;
            }
        }
    }
}

/// Starts a new stream in the engine whose history is `window` followed by `made`.
fn prime(engine: &mut Inflate, window: Option<&Window>, made: &[u8]) -> Result<(), InflateError> {
    const WHOLE: usize = 1 << MAX_WINDOW_BITS;
    engine.reset(false);
    let (older, newer) = window.map_or((&[][..], &[][..]), Window::runs);
    let made = &made[made.len().saturating_sub(WHOLE)..];
    // Bytes that `made` has moved out of the window are not copied.
    let older = if made.len() == WHOLE { &[] } else { older };
    let newer = if made.len() == WHOLE { &[] } else { newer };
    for run in [older, newer, made] {
        if !run.is_empty() {
            engine
                .set_dictionary(run)
                .map_err(|_| InflateError::Corrupt)?;
        }
    }
    Ok(())
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
