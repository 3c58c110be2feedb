//! One connection of an attack or of the witness: it connects, upgrades, writes what it is given and reads what arrives.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::SockRef;

use super::frames::{self, FrameReader, Received};

/// The longest head of a response that is read.
const MAX_HEAD: usize = 16 << 10;
/// Reads of one connection in one call, at most. Others have their turn before the rest.
const READS: usize = 16;
/// Beyond this many unsent bytes a connection takes no further message.
const MOST_UNSENT: usize = 256 << 10;

/// The stages of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Connecting,
    Upgrading,
    Open,
}

/// What happened to a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event<'a> {
    /// TCP is established.
    Connected,
    /// The server has answered the upgrade; only status 101 opens the connection.
    Status(u16),
    /// A message has arrived; its first bytes.
    Message(&'a [u8]),
    /// Bytes have arrived.
    Bytes(u64),
    /// The server has sent a Close frame.
    Close(Option<u16>),
}

/// How a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// It was never established.
    Unconnected,
    /// The server refused the upgrade, or sent a Close frame. An [`Event`] has given the status or code.
    Told,
    /// The server ended it in order, without a Close frame.
    Closed,
    /// It was reset.
    Reset,
}

/// What a connection needs to begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dial<'a> {
    pub(crate) target: SocketAddr,
    /// The upgrade request.
    pub(crate) request: &'a [u8],
    /// Bytes of the socket's receive buffer; 0: the system's choice.
    pub(crate) receive_buffer: usize,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Peer {
    stream: TcpStream,
    stage: Stage,
    /// Bytes to send, and how many of them are sent.
    out: Vec<u8>,
    sent: usize,
    head: Vec<u8>,
    reader: FrameReader,
    /// Whether the server lets this side refer to earlier messages when it compresses (RFC 7692 §7.1.1).
    takes_over: bool,
}

impl Peer {
    /// Begins to connect, and registers with `registry`.
    pub(crate) fn dial(dial: &Dial<'_>, registry: &Registry, token: Token) -> io::Result<Self> {
        let mut stream = TcpStream::connect(dial.target)?;
        if dial.receive_buffer > 0 {
            SockRef::from(&stream).set_recv_buffer_size(dial.receive_buffer)?;
        }
        stream.set_nodelay(true)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            stream,
            stage: Stage::Connecting,
            out: dial.request.to_vec(),
            sent: 0,
            head: Vec::new(),
            reader: FrameReader::default(),
            takes_over: true,
        })
    }

    /// Whether messages can be sent.
    pub(crate) fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// Whether compressed messages may refer to earlier ones.
    pub(crate) fn takes_over(&self) -> bool {
        self.takes_over
    }

    /// Whether a further message may be written.
    pub(crate) fn has_room(&self) -> bool {
        self.is_open() && self.out.len() - self.sent < MOST_UNSENT
    }

    /// The buffer for messages. [`flush`](Self::flush) sends it.
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Sends as much as the socket takes. Calls `sink` when the connection is established.
    pub(crate) fn flush(&mut self, sink: &mut impl FnMut(Event<'_>)) -> Result<(), End> {
        if self.stage == Stage::Connecting {
            if let Ok(Some(_)) = self.stream.take_error() {
                return Err(End::Unconnected);
            }
            match self.stream.peer_addr() {
                Ok(_) => self.stage = Stage::Upgrading,
                Err(_) => return Ok(()),
            }
            sink(Event::Connected);
        }
        while self.sent < self.out.len() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(n) => self.sent += n,
                Err(why) if why.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(End::Reset),
            }
        }
        self.out.clear();
        self.sent = 0;
        Ok(())
    }

    /// Reads up to `limit` bytes through `scratch`. Returns whether more may be there to read.
    pub(crate) fn receive(
        &mut self,
        scratch: &mut [u8],
        limit: usize,
        sink: &mut impl FnMut(Event<'_>),
    ) -> Result<bool, End> {
        let mut left = limit;
        for _ in 0..READS {
            let room = scratch.len().min(left);
            if room == 0 {
                return Ok(true);
            }
            match self.stream.read(&mut scratch[..room]) {
                Ok(0) => return Err(End::Closed),
                Ok(n) => {
                    left -= n;
                    sink(Event::Bytes(n as u64));
                    self.take(&scratch[..n], sink)?;
                }
                Err(why) if why.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                Err(_) if self.stage == Stage::Connecting => return Err(End::Unconnected),
                Err(_) => return Err(End::Reset),
            }
        }
        Ok(true)
    }

    fn take(&mut self, bytes: &[u8], sink: &mut impl FnMut(Event<'_>)) -> Result<(), End> {
        if self.stage == Stage::Open {
            return self.take_frames(bytes, sink);
        }
        self.head.extend_from_slice(bytes);
        let Some(end) = self.head.windows(4).position(|four| four == b"\r\n\r\n") else {
            return match self.head.len() {
                MAX_HEAD.. => Err(End::Reset),
                _ => Ok(()),
            };
        };
        let status = self
            .head
            .get(9..12)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let status = status.and_then(|digits| digits.parse().ok()).unwrap_or(0);
        sink(Event::Status(status));
        if status != 101 {
            return Err(End::Told);
        }
        self.stage = Stage::Open;
        let head = String::from_utf8_lossy(&self.head[..end]);
        self.takes_over = !head.contains("client_no_context_takeover");
        let rest = self.head.split_off(end + 4);
        self.head = Vec::new();
        self.take_frames(&rest, sink)
    }

    fn take_frames(&mut self, bytes: &[u8], sink: &mut impl FnMut(Event<'_>)) -> Result<(), End> {
        let (out, mut told) = (&mut self.out, false);
        self.reader.read(bytes, &mut |received| match received {
            Received::Message(head) => sink(Event::Message(head)),
            Received::Ping(payload) => frames::pong(out, payload),
            Received::Close(code) => {
                told = true;
                sink(Event::Close(code));
            }
        });
        if told {
            // The answer, as RFC 6455 §5.5.1 requires, if the socket takes it.
            frames::close(&mut self.out, 1000);
            let _ = self.flush(&mut |_| {});
            return Err(End::Told);
        }
        Ok(())
    }
}

/// An upgrade request.
pub(crate) fn request(
    path: &str,
    host: &str,
    origin: Option<&str>,
    protocol: &str,
    deflate: bool,
) -> Vec<u8> {
    use std::fmt::Write as _;
    let mut text = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    );
    // Writing to a string does not fail.
    if let Some(origin) = origin {
        let _ = write!(text, "Origin: {origin}\r\n");
    }
    if !protocol.is_empty() {
        let _ = write!(text, "Sec-WebSocket-Protocol: {protocol}\r\n");
    }
    if deflate {
        text.push_str("Sec-WebSocket-Extensions: permessage-deflate\r\n");
    }
    text.push_str("\r\n");
    text.into_bytes()
}
