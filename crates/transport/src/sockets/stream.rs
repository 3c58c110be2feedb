//! One connected socket.

use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::time::Duration;

use mio::event::Source;
use mio::net::TcpStream;
#[cfg(unix)]
use mio::net::UnixStream;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::Endpoint;

/// Options of TCP sockets.
#[derive(Clone, Copy)]
pub(super) struct SocketTuning {
    pub(super) nodelay: bool,
    pub(super) recv_buffer: Option<usize>,
    pub(super) send_buffer: Option<usize>,
}

impl SocketTuning {
    pub(super) fn apply<'s, S>(&self, socket: &'s S) -> io::Result<()>
    where
        SockRef<'s>: From<&'s S>,
    {
        let socket = SockRef::from(socket);
        if self.nodelay {
            socket.set_tcp_nodelay(true)?;
        }
        if let Some(bytes) = self.recv_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(bytes) = self.send_buffer {
            socket.set_send_buffer_size(bytes)?;
        }
        Ok(())
    }
}

/// A TCP or Unix socket: 8 bytes in release builds.
pub enum SocketStream {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix-domain stream socket.
    #[cfg(unix)]
    Unix(UnixStream),
}

/// Calls the same method on either kind of socket.
macro_rules! either {
    ($self:expr, $stream:ident => $call:expr) => {
        match $self {
            SocketStream::Tcp($stream) => $call,
            #[cfg(unix)]
            SocketStream::Unix($stream) => $call,
        }
    };
}

impl SocketStream {
    pub(super) fn connect(to: &Endpoint) -> io::Result<Self> {
        match to {
            Endpoint::Tcp(addr) => Ok(Self::Tcp(TcpStream::connect(*addr)?)),
            #[cfg(unix)]
            Endpoint::Unix(path) => Ok(Self::Unix(UnixStream::connect(path)?)),
            #[cfg(not(unix))]
            Endpoint::Unix(_) => Err(ErrorKind::Unsupported.into()),
        }
    }

    /// Begins to connect from one of our addresses, with a port that the system chooses.
    pub(super) fn connect_from(from: IpAddr, to: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::new(from, 0).into())?;
        match socket.connect(&to.into()) {
            Ok(()) => {}
            Err(error) if is_under_way(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(Self::Tcp(TcpStream::from_std(socket.into())))
    }

    /// Whether a connect has succeeded; `false` if it is still under way.
    pub(super) fn connected(&self) -> io::Result<bool> {
        if let Some(error) = either!(self, stream => stream.take_error())? {
            return Err(error);
        }
        match either!(self, stream => stream.peer_addr().map(drop)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream),
            #[cfg(unix)]
            Self::Unix(_) => None,
        }
    }

    pub(super) fn source<T>(&mut self, f: impl FnOnce(&mut dyn Source) -> T) -> T {
        either!(self, stream => f(stream))
    }

    pub(super) fn recv(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        either!(self, stream => calls::recv(stream, buf))
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        either!(self, stream => calls::send(stream, bytes))
    }

    pub(super) fn send_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        either!(self, stream => calls::send_vectored(stream, slices))
    }

    pub(super) fn finish(&self) -> io::Result<()> {
        either!(self, stream => stream.shutdown(Shutdown::Write))
    }

    pub(super) fn take_error(&self) -> Option<io::Error> {
        either!(self, stream => stream.take_error()).unwrap_or_else(Some)
    }

    /// Closes with a reset: a linger time of zero discards what is queued (RFC 9293 §3.10.5, ABORT). A Unix socket has no
    /// reset; its peer sees the end, or a reset if bytes that it sent were not read.
    pub(super) fn reset(self) {
        if let Some(stream) = self.tcp() {
            // If it fails, the connection is closed without a reset.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
}

/// Whether the error means that a non-blocking connect has begun.
fn is_under_way(error: &io::Error) -> bool {
    #[cfg(unix)]
    let begun = error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error());
    #[cfg(not(unix))]
    let begun = false;
    begun || error.kind() == ErrorKind::WouldBlock
}

/// The system calls themselves, without libc: in a process of several threads libc makes each of these a cancellation
/// point, with two atomic read-modify-writes around it, and Rust threads are never cancelled.
#[cfg(target_os = "linux")]
mod calls {
    use std::io::{self, IoSlice};
    use std::os::fd::AsFd;

    use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};

    pub(super) fn recv(socket: impl AsFd, buf: &mut [u8]) -> io::Result<usize> {
        let (received, _) = rustix::net::recv(socket, buf, RecvFlags::empty())?;
        Ok(received)
    }

    pub(super) fn send(socket: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(socket, bytes, SendFlags::NOSIGNAL)?)
    }

    pub(super) fn send_vectored(socket: impl AsFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut no_control = SendAncillaryBuffer::default();
        Ok(rustix::net::sendmsg(
            socket,
            slices,
            &mut no_control,
            SendFlags::NOSIGNAL,
        )?)
    }
}

/// Elsewhere through mio, which has to see each call to report the next edge.
#[cfg(not(target_os = "linux"))]
mod calls {
    use std::io::{self, IoSlice, Read, Write};

    pub(super) fn recv(socket: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
        socket.read(buf)
    }

    pub(super) fn send(socket: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
        socket.write(bytes)
    }

    pub(super) fn send_vectored(
        socket: &mut impl Write,
        slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        socket.write_vectored(slices)
    }
}
