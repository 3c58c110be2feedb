//! A layer and what is below it, as one.

use std::io;
use std::time::Duration;

use hioload_lcore::Time;
use hioload_mem::LocalShared;

use super::Layer;
use crate::{
    Activity, Budget, Closed, ConnId, Connections, Driver, Endpoint, Features, FlowInfo, Peer,
    SendError, Taken, Transport, TransportStats, Waker, Wanted,
};

/// A transport made of the transport `T` and the layer `L` above it.
#[derive(Debug)]
pub struct Layered<T, L> {
    below: T,
    layer: L,
}

impl<T: Transport, L: Layer> Layered<T, L> {
    /// Puts `layer` above `below`.
    pub fn new(below: T, layer: L) -> Self {
        Self { below, layer }
    }

    /// The transport below. What is asked of it directly passes by the layer.
    pub fn below(&mut self) -> &mut T {
        &mut self.below
    }

    /// The layer.
    pub fn layer(&self) -> &L {
        &self.layer
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

/// What a layer lends the driver above it while the transport below dispatches or flushes.
#[derive(Debug)]
pub struct View<'a, L, C> {
    layer: &'a mut L,
    below: &'a mut C,
}

impl<'a, L: Layer, C: Connections> View<'a, L, C> {
    /// `layer` and `below` as one set of connections.
    #[inline]
    pub fn new(layer: &'a mut L, below: &'a mut C) -> Self {
        Self { layer, below }
    }
}

impl<L, C> View<'_, L, C> {
    #[inline]
    fn parts(&self) -> (&L, &C) {
        (self.layer, self.below)
    }
    #[inline]
    fn parts_mut(&mut self) -> (&mut L, &mut C) {
        (self.layer, self.below)
    }
}

/// Implements [`Connections`] for a type that has `parts` and `parts_mut`.
macro_rules! connections_through_the_layer {
    ([$($generics:tt)*] $type:ty) => {
        impl<$($generics)*> Connections for $type {
            #[inline]
            fn connect(&mut self, to: &Endpoint) -> io::Result<ConnId> {
                let (layer, below) = self.parts_mut();
                layer.connect(below, to)
            }
            #[inline]
            fn send_space(&mut self, id: ConnId, want: usize) -> Result<&mut [u8], SendError> {
                let (layer, below) = self.parts_mut();
                layer.send_space(below, id, want)
            }
            #[inline]
            fn commit(&mut self, id: ConnId, n: usize) {
                let (layer, below) = self.parts_mut();
                layer.commit(below, id, n);
            }
            #[inline]
            fn send_room(&self, id: ConnId) -> usize {
                let (layer, below) = self.parts();
                layer.send_room(below, id)
            }
            #[inline]
            fn send_shared(
                &mut self,
                id: ConnId,
                payload: LocalShared,
                droppable: bool,
            ) -> Result<(), SendError> {
                let (layer, below) = self.parts_mut();
                layer.send_shared(below, id, payload, droppable)
            }
            #[inline]
            fn drop_oldest(&mut self, id: ConnId) -> Option<usize> {
                let (layer, below) = self.parts_mut();
                layer.drop_oldest(below, id)
            }
            #[inline]
            fn queued(&self, id: ConnId) -> usize {
                let (layer, below) = self.parts();
                layer.queued(below, id)
            }
            #[inline]
            fn is_blocked(&self, id: ConnId) -> bool {
                let (layer, below) = self.parts();
                layer.is_blocked(below, id)
            }
            #[inline]
            fn has_moved(&mut self, id: ConnId) -> bool {
                let (layer, below) = self.parts_mut();
                layer.has_moved(below, id)
            }
            #[inline]
            fn pause(&mut self, id: ConnId) {
                let (layer, below) = self.parts_mut();
                layer.pause(below, id);
            }
            #[inline]
            fn resume(&mut self, id: ConnId) {
                let (layer, below) = self.parts_mut();
                layer.resume(below, id);
            }
            #[inline]
            fn finish(&mut self, id: ConnId) {
                let (layer, below) = self.parts_mut();
                layer.finish(below, id);
            }
            #[inline]
            fn close(&mut self, id: ConnId) {
                let (layer, below) = self.parts_mut();
                layer.close(below, id);
            }
            #[inline]
            fn abort(&mut self, id: ConnId) {
                let (layer, below) = self.parts_mut();
                layer.abort(below, id);
            }
            #[inline]
            fn peer(&self, id: ConnId) -> Option<Peer> {
                let (layer, below) = self.parts();
                layer.peer(below, id)
            }
        }
    };
}

connections_through_the_layer!([T: Transport, L: Layer] Layered<T, L>);
connections_through_the_layer!([L: Layer, C: Connections] View<'_, L, C>);

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
    fn on_writable<C: Connections>(&mut self, io: &mut C, id: ConnId) {
        self.layer.on_writable(io, self.above, id);
    }
    #[inline]
    fn prefetch(&mut self, index: u32) {
        self.layer.prefetch(index);
        self.above.prefetch(index);
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
        let timeout = if self.layer.has_work() {
            Some(Duration::ZERO)
        } else {
            timeout
        };
        self.below.wait(timeout)
    }

    fn dispatch<D: Driver>(&mut self, driver: &mut D, budget: Budget, now: Time) -> Activity {
        let Self { below, layer } = self;
        let mut own = Activity::default();
        if layer.has_work() {
            // What waited in the layer and what arrives share the turn.
            let half = Budget {
                events: budget.events.div_ceil(2),
                ..budget
            };
            layer.dispatch(below, driver, half, now, &mut own);
        }
        let left = Budget {
            events: budget.events.saturating_sub(own.events),
            ..budget
        };
        let mut upward = Upward {
            layer,
            above: driver,
        };
        let activity = below.dispatch(&mut upward, left, now);
        Activity {
            events: own.events + activity.events,
            more: activity.more || self.layer.has_work(),
            ..activity
        }
    }

    fn flush<D: Driver>(&mut self, driver: &mut D) {
        let Self { below, layer } = self;
        layer.flush(below);
        let mut upward = Upward {
            layer,
            above: driver,
        };
        below.flush(&mut upward);
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

    fn flows(&self, from: u32, wanted: &Wanted, rows: &mut Vec<FlowInfo>) -> Option<u32> {
        self.below.flows(from, wanted, rows)
    }
}
