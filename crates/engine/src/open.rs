//! The server's side of the opening handshake: from the bytes of a request to an open connection or an HTTP answer.

use std::sync::Arc;

use hioload_transport::{ConnId, Connections, Rest, Taken};
use hioload_ws_proto::deflate::DeflateConfig;
use hioload_ws_proto::deflate::negotiate::{self, Agreed};
use hioload_ws_proto::handshake::{HandshakeError, server};
use hioload_ws_proto::{Decoder, Deflation, Inflation, Role};
use server::Request;

use crate::app::App;
use crate::config::SendPolicy;
use crate::core::Core;
use crate::handler::{Accept, Handler, Response};
use crate::origin::{self, Foreign};
use crate::session::SessionFlags;
use crate::work::cost;

/// The outcome of a request head.
enum Answer<C> {
    Open { conn: C, deflate: Option<Agreed> },
    Http,
}

impl<H: Handler> App<H> {
    /// Bytes of a connection that has not sent a complete request.
    pub(crate) fn on_request_bytes<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        data: &mut [u8],
    ) -> Taken {
        let limits = self.core.handshake_limits();
        let scanned = self.core.sessions[id.index as usize].mark as usize;
        let end = match server::scan(data, scanned, &limits) {
            Ok(Some(end)) => end,
            Ok(None) => {
                // The next search begins where this one ended, however slowly the head arrives.
                self.core.sessions[id.index as usize].mark = data.len() as u32;
                return Taken {
                    bytes: 0,
                    rest: Rest::NeedsMore,
                };
            }
            Err(error) => return self.answer_error(io, id, error, data.len()),
        };
        self.core.work.add(cost::REQUEST);
        let (head, rest) = data.split_at_mut(end);
        // Handlers get `io` as well, so they cannot borrow from it. Few clients have a certificate.
        let certificate = io.certificate(id).map(<[u8]>::to_vec);
        let answer = match server::parse(head, &limits) {
            Ok(Some((mut request, _))) => {
                request.client_certificate = certificate.as_deref();
                self.answer(io, id, &request)
            }
            Ok(None) => return self.answer_error(io, id, HandshakeError::Syntax, end),
            Err(error) => return self.answer_error(io, id, error, end),
        };
        match answer {
            Answer::Http => Taken {
                bytes: end + rest.len(),
                rest: Rest::NeedsMore,
            },
            Answer::Open { conn, deflate } => {
                let tunables = Arc::clone(&self.core.tunables);
                let deflate = deflate.zip(tunables.deflate.as_ref());
                let decoder = self.core.set_up_deflate(id, Role::Server, deflate);
                self.open(io, id, decoder, conn);
                if rest.is_empty() {
                    return Taken {
                        bytes: end,
                        rest: Rest::NeedsMore,
                    };
                }
                // Frames may follow the request in the same segment.
                let taken = self.on_data_after_head(io, id, rest);
                Taken {
                    bytes: end + taken.bytes,
                    ..taken
                }
            }
        }
    }

    fn on_data_after_head<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        rest: &mut [u8],
    ) -> Taken {
        use hioload_transport::Driver;
        self.on_data(io, id, rest)
    }

    fn answer<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        request: &Request<'_>,
    ) -> Answer<H::Conn> {
        if !self.find_client(io, id, request) {
            return Answer::Http;
        }
        let peer = self.core.peer(io, id);
        let tunables = &self.core.tunables;
        let (origins, hosts) = (&tunables.origins, &tunables.hosts);
        if let Err(foreign) = origin::check(origins, hosts, peer, io.is_tls(id), request) {
            self.answer_foreign(io, id, foreign, request);
            return Answer::Http;
        }
        let Some(upgrade) = request.upgrade else {
            self.core.counters.http_requests.bump();
            let response = self
                .call_lcore(io, |handler, cx| handler.on_http(cx, peer, request))
                .unwrap_or_else(internal_error);
            self.respond(io, id, &response, request.method == "HEAD");
            return Answer::Http;
        };
        if self.core.draining() {
            self.core.counters.rejected_draining.bump();
            self.respond(io, id, &busy("shutting down\n"), false);
            return Answer::Http;
        }
        let decision = self
            .call_lcore(io, |handler, cx| handler.on_open(cx, peer, request))
            .unwrap_or_else(|| Err(internal_error()));
        match decision.and_then(|accept| self.core.write_accept(upgrade.key, request, accept)) {
            Ok((conn, deflate)) => {
                if self.core.send_out(io, id) {
                    return Answer::Open { conn, deflate };
                }
                self.core.abort_transport(io, id);
            }
            // RFC 6455 §4.2.2: "If the server does not wish to accept this connection, it MUST return an appropriate
            // HTTP error code (e.g., 403 Forbidden) and abort the WebSocket handshake described in this section." "If
            // the requested service is not available, the server MUST send an appropriate HTTP error code (such as 404
            // Not Found) and abort the WebSocket handshake."
            Err(response) => {
                self.core.counters.rejected_by_handler.bump();
                self.respond(io, id, &response, false);
            }
        }
        Answer::Http
    }

    /// 403: a web page that may not use the server. Browsers do not show it to the page, so the first one is logged.
    fn answer_foreign<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        foreign: Foreign,
        request: &Request<'_>,
    ) {
        let core = &self.core;
        let (counter, setting) = match foreign {
            Foreign::Origin => (&core.counters.rejected_origin, "allow_origin"),
            Foreign::Host => (&core.counters.rejected_host, "allow_host"),
        };
        counter.bump();
        if counter.get() == 1 {
            let (origin, host) = (request.origin, request.host);
            tracing::warn!(
                lcore = core.lcore,
                origin,
                host,
                setting,
                "refused a request of a web page; further ones are only counted"
            );
        }
        let response = Response::text(403, foreign.text());
        self.respond(io, id, &response, request.method == "HEAD");
    }

    /// Sends an HTTP response and closes.
    pub(crate) fn respond<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        response: &Response,
        head_only: bool,
    ) {
        let headers: Vec<_> = response
            .headers
            .iter()
            .map(|(n, v)| (n.as_ref(), v.as_ref()))
            .collect();
        let core = &mut self.core;
        core.out.clear();
        let written = server::write_response(
            &mut core.out,
            response.status,
            &response.content_type,
            &headers,
            &response.body,
            head_only,
        );
        if written.is_err() {
            tracing::error!(
                lcore = core.lcore,
                status = response.status,
                "a response cannot be written"
            );
            core.out.clear();
        }
        if written.is_ok() && core.send_out(io, id) {
            core.linger(io, id);
        } else {
            core.abort_transport(io, id);
        }
    }

    // RFC 6455 §7.2.2: "Certain algorithms require or recommend that the server _Abort the WebSocket Connection_ during
    // the opening handshake. To do so, the server MUST simply _Close the WebSocket Connection_ (Section 7.1.1)."
    fn answer_error<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        error: HandshakeError,
        seen: usize,
    ) -> Taken {
        let counters = &self.core.counters;
        match error {
            HandshakeError::HeadTooLarge => counters.heads_too_large.bump(),
            _ => counters.rejected_handshakes.bump(),
        }
        let peer = self.core.peer(io, id);
        tracing::debug!(lcore = self.core.lcore, conn = %id, %peer, %error, "request refused");
        self.core.out.clear();
        server::write_error(&mut self.core.out, error);
        if self.core.send_out(io, id) {
            self.core.linger(io, id);
        } else {
            self.core.abort_transport(io, id);
        }
        Taken {
            bytes: seen,
            rest: Rest::NeedsMore,
        }
    }

    /// 408: the request has not arrived in time.
    pub(crate) fn answer_timeout<C: Connections>(&mut self, io: &mut C, id: ConnId) {
        self.core.counters.handshake_timeouts.bump();
        self.respond(
            io,
            id,
            &Response::text(408, "request not received in time\n"),
            false,
        );
    }

    /// 503: a bound on connections is reached. Sent before the request arrives: no request would change the answer.
    pub(crate) fn answer_busy<C: Connections>(&mut self, io: &mut C, id: ConnId) {
        self.respond(io, id, &busy("too many connections\n"), false);
    }
}

fn busy(why: &'static str) -> Response {
    Response::text(503, why).header("Retry-After", "1")
}

fn internal_error() -> Response {
    Response::text(500, "internal error\n")
}

impl<E: Send + 'static> Core<E> {
    /// Writes the 101 response to `out`. An answer of the handler that cannot be sent is a defect of the handler: 500.
    // RFC 6455 §4.2.2: "When a client establishes a WebSocket connection to a server, the server MUST complete the
    // following steps to accept the connection and send the server's opening handshake." §5.8: "The endpoints of a
    // connection MUST negotiate the use of any extensions during the opening handshake."
    fn write_accept<C>(
        &mut self,
        key: &str,
        request: &Request<'_>,
        accept: Accept<C>,
    ) -> Result<(C, Option<Agreed>), Response> {
        // RFC 6455 §4.2.2: "The value chosen MUST be derived from the client's handshake".
        let offered = accept
            .protocol
            .as_deref()
            .is_none_or(|name| request.offers(name));
        if !offered {
            tracing::error!(
                lcore = self.lcore,
                "the handler chose a subprotocol that was not offered"
            );
            return Err(internal_error());
        }
        let deflate = self
            .tunables
            .deflate
            .as_ref()
            .and_then(|config| negotiate::server(config, request.extensions()));
        let extensions = deflate.as_ref().map(Agreed::response);
        let headers: Vec<_> = accept
            .headers
            .iter()
            .map(|(n, v)| (n.as_ref(), v.as_ref()))
            .collect();
        self.out.clear();
        let written = server::write_accept(
            &mut self.out,
            key,
            accept.protocol.as_deref(),
            extensions.as_ref().map(|text| text.as_str()),
            &headers,
        );
        match written {
            Ok(()) => Ok((accept.conn, deflate)),
            Err(error) => {
                tracing::error!(lcore = self.lcore, %error, "the handler's accept cannot be sent");
                Err(internal_error())
            }
        }
    }

    /// Sends `out`, whole or not at all.
    pub(crate) fn send_out<C: Connections>(&mut self, io: &mut C, id: ConnId) -> bool {
        let mut bytes = self.out.as_slice();
        if io.send_room(id) < bytes.len() {
            return false;
        }
        while !bytes.is_empty() {
            let Ok(space) = io.send_space(id, bytes.len()) else {
                return false;
            };
            let n = space.len().min(bytes.len());
            space[..n].copy_from_slice(&bytes[..n]);
            io.commit(id, n);
            bytes = &bytes[n..];
        }
        true
    }

    /// The decoder for the agreed extensions under a configuration, and the compressor of our sending side.
    pub(crate) fn set_up_deflate(
        &mut self,
        id: ConnId,
        role: Role,
        agreed: Option<(Agreed, &DeflateConfig)>,
    ) -> Decoder {
        let Some((agreed, config)) = agreed else {
            return Decoder::new(role);
        };
        let ours = match role {
            Role::Server => agreed.server,
            Role::Client => agreed.client,
        };
        // Drop-oldest may drop a message that is compressed already, and a later message must not refer to it. A sender may
        // always use no context takeover (RFC 7692 §7.1.1).
        let deflation = if self.tunables.limits.send_policy == SendPolicy::DropOldest {
            Deflation::Shared {
                window_bits: ours.window_bits,
            }
        } else {
            Deflation::agreed(&agreed, role, config)
        };
        let session = &mut self.sessions[id.index as usize];
        session.set(SessionFlags::DEFLATE);
        session.extra().window_bits = ours.window_bits;
        session.extra().deflate = Some(deflation);
        Decoder::with_deflate(role, Inflation::agreed(&agreed, role))
    }
}
