//! A client that can misbehave: it writes any bytes and reads frames one by one.

use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{SendFlags, send};
use rustls::ClientConfig;
use socket2::{Domain, Socket, Type};

use super::link::{Link, stuck};
use super::wire::{self, ACCEPT, BINARY, CLOSE, FIN, PING, PONG, TEXT};
use super::{PATIENCE, Server};

/// One frame from the server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// FIN, the reserved bits and the opcode.
    pub first: u8,
    pub payload: Vec<u8>,
}

/// What reading gave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Got {
    Frame(Frame),
    /// The server closed TCP in order.
    End,
    /// The server reset TCP.
    Reset,
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// A connection to the server.
pub struct Client {
    link: Link,
    /// Received and not yet looked at.
    unread: Vec<u8>,
}

impl Client {
    /// Connects and says nothing.
    pub fn connect(server: &Server) -> Self {
        let tcp = TcpStream::connect(server.addr()).expect("the server accepts");
        Self::with(tcp, server.secured())
    }

    /// Connects from a certain address of this machine, with a certain receive buffer (0: the system's choice).
    pub fn connect_as(server: &Server, source: IpAddr, receive_buffer: usize) -> Self {
        let socket =
            Socket::new(Domain::for_address(server.addr()), Type::STREAM, None).expect("a socket");
        if receive_buffer > 0 {
            socket
                .set_recv_buffer_size(receive_buffer)
                .expect("the buffer is set");
        }
        socket
            .bind(&SocketAddr::new(source, 0).into())
            .expect("the address is ours");
        socket
            .connect(&server.addr().into())
            .expect("the server accepts");
        Self::with(socket.into(), server.secured())
    }

    /// Takes a connection to a server without TLS.
    pub fn new(tcp: TcpStream) -> Self {
        Self::with(tcp, None)
    }

    fn with(tcp: TcpStream, tls: Option<&Arc<ClientConfig>>) -> Self {
        tcp.set_read_timeout(Some(PATIENCE))
            .expect("a timeout is set");
        tcp.set_write_timeout(Some(PATIENCE))
            .expect("a timeout is set");
        tcp.set_nodelay(true).expect("the option exists");
        Self {
            link: Link::new(tcp, tls),
            unread: Vec::new(),
        }
    }

    /// Connects and completes the opening handshake.
    pub fn open(server: &Server, path: &str) -> Self {
        Self::connect(server).upgraded(path, &[])
    }

    /// Completes the opening handshake, with more header lines.
    pub fn upgraded(mut self, path: &str, more: &[&str]) -> Self {
        self.write(&wire::upgrade(path, more));
        self.expect_upgrade();
        self
    }

    /// Reads the answer to an upgrade request, which has to be yes.
    pub fn expect_upgrade(&mut self) -> Response {
        let response = self.response();
        assert_eq!(response.status, 101, "{response:?}");
        assert_eq!(response.header("sec-websocket-accept"), Some(ACCEPT));
        response
    }

    /// Ends TCP in both directions.
    pub fn shut_down(&self) {
        let done = self.link.tcp().shutdown(Shutdown::Both);
        done.expect("the connection is up");
    }

    /// Writes before the first byte of TLS, where there is TLS: what a proxy says of its client.
    pub fn write_before_tls(&mut self, bytes: &[u8]) {
        let done = self.try_write_before_tls(bytes);
        done.expect("the server takes the bytes");
    }

    /// The same for when the server may have closed already.
    pub fn try_write_before_tls(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.link.tcp().write_all(bytes)
    }

    /// The same in one segment with what is written next: the first flight of TLS, or the request.
    pub fn write_along(&mut self, bytes: &[u8]) {
        let sent = send(self.link.tcp(), bytes, SendFlags::MORE);
        assert_eq!(sent.expect("the server takes the bytes"), bytes.len());
    }

    /// Writes all of it; the server must take it.
    pub fn write(&mut self, bytes: &[u8]) {
        self.try_write(bytes).expect("the server takes the bytes");
    }

    /// Writes all of it if the server lets us: for when it may have closed already.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.link.write_all(bytes)
    }

    /// Writes over and over, `bytes` from its start again at its end, until `limit` bytes are out or nothing goes for the
    /// time of `pause`. Gives the number of bytes that went.
    pub fn write_until_stuck(&mut self, bytes: &[u8], limit: usize, pause: Duration) -> usize {
        let written = self.try_write_until_stuck(bytes, limit, pause);
        written.expect("the server does not end the connection")
    }

    /// The same for when the server may end the connection before.
    pub fn try_write_until_stuck(
        &mut self,
        bytes: &[u8],
        limit: usize,
        pause: Duration,
    ) -> io::Result<usize> {
        let limited = |client: &Self, time| {
            let done = client.link.tcp().set_write_timeout(Some(time));
            done.expect("a timeout is set");
        };
        limited(self, pause);
        let mut written = 0;
        let mut result = Ok(());
        while written < limit && result.is_ok() {
            match self.link.write(&bytes[written % bytes.len()..]) {
                Ok(len) => written += len,
                Err(error) if stuck(&error) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => result = Err(error),
            }
        }
        limited(self, PATIENCE);
        result.map(|()| written)
    }

    /// Reads up to `len` bytes of TCP and forgets them, without waiting. The stream of frames is lost.
    pub fn sip(&mut self, len: usize) {
        let mut tcp = self.link.tcp();
        tcp.set_nonblocking(true).expect("the option exists");
        let mut bytes = vec![0; len];
        let _ = std::io::Read::read(&mut tcp, &mut bytes);
        tcp.set_nonblocking(false).expect("the option exists");
    }

    /// A second handle to the same connection, with nothing read in advance: one writes, one reads.
    pub fn reader(&self) -> Self {
        assert!(self.unread.is_empty(), "bytes would be lost");
        Self {
            link: self.link.second(),
            unread: Vec::new(),
        }
    }

    /// Whether there is something to read, or the end, without waiting for it.
    pub fn has_news(&self) -> bool {
        self.link.has_news()
    }

    /// Ends the client's sending side.
    pub fn finish(&self) {
        self.link.finish();
    }

    /// Ends the connection with a TCP reset.
    pub fn reset(self) {
        self.link.reset();
    }

    /// Reads more bytes; false at the end.
    fn fill(&mut self) -> io::Result<bool> {
        let mut piece = [0; 65536];
        let len = loop {
            match self.link.read(&mut piece) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        self.unread.extend_from_slice(&piece[..len]);
        Ok(len > 0)
    }

    /// The next frame, or the end of the connection. Panics if neither arrives.
    pub fn next(&mut self) -> Got {
        loop {
            if let Some(frame) = self.take_frame() {
                return Got::Frame(frame);
            }
            match self.fill() {
                Ok(true) => {}
                Ok(false) if self.unread.is_empty() => return Got::End,
                Ok(false) => panic!(
                    "the server ended the connection within a frame: {:02x?}",
                    self.unread
                ),
                Err(error) if stuck(&error) => panic!("the server neither answers nor closes"),
                Err(_) => return Got::Reset,
            }
        }
    }

    fn take_frame(&mut self) -> Option<Frame> {
        let second = *self.unread.get(1)?;
        assert_eq!(second & 0x80, 0, "RFC 6455 §5.1: a server must not mask");
        let (len, start) = match second {
            126 => (
                u64::from(u16::from_be_bytes(
                    self.unread.get(2..4)?.try_into().expect("two bytes"),
                )),
                4,
            ),
            127 => (
                u64::from_be_bytes(self.unread.get(2..10)?.try_into().expect("eight bytes")),
                10,
            ),
            short => (u64::from(short), 2),
        };
        let minimal = if len > 0xFFFF {
            10
        } else if len > 125 {
            4
        } else {
            2
        };
        assert_eq!(
            start, minimal,
            "RFC 6455 §5.2: the shortest form of the length"
        );
        let end = start + usize::try_from(len).expect("it fits into memory");
        let payload = self.unread.get(start..end)?.to_vec();
        let first = self.unread[0];
        self.unread.drain(..end);
        Some(Frame { first, payload })
    }

    /// The next frame that carries data, which has to be a whole message. A Ping on the way is answered.
    pub fn message(&mut self) -> Vec<u8> {
        loop {
            match self.next() {
                Got::Frame(Frame { first, payload }) if first == FIN | PING => {
                    self.write(&wire::frame(FIN | PONG, &payload));
                }
                Got::Frame(Frame { first, .. }) if first == FIN | PONG => {}
                Got::Frame(Frame { first, payload })
                    if first == FIN | TEXT || first == FIN | BINARY =>
                {
                    return payload;
                }
                other => panic!("wanted a message, got {other:?}"),
            }
        }
    }

    /// The next frame, which has to be this one.
    pub fn expect(&mut self, first: u8, payload: &[u8]) {
        match self.next() {
            Got::Frame(frame) => {
                assert_eq!(
                    frame.first, first,
                    "the frame begins differently: {frame:02x?}"
                );
                assert!(
                    frame.payload == payload,
                    "the payload of {} bytes differs",
                    payload.len()
                );
            }
            end => panic!("wanted a frame, got {end:?}"),
        }
    }

    /// Sends a message and reads it back.
    pub fn echo(&mut self, opcode: u8, payload: &[u8]) {
        self.write(&wire::frame(FIN | opcode, payload));
        self.expect(FIN | opcode, payload);
    }

    /// Reads up to a Close frame with this code, past messages and control frames, then answers it and insists that TCP ends
    /// too. RFC 6455 §7.1.7 wants the Close frame before the end even when the connection is failed.
    pub fn expect_close(&mut self, code: u16) {
        let frame = self.closing();
        let got = frame
            .payload
            .first_chunk()
            .map(|code| u16::from_be_bytes(*code));
        assert_eq!(got, Some(code), "closed with another code: {frame:?}");
        let _ = self.try_write(&wire::close(code, ""));
        self.expect_end();
    }

    /// Reads up to the Close frame and gives it.
    pub fn closing(&mut self) -> Frame {
        loop {
            match self.next() {
                Got::Frame(frame) if frame.first == FIN | CLOSE => return frame,
                Got::Frame(_) => {}
                end => panic!("wanted a Close frame, got {end:?}"),
            }
        }
    }

    /// Reads to the end of the connection and gives the frames on the way.
    pub fn expect_end(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Got::Frame(frame) = self.next() {
            frames.push(frame);
        }
        frames
    }

    /// Writes a request and reads the answer.
    pub fn ask(&mut self, request: &[u8]) -> Response {
        self.write(request);
        self.response()
    }

    /// The same where the server may drop the connection instead.
    pub fn ask_gently(&mut self, request: &[u8]) -> Option<Response> {
        self.try_write(request)
            .and_then(|()| self.try_response())
            .ok()
    }

    /// Reads an HTTP response. Panics if none arrives.
    pub fn response(&mut self) -> Response {
        self.try_response().expect("an answer before the end")
    }

    /// Reads up to the end of the connection.
    pub fn everything(&mut self) -> String {
        while self.fill().expect("an orderly end") {}
        String::from_utf8(std::mem::take(&mut self.unread)).expect("UTF-8")
    }

    /// Reads an HTTP answer; an error if the connection ends before.
    pub fn try_response(&mut self) -> io::Result<Response> {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.fill()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        };
        let head = String::from_utf8(self.unread.drain(..end).collect()).expect("a head in UTF-8");
        let mut lines = head.lines();
        let status = lines
            .next()
            .and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut response = Response {
            status: status.expect("a status line"),
            headers,
            body: String::new(),
        };
        let len = response
            .header("content-length")
            .map_or(0, |len| len.parse().expect("a length"));
        while self.unread.len() < len {
            if !self.fill()? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        response.body =
            String::from_utf8(self.unread.drain(..len).collect()).expect("a body in UTF-8");
        Ok(response)
    }
}
