//! The memory of a connection while a header, a frame's payload, or a message between its fragments is unfinished.

use crate::budget::Budget;
use crate::error::ProtocolError;
use crate::header::{FrameHeader, MAX_CONTROL, MAX_HEADER};
use crate::inflating::Inflating;
use crate::mask;
use crate::rules::Begun;
use crate::types::{Kind, OpCode};
use crate::utf8::Utf8;

/// An unfinished frame or message. It belongs to the [`Assembler`](crate::Assembler).
#[derive(Debug)]
pub(crate) struct Partial {
    /// The beginning of a header.
    head: [u8; MAX_HEADER],
    head_len: u8,
    control_len: u8,
    /// The payload so far of the control frame in progress.
    control: [u8; MAX_CONTROL],
    /// The frame whose header is known and whose payload is incomplete.
    frame: Option<Frame>,
    /// The data message in progress.
    message: Option<Progress>,
    /// The length of `payload` when the user set the mark.
    mark: Option<usize>,
    /// Its payload so far: unmasked, and if it is uncompressed text, checked.
    pub(crate) payload: Vec<u8>,
    /// Its inflation, once the payload is whole.
    pub(crate) inflating: Option<Box<Inflating>>,
}

/// A data message whose frames have not all been received.
#[derive(Clone, Copy, Debug)]
struct Progress {
    kind: Kind,
    compressed: bool,
    fragments: u32,
    utf8: Utf8,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: OpCode,
    fin: bool,
    /// Rotated so that it applies to the next byte.
    key: Option<[u8; 4]>,
    remaining: usize,
}

/// The result of [`Partial::fill`].
pub(crate) enum Filled {
    /// All bytes were taken; the frame needs more.
    More,
    /// The frame is whole; its message is not.
    Fragment,
    /// The message is whole. It has to be inflated if it is compressed.
    Message { kind: Kind, compressed: bool },
    /// The control frame is whole.
    Control(OpCode),
}

impl Default for Partial {
    fn default() -> Self {
        Self {
            head: [0; MAX_HEADER],
            head_len: 0,
            control_len: 0,
            control: [0; MAX_CONTROL],
            frame: None,
            message: None,
            mark: None,
            payload: Vec::new(),
            inflating: None,
        }
    }
}

impl Partial {
    /// Drops its contents; keeps its buffer unless that has more than `retain` bytes.
    pub(crate) fn clear(&mut self, retain: usize) {
        (self.head_len, self.control_len) = (0, 0);
        (self.frame, self.message, self.mark) = (None, None, None);
        self.payload.clear();
        if self.payload.capacity() > retain {
            self.payload = Vec::new();
        }
    }

    pub(crate) fn set_mark(&mut self) {
        self.mark = Some(self.payload.len());
    }

    /// The payload bytes that have arrived since the mark.
    pub(crate) fn since_mark(&self) -> Option<usize> {
        Some(self.payload.len() - self.mark?)
    }

    /// Whether no header, frame or message is unfinished.
    pub(crate) fn is_empty(&self) -> bool {
        let begun = self.frame.is_some() || self.message.is_some() || self.inflating.is_some();
        self.head_len == 0 && !begun
    }

    /// Whether a frame's payload comes next.
    pub(crate) fn in_frame(&self) -> bool {
        self.frame.is_some()
    }

    /// The bytes of the frame in progress that have not arrived.
    pub(crate) fn remaining(&self) -> usize {
        self.frame.map_or(0, |frame| frame.remaining)
    }

    /// The bytes of the message that the budget counts.
    pub(crate) fn held(&self) -> usize {
        let inflated = self.inflating.as_ref().map_or(0, |m| m.charged);
        self.payload.len() + inflated
    }

    /// The message in progress, as the rules need it.
    pub(crate) fn message(&self) -> Option<Begun> {
        let Progress {
            compressed,
            fragments,
            ..
        } = self.message?;
        Some(Begun {
            bytes: self.payload.len(),
            fragments,
            compressed,
        })
    }

    /// Keeps the payload of a compressed message that has arrived at once.
    pub(crate) fn keep_compressed(
        &mut self,
        budget: &mut Budget,
        payload: &[u8],
    ) -> Result<(), ProtocolError> {
        budget.charge(0, payload.len())?;
        self.payload.extend_from_slice(payload);
        Ok(())
    }

    /// The last reassembled control frame.
    pub(crate) fn control(&self) -> &[u8] {
        &self.control[..usize::from(self.control_len)]
    }

    /// Reads a header that begins in earlier bytes and continues in `input`. Also returns how many bytes of `input` it took.
    /// `None` if it is still unfinished: then all of `input` is kept.
    pub(crate) fn header(
        &mut self,
        input: &[u8],
    ) -> Result<Option<(FrameHeader, usize)>, ProtocolError> {
        let had = usize::from(self.head_len);
        let n = input.len().min(MAX_HEADER - had);
        self.head[had..had + n].copy_from_slice(&input[..n]);
        let parsed = FrameHeader::parse(&self.head[..had + n])?;
        // The bytes kept before are not a whole header, so `len > had`.
        self.head_len = if parsed.is_some() { 0 } else { (had + n) as u8 };
        Ok(parsed.map(|(header, len)| (header, len - had)))
    }

    /// Begins a frame whose header passed every check.
    pub(crate) fn begin(&mut self, header: &FrameHeader) {
        let kind = match header.opcode {
            OpCode::Text => Some(Kind::Text),
            OpCode::Binary => Some(Kind::Binary),
            _ => None,
        };
        if let Some(kind) = kind {
            let compressed = header.rsv1;
            self.message = Some(Progress {
                kind,
                compressed,
                fragments: 0,
                utf8: Utf8::new(),
            });
        }
        if header.opcode.is_control() {
            self.control_len = 0;
        } else if let Some(message) = &mut self.message {
            message.fragments += 1;
        }
        self.frame = Some(Frame {
            opcode: header.opcode,
            fin: header.fin,
            key: header.mask,
            // The rules have checked it against the limits, which are `usize`.
            remaining: header.len as usize,
        });
    }

    /// Takes payload of the frame in progress from the front of `input`, unmasks it there, checks it and keeps it. Also returns
    /// the number of bytes taken.
    pub(crate) fn fill(
        &mut self,
        budget: &mut Budget,
        input: &mut [u8],
    ) -> Result<(usize, Filled), ProtocolError> {
        let Some(frame) = &mut self.frame else {
            return Ok((0, Filled::Fragment));
        };
        let n = frame.remaining.min(input.len());
        let piece = &mut input[..n];
        let ascii = match &mut frame.key {
            Some(key) => {
                let ascii = mask::apply_ascii(piece, *key, 0);
                key.rotate_left(n % 4);
                ascii
            }
            None => false,
        };
        frame.remaining -= n;
        let frame = *frame;
        if frame.opcode.is_control() {
            let had = usize::from(self.control_len);
            self.control[had..had + n].copy_from_slice(piece);
            self.control_len += n as u8;
        } else {
            self.append(budget, piece, ascii)?;
        }
        if frame.remaining > 0 {
            return Ok((n, Filled::More));
        }
        self.frame = None;
        if frame.opcode.is_control() {
            return Ok((n, Filled::Control(frame.opcode)));
        }
        if !frame.fin {
            return Ok((n, Filled::Fragment));
        }
        // RFC 6455 §5.6: "Note that a particular text frame might include a partial UTF-8 sequence; however, the whole
        // message MUST contain valid UTF-8."
        match self.message {
            Some(Progress { utf8, .. }) if !utf8.is_complete() => Err(ProtocolError::InvalidUtf8),
            Some(Progress {
                kind, compressed, ..
            }) => Ok((n, Filled::Message { kind, compressed })),
            // A data frame always belongs to a message: the rules refuse a continuation of none.
            None => Err(ProtocolError::UnexpectedContinuation),
        }
    }

    /// Adds unmasked bytes to the message; `ascii` if they are known to be all ASCII.
    fn append(
        &mut self,
        budget: &mut Budget,
        piece: &[u8],
        ascii: bool,
    ) -> Result<(), ProtocolError> {
        if let Some(Progress {
            kind: Kind::Text,
            compressed: false,
            utf8,
            ..
        }) = &mut self.message
        {
            // RFC 6455 §8.1: "When an endpoint is to interpret a byte stream as UTF-8 but finds that the byte stream
            // is not, in fact, a valid UTF-8 stream, that endpoint MUST _Fail the WebSocket Connection_." It fails at
            // once, not when the message ends.
            let valid = if ascii {
                utf8.feed_ascii(piece)
            } else {
                utf8.feed(piece)
            };
            if !valid {
                return Err(ProtocolError::InvalidUtf8);
            }
        }
        budget.charge(self.payload.len(), piece.len())?;
        // It grows with the received bytes, by doubling, never to the length that a header announces.
        // RFC 6455 §5.4: "Clients and servers MUST support receiving both fragmented and unfragmented messages."
        // "Message fragments MUST be delivered to the recipient in the order sent by the sender."
        self.payload.extend_from_slice(piece);
        Ok(())
    }
}
