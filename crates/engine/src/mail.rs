//! What lcores and other threads send each other.

use std::sync::Arc;

use hioload_mem::Shared;
use hioload_transport::ConnId;
use hioload_ws_proto::{CloseCode, Kind};

/// One letter in an lcore's mailbox.
pub(crate) enum Mail<E> {
    /// A published message, for subscribers on the receiving lcore.
    Publish {
        topic: Arc<str>,
        kind: Kind,
        frame: Shared,
    },
    /// The sending lcore has got its first subscriber to a pattern, or has lost its last.
    Interest { pattern: Arc<str>, wanted: bool },
    /// A message for one connection; the payload alone.
    Send {
        to: ConnId,
        kind: Kind,
        payload: Shared,
    },
    /// The closing handshake of one connection is to begin.
    Close {
        to: ConnId,
        code: CloseCode,
        reason: Box<str>,
    },
    /// The result of a job, or an event from another thread; for the lcore if `to` is `None`.
    Event { to: Option<ConnId>, event: E },
    /// A job panicked.
    JobPanicked { to: Option<ConnId> },
    /// Open no more, close what is open within the configured time, end.
    Drain,
    /// End at once.
    Stop,
}
