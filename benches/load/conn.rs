//! Connections: opening them, and moving bytes without blocking.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::wire::Position;

/// The sample key of RFC 6455 §1.3 and its answer. A load client does not need a fresh key.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Concurrent handshakes: fewer than any listen backlog.
const OPENING: usize = 64;

/// Connections from one source address, so that the limit of a server per source is not reached.
const PER_SOURCE: usize = 500;

/// One WebSocket connection of the client.
pub(crate) struct Conn {
    stream: TcpStream,
    /// Its position in the stream of replies.
    pub(crate) position: Position,
    /// The counter of the next message it sends.
    pub(crate) sent: u32,
    /// Bytes that arrived with the handshake's answer.
    pub(crate) early: Vec<u8>,
    /// Bytes that the socket has not accepted yet.
    unsent: Vec<u8>,
}

impl Conn {
    /// Sends the bytes that the socket accepts now and keeps the rest.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let taken = if self.unsent.is_empty() {
            self.write(bytes)?
        } else {
            0
        };
        self.unsent.extend_from_slice(&bytes[taken..]);
        Ok(())
    }

    /// Sends the kept bytes. Call it when the socket is writable again.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if !self.unsent.is_empty() {
            let unsent = std::mem::take(&mut self.unsent);
            let taken = self.write(&unsent)?;
            self.unsent.extend_from_slice(&unsent[taken..]);
        }
        Ok(())
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        while taken < bytes.len() {
            match (&self.stream).write(&bytes[taken..]) {
                Ok(n) => taken += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(taken)
    }

    /// Receives into `buf`; returns 0 if nothing has arrived.
    pub(crate) fn receive(&self, buf: &mut [u8]) -> io::Result<usize> {
        match (&self.stream).read(buf) {
            Ok(0) => Err(io::Error::new(
                ErrorKind::UnexpectedEof,
                "the server closed a connection",
            )),
            Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(0),
            other => other,
        }
    }

    /// Waits up to `patience` for bytes and receives into `buf`. For the steps before a measurement.
    pub(crate) fn receive_waiting(&self, buf: &mut [u8], patience: Duration) -> io::Result<usize> {
        self.stream.set_nonblocking(false)?;
        self.stream.set_read_timeout(Some(patience))?;
        let n = (&self.stream).read(buf)?;
        self.stream.set_nonblocking(true)?;
        Ok(n)
    }
}

impl AsFd for Conn {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Opens `count` WebSocket connections, a few at a time.
pub(crate) fn open(server: SocketAddrV4, path: &str, count: usize) -> io::Result<Vec<Conn>> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {server}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    let mut conns = Vec::with_capacity(count);
    while conns.len() < count {
        let first = conns.len();
        for i in first..count.min(first + OPENING) {
            let mut stream = connect(server, i / PER_SOURCE)?;
            stream.write_all(request.as_bytes())?;
            let (position, early, unsent) = (Position::default(), Vec::new(), Vec::new());
            conns.push(Conn {
                stream,
                position,
                sent: 0,
                early,
                unsent,
            });
        }
        for conn in &mut conns[first..] {
            conn.early = finish_handshake(&mut conn.stream)?;
            conn.stream.set_nonblocking(true)?;
        }
    }
    Ok(conns)
}

fn connect(server: SocketAddrV4, source: usize) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    if server.ip().is_loopback() {
        let [_, _, high, low] = (source as u32 + 1).to_be_bytes();
        let address = Ipv4Addr::new(127, 0, high, low);
        socket.bind(&SocketAddr::from((address, 0)).into())?;
    }
    socket.connect(&SocketAddr::from(server).into())?;
    socket.set_tcp_nodelay(true)?;
    // Closing resets the connection, so that a run leaves no TIME_WAIT entries for the next one.
    SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
    Ok(socket.into())
}

/// Reads the answer to the upgrade; returns the bytes after it.
fn finish_handshake(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    loop {
        let n = stream.read(&mut piece)?;
        if n == 0 {
            return Err(io::Error::new(
                ErrorKind::UnexpectedEof,
                "closed during the handshake",
            ));
        }
        head.extend_from_slice(&piece[..n]);
        if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            let early = head.split_off(end + 4);
            let text = String::from_utf8_lossy(&head);
            if !text.starts_with("HTTP/1.1 101") || !text.contains(ACCEPT) {
                let status = text.lines().next().unwrap_or_default();
                return Err(io::Error::other(format!(
                    "the upgrade was refused: {status}"
                )));
            }
            return Ok(early);
        }
    }
}
