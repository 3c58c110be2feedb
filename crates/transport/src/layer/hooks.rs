//! The methods of a layer, and the view that it lends the driver above it.

use std::io;
use std::time::Duration;

use hioload_counters::CounterMeta;
use hioload_lcore::Time;
use hioload_mem::LocalShared;

use crate::{
    Activity, Budget, Closed, ConnId, Connections, Driver, Endpoint, Peer, SendError, Taken, Waker,
};

/// A layer between a transport and a driver. Every default passes the call through.
///
/// The methods from [`on_accept`](Self::on_accept) to [`on_closed`](Self::on_closed) are the callbacks of the transport
/// below: `below` is that transport and `above` is the driver, which gets a [`View`]. The methods from
/// [`connect`](Self::connect) to [`peer`](Self::peer) are calls of the driver above on a connection. The rules of [`Driver`]
/// and [`Connections`] hold for them. The [module](super) explains how to write a layer.
pub trait Layer: Sized {
    /// Runs once, when the layer is put above a transport. `waker` wakes it, from any thread: then [`has_work`](Self::has_work) decides
    /// whether the layer has its turn.
    #[inline]
    fn attach(&mut self, waker: Waker) {
        let _ = waker;
    }

    /// Whether the layer has something to present in the next turn: then `wait` does not sleep.
    #[inline]
    fn has_work(&self) -> bool {
        false
    }

    /// Presents bytes that earlier turns left in the layer, on at most `budget` connections and until `above`
    /// [is exhausted](Driver::is_exhausted). Runs before or after the turn of the transport below, alternately.
    /// Counts its calls to `above` in `activity.events`.
    #[inline]
    fn dispatch<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        budget: Budget,
        now: Time,
        activity: &mut Activity,
    ) {
        let _ = (below, above, budget, now, activity);
    }

    /// Begins a turn: runs first in each dispatch, whether the layer has work or not.
    #[inline]
    fn begin_turn(&mut self, now: Time) {
        let _ = now;
    }

    /// The longest time that a `wait` may last for the sake of this layer; `None` sets no limit. Counted from the last turn.
    #[inline]
    fn timeout(&self) -> Option<Duration> {
        None
    }

    /// Queues below the bytes that the layer holds back. Runs at the beginning of each flush. Bytes that may be for all connections
    /// there are, it may leave for the next flush once `above` [is exhausted](Driver::is_exhausted).
    #[inline]
    fn flush<C: Connections, D: Driver>(&mut self, below: &mut C, above: &mut D) {
        let _ = (below, above);
    }

    /// Whether the last flush left something in the layer. See [`Transport::has_unflushed`](crate::Transport::has_unflushed).
    #[inline]
    fn has_unflushed(&self) -> bool {
        false
    }

    /// See [`Transport::flush_rounds`](crate::Transport::flush_rounds); `below` is that of the transport below.
    #[inline]
    fn flush_rounds(&self, below: u64) -> u64 {
        below
    }

    /// The layer's counters.
    const COUNTERS: &'static [CounterMeta] = &[];
    /// Calls `visit` with their values, if there are any.
    fn counters(&self, visit: &mut dyn FnMut(&[u64])) {
        let _ = visit;
    }

    /// See [`Driver::on_accept`].
    #[inline]
    fn on_accept<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
        peer: Peer,
    ) -> bool {
        above.on_accept(&mut View::new(self, below), id, peer)
    }

    /// See [`Driver::on_connect`].
    #[inline]
    fn on_connect<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
        result: io::Result<()>,
    ) {
        above.on_connect(&mut View::new(self, below), id, result);
    }

    /// See [`Driver::on_data`]. The bytes may be changed in place; bytes that are not consumed must stay unchanged.
    #[inline]
    fn on_data<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
        data: &mut [u8],
    ) -> Taken {
        above.on_data(&mut View::new(self, below), id, data)
    }

    /// See [`Driver::on_end`].
    #[inline]
    fn on_end<C: Connections, D: Driver>(&mut self, below: &mut C, above: &mut D, id: ConnId) {
        above.on_end(&mut View::new(self, below), id);
    }

    /// See [`Driver::on_blocked`].
    #[inline]
    fn on_blocked<C: Connections, D: Driver>(&mut self, below: &mut C, above: &mut D, id: ConnId) {
        above.on_blocked(&mut View::new(self, below), id);
    }

    /// See [`Driver::on_writable`].
    #[inline]
    fn on_writable<C: Connections, D: Driver>(&mut self, below: &mut C, above: &mut D, id: ConnId) {
        above.on_writable(&mut View::new(self, below), id);
    }

    /// See [`Driver::prefetch`]: a hint for the layer's own state. The driver above gets it too.
    #[inline]
    fn prefetch(&self, index: u32) {
        let _ = index;
    }

    /// See [`Driver::on_closed`].
    #[inline]
    fn on_closed<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
        why: Closed,
    ) {
        above.on_closed(&mut View::new(self, below), id, why);
    }

    /// See [`Connections::connect`].
    #[inline]
    fn connect<C: Connections>(&mut self, below: &mut C, to: &Endpoint) -> io::Result<ConnId> {
        below.connect(to)
    }

    /// See [`Connections::send_space`]. The space may be the layer's own or that of the transport below.
    #[inline]
    fn send_space<'a, C: Connections>(
        &'a mut self,
        below: &'a mut C,
        id: ConnId,
        want: usize,
    ) -> Result<&'a mut [u8], SendError> {
        below.send_space(id, want)
    }

    /// See [`Connections::commit`].
    #[inline]
    fn commit<C: Connections>(&mut self, below: &mut C, id: ConnId, n: usize) {
        below.commit(id, n);
    }

    /// See [`Connections::send_room`]: in bytes of the driver, without the overhead of the layer.
    #[inline]
    fn send_room<C: Connections>(&self, below: &C, id: ConnId) -> usize {
        below.send_room(id)
    }

    /// See [`Connections::send_shared`].
    #[inline]
    fn send_shared<C: Connections>(
        &mut self,
        below: &mut C,
        id: ConnId,
        payload: LocalShared,
        droppable: bool,
    ) -> Result<(), SendError> {
        below.send_shared(id, payload, droppable)
    }

    /// See [`Connections::drop_oldest`].
    #[inline]
    fn drop_oldest<C: Connections>(&mut self, below: &mut C, id: ConnId) -> Option<usize> {
        below.drop_oldest(id)
    }

    /// See [`Connections::queued`].
    #[inline]
    fn queued<C: Connections>(&self, below: &C, id: ConnId) -> usize {
        below.queued(id)
    }

    /// See [`Connections::is_blocked`].
    #[inline]
    fn is_blocked<C: Connections>(&self, below: &C, id: ConnId) -> bool {
        below.is_blocked(id)
    }

    /// See [`Connections::has_moved`].
    #[inline]
    fn has_moved<C: Connections>(&mut self, below: &mut C, id: ConnId) -> bool {
        below.has_moved(id)
    }

    /// See [`Connections::set_mark`].
    #[inline]
    fn set_mark<C: Connections>(&mut self, below: &mut C, id: ConnId, most: usize) {
        below.set_mark(id, most);
    }

    /// See [`Connections::before_mark`].
    #[inline]
    fn before_mark<C: Connections>(&self, below: &C, id: ConnId) -> usize {
        below.before_mark(id)
    }

    /// See [`Connections::pause`].
    #[inline]
    fn pause<C: Connections>(&mut self, below: &mut C, id: ConnId) {
        below.pause(id);
    }

    /// See [`Connections::resume`].
    #[inline]
    fn resume<C: Connections>(&mut self, below: &mut C, id: ConnId) {
        below.resume(id);
    }

    /// See [`Connections::finish`].
    #[inline]
    fn finish<C: Connections>(&mut self, below: &mut C, id: ConnId) {
        below.finish(id);
    }

    /// See [`Connections::close`].
    #[inline]
    fn close<C: Connections>(&mut self, below: &mut C, id: ConnId) {
        below.close(id);
    }

    /// See [`Connections::abort`].
    #[inline]
    fn abort<C: Connections>(&mut self, below: &mut C, id: ConnId) {
        below.abort(id);
    }

    /// See [`Connections::peer`].
    #[inline]
    fn peer<C: Connections>(&self, below: &C, id: ConnId) -> Option<Peer> {
        below.peer(id)
    }

    /// See [`Connections::is_tls`].
    #[inline]
    fn is_tls<C: Connections>(&self, below: &C, id: ConnId) -> bool {
        below.is_tls(id)
    }

    /// See [`Connections::tls_resumed`].
    #[inline]
    fn tls_resumed<C: Connections>(&self, below: &C, id: ConnId) -> Option<bool> {
        below.tls_resumed(id)
    }

    /// See [`Connections::failure`].
    fn failure<C: Connections>(&self, below: &C, id: ConnId) -> Option<io::Error> {
        below.failure(id)
    }

    /// See [`Connections::certificate`].
    #[inline]
    fn certificate<'a, C: Connections>(&'a self, below: &'a C, id: ConnId) -> Option<&'a [u8]> {
        below.certificate(id)
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
            fn set_mark(&mut self, id: ConnId, most: usize) {
                let (layer, below) = self.parts_mut();
                layer.set_mark(below, id, most);
            }
            #[inline]
            fn before_mark(&self, id: ConnId) -> usize {
                let (layer, below) = self.parts();
                layer.before_mark(below, id)
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
            #[inline]
            fn is_tls(&self, id: ConnId) -> bool {
                let (layer, below) = self.parts();
                layer.is_tls(below, id)
            }
            #[inline]
            fn tls_resumed(&self, id: ConnId) -> Option<bool> {
                let (layer, below) = self.parts();
                layer.tls_resumed(below, id)
            }
            fn failure(&self, id: ConnId) -> Option<io::Error> {
                let (layer, below) = self.parts();
                layer.failure(below, id)
            }
            #[inline]
            fn certificate(&self, id: ConnId) -> Option<&[u8]> {
                let (layer, below) = self.parts();
                layer.certificate(below, id)
            }
        }
    };
}
pub(super) use connections_through_the_layer;

connections_through_the_layer!([L: Layer, C: Connections] View<'_, L, C>);
