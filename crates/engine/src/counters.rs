//! Counters of an lcore: written by that lcore alone, read by anyone.
//!
//! The writer does a relaxed load and a relaxed store, never a read-modify-write: there is one writer, and a reader needs no
//! more than some recent value. Each lcore's block sits on cache lines of its own.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counters of one lcore.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct Counters { $($(#[$doc])* pub $name: Counter,)* }

        /// A sum of counters over lcores.
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
        pub struct Totals { $($(#[$doc])* pub $name: u64,)* }

        impl Counters {
            /// Adds this lcore's values to `totals`.
            pub fn add_to(&self, totals: &mut Totals) {
                $(totals.$name += self.$name.get();)*
            }
        }

        impl Totals {
            /// Name and value of each, in a fixed order.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Connections accepted, refused ones included.
    accepted,
    /// WebSocket connections opened, in either role.
    opened,
    /// WebSocket connections ended.
    closed,
    /// Plain HTTP requests answered.
    http_requests,
    /// Messages received whole.
    messages_in,
    /// Messages queued for sending.
    messages_out,
    /// Bytes received.
    bytes_in,
    /// Bytes handed to the network.
    bytes_out,
    /// Over af-xdp: bytes received that were read in the frame they came in.
    rx_bytes_in_place,
    /// Over af-xdp: bytes received that were read from a copy.
    rx_bytes_from_ring,
    /// Over af-xdp: retransmissions begun.
    tcp_retransmits,
    /// Over af-xdp: handshakes forgotten because `half_open` others were under way.
    tcp_half_open_evicted,
    /// Over af-xdp: entries of TIME_WAIT forgotten because there were `time_wait` of them.
    tcp_time_wait_evicted,
    /// Over af-xdp: connections reset because they took too long to close, or because there were `orphans` of them.
    tcp_orphans_reset,
    /// Over af-xdp: connections given up because nothing was acknowledged within `user_timeout`.
    tcp_timeouts,
    /// Over af-xdp: resets not sent because of `rst_rate`.
    tcp_rst_limited,
    /// Over af-xdp: ICMP messages not sent because of `icmp_rate`.
    tcp_icmp_limited,
    /// Over af-xdp: frames handed to the lcore that owns their flow.
    tcp_handoffs,
    /// Over af-xdp: of these, lost because its ring was full.
    tcp_handoff_drops,
    /// Over af-xdp: frames with a wrong checksum.
    tcp_bad_checksums,
    /// Over af-xdp: frames too short, or that contradict themselves.
    tcp_rx_malformed,
    /// Over af-xdp: frames lost because there was no room for them, or no buffer.
    tcp_tx_drops,
    /// Over af-xdp: windows given back to the system because they were empty.
    tcp_rings_given_back,
    /// Over af-xdp and dpdk: frames received from the device.
    device_rx_frames,
    /// Over af-xdp and dpdk: frames the device lost before they could be received: rings full, no buffers.
    device_rx_dropped,
    /// Over af-xdp and dpdk: frames handed to the device for sending.
    device_tx_frames,
    /// Over af-xdp and dpdk: of these, known to be lost.
    device_tx_dropped,
    /// Over af-xdp and dpdk: times the device had no room for all that was to be sent; it was sent later.
    device_tx_full,
    /// Pings received and answered.
    pings_in,
    /// Pongs received.
    pongs_in,
    /// Pings sent because a connection was silent.
    pings_sent,
    /// Messages published by handlers of this lcore.
    published,
    /// Copies of published messages queued to subscribers on this lcore.
    delivered,
    /// Connections over `max_connections`, answered 503.
    rejected_connections,
    /// Connections over `max_connections_per_source`, answered 503.
    rejected_source,
    /// Connections that came while draining, answered 503.
    rejected_draining,
    /// Turns in which accepting stood still because of `accept_rate`.
    accept_throttled,
    /// Accepts that failed for want of file descriptors or memory.
    accept_errors,
    /// Requests longer than `max_handshake`, answered 431.
    heads_too_large,
    /// Requests refused for what they said: other 4xx and 505 from the engine.
    rejected_handshakes,
    /// Upgrades that the application refused.
    rejected_by_handler,
    /// Connections answered 408.
    handshake_timeouts,
    /// Connections closed with 1002.
    protocol_errors,
    /// Connections closed with 1007.
    invalid_utf8,
    /// Connections closed with 1009.
    messages_too_big,
    /// Connections closed for `max_fragments`.
    messages_too_fragmented,
    /// Connections closed with 1013 because the lcore's reassembly memory was used up.
    reassembly_exhausted,
    /// Copies of published messages made because `published_memory` was used up.
    published_copied,
    /// Sends that found a connection's queue full.
    send_queue_full,
    /// Queued messages dropped for newer ones.
    dropped_oldest,
    /// Messages dropped because the queue was full.
    dropped_new,
    /// Connections closed with 1013 because their queue was full.
    closed_slow,
    /// Connections closed with 1008 for `message_rate`.
    rate_exceeded,
    /// Connections closed with 1001 for `idle_timeout`.
    idle_timeouts,
    /// Connections closed with 1001 for `max_lifetime`.
    lifetime_reached,
    /// Connections reset because the peer did not finish closing in time.
    close_timeouts,
    /// Connections that ended without a Close frame.
    abnormal_closures,
    /// Subscriptions refused for `max_subscriptions`.
    subscriptions_refused,
    /// Connections closed with 1001 by a drain.
    drained,
    /// Connections reset at the drain's deadline.
    drain_resets,
    /// Panics of handlers and of their jobs.
    handler_panics,
    /// Jobs refused because the executor's queue was full.
    executor_busy,
    /// Messages to another lcore dropped because its mailbox was full.
    commands_dropped,
    /// Turns of the loop.
    turns,
    /// Nanoseconds that passed from turns with nothing to do until the next: the rest of the time the lcore had work.
    idle_nanos,
    /// Turns that slept.
    sleeps,
    /// Receive calls.
    reads,
    /// Send calls.
    writes,
    /// Send calls that found the network's buffer full.
    writes_blocked,
}

/// One counter with a single writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one. Only the owning lcore calls this.
    #[inline]
    pub(crate) fn bump(&self) {
        self.add(1);
    }
    /// Adds `n`. Only the owning lcore calls this.
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(n),
            Ordering::Relaxed,
        );
    }
    /// Replaces the value. Only the owning lcore calls this.
    #[inline]
    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }
    /// A recent value.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (name, value) in self.iter().filter(|(_, value)| *value != 0) {
            write!(f, "{}{name}={value}", if first { "" } else { " " })?;
            first = false;
        }
        Ok(())
    }
}

/// The counters of all lcores of a server; reads need no cooperation of theirs.
#[derive(Debug, Clone)]
pub struct CountersHandle(pub(crate) Arc<[Arc<Counters>]>);

impl CountersHandle {
    /// New counters, for so many lcores.
    pub(crate) fn new(lcores: usize) -> Self {
        Self((0..lcores).map(|_| Arc::default()).collect())
    }
    /// The sum over all lcores.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for counters in self.0.iter() {
            counters.add_to(&mut totals);
        }
        totals
    }
    /// Each lcore's own.
    pub fn lcores(&self) -> &[Arc<Counters>] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_sum_over_lcores_and_show_only_what_happened() {
        let lcores: Vec<_> = (0..3).map(|_| Arc::new(Counters::default())).collect();
        for (n, counters) in lcores.iter().enumerate() {
            counters.opened.add(n as u64 + 1);
        }
        lcores[1].handler_panics.bump();
        let totals = CountersHandle(lcores.into()).totals();
        assert_eq!(totals.opened, 6);
        assert_eq!(totals.to_string(), "opened=6 handler_panics=1");
    }
}
