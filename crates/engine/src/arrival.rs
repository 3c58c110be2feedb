//! The arrival of a connection: from its acceptance until it is known who the client is, and whether the client is admitted.
//!
//! The client of a direct connection is known at once. That of a proxied one becomes known with the PROXY header, or with the request;
//! until then the connection counts for the total alone.

use std::net::SocketAddr;

use hioload_mem::room_for;
use hioload_transport::{ConnId, Connections, Driver, Peer, Rest, Taken};
use hioload_ws_proto::handshake::server::Request;

use crate::admission::{Refusal, Ticket};
use crate::app::App;
use crate::config::REFUSAL_SLOTS;
use crate::core::Core;
use crate::handler::{Handler, Response};
use crate::proxy::{Malformed, ProxyProtocol, RealIpHeader, Said, forwarded, header};
use crate::session::{Phase, SessionFlags};

impl<H: Handler> App<H> {
    /// A connection of `peer` is accepted. `false`: it is reset.
    pub(crate) fn arrive<C: Connections>(&mut self, io: &mut C, id: ConnId, peer: Peer) -> bool {
        let core = &mut self.core;
        core.counters.accepted.bump();
        core.accept_tokens = core.accept_tokens.saturating_sub(1);
        let proxies = &core.tunables.proxies;
        let protocol = proxies.protocol;
        let proxied = proxies.trusts(peer);
        if !proxied && protocol == ProxyProtocol::Require {
            core.counters.rejected_untrusted.bump();
            return false;
        }
        if !proxied && !core.tunables.allows(peer) {
            core.counters.rejected_network.bump();
            return false;
        }
        let admitted = if proxied {
            core.admission.admit_to_total().map(|()| Ticket::NONE)
        } else {
            core.admission.admit(peer, core.now)
        };
        let phase = if proxied && protocol != ProxyProtocol::Off {
            Phase::Proxy
        } else {
            Phase::Request
        };
        match admitted {
            Ok(ticket) => {
                let session = core.start(id, phase);
                session.ticket = ticket;
                session.set(SessionFlags::ADMITTED);
                if proxied {
                    session.set(SessionFlags::PROXIED);
                }
                true
            }
            Err(refusal) => {
                core.count_refusal(refusal);
                if core.refusals >= REFUSAL_SLOTS {
                    return false;
                }
                core.start(id, Phase::Request);
                self.refuse(io, id);
                true
            }
        }
    }

    /// Answers 503, in a slot for refused connections.
    fn refuse<C: Connections>(&mut self, io: &mut C, id: ConnId) {
        self.core.sessions[id.index as usize].set(SessionFlags::REFUSED);
        self.core.refusals += 1;
        self.answer_busy(io, id);
    }

    /// Bytes of a proxy's connection whose PROXY header is not complete.
    pub(crate) fn on_proxy_bytes<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        data: &mut [u8],
    ) -> Taken {
        let all = Taken {
            bytes: data.len(),
            rest: Rest::NeedsMore,
        };
        let (said, end) = match header::parse(data, self.core.tunables.limits.max_handshake) {
            Ok(Some(parsed)) => parsed,
            Ok(None) => {
                return Taken {
                    bytes: 0,
                    rest: Rest::NeedsMore,
                };
            }
            Err(Malformed) => {
                self.core.counters.proxy_malformed.bump();
                let peer = self.core.peer(io, id);
                tracing::debug!(lcore = self.core.lcore, conn = %id, %peer, "malformed PROXY header");
                self.core.abort_transport(io, id);
                return all;
            }
        };
        // Not by `enter`: header and request share one deadline.
        self.core.sessions[id.index as usize].phase = Phase::Request;
        let admitted = match said {
            Said::Client(client) => self.found(io, id, client),
            _ => true,
        };
        if end == data.len() {
            return all;
        }
        if io.is_tls(id) {
            // What follows is a handshake of TLS, which the layer processes: a refusal is sent after it, too.
            return Taken {
                bytes: end,
                rest: Rest::Later,
            };
        }
        if !admitted {
            return all;
        }
        let taken = self.on_data(io, id, &mut data[end..]);
        Taken {
            bytes: end + taken.bytes,
            ..taken
        }
    }

    /// A proxy has named the client of its connection. `false` if the client is not admitted; the connection ends then.
    fn found<C: Connections>(&mut self, io: &mut C, id: ConnId, client: SocketAddr) -> bool {
        self.core.set_client(id.index, client);
        let proxies = &self.core.tunables.proxies;
        // A proxy behind the proxy: the request names the client.
        if proxies.header != RealIpHeader::None && proxies.trusts_ip(client.ip()) {
            return true;
        }
        self.admit_client(io, id)
    }

    /// Applies to the client of a proxied connection what is applied to others when they are accepted.
    fn admit_client<C: Connections>(&mut self, io: &mut C, id: ConnId) -> bool {
        let client = self.core.peer(io, id);
        let core = &mut self.core;
        let session = &mut core.sessions[id.index as usize];
        session.clear(SessionFlags::PROXIED);
        if core.tunables.proxies.trusts(client) {
            return true;
        }
        if !core.tunables.allows(client) {
            core.counters.rejected_network.bump();
            core.abort_transport(io, id);
            return false;
        }
        let refusal = match core.admission.admit_source(client, core.now) {
            Ok(ticket) => {
                session.ticket = ticket;
                return true;
            }
            Err(refusal) => refusal,
        };
        // It holds one of the slots for refused connections from now on, as if it had been refused when it was accepted.
        session.clear(SessionFlags::ADMITTED);
        core.admission.release(Ticket::NONE);
        core.count_refusal(refusal);
        if core.refusals >= REFUSAL_SLOTS {
            core.abort_transport(io, id);
        } else {
            self.refuse(io, id);
        }
        false
    }

    /// Finds the client of a proxied connection in its request, and admits it. `false` if the request is not to be answered: it was.
    pub(crate) fn find_client<C: Connections>(
        &mut self,
        io: &mut C,
        id: ConnId,
        request: &Request<'_>,
    ) -> bool {
        if !self.core.sessions[id.index as usize].has(SessionFlags::PROXIED) {
            return true;
        }
        match self.core.client_in(self.core.peer(io, id), request) {
            Ok(Said::Client(client)) => {
                self.core.set_client(id.index, client);
                self.admit_client(io, id)
            }
            Ok(Said::Nothing) => self.admit_client(io, id),
            Err(Malformed) => {
                self.core.counters.proxy_malformed.bump();
                let text = "the client's address in X-Forwarded-For or Forwarded is malformed\n";
                self.respond(io, id, &Response::text(400, text), false);
                false
            }
        }
    }
}

impl<E: Send + 'static> Core<E> {
    fn count_refusal(&self, refusal: Refusal) {
        match refusal {
            Refusal::Total => self.counters.rejected_connections.bump(),
            Refusal::Source => self.counters.rejected_source.bump(),
            Refusal::Rate => self.counters.rejected_rate.bump(),
        }
    }

    /// What the request of `peer` says about its client.
    fn client_in(&self, peer: Peer, request: &Request<'_>) -> Result<Said, Malformed> {
        let proxies = &self.tunables.proxies;
        if !proxies.trusts(peer) {
            return Ok(Said::Nothing);
        }
        let is_proxy = |ip| proxies.trusts_ip(ip);
        match proxies.header {
            RealIpHeader::None => Ok(Said::Nothing),
            RealIpHeader::XForwardedFor => {
                forwarded::x_forwarded_for(request.headers.all("X-Forwarded-For"), is_proxy)
            }
            RealIpHeader::Forwarded => {
                forwarded::forwarded(request.headers.all("Forwarded"), is_proxy)
            }
        }
    }

    /// Records the client of a proxied connection.
    fn set_client(&mut self, index: u32, client: SocketAddr) {
        if self.clients.is_empty() {
            self.clients = room_for(self.sessions.capacity());
        }
        let index = index as usize;
        if self.clients.len() <= index {
            self.clients.resize(index + 1, None);
        }
        if self.clients[index].replace(client).is_none() {
            self.counters.proxied.bump();
        }
    }

    /// The client that a trusted proxy has named, if `id` is not stale.
    pub(crate) fn client(&self, id: ConnId) -> Option<SocketAddr> {
        let client = self.clients.get(id.index as usize).copied().flatten()?;
        (self.id_of(id.index) == id).then_some(client)
    }

    /// The client of a connection: the peer, or the address that a trusted proxy gives.
    pub(crate) fn peer<C: Connections>(&self, io: &C, id: ConnId) -> Peer {
        match self.client(id) {
            Some(client) => Peer::Ip(client),
            None => io.peer(id).unwrap_or(Peer::Unix),
        }
    }

    /// The proxy through which a connection came, if it has named the client.
    pub(crate) fn proxy<C: Connections>(&self, io: &C, id: ConnId) -> Option<Peer> {
        self.client(id).and_then(|_| io.peer(id))
    }
}
