//! A layer and the transport below it, as one transport.

use std::io;
use std::time::Duration;

use hioload_counters::CounterMeta;
use hioload_lcore::Time;
use hioload_mem::LocalShared;

use super::hooks::{Layer, connections_through_the_layer};
use crate::{
    Activity, Budget, Closed, ConnId, Connections, Driver, Endpoint, Features, FlowInfo, Peer,
    SendError, Taken, Transport, TransportStats, Waker, Wanted,
};

/// A transport made of the transport `T` and the layer `L` above it.
#[derive(Debug)]
pub struct Layered<T, L> {
    below: T,
    layer: L,
    /// Whether the layer had the first part of the last turn.
    layer_first: bool,
}

impl<T: Transport, L: Layer> Layered<T, L> {
    /// Puts `layer` above `below`.
    pub fn new(below: T, mut layer: L) -> Self {
        layer.attach(below.waker());
        Self {
            below,
            layer,
            layer_first: false,
        }
    }

    /// The transport below. What is asked of it directly passes by the layer.
    pub fn below(&mut self) -> &mut T {
        &mut self.below
    }

    /// The layer.
    pub fn layer(&self) -> &L {
        &self.layer
    }

    /// The layer, to change it.
    pub fn layer_mut(&mut self) -> &mut L {
        &mut self.layer
    }
}

impl<T, L> Layered<T, L> {
    fn parts(&self) -> (&L, &T) {
        (&self.layer, &self.below)
    }
    fn parts_mut(&mut self) -> (&mut L, &mut T) {
        (&mut self.layer, &mut self.below)
    }
}

connections_through_the_layer!([T: Transport, L: Layer] Layered<T, L>);

/// The driver of the transport below: the layer, and the driver above it.
struct Upward<'a, L, D> {
    layer: &'a mut L,
    above: &'a mut D,
}

impl<L: Layer, D: Driver> Driver for Upward<'_, L, D> {
    #[inline]
    fn on_accept<C: Connections>(&mut self, io: &mut C, id: ConnId, peer: Peer) -> bool {
        self.layer.on_accept(io, self.above, id, peer)
    }
    #[inline]
    fn on_connect<C: Connections>(&mut self, io: &mut C, id: ConnId, result: io::Result<()>) {
        self.layer.on_connect(io, self.above, id, result);
    }
    #[inline]
    fn on_data<C: Connections>(&mut self, io: &mut C, id: ConnId, data: &mut [u8]) -> Taken {
        self.layer.on_data(io, self.above, id, data)
    }
    #[inline]
    fn on_end<C: Connections>(&mut self, io: &mut C, id: ConnId) {
        self.layer.on_end(io, self.above, id);
    }
    #[inline]
    fn on_blocked<C: Connections>(&mut self, io: &mut C, id: ConnId) {
        self.layer.on_blocked(io, self.above, id);
    }
    #[inline]
    fn on_writable<C: Connections>(&mut self, io: &mut C, id: ConnId) {
        self.layer.on_writable(io, self.above, id);
    }
    #[inline]
    fn prefetch(&mut self, index: u32) {
        self.layer.prefetch(index);
        self.above.prefetch(index);
    }
    #[inline]
    fn is_exhausted(&self) -> bool {
        self.above.is_exhausted()
    }
    #[inline]
    fn expects_preamble(&self, id: ConnId) -> bool {
        self.above.expects_preamble(id)
    }
    #[inline]
    fn begin_visit(&mut self) {
        self.above.begin_visit();
    }
    #[inline]
    fn end_visit(&mut self) {
        self.above.end_visit();
    }
    #[inline]
    fn visit_is_over(&self) -> bool {
        self.above.visit_is_over()
    }
    #[inline]
    fn spend(&mut self, nanos: u32) {
        self.above.spend(nanos);
    }
    #[inline]
    fn on_closed<C: Connections>(&mut self, io: &mut C, id: ConnId, why: Closed) {
        self.layer.on_closed(io, self.above, id, why);
    }
}

impl<T: Transport, L: Layer> Transport for Layered<T, L> {
    fn features(&self) -> Features {
        self.below.features()
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = if self.layer.has_work() || self.layer.has_unflushed() {
            Some(Duration::ZERO)
        } else {
            match (timeout, self.layer.timeout()) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            }
        };
        self.below.wait(timeout)
    }

    fn dispatch<D: Driver>(&mut self, driver: &mut D, budget: Budget, now: Time) -> Activity {
        self.layer.begin_turn(now);
        let had_work = self.layer.has_work();
        // Bytes that waited in the layer and arriving bytes share the turn. A driver that is exhausted leaves little to those that
        // come second, so the order changes from turn to turn.
        self.layer_first = !self.layer_first;
        let mut own = Activity::default();
        let half = Budget {
            events: budget.events.div_ceil(2),
            ..budget
        };
        if had_work && self.layer_first {
            let Self { below, layer, .. } = self;
            layer.dispatch(below, driver, half, now, &mut own);
        }
        let left = Budget {
            events: if had_work && !self.layer_first {
                half.events
            } else {
                budget.events.saturating_sub(own.events)
            },
            ..budget
        };
        let Self { below, layer, .. } = self;
        let mut upward = Upward {
            layer,
            above: driver,
        };
        let activity = below.dispatch(&mut upward, left, now);
        if had_work && !self.layer_first {
            let Self { below, layer, .. } = self;
            layer.dispatch(below, driver, half, now, &mut own);
        }
        Activity {
            events: own.events + activity.events,
            more: activity.more || self.layer.has_work(),
            ..activity
        }
    }

    fn flush<D: Driver>(&mut self, driver: &mut D) {
        let Self { below, layer, .. } = self;
        layer.flush(below, driver);
        let mut upward = Upward {
            layer,
            above: driver,
        };
        below.flush(&mut upward);
    }

    fn has_unflushed(&self) -> bool {
        self.below.has_unflushed() || self.layer.has_unflushed()
    }

    fn flush_rounds(&self) -> u64 {
        self.layer.flush_rounds(self.below.flush_rounds())
    }

    fn set_accepting(&mut self, on: bool) {
        self.below.set_accepting(on);
    }

    fn stop_listening(&mut self) {
        self.below.stop_listening();
    }

    fn waker(&self) -> Waker {
        self.below.waker()
    }

    fn stats(&self) -> TransportStats {
        self.below.stats()
    }

    const COUNTERS_BELOW: &'static [&'static [CounterMeta]] = match (L::COUNTERS, T::COUNTERS_BELOW)
    {
        ([], below) => below,
        (_, []) => &[L::COUNTERS],
        (_, [a]) => &[L::COUNTERS, a],
        (_, [a, b]) => &[L::COUNTERS, a, b],
        (_, [a, b, c]) => &[L::COUNTERS, a, b, c],
        _ => panic!("more than three blocks of counters below a layer"),
    };

    fn counters_below(&self, visit: &mut dyn FnMut(&[u64])) {
        if !L::COUNTERS.is_empty() {
            self.layer.counters(visit);
        }
        self.below.counters_below(visit);
    }

    fn flows(&self, from: u32, wanted: &Wanted, rows: &mut Vec<FlowInfo>) -> Option<u32> {
        self.below.flows(from, wanted, rows)
    }
}
