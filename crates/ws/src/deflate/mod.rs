//! permessage-deflate (RFC 7692): negotiation for both sides, the inflater and the deflater.
//!
//! # Memory of a connection
//!
//! | direction | context | bytes for each connection |
//! |---|---|---|
//! | receiving | taken over | at most `2^bits` (a [`Window`] that grows as messages come) |
//! | receiving | not taken over | 0 |
//! | sending, [`Sharing::Own`] | either | [`Deflater::memory`]: 371 KiB at 15 bits and memory level 8, 134 KiB at 9 and 1 |
//! | sending, [`Sharing::Shared`] | not taken over | 0 |
//!
//! In addition an lcore has one [`Inflater`] ([`Inflater::MEMORY`]) and, if shared, one [`Deflater`] for each window size
//! in use. [`Direction::receive_memory`] and [`Direction::send_memory`] compute these rows for agreed parameters.
//!
//! The engine is zlib-rs, which is written in Rust and has a safe interface. Its compressor has 128 KiB of hash heads for any
//! window size, so sharing it is the default.

mod deflater;
mod inflater;
pub mod negotiate;
mod stream;
#[cfg(test)]
mod tests;
mod window;

pub use deflater::{DeflateFailed, Deflater};
pub use inflater::Inflater;
pub use negotiate::{Agreed, Direction};
pub use stream::InflateError;
pub(crate) use stream::Stream;
pub use window::Window;

/// The smallest window RFC 7692 knows, as a power of two (256 bytes).
pub const MIN_WINDOW_BITS: u8 = 8;
/// The largest window of DEFLATE, as a power of two (32 KiB). It holds if nothing else is agreed.
pub const MAX_WINDOW_BITS: u8 = 15;

const fn clamp_window_bits(bits: u8) -> u8 {
    if bits < MIN_WINDOW_BITS {
        MIN_WINDOW_BITS
    } else if bits > MAX_WINDOW_BITS {
        MAX_WINDOW_BITS
    } else {
        bits
    }
}

/// The owner of the compressors of our sending side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// One for each connection: context can be taken over from message to message, at [`Deflater::memory`] bytes.
    Own,
    /// One for all connections of an lcore: our side takes no context over, and a connection costs nothing.
    Shared,
}

/// This end's parameters of permessage-deflate. Both roles use the same type; each field documents its meaning for each role.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeflateConfig {
    /// Compression level, 0 (stored) to 9 (smallest). 1 is the fastest one that compresses.
    pub level: u8,
    /// The memory of a compressor for collecting symbols, 1 to 9 (see [`Deflater::memory`]).
    pub mem_level: u8,
    /// Messages shorter than this many bytes are sent uncompressed.
    pub threshold: usize,
    /// Messages longer than this many bytes are sent uncompressed as well: a message is compressed in one piece, and everything
    /// else waits for it.
    pub max: usize,
    /// The server keeps no context between the messages it sends. As a server: we do so; as a client: we demand it.
    pub server_no_context_takeover: bool,
    /// The client keeps no context between the messages it sends. As a server: we demand it; as a client: we do so.
    pub client_no_context_takeover: bool,
    /// The largest window (8..=15 bits) the server sends with. As a client: we demand it.
    pub server_max_window_bits: u8,
    /// The largest window (8..=15 bits) the client sends with. As a server: we demand it, and if the client
    /// does not offer the parameter, we demand no context takeover instead, so that the memory of a connection never exceeds
    /// `2^bits`.
    pub client_max_window_bits: u8,
    /// The owner of the compressors. [`Sharing::Shared`] means no context takeover in the direction that we send.
    pub sharing: Sharing,
}

impl DeflateConfig {
    /// The defaults, with compressors that belong to the connection or to the lcore.
    #[must_use]
    pub fn new(sharing: Sharing) -> Self {
        Self {
            sharing,
            ..Self::default()
        }
    }
}

impl Default for DeflateConfig {
    /// Shared compressors at level 1, messages of 128 bytes to 128 KiB, and at most 4 KiB of history for a peer that takes context over.
    fn default() -> Self {
        DeflateConfig {
            level: 1,
            mem_level: 8,
            threshold: 128,
            max: 128 << 10,
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: MAX_WINDOW_BITS,
            client_max_window_bits: 12,
            sharing: Sharing::Shared,
        }
    }
}
