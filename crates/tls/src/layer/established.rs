//! The two ends of a handshake: its first bytes, if this side begins it, and the session that it leaves.

use std::io::ErrorKind;

use hioload_transport::layer::View;
use hioload_transport::{ConnId, Connections, Driver};
use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::pki_types::CertificateDer;

use super::clear::queue;
use super::conn::{Conn, Pending, State, flag};
use super::receive::Stop;
use super::state::Tls;
use crate::handshake::Established;
use crate::record::Alert;

/// Tickets that a client stores for one connection.
const MAX_TICKETS: u8 = 8;
/// An estimate of the time to verify the certificates of a client again, in nanoseconds.
const VERIFY_COST: u32 = 150_000;

impl Tls {
    /// A connection of a client is established below: its handshake begins.
    pub(super) fn begin_client<C: Connections>(&mut self, below: &mut C, id: ConnId) {
        let Some(Conn {
            state: State::Handshake(pending),
            ..
        }) = self.conns.get_mut(id)
        else {
            return;
        };
        let mut out = std::mem::take(&mut self.scratch);
        out.clear();
        let begun = match &mut pending.work.handshake {
            Some(handshake) => handshake.begin(&mut out).is_ok(),
            None => false,
        };
        let begun = begun && queue(below, id, &out);
        self.scratch = out;
        if !begun {
            self.handshake_failed(below, id, None);
        }
    }

    /// The handshake is complete.
    pub(super) fn established<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
        mut established: Box<Established>,
    ) {
        // A copy: what is moved out of the box would leave its secrets there, and the box overwrites them when it is dropped.
        let session = established.session.clone();
        let (resumed, excess) = (established.resumed, established.excess);
        let (certificate, chain) = (established.certificate.take(), established.chain.take());
        let tickets = established.tickets.take();
        drop(established);
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let State::Handshake(pending) = std::mem::replace(&mut conn.state, State::Open(session))
        else {
            return;
        };
        self.stats.handshakes += 1;
        self.stats.handshakes_open -= 1;
        self.stats.resumed += u64::from(resumed);
        let Pending {
            work,
            early,
            early_len,
            charged,
            ..
        } = *pending;
        self.handshake_bytes -= charged;
        if excess {
            // RFC 8446 §5.1: "Handshake messages MUST NOT span key changes."
            self.stats.unexpected_messages += 1;
            let alert = Some(Alert::UnexpectedMessage);
            return self.end_with(below, id, alert, ErrorKind::InvalidData);
        }
        if let Some(chain) = chain {
            above.spend(VERIFY_COST);
            if let Err(error) = self.configs.verify_resumed(&chain) {
                return self.resumption_refused(below, id, &error);
            }
        }
        self.keep_extra(id, tickets, certificate, work.input);
        self.begin_session(below, above, id, resumed, &early[..early_len]);
    }

    /// Keeps what a connection has besides its session.
    fn keep_extra(
        &mut self,
        id: ConnId,
        tickets: Option<KernelConnection<ClientConnectionData>>,
        certificate: Option<CertificateDer<'static>>,
        input: Vec<u8>,
    ) {
        let tickets = tickets.filter(|_| self.configs.keeps_sessions());
        if tickets.is_some() || certificate.is_some() || !input.is_empty() {
            self.gathering += usize::from(!input.is_empty());
            if let Some(extra) = self.extra(id) {
                extra.tickets = tickets.map(|kernel| (Box::new(kernel), MAX_TICKETS));
                extra.certificate = certificate;
                extra.gather = input;
            }
        }
    }

    /// Sends what the driver has written during the handshake, and presents what arrived with its end.
    fn begin_session<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
        resumed: bool,
        early: &[u8],
    ) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let connecting = conn.is(flag::CONNECTING);
        conn.clear(flag::CONNECTING);
        if resumed {
            conn.set(flag::RESUMED);
        }
        if conn.is(flag::PAUSED) {
            below.pause(id);
        }
        self.write(below, id, early);
        if connecting {
            above.on_connect(&mut View::new(self, below), id, Ok(()));
        }
        above.begin_visit();
        if self.open_gathered(below, above, id) == Stop::Later {
            self.list(id);
        }
        above.end_visit();
        self.judge_fin(below, above, id);
        self.end_sending(below, id);
    }
}
