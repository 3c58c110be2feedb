//! What a generator knows of one of its connections.

use std::collections::VecDeque;

use hioload_engine::ConnectionId;

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It is not there.
    Closed,
    /// It is being opened.
    Opening,
    /// Fan-out: it has asked for its topic.
    Subscribing,
    /// Messages flow.
    Open,
    /// We have begun to close it.
    Closing,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Flight {
    /// Its name, if it is open.
    pub(crate) id: Option<ConnectionId>,
    pub(crate) state: State,
    /// It has more to send and waits for room.
    pub(crate) waiting: bool,
    /// At the end: a ping is under way, which nothing overtakes.
    pub(crate) pinged: bool,
    /// At the end: nothing more will come.
    pub(crate) settled: bool,
    /// The number of the next message.
    pub(crate) sent: u32,
    /// The number of the next answer.
    pub(crate) next: u32,
    /// Open loop: when the next message is due. While it is opened: when that began.
    pub(crate) due: u64,
    /// When the last answer came, or was begun to be waited for.
    pub(crate) moved: u64,
    /// Of each message under way, when it was sent or due.
    pub(crate) under_way: VecDeque<u64>,
}

impl Flight {
    /// One that is to be opened, whose messages are counted from `first`: connections begin at different numbers, so that an
    /// answer that strays to another is noticed.
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
            under_way: VecDeque::new(),
        }
    }

    /// It is gone; what was under way is forgotten.
    pub(crate) fn reset(&mut self) {
        self.id = None;
        self.state = State::Closed;
        self.waiting = false;
        self.pinged = false;
        self.sent = self.sent.wrapping_add(1 << 20);
        self.next = self.sent;
        self.under_way.clear();
    }

    /// Notes that a message is under way since `since`.
    #[inline]
    pub(crate) fn sends(&mut self, since: u64, now: u64) {
        if self.under_way.is_empty() {
            self.moved = now;
        }
        self.under_way.push_back(since);
        self.sent = self.sent.wrapping_add(1);
    }
}
