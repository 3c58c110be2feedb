//! The bounds of a layer.

use std::time::Duration;

use crate::record::MAX_CONTENT;

/// The bounds of a layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TlsOptions {
    /// Expanded keys of connections that are active, two for each, of about 600 bytes. With more connections that are active at once,
    /// a record may cost the expansion of its key (`tls_keys_expanded`). By default they take 1.3 MB, about what the L2 cache of a core
    /// holds: larger ones would be read from memory, which costs nearly as much as the expansion.
    pub key_cache: usize,
    /// Handshakes in progress at once. A connection beyond takes the place of the oldest one that has sent no whole record
    /// (`tls_handshakes_evicted`). If there is none, it is refused (`tls_handshakes_refused`).
    pub handshakes: usize,
    /// Bytes that all handshakes in progress may hold of what they received, besides 4 KiB for each of them. A handshake that
    /// wants more is ended (`tls_handshakes_over_memory`).
    pub handshake_memory: usize,
    /// Handshake steps that the lcore makes in one turn: each may cost a signature and a key exchange. The others wait for the next
    /// turn. It has no effect with [`Tls::threads`](super::Tls::threads).
    pub handshakes_per_turn: usize,
    /// Handshakes of accepted connections that may begin in a second, and a tenth of them at once. The others wait until they may begin
    /// or their time is over (`tls_handshakes_limited`). 0: no limit.
    pub handshake_rate: u32,
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
            key_cache: 2048,
            handshakes: 4096,
            handshake_memory: 16 << 20,
            handshakes_per_turn: 1,
            handshake_rate: 0,
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
    handshake_rate: u32,
    handshake_timeout: Duration,
    gathered: usize,
    record: usize,
}
