//! The decoders that are compared, each driven in the cheapest way of its public interface.
//!
//! There are two jobs, because the libraries receive bytes in different ways:
//!
//! - *in place*: the bytes are in the decoder's own buffer before the clock starts. hioload and tungstenite (by
//!   `from_partially_read`) support it.
//! - *from a stream*: the bytes are copied into the decoder's buffer while the clock runs, as a `read` from a socket does.
//!   All three support it; fastwebsockets supports only this.
//!
//! In both jobs every message is parsed, unmasked, checked for UTF-8 if it is text, and read. Loading the bytes, which for hioload
//! restores the masked bytes, is not timed.

use std::error::Error;
use std::hint::black_box;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use fastwebsockets::WebSocket as FastWebSocket;
use hioload_ws_proto::{Assembler, AssemblerOptions, Decoder, Event, Role};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tungstenite::protocol::{self, WebSocketConfig};

/// The number of decoded payload bytes, or the error.
pub type Decoded = Result<usize, Box<dyn Error>>;

/// A decoder and the bytes that it decodes.
pub trait Bench {
    /// Loads the masked bytes into the decoder; not timed.
    fn load(&mut self);
    /// Decodes them all; the timed part.
    ///
    /// # Errors
    /// The decoder rejected the bytes.
    fn run(&mut self) -> Decoded;
}

/// This project's decoder, on bytes in the receive buffer.
pub struct Ours {
    wire: Rc<[u8]>,
    received: Vec<u8>,
    assembler: Assembler,
    decoder: Decoder,
    copying: bool,
}

impl Ours {
    /// The job *in place*.
    #[must_use]
    pub fn in_place(wire: Rc<[u8]>) -> Self {
        Self {
            received: vec![0; wire.len()],
            wire,
            assembler: Assembler::new(AssemblerOptions::default()),
            decoder: Decoder::new(Role::Server),
            copying: false,
        }
    }

    /// The job *from a stream*.
    #[must_use]
    pub fn from_stream(wire: Rc<[u8]>) -> Self {
        Self {
            copying: true,
            ..Self::in_place(wire)
        }
    }
}

impl Bench for Ours {
    fn load(&mut self) {
        if !self.copying {
            self.received.copy_from_slice(&self.wire);
        }
    }

    fn run(&mut self) -> Decoded {
        if self.copying {
            self.received.copy_from_slice(&self.wire);
        }
        let mut rest = &mut self.received[..];
        let mut bytes = 0;
        while !rest.is_empty() {
            let used = match self.decoder.decode(&mut self.assembler, rest)? {
                (used, Some(Event::Message(message))) => {
                    bytes += black_box(message.as_bytes()).len();
                    used
                }
                (used, _) => used,
            };
            rest = &mut rest[used..];
        }
        Ok(bytes)
    }
}

/// A stream that is always ready and repeats the same bytes.
struct Stream {
    wire: Rc<[u8]>,
    at: usize,
}

impl Stream {
    /// Returns the next bytes, at most `most`.
    fn take(&mut self, most: usize) -> &[u8] {
        if self.at == self.wire.len() {
            self.at = 0;
        }
        let start = self.at;
        self.at += most.min(self.wire.len() - start);
        &self.wire[start..self.at]
    }
}

impl io::Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let bytes = self.take(buf.len());
        buf[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }
}

impl io::Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let bytes = self.take(buf.remaining());
        buf.put_slice(bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// tungstenite's `WebSocket`. (Its `FrameSocket` neither unmasks nor checks text.)
pub struct Tungstenite {
    wire: Rc<[u8]>,
    frames: usize,
    ws: protocol::WebSocket<Stream>,
    preloaded: bool,
}

impl Tungstenite {
    /// The job *in place*.
    #[must_use]
    pub fn in_place(wire: Rc<[u8]>, frames: usize) -> Self {
        Self {
            ws: Self::preloaded(&wire, frames),
            wire,
            frames,
            preloaded: true,
        }
    }

    /// The job *from a stream*; the read buffer is that of the peer server.
    #[must_use]
    pub fn from_stream(wire: Rc<[u8]>, frames: usize) -> Self {
        let config = WebSocketConfig::default().read_buffer_size(16 * 1024);
        let stream = Stream {
            wire: Rc::clone(&wire),
            at: 0,
        };
        let ws = protocol::WebSocket::from_raw_socket(stream, protocol::Role::Server, Some(config));
        Self {
            wire,
            frames,
            ws,
            preloaded: false,
        }
    }

    /// Returns a connection whose buffer holds all bytes, with room for one more frame: without it, tungstenite would move the rest of
    /// the buffer at each frame, which it does not in normal use.
    fn preloaded(wire: &Rc<[u8]>, frames: usize) -> protocol::WebSocket<Stream> {
        let room = wire.len() + 2 * wire.len() / frames + 64;
        let config = WebSocketConfig::default().read_buffer_size(room);
        let stream = Stream {
            wire: Rc::clone(wire),
            at: 0,
        };
        protocol::WebSocket::from_partially_read(
            stream,
            wire.to_vec(),
            protocol::Role::Server,
            Some(config),
        )
    }
}

impl Bench for Tungstenite {
    fn load(&mut self) {
        if self.preloaded {
            self.ws = Self::preloaded(&self.wire, self.frames);
        }
    }

    fn run(&mut self) -> Decoded {
        let mut bytes = 0;
        for _ in 0..self.frames {
            let message = self.ws.read()?;
            bytes += black_box(&message).len();
        }
        Ok(bytes)
    }
}

/// fastwebsockets' `WebSocket`, polled without a runtime: its stream is always ready.
pub struct Fastwebsockets {
    frames: usize,
    ws: FastWebSocket<Stream>,
}

impl Fastwebsockets {
    /// The job *from a stream*.
    #[must_use]
    pub fn from_stream(wire: Rc<[u8]>, frames: usize) -> Self {
        let stream = Stream { wire, at: 0 };
        Self {
            frames,
            ws: FastWebSocket::after_handshake(stream, fastwebsockets::Role::Server),
        }
    }
}

impl Bench for Fastwebsockets {
    fn load(&mut self) {}

    fn run(&mut self) -> Decoded {
        let (ws, frames) = (&mut self.ws, self.frames);
        let all = pin!(async move {
            let mut bytes = 0;
            for _ in 0..frames {
                let frame = ws.read_frame().await?;
                bytes += black_box(&frame.payload[..]).len();
            }
            Ok(bytes)
        });
        match all.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => Err("a stream that is always ready was not".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Content, masked_frames};

    #[test]
    fn every_decoder_finds_every_byte_again_and_again() {
        for content in [Content::Binary, Content::Ascii, Content::Mixed] {
            for (len, frames) in [(16, 64), (128, 64), (1024, 16), (16 * 1024, 4)] {
                let wire: Rc<[u8]> = masked_frames(content, len, frames).into();
                let benches: [Box<dyn Bench>; 5] = [
                    Box::new(Ours::in_place(Rc::clone(&wire))),
                    Box::new(Ours::from_stream(Rc::clone(&wire))),
                    Box::new(Tungstenite::in_place(Rc::clone(&wire), frames)),
                    Box::new(Tungstenite::from_stream(Rc::clone(&wire), frames)),
                    Box::new(Fastwebsockets::from_stream(wire, frames)),
                ];
                for (i, mut bench) in benches.into_iter().enumerate() {
                    for _ in 0..3 {
                        bench.load();
                        let bytes = bench.run().expect("good frames");
                        assert_eq!(bytes, len * frames, "decoder {i}, {content:?}");
                    }
                }
            }
        }
    }
}
