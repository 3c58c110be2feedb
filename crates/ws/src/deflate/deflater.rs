//! Deflating one message at a time.

use std::fmt;

use zlib_rs::{Deflate, DeflateConfig as EngineConfig, DeflateFlush, Method, Status, Strategy};

use super::clamp_window_bits;

/// The empty stored block at the end of a sync flush, without its header bits.
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// The most output space of one step, in bytes. It has to be zeroed first.
const MAX_ROOM: usize = 64 * 1024;

/// The engine failed, which the parameters that this crate uses exclude. The deflater has been reset and nothing was appended:
/// send the message uncompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeflateFailed;

impl fmt::Display for DeflateFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the compressor failed; the message can be sent uncompressed")
    }
}

impl std::error::Error for DeflateFailed {}

/// Deflates messages for permessage-deflate (RFC 7692 §7.2.1).
pub struct Deflater {
    engine: Deflate,
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater").finish_non_exhaustive()
    }
}

impl Deflater {
    /// A deflater with compression `level` (0..=9), a window of `2^window_bits` bytes (8..=15) and `mem_level`
    /// (1..=9), each clamped to its range. Allocates [`memory`](Self::memory) bytes.
    ///
    /// DEFLATE engines of zlib's family have no raw window of 256 bytes. For 8 bits the window has 512 bytes: the longest
    /// distance that such an engine refers to is 512 - 262 = 250, so a peer with 256 bytes can decompress it.
    // RFC 7692 §7.2.1: "An endpoint MUST NOT use an LZ77 sliding window longer than 32,768 bytes to compress messages
    // to send." With a value of w agreed, "the client MUST NOT use an LZ77 sliding window longer than the w-th power of
    // 2 bytes to compress messages to send."; "the server MUST NOT use an LZ77 sliding window longer than the w-th
    // power of 2 bytes to compress messages to send."
    pub fn new(level: u8, window_bits: u8, mem_level: u8) -> Self {
        let config = EngineConfig {
            level: i32::from(level.min(9)),
            method: Method::Deflated,
            window_bits: -i32::from(engine_bits(window_bits)),
            mem_level: i32::from(mem_level.clamp(1, 9)),
            strategy: Strategy::Default,
        };
        Deflater {
            engine: Deflate::new_with_config(config),
        }
    }

    /// Heap bytes of a deflater, with an error of at most 1 KiB: twice the window, two bytes of chain for each byte of window, 128
    /// KiB of hash heads, and 7 bytes for each of the `2^(mem_level + 6)` symbols that it collects.
    pub const fn memory(window_bits: u8, mem_level: u8) -> usize {
        const HASH_HEADS: usize = 128 * 1024;
        const STATE: usize = 3200;
        let window = 1 << engine_bits(window_bits);
        let mem_level = if mem_level < 1 {
            1
        } else if mem_level > 9 {
            9
        } else {
            mem_level
        };
        4 * window + HASH_HEADS + 7 * (1 << (mem_level as usize + 6)) + STATE
    }

    /// Deflates one message and appends the payload to send, with RSV1 set, to `out`.
    ///
    /// # Errors
    /// [`DeflateFailed`]: `out` is unchanged and the history is empty.
    pub fn deflate(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), DeflateFailed> {
        if input.is_empty() {
            // RFC 7692 §7.2.3.6: an empty message is "0x00", the header bits of an empty stored block whose last
            // four octets are removed. A sync flush with nothing new to flush would give no octet at all.
            out.push(0);
            return Ok(());
        }
        let start = out.len();
        self.flush_into(input, out);
        // RFC 7692 §7.2.1: "Remove 4 octets (that are 0x00 0x00 0xff 0xff) from the tail end."
        if out.len() - start > TAIL.len() && out.ends_with(&TAIL) {
            out.truncate(out.len() - TAIL.len());
            return Ok(());
        }
        out.truncate(start);
        self.reset();
        Err(DeflateFailed)
    }

    /// Clears the history. Call it between messages if we take no context over.
    // RFC 7692 §7.1.1: the parameter "prevents" the peer "from using context takeover".
    pub fn reset(&mut self) {
        self.engine.reset();
    }

    /// Compresses all of `input` and flushes to an octet boundary. On an error of the engine it returns early,
    /// which the caller detects by the missing tail.
    fn flush_into(&mut self, mut input: &[u8], out: &mut Vec<u8>) {
        loop {
            let len = out.len();
            // The worst case at level 1 is nine bits for each byte, so one step is usually enough.
            let room = (input.len() + input.len() / 8 + 64).min(MAX_ROOM);
            let before = (self.engine.total_in(), self.engine.total_out());
            out.resize(len + room, 0);
            let result = self
                .engine
                .compress(input, &mut out[len..], DeflateFlush::SyncFlush);
            input = &input[(self.engine.total_in() - before.0) as usize..];
            let produced = (self.engine.total_out() - before.1) as usize;
            out.truncate(len + produced);
            match result {
                // A full buffer may mean that there is more output. If there is not, the engine returns BufError next and
                // appends nothing: it does not repeat a flush.
                Ok(Status::Ok) if produced == room || !input.is_empty() => {}
                _ => return,
            }
        }
    }
}

/// The engine's window bits for the agreed window bits.
const fn engine_bits(window_bits: u8) -> u8 {
    let bits = clamp_window_bits(window_bits);
    if bits < 9 { 9 } else { bits }
}
