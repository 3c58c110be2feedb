//! Frames (RFC 6455 §5.2) that a client sends, and a reader of the frames of a server.
//!
//! The masking key is zero: RFC 6455 §5.3 protects intermediaries by unpredictable keys, and here is none. It spares the generator the
//! masking of megabytes.

/// Opcodes and bits of the first byte.
pub(crate) const FIN: u8 = 0x80;
pub(crate) const RSV1: u8 = 0x40;
pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Bytes of a message or control frame that the reader keeps.
const KEPT: usize = 125;

/// Appends the header of a frame with `len` bytes of payload.
pub(crate) fn header(out: &mut Vec<u8>, first: u8, len: u64) {
    out.push(first);
    match len {
        0..=125 => out.push(0x80 | len as u8),
        126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend_from_slice(&len.to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
}

/// Appends a whole frame.
pub(crate) fn frame(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    header(out, first, payload.len() as u64);
    out.extend_from_slice(payload);
}

/// Appends a Pong with this payload.
pub(crate) fn pong(out: &mut Vec<u8>, payload: &[u8]) {
    frame(out, FIN | PONG, payload);
}

/// Appends a Close frame with this code.
pub(crate) fn close(out: &mut Vec<u8>, code: u16) {
    frame(out, FIN | CLOSE, &code.to_be_bytes());
}

/// What a server has sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received<'a> {
    /// The end of a message, and the first bytes of its last frame.
    Message(&'a [u8]),
    /// A Ping with this payload.
    Ping(&'a [u8]),
    /// A Close frame with this code, if it has one.
    Close(Option<u16>),
}

/// Reads frames without storing their payload.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    /// Bytes of the header so far.
    header: [u8; 10],
    have: usize,
    /// Bytes of the payload that are missing.
    left: u64,
    in_payload: bool,
    kept: Vec<u8>,
}

impl FrameReader {
    /// Reads `bytes` and calls `sink` for each message and control frame that they complete.
    pub(crate) fn read(&mut self, mut bytes: &[u8], sink: &mut impl FnMut(Received<'_>)) {
        loop {
            if !self.in_payload {
                let wanted = self.header_len();
                let taken = (wanted - self.have).min(bytes.len());
                self.header[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
                self.have += taken;
                bytes = &bytes[taken..];
                if self.have < self.header_len() {
                    if bytes.is_empty() {
                        return;
                    }
                    continue;
                }
                self.left = self.payload_len();
                self.in_payload = true;
                self.kept.clear();
            }
            let taken =
                usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
            let kept = taken.min(KEPT - self.kept.len());
            self.kept.extend_from_slice(&bytes[..kept]);
            self.left -= taken as u64;
            bytes = &bytes[taken..];
            if self.left > 0 {
                return;
            }
            self.end_of_frame(sink);
            (self.have, self.in_payload) = (0, false);
        }
    }

    /// Length of the header, as far as it is known.
    fn header_len(&self) -> usize {
        match (self.have, self.header[1] & 0x7f) {
            (0 | 1, _) => 2,
            (_, 126) => 4,
            (_, 127) => 10,
            _ => 2,
        }
    }

    fn payload_len(&self) -> u64 {
        let mut long = [0; 8];
        match self.header[1] & 0x7f {
            126 => u64::from(u16::from_be_bytes([self.header[2], self.header[3]])),
            127 => {
                long.copy_from_slice(&self.header[2..10]);
                u64::from_be_bytes(long)
            }
            short => u64::from(short),
        }
    }

    fn end_of_frame(&self, sink: &mut impl FnMut(Received<'_>)) {
        let first = self.header[0];
        match first & 0x0f {
            PING => sink(Received::Ping(&self.kept)),
            CLOSE => {
                let code = self.kept.first_chunk();
                sink(Received::Close(code.map(|code| u16::from_be_bytes(*code))));
            }
            CONTINUATION | TEXT | BINARY if first & FIN != 0 => sink(Received::Message(&self.kept)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames as a server sends them: without a mask.
    fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        frame(&mut out, first, payload);
        let mask = out.len() - payload.len() - 4;
        out.drain(mask..mask + 4);
        out[1] &= 0x7f;
        out
    }

    fn events(stream: &[u8], step: usize) -> Vec<String> {
        let mut reader = FrameReader::default();
        let mut events = Vec::new();
        for part in stream.chunks(step) {
            reader.read(part, &mut |received| {
                events.push(match received {
                    Received::Message(head) => format!("message {}", head.len()),
                    Received::Ping(payload) => format!("ping {payload:?}"),
                    Received::Close(code) => format!("close {code:?}"),
                });
            });
        }
        events
    }

    #[test]
    fn frames_are_read_however_they_are_split() {
        let stream = [
            unmasked(FIN | TEXT, b"short"),
            unmasked(BINARY, &[7; 300]),
            unmasked(FIN | PING, b"p"),
            unmasked(FIN | CONTINUATION, &[]),
            unmasked(FIN | BINARY, &vec![0; 70_000]),
            unmasked(FIN | CLOSE, &[3, 0xf0, b'x']),
            unmasked(FIN | CLOSE, &[]),
        ]
        .concat();
        let wanted = [
            "message 5",
            "ping [112]",
            "message 0",
            "message 125",
            "close Some(1008)",
            "close None",
        ];
        for step in [1, 2, 3, 7, 4096, stream.len()] {
            assert_eq!(events(&stream, step), wanted, "{step}");
        }
    }
}
