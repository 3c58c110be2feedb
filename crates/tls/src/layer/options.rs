//! The bounds of a layer.

use std::time::Duration;

use crate::record::MAX_CONTENT;

/// The bounds of a layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TlsOptions {
    /// Expanded keys, two for each connection, of about 600 bytes.
    pub key_cache: usize,
    /// Handshakes in progress at once. A connection beyond takes the place of the oldest one that has sent no whole record
    /// (`tls_handshakes_evicted`). If there is none, it is refused (`tls_handshakes_refused`).
    pub handshakes: usize,
    /// Bytes that all handshakes in progress may hold of what they received, besides 4 KiB for each of them. A handshake that
    /// wants more is ended (`tls_handshakes_over_memory`).
    pub handshake_memory: usize,
    /// Handshake steps in one turn: each may cost a signature and a key exchange. The others wait for the next turn.
    pub handshakes_per_turn: usize,
    /// Time from the accept to the end of the handshake (`tls_handshake_timeouts`).
    pub handshake_timeout: Duration,
    /// Connections whose unfinished record is gathered here, each with at most 16 KiB. The others leave it with the transport.
    pub gathered: usize,
    /// The most bytes of content in a record sent: at most 16,384.
    pub record: usize,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            key_cache: 8192,
            handshakes: 4096,
            handshake_memory: 16 << 20,
            handshakes_per_turn: 1,
            handshake_timeout: Duration::from_secs(10),
            gathered: 1024,
            record: MAX_CONTENT,
        }
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty),* $(,)?) => {
        impl TlsOptions {
            $(
                #[doc = concat!("Sets `", stringify!($name), "`.")]
                #[must_use]
                pub fn $name(mut self, $name: $type) -> Self {
                    self.$name = $name;
                    self
                }
            )*
        }
    };
}
setters! {
    key_cache: usize,
    handshakes: usize,
    handshake_memory: usize,
    handshakes_per_turn: usize,
    handshake_timeout: Duration,
    gathered: usize,
    record: usize,
}
