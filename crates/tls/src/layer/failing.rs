//! Handshakes that fail: their alerts, their counters, and the error that the driver receives.

use std::io::{self, ErrorKind};

use hioload_transport::{ConnId, Connections};
use rustls::CertificateError;

use super::conn::{State, flag};
use super::state::Tls;
use super::work::{Setup, StepError};
use crate::handshake::too_long;
use crate::record::Alert;

impl Tls {
    #[cold]
    pub(super) fn handshake_failed<C: Connections>(
        &mut self,
        below: &mut C,
        id: ConnId,
        error: Option<&StepError>,
    ) {
        self.stats.handshake_failures += 1;
        self.stats.unknown_names += u64::from(error.is_some_and(|error| error.unknown_name));
        let error = error.map(|error| &error.error);
        match error {
            Some(rustls::Error::PeerIncompatible(_)) => self.stats.incompatible += 1,
            Some(rustls::Error::AlertReceived(_)) => self.stats.alerts_received += 1,
            Some(rustls::Error::PeerSentOversizedRecord) => self.stats.oversized_records += 1,
            Some(error) if *error == too_long() => self.stats.handshakes_too_long += 1,
            _ => {}
        }
        if let Some(error) = error
            && self
                .conns
                .get(id)
                .is_some_and(|conn| conn.is(flag::CONNECTING))
        {
            self.failures.push((id, error.clone()));
        }
        self.end_with(below, id, None, ErrorKind::InvalidData);
    }

    /// The peer ended its sending side during the handshake. A peer that has not sent a byte, as the check of a load balancer, is no
    /// failure.
    #[cold]
    pub(super) fn handshake_cut<C: Connections>(&mut self, below: &mut C, id: ConnId) {
        let Some(State::Handshake(pending)) = self.conns.get(id).map(|conn| &conn.state) else {
            return;
        };
        let silent =
            matches!(pending.work.setup, Setup::Server(_)) && pending.work.input.is_empty();
        self.stats.handshake_failures += u64::from(!silent);
        self.cut(below, id);
    }

    /// Ends a connection that the peer has cut.
    #[cold]
    pub(super) fn cut<C: Connections>(&mut self, below: &mut C, id: ConnId) {
        self.mark_failed(id);
        if let Some(conn) = self.conns.get_mut(id) {
            conn.error = Some(ErrorKind::UnexpectedEof);
        }
        self.discard(id);
        below.abort(id);
    }

    /// A resumed session is that of a client whose certificate is not valid any more.
    #[cold]
    pub(super) fn resumption_refused<C: Connections>(
        &mut self,
        below: &mut C,
        id: ConnId,
        error: &rustls::Error,
    ) {
        use CertificateError::{
            Expired, ExpiredContext, ExpiredRevocationList, ExpiredRevocationListContext,
        };
        self.stats.handshake_failures += 1;
        self.stats.resumptions_refused += 1;
        let alert = match error {
            rustls::Error::InvalidCertificate(
                Expired
                | ExpiredContext { .. }
                | ExpiredRevocationList
                | ExpiredRevocationListContext { .. },
            ) => Alert::CertificateExpired,
            _ => Alert::CertificateUnknown,
        };
        self.end_with(below, id, Some(alert), ErrorKind::PermissionDenied);
    }
}

/// The result of a connection that failed before it was complete.
pub(super) fn failed(kind: ErrorKind, error: Option<rustls::Error>) -> io::Error {
    match error {
        Some(error) => io::Error::new(kind, error),
        None => kind.into(),
    }
}
