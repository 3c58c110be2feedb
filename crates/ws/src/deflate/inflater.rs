//! Inflates one message at a time, with a bound on the result.
//!
//! zlib-rs's inflater always has a window of 32 KiB, independent of the agreed window bits. So one inflater for each connection
//! would cost about 40 KiB, even if both ends agreed on 512 bytes. Here the LZ77 history that must outlive a message is a
//! [`Window`] of its own, of exactly the agreed size, which grows as messages arrive. Before a message the engine is primed from
//! it. So one [`Inflater`] can serve every connection of an lcore ([`Inflater::inflate_with`]), and a DEFLATE block with BFINAL
//! set, which ends an engine's stream, does not lose the history.

use std::fmt;

use zlib_rs::Inflate;

use super::MAX_WINDOW_BITS;
use super::stream::{InflateError, Stream};
use super::window::Window;

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

    /// The engine, for a message that is inflated in slices.
    pub(crate) fn engine(&mut self) -> &mut Inflate {
        &mut self.engine
    }
}

/// Inflates one message; on an error `out` is cut back to its old length.
fn run(
    engine: &mut Inflate,
    mut window: Option<&mut Window>,
    input: &[u8],
    out: &mut Vec<u8>,
    cap: usize,
) -> Result<(), InflateError> {
    let start = out.len();
    let mut message = Stream::new(start, cap);
    let result = message.advance(engine, window.as_deref(), input, out, usize::MAX);
    match (&result, &mut window) {
        (Ok(_), Some(window)) => window.push(&out[start..]),
        (Ok(_), None) => {}
        (Err(_), _) => out.truncate(start),
    }
    debug_assert_ne!(result, Ok(false), "without a bound it ends");
    result.map(|_| ())
}
