//! A transport whose network is a script: a test plays the peers, byte by byte.
//!
//! The next `wait` or `dispatch` sees the events that were scripted before it, in order. Nothing else happens. The connections,
//! queues and rules are those of the sockets ([`streams`](crate::streams)).
//!
//! ```
//! use hioload_transport::fake::{Fake, FakeOptions};
//! use hioload_transport::{Peer, Transport};
//!
//! let mut fake = Fake::new(&FakeOptions::default()).unwrap();
//! let id = fake.accept(Peer::Unix);
//! fake.deliver(id, b"GET / HTTP/1.1\r\n");
//! fake.set_window(id, 1000); // what the network takes in one flush
//! // fake.dispatch(&mut driver, budget, now); fake.flush(&mut driver);
//! assert_eq!(fake.sent(id), b"");
//! ```

use std::io::{self, ErrorKind};
use std::sync::atomic::Ordering;
use std::time::Duration;

use hioload_mem::{Pool, PoolOptions};

use crate::setters::setters;
use crate::streams::{Ready, Streams};
use crate::table::flag;
use crate::{ConnId, Endpoint, Peer};

mod network;

pub use network::{FakeNetwork, FakeStream};

use network::{ARRIVED, ENDED, FAILED, WRITABLE};

/// Sizes and behaviour of a fake. All fields have defaults, and can be assigned or set.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FakeOptions {
    /// Slots.
    pub max_connections: usize,
    /// The most bytes lent to the driver in one call.
    pub rx_buffer: usize,
    /// Bytes of a send chunk.
    pub tx_chunk: usize,
    /// Send chunks, for all connections together.
    pub tx_chunks: usize,
    /// The most bytes queued for one connection.
    pub send_queue: usize,
    /// Bytes that the network takes of a connection in one flush, until `set_window` changes it.
    pub window: usize,
    /// The value of `features().can_block`. `wait` never sleeps either way.
    pub can_block: bool,
    /// Whether a short read or write proves that nothing is left, as with epoll. If not, only `WouldBlock` does.
    pub short_means_drained: bool,
}

impl FakeOptions {
    setters! {
        max_connections: usize,
        rx_buffer: usize,
        tx_chunk: usize,
        tx_chunks: usize,
        send_queue: usize,
        window: usize,
        can_block: bool,
        short_means_drained: bool,
    }
}

impl Default for FakeOptions {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            rx_buffer: 64 << 10,
            tx_chunk: 16 << 10,
            tx_chunks: 1024,
            send_queue: 1 << 20,
            window: usize::MAX,
            can_block: true,
            short_means_drained: true,
        }
    }
}

/// How the transport closed a connection, as the peer sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FakeEnd {
    /// Both directions ended; everything sent was delivered.
    Closed,
    /// Reset.
    Reset,
}

/// The scripted transport.
pub type Fake = Streams<FakeNetwork>;

impl Fake {
    /// A fake without connections, listening.
    pub fn new(options: &FakeOptions) -> io::Result<Self> {
        let pool = Pool::new(&PoolOptions::new(options.tx_chunks, options.tx_chunk))?;
        let net = FakeNetwork::new(options);
        let FakeOptions {
            max_connections,
            rx_buffer,
            send_queue,
            ..
        } = *options;
        Ok(Self::over(
            net,
            max_connections,
            rx_buffer,
            send_queue,
            pool,
        ))
    }

    /// A peer connects. The transport accepts it in a later dispatch, but its id is known now, and its bytes can be
    /// scripted at once.
    ///
    /// # Panics
    /// If all slots are taken.
    pub fn accept(&mut self, peer: Peer) -> ConnId {
        let id = self.open(None, peer, 0).expect("the fake has no slot left");
        let at = self.net.add(peer, None);
        self.net.by_id.insert(id, at);
        self.net.backlog.push_back((id, at));
        self.backlog_edge();
        id
    }

    /// The next accept fails with this error.
    pub fn fail_accept(&mut self, kind: ErrorKind) {
        self.net.accept_errors.push_back(kind);
        self.backlog_edge();
    }

    fn backlog_edge(&mut self) {
        self.net.events.push_back((usize::MAX, Ready::default()));
    }

    /// The peer sends `bytes`. `false` if the transport has closed the connection.
    pub fn deliver(&mut self, id: ConnId, bytes: &[u8]) -> bool {
        !bytes.is_empty()
            && self
                .net
                .change(id, ARRIVED, |pipe| pipe.arrived.extend(bytes))
    }

    /// The peer ends its sending side (FIN).
    pub fn end(&mut self, id: ConnId) -> bool {
        self.net.change(id, ENDED, |pipe| pipe.fin = true)
    }

    /// The peer resets the connection. What it sent before can still be received.
    pub fn reset(&mut self, id: ConnId) -> bool {
        self.net.change(id, FAILED, |pipe| pipe.reset = true)
    }

    /// Ends a `connect` of the transport.
    pub fn connect_outcome(&mut self, id: ConnId, outcome: Result<(), ErrorKind>) -> bool {
        self.net
            .change(id, WRITABLE, |pipe| pipe.outcome = Some(outcome))
    }

    /// The connects of the transport that have no outcome yet, oldest first.
    pub fn connecting(&self) -> Vec<(ConnId, Endpoint)> {
        let open = self
            .net
            .pipes
            .iter()
            .filter(|pipe| pipe.end.is_none() && pipe.outcome.is_none());
        open.filter_map(|pipe| Some((pipe.id?, pipe.to.clone()?)))
            .collect()
    }

    /// Sets how many bytes the network takes of this connection in one flush.
    pub fn set_window(&mut self, id: ConnId, bytes: usize) -> bool {
        self.net
            .change(id, Ready::default(), |pipe| pipe.window = bytes)
    }

    /// Takes the bytes that the peer has received since the last call.
    pub fn sent(&mut self, id: ConnId) -> Vec<u8> {
        let at = self.net.by_id.get(&id);
        at.map_or_else(Vec::new, |&at| std::mem::take(&mut self.net.pipes[at].sent))
    }

    /// The bytes that the peer has received since `sent` or `clear_sent`.
    pub fn peek_sent(&self, id: ConnId) -> &[u8] {
        self.net.pipe(id).map_or(&[], |pipe| &pipe.sent)
    }

    /// Discards the bytes that the peer has received and keeps their memory: for tests that count allocations.
    pub fn clear_sent(&mut self, id: ConnId) {
        if let Some(&at) = self.net.by_id.get(&id) {
            self.net.pipes[at].sent.clear();
        }
    }

    /// Whether the transport has neither closed nor reset the connection.
    pub fn is_open(&self, id: ConnId) -> bool {
        self.net.pipe(id).is_some_and(|pipe| pipe.end.is_none())
    }

    /// Whether the peer has received the end of the stream (by `finish` or `close`).
    pub fn finished(&self, id: ConnId) -> bool {
        self.net
            .pipe(id)
            .is_some_and(|pipe| pipe.finished || pipe.end == Some(FakeEnd::Closed))
    }

    /// How the transport closed it; `None` while it is open.
    pub fn closed(&self, id: ConnId) -> Option<FakeEnd> {
        self.net.pipe(id)?.end
    }

    /// Bytes delivered and not yet received by the transport, as of a paused connection.
    pub fn unread(&self, id: ConnId) -> usize {
        self.net.pipe(id).map_or(0, |pipe| pipe.arrived.len())
    }

    /// Whether the driver has paused the connection.
    pub fn is_paused(&self, id: ConnId) -> bool {
        self.table
            .get(id)
            .is_some_and(|entry| entry.flags.any(flag::PAUSED))
    }

    /// Whether the transport still listens (`stop_listening` was not called).
    pub fn is_listening(&self) -> bool {
        self.net.listening
    }

    /// Whether a waker was used since the last call.
    pub fn woken(&mut self) -> bool {
        // Pairs with the release in `waker`: writes before the wake are visible after this.
        self.net.woken.swap(false, Ordering::Acquire)
    }

    /// The timeout that the last `wait` would have slept for (zero if work was left); `None` before the first.
    pub fn last_wait(&self) -> Option<Option<Duration>> {
        self.net.last_wait
    }
}
