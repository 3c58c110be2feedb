//! The counters of lcores: what the engine counts, and what it publishes of its transport and the layers below.
//!
//! An lcore writes its own counters and no other's, so a count is a load and a store. Other threads read them at any time.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hioload_counters::{CounterMeta, counters};
use hioload_transport::{Transport, TransportStats};

use crate::heartbeat::Heartbeat;

counters! {
    /// What the engine of one lcore has counted.
    pub struct EngineStats and Counters of Counter: Engine, "" {
        /// Connections accepted, refused ones included.
        accepted: Counter, Count;
        /// WebSocket connections opened, in either role.
        opened: Counter, Count;
        /// WebSocket connections ended.
        closed: Counter, Count;
        /// Plain HTTP requests answered.
        http_requests: Counter, Count;
        /// Messages received whole.
        messages_in: Counter, Count;
        /// Messages queued for sending.
        messages_out: Counter, Count;
        /// Pings received and answered.
        pings_in: Counter, Count;
        /// Pongs received.
        pongs_in: Counter, Count;
        /// Pings sent because a connection was silent.
        pings_sent: Counter, Count;
        /// Messages published by handlers of this lcore.
        published: Counter, Count;
        /// Copies of published messages queued to subscribers on this lcore.
        delivered: Counter, Count;
        /// Connections over `max_connections`, answered 503.
        rejected_connections: Counter, Count;
        /// Connections over `max_connections_per_source`, answered 503.
        rejected_source: Counter, Count;
        /// Connections over `connection_rate_per_source`, answered 503.
        rejected_rate: Counter, Count;
        /// Connections from a network that `allow` or `deny` excludes, reset.
        rejected_network: Counter, Count;
        /// Connections of peers that are no trusted proxies, where `proxy_protocol` is `require`, reset.
        rejected_untrusted: Counter, Count;
        /// Malformed PROXY headers, reset, and malformed addresses in `real_ip_header`, answered 400.
        proxy_malformed: Counter, Count;
        /// Connections whose client a trusted proxy has named.
        proxied: Counter, Count;
        /// Requests of web pages that `allow_origin` does not permit, answered 403.
        rejected_origin: Counter, Count;
        /// Requests for host names that `allow_host` does not have, answered 403.
        rejected_host: Counter, Count;
        /// Connections that arrived during a drain, answered 503.
        rejected_draining: Counter, Count;
        /// Turns that accepted no connection because of `accept_rate`.
        accept_throttled: Counter, Count;
        /// Requests longer than `max_handshake`, answered 431.
        heads_too_large: Counter, Count;
        /// Malformed requests, answered with another 4xx code or 505.
        rejected_handshakes: Counter, Count;
        /// Upgrades that the application refused.
        rejected_by_handler: Counter, Count;
        /// Connections answered 408.
        handshake_timeouts: Counter, Count;
        /// Connections closed with 1002.
        protocol_errors: Counter, Count;
        /// Connections closed with 1007.
        invalid_utf8: Counter, Count;
        /// Connections closed with 1009.
        messages_too_big: Counter, Count;
        /// Connections closed with 1008 for `max_fragments`.
        messages_too_fragmented: Counter, Count;
        /// Connections closed with 1013 because the reassembly memory of their lcore was exhausted.
        reassembly_exhausted: Counter, Count;
        /// Connections closed with 1008 for `message_timeout`.
        message_timeouts: Counter, Count;
        /// Copies of published messages made because `published_memory` was exhausted.
        published_copied: Counter, Count;
        /// Sends that found a connection's queue full.
        send_queue_full: Counter, Count;
        /// Queued messages dropped for newer ones.
        dropped_oldest: Counter, Count;
        /// Messages dropped because the queue was full.
        dropped_new: Counter, Count;
        /// Connections closed with 1013 because their queue was full.
        closed_slow: Counter, Count;
        /// Connections reset for `send_timeout`.
        send_timeouts: Counter, Count;
        /// Publications refused because they are larger than `send_queue`.
        publishes_refused: Counter, Count;
        /// Connections closed with 1008 for `message_rate`.
        rate_exceeded: Counter, Count;
        /// Connections closed with 1001 for `idle_timeout`.
        idle_timeouts: Counter, Count;
        /// Connections closed with 1001 for `max_lifetime`.
        lifetime_reached: Counter, Count;
        /// Connections reset because the peer did not finish closing in time.
        close_timeouts: Counter, Count;
        /// Connections that ended without a Close frame.
        abnormal_closures: Counter, Count;
        /// Subscriptions refused for `max_subscriptions`, `subscription_bytes` or `subscription_memory`.
        subscriptions_refused: Counter, Count;
        /// Bytes of subscriptions, as `subscription_memory` bounds them.
        subscription_bytes: Gauge, Bytes;
        /// Connections closed with 1001 by a drain.
        drained: Counter, Count;
        /// Connections reset at the drain's deadline.
        drain_resets: Counter, Count;
        /// Panics of handlers and of their jobs.
        handler_panics: Counter, Count;
        /// Jobs refused because the executor's queue was full.
        executor_busy: Counter, Count;
        /// Commands to another lcore dropped because its mailbox was full, in number (`mailbox`) or in bytes (`mailbox_bytes`).
        commands_dropped: Counter, Count;
        /// Events of other threads refused because this lcore's mailbox was full.
        posts_refused: Counter, Count;
        /// Bytes of the commands in this lcore's mailbox, as `mailbox_bytes` bounds them.
        mailbox_bytes: Gauge, Bytes;
        /// Turns of the loop.
        turns: Counter, Count;
        /// Turns that left messages for the next one because of `turn_time`.
        turns_cut: Counter, Count;
        /// Messages sent uncompressed because they are longer than `deflate_max`. A published one counts once for each lcore.
        deflate_skipped: Counter, Count;
        /// Time between a turn without work and the next turn. In the rest of the time the lcore had work.
        idle_nanos: Counter, Nanoseconds;
        /// Turns that slept.
        sleeps: Counter, Count;
        /// Times that the lcore did not finish a turn within `watchdog`.
        stalls: Counter, Count;
    }
}

/// One counter with a single writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one. Only one thread calls this: the owning lcore, or for `stalls` the watchdog.
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

/// The blocks of counters of the layers below a transport.
type BlocksBelow = &'static [&'static [CounterMeta]];

/// Everything that one lcore publishes.
#[derive(Debug)]
pub(crate) struct LcoreCounters {
    engine: Counters,
    /// What the lcore does now, for the watchdog.
    pub(crate) heartbeat: Heartbeat,
    transport: Box<[Counter]>,
    /// Block by block.
    below: Box<[Counter]>,
}

impl Deref for LcoreCounters {
    type Target = Counters;
    #[inline]
    fn deref(&self) -> &Counters {
        &self.engine
    }
}

fn cells(count: usize) -> Box<[Counter]> {
    (0..count).map(|_| Counter::default()).collect()
}

fn publish(cells: &[Counter], values: &[u64]) {
    for (cell, value) in cells.iter().zip(values) {
        cell.set(*value);
    }
}

impl LcoreCounters {
    fn new(below: BlocksBelow) -> Self {
        Self {
            engine: Counters::default(),
            heartbeat: Heartbeat::default(),
            transport: cells(TransportStats::META.len()),
            below: cells(below.iter().copied().map(<[_]>::len).sum()),
        }
    }

    /// Publishes the transport's own counters.
    pub(crate) fn publish(&self, io: &impl Transport) {
        publish(&self.transport, &io.stats().values());
    }

    /// Publishes the counters of the layers below it.
    pub(crate) fn publish_below(&self, io: &impl Transport) {
        let mut cells = &self.below[..];
        io.counters_below(&mut |values| {
            let (block, rest) = cells.split_at(values.len().min(cells.len()));
            publish(block, values);
            cells = rest;
        });
    }

    /// This lcore's counters, over a transport of the type `T`.
    pub(crate) fn totals<T: Transport>(&self) -> Totals {
        let mut totals = Totals::new(T::COUNTERS_BELOW);
        self.add_to(&mut totals);
        totals
    }

    fn add_to(&self, totals: &mut Totals) {
        use hioload_counters::Block;
        totals.engine.add(self.engine.read().values());
        totals
            .transport
            .add(self.transport.iter().map(Counter::get));
        for (total, cell) in totals.below.iter_mut().zip(&self.below) {
            *total += cell.get();
        }
    }
}

/// Counters of one lcore, or sums over lcores. The engine's are its fields too: `totals.opened`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// The engine's.
    pub engine: EngineStats,
    /// The transport's.
    pub transport: TransportStats,
    below: Vec<u64>,
    blocks_below: BlocksBelow,
}

impl Deref for Totals {
    type Target = EngineStats;
    fn deref(&self) -> &EngineStats {
        &self.engine
    }
}

impl DerefMut for Totals {
    fn deref_mut(&mut self) -> &mut EngineStats {
        &mut self.engine
    }
}

impl Totals {
    fn new(blocks_below: BlocksBelow) -> Self {
        Self {
            below: vec![0; blocks_below.iter().copied().map(<[_]>::len).sum()],
            blocks_below,
            ..Self::default()
        }
    }

    /// Every counter with its value: the engine's, the transport's, and those of the layers below.
    pub fn iter(&self) -> impl Iterator<Item = (&'static CounterMeta, u64)> {
        let engine = EngineStats::META.iter().zip(self.engine.values());
        let transport = TransportStats::META.iter().zip(self.transport.values());
        let below = self.blocks_below.iter().copied().flatten();
        engine
            .chain(transport)
            .chain(below.zip(self.below.iter().copied()))
    }

    /// The value of the counter that is shown under `name`.
    pub fn get(&self, name: &str) -> Option<u64> {
        self.iter()
            .find_map(|(meta, value)| (meta.name == name).then_some(value))
    }
}

/// `name=value` of every counter that is not 0.
impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (meta, value) in self.iter().filter(|(_, value)| *value != 0) {
            write!(f, "{}{}={value}", if first { "" } else { " " }, meta.name)?;
            first = false;
        }
        Ok(())
    }
}

/// Reads the counters of all lcores of a server, without their cooperation.
#[derive(Debug, Clone)]
pub struct CountersHandle {
    lcores: Arc<[Arc<LcoreCounters>]>,
    blocks_below: BlocksBelow,
}

impl CountersHandle {
    /// New counters for `lcores` lcores over transports of the type `T`.
    pub(crate) fn new<T: Transport>(lcores: usize) -> Self {
        let blocks_below = T::COUNTERS_BELOW;
        let lcores = (0..lcores).map(|_| Arc::new(LcoreCounters::new(blocks_below)));
        Self {
            lcores: lcores.collect(),
            blocks_below,
        }
    }

    pub(crate) fn of(&self, lcore: usize) -> Arc<LcoreCounters> {
        Arc::clone(&self.lcores[lcore])
    }

    /// The number of lcores.
    pub fn lcores(&self) -> usize {
        self.lcores.len()
    }

    /// The sums over all lcores.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::new(self.blocks_below);
        for counters in self.lcores.iter() {
            counters.add_to(&mut totals);
        }
        totals
    }

    /// The counters of each lcore, by its number.
    pub fn each(&self) -> impl Iterator<Item = Totals> {
        self.lcores.iter().map(|counters| {
            let mut totals = Totals::new(self.blocks_below);
            counters.add_to(&mut totals);
            totals
        })
    }

    /// The number of lcores that do not finish a turn at present ([`Tunables::watchdog`](crate::Tunables::watchdog)).
    pub fn stalled(&self) -> usize {
        let lcores = self.lcores.iter();
        lcores.filter(|lcore| lcore.heartbeat.is_stalled()).count()
    }

    /// What is known of every counter, in the order of [`Totals::iter`].
    pub fn meta(&self) -> impl Iterator<Item = &'static CounterMeta> {
        let below = self.blocks_below.iter().copied().flatten();
        EngineStats::META
            .iter()
            .chain(TransportStats::META)
            .chain(below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hioload_transport::fake::Fake;

    #[test]
    fn totals_sum_over_lcores_and_show_only_what_happened() {
        let counters = CountersHandle::new::<Fake>(3);
        for n in 0..3 {
            counters.of(n).opened.add(n as u64 + 1);
        }
        counters.of(1).handler_panics.bump();
        publish(
            &counters.of(2).transport,
            &TransportStats {
                blocked: 7,
                ..Default::default()
            }
            .values(),
        );
        let totals = counters.totals();
        assert_eq!((totals.opened, totals.transport.blocked), (6, 7));
        assert_eq!(
            totals.to_string(),
            "opened=6 handler_panics=1 writes_blocked=7"
        );
        let opened: Vec<_> = counters.each().map(|lcore| lcore.opened).collect();
        assert_eq!(opened, [1, 2, 3]);
        assert_eq!(totals.get("writes_blocked"), Some(7));
        assert_eq!(totals.get("no such counter"), None);
    }

    #[test]
    fn every_counter_has_a_name_of_its_own_and_a_help_text() {
        let counters = CountersHandle::new::<Fake>(1);
        let names: std::collections::BTreeSet<_> = counters.meta().map(|meta| meta.name).collect();
        assert_eq!(names.len(), counters.meta().count());
        assert_eq!(names.len(), counters.totals().iter().count());
        assert!(counters.meta().all(|meta| meta.help().ends_with('.')));
    }
}
