//! permessage-deflate as a connection uses it: what it keeps for either direction, and the lcore's compressors.

use crate::deflate::{
    Agreed, DeflateConfig, Deflater, Direction, MAX_WINDOW_BITS, MIN_WINDOW_BITS, Sharing, Window,
};
use crate::types::Role;

/// What a connection keeps to inflate what it receives. The inflater itself belongs to the lcore's
/// [`Assembler`](crate::Assembler).
#[derive(Debug)]
pub enum Inflation {
    /// permessage-deflate was not agreed: RSV1 is an error.
    None,
    /// The peer takes no context over: nothing to keep.
    Alone,
    /// The peer's messages refer back to earlier ones, kept in this window.
    Context(Box<Window>),
}

impl Inflation {
    /// For what was agreed; `role` is ours.
    #[must_use]
    pub fn agreed(agreed: &Agreed, role: Role) -> Self {
        let peer = match role {
            Role::Server => agreed.client,
            Role::Client => agreed.server,
        };
        // RFC 7692 §7.2.2: unless the "agreed parameters" contain "server_no_context_takeover", "the client MUST
        // decompress each new message using the LZ77 sliding window used to process the last compressed message.";
        // unless they contain "client_no_context_takeover", "the server MUST decompress each new message using the LZ77
        // sliding window used to process the last compressed message." Without "server_max_window_bits", "the client
        // MUST use a 32,768-byte LZ77 sliding window to decompress received messages."; without
        // "client_max_window_bits", "the server MUST use a 32,768-byte LZ77 sliding window to decompress received
        // messages."
        if peer.context_takeover {
            Self::Context(Box::new(Window::new(peer.window_bits)))
        } else {
            Self::Alone
        }
    }
}

/// What a connection keeps to compress what it sends.
#[derive(Debug)]
pub enum Deflation {
    /// permessage-deflate was not agreed: nothing is compressed.
    None,
    /// The lcore's compressor for this window size, with no context taken over. Costs nothing.
    Shared {
        /// Bits of the window.
        window_bits: u8,
    },
    /// A compressor of its own.
    Own {
        /// The compressor.
        deflater: Box<Deflater>,
        /// Whether messages refer back to earlier ones.
        context_takeover: bool,
    },
}

impl Deflation {
    /// For what was agreed; `role` is ours.
    #[must_use]
    // RFC 7692 §5: "both endpoints MUST use the algorithm described in Section 6 and the message payload transformation
    // (compressing and decompressing) procedure of the PMCE configured with the "agreed parameters" returned by the
    // server".
    pub fn agreed(agreed: &Agreed, role: Role, config: &DeflateConfig) -> Self {
        let Direction {
            window_bits,
            context_takeover,
        } = match role {
            Role::Server => agreed.server,
            Role::Client => agreed.client,
        };
        match config.sharing {
            Sharing::Shared => Self::Shared { window_bits },
            Sharing::Own => Self::Own {
                deflater: Box::new(Deflater::new(config.level, window_bits, config.mem_level)),
                context_takeover,
            },
        }
    }
}

/// Window sizes that RFC 7692 knows.
const SIZES: usize = (MAX_WINDOW_BITS - MIN_WINDOW_BITS) as usize + 1;

/// One per lcore: compresses what its connections send.
#[derive(Debug)]
pub struct Compressor {
    level: u8,
    mem_level: u8,
    threshold: usize,
    retain: usize,
    /// By window size, made when first needed.
    shared: [Option<Box<Deflater>>; SIZES],
    out: Vec<u8>,
}

impl Compressor {
    /// With the level, memory level and threshold of `config`. An output buffer of more than `retain` bytes is freed
    /// before the next message. Allocates nothing yet.
    #[must_use]
    pub fn new(config: &DeflateConfig, retain: usize) -> Self {
        Self {
            level: config.level,
            mem_level: config.mem_level,
            threshold: config.threshold,
            retain,
            shared: [const { None }; SIZES],
            out: Vec::new(),
        }
    }

    /// The payload to send with RSV1 set on its first frame, or `None` if the message is better (or can only be) sent
    /// as it is: compression not agreed, below the threshold, nothing gained.
    // RFC 7692 §6 leaves it to the sender which messages it compresses; RSV1 of the first frame says of each which.
    // §6.1: "An endpoint MUST use the following algorithm to send a message in the form of a compressed message." "An
    // endpoint MUST use the following algorithm to send a message in the form of an uncompressed message."
    pub fn compress(&mut self, deflation: &mut Deflation, payload: &[u8]) -> Option<&[u8]> {
        if payload.len() < self.threshold {
            return None;
        }
        let (deflater, context_takeover) = match deflation {
            Deflation::None => return None,
            Deflation::Own {
                deflater,
                context_takeover,
            } => (deflater, *context_takeover),
            Deflation::Shared { window_bits } => {
                let bits = (*window_bits).clamp(MIN_WINDOW_BITS, MAX_WINDOW_BITS);
                let deflater =
                    self.shared[usize::from(bits - MIN_WINDOW_BITS)].get_or_insert_with(|| {
                        Box::new(Deflater::new(self.level, bits, self.mem_level))
                    });
                (deflater, false)
            }
        };
        self.out.clear();
        if self.out.capacity() > self.retain {
            self.out = Vec::new();
        }
        let made = deflater.deflate(payload, &mut self.out);
        if context_takeover {
            // Once in the history it must reach the peer's too, even if nothing was gained.
            return made.ok().map(|()| &self.out[..]);
        }
        // RFC 7692 §7.2.1: with "client_no_context_takeover" among the "agreed parameters", "the client MUST start
        // compressing each new message with an empty LZ77 sliding window."; with "server_no_context_takeover", "the
        // server MUST start compressing each new message with an empty LZ77 sliding window." Whoever shares its
        // compressor does so as well.
        deflater.reset();
        (made.is_ok() && self.out.len() < payload.len()).then_some(&self.out[..])
    }
}
