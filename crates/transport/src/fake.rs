//! A transport whose network is a script: a test plays the peers, byte by byte.
//!
//! What is scripted between two calls of the transport is seen by the next `wait` or `dispatch`, in order. Nothing moves
//! by itself. The connections, queues and rules are those of the sockets ([`streams`](crate::streams)).
//!
//! ```
//! use hioload_transport::fake::{Fake, FakeOptions};
//! use hioload_transport::{Peer, Transport};
//!
//! let mut fake = Fake::new(&FakeOptions::default()).unwrap();
//! let id = fake.accept(Peer::Unix);
//! fake.deliver(id, b"GET / HTTP/1.1\r\n");
//! fake.set_window(id, 1000); // what the network takes in one flush
//! // fake.dispatch(&mut driver, budget); fake.flush(&mut driver);
//! assert_eq!(fake.sent(id), b"");
//! ```

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hioload_mem::{HugePages, Pool, PoolOptions};

use crate::slots::flag;
use crate::streams::{Accepted, Event, Network, Ready, Streams};
use crate::{ConnId, Endpoint, Peer, Waker};

/// Sizes of a fake.
#[derive(Clone, Debug)]
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
    /// What the network takes of a connection in one flush, until `set_window` says otherwise.
    pub window: usize,
    /// What `features().can_block` says. `wait` never sleeps either way.
    pub can_block: bool,
    /// Whether a short read or write proves that nothing is left, as with epoll; else only `WouldBlock` does.
    pub short_means_drained: bool,
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

/// How the transport closed a connection, as its peer sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FakeEnd {
    /// Both directions ended; everything sent was delivered.
    Closed,
    /// Reset.
    Reset,
}

/// The scripted transport.
pub type Fake = Streams<FakeNetwork>;

/// The network of a [`Fake`]. Pipes are kept after their connection has ended, so that a test can look at them.
pub struct FakeNetwork {
    options: FakeOptions,
    pipes: Vec<Pipe>,
    by_id: HashMap<ConnId, usize>,
    backlog: VecDeque<(ConnId, usize)>,
    accept_errors: VecDeque<ErrorKind>,
    events: VecDeque<(usize, Ready)>,
    /// Pipes that are to report when the network takes bytes.
    writers: BTreeSet<usize>,
    listening: bool,
    flushes: u64,
    woken: Arc<AtomicBool>,
    last_wait: Option<Option<Duration>>,
}

/// One connection, seen from the network.
struct Pipe {
    peer: Peer,
    to: Option<Endpoint>,
    outcome: Option<Result<(), ErrorKind>>,
    /// Attached under this id: edges are reported.
    id: Option<ConnId>,
    arrived: VecDeque<u8>,
    fin: bool,
    reset: bool,
    sent: Vec<u8>,
    window: usize,
    left: usize,
    flush: u64,
    finished: bool,
    end: Option<FakeEnd>,
}

/// The transport's end of a pipe.
pub struct FakeStream(usize);

impl FakeNetwork {
    fn add(&mut self, peer: Peer, to: Option<Endpoint>) -> usize {
        self.pipes.push(Pipe {
            peer,
            to,
            outcome: None,
            id: None,
            arrived: VecDeque::new(),
            fin: false,
            reset: false,
            sent: Vec::new(),
            window: self.options.window,
            left: 0,
            flush: 0,
            finished: false,
            end: None,
        });
        self.pipes.len() - 1
    }

    fn pipe(&self, id: ConnId) -> Option<&Pipe> {
        self.by_id.get(&id).map(|&at| &self.pipes[at])
    }

    fn end_pipe(&mut self, at: usize, end: FakeEnd) {
        let pipe = &mut self.pipes[at];
        // Dropping the stream of a connection that the peer has reset tells it nothing new.
        pipe.end = Some(if pipe.reset { FakeEnd::Reset } else { end });
        pipe.id = None;
        self.writers.remove(&at);
    }

    /// Changes a pipe that is open and reports an edge.
    fn change(&mut self, id: ConnId, ready: Ready, change: impl FnOnce(&mut Pipe)) -> bool {
        let Some(&at) = self.by_id.get(&id) else {
            return false;
        };
        let pipe = &mut self.pipes[at];
        if pipe.end.is_some() {
            return false;
        }
        change(pipe);
        if pipe.id.is_some() {
            self.events.push_back((at, ready));
        }
        true
    }
}

const ARRIVED: Ready = Ready {
    readable: true,
    writable: false,
    read_closed: false,
    error: false,
};
const ENDED: Ready = Ready {
    readable: true,
    writable: false,
    read_closed: true,
    error: false,
};
const FAILED: Ready = Ready {
    readable: true,
    writable: true,
    read_closed: true,
    error: true,
};
const WRITABLE: Ready = Ready {
    readable: false,
    writable: true,
    read_closed: false,
    error: false,
};

impl Fake {
    /// A fake without connections, listening.
    pub fn new(options: &FakeOptions) -> io::Result<Self> {
        let pool = Pool::new(&PoolOptions {
            buffers: options.tx_chunks,
            buffer_size: options.tx_chunk,
            huge_pages: HugePages::Off,
            node: None,
        })?;
        let net = FakeNetwork {
            options: options.clone(),
            pipes: Vec::new(),
            by_id: HashMap::new(),
            backlog: VecDeque::new(),
            accept_errors: VecDeque::new(),
            events: VecDeque::new(),
            writers: BTreeSet::new(),
            listening: true,
            flushes: 0,
            woken: Arc::new(AtomicBool::new(false)),
            last_wait: None,
        };
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

    /// A peer connects. The transport accepts it in a later dispatch, but its id is known now, and what it sends can be
    /// scripted at once.
    ///
    /// # Panics
    /// If all slots are taken.
    pub fn accept(&mut self, peer: Peer) -> ConnId {
        let id = self
            .slots
            .take(None, peer, 0)
            .expect("the fake has no slot left");
        let at = self.net.add(peer, None);
        self.net.by_id.insert(id, at);
        self.net.backlog.push_back((id, at));
        self.backlog_edge();
        id
    }

    /// The next accept fails in this way.
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

    /// What the transport is connecting to, oldest first.
    pub fn connecting(&self) -> Vec<(ConnId, Endpoint)> {
        let open = self
            .net
            .pipes
            .iter()
            .filter(|pipe| pipe.end.is_none() && pipe.outcome.is_none());
        open.filter_map(|pipe| Some((pipe.id?, pipe.to.clone()?)))
            .collect()
    }

    /// What the network takes of this connection in one flush.
    pub fn set_window(&mut self, id: ConnId, bytes: usize) -> bool {
        self.net
            .change(id, Ready::default(), |pipe| pipe.window = bytes)
    }

    /// Takes what the peer has received since the last call.
    pub fn sent(&mut self, id: ConnId) -> Vec<u8> {
        let at = self.net.by_id.get(&id);
        at.map_or_else(Vec::new, |&at| std::mem::take(&mut self.net.pipes[at].sent))
    }

    /// What the peer has received since `sent` or `clear_sent`.
    pub fn peek_sent(&self, id: ConnId) -> &[u8] {
        self.net.pipe(id).map_or(&[], |pipe| &pipe.sent)
    }

    /// Forgets what the peer has received, keeping the memory: for tests that count allocations.
    pub fn clear_sent(&mut self, id: ConnId) {
        if let Some(&at) = self.net.by_id.get(&id) {
            self.net.pipes[at].sent.clear();
        }
    }

    /// Whether the transport has neither closed nor reset the connection.
    pub fn is_open(&self, id: ConnId) -> bool {
        self.net.pipe(id).is_some_and(|pipe| pipe.end.is_none())
    }

    /// Whether the peer has seen the end of what the transport sends (by `finish` or `close`).
    pub fn finished(&self, id: ConnId) -> bool {
        self.net
            .pipe(id)
            .is_some_and(|pipe| pipe.finished || pipe.end == Some(FakeEnd::Closed))
    }

    /// How the transport closed it; `None` while it has not.
    pub fn closed(&self, id: ConnId) -> Option<FakeEnd> {
        self.net.pipe(id)?.end
    }

    /// Bytes delivered and not yet received by the transport (of a paused connection, say).
    pub fn unread(&self, id: ConnId) -> usize {
        self.net.pipe(id).map_or(0, |pipe| pipe.arrived.len())
    }

    /// Whether the driver has paused the connection.
    pub fn is_paused(&self, id: ConnId) -> bool {
        self.slots
            .get(id)
            .is_some_and(|slot| slot.flags.any(flag::PAUSED))
    }

    /// Whether the transport still listens (`stop_listening` was not called).
    pub fn is_listening(&self) -> bool {
        self.net.listening
    }

    /// Whether a waker was used since the last call.
    pub fn woken(&mut self) -> bool {
        // Pairs with the release in `waker`: what was done before the wake is seen after this.
        self.net.woken.swap(false, Ordering::Acquire)
    }

    /// How long the last `wait` would have slept (zero if work was left); `None` before the first.
    pub fn last_wait(&self) -> Option<Option<Duration>> {
        self.net.last_wait
    }
}

impl Network for FakeNetwork {
    type Stream = FakeStream;
    const CHOOSES_SLOTS: bool = true;
    const POLL_IN_DISPATCH: bool = true;

    fn name(&self) -> &'static str {
        "fake"
    }

    fn can_block(&self) -> bool {
        self.options.can_block
    }

    fn short_means_drained(&self) -> bool {
        self.options.short_means_drained
    }

    fn poll(&mut self, timeout: Option<Duration>, mut sink: impl FnMut(Event)) -> io::Result<()> {
        self.last_wait = Some(timeout);
        while let Some((at, ready)) = self.events.pop_front() {
            match self.pipes.get(at).map(|pipe| pipe.id) {
                None => sink(Event::Backlog),
                Some(Some(id)) => sink(Event::Stream(id.index, ready)),
                Some(None) => {}
            }
        }
        for pipe in self.writers.iter().map(|&at| &self.pipes[at]) {
            if let Some(id) = pipe.id.filter(|_| pipe.window > 0) {
                sink(Event::Stream(id.index, WRITABLE));
            }
        }
        Ok(())
    }

    fn waker(&self) -> Waker {
        let woken = Arc::clone(&self.woken);
        Waker::new(move || woken.store(true, Ordering::Release))
    }

    fn accept(&mut self) -> io::Result<Accepted<FakeStream>> {
        if let Some(kind) = self.accept_errors.pop_front() {
            return Err(kind.into());
        }
        let (id, at) = self.backlog.pop_front().ok_or(ErrorKind::WouldBlock)?;
        Ok(Accepted {
            stream: FakeStream(at),
            peer: self.pipes[at].peer,
            slot: Some(id),
        })
    }

    fn recheck_backlog(&mut self) {}

    fn stop_listening(&mut self) {
        self.listening = false;
        for (_, at) in self.backlog.drain(..) {
            self.pipes[at].end = Some(FakeEnd::Reset);
        }
    }

    fn connect(&mut self, to: &Endpoint) -> io::Result<FakeStream> {
        let peer = match to {
            Endpoint::Tcp(addr) => Peer::Ip(*addr),
            Endpoint::Unix(_) => Peer::Unix,
        };
        Ok(FakeStream(self.add(peer, Some(to.clone()))))
    }

    fn connected(&mut self, stream: &mut FakeStream) -> io::Result<bool> {
        match self.pipes[stream.0].outcome {
            None => Ok(false),
            Some(Ok(())) => Ok(true),
            Some(Err(kind)) => Err(kind.into()),
        }
    }

    fn attach(&mut self, stream: &mut FakeStream, id: ConnId, _writable: bool) -> io::Result<()> {
        // The edge of a connect comes with its outcome.
        let pipe = &mut self.pipes[stream.0];
        pipe.id = Some(id);
        self.by_id.insert(id, stream.0);
        if !pipe.arrived.is_empty() || pipe.fin || pipe.reset {
            let ready = Ready {
                read_closed: pipe.fin,
                error: pipe.reset,
                ..ARRIVED
            };
            self.events.push_back((stream.0, ready));
        }
        Ok(())
    }

    fn want_write(&mut self, stream: &mut FakeStream, _id: ConnId, on: bool) -> io::Result<()> {
        if on {
            self.writers.insert(stream.0);
        } else {
            self.writers.remove(&stream.0);
        }
        Ok(())
    }

    fn recv(&mut self, stream: &mut FakeStream, buf: &mut [u8]) -> io::Result<usize> {
        let pipe = &mut self.pipes[stream.0];
        let n = buf.len().min(pipe.arrived.len());
        for (byte, arrived) in buf.iter_mut().zip(pipe.arrived.drain(..n)) {
            *byte = arrived;
        }
        match n {
            0 if pipe.reset => Err(ErrorKind::ConnectionReset.into()),
            0 if pipe.fin => Ok(0),
            0 => Err(ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }

    fn begin_flush(&mut self) {
        self.flushes += 1;
    }

    fn send(&mut self, stream: &mut FakeStream, bytes: &[u8]) -> io::Result<usize> {
        self.send_vectored(stream, &[IoSlice::new(bytes)])
    }

    fn send_vectored(
        &mut self,
        stream: &mut FakeStream,
        slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        let pipe = &mut self.pipes[stream.0];
        if pipe.reset || pipe.finished {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if pipe.flush != self.flushes {
            pipe.flush = self.flushes;
            pipe.left = pipe.window;
        }
        if pipe.left == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut taken = 0;
        for slice in slices {
            let n = slice.len().min(pipe.left);
            pipe.sent.extend_from_slice(&slice[..n]);
            pipe.left -= n;
            taken += n;
        }
        Ok(taken)
    }

    fn finish(&mut self, stream: &mut FakeStream) -> io::Result<()> {
        self.pipes[stream.0].finished = true;
        Ok(())
    }

    fn take_error(&mut self, stream: &mut FakeStream) -> Option<io::Error> {
        self.pipes[stream.0]
            .reset
            .then(|| ErrorKind::ConnectionReset.into())
    }

    fn close(&mut self, stream: FakeStream) {
        self.end_pipe(stream.0, FakeEnd::Closed);
    }

    fn reset(&mut self, stream: FakeStream) {
        self.end_pipe(stream.0, FakeEnd::Reset);
    }
}
