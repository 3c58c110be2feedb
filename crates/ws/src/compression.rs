//! permessage-deflate: the state that a connection keeps for each direction, and the lcore's compressors.

use crate::deflate::{
    Agreed, DeflateConfig, Deflater, Direction, MAX_WINDOW_BITS, MIN_WINDOW_BITS, Sharing, Window,
};
use crate::types::Role;

/// The state of a connection's receiving direction. The inflater itself belongs to the lcore's
/// [`Assembler`](crate::Assembler).
#[derive(Debug)]
pub enum Inflation {
    /// permessage-deflate was not agreed: RSV1 is an error.
    None,
    /// The peer takes no context over, so there is no state.
    Alone,
    /// The peer's messages refer to earlier ones, which this window keeps.
    Context(Box<Window>),
}

impl Inflation {
    /// The state for the agreed parameters; `role` is ours.
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

/// The state of a connection's sending direction.
#[derive(Debug)]
pub enum Deflation {
    /// permessage-deflate was not agreed: nothing is compressed.
    None,
    /// The lcore's compressor for this window size, without context takeover. It costs the connection nothing.
    Shared {
        /// Bits of the window.
        window_bits: u8,
    },
    /// A compressor of its own.
    Own {
        /// The compressor.
        deflater: Box<Deflater>,
        /// Whether messages refer to earlier ones.
        context_takeover: bool,
    },
}

impl Deflation {
    /// The state for the agreed parameters; `role` is ours.
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

/// The compressors of one lcore, for all its connections.
#[derive(Debug)]
pub struct Compressor {
    level: u8,
    mem_level: u8,
    threshold: usize,
    max: usize,
    retain: usize,
    /// By window size; made when first needed.
    shared: [Option<Box<Deflater>>; SIZES],
    out: Vec<u8>,
}

impl Compressor {
    /// Makes a compressor with the level, memory level, threshold and maximum of `config`, without allocating. An output buffer of more
    /// than `retain` bytes is freed before the next message.
    #[must_use]
    pub fn new(config: &DeflateConfig, retain: usize) -> Self {
        Self {
            level: config.level,
            mem_level: config.mem_level,
            threshold: config.threshold,
            max: config.max,
            retain,
            shared: [const { None }; SIZES],
            out: Vec::new(),
        }
    }

    /// Whether a message of `len` bytes is too long to be compressed.
    #[must_use]
    pub const fn is_too_long(&self, len: usize) -> bool {
        len > self.max
    }

    /// The payload to send with RSV1 set on its first frame. `None` if the message must or should be sent uncompressed:
    /// compression was not agreed, the message is shorter than the threshold or longer than the maximum, or compression does not
    /// make it shorter.
    // RFC 7692 §6 leaves it to the sender which messages it compresses; RSV1 of the first frame says of each which.
    // §6.1: "An endpoint MUST use the following algorithm to send a message in the form of a compressed message." "An
    // endpoint MUST use the following algorithm to send a message in the form of an uncompressed message."
    pub fn compress(&mut self, deflation: &mut Deflation, payload: &[u8]) -> Option<&[u8]> {
        if payload.len() < self.threshold || self.is_too_long(payload.len()) {
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
            // The message is in our history, so it must enter the peer's too, even if it did not get shorter.
            return made.ok().map(|()| &self.out[..]);
        }
        // RFC 7692 §7.2.1: with "client_no_context_takeover" among the "agreed parameters", "the client MUST start
        // compressing each new message with an empty LZ77 sliding window."; with "server_no_context_takeover", "the
        // server MUST start compressing each new message with an empty LZ77 sliding window." A shared
        // compressor is reset as well.
        deflater.reset();
        (made.is_ok() && self.out.len() < payload.len()).then_some(&self.out[..])
    }
}
