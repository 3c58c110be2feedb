//! The generator's state of one connection.

use std::collections::VecDeque;

use hioload_engine::ConnectionId;

/// The state of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It does not exist.
    Closed,
    /// It is being opened.
    Opening,
    /// Fan-out: it has requested its topic.
    Subscribing,
    /// It is open.
    Open,
    /// The generator has begun to close it.
    Closing,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Conn {
    /// The engine's identifier, if it is open.
    pub(crate) id: Option<ConnectionId>,
    pub(crate) state: State,
    /// It has a message to send and waits for space.
    pub(crate) waiting: bool,
    /// Drain: a ping was sent.
    pub(crate) pinged: bool,
    /// Drain: no answer is outstanding.
    pub(crate) settled: bool,
    /// The number of the next message.
    pub(crate) sent: u32,
    /// The number of the next answer.
    pub(crate) next: u32,
    /// Open loop: the time at which the next message is due. While the connection is being opened: the start of that. Churn: answers
    /// so far.
    pub(crate) due: u64,
    /// The time of the last answer, or of the first message after which none was in flight.
    pub(crate) moved: u64,
    /// For each message in flight, the time at which it was sent or due.
    pub(crate) in_flight: VecDeque<u64>,
}

impl Conn {
    /// A connection to be opened, whose messages are numbered from `first`. Connections start at different numbers, so that an answer
    /// delivered on the wrong connection is detected.
    pub(crate) fn new(first: u32) -> Self {
        Self {
            id: None,
            state: State::Closed,
            waiting: false,
            pinged: false,
            settled: false,
            sent: first,
            next: first,
            due: 0,
            moved: 0,
            in_flight: VecDeque::new(),
        }
    }

    /// The connection is gone, with its messages in flight.
    pub(crate) fn reset(&mut self) {
        self.id = None;
        self.state = State::Closed;
        self.waiting = false;
        self.pinged = false;
        self.sent = self.sent.wrapping_add(1 << 20);
        self.next = self.sent;
        self.in_flight.clear();
    }

    /// Records a message in flight, timed from `since`.
    #[inline]
    pub(crate) fn sends(&mut self, since: u64, now: u64) {
        if self.in_flight.is_empty() {
            self.moved = now;
        }
        self.in_flight.push_back(since);
        self.sent = self.sent.wrapping_add(1);
    }
}
