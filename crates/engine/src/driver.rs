//! The engine as the transport's driver: the effect of each event, by the connection's phase.

use std::io;

use hioload_mem::prefetch;
use hioload_transport::{Closed, ConnId, Connections, Driver, Peer, Rest, Taken};
use hioload_ws_proto::{Decoder, Role};

use crate::app::App;
use crate::handler::{ClosedBy, Handler};
use crate::session::{Phase, SessionFlags};
use crate::work::cost;

const ALL: Rest = Rest::NeedsMore;

impl<H: Handler> Driver for App<H> {
    #[inline]
    fn prefetch(&mut self, index: u32) {
        let at = index as usize;
        prefetch::item(self.core.sessions.as_ptr().wrapping_add(at));
        prefetch::item(self.decoders.as_ptr().wrapping_add(at));
        prefetch::item(self.conns.as_ptr().wrapping_add(at));
    }

    fn on_accept<C: Connections>(&mut self, io: &mut C, id: ConnId, peer: Peer) -> bool {
        self.core.work.charge(cost::EVENT);
        self.arrive(io, id, peer)
    }

    fn on_connect<C: Connections>(&mut self, io: &mut C, id: ConnId, result: io::Result<()>) {
        self.on_connected(io, id, result);
    }

    #[inline]
    fn is_exhausted(&self) -> bool {
        self.core.work.is_exhausted()
    }

    #[inline]
    fn begin_visit(&mut self) {
        self.core.work.begin_held_visit();
    }

    #[inline]
    fn end_visit(&mut self) {
        self.core.work.release_visit();
    }

    #[inline]
    fn visit_is_over(&self) -> bool {
        self.core.work.visit_is_over()
    }

    fn expects_preamble(&self, id: ConnId) -> bool {
        let session = self.core.sessions.get(id.index as usize);
        session.is_some_and(|session| {
            session.generation == id.generation && session.phase == Phase::Proxy
        })
    }

    #[inline]
    fn spend(&mut self, nanos: u32) {
        self.core.work.charge(u64::from(nanos));
    }

    #[inline]
    fn on_data<C: Connections>(&mut self, io: &mut C, id: ConnId, data: &mut [u8]) -> Taken {
        self.core.work.begin_visit();
        self.core.work.charge(cost::EVENT);
        self.core.counters.heartbeat.visit(id);
        let Some(session) = self.core.session(id) else {
            return Taken {
                bytes: data.len(),
                rest: ALL,
            };
        };
        match session.phase {
            Phase::Open | Phase::Closing => self.on_frames(io, id, data),
            Phase::Request => self.on_request_bytes(io, id, data),
            Phase::Proxy => self.on_proxy_bytes(io, id, data),
            Phase::Reply => self.on_reply_bytes(io, id, data),
            // In these phases received bytes are ignored.
            Phase::Free | Phase::Connecting | Phase::Lingering | Phase::Gone => Taken {
                bytes: data.len(),
                rest: ALL,
            },
        }
    }

    fn on_end<C: Connections>(&mut self, io: &mut C, id: ConnId) {
        let Some(session) = self.core.session(id) else {
            return;
        };
        match session.phase {
            // RFC 6455 §7.1.5: without a Close frame the code is 1006. Queued bytes are still sent: the peer may have ended
            // only its own sending side.
            Phase::Open | Phase::Closing => {
                self.core.close_transport(io, id);
                self.end(io, id, "");
            }
            Phase::Reply => self.connect_failed(io, id, io::ErrorKind::UnexpectedEof.into()),
            Phase::Proxy | Phase::Request | Phase::Connecting | Phase::Lingering => {
                self.core.close_transport(io, id);
            }
            Phase::Free | Phase::Gone => {}
        }
    }

    fn on_blocked<C: Connections>(&mut self, io: &mut C, id: ConnId) {
        self.core.note_blocked(io, id);
    }

    fn on_writable<C: Connections>(&mut self, io: &mut C, id: ConnId) {
        let now = self.core.now;
        let Some(session) = self.core.session(id) else {
            return;
        };
        session.clear(SessionFlags::BLOCKED);
        if session.phase != Phase::Open {
            return;
        }
        if session.has(SessionFlags::THROTTLED) {
            session.clear(SessionFlags::THROTTLED);
            session.message_since = crate::session::millis(now);
            if !session.has(SessionFlags::PAUSED) {
                io.resume(id);
            }
        }
        self.call(io, id, |handler, conn, cx| handler.on_writable(conn, cx));
        self.core.work.charge(cost::MESSAGE);
    }

    // RFC 6455 §7.2.1: "If at any point the underlying transport layer connection is unexpectedly lost, the client MUST
    // _Fail the WebSocket Connection_."
    fn on_closed<C: Connections>(&mut self, io: &mut C, id: ConnId, why: Closed) {
        let Some(session) = self.core.session(id) else {
            return;
        };
        // Decided by the opening, not by the phase: a connection that the application has aborted has left the phase
        // `Connecting`, and its outcome has not been reported.
        if session.extra.as_ref().is_some_and(|e| e.opening.is_some()) {
            let kind = match why {
                Closed::Failed(kind) => kind,
                Closed::Aborted | Closed::Flushed => io::ErrorKind::ConnectionAborted,
            };
            let error = io.failure(id).unwrap_or_else(|| kind.into());
            self.connect_failed(io, id, error);
        } else {
            self.end(io, id, "");
        }
        if self.core.sessions[id.index as usize].has(SessionFlags::REFUSED) {
            self.core.refusals -= 1;
        }
        self.core.release_extra(id.index);
        self.core.free(id.index);
        self.core.work.charge(cost::EVENT);
    }
}

impl<H: Handler> App<H> {
    /// Opens the connection: from now on frames are decoded and passed to the application.
    pub(crate) fn open<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        decoder: Decoder,
        conn: H::Conn,
    ) {
        let index = id.index as usize;
        while self.conns.len() <= index {
            self.conns.push(None);
            self.decoders.push(Decoder::new(Role::Server));
        }
        self.decoders[index] = decoder;
        self.conns[index] = Some(conn);
        let core = &mut self.core;
        core.counters.opened.bump();
        let session = &mut core.sessions[index];
        session.tokens = core.tunables.limits.message_rate;
        session.refilled = crate::session::millis(core.now);
        session.closed_by = ClosedBy::Network;
        session.mark = 0;
        session.opened = (core.now.as_millis() / 1000) as u32;
        core.enter(id.index, Phase::Open);
        if core.draining() {
            // A client-role connection whose handshake ended during the drain.
            core.sessions[index].set(SessionFlags::DRAINING);
            core.sessions[index].mark = crate::session::millis(core.now);
            core.rearm(id.index);
        }
        self.call(io, id, |handler, conn, cx| handler.on_ready(conn, cx));
    }
}
