//! The transport over the kernel's sockets, on mio: epoll on Linux, kqueue on the BSDs and macOS, IOCP on Windows.
//!
//! System calls of a turn: one wait for events; one receive for each connection that became readable, into a buffer that
//! all connections of the lcore share; one send for each connection that has something queued. Interest in reading is
//! registered once. Interest in writing is added only after a partial send, and removed when the queue is empty.

use std::io::{self, ErrorKind, IoSlice};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hioload_mem::{Pool, PoolOptions};
use mio::{Events, Interest, Poll, Token};

use crate::streams::{Accepted, Event, Network, Ready, Streams};
use crate::{ConnId, Endpoint, Waker};

mod listen;
mod listener;
mod options;
mod stream;
#[cfg(unix)]
mod unix_file;

pub use listen::{Listen, Listeners};
pub use listener::BoundListener;
pub use options::SocketOptions;
pub use stream::SocketStream;

use listener::Listener;
use stream::SocketTuning;

const WAKER: Token = Token(usize::MAX);
/// Listener `i` has the token `LAST_LISTENER - i`; the slot indices of connections lie far below.
const LAST_LISTENER: usize = usize::MAX - 1;
/// Events taken from the system at once.
const EVENTS: usize = 1024;
/// Connections accepted between two polls from a socket that several lcores accept from. The first lcore that wakes up would
/// otherwise take a whole burst of connections.
const SHARED_ACCEPTS: usize = 4;

/// The transport over sockets. Not `Send`: made on the thread that uses it.
pub type Sockets = Streams<SocketNetwork>;

impl Sockets {
    /// A transport that accepts from `listeners`.
    pub fn new(options: &SocketOptions, listeners: Vec<BoundListener>) -> io::Result<Self> {
        let pool = Pool::new(
            &PoolOptions::new(options.tx_chunks, options.tx_chunk)
                .huge_pages(options.huge_pages)
                .node(options.node),
        )?;
        let net = SocketNetwork::new(options, listeners)?;
        let SocketOptions {
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

    /// The addresses listened on.
    pub fn listening(&self) -> Vec<Endpoint> {
        self.net
            .listeners
            .iter()
            .filter_map(|listener| listener.socket.local().ok())
            .collect()
    }
}

/// mio's poll and the listeners.
pub struct SocketNetwork {
    poll: Poll,
    events: Events,
    waker: Arc<mio::Waker>,
    listeners: Vec<Listener>,
    /// The listener that accepted last.
    turn: usize,
    /// Connections accepted from shared listeners since the last poll.
    shared_accepts: usize,
    tuning: SocketTuning,
    sources: Vec<IpAddr>,
    /// The source to try next.
    next_source: usize,
}

impl SocketNetwork {
    fn new(options: &SocketOptions, listeners: Vec<BoundListener>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(mio::Waker::new(poll.registry(), WAKER)?);
        let tuning = SocketTuning {
            nodelay: options.nodelay,
            recv_buffer: options.recv_buffer,
            send_buffer: options.send_buffer,
        };
        let mut attached = Vec::with_capacity(listeners.len());
        for (i, bound) in listeners.into_iter().enumerate() {
            let mut listener = Listener::new(bound, &tuning)?;
            listener.register(poll.registry(), Token(LAST_LISTENER - i))?;
            attached.push(listener);
        }
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS),
            waker,
            listeners: attached,
            turn: 0,
            shared_accepts: 0,
            tuning,
            sources: options.sources.clone(),
            next_source: 0,
        })
    }
}

impl SocketNetwork {
    /// Begins to connect, from the next source that has a port left.
    fn connect_from_any(&mut self, to: &Endpoint) -> io::Result<SocketStream> {
        let Endpoint::Tcp(addr) = to else {
            return SocketStream::connect(to);
        };
        let mut used_up = None;
        for _ in 0..self.sources.len() {
            let from = self.sources[self.next_source % self.sources.len()];
            self.next_source = self.next_source.wrapping_add(1);
            if from.is_ipv4() != addr.is_ipv4() {
                continue;
            }
            match SocketStream::connect_from(from, *addr) {
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::AddrInUse | ErrorKind::AddrNotAvailable
                    ) =>
                {
                    used_up = Some(error);
                }
                result => return result,
            }
        }
        match used_up {
            Some(error) => Err(error),
            None => SocketStream::connect(to),
        }
    }
}

impl Network for SocketNetwork {
    type Stream = SocketStream;

    fn name(&self) -> &'static str {
        "sockets"
    }

    fn can_block(&self) -> bool {
        true
    }

    fn short_means_drained(&self) -> bool {
        // epoll(7): for streams a short read or write proves as much as EAGAIN does. kqueue does not promise that, and mio
        // on Windows reports again only after WouldBlock.
        cfg!(any(target_os = "linux", target_os = "android"))
    }

    fn poll(&mut self, timeout: Option<Duration>, mut sink: impl FnMut(Event)) -> io::Result<()> {
        let mut timeout = timeout;
        if self.shared_accepts >= SHARED_ACCEPTS {
            // The edge of the connections that were left has been taken already.
            timeout = Some(Duration::ZERO);
            sink(Event::Backlog);
        }
        self.shared_accepts = 0;
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in &self.events {
            let token = event.token();
            if token == WAKER {
                continue;
            }
            if let Some(listener) = self.listeners.get_mut(LAST_LISTENER - token.0) {
                listener.ready = true;
                sink(Event::Backlog);
            } else if let Ok(index) = u32::try_from(token.0) {
                let ready = Ready {
                    readable: event.is_readable(),
                    writable: event.is_writable(),
                    read_closed: event.is_read_closed(),
                    error: event.is_error(),
                };
                sink(Event::Stream(index, ready));
            }
        }
        Ok(())
    }

    fn waker(&self) -> Waker {
        let waker = Arc::clone(&self.waker);
        // It fails only if the poll is gone, and then no thread sleeps in it.
        Waker::new(move || drop(waker.wake()))
    }

    fn accept(&mut self) -> io::Result<Accepted<SocketStream>> {
        for _ in 0..self.listeners.len() {
            self.turn = (self.turn + 1) % self.listeners.len();
            let listener = &mut self.listeners[self.turn];
            let shared = listener.shared;
            if !listener.ready || shared && self.shared_accepts >= SHARED_ACCEPTS {
                continue;
            }
            match listener.socket.accept() {
                Ok((stream, peer)) => {
                    self.shared_accepts += usize::from(shared);
                    if let Some(stream) = stream.tcp()
                        && !cfg!(any(target_os = "linux", target_os = "android"))
                    {
                        // On Linux a connection inherits these from its listener.
                        self.tuning.apply(stream)?;
                    }
                    return Ok(Accepted {
                        stream,
                        peer,
                        slot: None,
                    });
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => listener.ready = false,
                Err(error) => return Err(error),
            }
        }
        Err(ErrorKind::WouldBlock.into())
    }

    fn recheck_backlog(&mut self) {
        for listener in &mut self.listeners {
            listener.ready = true;
        }
    }

    fn stop_listening(&mut self) {
        self.listeners.clear();
    }

    fn connect(&mut self, to: &Endpoint) -> io::Result<SocketStream> {
        let stream = self.connect_from_any(to)?;
        if let Some(stream) = stream.tcp() {
            self.tuning.apply(stream)?;
        }
        Ok(stream)
    }

    fn connected(&mut self, stream: &mut SocketStream) -> io::Result<bool> {
        stream.connected()
    }

    fn attach(&mut self, stream: &mut SocketStream, id: ConnId, writable: bool) -> io::Result<()> {
        stream.source(|source| {
            self.poll
                .registry()
                .register(source, token(id), interest(writable))
        })
    }

    fn want_write(&mut self, stream: &mut SocketStream, id: ConnId, on: bool) -> io::Result<()> {
        stream.source(|source| {
            self.poll
                .registry()
                .reregister(source, token(id), interest(on))
        })
    }

    fn recv(&mut self, stream: &mut SocketStream, buf: &mut [u8]) -> io::Result<usize> {
        stream.recv(buf)
    }

    fn send(&mut self, stream: &mut SocketStream, bytes: &[u8]) -> io::Result<usize> {
        stream.send(bytes)
    }

    fn send_vectored(
        &mut self,
        stream: &mut SocketStream,
        slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        stream.send_vectored(slices)
    }

    fn finish(&mut self, stream: &mut SocketStream) -> io::Result<()> {
        stream.finish()
    }

    fn take_error(&mut self, stream: &mut SocketStream) -> Option<io::Error> {
        stream.take_error()
    }

    fn close(&mut self, stream: SocketStream) {
        drop(stream);
    }

    fn reset(&mut self, stream: SocketStream) {
        stream.reset();
    }
}

fn token(id: ConnId) -> Token {
    Token(id.index as usize)
}

fn interest(writable: bool) -> Interest {
    if writable {
        Interest::READABLE | Interest::WRITABLE
    } else {
        Interest::READABLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(not(debug_assertions))] // mio's debug builds keep more in a stream
    fn a_slot_of_a_socket_is_56_bytes() {
        assert_eq!(
            size_of::<crate::table::Entry<crate::streams::Conn<SocketStream>>>(),
            56
        );
    }

    #[test]
    fn tokens_of_listeners_and_the_waker_differ_from_slots() {
        assert!(LAST_LISTENER < WAKER.0 && LAST_LISTENER - 8 > (u32::MAX - 16) as usize - 1);
    }
}
