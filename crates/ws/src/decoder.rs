//! From bytes to events: one [`Decoder`] per connection.

use std::ops::Range;

use crate::assembler::Assembler;
use crate::close::CloseFrame;
use crate::compression::Inflation;
use crate::deflate::Window;
use crate::error::ProtocolError;
use crate::event::{Event, Message};
use crate::header::{FrameHeader, Whole};
use crate::mask;
use crate::partial::{Filled, Partial};
use crate::rules;
use crate::types::{Kind, OpCode, Role};
use crate::utf8;

/// The result of [`Decoder::decode`]: the number of bytes taken from the front of the input, and an event if one is complete.
/// Without an event all bytes were taken, unless a message is [being inflated](Decoder::is_inflating).
pub type Decoded<'a> = Result<(usize, Option<Event<'a>>), ProtocolError>;

/// The receiving side of one connection, after the handshake.
///
/// It has 24 bytes. While a frame or a message is unfinished, it also holds a box of the [`Assembler`]. Return that with
/// [`Decoder::release`] before dropping the decoder: otherwise the assembler's budget keeps counting it.
#[derive(Debug)]
pub struct Decoder {
    partial: Option<Box<Partial>>,
    /// The history that compressed messages refer to, if the peer takes context over.
    window: Option<Box<Window>>,
    state: State,
    role: Role,
    /// Whether permessage-deflate was agreed.
    inflates: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Open,
    /// A Close was received.
    Closed,
    Failed(ProtocolError),
}

/// An event whose payload is not borrowed yet: its type, and where its bytes are.
struct Found {
    what: What,
    location: Location,
}

enum What {
    Message(Kind),
    Control(OpCode),
}

enum Location {
    /// This range of the input.
    Input(Range<usize>),
    /// The message that the assembler keeps.
    Message,
    /// The control frame that it keeps.
    Control,
    /// The message that it inflated.
    Inflated,
}

impl Decoder {
    /// A decoder without permessage-deflate. `role` is ours: a server expects masked frames, a client unmasked ones.
    #[must_use]
    pub const fn new(role: Role) -> Self {
        Self {
            partial: None,
            window: None,
            state: State::Open,
            role,
            inflates: false,
        }
    }

    /// A decoder with permessage-deflate as it was agreed.
    #[must_use]
    pub fn with_deflate(role: Role, inflation: Inflation) -> Self {
        let mut decoder = Self::new(role);
        decoder.inflates = !matches!(inflation, Inflation::None);
        if let Inflation::Context(window) = inflation {
            decoder.window = Some(window);
        }
        decoder
    }

    /// Takes bytes from the front of `input` until one event is complete or the input is used up. Call it again with the rest.
    /// Without an event all of `input` was taken, with one exception: a compressed message that inflates to more than a
    /// [slice](crate::AssemblerOptions::slice) leaves its last byte, and those behind it. Then call it again with these bytes,
    /// now or later, as often as necessary: each call inflates one more slice.
    ///
    /// Payload is unmasked in place, and the event of a message that lies in `input` as a whole borrows it from there. An
    /// unfinished header or payload moves into the assembler's memory; payload is unmasked first and, if it is text, checked. The
    /// events do not depend on how the stream is split into calls.
    ///
    /// After a Close all bytes are taken and ignored.
    ///
    /// # Errors
    /// The connection must be failed with [`ProtocolError::close_code`]. Every later call returns the same error.
    #[inline]
    pub fn decode<'a>(&mut self, asm: &'a mut Assembler, input: &'a mut [u8]) -> Decoded<'a> {
        if self.partial.is_none()
            && self.state == State::Open
            && let Some(whole) = Whole::find(self.role, input)
            && whole.end - whole.start <= asm.whole_max
        {
            let payload = &mut input[whole.start..whole.end];
            // RFC 6455 §6.2: "A server MUST remove masking for data frames received from a client as described in
            // Section 5.3."
            let ascii = whole
                .key
                .is_some_and(|key| mask::apply_ascii(payload, key, 0));
            if whole.kind == Kind::Text && !ascii && !utf8::is_valid(payload) {
                return self.fail(ProtocolError::InvalidUtf8);
            }
            let message = Message::checked(whole.kind, payload);
            return Ok((whole.end, Some(Event::Message(message))));
        }
        self.decode_any(asm, input)
    }

    /// Whether no message and no frame is unfinished.
    #[inline]
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.partial.is_none()
    }

    /// Whether a message has arrived whole and is being inflated: the next call goes on without further bytes.
    #[must_use]
    pub fn is_inflating(&self) -> bool {
        self.partial.as_ref().is_some_and(|p| p.inflating.is_some())
    }

    /// Remembers how much of the unfinished message has arrived, until it is complete.
    pub fn set_mark(&mut self) {
        if let Some(partial) = &mut self.partial {
            partial.set_mark();
        }
    }

    /// The payload bytes of the unfinished message that have arrived since [`set_mark`](Self::set_mark). `None` if no message is
    /// unfinished, or another one than at that call. Headers and control frames do not count.
    #[must_use]
    pub fn since_mark(&self) -> Option<usize> {
        self.partial.as_ref()?.since_mark()
    }

    /// The error that failed the connection, if there was one.
    #[must_use]
    pub const fn error(&self) -> Option<ProtocolError> {
        match self.state {
            State::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// Returns the memory that it holds to the assembler. Call it when the connection ends.
    pub fn release(&mut self, asm: &mut Assembler) {
        if let Some(partial) = self.partial.take() {
            asm.give_back(partial);
        }
    }

    #[cold]
    fn fail(&mut self, error: ProtocolError) -> Decoded<'static> {
        self.state = State::Failed(error);
        Err(error)
    }

    /// Decodes input that does not begin with a whole uncompressed message.
    #[inline(never)]
    fn decode_any<'a>(&mut self, asm: &'a mut Assembler, input: &'a mut [u8]) -> Decoded<'a> {
        match self.state {
            State::Open => {}
            State::Closed => return Ok((input.len(), None)),
            State::Failed(error) => return Err(error),
        }
        let (used, found) = match self.advance(asm, input) {
            Ok(done) => done,
            Err(error) => {
                self.release(asm);
                return self.fail(error);
            }
        };
        let Some(Found { what, location }) = found else {
            return Ok((used, None));
        };
        if matches!(what, What::Control(OpCode::Close)) {
            self.state = State::Closed;
            // A message that the Close interrupts is never finished.
            self.release(asm);
        }
        let payload = match location {
            Location::Input(at) => &input[at],
            Location::Message => asm.spent(),
            Location::Control => asm.spent_control(),
            Location::Inflated => asm.inflated(),
        };
        let event = match what {
            What::Message(kind) => Event::Message(Message::checked(kind, payload)),
            What::Control(OpCode::Ping) => Event::Ping(payload),
            What::Control(OpCode::Pong) => Event::Pong(payload),
            What::Control(_) => match CloseFrame::parse(payload) {
                Ok(frame) => Event::Close(frame),
                Err(error) => return self.fail(error),
            },
        };
        Ok((used, Some(event)))
    }

    /// Advances to the next event or to the end of the input.
    fn advance(
        &mut self,
        asm: &mut Assembler,
        input: &mut [u8],
    ) -> Result<(usize, Option<Found>), ProtocolError> {
        if self.is_inflating() {
            return self.go_on_inflating(asm, input);
        }
        let mut at = 0;
        loop {
            if let Some(partial) = self.partial.as_deref_mut().filter(|p| p.in_frame()) {
                let last = (at + partial.remaining()).min(input.len()).max(1) - 1;
                let masked = input.get(last).copied();
                let (n, filled) = partial.fill(asm.budget(), &mut input[at..])?;
                at += n;
                match filled {
                    Filled::More => return Ok((at, None)),
                    Filled::Fragment => {}
                    Filled::Message { kind, compressed } => {
                        let found = self.finish(asm, kind, compressed)?;
                        return Ok((taken(input, at, masked, found.is_some()), found));
                    }
                    Filled::Control(opcode) => return Ok((at, self.finish_control(asm, opcode))),
                }
                continue;
            }
            if at == input.len() {
                return Ok((at, None));
            }
            let Some((header, n)) = self.header(asm, &input[at..])? else {
                return Ok((input.len(), None));
            };
            at += n;
            let message = self.partial.as_ref().and_then(|p| p.message());
            rules::check(self.role, self.inflates, message, asm.limits(), &header)?;
            let alone =
                header.opcode.is_control() || (header.fin && header.opcode != OpCode::Continuation);
            if alone && header.len <= (input.len() - at) as u64 {
                let end = at + header.len as usize;
                self.settle(asm);
                let masked = input.get(end - 1).copied();
                let found = self.whole_frame(asm, &header, input, at..end)?;
                return Ok((taken(input, end, masked, found.is_some()), found));
            }
            self.partial(asm)?.begin(&header);
        }
    }

    /// Finishes a frame that is an event by itself and whose payload lies in the input as a whole; `None` if it has to be inflated
    /// further.
    fn whole_frame(
        &mut self,
        asm: &mut Assembler,
        header: &FrameHeader,
        input: &mut [u8],
        at: Range<usize>,
    ) -> Result<Option<Found>, ProtocolError> {
        let payload = &mut input[at.clone()];
        if let Some(key) = header.mask {
            mask::apply(payload, key, 0);
        }
        let kind = match header.opcode {
            OpCode::Text => Kind::Text,
            OpCode::Binary => Kind::Binary,
            control => {
                return Ok(Some(Found {
                    what: What::Control(control),
                    location: Location::Input(at),
                }));
            }
        };
        if header.rsv1 {
            return self.inflate(asm, kind, payload);
        }
        if kind == Kind::Text && !utf8::is_valid(payload) {
            // RFC 6455 §8.1, as in `Partial::append`.
            return Err(ProtocolError::InvalidUtf8);
        }
        Ok(Some(Found {
            what: What::Message(kind),
            location: Location::Input(at),
        }))
    }

    /// The `Partial`; takes one if there is none.
    fn partial(&mut self, asm: &mut Assembler) -> Result<&mut Partial, ProtocolError> {
        let partial = match self.partial.take() {
            Some(partial) => partial,
            None => asm.take()?,
        };
        Ok(self.partial.insert(partial))
    }

    /// Returns the `Partial` if it is empty.
    fn settle(&mut self, asm: &mut Assembler) {
        if self.partial.as_ref().is_some_and(|p| p.is_empty()) {
            self.release(asm);
        }
    }

    /// The next header, and the number of bytes of `input` that it took; `None` if it is unfinished: then all of `input` is kept.
    fn header(
        &mut self,
        asm: &mut Assembler,
        input: &[u8],
    ) -> Result<Option<(FrameHeader, usize)>, ProtocolError> {
        if let Some(partial) = &mut self.partial {
            return partial.header(input);
        }
        let parsed = FrameHeader::parse(input)?;
        if parsed.is_none() {
            self.partial(asm)?.header(input)?;
        }
        Ok(parsed)
    }

    /// Finishes a reassembled message: the assembler keeps it, or its inflated form, for the event. `None` if it has to be
    /// inflated further.
    fn finish(
        &mut self,
        asm: &mut Assembler,
        kind: Kind,
        compressed: bool,
    ) -> Result<Option<Found>, ProtocolError> {
        let Some(mut partial) = self.partial.take() else {
            return Ok(None);
        };
        // RFC 7692 §6.2: "An endpoint MUST use the following algorithm to receive a message in the form of a compressed
        // message.": join the payloads, decompress, pass on. "An endpoint MUST use the following algorithm to receive
        // a message in the form of an uncompressed message.": pass it on as it is.
        if !compressed {
            asm.spend(partial);
            return Ok(Some(Found {
                what: What::Message(kind),
                location: Location::Message,
            }));
        }
        partial.inflating = Some(asm.begin_inflating(kind));
        self.partial = Some(partial);
        self.inflate_slice(asm)
    }

    /// Finishes a reassembled control frame, without changing the message around it.
    fn finish_control(&mut self, asm: &mut Assembler, opcode: OpCode) -> Option<Found> {
        asm.spend_control(self.partial.as_ref()?.control());
        self.settle(asm);
        Some(Found {
            what: What::Control(opcode),
            location: Location::Control,
        })
    }

    /// Inflates a whole message that lies in the input, and checks it if it is text. If it does not fit in a slice, it is kept
    /// and `None` is returned.
    fn inflate(
        &mut self,
        asm: &mut Assembler,
        kind: Kind,
        payload: &[u8],
    ) -> Result<Option<Found>, ProtocolError> {
        let mut message = asm.begin_inflating(kind);
        match asm.inflate(&mut message, self.window.as_deref_mut(), payload) {
            Ok(true) => {
                asm.keep_inflated(message);
                return Ok(Some(inflated(kind)));
            }
            Ok(false) => {}
            Err(error) => {
                asm.give_back_inflater(message);
                return Err(error);
            }
        }
        let partial = self.partial(asm)?;
        partial.keep_compressed(asm.budget(), payload)?;
        asm.charge_inflating(&mut message, payload.len())?;
        partial.inflating = Some(message);
        Ok(None)
    }

    /// Inflates another slice of the message that is kept. `input` begins with its last byte, which was taken before.
    fn go_on_inflating(
        &mut self,
        asm: &mut Assembler,
        input: &[u8],
    ) -> Result<(usize, Option<Found>), ProtocolError> {
        if input.is_empty() {
            return Ok((0, None));
        }
        let found = self.inflate_slice(asm)?;
        Ok((usize::from(found.is_some()), found))
    }

    /// Inflates a slice of the message that is kept. `None` if it is not whole.
    fn inflate_slice(&mut self, asm: &mut Assembler) -> Result<Option<Found>, ProtocolError> {
        let Some(partial) = self.partial.as_deref_mut() else {
            return Ok(None);
        };
        let Partial {
            inflating: Some(message),
            payload,
            ..
        } = partial
        else {
            return Ok(None);
        };
        if !asm.inflate(message, self.window.as_deref_mut(), payload)? {
            asm.charge_inflating(message, payload.len())?;
            return Ok(None);
        }
        let kind = message.kind();
        if let Some(partial) = self.partial.take() {
            asm.spend_compressed(partial);
        }
        Ok(Some(inflated(kind)))
    }
}

/// The event of the message that the assembler has inflated.
fn inflated(kind: Kind) -> Found {
    Found {
        what: What::Message(kind),
        location: Location::Inflated,
    }
}

/// The bytes taken of `input` if the frame that ends at `end` is done with; else the last of them is left, as it was, so that the
/// caller has something to come back with.
fn taken(input: &mut [u8], end: usize, last: Option<u8>, done: bool) -> usize {
    if done {
        return end;
    }
    let at = end.saturating_sub(1);
    if let (Some(byte), Some(last)) = (input.get_mut(at), last) {
        *byte = last;
    }
    at
}
