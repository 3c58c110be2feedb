//! Commands to lcores, from each other and from other threads.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use crossbeam_queue::ArrayQueue;
use hioload_mem::Shared;
use hioload_transport::{ConnId, FlowInfo, Wanted};
use hioload_ws_proto::{CloseCode, Kind};

use crate::config::Tunables;

/// Flows of one lcore, from slot `from` on.
pub(crate) struct FlowsRequest {
    pub(crate) from: u32,
    pub(crate) wanted: Wanted,
    /// As many as fit into the reply.
    pub(crate) rows: Vec<FlowInfo>,
    /// The reply: the rows, and the slot to continue from.
    pub(crate) answer: SyncSender<(Vec<FlowInfo>, Option<u32>)>,
}

/// A request from one lcore or thread to an lcore.
pub(crate) enum Command<E> {
    /// A published message, for subscribers on the receiving lcore.
    Publish {
        topic: Arc<str>,
        kind: Kind,
        frame: Shared,
    },
    /// The payload of a message for one connection.
    Send {
        to: ConnId,
        kind: Kind,
        payload: Shared,
    },
    /// A Ping for one connection.
    Ping { to: ConnId, payload: Shared },
    /// A request to begin the closing handshake of one connection.
    Close {
        to: ConnId,
        code: CloseCode,
        reason: Box<str>,
    },
    /// The result of a job, or an event from another thread; for the lcore if `to` is `None`.
    Event { to: Option<ConnId>, event: E },
    /// A job panicked.
    JobPanicked { to: Option<ConnId> },
    /// A request to describe some of the transport's flows.
    Flows(Box<FlowsRequest>),
    /// Drain: open no more connections, close the open ones within the configured time, end.
    Drain,
    /// End at once.
    Stop,
    /// Only wakes an lcore that sleeps.
    Wake,
}

impl<E> Command<E> {
    /// The bytes of its payload, which `mailbox_bytes` bounds; `event_bytes` weighs an event.
    pub(crate) fn bytes(&self, event_bytes: impl FnOnce(&E) -> usize) -> usize {
        match self {
            Self::Publish { topic, frame, .. } => topic.len() + frame.len(),
            Self::Send { payload, .. } | Self::Ping { payload, .. } => payload.len(),
            Self::Close { reason, .. } => reason.len(),
            Self::Event { event, .. } => event_bytes(event),
            Self::JobPanicked { .. } | Self::Flows(_) | Self::Drain | Self::Stop | Self::Wake => 0,
        }
    }
}

/// Tunables that an lcore has yet to apply. There is room for one: a newer value replaces it.
#[derive(Debug)]
pub(crate) struct Pending(ArrayQueue<Arc<Tunables>>);

impl Pending {
    pub(crate) fn new() -> Self {
        Self(ArrayQueue::new(1))
    }

    pub(crate) fn set(&self, new: Arc<Tunables>) {
        self.0.force_push(new);
    }

    /// Costs two loads if there is none, as in nearly every turn.
    #[inline]
    pub(crate) fn take(&self) -> Option<Arc<Tunables>> {
        if self.0.is_empty() {
            return None;
        }
        self.0.pop()
    }
}
