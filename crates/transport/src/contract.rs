//! The traits and types shared by every transport.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hioload_counters::{CounterMeta, counters};
use hioload_lcore::Time;
use hioload_mem::LocalShared;

use crate::{FlowInfo, Wanted};

/// The id of a connection of one transport. The generation makes a stale id harmless: a call with one does nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ConnId {
    /// Slot, dense from 0: the engine keeps its own per-connection arrays by it.
    pub index: u32,
    /// How many connections had the slot before.
    pub generation: u32,
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

/// The peer of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Peer {
    /// TCP over IPv4 or IPv6. An IPv4-mapped IPv6 address is reported as IPv4.
    Ip(SocketAddr),
    /// A Unix-domain socket: the peer has no address.
    Unix,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(addr) => addr.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// An address to listen on or to connect to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Endpoint {
    /// A TCP address and port.
    Tcp(SocketAddr),
    /// The path of a Unix-domain socket.
    Unix(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The driver's result for the bytes that it was lent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    /// Bytes consumed from the front. The transport keeps the rest.
    pub bytes: usize,
    /// The time to present the rest (meaningless if all was consumed).
    pub rest: Rest,
}

/// The time at which unconsumed bytes are presented again, from the first one, and contiguous with later bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rest {
    /// They are incomplete: present them after more bytes have been appended.
    NeedsMore,
    /// The driver has had its share of this turn: present them in the next one (or after `resume`, if paused).
    Later,
}

/// The reason why a connection's slot was freed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Closed {
    /// By `close`: everything queued was handed to the network.
    Flushed,
    /// By `abort`.
    Aborted,
    /// The network failed it: reset, timeout, unreachable.
    Failed(io::ErrorKind),
}

/// What a transport can do; constant after start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Features {
    /// For logs: `sockets`, `fake`, ...
    pub name: &'static str,
    /// Whether `wait` can sleep until something happens (a poll-mode device cannot).
    pub can_block: bool,
    /// The least budget of events for a turn. With fewer, bytes of one burst are served in a later turn, from a copy. 0: any
    /// budget is good.
    pub burst: usize,
    /// Slots: the most connections at once.
    pub max_connections: usize,
}

/// How much one `dispatch` may do before it returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// Connections to call the driver for.
    pub events: usize,
    /// Connections to accept.
    pub accepts: usize,
}

/// The result of one `dispatch`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Activity {
    /// Calls made to the driver.
    pub events: usize,
    /// Payload bytes lent for the first time.
    pub bytes_in: usize,
    /// Whether more is known to be ready: the next `wait` does not sleep.
    pub more: bool,
}

/// The reason why the send queue took nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendError {
    /// The connection has ended, or its sending side was finished or closed.
    Closed,
    /// The bound of the connection's queue is reached, or the lcore's pool has no chunk left for it. The last quarter of the pool is for
    /// connections that are not blocked and hold at most four chunks. Of the rest, a connection may hold half as much as is left.
    Full,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "connection is closed for sending",
            Self::Full => "send queue is full",
        })
    }
}
impl std::error::Error for SendError {}

/// Wakes a transport that sleeps in `wait`, from any thread. Cheap to clone; a wake before the sleep is not lost.
#[derive(Clone)]
pub struct Waker(pub(crate) Arc<dyn Fn() + Send + Sync>);

impl Waker {
    /// A waker that calls `f`.
    pub fn new(f: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(f))
    }
    /// Makes the current or next `wait` return at once.
    pub fn wake(&self) {
        (self.0)();
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waker")
    }
}

counters! {
    /// Counters every transport keeps; monotonic.
    pub struct TransportStats: Transport, "" {
        /// Connections accepted (refused ones included).
        accepted as "transport_accepted": Counter, Count;
        /// Accepts that failed for lack of file descriptors, memory or slots.
        accept_errors: Counter, Count;
        /// Connections opened by `connect`.
        connected as "transport_connected": Counter, Count;
        /// Bytes received.
        bytes_in: Counter, Bytes;
        /// Bytes handed to the network.
        bytes_out: Counter, Bytes;
        /// Receive calls (system calls, or bursts).
        reads: Counter, Count;
        /// Send calls.
        writes: Counter, Count;
        /// Sends that found the network's buffer full.
        blocked as "writes_blocked": Counter, Count;
        /// Times `wait` was entered with a non-zero timeout.
        sleeps as "transport_sleeps": Counter, Count;
        /// Of the bytes received, those that the driver consumed in the frame they arrived in. 0 for a transport without
        /// frames.
        rx_bytes_in_place: Counter, Bytes;
        /// Those that it consumed from a copy, because they arrived out of order or waited. 0 likewise.
        rx_bytes_from_ring: Counter, Bytes;
    }
}

/// The side that consumes byte streams: implemented by the engine.
///
/// For one connection the order is: `on_accept` or `on_connect`; then any of `on_data`, `on_blocked`, `on_writable`; at most one `on_end`;
/// last `on_closed`, exactly once, after which the id is stale. A refused accept and a failed connect get no `on_closed`.
pub trait Driver {
    /// A connection arrived. Returning `false` refuses it: it is aborted at once.
    fn on_accept<C: Connections>(&mut self, io: &mut C, id: ConnId, peer: Peer) -> bool;
    /// A `connect` ended. On `Err` the id is stale already.
    fn on_connect<C: Connections>(&mut self, io: &mut C, id: ConnId, result: io::Result<()>);
    /// Bytes arrived, or are presented again; there is at least one. The driver may modify those that it consumes. It must
    /// not modify the others.
    fn on_data<C: Connections>(&mut self, io: &mut C, id: ConnId, data: &mut [u8]) -> Taken;
    /// The peer has ended its sending side (TCP FIN), and all its bytes were consumed or left as `NeedsMore`.
    fn on_end<C: Connections>(&mut self, io: &mut C, id: ConnId);
    /// A flush could not send everything that a connection has queued: it is [blocked](Connections::is_blocked). Called once, until
    /// its queue is empty or it ends.
    #[inline]
    fn on_blocked<C: Connections>(&mut self, _io: &mut C, _id: ConnId) {}
    /// The queue of a blocked connection is empty: everything was handed to the network.
    fn on_writable<C: Connections>(&mut self, io: &mut C, id: ConnId);
    /// A hint that the next calls will probably be for the connection in this slot, so that the driver can prefetch its own
    /// state. The slot may be free.
    #[inline]
    fn prefetch(&mut self, _index: u32) {}
    /// Whether the driver has had enough of this dispatch or flush, which should end: what is left waits for the next one, in
    /// fair order. It is false again at the beginning of each, and each makes some progress in any case.
    #[inline]
    fn is_exhausted(&self) -> bool {
        false
    }
    /// Whether the connection begins with bytes that come before those of any layer, as a PROXY header does before a handshake of TLS. A
    /// layer presents the bytes as they are until this is false. The driver leaves what follows its own bytes.
    #[inline]
    fn expects_preamble(&self, id: ConnId) -> bool {
        let _ = id;
        false
    }
    /// The calls of `on_data` until [`end_visit`](Self::end_visit) are for one connection and share its time: a layer presents what the
    /// transport below received at once in several pieces. Without this call, each `on_data` is a visit of its own.
    #[inline]
    fn begin_visit(&mut self) {}
    /// Ends what [`begin_visit`](Self::begin_visit) began.
    #[inline]
    fn end_visit(&mut self) {}
    /// Whether the visit that was begun has used the connection's share of the turn: what is left should wait for the next turn.
    #[inline]
    fn visit_is_over(&self) -> bool {
        false
    }
    /// The transport has spent about this many nanoseconds on something that the driver cannot see: a system call, bytes
    /// moved. A driver that bounds its turns counts it.
    #[inline]
    fn spend(&mut self, _nanos: u32) {}
    /// The slot is freed.
    fn on_closed<C: Connections>(&mut self, io: &mut C, id: ConnId, why: Closed);
}

/// The connections of a transport: opening them, sending, flow control, closing. A call with a stale id does nothing
/// (`send_space` returns `Closed`).
///
/// A [`Driver`] sees only this side, so that a [layer](crate::layer) such as TLS can stand between a transport and the driver
/// and lend *itself* to the driver while the transport below dispatches.
pub trait Connections {
    /// Opens a connection. `on_connect` reports the outcome.
    fn connect(&mut self, to: &Endpoint) -> io::Result<ConnId>;

    /// Lends contiguous send space: at least one byte, and at least the lesser of `want` and the size of a frame header.
    /// `Full` if there is less. Write from the front, then `commit`.
    ///
    /// A second call with the same `want`, and no other call in between, lends the same memory with its contents.
    fn send_space(&mut self, id: ConnId, want: usize) -> Result<&mut [u8], SendError>;
    /// Queues the first `n` bytes of the space that the latest call lent.
    fn commit(&mut self, id: ConnId, n: usize);
    /// Bytes that `send_space` and `commit` are sure to take now, in all. A writer that checks this first never leaves half a
    /// frame.
    fn send_room(&self, id: ConnId) -> usize;
    /// Queues a shared payload without copying it. `drop_oldest` may remove a droppable one while no byte of it was sent.
    fn send_shared(
        &mut self,
        id: ConnId,
        payload: LocalShared,
        droppable: bool,
    ) -> Result<(), SendError>;
    /// Removes the oldest droppable payload of which no byte was sent; returns its length.
    fn drop_oldest(&mut self, id: ConnId) -> Option<usize>;
    /// Bytes queued and not yet handed to the network.
    fn queued(&self, id: ConnId) -> usize;
    /// Whether the last flush of this connection could not send everything.
    fn is_blocked(&self, id: ConnId) -> bool;
    /// Whether the network has taken bytes of a blocked connection since it became blocked, or since the last call: a peer
    /// that does not read makes no progress.
    fn has_moved(&mut self, id: ConnId) -> bool;
    /// Sets the mark of a blocked connection: at the end of its queue, or `most` bytes from the front if that is nearer.
    fn set_mark(&mut self, id: ConnId, most: usize);
    /// Bytes before the mark that are still queued: neither handed to the network nor dropped. 0 without a mark.
    fn before_mark(&self, id: ConnId) -> usize;

    /// Stops presenting received bytes; the peer is slowed by its window.
    fn pause(&mut self, id: ConnId);
    /// Ends the effect of `pause`.
    fn resume(&mut self, id: ConnId);

    /// Sends the queued bytes, then ends the sending side (FIN). Receiving continues.
    fn finish(&mut self, id: ConnId);
    /// Sends the queued bytes, then closes and frees the slot.
    fn close(&mut self, id: ConnId);
    /// Resets the connection and frees the slot. Queued bytes are lost.
    fn abort(&mut self, id: ConnId);

    /// The peer; `None` if the id is stale.
    fn peer(&self, id: ConnId) -> Option<Peer>;
    /// Whether the bytes of the connection are encrypted by a layer of TLS.
    #[inline]
    fn is_tls(&self, id: ConnId) -> bool {
        let _ = id;
        false
    }
    /// Whether the connection's session of TLS was resumed; `None` without TLS, and before the handshake is complete.
    #[inline]
    fn tls_resumed(&self, id: ConnId) -> Option<bool> {
        let _ = id;
        None
    }
    /// Why the connection has failed, if a layer knows more than the kind of error: such as the alert that the peer sent. It is known
    /// until `on_closed` returns.
    fn failure(&self, id: ConnId) -> Option<io::Error> {
        let _ = id;
        None
    }
    /// The certificate of the peer in DER, if a layer of TLS has verified one.
    #[inline]
    fn certificate(&self, id: ConnId) -> Option<&[u8]> {
        let _ = id;
        None
    }
}

/// A transport: its [`Connections`], the turn, and accepting.
pub trait Transport: Connections + Sized {
    /// Its features.
    fn features(&self) -> Features;

    /// Sleeps until something is ready, the waker is used, or `timeout` has elapsed. `Some(ZERO)` polls; `None` sets no limit.
    /// Returns at once if work is left from the last turn.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()>;
    /// Calls the driver for ready connections, within `budget` and until the driver [is exhausted](Driver::is_exhausted). The
    /// others wait for the next turn, in fair order, and `more` reports them. `now` is the time at the start of the turn,
    /// read after `wait`.
    fn dispatch<D: Driver>(&mut self, driver: &mut D, budget: Budget, now: Time) -> Activity;
    /// Sends the queued bytes, with one gathered write per connection, then finishes and closes the connections for which
    /// that was requested. Connections to which nothing but shared payloads was queued come last, and may be left for the next
    /// flush once the driver [is exhausted](Driver::is_exhausted): a published message may be for all connections there are.
    fn flush<D: Driver>(&mut self, driver: &mut D);
    /// Whether the last flush left connections that it could have flushed. Then `wait` does not sleep.
    fn has_unflushed(&self) -> bool {
        false
    }
    /// Increases whenever each connection has been flushed, or was blocked, since it last increased.
    fn flush_rounds(&self) -> u64 {
        0
    }

    /// Stops or restarts accepting. New connections wait in the listener's backlog meanwhile.
    fn set_accepting(&mut self, on: bool);
    /// Closes the listeners permanently.
    fn stop_listening(&mut self);

    /// Wakes this transport from another thread.
    fn waker(&self) -> Waker;
    /// Its counters.
    fn stats(&self) -> TransportStats;

    /// The counters of the layers below, a block for each: TCP and the device, where they are ours.
    const COUNTERS_BELOW: &'static [&'static [CounterMeta]] = &[];
    /// Calls `visit` with the values of each block of [`COUNTERS_BELOW`](Self::COUNTERS_BELOW), in that order.
    fn counters_below(&self, visit: &mut dyn FnMut(&[u64])) {
        let _ = visit;
    }

    /// For an operator: appends the state of flows from slot `from` on, until `rows` has reached its capacity or a few
    /// thousand slots were examined. Returns the slot to continue from, or `None` at the end. A transport over the system's TCP
    /// lists none: `ss` does.
    fn flows(&self, from: u32, wanted: &Wanted, rows: &mut Vec<FlowInfo>) -> Option<u32> {
        let _ = (from, wanted, rows);
        None
    }
}
