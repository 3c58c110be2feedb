//! What the layer counts.

use hioload_counters::counters;

counters! {
    /// Counters of TLS; monotonic, except for the gauges.
    pub struct TlsStats: Transport, "tls_" {
        /// Handshakes completed, resumed ones included.
        handshakes: Counter, Count;
        /// Handshakes completed that resumed a session.
        resumed: Counter, Count;
        /// Handshakes that failed: no common version, suite or name, a bad certificate, a broken message.
        handshake_failures: Counter, Count;
        /// Handshakes that failed because there is no protocol version, suite or key exchange in common.
        incompatible: Counter, Count;
        /// Handshakes that failed because the client asked for a name that no certificate has, or for none.
        unknown_names: Counter, Count;
        /// Handshakes that failed because they had too many bytes or records.
        handshakes_too_long: Counter, Count;
        /// Handshakes ended because all of them together held more than `handshake_memory`.
        handshakes_over_memory: Counter, Count;
        /// Resumed sessions ended because the client's certificate is not valid any more.
        resumptions_refused: Counter, Count;
        /// Handshakes ended because they took longer than `handshake_timeout`.
        handshake_timeouts: Counter, Count;
        /// Connections ended before their first whole record, because `handshakes` of them were unfinished and another one came.
        handshakes_evicted: Counter, Count;
        /// Connections refused because `handshakes` of them were unfinished, and each had sent a whole record.
        handshakes_refused: Counter, Count;
        /// Handshakes that waited for a later turn.
        handshakes_delayed: Counter, Count;
        /// Handshakes that waited because of `handshake_rate`.
        handshakes_limited: Counter, Count;
        /// Steps of handshakes that were given to threads.
        handshake_steps_offloaded: Counter, Count;
        /// Times that these threads had no room for a step, which then waited.
        handshake_threads_busy: Counter, Count;
        /// Handshakes in progress (gauge).
        handshakes_open: Gauge, Count;
        /// Connections that sent a plain HTTP request, which was answered by a 400.
        plain_http: Counter, Count;
        /// Connections that sent something else than TLS.
        not_tls: Counter, Count;
        /// Records opened in the memory that they arrived in.
        records_in_place: Counter, Count;
        /// Records opened in a copy, because they spanned receive buffers or waited.
        records_gathered: Counter, Count;
        /// Records sealed.
        records_sent: Counter, Count;
        /// Connections ended for a record that does not decrypt.
        bad_records: Counter, Count;
        /// Connections ended for a record that is too long.
        oversized_records: Counter, Count;
        /// Connections ended for a message that may not come, or too many without application data.
        unexpected_messages: Counter, Count;
        /// Connections ended because the peer wanted to renegotiate.
        renegotiations_refused: Counter, Count;
        /// Connections whose peer sent a fatal alert.
        alerts_received: Counter, Count;
        /// Connections whose peer ended without a close_notify.
        truncated: Counter, Count;
        /// Keys that the peer changed (KeyUpdate).
        key_updates_received: Counter, Count;
        /// Keys that this side changed.
        key_updates_sent: Counter, Count;
        /// Keys expanded because they were not in the cache.
        keys_expanded: Counter, Count;
        /// Expanded keys freed because their connections were silent.
        keys_freed: Counter, Count;
    }
}
