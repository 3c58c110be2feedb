//! What a readiness-based network must bring.

use std::io::{self, IoSlice};
use std::time::Duration;

use crate::{ConnId, Endpoint, Peer, Waker};

/// What became possible on one stream since it was last reported (edges, not levels).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ready {
    /// Bytes, the end of the stream or an error can be received.
    pub readable: bool,
    /// The network takes bytes again, or a connect ended.
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
    /// Where it comes from.
    pub peer: Peer,
    /// The slot, where the network chose it beforehand (the fake does).
    pub slot: Option<ConnId>,
}

/// Streams that report edges of readiness and take and give bytes without blocking. [`Streams`](super::Streams) makes a
/// [`Transport`](crate::Transport) of it.
pub trait Network {
    /// One connection; dropping it closes it.
    type Stream;
    /// Whether accepted connections come with their slots: then a full table does not keep them waiting.
    const CHOOSES_SLOTS: bool = false;

    /// For logs and [`Features`](crate::Features).
    fn name(&self) -> &'static str;
    /// Whether `poll` can sleep.
    fn can_block(&self) -> bool;
    /// Whether a receive or send that moved less than it could have proves that a new edge will be reported, as epoll(7)
    /// promises for streams. Otherwise only `WouldBlock` does.
    fn short_means_drained(&self) -> bool;

    /// Waits for at most `timeout` and gives every event to `sink`. Being interrupted is not an error.
    fn poll(&mut self, timeout: Option<Duration>, sink: impl FnMut(Event)) -> io::Result<()>;
    /// Gives `sink` the events that are known without asking the system. Each dispatch begins with it, so that a scripted
    /// network can be driven without `wait`.
    fn known(&mut self, _sink: impl FnMut(Event)) {}
    /// Wakes `poll` from another thread.
    fn waker(&self) -> Waker;

    /// Takes one connection; `WouldBlock` if no listener has one.
    fn accept(&mut self) -> io::Result<Accepted<Self::Stream>>;
    /// Forgets what is known of the backlogs: the next `accept` asks all listeners.
    fn recheck_backlog(&mut self);
    /// Closes the listeners.
    fn stop_listening(&mut self);
    /// Begins to connect. The stream is attached next, with interest in writing, and is writable when the outcome is there.
    fn connect(&mut self, to: &Endpoint) -> io::Result<Self::Stream>;
    /// Whether the connect has ended well (`false`: not yet) or how it failed.
    fn connected(&mut self, stream: &mut Self::Stream) -> io::Result<bool>;

    /// Begins to report readiness, under `id.index`, beginning with what is ready already.
    fn attach(&mut self, stream: &mut Self::Stream, id: ConnId, writable: bool) -> io::Result<()>;
    /// Begins or ends to report that the network takes bytes (at once, if it does).
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
    /// The error of a stream from which nothing is received, if there is one.
    fn take_error(&mut self, stream: &mut Self::Stream) -> Option<io::Error>;
    /// Closes the stream; what was sent is still delivered.
    fn close(&mut self, stream: Self::Stream);
    /// Resets the connection.
    fn reset(&mut self, stream: Self::Stream);
}
