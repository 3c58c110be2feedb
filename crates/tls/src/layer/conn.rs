//! One connection of the layer: its handshake or its session, its flags, and what only few connections have.

use std::collections::VecDeque;
use std::io::ErrorKind;

use hioload_mem::LocalShared;
use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::pki_types::CertificateDer;

use super::work::{MAX_INPUT, Setup, Work};
use crate::handshake::Handshake;
use crate::record::Session;

/// Flags of a connection.
pub(super) mod flag {
    /// What the driver left is presented in the next turn.
    pub(crate) const LATER: u32 = 1 << 0;
    /// It is in the list of connections to visit.
    pub(crate) const LISTED: u32 = 1 << 1;
    /// The driver has paused it.
    pub(crate) const PAUSED: u32 = 1 << 2;
    /// A close_notify has been received.
    pub(crate) const ENDED: u32 = 1 << 3;
    /// The driver has not received the end.
    pub(crate) const END_PENDING: u32 = 1 << 4;
    /// It has failed: nothing is presented or sent any more.
    pub(crate) const FAILED: u32 = 1 << 5;
    /// The sending side ends when everything is sealed.
    pub(crate) const FINISH: u32 = 1 << 6;
    /// It closes when everything is sealed.
    pub(crate) const CLOSE: u32 = 1 << 7;
    /// The close_notify has been sealed.
    pub(crate) const CLOSE_SENT: u32 = 1 << 8;
    /// It is in the list of connections with shared payloads.
    pub(crate) const FANNED: u32 = 1 << 9;
    /// The transport below presents bytes that were left, from a copy.
    pub(crate) const COPIED: u32 = 1 << 10;
    /// The driver has not received `on_writable`, although the queue below was empty.
    pub(crate) const HELD: u32 = 1 << 11;
    /// It waits for its handshake's turn.
    pub(crate) const QUEUED: u32 = 1 << 12;
    /// The driver waits for `on_connect`.
    pub(crate) const CONNECTING: u32 = 1 << 13;
    /// It is in the list of connections that have something to send besides content.
    pub(crate) const UNSENT: u32 = 1 << 14;
    /// The peer has ended its sending side below.
    pub(crate) const FIN: u32 = 1 << 15;
    /// Its session was resumed.
    pub(crate) const RESUMED: u32 = 1 << 16;
}

/// What is with a thread, while it is there.
pub(super) struct Away {
    /// Bytes of received data that it holds.
    pub(super) held: usize,
    /// Whether nothing of the handshake is encrypted.
    pub(super) is_clear: bool,
    /// Bytes of its input.
    pub(super) input: usize,
}

/// A connection during its handshake.
pub(super) struct Pending {
    /// The handshake. While a thread makes its step, it is empty and takes what arrives.
    pub(super) work: Work,
    pub(super) away: Option<Away>,
    /// What the driver has written: it is sealed when there are keys.
    pub(super) early: Vec<u8>,
    pub(super) early_len: usize,
    /// The bytes of received data in the account of all handshakes.
    pub(super) charged: usize,
}

impl Pending {
    pub(super) fn new(setup: Setup, handshake: Option<Handshake>) -> Self {
        Self {
            work: Work::new(setup, handshake),
            away: None,
            early: Vec::new(),
            early_len: 0,
            charged: 0,
        }
    }

    /// Whether no record has been encrypted yet.
    pub(super) fn is_clear(&self) -> bool {
        let away = self.away.as_ref();
        away.map_or_else(|| self.work.is_clear(), |away| away.is_clear)
    }

    /// Bytes of received data that it holds.
    pub(super) fn held(&self) -> usize {
        self.work.held() + self.away.as_ref().map_or(0, |away| away.held)
    }

    /// Bytes that it may still receive before its next step.
    pub(super) fn room(&self) -> usize {
        let away = self.away.as_ref().map_or(0, |away| away.input);
        MAX_INPUT.saturating_sub(self.work.input.len() + away)
    }

    /// Gives the handshake away.
    pub(super) fn lend(&mut self) -> Work {
        self.away = Some(Away {
            held: self.work.held(),
            is_clear: self.work.is_clear(),
            input: self.work.input.len(),
        });
        std::mem::replace(&mut self.work, Work::new(Setup::Begun, None))
    }

    /// Takes the handshake back, before the bytes that arrived meanwhile.
    pub(super) fn restore(&mut self, mut work: Work) {
        self.away = None;
        work.input.append(&mut self.work.input);
        self.work = work;
    }
}

#[allow(
    clippy::large_enum_variant,
    reason = "most connections have a session, and a box for each would cost a cache miss for each record"
)]
pub(super) enum State {
    /// Without TLS.
    Plain,
    Handshake(Box<Pending>),
    Open(Session),
}

/// What few connections have.
#[derive(Default)]
pub(super) struct Extra {
    /// Plaintext that the driver left.
    pub(super) left: Vec<u8>,
    /// Bytes of records that are not opened, before those that the transport below has.
    pub(super) gather: Vec<u8>,
    /// Payloads that wait for a flush, and whether each may be dropped.
    pub(super) shared: VecDeque<(LocalShared, bool)>,
    /// Their bytes, without those of the first one that were sealed.
    pub(super) shared_bytes: usize,
    pub(super) shared_sealed: usize,
    /// What stores the tickets of a client, and how many it may still store.
    pub(super) tickets: Option<(Box<KernelConnection<ClientConnectionData>>, u8)>,
    pub(super) certificate: Option<CertificateDer<'static>>,
}

impl Extra {
    /// Frees buffers that are empty, of a connection that keeps something else for its whole life.
    pub(super) fn shrink(&mut self) {
        for buffer in [&mut self.left, &mut self.gather] {
            if buffer.is_empty() {
                *buffer = Vec::new();
            }
        }
        if self.shared.is_empty() {
            self.shared = VecDeque::new();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.left.is_empty()
            && self.gather.is_empty()
            && self.shared.is_empty()
            && self.tickets.is_none()
            && self.certificate.is_none()
    }
}

/// One connection.
pub(super) struct Conn {
    pub(super) state: State,
    flags: u32,
    /// The index of its open record, plus one.
    pub(super) staged: u16,
    /// Content bytes sealed so far, up to a bound.
    pub(super) sent: u32,
    pub(super) extra: Option<Box<Extra>>,
    /// Why it failed.
    pub(super) error: Option<ErrorKind>,
    /// The fatal alert that the peer sent after the handshake.
    pub(super) alert: Option<u8>,
}

impl Conn {
    pub(super) fn new(state: State, flags: u32) -> Self {
        Self {
            state,
            flags,
            staged: 0,
            sent: 0,
            extra: None,
            error: None,
            alert: None,
        }
    }
    #[inline]
    pub(super) fn is(&self, flags: u32) -> bool {
        self.flags & flags != 0
    }
    pub(super) fn set(&mut self, flags: u32) {
        self.flags |= flags;
    }
    pub(super) fn clear(&mut self, flags: u32) {
        self.flags &= !flags;
    }
    /// Sets a flag. Returns whether it was not set before.
    pub(super) fn newly(&mut self, flag: u32) -> bool {
        let new = !self.is(flag);
        self.set(flag);
        new
    }
    /// Bytes of shared payloads that wait.
    pub(super) fn shared_bytes(&self) -> usize {
        self.extra.as_ref().map_or(0, |extra| extra.shared_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an idle connection costs in this layer: its entry, and nothing beside it.
    #[test]
    fn a_connection_has_at_most_256_bytes() {
        let entry = size_of::<Conn>() + size_of::<u32>();
        assert!(entry <= 256, "{entry} bytes, the generation included");
    }

    #[test]
    fn what_a_connection_keeps_for_its_life_has_no_empty_buffers_beside_it() {
        let mut extra = Extra {
            left: Vec::with_capacity(100),
            gather: vec![1],
            certificate: Some(CertificateDer::from(vec![1])),
            ..Extra::default()
        };
        extra.shared.reserve(100);
        extra.shrink();
        assert_eq!((extra.left.capacity(), extra.shared.capacity()), (0, 0));
        assert_eq!(extra.gather, [1]);
        assert!(!extra.is_empty());
    }
}
