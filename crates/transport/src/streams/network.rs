//! What a readiness-based network implements.

use std::io::{self, IoSlice};
use std::time::Duration;

use crate::{ConnId, Endpoint, Peer, Waker};

/// What became possible on one stream since the last report (edges, not levels).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ready {
    /// Bytes, the end of the stream or an error can be received.
    pub readable: bool,
    /// The network takes bytes again, or a connect has an outcome.
    pub writable: bool,
    /// The peer has ended its sending side.
    pub read_closed: bool,
    /// The stream has failed.
    pub error: bool,
}

/// What a poll found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A listener may have connections waiting.
    Backlog,
    /// The stream attached with this slot index is ready.
    Stream(u32, Ready),
}

/// A connection taken from a listener.
#[derive(Debug)]
pub struct Accepted<S> {
    /// The stream, not yet attached.
    pub stream: S,
    /// The peer.
    pub peer: Peer,
    /// The slot, if the network chose it (the fake does).
    pub slot: Option<ConnId>,
}

/// Streams that report edges of readiness, and send and receive without blocking. [`Streams`](super::Streams) makes a
/// [`Transport`](crate::Transport) of it.
pub trait Network {
    /// One connection; dropping it closes it.
    type Stream;
    /// Whether accepted connections have their slots already: then a full table does not stop accepting.
    const CHOOSES_SLOTS: bool = false;

    /// For logs and [`Features`](crate::Features).
    fn name(&self) -> &'static str;
    /// Whether `poll` can sleep.
    fn can_block(&self) -> bool;
    /// Whether a partial receive or send proves that a new edge will be reported, as epoll(7) promises for streams. If not,
    /// only `WouldBlock` does.
    fn short_means_drained(&self) -> bool;

    /// Waits for at most `timeout` and gives every event to `sink`. Being interrupted is not an error.
    fn poll(&mut self, timeout: Option<Duration>, sink: impl FnMut(Event)) -> io::Result<()>;
    /// Gives `sink` the events that are known without a system call. Each dispatch begins with it, so that a scripted
    /// network can be driven without `wait`.
    fn known(&mut self, _sink: impl FnMut(Event)) {}
    /// Wakes `poll` from another thread.
    fn waker(&self) -> Waker;

    /// Takes one connection; `WouldBlock` if no listener has one.
    fn accept(&mut self) -> io::Result<Accepted<Self::Stream>>;
    /// Assumes nothing about the backlogs: the next `accept` tries all listeners.
    fn recheck_backlog(&mut self);
    /// Closes the listeners.
    fn stop_listening(&mut self);
    /// Begins to connect. The stream is attached next, with interest in writing, and becomes writable with the outcome.
    fn connect(&mut self, to: &Endpoint) -> io::Result<Self::Stream>;
    /// Whether the connect has succeeded (`false`: not yet), or its error.
    fn connected(&mut self, stream: &mut Self::Stream) -> io::Result<bool>;

    /// Begins to report readiness under `id.index`, including readiness that exists already.
    fn attach(&mut self, stream: &mut Self::Stream, id: ConnId, writable: bool) -> io::Result<()>;
    /// Begins or ends to report that the network takes bytes, at once if it does.
    fn want_write(&mut self, stream: &mut Self::Stream, id: ConnId, on: bool) -> io::Result<()>;

    /// Receives into `buf` (not empty); 0 is the end of the stream.
    fn recv(&mut self, stream: &mut Self::Stream, buf: &mut [u8]) -> io::Result<usize>;
    /// A flush begins.
    fn begin_flush(&mut self) {}
    /// Sends from the front of `bytes`.
    fn send(&mut self, stream: &mut Self::Stream, bytes: &[u8]) -> io::Result<usize>;
    /// Sends from the front of `slices`.
    fn send_vectored(
        &mut self,
        stream: &mut Self::Stream,
        slices: &[IoSlice<'_>],
    ) -> io::Result<usize>;
    /// Ends the sending side.
    fn finish(&mut self, stream: &mut Self::Stream) -> io::Result<()>;
    /// The pending error of a stream, if there is one, without a receive.
    fn take_error(&mut self, stream: &mut Self::Stream) -> Option<io::Error>;
    /// Closes the stream. Bytes that were sent are still delivered.
    fn close(&mut self, stream: Self::Stream);
    /// Resets the connection.
    fn reset(&mut self, stream: Self::Stream);
}
