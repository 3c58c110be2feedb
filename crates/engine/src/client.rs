//! The client's side of the opening handshake.

use std::io;

use hioload_transport::{ConnId, Connections, Rest, Taken};
use hioload_ws_proto::deflate::negotiate;
use hioload_ws_proto::handshake;
use hioload_ws_proto::handshake::client::{self, Response, ResponseError};
use hioload_ws_proto::{CloseCode, Role};
use rand::Rng;

use crate::app::App;
use crate::handler::{ClosedBy, ConnectError, ConnectionId, Handler};
use crate::opening::Opening;
use crate::session::Phase;

impl<H: Handler> App<H> {
    /// The attempt to connect has ended: sends the request if it has succeeded.
    // RFC 6455 §4.1: "it MUST open a connection, send an opening handshake, and read the server's handshake in
    // response." The three are `connect`, this and `on_reply_bytes`.
    pub(crate) fn on_connected<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        result: io::Result<()>,
    ) {
        let Some(session) = self.core.session(id) else {
            return;
        };
        let phase = session.phase;
        if let Err(e) = result {
            // RFC 6455 §4.1: "If the connection could not be opened, either because a direct connection failed or
            // because any proxy used returned an error, then the client MUST _Fail the WebSocket Connection_ and abort
            // the connection attempt."
            // The transport's slot is already free, and a handler that tries again may get the same one. So the session is
            // freed before the handler is called. After an abort the handler has been called already.
            let opening = session
                .extra
                .as_mut()
                .and_then(|extra| extra.opening.take());
            self.core.release_extra(id.index);
            self.core.free(id.index);
            if let Some(opening) = opening {
                self.tell_failure(io, id, &opening, ConnectError::Network(e));
            }
            return;
        }
        if phase != Phase::Connecting {
            return;
        }
        let core = &mut self.core;
        let session = &mut core.sessions[id.index as usize];
        let Some(opening) = session.extra().opening.as_mut() else {
            return;
        };
        // RFC 6455 §4.1: "a nonce consisting of a randomly selected 16-byte value". "The nonce MUST be selected
        // randomly for each connection."
        core.rng.fill_bytes(&mut opening.key);
        opening.offer(&core.tunables);
        core.out.clear();
        let (out, key) = (&mut core.out, opening.key);
        // RFC 6455 §4.1: "Once a connection to the server has been established (including a connection via a proxy or
        // over a TLS-encrypted tunnel), the client MUST send an opening handshake to the server."
        match opening.with_request(|request| client::write_request(out, request, key)) {
            Ok(()) if core.send_out(io, id) => core.enter(id.index, Phase::Reply),
            Ok(()) => self.connect_failed(io, id, io::ErrorKind::OutOfMemory.into()),
            Err(error) => {
                self.report_failure(io, id, ConnectError::Request(error));
                self.core.abort_transport(io, id);
            }
        }
    }

    /// Bytes of a connection that awaits its 101.
    pub(crate) fn on_reply_bytes<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        data: &mut [u8],
    ) -> Taken {
        let arrived = data.len();
        let all = Taken {
            bytes: arrived,
            rest: Rest::NeedsMore,
        };
        let limits = self.core.handshake_limits();
        let mut start = 0;
        loop {
            let end = match self.reply_head_end(id, &data[start..], limits.max_head) {
                Ok(Some(end)) => start + end,
                Ok(None) => {
                    self.core.sessions[id.index as usize].mark = (arrived - start) as u32;
                    return Taken {
                        bytes: start,
                        rest: Rest::NeedsMore,
                    };
                }
                Err(error) => {
                    self.handshake_failed(io, id, error);
                    return all;
                }
            };
            let session = &mut self.core.sessions[id.index as usize];
            let Some(mut opening) = session.extra().opening.take() else {
                return all;
            };
            let (head, rest) = data.split_at_mut(end);
            let head = &head[start..];
            let parsed = opening.with_request(|request| {
                client::parse_response(head, opening.key, request, &limits)
            });
            match parsed {
                Ok(Some((reply, _))) => {
                    let taken = self.on_reply(io, id, opening, &reply, rest);
                    return Taken {
                        bytes: end + taken.bytes,
                        ..taken
                    };
                }
                // RFC 9110 §15.2: "A client MUST be able to parse one or more 1xx responses received prior to a final
                // response, even if the client does not expect one."
                Ok(None) => {
                    opening.skipped += head.len();
                    session.extra().opening = Some(opening);
                    session.mark = 0;
                    start = end;
                }
                Err(error) => return self.refuse_reply(io, id, opening, error, all),
            }
        }
    }

    /// The length of the next head in `data`, if it is complete. All heads of a response share one bound.
    fn reply_head_end(
        &mut self,
        id: ConnId,
        data: &[u8],
        limit: usize,
    ) -> Result<Option<usize>, ResponseError> {
        // Every response begins with HTTP. Anything else, such as a TLS alert, fails at once.
        if data.first().is_some_and(|first| *first != b'H') {
            return Err(ResponseError::Syntax);
        }
        let session = &mut self.core.sessions[id.index as usize];
        let scanned = session.mark as usize;
        let skipped = session.extra().opening.as_ref().map_or(0, |o| o.skipped);
        let end = handshake::head_end(data, scanned);
        // Of an incomplete head at least one byte is missing.
        if skipped + end.unwrap_or(data.len() + 1) > limit {
            return Err(ResponseError::HeadTooLarge);
        }
        Ok(end)
    }

    /// The final response has arrived, followed by `rest`. Returns what of `rest` was consumed.
    fn on_reply<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        opening: Box<Opening>,
        reply: &Response<'_>,
        rest: &mut [u8],
    ) -> Taken {
        let all = Taken {
            bytes: rest.len(),
            rest: Rest::NeedsMore,
        };
        if !reply.switched() {
            self.core.sessions[id.index as usize].extra().opening = Some(opening);
            self.report_failure(io, id, ConnectError::Refused(reply.status));
            self.core.abort_transport(io, id);
            return all;
        }
        let offered_by = opening.offered_by.clone();
        let deflate = match offered_by.as_ref().and_then(|t| t.deflate.as_ref()) {
            None => None,
            Some(config) => match negotiate::client_accept(config, reply.extensions()) {
                Ok(agreed) => agreed.map(|agreed| (agreed, config)),
                Err(_) => {
                    return self.refuse_reply(io, id, opening, ResponseError::Extension, all);
                }
            },
        };
        let name = ConnectionId {
            lcore: self.core.lcore,
            conn: id,
        };
        let token = opening.connect.token;
        let conn = self.call_lcore(io, |handler, cx| {
            handler.on_connect(cx, token, name, Ok(reply))
        });
        let decoder = self.core.set_up_deflate(id, Role::Client, deflate);
        let Some(conn) = conn.flatten() else {
            self.core.enter(id.index, Phase::Open);
            self.core
                .begin_close(io, id, CloseCode::NORMAL, "", ClosedBy::Application);
            self.core.close_transport(io, id);
            return all;
        };
        self.open(io, id, decoder, conn);
        if rest.is_empty() {
            return all;
        }
        self.on_frames(io, id, rest)
    }

    fn refuse_reply<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        opening: Box<Opening>,
        error: ResponseError,
        all: Taken,
    ) -> Taken {
        self.core.sessions[id.index as usize].extra().opening = Some(opening);
        self.handshake_failed(io, id, error);
        all
    }

    // RFC 6455 §7.2.1: "Certain algorithms, in particular during the opening handshake, require the client to _Fail the
    // WebSocket Connection_. To do so, the client MUST _Fail the WebSocket Connection_ as defined in Section 7.1.7."
    pub(crate) fn handshake_failed<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        error: ResponseError,
    ) {
        self.report_failure(io, id, ConnectError::Handshake(error));
        self.core.abort_transport(io, id);
    }

    /// The network failed a connection that was not open yet.
    pub(crate) fn connect_failed<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        error: io::Error,
    ) {
        self.report_failure(io, id, ConnectError::Network(error));
        self.core.abort_transport(io, id);
    }

    pub(crate) fn connect_timed_out<C: Connections>(&mut self, io: &mut C, id: ConnId) {
        self.core.counters.handshake_timeouts.bump();
        self.report_failure(io, id, ConnectError::Timeout);
        self.core.abort_transport(io, id);
    }

    fn report_failure<C: Connections>(&mut self, io: &mut C, id: ConnId, error: ConnectError) {
        let session = &mut self.core.sessions[id.index as usize];
        let Some(opening) = session
            .extra
            .as_mut()
            .and_then(|extra| extra.opening.take())
        else {
            return;
        };
        self.tell_failure(io, id, &opening, error);
    }

    fn tell_failure<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        opening: &Opening,
        error: ConnectError,
    ) {
        let name = ConnectionId {
            lcore: self.core.lcore,
            conn: id,
        };
        let token = opening.connect.token;
        self.call_lcore(io, |handler, cx| {
            handler.on_connect(cx, token, name, Err(error))
        });
    }
}
