//! From bytes to events: one [`Decoder`] per connection.

use crate::assembler::{Assembler, Limits};
use crate::close::CloseFrame;
use crate::compression::Inflation;
use crate::deflate::Window;
use crate::error::ProtocolError;
use crate::header::FrameHeader;
use crate::mask;
use crate::partial::{Filled, Partial};
use crate::types::{Event, Kind, Message, OpCode, Role};
use crate::utf8;

/// What [`Decoder::decode`] gives: bytes taken from the front of the input, and an event if one became complete.
pub type Decoded<'a> = Result<(usize, Option<Event<'a>>), ProtocolError>;

/// The receiving side of one connection, after the handshake.
///
/// It has 24 bytes. Only while something is unfinished it also holds a box from the [`Assembler`]; give that back with
/// [`Decoder::release`] before dropping the decoder, or the assembler's budget goes on counting it.
#[derive(Debug)]
pub struct Decoder {
    partial: Option<Box<Partial>>,
    /// What compressed messages refer back to, if the peer takes context over.
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

/// An event whose payload is not borrowed yet: what it is, and where its bytes are.
struct Found {
    what: What,
    place: Place,
}

enum What {
    Message(Kind),
    Control(OpCode),
}

enum Place {
    /// This range of the input.
    Input(usize, usize),
    /// The message that the assembler keeps.
    Message,
    /// The control frame that it keeps.
    Control,
    /// The message that it inflated.
    Inflated,
}

impl Decoder {
    /// For a connection without permessage-deflate. `role` is ours: a server expects masked frames, a client unmasked ones.
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

    /// For a connection with permessage-deflate as it was agreed.
    #[must_use]
    pub fn with_deflate(role: Role, inflation: Inflation) -> Self {
        let mut decoder = Self::new(role);
        decoder.inflates = !matches!(inflation, Inflation::None);
        if let Inflation::Context(window) = inflation {
            decoder.window = Some(window);
        }
        decoder
    }

    /// Takes bytes from the front of `input` until one event is complete or the input is used up; call it again with the
    /// rest. Without an event all of `input` was taken.
    ///
    /// Payload is unmasked in place, and a message that lies in `input` whole is handed out from there. An unfinished
    /// header or payload moves into the assembler's memory, unmasked and, if it is text, checked as far as it goes. How
    /// the stream is cut into calls makes no difference to the events.
    ///
    /// After a Close everything is taken and ignored.
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

    /// Whether nothing is unfinished (between messages and frames).
    #[inline]
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.partial.is_none()
    }

    /// The error that ended it, if one did.
    #[must_use]
    pub const fn error(&self) -> Option<ProtocolError> {
        match self.state {
            State::Failed(error) => Some(error),
            _ => None,
        }
    }

    /// Gives what it holds back to the assembler: call it when the connection ends.
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

    /// Everything that is not a whole small message at the front of the input.
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
        let Some(Found { what, place }) = found else {
            return Ok((used, None));
        };
        if matches!(what, What::Control(OpCode::Close)) {
            self.state = State::Closed;
            // A message that the Close interrupts will never be finished.
            self.release(asm);
        }
        let payload = match place {
            Place::Input(start, end) => &input[start..end],
            Place::Message => asm.spent(),
            Place::Control => asm.spent_control(),
            Place::Inflated => asm.inflated(),
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

    /// Goes on to the next event or the end of the input.
    fn advance(
        &mut self,
        asm: &mut Assembler,
        input: &mut [u8],
    ) -> Result<(usize, Option<Found>), ProtocolError> {
        let mut at = 0;
        loop {
            if let Some(partial) = self.partial.as_deref_mut().filter(|p| p.in_frame()) {
                let (n, filled) = partial.fill(asm, &mut input[at..])?;
                at += n;
                match filled {
                    Filled::More => return Ok((at, None)),
                    Filled::Fragment => {}
                    Filled::Message => return Ok((at, self.finish(asm)?)),
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
            self.check(asm, &header)?;
            let alone =
                header.opcode.is_control() || (header.fin && header.opcode != OpCode::Continuation);
            if alone && header.len <= (input.len() - at) as u64 {
                let end = at + header.len as usize;
                self.settle(asm);
                let payload = &mut input[at..end];
                if let Some(key) = header.mask {
                    mask::apply(payload, key, 0);
                }
                let (what, place) = match header.opcode {
                    OpCode::Text => (What::Message(Kind::Text), Place::Input(at, end)),
                    OpCode::Binary => (What::Message(Kind::Binary), Place::Input(at, end)),
                    control => (What::Control(control), Place::Input(at, end)),
                };
                let place = match what {
                    What::Message(kind) if header.rsv1 => self.inflate(asm, kind, payload)?,
                    // RFC 6455 §8.1, as in `Partial::append`.
                    What::Message(Kind::Text) if !utf8::is_valid(payload) => {
                        return Err(ProtocolError::InvalidUtf8);
                    }
                    _ => place,
                };
                return Ok((end, Some(Found { what, place })));
            }
            self.partial(asm)?.begin(&header);
        }
    }

    /// The `Partial`, taken now if there was none.
    fn partial(&mut self, asm: &mut Assembler) -> Result<&mut Partial, ProtocolError> {
        let partial = match self.partial.take() {
            Some(partial) => partial,
            None => asm.take()?,
        };
        Ok(self.partial.insert(partial))
    }

    /// Gives the `Partial` back if nothing in it is needed.
    fn settle(&mut self, asm: &mut Assembler) {
        if self.partial.as_ref().is_some_and(|p| p.is_empty()) {
            self.release(asm);
        }
    }

    /// The next header and how many bytes of `input` it took; `None` if it is unfinished and all of `input` was kept.
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

    /// What is right or wrong with a frame on this connection at this point.
    fn check(&self, asm: &Assembler, header: &FrameHeader) -> Result<(), ProtocolError> {
        // RFC 6455 §5.2: RSV1 "MUST be 0 unless an extension is negotiated that defines meanings for non-zero values."
        // RFC 7692 §6.1: "An endpoint MUST NOT set the "Per-Message Compressed" bit of control frames and non-first fragments of a
        // data message. An endpoint receiving such a frame MUST _Fail the WebSocket Connection_."
        let begins = matches!(header.opcode, OpCode::Text | OpCode::Binary);
        if header.rsv1 && !(self.inflates && begins) {
            return Err(ProtocolError::ReservedBits);
        }
        let message = self
            .partial
            .as_ref()
            .and_then(|p| p.message.map(|m| (m, p.payload.len())));
        match (header.opcode, message) {
            // RFC 6455 §5.4: a fragmented message is "a single frame with the FIN bit clear and an opcode other than 0, followed
            // by zero or more frames with the FIN bit clear and the opcode set to 0"
            (OpCode::Continuation, None) => return Err(ProtocolError::UnexpectedContinuation),
            // RFC 6455 §5.4: "The fragments of one message MUST NOT be interleaved between the fragments of another message
            // unless an extension has been negotiated that can interpret the interleaving."
            (OpCode::Text | OpCode::Binary, Some(_)) => {
                return Err(ProtocolError::MessageInterrupted);
            }
            _ => {}
        }
        match (self.role, header.mask) {
            // RFC 6455 §5.1: "The server MUST close the connection upon receiving a frame that is not masked."
            (Role::Server, None) => return Err(ProtocolError::Unmasked),
            // RFC 6455 §5.1: "A client MUST close a connection if it detects a masked frame."
            (Role::Client, Some(_)) => return Err(ProtocolError::Masked),
            _ => {}
        }
        // RFC 6455 §5.4: "Control frames MAY be injected in the middle of a fragmented message. Control frames themselves MUST
        // NOT be fragmented." They have a limit of their own, and none of these.
        if header.opcode.is_control() {
            return Ok(());
        }
        let limits = asm.limits();
        let (fragments, so_far) = message.map_or((0, 0), |(m, len)| (m.fragments, len));
        let compressed = message.map_or(header.rsv1, |(m, _)| m.compressed);
        let bound = |max| if compressed { Limits::on_wire(max) } else { max } as u64;
        if header.len > bound(limits.max_frame) {
            return Err(ProtocolError::FrameTooBig);
        }
        if header.len.saturating_add(so_far as u64) > bound(limits.max_message) {
            return Err(ProtocolError::MessageTooBig);
        }
        if fragments >= limits.max_fragments.max(1) {
            return Err(ProtocolError::TooManyFragments);
        }
        Ok(())
    }

    /// The gathered message is whole: the assembler keeps it, or what it inflates to, for the event.
    fn finish(&mut self, asm: &mut Assembler) -> Result<Option<Found>, ProtocolError> {
        let Some(partial) = self.partial.take() else {
            return Ok(None);
        };
        let Some(message) = partial.message else {
            return Ok(None);
        };
        let what = What::Message(message.kind);
        if !message.compressed {
            asm.spend(partial);
            return Ok(Some(Found {
                what,
                place: Place::Message,
            }));
        }
        let inflated = self.inflate(asm, message.kind, &partial.payload);
        asm.give_back(partial);
        Ok(Some(Found {
            what,
            place: inflated?,
        }))
    }

    /// A compressed message is whole: it is inflated, and checked if it is text.
    fn inflate(
        &mut self,
        asm: &mut Assembler,
        kind: Kind,
        payload: &[u8],
    ) -> Result<Place, ProtocolError> {
        let inflated = asm.inflate(self.window.as_deref_mut(), payload)?;
        if kind == Kind::Text && !utf8::is_valid(inflated) {
            return Err(ProtocolError::InvalidUtf8);
        }
        Ok(Place::Inflated)
    }

    /// The same for a control frame, which leaves the message around it where it is.
    fn finish_control(&mut self, asm: &mut Assembler, opcode: OpCode) -> Option<Found> {
        asm.spend_control(self.partial.as_ref()?.control());
        self.settle(asm);
        Some(Found {
            what: What::Control(opcode),
            place: Place::Control,
        })
    }
}

/// A whole unfragmented, uncompressed message at the front of the input, found by a short look at its header. Everything
/// else, right or wrong, is for [`Decoder::decode_any`].
struct Whole {
    kind: Kind,
    key: Option<[u8; 4]>,
    start: usize,
    end: usize,
}

impl Whole {
    #[inline]
    fn find(role: Role, input: &[u8]) -> Option<Self> {
        let (&[first, second, high, low], _) = input.split_first_chunk::<4>()?;
        let kind = match first {
            0x81 => Kind::Text,
            0x82 => Kind::Binary,
            _ => return None,
        };
        let expected = if role == Role::Server { 0x80 } else { 0 };
        let short = (second ^ expected) as usize;
        // A wrong mask bit makes `short` 128 or more.
        let (len, head) = match short {
            0..126 => (short, 2),
            126 => (usize::from(u16::from_be_bytes([high, low])), 4),
            _ => return None,
        };
        if head == 4 && len < 126 {
            return None;
        }
        let (key, start) = match role {
            Role::Server => (Some(*input.get(head..)?.first_chunk::<4>()?), head + 4),
            Role::Client => (None, head),
        };
        let end = start + len;
        (end <= input.len()).then_some(Self {
            kind,
            key,
            start,
            end,
        })
    }
}
