//! An lcore's application and its connections' decoders, and how received bytes become calls of the handler.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use hioload_mem::room_for;
use hioload_transport::{ConnId, Connections, Rest, Taken};
use hioload_ws_proto::{
    Answer, Assembler, CloseCode, CloseFrame, Decoder, Event, OpCode, ProtocolError, Role,
};

use crate::context::{ConnCx, LcoreCx};
use crate::core::Core;
use crate::handler::{ClosedBy, Closure, Handler};
use crate::session::{Phase, SessionFlags, millis};
use crate::work::cost;

/// The driver of a transport: the handler, its state of each connection, and the decoders.
pub(crate) struct App<H: Handler> {
    pub(crate) handler: H,
    /// By slot: the application's state of an open connection.
    pub(crate) conns: Vec<Option<H::Conn>>,
    /// By slot.
    pub(crate) decoders: Vec<Decoder>,
    pub(crate) assembler: Assembler,
    pub(crate) core: Core<H::Event>,
}

/// How a pass over received bytes ended.
enum Pumped {
    /// All bytes are consumed.
    All,
    /// Bytes remain: the connection has used its share of the turn, or its reading is paused.
    Wait,
    /// The peer sent Close.
    Close(Option<CloseCode>, Reason),
    /// The peer broke the protocol or a limit.
    Failed(ProtocolError),
    /// The peer exceeds `message_rate`.
    TooFast,
}

/// A copy of a close reason.
struct Reason {
    len: usize,
    bytes: [u8; CloseFrame::MAX_REASON],
}

impl Reason {
    const EMPTY: Self = Self {
        len: 0,
        bytes: [0; CloseFrame::MAX_REASON],
    };

    fn new(text: &str) -> Self {
        let mut reason = Self::EMPTY;
        reason.len = text.len().min(reason.bytes.len());
        reason.bytes[..reason.len].copy_from_slice(&text.as_bytes()[..reason.len]);
        reason
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}

impl<H: Handler> App<H> {
    pub(crate) fn new(handler: H, assembler: Assembler, core: Core<H::Event>) -> Self {
        let slots = core.sessions.capacity();
        Self {
            handler,
            conns: room_for(slots),
            decoders: room_for(slots),
            assembler,
            core,
        }
    }

    /// Bytes of an open (or closing) connection.
    pub(crate) fn on_frames<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        data: &mut [u8],
    ) -> Taken {
        if self.must_wait(io, id) {
            return Taken {
                bytes: 0,
                rest: Rest::Later,
            };
        }
        let now = millis(self.core.now);
        let session = &mut self.core.sessions[id.index as usize];
        if session.phase == Phase::Open {
            session.heard = now;
        }
        let mut done = 0;
        // One `catch_unwind` for each burst, not for each message.
        let pumped = catch_unwind(AssertUnwindSafe(|| self.pump(io, id, data, &mut done)));
        if matches!(pumped, Ok(Pumped::All | Pumped::Wait)) {
            self.note_unfinished(id);
        }
        match pumped {
            Ok(Pumped::All) => {}
            Ok(Pumped::Wait) => {
                return Taken {
                    bytes: done,
                    rest: Rest::Later,
                };
            }
            Ok(Pumped::Close(code, reason)) => self.on_close_frame(io, id, code, &reason),
            Ok(Pumped::Failed(error)) => self.fail(io, id, error),
            Ok(Pumped::TooFast) => {
                self.core.counters.rate_exceeded.bump();
                self.begin_close(io, id, CloseCode::POLICY_VIOLATION, "too many messages");
                return Taken {
                    bytes: done,
                    rest: Rest::Later,
                };
            }
            Err(_) => {
                self.panicked(io, id);
                return Taken {
                    bytes: done,
                    rest: Rest::Later,
                };
            }
        }
        Taken {
            bytes: data.len(),
            rest: Rest::NeedsMore,
        }
    }

    /// Decodes messages and passes them to the handler until the bytes, the turn's share or the connection ends. `done` is
    /// exact at every call of the handler, which may unwind.
    fn pump<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        data: &mut [u8],
        done: &mut usize,
    ) -> Pumped {
        let index = id.index as usize;
        let Self {
            handler,
            conns,
            decoders,
            assembler,
            core,
        } = self;
        let decoder = &mut decoders[index];
        let (rate, share) = (
            core.tunables.limits.message_rate,
            core.tunables.turn_messages,
        );
        let mut events = 0;
        while *done < data.len() {
            let (n, event) = match decoder.decode(assembler, &mut data[*done..]) {
                Ok(step) => step,
                Err(error) => return Pumped::Failed(error),
            };
            *done += n;
            let Some(event) = event else {
                core.work
                    .charge(cost::of_bytes(n) + assembler.take_effort() as u64);
                // Bytes are left if a message is inflated further, in this visit or the next one.
                if core.work.visit_is_over() && *done < data.len() {
                    return Pumped::Wait;
                }
                continue;
            };
            events += 1;
            if rate != 0 {
                let now = core.now;
                if core.sessions[index].phase == Phase::Open
                    && !core.sessions[index].take_token(rate, now)
                {
                    return Pumped::TooFast;
                }
            }
            let open = core.sessions[index].phase == Phase::Open;
            match (event, conns[index].as_mut()) {
                (Event::Message(message), Some(conn)) if open => {
                    core.counters.messages_in.bump();
                    handler.on_message(conn, &mut ConnCx::new(core, io, id), message);
                }
                (Event::Ping(payload), _) if open => {
                    core.counters.pings_in.bump();
                    // RFC 6455 §5.5.2: "Upon receipt of a Ping frame, an endpoint MUST send a Pong frame in response, unless it
                    // already received a Close frame."
                    let _ = core.send_control(io, id, OpCode::Pong, payload);
                }
                (Event::Pong(payload), Some(conn)) if open => {
                    core.counters.pongs_in.bump();
                    handler.on_pong(conn, &mut ConnCx::new(core, io, id), payload);
                }
                (Event::Close(frame), _) => {
                    return match frame {
                        Some(frame) => Pumped::Close(Some(frame.code), Reason::new(frame.reason)),
                        None => Pumped::Close(None, Reason::EMPTY),
                    };
                }
                // Messages that arrive after our Close are ignored.
                _ => {}
            }
            let effort = assembler.take_effort() as u64;
            core.work.charge(cost::MESSAGE + cost::of_bytes(n) + effort);
            if core.work.visit_is_over() {
                return Pumped::Wait;
            }
            let session = &core.sessions[index];
            if session.phase == Phase::Open {
                let full = io.queued(id) >= core.tunables.limits.send_queue;
                if full || events >= share || session.has(SessionFlags::PAUSED) {
                    return Pumped::Wait;
                }
            }
        }
        Pumped::All
    }

    /// Whether reading from a connection is paused: by the application, because its send queue is full, or because what it and
    /// others have published is not sent yet.
    fn must_wait<C: Connections>(&mut self, io: &mut C, id: ConnId) -> bool {
        let full = self.core.fan_out_is_full();
        let session = &mut self.core.sessions[id.index as usize];
        if session.phase != Phase::Open {
            return false;
        }
        if session.has(SessionFlags::PAUSED) {
            return true;
        }
        if full && session.has(SessionFlags::PUBLISHES) {
            return true;
        }
        if io.queued(id) < self.core.tunables.limits.send_queue {
            return false;
        }
        if io.is_blocked(id) {
            // No reading until the queue drains. `on_writable` resumes it.
            session.set(SessionFlags::THROTTLED);
            io.pause(id);
        }
        true
    }

    fn on_close_frame<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        code: Option<CloseCode>,
        reason: &Reason,
    ) {
        let frame = code.map(|code| CloseFrame {
            code,
            reason: reason.as_str(),
        });
        let session = &mut self.core.sessions[id.index as usize];
        if let Answer::Reply(code) = session.closing.receive(frame) {
            session.closed_by = ClosedBy::Peer;
            let code = code.unwrap_or(CloseCode::NO_STATUS);
            self.core.send_close(io, id, code, "");
        }
        let session = &self.core.sessions[id.index as usize];
        let role = if session.has(SessionFlags::CLIENT) {
            Role::Client
        } else {
            Role::Server
        };
        if session.closing.closes_tcp(role) {
            // The peer sends nothing more, so no reset can overtake our Close.
            self.core.close_transport(io, id);
        } else {
            self.core.linger(io, id);
        }
        self.end(io, id, reason.as_str());
    }

    /// Fails the connection (RFC 6455 §7.1.7): sends the reason in a Close and reads no more.
    // §7.1.7: "To do so, the client MUST _Close the WebSocket Connection_, and MAY report the problem to the user
    // [...]. Similarly, to do so, the server MUST _Close the WebSocket Connection_, and SHOULD log the problem."
    fn fail<C: Connections>(&mut self, io: &mut C, id: ConnId, error: ProtocolError) {
        let counters = &self.core.counters;
        match error {
            ProtocolError::TooManyFragments => counters.messages_too_fragmented.bump(),
            ProtocolError::OutOfMemory => counters.reassembly_exhausted.bump(),
            _ => match error.close_code() {
                CloseCode::INVALID_DATA => counters.invalid_utf8.bump(),
                CloseCode::TOO_BIG => counters.messages_too_big.bump(),
                _ => counters.protocol_errors.bump(),
            },
        }
        self.begin_close(io, id, error.close_code(), error.reason());
        self.core.linger(io, id);
        self.end(io, id, error.reason());
    }

    pub(crate) fn begin_close<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        code: CloseCode,
        reason: &str,
    ) {
        self.core
            .begin_close(io, id, code, reason, ClosedBy::Engine);
    }

    /// A handler panicked: its connection is closed with 1011. Other connections are not affected.
    pub(crate) fn panicked<C: Connections>(&mut self, io: &mut C, id: ConnId) {
        self.core.counters.handler_panics.bump();
        tracing::error!(lcore = self.core.lcore, conn = %id, "handler panicked; its connection is closed with 1011");
        self.begin_close(io, id, CloseCode::INTERNAL_ERROR, "internal error");
    }

    /// Calls `on_close` once for a connection that was open, and releases its memory.
    pub(crate) fn end<C: Connections>(&mut self, io: &mut C, id: ConnId, reason: &str) {
        let index = id.index;
        self.core.release_extra(index);
        let Some(slot) = self.conns.get_mut(index as usize) else {
            return;
        };
        // A free slot would otherwise keep the decoder's window.
        let mut decoder = mem::replace(
            &mut self.decoders[index as usize],
            Decoder::new(Role::Server),
        );
        decoder.release(&mut self.assembler);
        let Some(conn) = slot.take() else { return };
        let session = &self.core.sessions[index as usize];
        let code = session.final_code();
        let by = session.closed_by;
        self.core.counters.closed.bump();
        if by == ClosedBy::Network {
            self.core.counters.abnormal_closures.bump();
        }
        let closure = Closure { code, reason, by };
        let (handler, mut cx) = (
            &mut self.handler,
            LcoreCx {
                core: &mut self.core,
                io,
            },
        );
        if catch_unwind(AssertUnwindSafe(|| {
            handler.on_close(conn, &mut cx, closure);
        }))
        .is_err()
        {
            self.core.counters.handler_panics.bump();
        }
    }

    /// Calls `f` for an open connection. A panic closes it with 1011, as in `on_message`.
    pub(crate) fn call<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        f: impl FnOnce(&mut H, &mut H::Conn, &mut ConnCx<'_, C, H::Event>),
    ) {
        self.core.counters.heartbeat.visit(id);
        if self
            .core
            .session(id)
            .is_none_or(|session| session.phase != Phase::Open)
        {
            return;
        }
        let Self {
            handler,
            conns,
            core,
            ..
        } = self;
        let Some(conn) = conns.get_mut(id.index as usize).and_then(Option::as_mut) else {
            return;
        };
        let mut cx = ConnCx::new(core, io, id);
        if catch_unwind(AssertUnwindSafe(|| f(handler, conn, &mut cx))).is_err() {
            self.panicked(io, id);
        }
    }

    /// Calls `f` for the lcore. A panic is counted; there is no connection to close.
    pub(crate) fn call_lcore<C: Connections, R>(
        &mut self,
        io: &mut C,
        f: impl FnOnce(&mut H, &mut LcoreCx<'_, C, H::Event>) -> R,
    ) -> Option<R> {
        let (handler, mut cx) = (
            &mut self.handler,
            LcoreCx {
                core: &mut self.core,
                io,
            },
        );
        match catch_unwind(AssertUnwindSafe(|| f(handler, &mut cx))) {
            Ok(result) => Some(result),
            Err(_) => {
                self.core.counters.handler_panics.bump();
                tracing::error!(
                    lcore = self.core.lcore,
                    "handler panicked outside of a connection"
                );
                None
            }
        }
    }
}
