//! A transport over any readiness-based network: the part that sockets and the fake share.
//!
//! ```text
//! wait      poll -> edges become flags of slots; readable connections are listed
//! dispatch  accept; visit the listed: one receive into the lcore's buffer, lent to the driver in place    receive.rs
//! flush     one gathered send per connection that has something queued; finish, close; report the closed  flush.rs
//! ```
//!
//! A connection is a slot of 56 bytes in the connection table. A send queue and a buffer for bytes that the driver left
//! exist only while they hold something, and are recycled, so that steady traffic allocates nothing.

use std::io;
use std::time::{Duration, Instant};

use hioload_lcore::Time;
use hioload_mem::Pool;

use crate::table::{Numbers, Owner, Table, flag};
use crate::{Closed, ConnId, Driver, Peer, TransportStats};

mod conn;
mod flush;
mod network;
mod receive;
mod transport;

pub(crate) use conn::Conn;
pub use network::{Accepted, Event, Network, Ready};

use conn::Held;

/// How long accepting rests after it failed for lack of descriptors or memory, unless a connection closes before.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// Connections visited between two polls while others are listed: a poll would only list more behind them.
const UNPOLLED: usize = 64;
/// The time, at the start of a turn, after which the next one polls.
const UNPOLLED_TIME: Duration = Duration::from_micros(100);
/// Connections accepted in one turn, at most: each costs several system calls, and connections that are ready wait meanwhile.
const ACCEPTS: usize = 32;
/// Estimates of what the driver cannot see, in nanoseconds: a connection accepted, a receive, a send.
const ACCEPT_COST: u32 = 6_000;
const RECEIVE_COST: u32 = 1_000;
const SEND_COST: u32 = 2_500;
/// Buffers of held bytes kept for reuse.
const SPARE_HELD: usize = 1024;
/// The largest buffer of held bytes that is kept for reuse.
const SPARE_HELD_BYTES: usize = 128 << 10;

/// What is known of the listeners' backlogs.
struct Accepting {
    on: bool,
    /// Connections may be waiting.
    backlog: bool,
    /// No accept is tried before.
    rest_until: Option<Instant>,
    /// Whether the full table has been counted as an accept error.
    full_counted: bool,
}

/// A [`Transport`](crate::Transport) over a [`Network`].
pub struct Streams<N: Network> {
    pub(crate) net: N,
    pub(crate) table: Table<Conn<N::Stream>>,
    numbers: Numbers,
    rx: Vec<u8>,
    /// Connections visited since the last poll.
    unpolled: usize,
    /// The start of the turn of the last poll; `None` until that turn dispatches.
    polled: Option<Time>,
    /// The next `wait` polls, even if connections are listed.
    poll_due: bool,
    accepting: Accepting,
    // The boxes are what is recycled.
    #[allow(clippy::vec_box)]
    spare_held: Vec<Box<Held>>,
    stats: TransportStats,
}

impl<N: Network> Streams<N> {
    /// The pool that send chunks come from.
    pub fn pool(&self) -> &Pool {
        self.table.pool()
    }

    /// A transport over `net`: one call receives at most `rx_buffer` bytes, and each connection queues at most `send_queue`
    /// bytes, in chunks of `pool`.
    pub fn over(
        net: N,
        max_connections: usize,
        rx_buffer: usize,
        send_queue: usize,
        pool: Pool,
    ) -> Self {
        let numbers = Numbers::new(max_connections);
        let entries = Vec::with_capacity(numbers.max());
        Self {
            net,
            table: Table::new(entries, pool, send_queue),
            numbers,
            rx: vec![0; rx_buffer.max(1)],
            unpolled: 0,
            polled: None,
            poll_due: false,
            accepting: Accepting {
                on: true,
                backlog: true,
                rest_until: None,
                full_counted: false,
            },
            spare_held: Vec::new(),
            stats: TransportStats::default(),
        }
    }

    /// Takes a slot for a connection; `None` if there is none.
    pub(crate) fn open(
        &mut self,
        stream: Option<N::Stream>,
        peer: Peer,
        flags: u32,
    ) -> Option<ConnId> {
        let id = self.table.next_id(self.numbers.take()?);
        self.table.open(id, Conn::new(stream, peer), flags);
        Some(id)
    }

    /// Whether an accept may be tried now.
    fn may_accept(&self) -> bool {
        let full = self.numbers.is_full() && !N::CHOOSES_SLOTS;
        self.accepting.on
            && self.accepting.backlog
            && !full
            && self
                .accepting
                .rest_until
                .is_none_or(|until| until <= Instant::now())
    }

    fn has_work(&self) -> bool {
        self.table.has_work() || self.may_accept()
    }

    /// `timeout`, or less if accepting has to be tried again before.
    fn bounded_timeout(&self, timeout: Option<Duration>) -> Option<Duration> {
        if self.has_work() {
            return Some(Duration::ZERO);
        }
        let rest = self
            .accepting
            .rest_until
            .filter(|_| self.accepting.on && self.accepting.backlog)
            .map(|until| until.saturating_duration_since(Instant::now()));
        match (timeout, rest) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Turns edges into flags and list entries: those of a poll (`Some`), or those known without one. No slot is freed
    /// between the two, so an event can never meet a later user of its slot.
    fn take_edges(&mut self, poll: Option<Option<Duration>>) -> io::Result<()> {
        let Self {
            net,
            table,
            accepting,
            ..
        } = self;
        let sink = |event| match event {
            Event::Backlog => accepting.backlog = true,
            Event::Stream(index, ready) => record(table, index, ready),
        };
        match poll {
            Some(timeout) => net.poll(timeout, sink),
            None => {
                net.known(sink);
                Ok(())
            }
        }
    }

    /// Takes the stream from a connection. Its slot stays until the driver has received the end.
    fn mark_dead(&mut self, id: ConnId, why: Closed) {
        let Some(entry) = self.table.mark_dead(id, why) else {
            return;
        };
        entry.flags.clear(flag::WANT_WRITE);
        let (stream, held) = (entry.own.stream.take(), entry.own.held.take());
        self.recycle_held(held);
        match (stream, why) {
            (Some(stream), Closed::Aborted) => self.net.reset(stream),
            (Some(stream), _) => self.net.close(stream),
            (None, _) => {}
        }
    }

    /// Frees a slot.
    fn free(&mut self, id: ConnId) {
        let Some(conn) = self.table.close(id) else {
            return;
        };
        self.numbers.give_back(id.index);
        self.recycle_held(conn.held);
        self.accepting.rest_until = None;
        self.accepting.full_counted = false;
    }

    fn recycle_held(&mut self, held: Option<Box<Held>>) {
        if let Some(mut held) = held
            && self.spare_held.len() < SPARE_HELD
            && held.capacity() <= SPARE_HELD_BYTES
        {
            held.clear();
            self.spare_held.push(held);
        }
    }
}

impl<N: Network> Owner for Streams<N> {
    type Own = Conn<N::Stream>;

    fn table(&mut self) -> &mut Table<Self::Own> {
        &mut self.table
    }

    fn release(&mut self, id: ConnId, _: Closed) {
        self.free(id);
    }

    fn flush_one<D: Driver>(&mut self, driver: &mut D, id: ConnId) {
        self.send_queued(driver, id);
    }
}

/// Records an edge.
fn record<S>(table: &mut Table<Conn<S>>, index: u32, ready: Ready) {
    let Some(id) = table.id_at(index) else { return };
    let Some(entry) = table.living(id) else {
        return;
    };
    let flags = &mut entry.flags;
    if ready.readable || ready.read_closed || ready.error {
        flags.set(flag::READABLE);
    }
    if ready.read_closed {
        flags.set(flag::READ_CLOSED);
    }
    if ready.error {
        flags.set(flag::ERROR);
    }
    let receives = flags.any(flag::READABLE) && !flags.any(flag::PAUSED | flag::CLOSE | flag::END);
    let visit = receives || flags.any(flag::CONNECTING | flag::ERROR);
    let flush = ready.writable && flags.any(flag::BLOCKED);
    if flush {
        table.mark_dirty(id, 0);
    }
    if visit {
        table.list(id);
    }
}
