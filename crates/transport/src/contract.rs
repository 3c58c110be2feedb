//! The traits and words shared by every transport.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hioload_lcore::Time;
use hioload_mem::LocalShared;
use hioload_tcp::FlowInfo;

/// Names one connection of one transport. The generation makes a stale id harmless: every call with one is a no-op.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ConnId {
    /// Slot, dense from 0: the engine keeps its own per-connection arrays by it.
    pub index: u32,
    /// How often the slot was used before.
    pub generation: u32,
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

/// Where a connection comes from.
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

/// Something to listen on or connect to.
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

/// What the driver did with the bytes it was lent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    /// Bytes consumed from the front. The transport keeps the rest.
    pub bytes: usize,
    /// When to present the rest (meaningless if all was consumed).
    pub rest: Rest,
}

/// When the unconsumed rest of a read is presented again, always from its start and contiguous with what follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rest {
    /// It is the beginning of something: present it when more bytes have been appended.
    NeedsMore,
    /// The driver has had its share of this turn: present it in the next one (or after `resume`, if paused).
    Later,
}

/// Why a connection's slot was freed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Closed {
    /// `close` had been called and everything queued was handed to the network.
    Flushed,
    /// `abort` had been called.
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
    /// A budget of fewer events than this makes a turn dearer, not shorter: what is received at once should be served at
    /// once. 0 where it does not matter.
    pub burst: usize,
    /// Slots: the most connections it can hold at once.
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

/// What one `dispatch` did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Activity {
    /// Calls made to the driver.
    pub events: usize,
    /// Payload bytes lent for the first time.
    pub bytes_in: usize,
    /// More is known to be ready: the next `wait` must not sleep.
    pub more: bool,
}

/// The send queue took nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendError {
    /// The connection is gone, or its sending side was finished or closed.
    Closed,
    /// No room: the connection's queue bound is reached, or the lcore's buffer pool is used up. A connection that is
    /// blocked finds it used up while there is still some left for those that are not.
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

/// Which flows [`Transport::flows`] is to describe, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    /// Only those with this peer.
    pub peer: Option<IpAddr>,
    /// And the peer's port.
    pub port: Option<u16>,
    /// With what is dear to know: one flow in each call.
    pub details: bool,
}

impl Wanted {
    /// Whether a flow is one of them.
    pub fn matches(&self, peer: SocketAddr) -> bool {
        self.peer.is_none_or(|ip| ip == peer.ip())
            && self.port.is_none_or(|port| port == peer.port())
    }
}

/// Counters every transport keeps; monotonic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransportStats {
    /// Connections accepted (refused ones included).
    pub accepted: u64,
    /// Accepts that failed for want of file descriptors, memory or slots.
    pub accept_errors: u64,
    /// Connections opened by `connect`.
    pub connected: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes handed to the network.
    pub bytes_out: u64,
    /// Receive calls (system calls, or bursts).
    pub reads: u64,
    /// Send calls.
    pub writes: u64,
    /// Sends that found the network's buffer full.
    pub blocked: u64,
    /// Times `wait` was entered with a non-zero timeout.
    pub sleeps: u64,
    /// Of the bytes received, those that the driver consumed where the device had put them: in the frame. 0 for a
    /// transport that sees no frames.
    pub rx_bytes_in_place: u64,
    /// Those that it consumed from a copy, because they came out of order or waited. 0 likewise.
    pub rx_bytes_from_ring: u64,
    /// What TCP of our own counts; all 0 where TCP is the system's.
    pub tcp: TcpCounts,
    /// Of the device below, looked at ten times a second at most. 0 likewise.
    pub device: DeviceCounts,
}

/// Counters of TCP of our own; monotonic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpCounts {
    /// Retransmissions begun.
    pub retransmits: u64,
    /// Handshakes forgotten because `half_open` others were under way.
    pub half_open_evicted: u64,
    /// Entries of TIME_WAIT forgotten because there were `time_wait` of them.
    pub time_wait_evicted: u64,
    /// Connections reset because they took too long to close, or because there were `orphans` of them.
    pub orphans_reset: u64,
    /// Connections given up because nothing was acknowledged within `user_timeout`.
    pub timeouts: u64,
    /// Resets not sent because of `rst_rate`.
    pub rst_limited: u64,
    /// ICMP messages not sent because of `icmp_rate`.
    pub icmp_limited: u64,
    /// Frames handed to the lcore that owns their flow.
    pub handoffs: u64,
    /// Of these, lost because its ring was full.
    pub handoff_drops: u64,
    /// Frames with a wrong checksum.
    pub bad_checksums: u64,
    /// Frames too short, or that contradict themselves.
    pub rx_malformed: u64,
    /// Frames lost because there was no room for them, or no buffer.
    pub tx_drops: u64,
    /// Windows given back to the system because they were empty.
    pub rings_given_back: u64,
}

/// What the device below a TCP of our own has counted. An AF_XDP queue knows of frames that the kernel had no room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceCounts {
    /// Frames received.
    pub rx_frames: u64,
    /// Frames lost before they could be received: the receive ring was full, or there was no buffer.
    pub rx_dropped: u64,
    /// Frames handed over for sending.
    pub tx_frames: u64,
    /// Of these, known to be lost.
    pub tx_dropped: u64,
    /// Times the transmit ring had no room for all of a burst.
    pub tx_full: u64,
}

/// The side that consumes byte streams: implemented by the engine.
///
/// For one connection the order is: `on_accept` or `on_connect`; then any of `on_data`, `on_writable`; at most one `on_end`;
/// last `on_closed`, exactly once, after which the id is stale. A refused accept and a failed connect get no `on_closed`.
pub trait Driver {
    /// A connection arrived. `false` refuses it: it is aborted at once.
    fn on_accept<C: Connections>(&mut self, io: &mut C, id: ConnId, peer: Peer) -> bool;
    /// A `connect` ended. On `Err` the id is stale already.
    fn on_connect<C: Connections>(&mut self, io: &mut C, id: ConnId, result: io::Result<()>);
    /// Bytes arrived (or were presented again): never empty. The driver may modify them in place; what it leaves unconsumed
    /// it must not have modified.
    fn on_data<C: Connections>(&mut self, io: &mut C, id: ConnId, data: &mut [u8]) -> Taken;
    /// The peer will send no more (TCP FIN), and everything it sent has been consumed or was left as `NeedsMore`.
    fn on_end<C: Connections>(&mut self, io: &mut C, id: ConnId);
    /// A send queue that a `flush` could not empty has emptied.
    fn on_writable<C: Connections>(&mut self, io: &mut C, id: ConnId);
    /// The connection in this slot will most probably be next but one or two: a chance to ask the caches for what is kept of it.
    /// Nothing else may follow from it; the slot may be free.
    #[inline]
    fn prefetch(&mut self, _index: u32) {}
    /// The slot is freed.
    fn on_closed<C: Connections>(&mut self, io: &mut C, id: ConnId, why: Closed);
}

/// What a connection can be asked, and told. All calls with a stale id do nothing (`send_space` gives `Closed`).
///
/// A [`Driver`] sees only this side, so a layer (TLS) can stand between a transport and the driver and lend *itself* while the
/// transport below dispatches.
pub trait Connections {
    /// Opens a connection; the outcome comes as `on_connect`.
    fn connect(&mut self, to: &Endpoint) -> io::Result<ConnId>;

    /// Lends contiguous send space of `min(want, some chunk)` bytes or more, at least 1, where a chunk is large enough for
    /// any frame header; `Full` if there is less. Write from the front, then `commit`.
    fn send_space(&mut self, id: ConnId, want: usize) -> Result<&mut [u8], SendError>;
    /// Queues the first `n` bytes of the space lent last.
    fn commit(&mut self, id: ConnId, n: usize);
    /// Bytes that `send_space`/`commit` would take now, in all. A writer that checks this first never leaves half a frame.
    fn send_room(&self, id: ConnId) -> usize;
    /// Queues a shared payload without copying it. A droppable one may be taken back by `drop_oldest` while unsent.
    fn send_shared(
        &mut self,
        id: ConnId,
        payload: LocalShared,
        droppable: bool,
    ) -> Result<(), SendError>;
    /// Takes back the oldest droppable payload of which no byte was sent; returns its length.
    fn drop_oldest(&mut self, id: ConnId) -> Option<usize>;
    /// Bytes queued and not yet handed to the network.
    fn queued(&self, id: ConnId) -> usize;
    /// Whether the last flush of this connection could not send everything.
    fn is_blocked(&self, id: ConnId) -> bool;
    /// Whether a blocked connection has sent something since it became so or since this was last asked: its peer reads, since
    /// the network took no more before.
    fn has_moved(&mut self, id: ConnId) -> bool;

    /// Stops presenting received bytes; the peer is slowed by its window.
    fn pause(&mut self, id: ConnId);
    /// Undoes `pause`.
    fn resume(&mut self, id: ConnId);

    /// Sends what is queued, then ends the sending side (FIN). Receiving goes on.
    fn finish(&mut self, id: ConnId);
    /// Sends what is queued, then closes and frees the slot.
    fn close(&mut self, id: ConnId);
    /// Resets the connection and frees the slot; what is queued is lost.
    fn abort(&mut self, id: ConnId);

    /// Where it comes from; `None` if the id is stale.
    fn peer(&self, id: ConnId) -> Option<Peer>;
}

/// The byte-stream seam: the turn, and accepting.
pub trait Transport: Connections + Sized {
    /// What it can do.
    fn features(&self) -> Features;

    /// Sleeps until something is ready, the waker is used, or `timeout` is over. `Some(ZERO)` polls; `None` is for ever.
    /// Returns at once when work is left over from the last turn.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()>;
    /// Calls the driver for what is ready, within `budget`; the rest is kept for the next turn, in fair order. `now` is the
    /// turn's one reading of the clock, from after `wait`.
    fn dispatch<D: Driver>(&mut self, driver: &mut D, budget: Budget, now: Time) -> Activity;
    /// Sends what is queued, with one gathered write per connection, then finishes and closes what was asked to.
    fn flush<D: Driver>(&mut self, driver: &mut D);

    /// Stops (or restarts) taking new connections; they wait in the listener's backlog.
    fn set_accepting(&mut self, on: bool);
    /// Closes the listeners for good.
    fn stop_listening(&mut self);

    /// Wakes this transport from another thread.
    fn waker(&self) -> Waker;
    /// Its counters.
    fn stats(&self) -> TransportStats;

    /// For an operator: appends what is known of its flows, from slot `from` on, until `rows` is as long as its capacity or
    /// some thousands of slots were looked at; the slot to go on from, `None` at the end. A transport whose connections are
    /// the system's has nothing to say that `ss` does not.
    fn flows(&self, from: u32, wanted: &Wanted, rows: &mut Vec<FlowInfo>) -> Option<u32> {
        let _ = (from, wanted, rows);
        None
    }
}
